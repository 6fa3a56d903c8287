/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_CHAINS_H
#define GCRT_GC_CHAINS_H

/*
 * The records of one kind in one shard, in chains by their object (special.h).  Every function
 * here wants the shard's lock.
 */

#include "alloc/base/bits.h"
#include "gc/special.h"

/* Buckets of the first segment.  Each further one has as many as all before it together. */
#define CHAINS_FIRST 16u

/* The top six bits choose the shard, the 32 below them the bucket. */
#define CHAINS_HASH_SHIFT 26

static inline uint64_t
special_hash(uintptr_t object)
{
    return object * UINT64_C(0x9e3779b97f4a7c15);
}

static inline struct special **
chains_at(const struct special_chains *c, uint32_t i)
{
    unsigned segment;

    if (i < CHAINS_FIRST)
        return &c->segments[0][i];
    segment = bit_highest(i / CHAINS_FIRST) + 1;
    return &c->segments[segment][i - (CHAINS_FIRST << (segment - 1))];
}

/* The chain of an object, if there is any bucket. */
static inline struct special **
chains_of(const struct special_chains *c, uintptr_t object)
{
    uint32_t i = (uint32_t)(special_hash(object) >> CHAINS_HASH_SHIFT) & c->mask;

    return chains_at(c, i < c->nbuckets ? i : i & c->mask >> 1);
}

/* Asks for the bucket that will be looked at soon. */
static inline void
chains_prefetch(const struct special_chains *c, uint32_t i)
{
    __builtin_prefetch(*chains_at(c, i < c->nbuckets ? i : c->nbuckets - 1));
}

/*
 * Makes room for one record more, in a few steps however many there are.  A table that cannot
 * grow is slower, not full: false only if there is no bucket at all.
 */
bool gcrt_chains_grow(struct gc_heap *heap, struct special_chains *c);

#endif
