/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_POOLRACK_H
#define GCRT_GC_POOLRACK_H

/*
 * Racks, out of line.  The caller owns the rack and is critical; the collector and statistics
 * read it meanwhile: each word by itself, so what they see may be of different moments.
 */

#include "gc/barrier.h"

#include <gcrt/pool.h>

#define RACK_ITEMS GC_IMPL_RACK_SLOTS

/* The root word is about to change. */
static inline void
pool_shade(struct gcrt_mutator *m, const void *slot, uintptr_t old, uintptr_t new_)
{
    if (UNLIKELY(barrier_state(&gc_impl_self) != BARRIER_OFF))
        gcrt_barrier_shade(m, slot, old, new_);
}

static inline uint64_t
rack_read(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE); /* pairs: pool.rack */
}

static inline void
rack_write(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE); /* pairs: pool.rack */
}

/* Of another thread's rack an approximation, from 0 to RACK_ITEMS. */
static inline uint32_t
rack_count(const struct gc_impl_rack *rack)
{
    uint64_t n = rack_read(&rack->tail) - rack_read(&rack->head);

    return n > RACK_ITEMS ? 0 : (uint32_t)n;
}

/* The queue's i-th slot. */
static inline void *const *
rack_slot(const struct gc_impl_rack *rack, uint64_t i)
{
    return &rack->items[i % RACK_ITEMS];
}

/* There is room. */
static inline void
rack_push(struct gcrt_mutator *m, struct gc_impl_rack *rack, uintptr_t item)
{
    void **slot = &rack->items[rack->tail % RACK_ITEMS];

    pool_shade(m, slot, 0, item);
    slot_store_relaxed(slot, item);
    rack_write(&rack->tail, rack->tail + 1);
}

/* The newest, or 0; not counted as a get. */
static inline uintptr_t
rack_take_back(struct gcrt_mutator *m, struct gc_impl_rack *rack)
{
    uint64_t tail = rack->tail;
    uintptr_t item;

    if (tail == rack->head)
        return 0;
    item = slot_load(rack_slot(rack, tail - 1));
    pool_shade(m, rack_slot(rack, tail - 1), item, 0);
    rack_write(&rack->tail, tail - 1);
    return item;
}

/* As gc_pool_get: the oldest, or 0. */
static inline uintptr_t
rack_get(struct gcrt_mutator *m, struct gc_impl_rack *rack)
{
    uint64_t head = rack->head;
    uintptr_t item;

    if (head == rack->tail)
        return 0;
    item = slot_load(rack_slot(rack, head));
    pool_shade(m, rack_slot(rack, head), item, 0);
    rack_write(&rack->head, head + 1);
    return item;
}

/* Moves everything to `to`, of RACK_ITEMS, without a shade; how many.  Who acts for the owner. */
static inline uint32_t
rack_move(struct gc_impl_rack *rack, void **to)
{
    uint32_t n = 0;

    for (uint64_t i = rack->head; i != rack->tail; i++)
        slot_store_relaxed(&to[n++], slot_load(rack_slot(rack, i)));
    rack_write(&rack->tail, rack->head);
    return n;
}

#endif
