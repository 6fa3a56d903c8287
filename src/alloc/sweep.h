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

/* Sweeps one unswept span of any kind and files or frees it.  False if there is none. */
bool gcrt_sweep_one(struct mheap *h);

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
