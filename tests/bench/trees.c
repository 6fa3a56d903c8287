/* SPDX-License-Identifier: MIT */
/*
 * Binary trees: the shape known from the Computer Language Benchmarks Game.
 *
 *     build, check and drop one tree of depth + 1                      ("stretch")
 *     build one tree of the given depth and keep it to the end         ("long-lived")
 *     for d = 4, 6, 8 ... depth:
 *         2^(depth - d + 4) times: build, check and drop a tree of depth d
 *     check the long-lived tree
 *
 * A tree of depth d has 2^(d + 1) - 1 nodes of two pointers; children are made before their
 * parent, so both fields are first stores into a fresh object and need no barrier.
 * With several threads each does its share of every d; the main thread makes the stretch
 * and the long-lived tree and waits.  trees.go does the same with goroutines.
 */
#include PEER_HEADER

#define MIN_DEPTH 4

struct node {
    struct node *left, *right;
};

PEER_TYPE(node_type, struct node, 3, left, right);

struct job {
    uint64_t depth, index, nthreads;
    uint64_t nodes; /* counted by checking */
};

static struct node *
build(uint64_t depth)
{
    struct node *left = NULL, *right = NULL, *node;

    if (depth > 0) {
        left = build(depth - 1);
        right = build(depth - 1);
    }
    node = peer_alloc(sizeof(struct node), &node_type);
    node->left = left;
    node->right = right;
    return node;
}

static uint64_t
check(const struct node *node)
{
    if (node->left == NULL)
        return 1;
    return 1 + check(node->left) + check(node->right);
}

static void
drop(struct node *node)
{
    if (node->left != NULL) {
        drop(node->left);
        drop(node->right);
    }
    peer_free(node);
}

/* Keeps the walk through the tree out of peers whose peer_free does nothing. */
static uint64_t
use_up(struct node *node)
{
    uint64_t nodes = check(node);

    if (PEER_FREES)
        drop(node);
    return nodes;
}

static uint64_t
share(uint64_t n, const struct job *job)
{
    return n / job->nthreads + (job->index < n % job->nthreads);
}

static void *
thread_main(void *arg)
{
    struct job *job = arg;

    for (uint64_t d = MIN_DEPTH; d <= job->depth; d += 2) {
        uint64_t n = share((uint64_t)1 << (job->depth - d + MIN_DEPTH), job);

        for (uint64_t i = 0; i < n; i++)
            job->nodes += use_up(build(d));
    }
    return NULL;
}

static uint64_t
short_lived(uint64_t depth, uint64_t nthreads)
{
    struct job jobs[BENCH_THREADS_MAX];
    pthread_t threads[BENCH_THREADS_MAX];
    uint64_t nodes = 0;

    for (uint64_t i = 0; i < nthreads; i++) {
        jobs[i] = (struct job){depth, i, nthreads, 0};
        if (nthreads > 1)
            peer_thread_create(&threads[i], thread_main, &jobs[i]);
        else
            thread_main(&jobs[i]);
    }
    for (uint64_t i = 0; i < nthreads; i++) {
        if (nthreads > 1)
            peer_thread_join(threads[i]);
        nodes += jobs[i].nodes;
    }
    return nodes;
}

static uint64_t
tree_nodes(uint64_t depth)
{
    return ((uint64_t)2 << depth) - 1;
}

static uint64_t
expected_nodes(uint64_t depth)
{
    uint64_t nodes = 0;

    for (uint64_t d = MIN_DEPTH; d <= depth; d += 2)
        nodes += tree_nodes(d) << (depth - d + MIN_DEPTH);
    return nodes;
}

static void
report(uint64_t depth, uint64_t nthreads, uint64_t wall_ns, uint64_t cpu_ns)
{
    uint64_t nodes = tree_nodes(depth + 1) + tree_nodes(depth) + expected_nodes(depth);
    struct bench_heap_stats heap;

    bench_json_begin("trees", PEER_NAME, peer_version());
    bench_json_u64("depth", depth);
    bench_json_u64("threads", nthreads);
    bench_json_u64("objects", nodes);
    bench_json_f64("wall_s", (double)wall_ns / 1e9);
    bench_json_f64("cpu_s", (double)cpu_ns / 1e9);
    peer_heap_stats(&heap);
    bench_json_heap(&heap);
    bench_json_end();
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"depth", 18, "depth of the deepest trees"},
            {"threads", 1, "threads"},
    };
    uint64_t start = bench_now_ns(), depth, nthreads;
    struct node *long_lived;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    depth = args[0].value;
    nthreads = args[1].value;
    if (depth < MIN_DEPTH || depth > 30 || nthreads < 1 || nthreads > BENCH_THREADS_MAX)
        bench_die("depth must be 4 to 30, threads 1 to 64");
    peer_init();
    peer_type_init(node_type);
    bench_check(use_up(build(depth + 1)) == tree_nodes(depth + 1), "the stretch tree");
    long_lived = build(depth);
    bench_check(
            short_lived(depth, nthreads) == expected_nodes(depth), "the short-lived trees");
    bench_check(use_up(long_lived) == tree_nodes(depth), "the long-lived tree");
    report(depth, nthreads, bench_now_ns() - start, bench_cpu_ns());
    peer_finish();
    return 0;
}
