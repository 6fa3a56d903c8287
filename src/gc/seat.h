/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_SEAT_H
#define GCRT_GC_SEAT_H

/*
 * The coordinator's seat.  One thread sits there at a time: the coordinator, while it has
 * something to do, or a thread that runs a small cycle itself (drive.h).  Whatever is said to be
 * the coordinator's is the sitter's.
 */

#include "gc/heap.h"

/* Sits down, unless somebody sits there: false.  The caller is no mutator, or outside. */
bool gcrt_seat_take(struct gc_heap *heap);
/* The CPU time that the caller has sat there through, in nanoseconds. */
uint64_t gcrt_seat_cpu_ns(const struct gc_heap *heap);
/* Gets up; returns the CPU time sat through, in nanoseconds. */
uint64_t gcrt_seat_leave(struct gc_heap *heap);

#endif
