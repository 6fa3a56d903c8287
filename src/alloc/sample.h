/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_SAMPLE_H
#define GCRT_ALLOC_SAMPLE_H

/*
 * Which objects a heap profile looks at: a Poisson process over the bytes that one P
 * allocates.  Owner only.
 */

#include "alloc/base/base.h"

#define SAMPLE_NEVER UINT64_MAX

struct sampler {
    uint64_t rate;  /* mean bytes between two samples; 0: none are taken */
    uint64_t left;  /* bytes to be allocated before the next sampled one */
    uint64_t rand;  /* state of rand_next */
    uint64_t due;   /* the slot just handed out is a sample, taken at this rate; 0: it is none */
};

/* Samples from now on at another rate.  The seed counts the first time. */
void gcrt_sampler_set_rate(struct sampler *s, uint64_t rate, uint64_t seed);

/*
 * nslots slots in a row, at least one, are to be handed out: returns how many of them may be
 * before the next look, at least one.  If the first is a sample, s->due says so; no other
 * one is.
 */
size_t gcrt_sampler_take(struct sampler *s, size_t slot_bytes, size_t nslots);

/* The same for a run, which is short: mostly there is no sample in it. */
static inline size_t
sampler_take(struct sampler *s, size_t slot_bytes, size_t nslots)
{
    uint64_t bytes = (uint64_t)nslots * slot_bytes;

    if (UNLIKELY(s->left < bytes))
        return gcrt_sampler_take(s, slot_bytes, nslots);
    if (s->left != SAMPLE_NEVER)
        s->left -= bytes;
    return nslots;
}

/* So many bytes that were taken have not been handed out, and will not be. */
static inline void
sampler_give_back(struct sampler *s, size_t bytes)
{
    if (s->left < SAMPLE_NEVER - bytes)
        s->left += bytes;
}

#endif
