/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_ITEM_H
#define GCRT_GC_ITEM_H

/*
 * What a marker's queue holds.
 *
 * An item is an object's address with its kind in the top 16 bits, so that scanning it does not
 * look at its span again.  Or an address in the object from which on it remains to be scanned;
 * that of a small object has ITEM_REST set.
 */

#include "gc/heap.h"
#include "gc/kind.h"
#include "gc/mark.h"

#define ITEM_KIND_SHIFT 48
#define ITEM_REST       ((uintptr_t)1)
#define ITEM_ADDRESS    ((((uintptr_t)1 << ITEM_KIND_SHIFT) - 1) & ~ITEM_REST)

static inline uintptr_t
item_address(uintptr_t item)
{
    return item & ITEM_ADDRESS;
}

/* Another object of the same kind. */
static inline uintptr_t
item_like(uintptr_t item, uintptr_t address)
{
    return address | (item & ~(ITEM_ADDRESS | ITEM_REST));
}

static inline bool
item_is_like(uintptr_t a, uintptr_t b)
{
    return (a ^ b) >> ITEM_KIND_SHIFT == 0;
}

static inline uintptr_t
item_of(uintptr_t address, unsigned kind)
{
    return address | (uintptr_t)kind << ITEM_KIND_SHIFT;
}

static inline const struct kind *
item_kind(const struct marker *mk, uintptr_t item)
{
    return kind_at(mk->heap, (unsigned)(item >> ITEM_KIND_SHIFT));
}

static inline void
put_item(struct marker *mk, uintptr_t item)
{
    workqueue_put(&mk->heap->work, &mk->queue, item);
}

#endif
