/* SPDX-License-Identifier: MIT */
/*
 * GCBench, the old measure of collectors by Ellis, Kovac and Boehm, written anew.
 *
 * First a tree two levels deeper than all others is made and dropped.  A long-lived tree
 * of `depth` and an array of numbers then stay to the end.  For each depth from 4 to
 * `depth` in steps of two, as many trees as fit into the nodes of the first one twice are
 * made in two ways: from the root to the leaves, where each node is stored into one that
 * is reachable already (so each store needs a barrier), and from the leaves to the root.
 *
 * The checksum sums labels along an edge of each tree, and all of the long-lived one.
 */
#include PEER_HEADER

#define MIN_DEPTH 4
#define ARRAY     500000

struct node {
    struct node *left, *right;
    uint32_t label, depth;
};

PEER_TYPE(node_type, struct node, 3, left, right);

static struct node *
new_node(struct node *left, struct node *right, uint64_t depth)
{
    struct node *node = peer_alloc(sizeof(*node), &node_type);

    node->left = left;
    node->right = right;
    node->label = (uint32_t)(3 * depth + 1);
    node->depth = (uint32_t)depth;
    return node;
}

static void
populate(struct node *node, uint64_t depth)
{
    if (depth == 0)
        return;
    peer_write(&node->left, new_node(NULL, NULL, depth - 1));
    peer_write(&node->right, new_node(NULL, NULL, depth - 1));
    populate(node->left, depth - 1);
    populate(node->right, depth - 1);
}

static struct node *
top_down(uint64_t depth)
{
    struct node *root = new_node(NULL, NULL, depth);

    populate(root, depth);
    return root;
}

static struct node *
bottom_up(uint64_t depth)
{
    struct node *left = NULL, *right = NULL;

    if (depth > 0) {
        left = bottom_up(depth - 1);
        right = bottom_up(depth - 1);
    }
    return new_node(left, right, depth);
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

/* The labels on the left edge; then the tree dies. */
static uint64_t
use_up(struct node *root)
{
    uint64_t sum = 0;

    for (const struct node *node = root; node != NULL; node = node->left)
        sum += node->label;
    if (PEER_FREES)
        drop(root);
    return sum;
}

static uint64_t
sum_of(const struct node *node)
{
    return node == NULL ? 0 : node->label + sum_of(node->left) + sum_of(node->right);
}

static uint64_t
tree_size(uint64_t depth)
{
    return ((uint64_t)2 << depth) - 1;
}

/* Frames of its own, so that nothing keeps the tree for those who scan stacks. */
static BENCH_NOINLINE uint64_t
stretch(uint64_t depth)
{
    return use_up(bottom_up(depth));
}

static uint64_t
short_lived(uint64_t depth, uint64_t *nodes)
{
    uint64_t sum = 0;

    for (uint64_t d = MIN_DEPTH; d <= depth; d += 2) {
        uint64_t n = 2 * tree_size(depth + 2) / tree_size(d);

        for (uint64_t i = 0; i < n; i++)
            sum += use_up(top_down(d));
        for (uint64_t i = 0; i < n; i++)
            sum += use_up(bottom_up(d));
        *nodes += 2 * n * tree_size(d);
    }
    return sum;
}

static double *
new_array(void)
{
    double *array = peer_alloc_bytes(ARRAY * sizeof(double));

    for (int i = 0; i < ARRAY; i++)
        array[i] = i < ARRAY / 2 ? 1.0 / (i + 1) : 0.0;
    return array;
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {{"depth", 18, "depth of the long-lived tree, even"}};
    uint64_t depth, sum, nodes = 0;
    struct bench_heap_stats heap;
    struct node *long_lived;
    double *array;

    bench_args(argc, argv, args, 1);
    depth = args[0].value;
    if (depth < MIN_DEPTH || depth > 28)
        bench_die("depth must be 4 to 28");
    peer_init();
    peer_type_init(node_type);
    sum = stretch(depth + 2);
    bench_clear_stack();
    long_lived = top_down(depth);
    array = new_array();
    sum += short_lived(depth, &nodes);
    sum += sum_of(long_lived) + (uint64_t)(1000.0 * array[999] + 0.5);
    if (PEER_FREES)
        drop(long_lived);
    peer_free(array);
    bench_json_begin("gcbench", PEER_NAME, peer_version());
    bench_json_u64("depth", depth);
    bench_json_u64("objects", nodes + tree_size(depth + 2) + tree_size(depth));
    bench_json_u64("checksum", sum);
    peer_heap_stats(&heap);
    bench_json_heap(&heap);
    bench_json_end();
    peer_finish();
    return 0;
}
