/* SPDX-License-Identifier: MIT */
/*
 * How fast is a heap marked?
 *
 * Builds one graph of about the given number of bytes, then asks for full collections one
 * by one and takes the time of each.  Nothing dies in between.  What a full collection
 * comprises differs a little: gcrt's and Go's include the sweep of the whole heap, Boehm
 * sweeps small objects later, when it allocates.
 *
 *     graph   48-byte nodes, four pointers: two make a tree over a random permutation
 *             of the nodes, two point anywhere; so nearly each step is a cache miss
 *     tree    24-byte nodes, two pointers, in the order in which a recursive build
 *             allocates them
 *     list    one list of 16-byte cells, youngest first: no parallelism at all
 *     arrays  arrays of 1000 pointers to 64-byte objects without pointers
 *     map     a hash table of chains of 32-byte entries, each with a 40-byte record, which
 *             has a name and a payload of 32 and 128 bytes without pointers
 *     fanout  512-byte nodes of up to 62 children in random order, to 32-byte leaves
 *
 * The bytes and objects in the results are those of the graph as the program asked for
 * them, without a peer's rounding and headers.  mark.go builds the same graphs.
 */
#include PEER_HEADER

#define ARRAY_LENGTH 1000
#define FANOUT       62

enum shape {
    SHAPE_GRAPH,
    SHAPE_TREE,
    SHAPE_LIST,
    SHAPE_ARRAYS,
    SHAPE_MAP,
    SHAPE_FANOUT,
    SHAPE_COUNT
};

struct graph_node {
    struct graph_node *out[4];
    uint64_t key[2];
};

struct tree_node {
    struct tree_node *left, *right;
    uint64_t key;
};

struct cell {
    struct cell *next;
    uint64_t key;
};

struct blob {
    uint64_t key, spare[7];
};

struct record {
    unsigned char *name, *payload;
    uint64_t key[3];
};

struct entry {
    struct entry *next;
    struct record *record;
    uint64_t key[2];
};

/* The children of a node of the lowest level are leaves. */
struct wide_node {
    void *child[FANOUT];
    uint64_t key[2];
};

struct leaf {
    struct leaf *none[2];
    uint64_t key[2];
};

PEER_TYPE(graph_type, struct graph_node, 15, out);
PEER_TYPE(tree_type, struct tree_node, 3, left, right);
PEER_TYPE(cell_type, struct cell, 1, next);
PEER_TYPE(record_type, struct record, 3, name, payload);
PEER_TYPE(entry_type, struct entry, 3, next, record);
PEER_TYPE(wide_type, struct wide_node, ((uint64_t)1 << FANOUT) - 1, child);
PEER_TYPE(leaf_type, struct leaf, 3, none);
PEER_TYPE_NOSCAN(blob_type, struct blob);

/* What was built: the root and its totals. */
struct built {
    void *root;
    uint64_t objects, bytes;
};

static void
shuffle(void **nodes, uint64_t n, uint64_t *seed)
{
    for (uint64_t i = n - 1; i > 0; i--) {
        uint64_t j = bench_random_below(seed, i + 1);
        void *node = nodes[i];

        peer_write(&nodes[i], nodes[j]);
        peer_write(&nodes[j], node);
    }
}

static void
wire(void **nodes, uint64_t n, uint64_t *seed)
{
    for (uint64_t i = 0; i < n; i++) {
        struct graph_node *node = nodes[i];

        for (uint64_t k = 0; k < 2; k++)
            if (2 * i + k + 1 < n)
                peer_write(&node->out[k], (struct graph_node *)nodes[2 * i + k + 1]);
        for (uint64_t k = 2; k < 4; k++)
            peer_write(
                    &node->out[k], (struct graph_node *)nodes[bench_random_below(seed, n)]);
    }
}

/* The table of nodes is dropped at the end: the root reaches every node. */
static BENCH_NOINLINE void
build_graph(struct built *built, uint64_t bytes, uint64_t *seed)
{
    uint64_t n = bytes / sizeof(struct graph_node);
    void **nodes = peer_alloc_pointers(n);

    for (uint64_t i = 0; i < n; i++) {
        struct graph_node *node = peer_alloc(sizeof(*node), &graph_type);

        for (uint64_t k = 0; k < 4; k++)
            node->out[k] = NULL;
        node->key[0] = i;
        peer_write(&nodes[i], (void *)node);
    }
    shuffle(nodes, n, seed);
    wire(nodes, n, seed);
    *built = (struct built){nodes[0], n, n * sizeof(struct graph_node)};
}

