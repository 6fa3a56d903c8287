/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_H
#define GCRT_METRICS_H

#include <gcrt/options.h>

GC_IMPL_BEGIN

/*
 * Named metrics, in the manner (and mostly with the names) of Go's runtime/metrics.
 * Reading stops nobody and takes no heap lock.  Any thread, also detached ones.
 */
typedef enum gc_metric_kind {
    GC_METRIC_BAD = 0, /* no such metric: value undefined */
    GC_METRIC_U64,
    GC_METRIC_F64,
    GC_METRIC_HISTOGRAM
} gc_metric_kind;

/* counts[i] is the number of samples in [bounds[i], bounds[i + 1]). */
typedef struct gc_histogram {
    size_t nbuckets;
    uint64_t *counts;     /* nbuckets entries */
    const double *bounds; /* nbuckets + 1 entries; the first may be -inf, the last +inf */
} gc_histogram;

typedef struct gc_metric_desc {
    const char *name;        /* "/gc/heap/live:bytes" */
    const char *description; /* one sentence */
    gc_metric_kind kind;
    int cumulative;          /* 1: only grows; 0: a gauge */
    const char *unit;        /* what follows the name's ":", "bytes" */
} gc_metric_desc;

/*
 * A histogram's memory belongs to the caller: set value.hist to a struct from
 * gc_histogram_create(name) before the first read, and reuse it.
 */
typedef struct gc_metric_sample {
    const char *name;
    gc_metric_kind kind; /* set by gc_metrics_read */
    union {
        uint64_t u64;
        double f64;
        gc_histogram *hist;
    } value;
} gc_metric_sample;

/* All metrics, sorted by name; *n receives their number.  Never freed. */
GC_API const gc_metric_desc *gc_metrics_all(size_t *n);

/*
 * Fills the samples, all from one moment as far as the sums among them go.  An unknown
 * name reads as GC_METRIC_BAD, a histogram sample without memory of its shape too.
 * Cumulative values never go back.  GC_ERR_INVAL for NULL samples with n > 0 or a NULL
 * name, GC_ERR_NOTFOUND without a heap.
 */
GC_API GC_MUST_CHECK gc_status gc_metrics_read(gc_heap *heap, gc_metric_sample *samples,
        size_t n);

/* Memory for the named histogram (malloc'ed; NULL if there is none or no memory). */
GC_API GC_MUST_CHECK gc_histogram *gc_histogram_create(const char *name);
GC_API void gc_histogram_free(gc_histogram *hist);

/*
 * The value below which the share q (0..1) of the samples lies, by bucket bounds: it errs
 * upwards, or is the lower bound of a bucket without an upper one.  0 without samples.
 */
GC_API double gc_histogram_quantile(const gc_histogram *hist, double q);

/* Where text goes: return 0 to go on, non-zero to stop with GC_ERR_SINK. */
typedef struct gc_sink {
    int (*write)(void *arg, const char *bytes, size_t n);
    void *arg;
} gc_sink;

/* What an HTTP answer with the texts of the first two functions below has as Content-Type. */
#define GC_PROMETHEUS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define GC_OPENMETRICS_CONTENT_TYPE \
    "application/openmetrics-text; version=1.0.0; charset=utf-8"

/*
 * All metrics in Prometheus' text format, in OpenMetrics' (a whole text, with its "# EOF"), or
 * as one JSON object, in pieces of some hundred bytes; nothing is allocated.  Any thread.
 * GC_ERR_INVAL: no sink; GC_ERR_NOTFOUND: no heap; GC_ERR_SINK: the sink refused, and is not
 * called again, so what it has got is the beginning of a text.
 */
GC_API GC_MUST_CHECK gc_status gc_metrics_write_prometheus(gc_heap *heap,
        const gc_sink *sink);
GC_API GC_MUST_CHECK gc_status gc_metrics_write_openmetrics(gc_heap *heap,
        const gc_sink *sink);
GC_API GC_MUST_CHECK gc_status gc_metrics_write_json(gc_heap *heap, const gc_sink *sink);

#define GC_STATS_CLASSES 68

/*
 * Go's MemStats: bytes unless said.  Tiny objects count one by one in mallocs and frees,
 * but not in heap_objects and by_size, where the block that they share is one object.
 */
typedef struct gc_stats {
    uint64_t alloc, total_alloc, sys, mallocs, frees;
    uint64_t heap_alloc, heap_sys, heap_idle, heap_inuse, heap_released, heap_objects;
    uint64_t stack_inuse; /* bytes of thread stacks scanned in the last cycle */
    uint64_t metadata_sys; /* span descriptors, bitmaps, caches, work buffers */
    uint64_t next_gc;      /* heap goal */
    uint64_t last_gc_ns;   /* end of the last cycle, ns since the epoch; 0: none yet */
    uint64_t pause_total_ns, pause_max_ns; /* per-thread handshake work */
    uint64_t num_gc, num_forced_gc;
    double gc_cpu_fraction; /* of CPUs x time since the heap's start, 0..1 */
    struct {
        uint32_t size;
        uint64_t mallocs, frees;
    } by_size[GC_STATS_CLASSES]; /* class 0 is the large objects */
} gc_stats;

/* All zero without a heap. */
GC_API void gc_stats_read(gc_heap *heap, gc_stats *ret);

/* What the calling thread has spent on the collector since it attached. */
typedef struct gc_thread_stats {
    uint64_t total_alloc; /* bytes that its allocations took, unused rests of runs included */
    uint64_t assists, assist_ns, assist_max_ns; /* marking, and cycles it ran: CPU time */
    uint64_t waits, wait_ns; /* while the heap was above its goal: wall time */
    uint64_t pauses, pause_ns, pause_max_ns; /* handshakes that it answered: wall time */
} gc_thread_stats;

/* Any thread, about itself; all zero while it is detached. */
GC_API void gc_thread_stats_read(gc_thread_stats *ret);

GC_IMPL_END

#endif
