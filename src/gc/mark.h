/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_MARK_H
#define GCRT_GC_MARK_H

/*
 * Marking: from words to marked objects to scanned objects.
 *
 * A marker is one thread's engine for it.  An object costs two cache misses, its mark line
 * and its first line.  Both are hidden by working in groups: a group of marked objects is
 * taken and prefetched, the words found before are marked, then the group is scanned; the
 * words that this finds are kept in `batch`, their descriptors prefetched, for next time.
 */

#include "gc/work.h"

struct gc_heap;

#define MARK_GROUP 16
#define MARK_BATCH 256

struct marker {
    struct gc_heap *heap;  /* const */
    struct workqueue queue; /* owner */
    uint64_t marked;       /* owner: bytes marked, not yet in heap->marking */
    uint64_t scanned;      /* owner: heap bytes scanned, not yet in heap->marking */
    /* const: NULL, or who gets what trace functions report instead of the batch */
    void (*report)(struct marker *mk, uintptr_t word);
    uint32_t nbatch;
    uintptr_t batch[MARK_BATCH];
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
 * bytes of work are done or no work is in reach.  Returns the work done: bytes scanned, and
 * some for each word marked.  Less than budget means that no work is left in reach.
 */
uint64_t gcrt_mark_drain(struct marker *mk, uint64_t budget);

/* Publishes the queue and the counts; true if there was work in it. */
bool gcrt_marker_flush(struct marker *mk);

#endif
