/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the well-known binary trees program: many short-lived trees beside one
 * long-lived one, on several threads, with the heap verifier at the edges of each cycle.
 *
 * Place: public interface only; the fast path of gc_alloc and plain initialising stores.
 *
 * Arguments: depth=12 mutators=2 verify=1 and what t_options reads.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <pthread.h>

struct tree {
    struct tree *left, *right;
};

GC_TYPE(tree_type, struct tree, left, right);

#define MUTATORS_MAX 16
#define DEPTH_LOW    4

/* Children first: the node's stores are the first ones into a fresh object. */
static struct tree *
bottom_up(int64_t depth)
{
    struct tree *left = NULL, *right = NULL, *tree;

    if (depth > 0) {
        left = bottom_up(depth - 1);
        right = bottom_up(depth - 1);
    }
    tree = gc_alloc(&tree_type);
    tree->left = left;
    tree->right = right;
    return tree;
}

static uint64_t
count(const struct tree *tree)
{
    return tree == NULL ? 0 : 1 + count(tree->left) + count(tree->right);
}

static void
check_count(const struct tree *tree, int64_t depth)
{
    uint64_t want = (UINT64_C(2) << depth) - 1, got = count(tree);

    T_CHECK(got == want, "a tree of depth %lld has %llu nodes, not %llu", (long long)depth,
            (unsigned long long)got, (unsigned long long)want);
}

static void *
trees_main(void *arg)
{
    int64_t depth = *(const int64_t *)arg;
    struct tree *lasting = bottom_up(depth);

    for (int64_t d = DEPTH_LOW; d <= depth; d += 2)
        for (int64_t i = INT64_C(1) << (depth - d + DEPTH_LOW); i > 0; i--)
            check_count(bottom_up(d), d);
    check_count(lasting, depth);
    return NULL;
}

int
main(int argc, char **argv)
{
    pthread_t threads[MUTATORS_MAX];
    size_t nmutators;
    int64_t depth;
    gc_options opt;

    t_start("binary_trees", argc, argv);
    t_hang_after(600);
    depth = t_arg("depth", 12);
    nmutators = (size_t)t_arg("mutators", 2) % (MUTATORS_MAX + 1);
    t_options(&opt);
    opt.debug_verify = (int)t_arg("verify", 1);
    T_OK(gc_init(&opt));
    for (size_t i = 0; i < nmutators; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, trees_main, &depth));
    for (size_t i = 0; i < nmutators; i++)
        (void)pthread_join(threads[i], NULL);
    t_collect_twice(NULL);
    t_verify(NULL);
    T_CHECK(t_heap_objects(NULL) < 1000, "%llu objects left",
            (unsigned long long)t_heap_objects(NULL));
    t_note("depth=%lld mutators=%zu cycles=%llu", (long long)depth, nmutators,
            (unsigned long long)t_cycles(NULL));
    gc_shutdown();
    return 0;
}
