/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_POPULATOR_H
#define GCRT_GC_POPULATOR_H

/* The thread that has a large heap's memory backed ahead of need; alloc/populate.h does it. */

#include "gc/heap.h"

/* For mheap.on_low: who allocates has rung; asks for the thread if there is none. */
void gcrt_populator_rung(struct mheap *h);
/* The coordinator, nobody being held: starts it. */
void gcrt_populator_start(struct gc_heap *heap);
/* The coordinator: the scavenger knows what the next cycle may take. */
void gcrt_populator_swept(struct gc_heap *heap);
/* The child of a fork: there is no thread. */
void gcrt_populator_forget(struct gc_heap *heap);
/* The coordinator has ended; so does the thread. */
void gcrt_populator_finish(struct gc_heap *heap);

#endif