static struct tree_node *
build_subtree(uint64_t nodes)
{
    struct tree_node *left = NULL, *right = NULL, *node;

    if (nodes > 1)
        left = build_subtree((nodes - 1) / 2);
    if (nodes > 2)
        right = build_subtree(nodes - 1 - (nodes - 1) / 2);
    node = peer_alloc(sizeof(*node), &tree_type);
    node->left = left;
    node->right = right;
    node->key = nodes;
    return node;
}

static BENCH_NOINLINE void
build_tree(struct built *built, uint64_t bytes)
{
    uint64_t n = bytes / sizeof(struct tree_node);

    *built = (struct built){build_subtree(n), n, n * sizeof(struct tree_node)};
}

static BENCH_NOINLINE void
build_list(struct built *built, uint64_t bytes)
{
    uint64_t n = bytes / sizeof(struct cell);
    struct cell *head = NULL;

    for (uint64_t i = 0; i < n; i++) {
        struct cell *cell = peer_alloc(sizeof(*cell), &cell_type);

        cell->next = head;
        cell->key = i;
        head = cell;
    }
    *built = (struct built){head, n, n * sizeof(struct cell)};
}

static BENCH_NOINLINE void
build_arrays(struct built *built, uint64_t bytes)
{
    uint64_t per_array = ARRAY_LENGTH * (sizeof(void *) + sizeof(struct blob));
    uint64_t n = bytes / per_array;
    void **top = peer_alloc_pointers(n);

    for (uint64_t i = 0; i < n; i++) {
        void **array = peer_alloc_pointers(ARRAY_LENGTH);

        peer_write(&top[i], (void *)array);
        for (uint64_t k = 0; k < ARRAY_LENGTH; k++) {
            struct blob *blob = peer_alloc_noscan(sizeof(*blob), &blob_type);

            blob->key = k; /* so that every page is really there */
            peer_write(&array[k], (void *)blob);
        }
    }
    *built = (struct built){
            top, 1 + n * (1 + ARRAY_LENGTH), n * (per_array + sizeof(void *))};
}

static struct record *
new_record(uint64_t key)
{
    struct record *record = peer_alloc(sizeof(*record), &record_type);

    record->name = record->payload = NULL;
    record->key[0] = key;
    peer_write(&record->name, (unsigned char *)peer_alloc_bytes(32));
    peer_write(&record->payload, (unsigned char *)peer_alloc_bytes(128));
    record->name[0] = record->payload[0] = record->payload[64] = 1;
    return record;
}

/* The keys come in order, their chains do not: as many chains as entries, at random. */
static BENCH_NOINLINE void
build_map(struct built *built, uint64_t bytes, uint64_t *seed)
{
    uint64_t per_entry =
            sizeof(void *) + sizeof(struct entry) + sizeof(struct record) + 160;
    uint64_t n = bytes / per_entry;
    void **chains = peer_alloc_pointers(n);

    for (uint64_t i = 0; i < n; i++) {
        uint64_t k = bench_random_below(seed, n);
        struct record *record = new_record(i);
        struct entry *entry = peer_alloc(sizeof(*entry), &entry_type);

        entry->next = chains[k];
        entry->record = record;
        entry->key[0] = i;
        peer_write(&chains[k], (void *)entry);
    }
    *built = (struct built){chains, 1 + 4 * n, n * per_entry};
}

/* A level's nodes get their children from the shuffled level below. */
static BENCH_NOINLINE void
build_fanout(struct built *built, uint64_t bytes, uint64_t *seed)
{
    uint64_t n = bytes / (sizeof(struct leaf) + sizeof(struct wide_node) / FANOUT);
    uint64_t objects = n, all = n * sizeof(struct leaf);
    void **level = peer_alloc_pointers(n);

    for (uint64_t i = 0; i < n; i++) {
        struct leaf *leaf = peer_alloc(sizeof(*leaf), &leaf_type);

        leaf->none[0] = leaf->none[1] = NULL;
        leaf->key[0] = i;
        peer_write(&level[i], (void *)leaf);
    }
    while (n > 1) {
        uint64_t parents = (n + FANOUT - 1) / FANOUT;

        shuffle(level, n, seed);
        for (uint64_t i = 0; i < parents; i++) {
            struct wide_node *node = peer_alloc(sizeof(*node), &wide_type);

            for (uint64_t k = 0; k < FANOUT; k++)
                node->child[k] = i * FANOUT + k < n ? level[i * FANOUT + k] : NULL;
            peer_write(&level[i], (void *)node);
        }
        n = parents;
        objects += n;
        all += n * sizeof(struct wide_node);
    }
    *built = (struct built){level[0], objects, all};
}

