/* SPDX-License-Identifier: MIT */
/*
 * Purpose: handles are made by attached threads, passed through malloc'ed memory to threads
 * that are not attached, come back and are read, changed or freed, while cycles run.  As
 * long as a handle lives its object does, whoever holds the handle.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: makers put handles into locked boxes; carriers (detached) move handles
 * between boxes and free some; the main thread collects.
 *
 * Arguments: seconds=3 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>
#include <sched.h>

struct cargo {
    struct cargo *twin; /* points back */
    uint64_t value, complement;
};

GC_TYPE(cargo_type, struct cargo, twin);

#define BOXES 32

static struct {
    pthread_mutex_t lock;
    gc_handle *handle; /* lock: owned */
} boxes[BOXES];

static int stopping;
static uint64_t made, carried;

static int
stop_wanted(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_RELAXED);
}

static struct cargo *
cargo_new(uint64_t value)
{
    struct cargo *one = gc_alloc(&cargo_type), *two = gc_alloc(&cargo_type);

    one->value = two->value = value;
    one->complement = two->complement = ~value;
    gc_write(&one->twin, two);
    gc_write(&two->twin, one);
    return one;
}

static void
cargo_check(const struct cargo *cargo)
{
    const struct cargo *twin = cargo->twin;

    T_CHECK(twin != NULL && twin->twin == cargo, "a handle's object has lost its twin");
    T_CHECK(cargo->complement == ~cargo->value && twin->value == cargo->value,
            "a handle's object holds 0x%llx and 0x%llx", (unsigned long long)cargo->value,
            (unsigned long long)cargo->complement);
}

static gc_handle *
box_swap(size_t i, gc_handle *handle)
{
    gc_handle *old;

    (void)pthread_mutex_lock(&boxes[i].lock);
    old = boxes[i].handle;
    boxes[i].handle = handle;
    (void)pthread_mutex_unlock(&boxes[i].lock);
    return old;
}

static void *
maker_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg, n = 0;

    for (; !stop_wanted(); n++) {
        size_t i = (size_t)t_below(&rng, BOXES);
        gc_handle *handle = box_swap(i, NULL);

        if (handle == NULL) {
            handle = gc_handle_new(cargo_new(t_rand(&rng)));
            T_CHECK(handle != NULL, "gc_handle_new gave NULL: %s", gc_last_error());
        } else {
            cargo_check(gc_handle_get(handle));
            if (t_below(&rng, 2))
                gc_handle_set(handle, cargo_new(t_rand(&rng)));
        }
        gc_handle_free(box_swap(i, handle));
    }
    __atomic_fetch_add(&made, n, __ATOMIC_RELAXED);
    return NULL;
}

/* Never attached: may carry and free handles, must not look into objects. */
static void *
carrier_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg, n = 0;
    gc_handle *carrying = NULL;

    for (; !stop_wanted(); n++) {
        carrying = box_swap((size_t)t_below(&rng, BOXES), carrying);
        if (carrying != NULL && t_below(&rng, 8) == 0) {
            gc_handle_free(carrying);
            carrying = NULL;
        }
        (void)sched_yield();
    }
    gc_handle_free(carrying);
    __atomic_fetch_add(&carried, n, __ATOMIC_RELAXED);
    return NULL;
}

static void
empty_boxes(void)
{
    for (size_t i = 0; i < BOXES; i++) {
        if (boxes[i].handle != NULL)
            cargo_check(gc_handle_get(boxes[i].handle));
        gc_handle_free(boxes[i].handle);
        boxes[i].handle = NULL;
    }
}

int
main(int argc, char **argv)
{
    pthread_t threads[4];
    gc_options opt;

    t_start("handles", argc, argv);
    t_hang_after(400);
    t_options(&opt);
    T_OK(gc_init(&opt));
    for (size_t i = 0; i < BOXES; i++)
        (void)pthread_mutex_init(&boxes[i].lock, NULL);
    for (size_t i = 0; i < 4; i++) {
        void *arg = t_thread_seed(i);

        if (i < 2)
            T_OK(gc_pthread_create(&threads[i], NULL, maker_main, arg));
        else
            T_CHECK(pthread_create(&threads[i], NULL, carrier_main, arg) == 0,
                    "pthread_create");
    }
    t_collect_until_over(&stopping);
    t_join(threads, 4);
    empty_boxes();
    t_collect_twice(NULL);
    t_verify(NULL);
    T_CHECK(t_heap_objects(NULL) < 100, "%llu objects left after the last handle",
            (unsigned long long)t_heap_objects(NULL));
    t_note("made=%llu carried=%llu cycles=%llu", (unsigned long long)made,
            (unsigned long long)carried, (unsigned long long)t_cycles(NULL));
    gc_shutdown();
    return 0;
}
