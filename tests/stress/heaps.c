/* SPDX-License-Identifier: MIT */
/*
 * Purpose: hundreds of heaps, many at once, each used from several threads and destroyed.
 * Afterwards the process has as many mappings, threads and (nearly) as much memory as after
 * the first round: a heap takes everything with it.
 *
 * Place: public interface only; /proc/self is the judge.
 *
 * Concurrency: each heap has two user threads; a third collects them in turn.
 *
 * Arguments: heaps=200 (in rounds of 40 that live together) and what t_options reads.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <malloc.h>
#include <pthread.h>
#include <string.h>

#define TOGETHER 40
#if defined(GCRT_POISON)
# define RSS_KIB (256 * 1024) /* AddressSanitizer keeps the shadow of each place of a heap */
# define MAPS    64          /* and maps memory of its own in many pieces */
#else
# define RSS_KIB (16 * 1024)
# define MAPS    16
#endif

struct pair {
    struct pair *left, *right;
    gc_heap *owner; /* of which heap this object is */
};

GC_TYPE(pair_type, struct pair, left, right);

struct usage {
    size_t maps, threads, vm_kib, rss_kib;
};

static struct pair *
tree(gc_heap *heap, int depth)
{
    struct pair *pair = gc_alloc(&pair_type);

    pair->owner = heap;
    if (depth > 0) {
        gc_write(&pair->left, tree(heap, depth - 1));
        gc_write(&pair->right, tree(heap, depth - 1));
    }
    return pair;
}

static size_t
tree_count(const struct pair *pair, const gc_heap *heap)
{
    if (pair == NULL)
        return 0;
    T_CHECK(pair->owner == heap, "an object of heap %p says %p", (const void *)heap,
            (void *)pair->owner);
    return 1 + tree_count(pair->left, heap) + tree_count(pair->right, heap);
}

static void *
user_main(void *arg)
{
    gc_heap *heap = arg;
    struct pair *kept;
    char *bytes;

    T_OK(gc_thread_attach(heap));
    kept = tree(heap, 9);
    for (int i = 0; i < 20; i++)
        GC_KEEP_ALIVE(tree(heap, 9));
    bytes = gc_alloc_bytes(300000);
    memset(bytes, 1, 300000);
    gc_collect(NULL);
    T_CHECK(tree_count(kept, heap) == 1023, "a kept tree has lost nodes");
    T_CHECK(bytes[299999] == 1, "a large object is altered");
    T_CHECK(gc_thread_heap() == heap, "attached to a wrong heap");
    return NULL; /* exits attached */
}

static void
use(gc_heap *heap)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        T_CHECK(pthread_create(&threads[i], NULL, user_main, heap) == 0, "pthread_create");
    for (int i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
}

static void
heap_options(gc_options *opt, size_t i)
{
    t_options(opt);
    opt->debug_clobberfree = 0;
    opt->heap_min = 256 * 1024;
    /* Every tenth with the default reservation, the others with a small one. */
    if (i % 10 != 0)
        opt->reserve = (size_t)1 << 30;
}

static void
round_of_heaps(size_t n)
{
    gc_heap *heaps[TOGETHER];
    gc_options opt;

    for (size_t i = 0; i < n; i++) {
        heap_options(&opt, i);
        T_OK(gc_heap_create(&opt, &heaps[i]));
    }
    for (size_t i = 0; i < n; i++) {
        use(heaps[i]);
        gc_collect(heaps[(i * 7) % n]);
    }
    for (size_t i = 0; i < n; i += 8)
        t_verify(heaps[i]);
    /* Not in the order of their birth. */
    for (size_t i = 0; i < n; i++)
        T_OK(gc_heap_destroy(heaps[n % 3 ? (i * 3) % n : i]));
}

static void
measure(struct usage *usage)
{
    (void)malloc_trim(0);
    usage->maps = t_proc_maps_lines();
    usage->threads = t_proc_threads();
    usage->vm_kib = t_proc_status_kib("VmSize");
    usage->rss_kib = t_proc_status_kib("VmRSS");
}

/*
 * Allowances: the C library keeps a few thread stacks and grows its own heap a little; one
 * leaked heap would be 1 GiB of addresses, at least one thread or some mappings, and
 * some MiB of memory.
 */
static void
compare(const struct usage *was, const struct usage *is, size_t heaps)
{
    t_note("heaps=%zu maps %zu -> %zu, threads %zu -> %zu, VmSize %zu -> %zu KiB,"
           " VmRSS %zu -> %zu KiB",
            heaps, was->maps, is->maps, was->threads, is->threads, was->vm_kib, is->vm_kib,
            was->rss_kib, is->rss_kib);
    T_CHECK(is->threads <= was->threads, "%zu threads stay after %zu heaps",
            is->threads - was->threads, heaps);
    T_CHECK(is->maps <= was->maps + MAPS, "%zu mappings stay after %zu heaps",
            is->maps - was->maps, heaps);
    T_CHECK(is->vm_kib <= was->vm_kib + 128 * 1024, "%zu KiB of addresses stay",
            is->vm_kib - was->vm_kib);
    T_CHECK(is->rss_kib <= was->rss_kib + RSS_KIB, "%zu KiB of memory stay",
            is->rss_kib - was->rss_kib);
}

int
main(int argc, char **argv)
{
    struct usage first, last;
    size_t heaps, done = 0;

    t_start("heaps", argc, argv);
    t_hang_after(600);
    /* One arena for the C library, else its per-thread arenas blur the address space. */
    (void)mallopt(M_ARENA_MAX, 1);
    heaps = (size_t)t_arg("heaps", 200);
    round_of_heaps(TOGETHER);
    measure(&first);
    for (done = TOGETHER; done < heaps; done += TOGETHER)
        round_of_heaps(heaps - done < TOGETHER ? heaps - done : TOGETHER);
    measure(&last);
    compare(&first, &last, heaps);
    return 0;
}
