/* SPDX-License-Identifier: MIT */
/*
 * Sampling allocations.
 *
 * Purpose: choose objects so that each byte allocated has the same chance to be looked at.
 * Place: the mcache ends a run before a sampled slot, so that gc_alloc's inline half never
 * counts anything; malloc asks once for a large object.
 * Invariants: the distances between samples are exponential with mean `rate`, so an object of
 * n bytes is one with probability 1 - exp(-n / rate), whatever came before it, and 1 over that
 * is its weight.  What is taken in a run but never handed out is no allocation and counts for
 * nothing, hence sampler_give_back.
 * Concurrency: none.
 * Cost: two comparisons a run; a logarithm a sample.
 *
 * Source: the distances are those of Go's heap profile (runtime/mprof.go, malloc.go).
 */
#include "alloc/sample.h"

#include "alloc/base/rand.h"

#include <math.h>

/* Beyond this a sample is as good as never: keeps sums of distances away from overflow. */
#define DISTANCE_MAX ((uint64_t)1 << 60)

/* Exponential with mean `rate`; 0 at rate 1, where every object is a sample. */
static uint64_t
draw(struct sampler *s)
{
    double u = (double)((rand_next(&s->rand) >> 11) + 1) * 0x1p-53; /* (0, 1] */
    double bytes = -log(u) * (double)s->rate;

    if (s->rate == 1)
        return 0;
    return bytes < (double)DISTANCE_MAX ? (uint64_t)bytes : DISTANCE_MAX;
}

void
gcrt_sampler_set_rate(struct sampler *s, uint64_t rate, uint64_t seed)
{
    if (s->rand == 0)
        s->rand = seed;
    s->rate = rate;
    s->left = rate == 0 ? SAMPLE_NEVER : draw(s);
    s->due = 0;
}

size_t
gcrt_sampler_take(struct sampler *s, size_t slot_bytes, size_t nslots)
{
    size_t n = nslots;

    if (LIKELY(s->left / slot_bytes >= nslots)) {
        if (s->left != SAMPLE_NEVER)
            s->left -= nslots * slot_bytes;
        return nslots;
    }
    if (s->left >= slot_bytes) { /* the sample lies behind the first slot */
        n = s->left / slot_bytes;
        s->left -= n * slot_bytes;
        return n;
    }
    /* The process has no memory, so the next distance begins where this slot ends. */
    s->due = s->rate;
    s->left = draw(s);
    n = min_size(1 + s->left / slot_bytes, nslots);
    s->left -= (n - 1) * slot_bytes;
    return n;
}
