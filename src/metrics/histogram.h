/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_HISTOGRAM_H
#define GCRT_METRICS_HISTOGRAM_H

/*
 * Histograms as they are shown: durations (struct timehist) and objects by size class.
 *
 * Both count integers, nanoseconds or bytes, and so does everything here; only the public
 * struct has doubles.  Bucket i counts values from bound i to below bound i + 1.
 */

#include "metrics/metrics.h"

#define HISTOGRAM_BUCKETS_MAX TIMEHIST_BUCKETS
#define HISTOGRAM_OPEN        UINT64_MAX /* the bound that is infinite */

size_t gcrt_histogram_nbuckets(enum metric_source source);

/*
 * Lower bound of bucket i in nanoseconds or bytes; HISTOGRAM_OPEN for i = nbuckets.  The
 * underflow bucket of times, 0, is empty and its bound counts as 0.
 */
uint64_t gcrt_histogram_bound(enum metric_source source, size_t i);

/* Copies the counts of a histogram metric. */
void gcrt_histogram_counts(const struct metric *m, const struct snapshot *s,
        uint64_t *counts);

/*
 * The number that at least the share permille / 1000 of the samples do not exceed, by bucket
 * bounds: the upper bound of that bucket (of sizes the class's), the lower one if it is open.
 * 0 without samples.
 */
uint64_t gcrt_histogram_quantile(enum metric_source source, const uint64_t *counts,
        unsigned permille);

#endif
