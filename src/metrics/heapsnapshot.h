/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_HEAPSNAPSHOT_H
#define GCRT_METRICS_HEAPSNAPSHOT_H

/* The object graph as a .heapsnapshot file, which Chrome DevTools opens. */

#include "gc/graph.h"
#include <gcrt/metrics.h>

/* GC_ERR_SINK as soon as the sink refuses; GC_ERR_NOMEM. */
gc_status gcrt_heapsnapshot_write(const struct graph *graph, const gc_sink *sink);

#endif
