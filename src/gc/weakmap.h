/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_WEAKMAP_H
#define GCRT_GC_WEAKMAP_H

/* Weak maps: what the heap has for them. */

#include "gc/heap.h"

void gcrt_weakmap_init(struct gc_heap *heap);
void gcrt_weakmap_finish(struct gc_heap *heap);

#endif
