/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_WORKER_H
#define GCRT_GC_WORKER_H

/*
 * Background marking threads, and how everybody knows that marking may be over.
 *
 * Whoever takes work from the public stacks first counts itself into marking->activity, and
 * out again when its private queues are empty or published.  With no marker active, all
 * stacks empty, and no activation between the two looks, no grey object is outside the
 * mutators' private buffers; H4 then asks for those.
 */

#include "gc/heap.h"
#include "gc/mark.h"

struct worker {
    struct gc_heap *heap; /* const */
    uint32_t index;       /* const */
    aword share;          /* atomic: guaranteed CPUs in millionths; coordinator writes */
    aword base;           /* atomic: of share, what the pacer wants; coordinator writes */
    struct marker marker; /* owner */
} CACHE_ALIGNED;

/* Memory for the workers; threads start with the first cycle.  False without memory. */
bool gcrt_workers_init(struct gc_heap *heap);
/* Stops and joins the threads. */
void gcrt_workers_finish(struct gc_heap *heap);

/* Starts missing threads.  Coordinator, which holds nobody. */
void gcrt_workers_make(struct gc_heap *heap);
/* Marking opens: hands out shares and, but for solo marking, wakes everybody. */
void gcrt_workers_start(struct gc_heap *heap, const struct pacer_workers *shares);
/* While marking: the workers' share follows what mutators pay.  Coordinator. */
void gcrt_workers_revise(struct gc_heap *heap);
/* No more is owed than is left: near the goal the ratio knows no bounds.  Coordinator. */
void gcrt_workers_forgive(struct gc_heap *heap, uint64_t left);
/* Scan bytes that workers will do beyond their usual share, so nobody else need. Coordinator. */
uint64_t gcrt_workers_owe(const struct gc_heap *heap);
/* n bytes were scanned by no mutator, `extra` of them beyond the pacer's share. */
void gcrt_workers_pay(struct gc_heap *heap, uint64_t n, uint64_t extra);
/* Wakes sleeping workers: there may be work for them. */
void gcrt_workers_ring(struct gc_heap *heap);

/* Counting in and out, by workers and assists. */
void gcrt_marking_begin(struct gc_heap *heap);
void gcrt_marking_end(struct gc_heap *heap);
/* Counts out the coordinator, who looks for what is left itself. */
void gcrt_marking_end_quietly(struct gc_heap *heap);
/* Nobody marks and no work is public, at one moment during the call. */
bool gcrt_marking_is_quiet(struct gc_heap *heap);

#endif
