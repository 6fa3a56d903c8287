/* SPDX-License-Identifier: MIT */
/*
 * Histograms: shapes, copies, quantiles.
 *
 * Purpose: give the two kinds of histogram one form.
 * Place: metrics reads through it, export prints through it, hosts make their copies here.
 * Invariants: bounds rise strictly, but for the first two of times (underflow, then 0);
 * for sizes bucket c counts size class c + 1, and the last one the large objects.
 * Concurrency: copies are word by word out of atomic counters: each count is exact at some
 * moment of the call, and none ever falls.
 * Cost: cold.
 */
#include "metrics/histogram.h"

#include "gc/error.h"

#include <math.h>
#include <stdlib.h>

/* ---- shapes ---- */

size_t
gcrt_histogram_nbuckets(enum metric_source source)
{
    switch (source) {
    case SOURCE_TIMES:
        return TIMEHIST_BUCKETS;
    case SOURCE_SIZES:
        return NUM_CLASSES;
    default:
        return 0;
    }
}

uint64_t
gcrt_histogram_bound(enum metric_source source, size_t i)
{
    if (i >= gcrt_histogram_nbuckets(source))
        return HISTOGRAM_OPEN;
    if (source == SOURCE_TIMES)
        return timehist_lower_ns((unsigned)i);
    return (uint64_t)gcrt_class_bytes[i] + 1; /* class 0 has 0 bytes, so the first is 1 */
}

/* The same as the public struct has it. */
static double
bound_double(enum metric_source source, size_t i)
{
    uint64_t bound = gcrt_histogram_bound(source, i);

    if (bound == HISTOGRAM_OPEN)
        return (double)INFINITY;
    if (source == SOURCE_SIZES)
        return (double)bound;
    return i == 0 ? -(double)INFINITY : (double)bound / 1e9;
}

/* ---- counts ---- */

void
gcrt_histogram_counts(const struct metric *m, const struct snapshot *s, uint64_t *counts)
{
    const void *field = (const char *)s + m->offset;

    if (m->source == SOURCE_TIMES) {
        const struct timehist *h = *(const struct timehist *const *)field;

        for (size_t i = 0; i < TIMEHIST_BUCKETS; i++)
            counts[i] = aword_load_relaxed(&h->counts[i]);
    } else {
        const uint64_t *by_class = field;

        for (size_t i = 1; i < NUM_CLASSES; i++)
            counts[i - 1] = by_class[i];
        counts[NUM_CLASSES - 1] = by_class[CLASS_LARGE];
    }
}

static uint64_t
total(const uint64_t *counts, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += counts[i];
    return sum;
}

/* The bucket with the rank-th sample, counted from 1; rank <= total. */
static size_t
bucket_of_rank(const uint64_t *counts, uint64_t rank)
{
    size_t i = 0;

    while (counts[i] < rank)
        rank -= counts[i++];
    return i;
}

/* Smallest rank of n samples that covers the share; at least 1, at most n. */
static uint64_t
rank_of(double share, uint64_t n)
{
    double want = share * (double)n;
    uint64_t rank;

    if (!(want > 1))
        return 1;
    if (want >= (double)n)
        return n;
    rank = (uint64_t)want;
    return (double)rank < want ? rank + 1 : rank;
}

/* The same for thousandths, exactly: 28 % of 25 samples are 7, not 7.000000000000001. */
static uint64_t
rank_of_permille(unsigned permille, uint64_t n)
{
    uint64_t rank = n / 1000 * permille + (n % 1000 * permille + 999) / 1000;

    return rank > 0 ? rank : 1;
}

uint64_t
gcrt_histogram_quantile(enum metric_source source, const uint64_t *counts,
        unsigned permille)
{
    size_t n = gcrt_histogram_nbuckets(source), i;
    uint64_t sum = total(counts, n), upper;

    if (sum == 0)
        return 0;
    i = bucket_of_rank(counts, rank_of_permille(permille, sum));
    upper = gcrt_histogram_bound(source, i + 1);
    if (upper == HISTOGRAM_OPEN)
        return gcrt_histogram_bound(source, i);
    return source == SOURCE_SIZES ? upper - 1 : upper; /* all of a class have its size */
}

/* ---- public ---- */

gc_histogram *
gc_histogram_create(const char *name)
{
    int found = name == NULL ? -1 : gcrt_metrics_find(name);
    enum metric_source source = found < 0 ? SOURCE_U64 : gcrt_metrics_table[found].source;
    size_t n = gcrt_histogram_nbuckets(source);
    gc_histogram *hist;
    double *bounds;

    if (n == 0) {
        (void)gcrt_error(GC_ERR_NOTFOUND, "gc_histogram_create: %s is no histogram",
                name == NULL ? "NULL" : name);
        return NULL;
    }
    /* One block: the struct, n counts, n + 1 bounds; all of them 8-byte words. */
    hist = calloc(1, sizeof(*hist) + n * sizeof(uint64_t) + (n + 1) * sizeof(double));
    if (hist == NULL) {
        (void)gcrt_error(GC_ERR_NOMEM, "gc_histogram_create: no memory for %zu buckets", n);
        return NULL;
    }
    hist->nbuckets = n;
    hist->counts = (uint64_t *)(void *)(hist + 1);
    bounds = (double *)(void *)(hist->counts + n);
    for (size_t i = 0; i <= n; i++)
        bounds[i] = bound_double(source, i);
    hist->bounds = bounds;
    return hist;
}

void
gc_histogram_free(gc_histogram *hist)
{
    free(hist);
}

double
gc_histogram_quantile(const gc_histogram *hist, double q)
{
    uint64_t sum = hist == NULL ? 0 : total(hist->counts, hist->nbuckets);
    size_t i;

    if (sum == 0)
        return 0;
    i = bucket_of_rank(hist->counts, rank_of(q, sum));
    return hist->bounds[i + 1] < (double)INFINITY ? hist->bounds[i + 1] : hist->bounds[i];
}
