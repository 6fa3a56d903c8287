/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_STATS_H
#define LOOKUP_STATS_H

#include "routes.h"

#include <stdio.h>

/* Where the process stands at one moment: clocks and the collector's totals. */
struct stats_mark {
    double wall_s;
    double cpu_s;    /* user and system time of the process */
    double gc_cpu_s; /* the collector's share of it */
    uint64_t cycles;
    uint64_t alloc_bytes; /* allocated since the start */
};

void stats_mark(struct stats_mark *ret);

/*
 * Writes what happened since the mark, and how the heap stands, as `name value` lines.  The
 * report program reads them; so can a script.
 */
void stats_write(FILE *out, const struct stats_mark *since, const struct counters *count,
        uint64_t replaced);

#endif
