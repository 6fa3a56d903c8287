/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_LIMIT_H
#define GCRT_GC_LIMIT_H

/* The memory limit: what counts, and what is done about it. */

#include "gc/heap.h"

/* What the heap and its metadata take of the OS, each by its owner's own count. */
struct memory_inputs {
    uint64_t grown, in_use, released; /* of the heap's own range */
    uint64_t mspans;                  /* descriptors */
    uint64_t pages, workbufs;         /* what is touched of two big mappings */
    uint64_t persist, mcaches, profile; /* the latter two lie in persist */
    uint64_t beside;                  /* the heap's record and debug shadows */
};

/* All but mcaches.  No lock; each input is right, but of its own moment. */
void gcrt_limit_read_memory(const struct gc_heap *heap, struct memory_inputs *in);

/*
 * Bytes that are mapped and backed by memory, heap and metadata: the sum of the metrics
 * /memory/classes without the released bytes.  What the limit counts, beside external bytes.
 */
uint64_t gcrt_limit_mapped(const struct gc_heap *heap);

/* From the options, before the heap is made; heap->cpus is set. */
void gcrt_limit_init(struct gc_heap *heap);

/* A negative value only asks.  Returns the previous one.  Critical. */
int64_t gcrt_limit_set(struct gc_heap *heap, int64_t bytes);

/* A line if the limit is below what is mapped.  Outside every lock, not critical. */
void gcrt_limit_complain(struct gc_heap *heap);

/* GC_ERR_INVAL if the sum leaves [0, INT64_MAX].  Critical. */
gc_status gcrt_limit_external(struct gc_heap *heap, int64_t delta);

/* Marking is complete, so the heap is as full as it gets.  RANK_CYCLE held. */
void gcrt_limit_peak_locked(struct gc_heap *heap);

/* Tells the pacer what the limit leaves.  RANK_CYCLE held. */
void gcrt_limit_to_pacer_locked(struct gc_heap *heap);
/* Tells mheap what may be backed; that depends on who sets the goal.  RANK_CYCLE held. */
void gcrt_limit_set_bounds_locked(struct gc_heap *heap);

/* ---- the limiter ---- */

/*
 * The limit sets the goal, and the collector has had its share of the CPU time: whoever
 * allocates neither marks nor waits, and the heap exceeds the limit.
 */
static inline bool
limit_is_given_up(const struct gc_heap *heap)
{
    return ahalf_load_relaxed(&heap->limit.limiting) && ahalf_load_relaxed(&heap->limit.binding);
}

/* The coordinator's, every few milliseconds while it works. */
void gcrt_limit_tick(struct gc_heap *heap);

/*
 * The coordinator is about to start a cycle that nobody waits for: not before the program has
 * had its share, or for HOLD_BACK_NS.
 */
void gcrt_limit_hold_back(struct gc_heap *heap);

/* Is there one? */
bool gcrt_limit_is_set(const struct gc_heap *heap);
/* A cycle is over with its sweep: free pages that the limit wants, and the host if it does not
   fit. */
void gcrt_limit_cycle_done(struct gc_heap *heap);

/* ---- the hard limit ---- */

/* The limit sets the goal, and what is mapped comes near it. */
bool gcrt_limit_is_near(const struct gc_heap *heap);

/* Would so many bytes more be beyond it? */
bool gcrt_limit_is_reached(const struct gc_heap *heap, size_t bytes);

/* A full collection has not helped. */
void gcrt_limit_refused(struct gc_heap *heap);

/*
 * Shall who can do without the memory do without a collection, too?  At the hard limit, when the
 * collector has had its share and has tried only just now: to try again for each refusal would
 * be the death spiral.
 */
bool gcrt_limit_sheds(const struct gc_heap *heap, size_t bytes);

/* "; the hard memory limit of ..." if that is so, else "". */
#define LIMIT_TEXT_MAX 160
const char *gcrt_limit_why(const struct gc_heap *heap, size_t bytes, char text[LIMIT_TEXT_MAX]);

#endif
