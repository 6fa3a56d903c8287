/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_CHROMETRACE_H
#define GCRT_METRICS_CHROMETRACE_H

#include "gc/trace.h"

#include <gcrt/metrics.h>

/*
 * Writes n events in the form of Chrome's traces; sorts them.  Times count from the heap's start.
 * Phases that ended before from_ns are left out; they are among the events because where
 * they end is where the next one begins.  GC_OK, GC_ERR_SINK.
 */
gc_status gcrt_chrometrace_write(struct gc_heap *heap, struct trace_event *events, size_t n,
        uint64_t from_ns, const gc_sink *sink);

#endif
