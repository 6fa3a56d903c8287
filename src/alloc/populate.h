/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_POPULATE_H
#define GCRT_ALLOC_POPULATE_H

/*
 * Memory for free pages, before somebody needs it.
 */

#include "alloc/mheap.h"

/*
 * While fewer bytes are free and backed, the next huge page should be; as long as this lasts,
 * nobody meets one that is not.
 */
#define POPULATE_LOW HUGE_BYTES

/* Are there enough?  Lock: heap. */
static inline bool
populate_is_enough(const struct mheap *h)
{
    return pagealloc_dirty_pages(&h->pages) << PAGE_SHIFT >= POPULATE_LOW;
}

enum populate {
    POPULATE_DONE,    /* HUGE_BYTES more are backed */
    POPULATE_ENOUGH,  /* there are enough; h->low is rung when there are not any more */
    POPULATE_NO_ROOM, /* not below the bounds, or no huge page to be had; no ring until the heap
                         grows, or somebody asks for it */
    POPULATE_REFUSED  /* the system does not do such things */
};

/*
 * Looks whether free backed pages are few, and if so has the lowest free huge page backed, growing
 * the heap if there is none; not if that were to back more than `most` bytes, or the soft bound.
 * One thread, which is not attached or is critical, and holds no lock from RANK_SCAVENGE on.
 */
enum populate gcrt_populate(struct mheap *h, uint64_t most);

/*
 * For who is about to give back all free pages: nothing is backed before an allocation rings, which
 * from now on the first one does that finds few.  Any thread without a lock from RANK_HEAP on.
 */
void gcrt_populate_no_more(struct mheap *h);

#endif
