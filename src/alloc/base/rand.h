/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_RAND_H
#define GCRT_BASE_RAND_H

#include "alloc/base/base.h"

/* splitmix64 (Steele, Lea, Flood 2014): seeded, one word of state, good enough everywhere. */
static inline uint64_t
rand_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, n); n > 0. */
static inline uint64_t
rand_below(uint64_t *state, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)rand_next(state) * n) >> 64);
}

#endif
