/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_STATS_H
#define GCRT_METRICS_STATS_H

#include "metrics/snapshot.h"

#include <gcrt/metrics.h>

/* A snapshot in the words of MemStats. */
void gcrt_stats_fill(const struct snapshot *s, gc_stats *ret);

#endif
