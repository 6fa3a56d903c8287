/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_MARK_H
#define GCRT_GC_MARK_H

/*
 * Marking: from words to marked objects to scanned objects.
 *
 * A marker is one thread's engine for it.  Both cache misses of an object, its mark line and
 * its first line, are hidden by two short queues: `pending` holds words whose descriptors
 * have been prefetched, `ahead` holds marked objects whose first lines have been.
 */

#include "gc/work.h"

struct gc_heap;

#define MARK_PENDING 32 /* power of two */
#define MARK_AHEAD   16 /* power of two */

struct marker {
    struct gc_heap *heap;  /* const */
    struct workqueue queue; /* owner */
    uint64_t marked;       /* owner: bytes marked, not yet in heap->marking */
    uint64_t scanned;      /* owner: heap bytes scanned, not yet in heap->marking */
    uint32_t pending_in, pending_out;
    uint32_t ahead_in, ahead_out;
    uintptr_t pending[MARK_PENDING];
    uintptr_t ahead[MARK_AHEAD];
};

/* An object of a large span is scanned in pieces, so that marking stays parallel. */
#define OBLET_BYTES ((size_t)128 << 10)

/*
 * Marks the object that word points into, if it does (I-conservative), and queues it.  Only
 * between mark.open and H5.
 */
void gcrt_mark_word(struct marker *mk, uintptr_t word);

/*
 * Scans queued objects, taking buffers from the public stacks too, until about `budget`
 * bytes are scanned or no work is in reach.  Returns the bytes scanned.
 */
uint64_t gcrt_mark_drain(struct marker *mk, uint64_t budget);

/* Resolves one raw buffer of words; false if there is none. */
bool gcrt_mark_raw(struct marker *mk);

/* Publishes the queue and the counts; true if there was work in it. */
bool gcrt_marker_flush(struct marker *mk);

/* Is object (any address in it) marked?  For the verifier. */
bool gcrt_is_marked(struct gc_heap *heap, uintptr_t object);

#endif
