/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_SWEEP_H
#define GCRT_ALLOC_SWEEP_H

/* Sweep of one span: mark bits become alloc bits, dead slots become free. */

#include "alloc/mheap.h"

/*
 * Sweeps s, which the caller has claimed (sweepgen h-1), and stores sweepgen h.  Returns the
 * number of allocated objects left.  The span stays the caller's, in no set, and is not
 * freed even when empty.
 */
size_t gcrt_sweep_span(struct mheap *h, struct mspan *s, unsigned sweepgen);

/*
 * Sweeps up to max unswept spans of any kind and files or frees them; returns how many, less
 * than max if there are no more.  Pages that become free do so together, in the end.
 */
unsigned gcrt_sweep_some(struct mheap *h, unsigned max);

/* The long half of sweep_for_pages. */
void gcrt_sweep_for_pages(struct mheap *h, size_t npages);

/*
 * Before npages are taken: while a sweep is under way dead spans have pages that nobody needs,
 * and a thread that allocates faster than the coordinator sweeps would touch fresh ones in
 * their stead.  So it sweeps until it has freed as many, or SWEEP_FOR_PAGES spans.  (Go:
 * mheap.reclaim does so for large objects, and sweeping in proportion for all.)
 */
static inline void
sweep_for_pages(struct mheap *h, size_t npages)
{
    if (UNLIKELY(ahalf_load_relaxed(&h->unswept)))
        gcrt_sweep_for_pages(h, npages);
}

/* No unswept span is in a set and nobody is sweeping one.  Final only after H6. */
bool gcrt_sweep_is_done(struct mheap *h);

/* Between sweep_begin and sweep_end the sweep does not count as done. */
static inline void
sweep_begin(struct mheap *h)
{
    ahalf_add_full(&h->sweepers, 1); /* full: counted before the pop that it covers */
}

static inline void
sweep_end(struct mheap *h)
{
    ahalf_add_full(&h->sweepers, (unsigned)-1);
}

#endif
