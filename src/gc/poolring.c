/* SPDX-License-Identifier: MIT */
/*
 * The deque of a pool's part.
 *
 * Purpose: what one thread has more than it needs, others can take without a lock.
 * Place: pool pushes, pops and steals; poolturn closes.
 *
 * The algorithm is that of Go's sync/poolqueue.go: both ends lie in one word, and who
 * advances an end by a compare-and-swap owns the slot that it passed.  A slot is given back by
 * storing 0 in it, so a push that finds something else there takes the ring for full.
 * Unlike Go's there is no chain of rings: pool moves the items to a larger one.
 *
 * Soundness.  A ring is a heap object and its slots are pointers, so this is a program that
 * uses gc_write: the value stored is shaded as new, the value taken as old, before the slot
 * changes.  To be taken is the only way in which an item leaves a ring, and nobody holds what it
 * has read before its compare-and-swap succeeds; so a ring that is closed loses its items
 * without any shade: no thread has them, and no thread can get them.
 *
 * Invariants: I-critical.  From the reading of a slot to the end of the critical section no
 * cycle can begin and end, so a thief may use a ring that its owner has just given up.
 * Concurrency: pairs pool.ring, pool.slot.
 * Cost: an atomic operation per item.
 */
#include "gc/poolring.h"

#include "gc/barrier.h"
#include "gc/malloc.h"
#include "gc/wbcheck.h"

#define ONE_HEAD ((uint64_t)1 << 32)

GC_TYPE_FLEX_PLAIN(ring_type, struct pool_ring, slots, gc_pointer_type);

struct pool_ring *
gcrt_poolring_new(struct gcrt_mutator *m, unsigned shift)
{
    struct request req = { .type = &ring_type, .zero = true, .may_fail = true,
        .bytes = sizeof(struct pool_ring) + (sizeof(void *) << shift) };
    struct pool_ring *ring = gcrt_malloc(m, &req);

    if (ring != NULL)
        ring->mask = ((uint64_t)1 << shift) - 1;
    return ring;
}

/* A barriered store; old and new value as far as they may be anybody's. */
static void
store(struct gcrt_mutator *m, void **slot, uintptr_t old, uintptr_t new_)
{
    bool watched = (gc_impl_self.barrier & BARRIER_WATCHED) != 0;

    if (UNLIKELY(barrier_state(&gc_impl_self) != BARRIER_OFF))
        gcrt_barrier_shade(m, slot, old, new_);
    if (UNLIKELY(watched))
        gcrt_wbcheck_begin(m, slot, WORD);
    slot_store_release(slot, new_); /* pairs: pool.slot */
    if (UNLIKELY(watched))
        gcrt_wbcheck_end(m, slot, WORD);
}

bool
gcrt_poolring_push(struct gcrt_mutator *m, struct pool_ring *ring, uintptr_t item)
{
    uint64_t ends = aword_load_relaxed(&ring->ends);
    void **slot = &ring->slots[(ends >> 32) & ring->mask];

    if ((uint32_t)(ends >> 32) - (uint32_t)ends > ring->mask)
        return false;
    if (__atomic_load_n(slot, __ATOMIC_ACQUIRE) != NULL) /* pairs: pool.slot */
        return false;
    store(m, slot, 0, item);
    (void)aword_add_full(&ring->ends, ONE_HEAD); /* full: a release; pairs: pool.ring */
    return true;
}

static uintptr_t
take(struct gcrt_mutator *m, void **slot)
{
    uintptr_t item;

    chaos_point(&m->heap->os, CHAOS_POOL_TAKE);
    item = slot_load(slot);
    store(m, slot, item, 0);
    return item;
}

uintptr_t
gcrt_poolring_pop(struct gcrt_mutator *m, struct pool_ring *ring)
{
    uint64_t ends;

    do {
        ends = aword_load_acquire(&ring->ends); /* pairs: pool.ring */
        if ((uint32_t)(ends >> 32) == (uint32_t)ends)
            return 0;
    } while (!aword_cas_full(&ring->ends, ends, ends - ONE_HEAD));
    return take(m, &ring->slots[((ends >> 32) - 1) & ring->mask]);
}

/* The tail's carry must not reach the head. */
static uint64_t
with_tail(uint64_t ends, uint32_t tail)
{
    return (ends & ~(uint64_t)UINT32_MAX) | tail;
}

uintptr_t
gcrt_poolring_steal(struct gcrt_mutator *m, struct pool_ring *ring)
{
    uint64_t ends;

    do {
        ends = aword_load_acquire(&ring->ends); /* pairs: pool.ring */
        if ((uint32_t)(ends >> 32) == (uint32_t)ends)
            return 0;
    } while (!aword_cas_full(&ring->ends, ends, with_tail(ends, (uint32_t)ends + 1)));
    return take(m, &ring->slots[ends & ring->mask]);
}

uint32_t
gcrt_poolring_close(struct pool_ring *ring, void (*fn)(void *arg, uintptr_t item), void *arg)
{
    uint64_t ends;
    uint32_t n;

    do
        ends = aword_load_acquire(&ring->ends); /* pairs: pool.ring */
    while (!aword_cas_full(&ring->ends, ends, with_tail(ends, (uint32_t)(ends >> 32))));
    n = (uint32_t)(ends >> 32) - (uint32_t)ends;
    for (uint32_t i = 0; fn != NULL && i < n; i++)
        fn(arg, slot_load(&ring->slots[((uint32_t)ends + i) & ring->mask]));
    return n;
}
