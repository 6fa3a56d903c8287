/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_REPORT_H
#define GCRT_GC_REPORT_H

/*
 * What the collector leaves for those who watch it: the account of one cycle, for the
 * gctrace line and for hosts, and the marks that keep cumulative metrics from going back.
 */

#include "alloc/base/atomic.h"
#include "alloc/sizeclass.h"

/* A ratio in millionths. */
#define PACE_ONE 1000000u

/*
 * What the pacer planned for a cycle, what it saw, and what it made of that.  Sizes are bytes,
 * UINT64_MAX means never; ratios are in millionths and saturate.
 */
struct pace_report {
    uint64_t planned_start;   /* the trigger */
    uint64_t expected;        /* work */
    uint64_t assist_first;    /* bytes to scan per byte allocated, when marking opened ... */
    uint64_t assist_last;     /* ... and when it was complete */
    uint64_t dedicated;       /* workers without a break */
    uint64_t fractional;      /* share of each CPU for one more, in millionths */
    uint64_t heap_work;       /* bytes scanned in heap objects */
    uint64_t workers_share;   /* of all CPUs while marking, in millionths: by workers ... */
    uint64_t assists_share;   /* ... by allocating threads ... */
    uint64_t idle_share;      /* ... by workers on CPUs that nobody wanted */
    uint64_t cons_mark;       /* as this cycle had it, in millionths */
    uint64_t cons_mark_used;  /* the largest of the last ones */
    uint64_t runway;
    uint64_t next_trigger;    /* before the sweep */
    uint64_t next_goal;
};

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
    uint64_t heap_live;      /* ... of it marked, without what is external */
    uint64_t goal;           /* the goal that this cycle was paced for */
    uint64_t stacks;         /* scanned */
    uint64_t globals;        /* scanned */
    struct pace_report pace;
};

/* What was given back to the OS since the last report, and what there is. */
struct scavenge_report {
    uint64_t background; /* bytes: by the heap's own thread */
    uint64_t assist;     /* bytes: by threads that met a memory limit */
    uint64_t released;   /* bytes of the heap that are not backed, now */
    uint64_t in_use;     /* bytes of pages in spans */
    uint64_t retained;   /* bytes of pages that are backed */
    bool forced;         /* gc_free_os_memory */
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
