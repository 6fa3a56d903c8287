/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_SCAVENGE_H
#define GCRT_ALLOC_SCAVENGE_H

/*
 * Giving free memory back to the OS.
 */

#include "alloc/mheap.h"

/* Most bytes that the OS is asked to take in one call: a huge page. */
#define SCAVENGE_STEP HUGE_BYTES

/*
 * Gives back at least so many bytes of free pages, highest addresses first, in whole runs or
 * whole 2 MiB of them, so up to SCAVENGE_STEP more; less if there is no more, or if the OS
 * refuses.  Returns the bytes given back.  SIZE_MAX: all there is.  SCAVENGE_BACKGROUND
 * leaves alone what it should (struct pagehunt, polite).
 * Any thread that holds no lock from RANK_SCAVENGE on; an attached one is critical, or
 * outside.  It waits for others who do the same; allocation waits for nobody.
 */
size_t gcrt_scavenge_as(struct mheap *h, size_t bytes, enum scavenger_kind who);

static inline size_t
gcrt_scavenge(struct mheap *h, size_t bytes)
{
    return gcrt_scavenge_as(h, bytes, SCAVENGE_ASSIST);
}

#endif
