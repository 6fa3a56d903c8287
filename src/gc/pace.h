/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_PACE_H
#define GCRT_GC_PACE_H

/* A cycle's accounts: between cycle, pacer, counters and report. */

#include "gc/heap.h"
#include "gc/report.h"

/* What one cycle remembers from its start to its end. */
struct cycle {
    struct gc_heap *heap;
    struct cycle_report report;
    uint64_t begun_ns;
    uint64_t start_ns, mark_ns, end_mark_ns, end_ns;
    uint64_t pause_start, pause_mark; /* counters->pause_ns at these points */
    uint64_t black_start;             /* sum of the Ps' black_bytes when marking began */
    uint64_t dropped;                 /* mheap.dropped_live when marking was closed */
    uint64_t scan_start;              /* sum of the Ps' scan_bytes when it began */
    uint64_t heap_scan;               /* scannable bytes then, at most */
    uint64_t stack_scan;              /* bytes of stacks, all scanned by H3 */
    uint64_t external;                /* bytes that count as marked */
    bool revised;                     /* there was an assist ratio */
};

/* Bytes marked by the last cycle, allocated since, and external; never wrapped. */
uint64_t gcrt_pace_live(const struct gc_heap *heap);

/* Copies goal and trigger out of the pacer; no trigger while a cycle runs.  RANK_CYCLE held. */
void gcrt_pace_publish_locked(struct gc_heap *heap);

/*
 * Settings, from any thread, critical; each returns the value before.  They take effect at
 * once, but for the trigger while a cycle runs: its end brings the next one.
 */
int64_t gcrt_pace_set_gogc(struct gc_heap *heap, int64_t percent);
uint64_t gcrt_pace_set_heap_min(struct gc_heap *heap, uint64_t bytes);
/* The memory limit, or what it is compared with, has changed. */
void gcrt_pace_limit_changed(struct gc_heap *heap);

/* In the order of a cycle; all by the coordinator. */

void gcrt_pace_start(struct cycle *cy);
/* H3 is complete. */
void gcrt_pace_mark(struct cycle *cy);
/* A fresh assist ratio. */
void gcrt_pace_revise(struct cycle *cy);
/* heap->live becomes what was marked, and what has been allocated since. */
void gcrt_pace_settle(struct cycle *cy);
/* The cycle but for its sweep is over: next goal and trigger, counters, report. */
void gcrt_pace_end(struct cycle *cy);
/* The sweep is over too. */
void gcrt_pace_swept(struct gc_heap *heap);

#endif
