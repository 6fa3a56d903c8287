/* SPDX-License-Identifier: MIT */
/*
 * Chains that grow one by one.
 *
 * Purpose: a hash table of specials none of whose operations takes time in proportion to it.
 * Place: special.c's shards are made of these; they ask the metadata allocator for memory.
 * Invariants: a record lies in the chain that chains_of names; records of one object are in
 * their order, newest first; a growing table moves records to higher buckets only, so who goes
 * through all buckets upwards, in steps between which it grows, passes none by.
 * Concurrency: the shard's lock.
 * Cost: a chain has half a record to one.  Once there are as many records as buckets, each record
 * that comes has eight buckets split, whose misses overlap, until all are: then the addresses of
 * objects that lie in a row, which a multiplicative hash spreads better than chance, are spread so
 * again.  Buckets are never copied: they lie in segments, each as large as all before it.
 *
 * There are n buckets and 2^k is the least power of two that is not below n.  A hash's low k bits
 * name its bucket, and where there is no such bucket yet, its low k - 1 bits do.  Then bucket n
 * comes out of bucket n - 2^(k-1).
 *
 * Source: linear hashing (Litwin, VLDB 1980), in memory as Larson had it (CACM 1988).
 */
#include "gc/chains.h"

#include "gc/heap.h"

/* Buckets that are split together: a line of them. */
#define SPLITS 8u

_Static_assert(CHAINS_FIRST % SPLITS == 0, "the last of them is there if the first is");

static struct special **
take_segment(struct gc_heap *heap, uint32_t nbuckets)
{
    size_t bytes = nbuckets * sizeof(struct special *);

    return gcrt_os_fault(&heap->os) ? NULL : gcrt_persist_alloc(&heap->persist, bytes);
}

static bool
begin(struct gc_heap *heap, struct special_chains *c)
{
    c->segments[0] = take_segment(heap, CHAINS_FIRST);
    if (c->segments[0] == NULL)
        return false;
    c->nbuckets = CHAINS_FIRST;
    c->mask = CHAINS_FIRST - 1;
    return true;
}

/* All buckets that the mask can name are there: memory for as many again. */
static bool
double_mask(struct gc_heap *heap, struct special_chains *c)
{
    unsigned segment = bit_highest(c->nbuckets / CHAINS_FIRST) + 1;

    if (segment == CHAINS_SEGMENTS)
        return false;
    c->segments[segment] = take_segment(heap, c->nbuckets);
    if (c->segments[segment] == NULL)
        return false;
    c->mask = 2 * c->mask + 1;
    return true;
}

/* The records of bucket `from` that have the bit go to bucket `to`; each keep their order. */
static void
split(struct special **from, struct special **to, uint64_t bit)
{
    struct special *record = *from;

    for (; record != NULL; record = record->next) {
        struct special ***side = special_hash(record->object) & bit ? &to : &from;

        **side = record;
        *side = &record->next;
    }
    *from = NULL;
    *to = NULL;
}

/* Buckets n .. n + 7 come out of those that had their records so far. */
static void
split_some(struct special_chains *c)
{
    uint32_t half = (c->mask >> 1) + 1;
    struct special **to = chains_at(c, c->nbuckets), **from = chains_at(c, c->nbuckets - half);

    for (uint32_t i = 0; i < SPLITS; i++)
        __builtin_prefetch(from[i]);
    for (uint32_t i = 0; i < SPLITS; i++)
        split(&from[i], &to[i], (uint64_t)half << CHAINS_HASH_SHIFT);
    c->nbuckets += SPLITS;
}

bool
gcrt_chains_grow(struct gc_heap *heap, struct special_chains *c)
{
    if (UNLIKELY(c->nbuckets == 0))
        return begin(heap, c);
    if (LIKELY(c->nbuckets > c->mask && c->count < c->nbuckets))
        return true;
    if (c->nbuckets <= c->mask || double_mask(heap, c))
        split_some(c);
    return true;
}
