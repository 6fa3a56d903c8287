/* SPDX-License-Identifier: MIT */
/*
 * Lock-free sets of spans.
 *
 * Purpose: hand spans between Ps and sweepers without a lock.
 * Place: mcentral pushes and pops; sweep pops.
 * Invariants: a span is in at most one set; the 32-bit tag would have to wrap between a
 * popper's load and its compare-and-swap to be fooled.
 * Concurrency: push releases and pop acquires the span's fields (pairs: spanset.top).
 * Cost: one compare-and-swap each, plus a miss on the descriptor's alloc line.
 */
#include "alloc/spanset.h"

#define TAG_ONE ((uint64_t)1 << 32)

static inline uint64_t
next_top(uint64_t old, uint64_t index)
{
    return ((old + TAG_ONE) & ~(TAG_ONE - 1)) | index;
}

void
gcrt_spanset_push(struct spanset *set, struct mspan *spans, struct mspan *s)
{
    uint64_t index = (uint64_t)(s - spans) + 1;
    uint64_t old;

    do {
        old = aword_load_relaxed(&set->top);
        ahalf_store_relaxed(&s->next, (unsigned)old);
    } while (!aword_cas_release(&set->top, old, next_top(old, index))); /* pairs: spanset.top */
}

struct mspan *
gcrt_spanset_pop(struct spanset *set, struct mspan *spans)
{
    for (;;) {
        uint64_t old = aword_load_acquire(&set->top); /* pairs: spanset.top */
        struct mspan *s;

        if ((uint32_t)old == 0)
            return NULL;
        s = &spans[(uint32_t)old - 1];
        if (aword_cas_acquire(&set->top, old, next_top(old, ahalf_load_relaxed(&s->next))))
            return s;
    }
}
