/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_TRACE_H
#define GCRT_GC_TRACE_H

/*
 * What the collector and its threads do, in rings of events and as probes.
 *
 *     uint64_t start = trace_begin(heap);
 *     ...
 *     TRACE(heap, assist, start, bytes, 0);
 */

#include "gc/heap.h"

#if defined(GCRT_SDT)
# include <sys/sdt.h>
# define TRACE_PROBE(name, a, b) DTRACE_PROBE2(gcrt, name, a, b)
#else
# define TRACE_PROBE(name, a, b) ((void)(a), (void)(b))
#endif

enum trace_kind {
#define X(name, title, a, b) TRACE_##name,
#include "gc/trace.def"
#undef X
    TRACE_KINDS
};

/* One event, as a reader gets it. */
struct trace_event {
    enum trace_kind kind;
    int tid;
    uint32_t b;
    uint64_t start_ns, duration_ns; /* monotonic; 0 where there is no duration */
    uint64_t a;
};

static inline bool
trace_is_on(const struct gc_heap *heap)
{
    return UNLIKELY(ahalf_load_relaxed(&heap->tracing.on) != 0);
}

/* When something begins that shall be traced; 0 while nothing is. */
static inline uint64_t
trace_begin(const struct gc_heap *heap)
{
    return trace_is_on(heap) ? gcrt_os_now_ns() : 0;
}

/*
 * start_ns: when it began, 0: now, and it has no duration.  Any thread, also in a handshake's
 * handler.  Threads that are neither attached nor the collector's leave probes only.
 */
#define TRACE(heap, name, start_ns, a, b)                                                  \
    do {                                                                                   \
        TRACE_PROBE(name, a, b);                                                           \
        if (trace_is_on(heap))                                                             \
            gcrt_trace_put(heap, TRACE_##name, start_ns, a, (uint32_t)(b));                \
    } while (0)

void gcrt_trace_put(struct gc_heap *heap, enum trace_kind kind, uint64_t start_ns, uint64_t a,
        uint32_t b);

/* The calling thread may have a ring from now on; and its ring is others' again. */
void gcrt_trace_thread_begin(void);
void gcrt_trace_thread_end(void);

void gcrt_trace_init(struct gc_heap *heap);
void gcrt_trace_finish(struct gc_heap *heap);

/* GC_OK, GC_ERR_NOMEM.  ring_bytes counts once, for the first time.  Any thread. */
gc_status gcrt_trace_start(struct gc_heap *heap, size_t ring_bytes);
void gcrt_trace_stop(struct gc_heap *heap);

/*
 * Events that ended at or after from_ns, those of one ring in the order of their ends.  *ret is the
 * caller's, to be freed; NULL for none.  GC_ERR_NOMEM.
 */
gc_status gcrt_trace_read(struct gc_heap *heap, uint64_t from_ns, struct trace_event **ret,
        size_t *n);

/* In a forked child: the other threads are not here. */
void gcrt_trace_forget(struct gc_heap *heap);

#endif
