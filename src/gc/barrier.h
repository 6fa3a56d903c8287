/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_BARRIER_H
#define GCRT_GC_BARRIER_H

/* The write barrier's slow half, and its buffer. */

#include "gc/mutator.h"

/*
 * A thread's barrier word: one of the first three, and BARRIER_WATCHED beside it all the
 * time under wbcheck=1, so that every store comes through the slow half.
 */
enum {
    BARRIER_OFF = 0,
    BARRIER_HYBRID = 1,
    BARRIER_DELETION = 2,
    BARRIER_STATE = 3,
    BARRIER_WATCHED = 4
};

static inline uint32_t
barrier_state(const struct gc_impl_thread *self)
{
    return self->barrier & BARRIER_STATE;
}

static inline void
barrier_set(struct gcrt_mutator *m, uint32_t state)
{
    __atomic_store_n(&m->self->barrier,
            state | (m->heap->wbcheck != NULL ? BARRIER_WATCHED : 0), __ATOMIC_RELAXED);
    mutator_show_store(m);
    gcrt_mutator_show_racks(m);
}

/* Shades what the store makes unreachable and, before m's own scan, what it publishes. */
void gcrt_barrier_shade(
        struct gcrt_mutator *m, const void *slot, uintptr_t old, uintptr_t new_);

/* The calling thread's own store, with its barrier and release, in a critical section. */
void gcrt_barrier_store_release(struct gcrt_mutator *m, void *slot, uintptr_t value);
/* The same without the deletion half: for a slot whose every reader shades what it reads. */
void gcrt_barrier_store_inserting(struct gcrt_mutator *m, void *slot, uintptr_t value);

/* Shades the object that word points into; m's barrier is on. */
void gcrt_barrier_shade_object(struct gcrt_mutator *m, uintptr_t word);

/*
 * Hands on the words in m's buffer: marks them if marking is open, else queues them raw.
 * The caller owns m.
 */
void gcrt_barrier_flush(struct gcrt_mutator *m);

/*
 * Stores value into a root slot of the heap for any thread, attached or not, with the
 * barrier that this needs.
 */
void gcrt_barrier_root_store(struct gc_heap *heap, void *slot, uintptr_t value);

/* Shades every word of [start, start + bytes) as old value; for ranges that come and go. */
void gcrt_barrier_shade_range(struct gcrt_mutator *m, const void *start, size_t bytes);

#endif
