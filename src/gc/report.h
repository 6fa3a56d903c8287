/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_REPORT_H
#define GCRT_GC_REPORT_H

/*
 * What the collector leaves for those who watch it: the account of one cycle, for the
 * gctrace line and for hosts, and the marks that keep cumulative metrics from going back.
 */

#include "alloc/base/atomic.h"
#include "alloc/sizeclass.h"

/*
 * One complete cycle.  Times are nanoseconds, sizes bytes.  The start is H1 to H3, the end
 * H5 and H6; what lies between them, all rounds of H4 included, is concurrent marking.
 */
struct cycle_report {
    uint64_t cycle;          /* number, from 1 */
    uint64_t since_start_ns; /* from the heap's start to this cycle's start */
    uint64_t forced;         /* 1: gc_collect asked for it */
    uint64_t nps;            /* Ps that exist */

    /* since the heap's start */
    uint64_t gc_cpu_ns;      /* CPU time of the collector, idle marking left out */
    uint64_t total_cpu_ns;   /* CPUs x wall time */

    /* wall time */
    uint64_t start_wall_ns;
    uint64_t mark_wall_ns;
    uint64_t end_wall_ns;

    /* CPU time */
    uint64_t start_cpu_ns;   /* handshake work for all mutators in H1 to H3 */
    uint64_t assist_ns;
    uint64_t dedicated_ns;
    uint64_t idle_ns;
    uint64_t end_cpu_ns;     /* handshake work for all mutators in H4 to H6 */

    uint64_t heap_start;     /* heap when the cycle started */
    uint64_t heap_end;       /* ... when marking was complete */
    uint64_t heap_live;      /* ... of it marked */
    uint64_t goal;           /* the goal that this cycle was paced for */
    uint64_t stacks;         /* scanned */
    uint64_t globals;        /* scanned */
};

/*
 * The highest values that statistics have shown.  Counts of small objects are read from
 * running caches and may come out a little low; what has been shown once is the lower bound
 * of what is shown later (metrics/snapshot.c).  Zeroed is valid.
 */
struct count_floor {
    aword allocs[NUM_CLASSES]; /* atomic: objects */
    aword user_ns;             /* atomic */
};

#endif
