/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_BITPILE_H
#define GCRT_ALLOC_BITPILE_H

/*
 * A long bitmap whose highest set bit is a few steps away: above it, levels with a bit for each
 * word of the level below that is not zero.
 *
 * The caller owns the words, or holds the lock over them; all zero is an empty one.
 */

#include "alloc/base/base.h"
#include "alloc/base/bits.h"

#define BITPILE_LEVELS 3

struct bitpile {
    uint64_t *level[BITPILE_LEVELS]; /* borrowed; [0] the bitmap itself */
};

static inline void
bitpile_set(const struct bitpile *pile, size_t i)
{
    for (unsigned level = 0; level < BITPILE_LEVELS; level++, i /= 64) {
        uint64_t *word = &pile->level[level][i / 64];
        bool above_is_set = *word != 0;

        *word |= (uint64_t)1 << i % 64;
        if (above_is_set)
            return;
    }
}

static inline void
bitpile_clear(const struct bitpile *pile, size_t i)
{
    for (unsigned level = 0; level < BITPILE_LEVELS; level++, i /= 64) {
        uint64_t *word = &pile->level[level][i / 64];

        *word &= ~((uint64_t)1 << i % 64);
        if (*word != 0)
            return;
    }
}

/* The highest set bit below `end`, or SIZE_MAX: up the levels, then down. */
static inline size_t
bitpile_highest(const struct bitpile *pile, size_t end)
{
    size_t i = end;

    for (unsigned level = 0; level < BITPILE_LEVELS; level++, i /= 64) {
        uint64_t word;

        if (i % 64 == 0)
            continue;
        word = pile->level[level][i / 64] & bit_span(0, (unsigned)(i % 64));
        if (word == 0)
            continue;
        i = i / 64 * 64 + bit_highest(word);
        while (level-- > 0)
            i = i * 64 + bit_highest(pile->level[level][i]); /* never zero */
        return i;
    }
    return SIZE_MAX;
}

#endif
