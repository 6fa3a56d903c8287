/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_MCENTRAL_H
#define GCRT_ALLOC_MCENTRAL_H

/*
 * The central list of one kind: its spans that no P caches.
 *
 * Four sets: with or without free slots, swept or not.  Which of a pair is the swept one
 * depends on the heap's sweepgen, so advancing it turns all swept sets into unswept ones
 * at once.  With heap value h a span's sweepgen is (I-sweepgen):
 *     h-2  needs sweeping            h-1  being swept           h  swept, ready
 *     h+1  cached before this sweep began, still cached, needs sweeping
 *     h+3  swept, then cached
 * h-2 -> h-1 by compare-and-swap, whoever wins owns the span until it stores another value.
 *
 * A mutator may read h just before it advances and push a span into what has become the
 * unswept set: its own sweepgen is h-2 by then, so it is swept like the others.  Or it may
 * pop from what it still takes for the unswept set, and get a swept span: it looks at the
 * span's sweepgen and puts it back.  After H6 nobody uses the old value, and only then can
 * the sweep be found complete.
 */

#include "alloc/spanset.h"

struct mheap;
struct pagecache;

struct mcentral {
    uint16_t index;    /* const: in mheap->centrals */
    uint8_t sizeclass; /* const */
    uint8_t noscan;    /* const */
    bool checked;      /* const: for mspan.checked */
    bool open_end;     /* const: for mspan.open_end */
    struct spanset partial[2] CACHE_ALIGNED;
    struct spanset full[2];
};

/*
 * A swept span with a free slot, marked as cached and owned by the caller; NULL: no memory.
 * cache: the P's pages, for a fresh span.
 */
struct mspan *gcrt_mcentral_take(struct mheap *h, struct mcentral *c, struct pagecache *cache);
/* Gives a cached span back; sweeps it if it is stale. */
void gcrt_mcentral_give(struct mheap *h, struct mcentral *c, struct mspan *s);
/* Puts a swept span where it belongs, by its free slots. */
void gcrt_mcentral_put_swept(struct mheap *h, struct mcentral *c, struct mspan *s,
        unsigned sweepgen);
/*
 * An unswept span of c, claimed for sweeping (sweepgen h-1), or NULL.  *sweepgen receives
 * the heap's value h that the claim was made for.
 */
struct mspan *gcrt_mcentral_claim(struct mheap *h, struct mcentral *c, unsigned *sweepgen);

#endif
