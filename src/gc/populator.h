/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_POPULATOR_H
#define GCRT_GC_POPULATOR_H

/* The thread that has a large heap's memory backed ahead of need; alloc/populate.h does it. */

#include "gc/heap.h"

/* The coordinator: the scavenger knows what the next cycle may take. */
void gcrt_populator_swept(struct gc_heap *heap);
/* The coordinator has ended; so does the thread. */
void gcrt_populator_finish(struct gc_heap *heap);

#endif
