/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_WEAK_H
#define GCRT_GC_WEAK_H

/*
 * Weak places: words that hold an object's address and do not keep the object alive.
 *
 * Whether the objects that no strong reference reaches are dead is decided for all of them
 * at once, by one word of the heap:
 *
 *     IDLE -> MARKING     coordinator, before H1
 *     MARKING -> CLOSING  coordinator, before each H4
 *     CLOSING -> MARKING  a mutator that makes an unmarked object strong; or a round that
 *                         found work
 *     CLOSING -> DECIDED  coordinator, after an H4 that found nothing; from here on what is
 *                         unmarked is dead, and weak places that hold it are emptied
 *     DECIDED -> IDLE     coordinator, when H5 is complete and before sweepgen advances
 *
 * weak.c has the argument.  A place is emptied between DECIDED and H5, so what a place holds
 * while its reader's barrier is off is alive.
 */

#include "alloc/base/base.h"
#include "gc/mutator.h"

enum { WEAK_IDLE, WEAK_MARKING, WEAK_CLOSING, WEAK_DECIDED };

/* ---- mutators ---- */

/*
 * The calling thread's mutator, in a critical section, has read obj from a weak place in the
 * same critical section and wants to hold it.  True: it may, and obj is strong from now on.
 * False: obj is dead, and the place counts as empty.
 *
 * The place must not have been emptied since it was read.  Either both are done under one
 * lock, or the place is read again after true: a finalizer's object is marked after all weak
 * places of it have been emptied, and reads as alive then.  gcrt_weak_load does so.
 */
bool gcrt_weak_upgrade(struct gcrt_mutator *m, uintptr_t obj);

/* What the weak place holds, strong from now on; 0 if it is empty or its object dead. */
uintptr_t gcrt_weak_load(struct gcrt_mutator *m, const void *place);

/* ---- the coordinator ---- */

/* Before H1, and before each H4. */
void gcrt_weak_begin(struct gc_heap *heap);
void gcrt_weak_close(struct gc_heap *heap);
/* After an H4 that found work: goes back to MARKING. */
void gcrt_weak_reopen(struct gc_heap *heap);
/* After an H4 that found none.  False if a mutator has cancelled it meanwhile. */
bool gcrt_weak_decide(struct gc_heap *heap);
/* The mutators are held and marking is complete: no H4 is needed. */
void gcrt_weak_decide_stopped(struct gc_heap *heap);
/* After H5 is complete. */
void gcrt_weak_end(struct gc_heap *heap);

/* Between DECIDED and H5: is the object at that address, or around it, not marked? */
bool gcrt_weak_is_dead(struct gc_heap *heap, uintptr_t obj);

/* In the same time: empties a weak place. */
void gcrt_weak_empty(void *place);
/* Marks an unmarked object, all of whose weak places were emptied; what it points to is marked. */
void gcrt_weak_revive(struct gc_heap *heap, uintptr_t obj);

#endif
