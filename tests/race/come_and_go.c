/* SPDX-License-Identifier: MIT */
/*
 * Purpose: attach and detach on several threads at full speed against handshakes, so that
 * threads appear and vanish in every phase of a cycle and between any two steps of one.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: 3 threads that attach, allocate a little, enter and leave blocking regions
 * and detach; one detached thread collects; one reads statistics.
 *
 * Arguments: seconds=3 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>
#include <sched.h>

struct cell {
    struct cell *next;
    uint64_t value;
};

GC_TYPE(cell_type, struct cell, next);

static gc_heap *heap;
static int stopping;
static uint64_t attached;

static int
stop_wanted(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_RELAXED);
}

static void
visit(uint64_t *rng)
{
    struct cell *list = NULL;
    uint64_t n = t_below(rng, 40);

    T_OK(gc_thread_attach(heap));
    for (uint64_t i = 0; i < n; i++) {
        struct cell *cell = gc_alloc(&cell_type);

        cell->value = i;
        cell->next = list;
        list = cell;
    }
    if (t_below(rng, 2)) {
        gc_block_enter();
        (void)sched_yield();
        gc_block_leave();
    }
    gc_safepoint();
    for (uint64_t i = n; i > 0; i--, list = list->next)
        T_CHECK(list != NULL && list->value == i - 1, "a list of %llu cells is altered",
                (unsigned long long)n);
    gc_thread_detach();
}

static void *
visitor_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg, n = 0;

    for (; !stop_wanted(); n++)
        visit(&rng);
    __atomic_fetch_add(&attached, n, __ATOMIC_RELAXED);
    return NULL;
}

static void *
collector_main(void *arg)
{
    (void)arg;
    while (!stop_wanted())
        gc_collect(heap);
    return NULL;
}

static void *
reader_main(void *arg)
{
    uint64_t last = 0;
    gc_stats stats;

    (void)arg;
    while (!stop_wanted()) {
        gc_stats_read(heap, &stats);
        T_CHECK(stats.mallocs >= last,
                "mallocs fell from %llu to %llu: a thread that left has"
                " taken its counts along",
                (unsigned long long)last, (unsigned long long)stats.mallocs);
        last = stats.mallocs;
        (void)sched_yield();
    }
    return NULL;
}

int
main(int argc, char **argv)
{
    static void *(*const mains[])(void *) = { visitor_main, visitor_main, visitor_main,
        collector_main, reader_main };
    pthread_t threads[5];
    gc_options opt;

    t_start("come_and_go", argc, argv);
    t_hang_after(400);
    t_options(&opt);
    T_OK(gc_heap_create(&opt, &heap));
    for (size_t i = 0; i < 5; i++)
        T_CHECK(pthread_create(&threads[i], NULL, mains[i],
                (void *)(uintptr_t)(t_seed() + i)) == 0, "pthread_create");
    t_sleep_us((unsigned)t_arg("seconds", 3) * 1000000);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 5; i++)
        (void)pthread_join(threads[i], NULL);
    gc_collect(heap);
    gc_collect(heap);
    t_verify(heap);
    T_CHECK(t_heap_objects(heap) == 0, "%llu objects left and nobody attached",
            (unsigned long long)t_heap_objects(heap));
    t_note("attached=%llu cycles=%llu", (unsigned long long)attached,
            (unsigned long long)t_cycles(heap));
    T_OK(gc_heap_destroy(heap));
    return 0;
}
