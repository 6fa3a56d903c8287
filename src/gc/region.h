/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_REGION_H
#define GCRT_GC_REGION_H

/* Arenas: objects that are bumped into chunks, which are large objects of the heap. */

#include "gc/malloc.h"

#include <gcrt/arena.h>

/* Values of impl_state. */
#define REGION_LIVE  0x6e656b6174617261u
#define REGION_FREED 0x6465657266617261u

/* Gets the heap's arenas ready: arena=1 needs a signal handler.  False if that is refused. */
bool gcrt_region_init(struct gc_heap *heap);

/* NULL without memory. */
struct gc_arena *gcrt_region_new(struct gcrt_mutator *m, const char *name, bool may_fail);

/*
 * An object in the arena, which is alive; req->type has been checked.  NULL without memory, with
 * the last error set, after a collection and the oom handler did not help.
 */
void *gcrt_region_alloc(
        struct gcrt_mutator *m, struct gc_arena *arena, const struct request *req);

void gcrt_region_free(struct gcrt_mutator *m, struct gc_arena *arena);

/* Is p an arena of the heap, freed or not? */
bool gcrt_region_is_arena(struct gc_heap *heap, const void *p);

/* Is that the span of a chunk? */
bool gcrt_region_has_span(const struct gc_heap *heap, const struct mspan *s);

/* Does p point into an arena's chunk? */
bool gcrt_region_holds(const struct gc_heap *heap, const void *p);

/*
 * The object in the chunk that p points into: its first byte, and *bytes.  0 if p lies in none,
 * or the arena has been freed.  Linear in the objects before it.
 */
uintptr_t gcrt_region_object(const struct gc_heap *heap, const struct mspan *s, uintptr_t p,
        size_t *bytes);

/* Have so many chunks been dropped since the last cycle that it is time for one? */
bool gcrt_region_is_due(struct gc_heap *heap);
/* Coordinator, when a cycle's sweep is complete. */
void gcrt_region_swept(struct gc_heap *heap);

/* Coordinator, when nobody can mark any more and nothing is swept yet: what waited goes. */
void gcrt_region_settle(struct gc_heap *heap);

#endif
