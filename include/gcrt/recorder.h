/* SPDX-License-Identifier: MIT */
#ifndef GCRT_RECORDER_H
#define GCRT_RECORDER_H

#include <gcrt/metrics.h>

GC_IMPL_BEGIN

/*
 * The flight recorder: each thread's last events, kept in a ring of memory: cycles and their
 * phases, handshakes and what each thread did in them, assists, waits, marking, refills, memory
 * given back, callbacks.  What is kept is written as a Chrome trace, which ui.perfetto.dev and
 * chrome://tracing show with a row for each thread.
 *
 * Off, it costs a load and a branch in slow paths; on, some 50 ns an event, and nothing in
 * gc_alloc's and gc_write's inline halves.  docs/observability.md has the events.
 *
 * Where the library was built with sys/sdt.h the same events are probes `gcrt:NAME` with two
 * arguments (USDT), for bpftrace and its like, whether it records or not.
 */

typedef struct gc_recorder_options {
    size_t ring_bytes; /* each thread's, 40 bytes an event; 0: 64 KiB; brought to 4 KiB .. 4 MiB.
                          The first start of a heap decides */
    uint64_t pause_ns; /* listeners are told of pauses as long as this; 0: of none */
} gc_recorder_options;

/*
 * Begins to record; opt NULL: all zero.  If it records already only pause_ns changes.  128
 * threads at a time have rings.  Any thread.  GC_ERR_NOTFOUND: no heap; GC_ERR_NOMEM.
 */
GC_API GC_MUST_CHECK gc_status gc_recorder_start(gc_heap *heap, const gc_recorder_options *opt);
/* No more events; those that are there can still be written.  Any thread. */
GC_API void gc_recorder_stop(gc_heap *heap);

/*
 * Writes the events that ended in the last last_ns nanoseconds, 0: all that are kept, as JSON.  It
 * goes on recording, and holds nobody up.  Memory for a copy comes from malloc.  Any thread, a
 * listener's call too.  GC_ERR_INVAL: no sink; GC_ERR_NOTFOUND: no heap; GC_ERR_NOMEM;
 * GC_ERR_SINK: the sink refused, and what it has got is no whole file.
 */
GC_API GC_MUST_CHECK gc_status gc_recorder_write(
        gc_heap *heap, uint64_t last_ns, const gc_sink *sink);

GC_IMPL_END

#endif
