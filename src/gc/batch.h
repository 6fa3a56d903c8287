/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_BATCH_H
#define GCRT_GC_BATCH_H

/*
 * A marker's batch: words found by scanning, which will be marked together.
 *
 * Between the two the mark lines of what they point to are on their way to the cache.  Words
 * are kept as offsets from the heap's base; those that point elsewhere are not kept.
 */

#include "gc/heap.h"
#include "gc/mark.h"

/* Marks what is in the batch, and empties it. */
void gcrt_mark_batch(struct marker *mk);

static inline void
make_room(struct marker *mk, uint32_t words)
{
    if (UNLIKELY(mk->nbatch + words > MARK_BATCH))
        gcrt_mark_batch(mk);
}

/*
 * Appends words that point into the heap to the batch, of which it holds the end.  Without a
 * branch: which words of a graph are pointers, and which NULL, is what no predictor knows.
 */
struct appender {
    struct spanmap map;
    uintptr_t limit;
    uintptr_t *at;
};

/*
 * The limit is read before the words are, so one of them may point beyond it.  Such an object
 * was born black: everybody allocated black when marking was opened.
 */
static inline struct appender
append_begin(struct marker *mk)
{
    const struct mheap *h = &mk->heap->mheap;

    return (struct appender){ mheap_map(h), aword_load_acquire(&h->limit), /* pairs: heap.grow */
        &mk->batch[mk->nbatch] };
}

static inline void
append(struct appender *a, uintptr_t word)
{
    uintptr_t offset = word - a->map.base, inside = offset < a->limit;

    *a->at = offset;
    a->at += inside;
    __builtin_prefetch(&a->map.spans[(offset & (0 - inside)) >> PAGE_SHIFT]);
}

static inline void
append_end(struct marker *mk, const struct appender *a)
{
    mk->nbatch = (uint32_t)(a->at - mk->batch);
}

RACY_READER static inline void
append_run(struct appender *a, uintptr_t from, uintptr_t end)
{
    for (; from < end; from += WORD)
        append(a, RACY_READ(from));
}

RACY_READER static inline void
append_mask(struct appender *a, uintptr_t object, uint64_t mask)
{
    for (; mask != 0; mask &= mask - 1)
        append(a, RACY_READ(object + bit_lowest(mask) * WORD));
}

#endif
