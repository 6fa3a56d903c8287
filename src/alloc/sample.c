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

/* Beyond this a sample is as good as never: keeps sums of distances away from overflow. */
#define DISTANCE_MAX ((uint64_t)1 << 60)

#define SQRT2 1.41421356237309504880
#define LN2   0.69314718055994530942

/*
 * -log(k / 2^53) for k in [1, 2^53], within 1e-13 of it.  The C library's log reads tables,
 * five cache lines that a program which only allocates has not used since the last sample.  Here
 * k = m * 2^e with m between 1/sqrt(2) and sqrt(2), and log m = 2 atanh(s) with |s| < 0.172.
 */
static double
minus_log(uint64_t k)
{
    int e = 63 - __builtin_clzll(k);
    double m = (double)k / (double)((uint64_t)1 << e), s, t;

    if (m > SQRT2) {
        m /= 2;
        e++;
    }
    s = (m - 1) / (m + 1);
    t = s * s;
    t = 1 + t * (1.0 / 3 + t * (1.0 / 5 + t * (1.0 / 7 + t * (1.0 / 9 + t * (1.0 / 11
            + t * (1.0 / 13 + t * (1.0 / 15)))))));
    return (53 - e) * LN2 - 2 * s * t;
}

/* Exponential with mean `rate`; 0 at rate 1, where every object is a sample. */
static uint64_t
draw(struct sampler *s)
{
    double bytes = minus_log((rand_next(&s->rand) >> 11) + 1) * (double)s->rate;

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
