/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_SCAVENGER_H
#define GCRT_GC_SCAVENGER_H

/*
 * When memory goes back to the OS: the heap's own thread, and those who give it back
 * themselves.  alloc/scavenge.h does it.
 */

#include "gc/heap.h"

#define SCAVENGER_NONE UINT64_MAX /* keep everything */

/*
 * Bytes of pages to keep for the next cycle: a tenth above what its goal will take, if its
 * spans are as full as those of the last one, when it had `in_use` bytes in spans for `live`
 * bytes of objects.  `metadata` bytes, which a past peak may have left, come out of the tenth,
 * up to 7 of its 10 parts.  SCAVENGER_NONE for a goal that is never reached.
 */
uint64_t gcrt_scavenger_retain(
        uint64_t goal, uint64_t in_use, uint64_t live, uint64_t metadata);

/*
 * How many of `unneeded` bytes go back in one of SCAVENGER_TICKS parts of the half-life: so
 * that half of them stay after all parts, but at least what makes an end of it.
 */
#define SCAVENGER_TICKS 8
uint64_t gcrt_scavenger_share(uint64_t unneeded);

/* The coordinator: marking is complete, heap.live not yet settled; the sweep is over. */
void gcrt_scavenger_marked(struct gc_heap *heap);
void gcrt_scavenger_swept(struct gc_heap *heap);
/* The same: there may be free memory, and no thread to give it back. */
void gcrt_scavenger_look(struct gc_heap *heap);
/* The coordinator has ended; so does the thread. */
void gcrt_scavenger_finish(struct gc_heap *heap);

/* Gives back all that is free; returns the bytes.  The caller is outside or not attached. */
size_t gcrt_scavenger_all(struct gc_heap *heap);

#endif
