/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_SPANSET_H
#define GCRT_ALLOC_SPANSET_H

/*
 * A lock-free stack of spans.
 *
 * One word: the top span's page number + 1 in the low half (0: empty), a tag in the high
 * half that every change advances, which keeps a stale compare-and-swap from succeeding.
 * Links lie in the descriptors (`next`); they are never unmapped, so a popper that lost a
 * race reads a stale link and fails its compare-and-swap.
 */

#include "alloc/base/atomic.h"
#include "alloc/mspan.h"

struct spanset {
    aword top;
};

static inline bool
spanset_is_empty(const struct spanset *set)
{
    return (uint32_t)aword_load_acquire(&set->top) == 0; /* pairs: spanset.top */
}

/* spans: the descriptor array that page numbers index. */
void gcrt_spanset_push(struct spanset *set, struct mspan *spans, struct mspan *s);
/* The most recently pushed span, or NULL. */
struct mspan *gcrt_spanset_pop(struct spanset *set, struct mspan *spans);

#endif
