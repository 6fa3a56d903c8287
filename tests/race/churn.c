/* SPDX-License-Identifier: MIT */
/*
 * Purpose: allocation of all kinds on several threads against cycle after cycle: mcache
 * refills, mcentral sets, page runs, large objects, sweeping, all at the same time.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: 3 mutators with their own objects, one thread that only collects, and the
 * main thread that verifies now and then.
 *
 * Arguments: seconds=3 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>
#include <string.h>

#define KEPT 64

static int stopping;
static uint64_t allocated;

struct box {
    void *inside;
    size_t bytes; /* 0: inside is an array of count pointers, the last one back here */
    size_t count;
    unsigned char mark;
};

GC_TYPE(box_type, struct box, inside);

static size_t
any_size(uint64_t *rng)
{
    uint64_t dice = t_below(rng, 200);

    if (dice == 0)
        return 32769 + (size_t)t_below(rng, 400000);
    if (dice < 10)
        return 1 + (size_t)t_below(rng, 32768);
    return 1 + (size_t)t_below(rng, 512);
}

static struct box *
box_new(uint64_t *rng)
{
    struct box *box = gc_alloc(&box_type);
    size_t bytes = any_size(rng);
    unsigned char mark = (unsigned char)t_rand(rng);

    box->bytes = bytes;
    box->mark = mark;
    if (t_below(rng, 4) == 0) {
        size_t n = bytes / 8 + 1;
        void **array = gc_alloc_array(&gc_pointer_type, n);

        gc_write(&array[n - 1], box);
        gc_write(&box->inside, array);
        box->bytes = 0;
        box->count = n;
        return box;
    }
    gc_write(&box->inside, gc_alloc_bytes(bytes));
    memset(box->inside, mark, bytes);
    return box;
}

static void
box_check(const struct box *box)
{
    const unsigned char *p = box->inside;

    if (box->bytes == 0) {
        void *const *array = box->inside;

        for (size_t i = 0; i + 1 < box->count; i++)
            T_CHECK(array[i] == NULL, "word %zu of %zu pointers is %p", i, box->count,
                    array[i]);
        T_CHECK(array[box->count - 1] == box, "the last of %zu pointers is %p", box->count,
                array[box->count - 1]);
        return;
    }
    for (size_t i = 0; i < box->bytes; i += 1 + box->bytes / 64)
        T_CHECK(p[i] == box->mark, "byte %zu of %zu is 0x%02x, not 0x%02x", i, box->bytes,
                p[i], box->mark);
    T_CHECK(p[box->bytes - 1] == box->mark, "the last of %zu bytes is altered", box->bytes);
}

static void *
mutator_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg, n = 0;
    struct box *kept[KEPT] = { NULL };

    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
        size_t i = (size_t)t_below(&rng, KEPT);

        if (kept[i] != NULL)
            box_check(kept[i]);
        kept[i] = box_new(&rng);
        n++;
    }
    for (size_t i = 0; i < KEPT; i++)
        if (kept[i] != NULL)
            box_check(kept[i]);
    __atomic_fetch_add(&allocated, n, __ATOMIC_RELAXED);
    return NULL;
}

static void *
collector_main(void *arg)
{
    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED))
        gc_collect(arg);
    return NULL;
}

int
main(int argc, char **argv)
{
    pthread_t threads[4];
    uint64_t until;
    gc_options opt;

    t_start("churn", argc, argv);
    t_hang_after(400);
    t_options(&opt);
    T_OK(gc_init(&opt));
    for (size_t i = 0; i < 3; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, mutator_main, t_thread_seed(i)));
    /* Not attached: names the heap instead. */
    T_CHECK(pthread_create(&threads[3], NULL, collector_main, gc_thread_heap()) == 0,
            "pthread_create");
    until = t_now_ms() + (uint64_t)t_arg("seconds", 3) * 1000;
    while (t_now_ms() < until) {
        t_sleep_us(100000);
        t_verify(NULL);
    }
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    t_join(threads, 4);
    t_verify(NULL);
    t_note("boxes=%llu cycles=%llu", (unsigned long long)allocated,
            (unsigned long long)t_cycles(NULL));
    gc_shutdown();
    return 0;
}
