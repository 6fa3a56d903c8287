/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_PEERS_GCRT_H
#define GCRT_TESTS_BENCH_PEERS_GCRT_H

/*
 * The peer interface, with gcrt behind it.  A program is compiled once per peer, with
 * PEER_HEADER naming the header; each peer header defines the same things:
 *
 * PEER_NAME                 text for the results
 * peer_version              of what the program was built against, or runs with
 * PEER_TYPE(name, T, mask, field, ...)  a type; bit i of mask: word i is a pointer
 * PEER_TYPE_NOSCAN(name, T) a type without pointers
 * PEER_FREES                1 where peer_free does something
 * peer_type_init            to be called on each PEER_TYPE before its first use
 * peer_init, peer_finish    first and last call of the main thread
 * peer_alloc                one object; a collector's is zeroed, malloc's is not
 * peer_alloc_noscan         the same for types without pointers
 * peer_alloc_pointers       a zeroed array of pointers
 * peer_alloc_bytes          n bytes without pointers, not zeroed where the peer can do so
 * peer_free                 gives an object back; nothing where a collector does it
 * peer_write                stores a pointer into an object that others may see
 * peer_root                 an object to start from, where a peer does not find its roots
 * peer_collect              one full collection
 * peer_heap_stats           fills what the peer knows
 * peer_json_pauses          pauses as the peer itself counts them
 * peer_thread_create/_join  threads that may allocate
 * PEER_WAITS                a block that may wait and touches no object
 */

#include "support/bench.h"

#include <gcrt/gcrt.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PEER_NAME  "gcrt"
#define PEER_FREES 0

typedef gc_type peer_type;

/* clang-format off */
#define PEER_TYPE(name_, T, mask_, ...)                                                    \
    enum { name_##_mask = (mask_) };                                                       \
    GC_TYPE(name_, T, __VA_ARGS__)
#define PEER_TYPE_NOSCAN(name_, T) GC_TYPE_NOSCAN(name_, T)

/* The two descriptions of a type must agree, or the peers would not do the same work. */
#define peer_type_init(name_)                                                              \
    bench_check((name_).mask == (uint64_t)name_##_mask, "pointer mask of " #name_)
/* clang-format on */

static inline const char *
peer_version(void)
{
    return GC_VERSION_STRING;
}

static inline void
peer_init(void)
{
    if (gc_init(NULL) != GC_OK)
        bench_die(gc_last_error());
}

static inline void
peer_finish(void)
{
    gc_shutdown();
}

BENCH_INLINE void *
peer_alloc(size_t size, const peer_type *type)
{
    (void)size;
    return gc_alloc(type);
}

BENCH_INLINE void *
peer_alloc_noscan(size_t size, const peer_type *type)
{
    (void)size;
    return gc_alloc(type);
}

static inline void *
peer_alloc_pointers(size_t n)
{
    return gc_alloc_array(&gc_pointer_type, n);
}

BENCH_INLINE void *
peer_alloc_bytes(size_t n)
{
    return gc_alloc_bytes_uninit(n);
}

BENCH_INLINE void
peer_free(void *p)
{
    (void)p;
}

#define peer_root(p)               ((void)(p))
#define peer_write(slot, value) gc_write(slot, value)
#define PEER_WAITS              GC_BLOCKING

static inline void
peer_collect(void)
{
    gc_collect(NULL);
}

static inline void
peer_heap_stats(struct bench_heap_stats *ret)
{
    gc_stats stats;

    gc_stats_read(NULL, &stats);
    ret->cycles = stats.num_gc;
    ret->live_bytes = stats.heap_alloc;
    ret->sys_bytes = stats.heap_sys;
}

static inline void
peer_json_pauses(void)
{
    const char *name = "/gc/handshake/pause:seconds";
    gc_metric_sample sample = {.name = name};
    gc_stats stats;

    gc_stats_read(NULL, &stats);
    bench_json_u64("pause_max_ns", stats.pause_max_ns);
    bench_json_u64("pause_total_ns", stats.pause_total_ns);
    sample.value.hist = gc_histogram_create(name);
    if (sample.value.hist == NULL || gc_metrics_read(NULL, &sample, 1) != GC_OK)
        bench_die("no metric /gc/handshake/pause:seconds");
    bench_json_f64("pause_p50_ns", 1e9 * gc_histogram_quantile(sample.value.hist, 0.5));
    bench_json_f64("pause_p99_ns", 1e9 * gc_histogram_quantile(sample.value.hist, 0.99));
    bench_json_f64("pause_p999_ns", 1e9 * gc_histogram_quantile(sample.value.hist, 0.999));
    gc_histogram_free(sample.value.hist);
}

static inline void
peer_thread_create(pthread_t *ret, void *(*start)(void *), void *arg)
{
    if (gc_pthread_create(ret, NULL, start, arg) != GC_OK)
        bench_die(gc_last_error());
}

static inline void
peer_thread_join(pthread_t thread)
{
    GC_BLOCKING {
        pthread_join(thread, NULL);
    }
}

#endif
