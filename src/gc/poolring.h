/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_POOLRING_H
#define GCRT_GC_POOLRING_H

/*
 * A deque of items: one thread, its owner, pushes and pops at the head, any other steals from
 * the tail.  It is an object of the collected heap, as its items are.  All callers but close
 * and count are attached and critical.
 */

#include "gc/mutator.h"

#include <gcrt/type.h>

struct pool_ring {
    aword ends;     /* atomic: head << 32 | tail, both running freely; pairs: pool.ring */
    uint64_t mask;  /* const once published: slots - 1 */
    void *slots[];  /* barriered; 0: free; pairs: pool.slot */
};

/* An empty ring of 2^shift slots, or NULL without memory.  Inside, not critical: it allocates. */
struct pool_ring *gcrt_poolring_new(struct gcrt_mutator *m, unsigned shift);

/* The owner.  False if it is full, or a thief has not let go of the slot yet. */
bool gcrt_poolring_push(struct gcrt_mutator *m, struct pool_ring *ring, uintptr_t item);
/* The owner: what it pushed last, or 0. */
uintptr_t gcrt_poolring_pop(struct gcrt_mutator *m, struct pool_ring *ring);
/* Any thread: what was pushed first, or 0. */
uintptr_t gcrt_poolring_steal(struct gcrt_mutator *m, struct pool_ring *ring);

/*
 * Who acts for the owner: empties it for good, without looking at what is in it but by fn,
 * if it is not NULL.  Returns how many items there were.
 */
uint32_t gcrt_poolring_close(struct pool_ring *ring, void (*fn)(void *arg, uintptr_t item),
        void *arg);

static inline uint32_t
poolring_count(const struct pool_ring *ring)
{
    uint64_t ends = aword_load_relaxed(&ring->ends);

    return (uint32_t)(ends >> 32) - (uint32_t)ends;
}

#endif
