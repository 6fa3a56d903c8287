/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_PEERS_BOEHM_H
#define GCRT_TESTS_BENCH_PEERS_BOEHM_H

/*
 * The peer interface (see gcrt.h) with the Boehm-Demers-Weiser collector behind it, as
 * most of its users call it: GC_MALLOC, every word of an object may be a pointer.
 * boehm_typed.h includes this file with another PEER_BOEHM_ALLOC.
 */

#include "support/bench.h"

#define GC_THREADS
#include <gc/gc.h>
#include <gc/gc_typed.h>

#include <pthread.h>
#include <stdlib.h>

#ifndef PEER_NAME
# define PEER_NAME                    "boehm"
# define PEER_BOEHM_ALLOC(size, type) GC_MALLOC(size)
#endif

#define PEER_FREES 0

typedef struct peer_type {
    GC_descr descr; /* made by peer_type_init */
    GC_word mask;
    size_t size;
} peer_type;

#define PEER_TYPE(name_, T, mask_, ...)                                                    \
 static peer_type name_ __attribute__((unused)) = {0, (mask_), sizeof(T)}
#define PEER_TYPE_NOSCAN(name_, T)                                                         \
 static peer_type name_ __attribute__((unused)) = {0, 0, sizeof(T)}

/* One mask word is enough: no type here is larger than 512 bytes. */
#define peer_type_init(name_)                                                              \
 ((void)((name_).descr = GC_make_descriptor(&(name_).mask, (name_).size / sizeof(GC_word))))

/* Written by the thread that collects, read at the end. */
static struct bench_hist peer_pauses;
static uint64_t peer_pause_start, peer_pause_total;

/* The whole stop: from before the first thread is stopped to after the last runs. */
static void
peer_on_event(GC_EventType event)
{
    if (event == GC_EVENT_PRE_STOP_WORLD)
        peer_pause_start = bench_now_ns();
    if (event == GC_EVENT_POST_START_WORLD) {
        uint64_t pause = bench_now_ns() - peer_pause_start;

        bench_hist_add(&peer_pauses, pause);
        peer_pause_total += pause;
    }
}

static inline const char *
peer_version(void)
{
    static char text[32];
    unsigned version = GC_get_version();

    snprintf(text, sizeof(text), "%u.%u.%u", version >> 16, version >> 8 & 255,
            version & 255);
    return text;
}

/* BENCH_BOEHM_INCREMENTAL in the environment: generational and incremental marking. */
static inline void
peer_init(void)
{
    GC_INIT();
    if (getenv("BENCH_BOEHM_INCREMENTAL") != NULL)
        GC_enable_incremental();
    GC_set_on_collection_event(peer_on_event);
}

static inline void
peer_finish(void)
{
}

BENCH_INLINE void *
peer_alloc(size_t size, const peer_type *type)
{
    (void)type;
    return PEER_BOEHM_ALLOC(size, type);
}

BENCH_INLINE void *
peer_alloc_noscan(size_t size, const peer_type *type)
{
    (void)type;
    return GC_MALLOC_ATOMIC(size);
}

static inline void *
peer_alloc_pointers(size_t n)
{
    void *p = GC_MALLOC(n * sizeof(void *));

    if (p == NULL)
        bench_die("out of memory");
    return p;
}

BENCH_INLINE void *
peer_alloc_bytes(size_t n)
{
    return GC_MALLOC_ATOMIC(n);
}

BENCH_INLINE void
peer_free(void *p)
{
    (void)p;
}

/* Boehm finds changed pages by itself, also when incremental. */
#define peer_root(p)               ((void)(p))
#define peer_write(slot, value) ((void)(*(slot) = (value)))
#define PEER_WAITS

static inline void
peer_collect(void)
{
    GC_gcollect();
}

static inline void
peer_heap_stats(struct bench_heap_stats *ret)
{
    ret->cycles = GC_get_gc_no();
    ret->live_bytes = GC_get_heap_size() - GC_get_free_bytes();
    ret->sys_bytes = GC_get_heap_size();
}

static inline void
peer_json_pauses(void)
{
    bench_json_u64("pause_max_ns", peer_pauses.max);
    bench_json_u64("pause_total_ns", peer_pause_total);
    bench_json_u64("pause_p50_ns", bench_hist_quantile(&peer_pauses, 0.5));
    bench_json_u64("pause_p99_ns", bench_hist_quantile(&peer_pauses, 0.99));
    bench_json_u64("pause_p999_ns", bench_hist_quantile(&peer_pauses, 0.999));
}

/* gc.h makes these GC_pthread_create and GC_pthread_join. */
static inline void
peer_thread_create(pthread_t *ret, void *(*start)(void *), void *arg)
{
    if (pthread_create(ret, NULL, start, arg) != 0)
        bench_die("pthread_create failed");
}

static inline void
peer_thread_join(pthread_t thread)
{
    pthread_join(thread, NULL);
}

#endif
