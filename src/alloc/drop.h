/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_DROP_H
#define GCRT_ALLOC_DROP_H

/* Large objects that end before the collector finds them dead. */

#include "alloc/mheap.h"

/*
 * The object of s, which is ready, ends: its memory goes back to the system, and with guard
 * set nobody can touch it any more; the span and its addresses stay until a sweep finds that
 * nobody points into it.  in_live: it counts in h->live.  The caller knows that nobody scans or
 * walks the object now, and that s is not swept meanwhile.
 */
void gcrt_drop(struct mheap *h, struct mspan *s, bool guard, bool in_live);

/* gcrt_mheap_free's part for such a span. */
void gcrt_drop_free(struct mheap *h, struct mspan *s);

#endif
