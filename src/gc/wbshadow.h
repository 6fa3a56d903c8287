/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_WBSHADOW_H
#define GCRT_GC_WBSHADOW_H

/*
 * wbcheck's shadow: what is known of every object, root and word, and comparing words with
 * it.  All functions want wb->lock held.
 */

#include "gc/heap.h"
#include "gc/mark.h"
#include "gc/wbreport.h"

/* A word of `origin`.  The first three are for an object's first word. */
#define ORIGIN_TRACKED   ((uint64_t)1 << 63)
#define ORIGIN_PUBLISHED ((uint64_t)1 << 62)
#define ORIGIN_SITE      (((uint64_t)1 << 48) - 1)
#define ORIGIN_REPORTED  ((uint64_t)1 << 61) /* any word of a traced object: a slot's value */

#define WBRECENT       32             /* objects looked at at every occasion */
#define WBRECENT_BYTES ((size_t)1024) /* ... if no larger than this */
#define WBPENDING_MAX  ((size_t)1 << 20)
#define WBTALLY_MAX    ((size_t)1 << 17)

/* How often words of a traced object point to `object`, and how often it was reported. */
struct wbtally {
    uintptr_t object;
    uint32_t words, reports;
};

/* A registered root and the values known to be right. */
struct wbrange {
    struct wbrange *next;
    uintptr_t start, end;
    uintptr_t shadow[];
};

struct wbcheck {
    struct gc_heap *heap; /* const */
    struct lock lock;     /* RANK_WBCHECK; guards all below */
    uintptr_t *shadow;    /* word i of the heap, committed as far as `ready` */
    uint64_t *origin;     /* the same */
    size_t reserved;      /* const: bytes of each */
    size_t ready;         /* bytes of each */
    struct wbrange *ranges; /* owned */
    uintptr_t recent[WBRECENT]; /* first bytes of objects; some may be gone */
    unsigned next_recent;
    size_t npending;
    uintptr_t *pending;   /* [WBPENDING_MAX]: published objects not looked at yet */
    struct wbtally *tally; /* [WBTALLY_MAX]: a hash table by object */
    size_t tally_mask;    /* of the part in use */
    struct marker tracer; /* what trace functions report goes to take_report */
    struct wbfindings found;
};

/* An object, or a window [lo, hi) of its words that is looked at. */
struct wbview {
    uintptr_t start;
    size_t bytes;
    const gc_type *type;
    bool published;
    uintptr_t lo, hi;
};

static inline uintptr_t *
wbshadow_word(struct wbcheck *wb, uintptr_t at)
{
    return &wb->shadow[(at - wb->heap->mheap.base) / WORD];
}

static inline uint64_t *
wbshadow_origin(struct wbcheck *wb, uintptr_t at)
{
    return &wb->origin[(at - wb->heap->mheap.base) / WORD];
}

/* What does not need memory. */
void gcrt_wbshadow_init(struct wbcheck *wb, struct gc_heap *heap);

/* The tracked object that word points into, with a window of all of it. */
bool gcrt_wbshadow_find(struct wbcheck *wb, uintptr_t word, struct wbview *v);
/* It is one of those that are looked at at every occasion. */
void gcrt_wbshadow_remember(struct wbcheck *wb, const struct wbview *v);

/* The address word has been stored somewhere.  Settle before the lock is let go. */
void gcrt_wbshadow_publish(struct wbcheck *wb, uintptr_t word);
/* Looks for the first time at all that has just been published, until nothing is left. */
void gcrt_wbshadow_settle(struct wbcheck *wb);

/* Compares the window's words with their shadow, adds findings, and settles. */
void gcrt_wbshadow_meet(struct wbcheck *wb, const struct wbview *v);
void gcrt_wbshadow_meet_recent(struct wbcheck *wb);
void gcrt_wbshadow_meet_range(
        struct wbcheck *wb, struct wbrange *r, uintptr_t from, uintptr_t to);

/*
 * What is in the window, or the part of the range, now has been stored through a barrier.
 * single: one word was.  Both settle.
 */
void gcrt_wbshadow_learn(struct wbcheck *wb, const struct wbview *v, bool single);
void gcrt_wbshadow_learn_range(
        struct wbcheck *wb, struct wbrange *r, uintptr_t from, uintptr_t to);

/* The registered range that at lies in, or NULL. */
struct wbrange *gcrt_wbshadow_range_of(struct wbcheck *wb, uintptr_t at);

#endif
