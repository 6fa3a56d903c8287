/* SPDX-License-Identifier: MIT */
/*
 * Metrics by name.
 *
 * Purpose: the table of metrics, and reading any of them.
 * Place: behind the public gc_metrics_all and gc_metrics_read; export walks the same table.
 * Invariants: the table is sorted by name (the unit test checks it), and every row names a
 * field of struct snapshot, so a metric is nothing but a name for a field.
 * Concurrency: the table is constant; for the reading see snapshot.c.
 * Cost: one snapshot per call, then a binary search per sample.
 */
#include "metrics/metrics.h"

#include "gc/error.h"
#include "metrics/histogram.h"

#include <string.h>

enum { GAUGE = 0, COUNTER = 1 };

#define KIND_U64     GC_METRIC_U64
#define KIND_SECONDS GC_METRIC_F64
#define KIND_TIMES   GC_METRIC_HISTOGRAM
#define KIND_SIZES   GC_METRIC_HISTOGRAM

const gc_metric_desc gcrt_metrics_desc[] = {
#define METRIC(name, source, change, field, text) \
    { name, text, KIND_##source, change, __builtin_strchr(name, ':') + 1 },
#include "metrics/metrics.def"
#undef METRIC
};

const struct metric gcrt_metrics_table[] = {
#define METRIC(name, source, change, field, text) \
    { SOURCE_##source, offsetof(struct snapshot, field) },
#include "metrics/metrics.def"
#undef METRIC
};

const size_t gcrt_metrics_count = ARRAY_LEN(gcrt_metrics_desc);

int
gcrt_metrics_find(const char *name)
{
    size_t lo = 0, hi = gcrt_metrics_count;

    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        int order = strcmp(gcrt_metrics_desc[middle].name, name);

        if (order == 0)
            return (int)middle;
        if (order < 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    return -1;
}

gc_status
gcrt_metrics_no_heap(void)
{
    return gcrt_error(GC_ERR_NOTFOUND, "no heap: the caller is detached, none is default");
}

/* ---- reading ---- */

/* True if the caller's histogram has the metric's shape, and then it is filled. */
static bool
fill_histogram(gc_histogram *hist, const struct metric *m, const struct snapshot *s)
{
    if (hist == NULL || hist->nbuckets != gcrt_histogram_nbuckets(m->source))
        return false;
    gcrt_histogram_counts(m, s, hist->counts);
    return true;
}

static void
read_sample(gc_metric_sample *sample, const struct snapshot *s)
{
    int i = gcrt_metrics_find(sample->name);
    const struct metric *m;

    sample->kind = GC_METRIC_BAD;
    if (i < 0)
        return;
    m = &gcrt_metrics_table[i];
    if (gcrt_metrics_desc[i].kind == GC_METRIC_HISTOGRAM) {
        if (!fill_histogram(sample->value.hist, m, s))
            return;
    } else if (m->source == SOURCE_U64) {
        sample->value.u64 = metric_number(m, s);
    } else {
        sample->value.f64 = (double)metric_number(m, s) / 1e9;
    }
    sample->kind = gcrt_metrics_desc[i].kind;
}

const gc_metric_desc *
gc_metrics_all(size_t *n)
{
    if (n != NULL)
        *n = gcrt_metrics_count;
    return gcrt_metrics_desc;
}

gc_status
gc_metrics_read(gc_heap *heap, gc_metric_sample *samples, size_t n)
{
    struct snapshot s;

    if (samples == NULL && n > 0)
        return gcrt_error(GC_ERR_INVAL, "gc_metrics_read: samples is NULL");
    for (size_t i = 0; i < n; i++)
        if (samples[i].name == NULL)
            return gcrt_error(GC_ERR_INVAL, "gc_metrics_read: sample %zu has no name", i);
    heap = gcrt_heap_resolve(heap);
    if (heap == NULL)
        return gcrt_metrics_no_heap();
    gcrt_snapshot_read(heap, &s);
    for (size_t i = 0; i < n; i++)
        read_sample(&samples[i], &s);
    return GC_OK;
}
