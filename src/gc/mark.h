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

#include <gcrt/type.h>

struct gc_heap;
struct mark_copies;

/*
 * What marking one word costs, in bytes scanned: objects without pointers are marked and
 * never scanned, and a bounded step must count them too.
 */
#define WORD_EFFORT 32

#define MARK_GROUP 16
#define MARK_BATCH 256
#define MARK_GENERATION 256 /* near words that wait; at most the batch's size */

struct marker {
    struct gc_heap *heap;  /* const */
    struct workqueue queue; /* owner */
    bool brief;            /* const: a mutator's, which must not be kept for long */
    bool leaves_traced;    /* owner: big objects with a trace function to others */
    uint64_t marked;       /* owner: bytes marked, not yet in heap->marking */
    uint64_t scanned;      /* owner: heap bytes scanned, not yet in heap->marking */
    uint64_t ephemerons;   /* owner: scanned for the first time, not yet in heap->ephemerons */
    /* const: NULL, or who gets what trace functions report instead of the batch */
    void (*report)(struct marker *mk, uintptr_t word);
    uint32_t near;        /* objects marked and scanned without the batch, not yet counted */
    uint32_t far_objects; /* plain objects to scan before near words are looked for again */
    uint32_t far_next;    /* and how many it is to be if there are few */
    bool rows;            /* owner: words of arrays are in the batch (row.h) */
    bool lean;            /* owner: the last group led to few words */
    struct mark_copies *copies; /* owner (copies.h); const: NULL, as a mutator's is */
    uint32_t nbatch;
    uintptr_t batch[MARK_BATCH];
    uintptr_t wait[2][MARK_GENERATION]; /* plain.c */
};

/* An object of a large span is queued in parts, so that marking stays parallel ... */
#define OBLET_BYTES ((size_t)128 << 10)
/* ... which are queued so many at once: more would take long for a huge object. */
#define OBLET_GROUP 256

/* Any object is scanned in pieces of so many bytes, unless it has a trace function. */
#define PIECE_BYTES ((size_t)32 << 10)
#define PIECE_BRIEF ((size_t)2 << 10)

/*
 * Marks the object that word points into, if it does (I-conservative), and queues it.  Only
 * between mark.open and H5.
 */
void gcrt_mark_word(struct marker *mk, uintptr_t word);
/* The same for a word of a barrier's buffer, whose mutator may have answered H4 already. */
void gcrt_mark_shaded(struct marker *mk, uintptr_t word);

/* Queues the object at that address to be scanned, and does not mark it. */
void gcrt_mark_queue_unmarked(struct gc_heap *heap, struct workqueue *q, uintptr_t object);
/* Has the marked object at that address, which has pointers, scanned again as late work. */
void gcrt_mark_again_late(struct marker *mk, uintptr_t object);
/* Inside of a trace function: the marker behind the tracer. */
static inline struct marker *
marker_of(gc_tracer *tracer)
{
    return (struct marker *)(void *)tracer; /* its first member: mark.c */
}

/*
 * Scans queued objects, taking buffers from the public stacks too, until about `budget`
 * bytes of work are done or no work is in reach.  Returns the work done: bytes scanned, and
 * some for each word marked.  Less than budget means that no work is left in reach: who
 * leaves big objects with a trace function does not reach them.
 */
uint64_t gcrt_mark_drain(struct marker *mk, uint64_t budget);

/* Publishes the queue and the counts; true if there was work in it. */
bool gcrt_marker_flush(struct marker *mk);

#endif
