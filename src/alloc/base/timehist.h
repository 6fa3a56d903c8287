/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_TIMEHIST_H
#define GCRT_BASE_TIMEHIST_H

/*
 * A histogram of durations that many threads add to and anyone reads.
 *
 * Go's layout (runtime/histogram.go): four linear buckets per power of two from 2^9 ns to
 * 2^48 ns, one underflow bucket below and one overflow bucket above.
 */

#include "alloc/base/atomic.h"
#include "alloc/base/bits.h"

#define TIMEHIST_MIN_BITS 9
#define TIMEHIST_MAX_BITS 48
#define TIMEHIST_SUB_BITS 2
#define TIMEHIST_SUBS     (1u << TIMEHIST_SUB_BITS)
#define TIMEHIST_SUPERS   (TIMEHIST_MAX_BITS - TIMEHIST_MIN_BITS + 1)
/* underflow, 40 x 4, overflow */
#define TIMEHIST_BUCKETS  (1 + TIMEHIST_SUPERS * TIMEHIST_SUBS + 1)

struct timehist {
    aword counts[TIMEHIST_BUCKETS];
    aword total_ns;
    aword max_ns;
};

/* Lower bound of bucket i in ns; bucket 0 starts at 0. */
static inline uint64_t
timehist_lower_ns(unsigned i)
{
    unsigned super, sub;

    if (i == 0)
        return 0;
    super = (i - 1) / TIMEHIST_SUBS;
    sub = (i - 1) % TIMEHIST_SUBS;
    if (super == 0) /* the first power of two is split evenly from 0 to 2^MIN_BITS */
        return (uint64_t)sub << (TIMEHIST_MIN_BITS - TIMEHIST_SUB_BITS);
    return ((uint64_t)(TIMEHIST_SUBS + sub)) << (super - 1 + TIMEHIST_MIN_BITS - TIMEHIST_SUB_BITS);
}

static inline unsigned
timehist_bucket(uint64_t ns)
{
    unsigned high;

    if (ns < ((uint64_t)1 << TIMEHIST_MIN_BITS))
        return 1 + (unsigned)(ns >> (TIMEHIST_MIN_BITS - TIMEHIST_SUB_BITS));
    high = bit_highest(ns);
    if (high >= TIMEHIST_MAX_BITS)
        return TIMEHIST_BUCKETS - 1;
    return 1 + (high - TIMEHIST_MIN_BITS + 1) * TIMEHIST_SUBS
        + (unsigned)((ns >> (high - TIMEHIST_SUB_BITS)) & (TIMEHIST_SUBS - 1));
}

/* Who reads max_ns before the others finds there what it comes from. */
static inline void
timehist_add(struct timehist *h, uint64_t ns)
{
    uint64_t max = aword_load_relaxed(&h->max_ns);

    aword_add_relaxed(&h->counts[timehist_bucket(ns)], 1);
    aword_add_relaxed(&h->total_ns, ns);
    while (ns > max && !aword_cas_full(&h->max_ns, max, ns)) /* pairs: timehist.max */
        max = aword_load_relaxed(&h->max_ns);
}

#endif
