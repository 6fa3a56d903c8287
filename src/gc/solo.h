/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_SOLO_H
#define GCRT_GC_SOLO_H

/*
 * The coordinator marks by itself, while marking->solo is not 0.  It alone calls these.
 */

#include "gc/heap.h"

/* Was so little scanned in the last cycle that the next one will hardly need workers? */
bool gcrt_solo_suffices(const struct gc_heap *heap);
/* Marking opens: shall the coordinator mark, and how much? */
void gcrt_solo_begin(struct gc_heap *heap);
/* Marks what is in reach, at most as much as it still may. */
void gcrt_solo_mark(struct gc_heap *heap);

#endif