static void
build(struct built *built, enum shape shape, uint64_t bytes, uint64_t seed)
{
    switch (shape) {
    case SHAPE_GRAPH:
        build_graph(built, bytes, &seed);
        break;
    case SHAPE_TREE:
        build_tree(built, bytes);
        break;
    case SHAPE_LIST:
        build_list(built, bytes);
        break;
    case SHAPE_ARRAYS:
        build_arrays(built, bytes);
        break;
    case SHAPE_MAP:
        build_map(built, bytes, &seed);
        break;
    case SHAPE_FANOUT:
        build_fanout(built, bytes, &seed);
        break;
    default:
        bench_die("shape must be 0 to 5");
    }
}

static void
sort(uint64_t *values, uint64_t n)
{
    for (uint64_t i = 1; i < n; i++)
        for (uint64_t k = i; k > 0 && values[k - 1] > values[k]; k--) {
            uint64_t value = values[k];

            values[k] = values[k - 1];
            values[k - 1] = value;
        }
}

static void
report(const struct built *built, enum shape shape, uint64_t *wall, uint64_t *cpu,
        uint64_t n)
{
    static const char *const names[] = {"graph", "tree", "list", "arrays", "map", "fanout"};
    struct bench_heap_stats heap;

    sort(wall, n);
    sort(cpu, n);
    bench_json_begin("mark", PEER_NAME, peer_version());
    bench_json_text("shape", names[shape]);
    bench_json_u64("objects", built->objects);
    bench_json_u64("bytes", built->bytes);
    bench_json_u64("wall_min_ns", wall[0]);
    bench_json_u64("wall_ns", wall[n / 2]);
    bench_json_u64("cpu_ns", cpu[n / 2]);
    bench_json_f64("gb_per_s", (double)built->bytes / (double)wall[n / 2]);
    bench_json_f64("ns_per_object", (double)wall[n / 2] / (double)built->objects);
    bench_json_f64("cpu_ns_per_object", (double)cpu[n / 2] / (double)built->objects);
    bench_json_f64("mobjects_per_cpu_s", 1e3 * (double)built->objects / (double)cpu[n / 2]);
    peer_heap_stats(&heap);
    bench_json_heap(&heap);
    bench_json_end();
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"shape", 0, "0 graph, 1 tree, 2 list, 3 arrays, 4 map, 5 fanout"},
            {"bytes", 256 << 20, "bytes of the graph"},
            {"reps", 7, "collections"},
            {"seed", 1, "random seed, not 0"},
    };
    uint64_t wall[100], cpu[100], reps;
    struct bench_heap_stats before, after;
    struct built built = {0};

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    reps = args[2].value;
    if (reps < 1 || reps > 100 || args[0].value >= SHAPE_COUNT || args[1].value < 1 << 20)
        bench_die("reps must be 1 to 100, shape 0 to 5, bytes at least 1m");
    peer_init();
    peer_type_init(graph_type);
    peer_type_init(tree_type);
    peer_type_init(cell_type);
    peer_type_init(record_type);
    peer_type_init(entry_type);
    peer_type_init(wide_type);
    peer_type_init(leaf_type);
    build(&built, (enum shape)args[0].value, args[1].value, args[3].value);
    BENCH_ESCAPE(&built);
    peer_root(built.root);
    bench_clear_stack();
    peer_collect();
    peer_heap_stats(&before);
    for (uint64_t i = 0; i < reps; i++) {
        uint64_t wall_start = bench_now_ns(), cpu_start = bench_cpu_ns();

        peer_collect();
        wall[i] = bench_now_ns() - wall_start;
        cpu[i] = bench_cpu_ns() - cpu_start;
    }
    BENCH_ESCAPE(&built);
    peer_heap_stats(&after);
    bench_check(after.cycles - before.cycles >= reps, "the number of collections");
    report(&built, (enum shape)args[0].value, wall, cpu, reps);
    peer_finish();
    return 0;
}
