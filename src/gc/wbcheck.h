/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_WBCHECK_H
#define GCRT_GC_WBCHECK_H

/*
 * wbcheck=1: finds the stores that a host made without gc_write.  Without the knob
 * heap->wbcheck is NULL, no thread's barrier word has BARRIER_WATCHED, and nothing here is
 * called but init, finish, cycle and the two for roots, which return at once.
 */

#include "gc/mutator.h"

/* Makes heap->wbcheck if the option asks for it.  False without memory. */
bool gcrt_wbcheck_init(struct gc_heap *heap);
/* Compares once more, and ends.  No thread is attached, no cycle runs. */
void gcrt_wbcheck_finish(struct gc_heap *heap);

/* p is a new object, asked for at site (a return address).  False without memory. */
bool gcrt_wbcheck_born(struct gcrt_mutator *m, void *p, const void *site);

/*
 * Around a barriered store to [slot, slot + bytes): begin compares what is there, end takes
 * what is there now for right.  In between the lock is held.  Critical.
 */
void gcrt_wbcheck_begin(struct gcrt_mutator *m, const void *slot, size_t bytes);
void gcrt_wbcheck_end(struct gcrt_mutator *m, const void *slot, size_t bytes);

/*
 * Fatal if bytes from p on, an argument of caller's, do not end within the object that they begin
 * in.  In an arena, which knows no objects, and outside of the heap anything is right.
 */
void gcrt_wbcheck_bounds(struct gcrt_mutator *m, const char *caller, const void *p, size_t bytes);

/* The collector is about to empty the object's slots; they are looked at no more.  Coordinator. */
void gcrt_wbcheck_forget(struct gc_heap *heap, uintptr_t object);

/* word is about to be stored in a handle.  Any thread. */
void gcrt_wbcheck_publish(struct gc_heap *heap, uintptr_t word);
/* A range has been registered, or is about to be unregistered.  Attached, inside. */
void gcrt_wbcheck_root_add(struct gc_heap *heap, uintptr_t start, size_t bytes);
void gcrt_wbcheck_root_remove(struct gc_heap *heap, uintptr_t start);

/* For fork.  The lock; and: the stack [lo, hi) is gone, ranges in it have no words any more. */
struct lock *gcrt_wbcheck_lock(struct gc_heap *heap);
void gcrt_wbcheck_empty_within_locked(struct gc_heap *heap, uintptr_t lo, uintptr_t hi);

/*
 * Holds every mutator and compares everything.  marked: marking is complete, so what is not
 * marked is dead, and is forgotten.  Coordinator.
 */
void gcrt_wbcheck_cycle(struct gc_heap *heap, bool marked);

#endif
