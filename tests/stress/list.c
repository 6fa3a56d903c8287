/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a list of ten million nodes is marked without recursion and without metadata
 * that grows with the graph's depth.  Every thread, the library's too, has a stack of
 * 256 KiB here: recursion over the list would end in a segmentation fault.
 *
 * Place: public interface only.  The program runs itself again under the small stack limit,
 * because the C library reads that limit once, at the start.
 *
 * Arguments: nodes=10000000.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <sys/resource.h>
#include <unistd.h>

struct node {
    struct node *next;
    uint64_t value;
};

GC_TYPE(node_type, struct node, next);

#define STACK_BYTES (256 * 1024)

static struct node *head; /* registered */

static void
run_again_with_small_stack(char **argv)
{
    struct rlimit limit;

    T_CHECK(getrlimit(RLIMIT_STACK, &limit) == 0, "getrlimit");
    if (limit.rlim_cur == STACK_BYTES)
        return;
    limit.rlim_cur = STACK_BYTES;
    T_CHECK(setrlimit(RLIMIT_STACK, &limit) == 0, "setrlimit");
    (void)execv("/proc/self/exe", argv);
    T_CHECK(0, "execv failed");
}

/*
 * At the tail, so that marking from the head goes the full depth.  In a frame of its own:
 * a stale pointer into the list would keep all that follows.
 */
static __attribute__((noinline)) void
append(uint64_t n)
{
    struct node *tail = gc_alloc(&node_type);

    gc_write(&head, tail);
    for (uint64_t i = 1; i < n; i++) {
        struct node *node = gc_alloc(&node_type);

        node->value = i;
        gc_write(&tail->next, node);
        tail = node;
    }
}

static __attribute__((noinline)) void
check(uint64_t n)
{
    uint64_t i = 0;

    for (const struct node *node = head; node != NULL; node = node->next, i++)
        T_CHECK(node->value == i, "node %llu holds 0x%llx", (unsigned long long)i,
                (unsigned long long)node->value);
    T_CHECK(i == n, "%llu nodes of %llu", (unsigned long long)i, (unsigned long long)n);
}

int
main(int argc, char **argv)
{
    uint64_t n;
    gc_options opt;
    gc_stats before, after;

    run_again_with_small_stack(argv);
    t_start("list", argc, argv);
    t_hang_after(600);
    n = (uint64_t)t_arg("nodes", 10000000);
    t_options(&opt);
    opt.heap_min = 4 << 20;
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(&head, sizeof head));
    append(n);
    gc_stats_read(NULL, &before);
    gc_collect(NULL);
    gc_stats_read(NULL, &after);
    check(n);
    T_CHECK(after.heap_objects >= n, "gc_stats has %llu objects",
            (unsigned long long)after.heap_objects);
    /* Descriptors and bitmaps are a few percent; 16 MiB cover what does not scale.  A shadow
     * of the heap is no small thing. */
    T_CHECK(after.metadata_sys <= after.heap_sys / 8 + 16 * 1024 * 1024
                    || opt.debug_wbcheck != 0,
            "metadata is %llu bytes of a heap of %llu",
            (unsigned long long)after.metadata_sys, (unsigned long long)after.heap_sys);
    T_CHECK(after.metadata_sys <= before.metadata_sys + 8 * 1024 * 1024,
            "marking a list took %llu bytes of metadata",
            (unsigned long long)(after.metadata_sys - before.metadata_sys));
    t_note("nodes=%llu heap_sys=%llu metadata_sys=%llu cycles=%llu", (unsigned long long)n,
            (unsigned long long)after.heap_sys, (unsigned long long)after.metadata_sys,
            (unsigned long long)after.num_gc);
    gc_write(&head, NULL);
    t_collect_twice(NULL);
    gc_stats_read(NULL, &after);
    T_CHECK(after.heap_objects < 1000, "%llu objects left of a list that was dropped",
            (unsigned long long)after.heap_objects);
    gc_root_remove(&head);
    gc_shutdown();
    return 0;
}
