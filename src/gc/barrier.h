/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_BARRIER_H
#define GCRT_GC_BARRIER_H

/* The write barrier's slow half, and its buffer. */

#include "gc/mutator.h"

enum { BARRIER_OFF = 0, BARRIER_HYBRID = 1, BARRIER_DELETION = 2 };

/* Shades what the store makes unreachable and, before m's own scan, what it publishes. */
void gcrt_barrier_shade(struct gcrt_mutator *m, uintptr_t old, uintptr_t new_);

/*
 * Hands on the words in m's buffer: marks them if marking is open, else queues them raw.
 * The caller owns m.  True if there were any.
 */
bool gcrt_barrier_flush(struct gcrt_mutator *m);

/*
 * Stores value into a root slot of the heap for any thread, attached or not, with the
 * barrier that this needs.
 */
void gcrt_barrier_root_store(struct gc_heap *heap, void *slot, uintptr_t value);

/* Shades every word of [start, start + bytes) as old value; for ranges that come and go. */
void gcrt_barrier_shade_range(struct gcrt_mutator *m, const void *start, size_t bytes);

#endif
