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
