/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_METRICS_H
#define GCRT_METRICS_METRICS_H

/* The table of metrics: metrics.def as C sees it. */

#include "metrics/snapshot.h"

#include <gcrt/metrics.h>

/* What a metric is made from; see metrics.def. */
enum metric_source { SOURCE_U64, SOURCE_SECONDS, SOURCE_TIMES, SOURCE_SIZES };

struct metric {
    enum metric_source source;
    size_t offset; /* in struct snapshot */
};

extern const size_t gcrt_metrics_count;
extern const gc_metric_desc gcrt_metrics_desc[];
extern const struct metric gcrt_metrics_table[];

/* Index of the named metric, or -1. */
int gcrt_metrics_find(const char *name);

/* The field of a U64 or SECONDS metric: a number, or nanoseconds. */
static inline uint64_t
metric_number(const struct metric *m, const struct snapshot *s)
{
    return *(const uint64_t *)(const void *)((const char *)s + m->offset);
}

/* GC_ERR_NOTFOUND, and its sentence: there is no heap to read. */
gc_status gcrt_metrics_no_heap(void);

#endif
