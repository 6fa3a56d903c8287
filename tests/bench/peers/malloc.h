/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_PEERS_MALLOC_H
#define GCRT_TESTS_BENCH_PEERS_MALLOC_H

/*
 * The peer interface (see gcrt.h) for a pair of malloc and free functions.  The including
 * header defines PEER_NAME, PEER_MALLOC, PEER_CALLOC, PEER_FREE and peer_version.
 */

#include "support/bench.h"

#include <pthread.h>
#include <stdlib.h>

#define PEER_FREES 1

typedef char peer_type;

#define PEER_TYPE(name_, T, mask_, ...)                                                    \
 static const peer_type name_ __attribute__((unused)) = 0
#define PEER_TYPE_NOSCAN(name_, T) static const peer_type name_ __attribute__((unused)) = 0
#define peer_type_init(name_)      ((void)(name_))

static inline void
peer_init(void)
{
}

static inline void
peer_finish(void)
{
}

BENCH_INLINE void *
peer_alloc(size_t size, const peer_type *type)
{
    (void)type;
    return PEER_MALLOC(size);
}

BENCH_INLINE void *
peer_alloc_noscan(size_t size, const peer_type *type)
{
    (void)type;
    return PEER_MALLOC(size);
}

static inline void *
peer_alloc_pointers(size_t n)
{
    void *p = PEER_CALLOC(n, sizeof(void *));

    if (p == NULL)
        bench_die("out of memory");
    return p;
}

BENCH_INLINE void *
peer_alloc_bytes(size_t n)
{
    return PEER_MALLOC(n);
}

BENCH_INLINE void
peer_free(void *p)
{
    PEER_FREE(p);
}

#define peer_root(p)               ((void)(p))
#define peer_write(slot, value) ((void)(*(slot) = (value)))
#define PEER_WAITS

static inline void
peer_collect(void)
{
}

static inline void
peer_heap_stats(struct bench_heap_stats *ret)
{
    ret->cycles = ret->live_bytes = ret->sys_bytes = 0;
}

static inline void
peer_json_pauses(void)
{
}

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
