/* SPDX-License-Identifier: MIT */
/*
 * Purpose: storms of threads that come and go in every way there is, while others collect
 * without pause: attach and detach, exit while attached (return, pthread_exit, cancel),
 * gc_pthread_create whose argument is the only reference to a list.  Nothing that a thread
 * holds is lost, nothing that it leaves behind is kept, nobody stays attached.
 *
 * Place: public interface only.
 *
 * Concurrency: waves of threads, joined by the main thread, with one thread that runs
 * cycle after cycle.
 *
 * Arguments: seconds=4 wave=6 and what t_options reads.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#define WAVE_MAX 64

struct link {
    struct link *next;
    uint64_t value;
};

struct order {
    struct link *list; /* the only reference */
    uint64_t first, count;
    int way;
};

GC_TYPE(link_type, struct link, next);
GC_TYPE(order_type, struct order, list);

/*
 * AddressSanitizer does not clean the shadow of frames that a cancellation unwinds, and then
 * complains about whatever uses that stack next.
 */
#if defined(__SANITIZE_ADDRESS__)
enum { CANCELS = 0 };
#else
enum { CANCELS = 1 };
#endif

enum { WAY_DETACH, WAY_RETURN, WAY_PTHREAD_EXIT, WAY_CANCEL, WAY_REPEAT, WAY_GIVEN, WAYS };

static gc_heap *heap;
static int never[2]; /* a pipe that nobody writes to */
static int stopping;
static uint64_t threads_run, threads_given;

static __attribute__((noinline)) struct link *
list_build(uint64_t first, uint64_t count)
{
    struct link *list = NULL;

    for (uint64_t i = count; i > 0; i--) {
        struct link *link = gc_alloc(&link_type);

        link->value = first + i - 1;
        link->next = list;
        list = link;
    }
    return list;
}

static __attribute__((noinline)) void
list_check(const struct link *list, uint64_t first, uint64_t count)
{
    uint64_t n = 0;

    for (; list != NULL; list = list->next, n++)
        T_CHECK(list->value == first + n, "link %llu of a list holds 0x%llx",
                (unsigned long long)n, (unsigned long long)list->value);
    T_CHECK(n == count, "a list has %llu links, not %llu", (unsigned long long)n,
            (unsigned long long)count);
}

static void
work(uint64_t first, uint64_t count)
{
    struct link *list = list_build(first, count);

    for (int i = 0; i < 3; i++) {
        (void)list_build(0, count);
        list_check(list, first, count);
    }
    GC_KEEP_ALIVE(list);
}

static void
attach(void)
{
    T_OK(gc_thread_attach(heap));
    T_CHECK(gc_thread_heap() == heap, "gc_thread_heap is %p", (void *)gc_thread_heap());
}

static void
wait_for_cancel(void)
{
    char byte;

    for (;;)
        (void)read(never[0], &byte, 1);
}

static void *
plain_main(void *arg)
{
    uint64_t given = (uint64_t)(uintptr_t)arg, count = 1 + given % 700;

    switch (given % WAYS) {
    case WAY_REPEAT:
        for (int i = 0; i < 10; i++) {
            attach();
            work(given, count / 10 + 1);
            gc_thread_detach();
            T_CHECK(gc_thread_heap() == NULL, "detached, yet a heap");
        }
        return NULL;
    case WAY_DETACH:
        attach();
        work(given, count);
        gc_thread_detach();
        return NULL;
    case WAY_CANCEL:
        /* Half of them may be cancelled only in read(), half wherever libraries allow. */
        if (given & 64)
            (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        attach();
        work(given, count);
        (void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
        if (CANCELS)
            wait_for_cancel();
        return NULL;
    case WAY_PTHREAD_EXIT:
        attach();
        work(given, count);
        pthread_exit(NULL);
    default:
        attach();
        work(given, count);
        return NULL;
    }
}

static void *
given_main(void *arg)
{
    struct order *order = arg;

    T_CHECK(gc_thread_heap() == heap, "gc_pthread_create attached to %p",
            (void *)gc_thread_heap());
    list_check(order->list, order->first, order->count);
    work(order->first, order->count);
    list_check(order->list, order->first, order->count);
    if (order->way % 3 == 0)
        pthread_exit(NULL);
    if (order->way % 3 == 1)
        gc_thread_detach();
    return NULL;
}

/* Own frames, so that nothing of the list stays in the caller's. */
static __attribute__((noinline)) void
start_given(pthread_t *ret, uint64_t rng)
{
    struct order *order = gc_alloc(&order_type);

    order->first = rng;
    order->count = 1 + rng % 900;
    order->way = (int)(rng >> 32 & 0xff);
    gc_write(&order->list, list_build(order->first, order->count));
    T_OK(gc_pthread_create(ret, NULL, given_main, order));
}

static void
start_one(pthread_t *ret, uint64_t rng)
{
    uint64_t small = rng & 0xffffff;

    if (small % WAYS == WAY_GIVEN) {
        start_given(ret, rng);
        t_wipe_stack();
        threads_given++;
        return;
    }
    T_CHECK(pthread_create(ret, NULL, plain_main, (void *)(uintptr_t)small) == 0,
            "pthread_create");
}

static void
wave(uint64_t *rng, size_t n)
{
    pthread_t threads[WAVE_MAX];
    uint64_t seeds[WAVE_MAX];

    for (size_t i = 0; i < n; i++) {
        seeds[i] = t_rand(rng);
        start_one(&threads[i], seeds[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (CANCELS && (seeds[i] & 0xffffff) % WAYS == WAY_CANCEL)
            (void)pthread_cancel(threads[i]);
        if (i % 2)
            (void)pthread_join(threads[i], NULL);
        else
            GC_BLOCKING { (void)pthread_join(threads[i], NULL); }
    }
    threads_run += n;
}

static void *
collector_main(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED))
        gc_collect(heap);
    return NULL;
}

static void
storm(uint64_t until_ms, size_t n)
{
    uint64_t rng = t_seed(), waves = 0;

    while (t_now_ms() < until_ms || waves == 0) {
        wave(&rng, n);
        if (waves++ % 16 == 0)
            t_verify(heap);
    }
}

int
main(int argc, char **argv)
{
    uint64_t begin = t_now_ms(), cycles;
    pthread_t collector;
    gc_options opt;

    t_start("attach", argc, argv);
    t_hang_after((unsigned)t_arg("seconds", 4) * 20 + 240);
    t_options(&opt);
    T_CHECK(pipe(never) == 0, "pipe");
    T_OK(gc_heap_create(&opt, &heap));
    attach();
    T_CHECK(gc_thread_attach(heap) == GC_ERR_ATTACHED, "a second attach was no error");
    T_CHECK(pthread_create(&collector, NULL, collector_main, NULL) == 0, "pthread_create");
    storm(begin + (uint64_t)t_arg("seconds", 4) * 1000,
            (size_t)t_arg("wave", 6) % WAVE_MAX);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    GC_BLOCKING { (void)pthread_join(collector, NULL); }
    t_collect_twice(heap);
    t_verify(heap);
    T_CHECK(t_heap_objects(heap) <= 2000, "%llu objects left by threads that are gone",
            (unsigned long long)t_heap_objects(heap));
    cycles = t_cycles(heap);
    T_CHECK(gc_heap_destroy(heap) == GC_ERR_BUSY, "a heap in use was destroyed");
    gc_thread_detach();
    T_OK(gc_heap_destroy(heap));
    t_note("threads=%llu by gc_pthread_create=%llu cycles=%llu",
            (unsigned long long)threads_run, (unsigned long long)threads_given,
            (unsigned long long)cycles);
    return 0;
}
