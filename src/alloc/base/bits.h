/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_BITS_H
#define GCRT_BASE_BITS_H

/* Bit counting and bit ranges in arrays of 64-bit words.  Plain, owner-only memory. */

#include "alloc/base/base.h"

/* Index of the lowest / highest set bit; x must not be 0. */
static inline unsigned bit_lowest(uint64_t x) { return (unsigned)__builtin_ctzll(x); }
static inline unsigned bit_highest(uint64_t x) { return 63u - (unsigned)__builtin_clzll(x); }

/* Where the target has no instruction for it the compiler would call a function with a table. */
static inline unsigned
bit_count(uint64_t x)
{
#if defined(__POPCNT__) || !defined(__x86_64__)
    return (unsigned)__builtin_popcountll(x);
#else
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (unsigned)((x * 0x0101010101010101u) >> 56);
#endif
}

static inline size_t
round_up_pow2(size_t n)
{
    return n <= 1 ? 1 : (size_t)1 << (bit_highest(n - 1) + 1);
}

/* Bits lo (inclusive) to hi (exclusive) of one word; 0 <= lo <= hi <= 64. */
static inline uint64_t
bit_span(unsigned lo, unsigned hi)
{
    uint64_t below_hi = hi >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << hi) - 1;

    return lo >= 64 ? 0 : below_hi & ~(((uint64_t)1 << lo) - 1);
}

static inline bool
bits_test(const uint64_t *w, size_t i)
{
    return (w[i / 64] >> (i % 64)) & 1;
}

/* The part of word `word` that lies in the bit range [lo, hi) of the whole array. */
static inline uint64_t
bits_word_mask(size_t word, size_t lo, size_t hi)
{
    size_t base = word * 64;
    unsigned from = lo > base ? (unsigned)(lo - base) : 0;
    unsigned to = hi - base >= 64 ? 64 : (unsigned)(hi - base);

    return bit_span(from, to);
}

static inline void
bits_set_range(uint64_t *w, size_t lo, size_t hi)
{
    for (size_t i = lo / 64; i * 64 < hi; i++)
        w[i] |= bits_word_mask(i, lo, hi);
}

static inline void
bits_clear_range(uint64_t *w, size_t lo, size_t hi)
{
    for (size_t i = lo / 64; i * 64 < hi; i++)
        w[i] &= ~bits_word_mask(i, lo, hi);
}

static inline size_t
bits_count_range(const uint64_t *w, size_t lo, size_t hi)
{
    size_t n = 0;

    for (size_t i = lo / 64; i * 64 < hi; i++)
        n += bit_count(w[i] & bits_word_mask(i, lo, hi));
    return n;
}

/* First bit >= from that equals `value`, or n if there is none below n. */
static inline size_t
bits_find(const uint64_t *w, size_t from, size_t n, bool value)
{
    uint64_t flip = value ? 0 : ~(uint64_t)0;

    for (size_t i = from / 64; i * 64 < n; i++) {
        uint64_t x = (w[i] ^ flip) & bits_word_mask(i, from, n);

        if (x != 0)
            return i * 64 + bit_lowest(x);
    }
    return n;
}

#endif
