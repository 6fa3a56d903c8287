/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_PAGEBITS_H
#define GCRT_ALLOC_PAGEBITS_H

/*
 * The books of one chunk: 512 pages of 8 KiB, 4 MiB, two bits per page.
 *
 *   free  scavenged
 *    0       0       handed out, reserved, or never grown
 *    1       0       free and dirty: backed by memory, contents unknown
 *    1       1       free and clean: not backed by memory, reads as zero
 *    0       1       never
 *
 * All zero means that nothing is available, so untouched memory is a valid chunk.
 * Page ranges are [lo, hi) with 0 <= lo < hi <= CHUNK_PAGES.
 * Plain memory: the caller owns the chunk or holds the lock over it.
 */

#include "alloc/base/base.h"
#include "alloc/base/bits.h"

#define CHUNK_PAGES_LOG 9
#define CHUNK_PAGES     ((size_t)1 << CHUNK_PAGES_LOG)
#define CHUNK_WORDS     (CHUNK_PAGES / 64)
#define PAGE_NONE       ((size_t)-1) /* no such page */

struct pagebits {
    uint64_t free[CHUNK_WORDS];
    uint64_t scavenged[CHUNK_WORDS];
};

#define PAGESUM_FANOUT_LOG 3
#define PAGESUM_FANOUT     ((size_t)1 << PAGESUM_FANOUT_LOG)
#define PAGESUM_BITS       21 /* of a length; a block has at most 2^21 pages */

/*
 * Free runs of a block of pages: the one that begins the block, the longest, the one that
 * ends it.  In a fully free block all three are the block's size; else start + end is less.
 */
struct pagesum {
    size_t start;
    size_t max;
    size_t end;
};

/* Lowest i such that pages i .. i + npages - 1 are free, or PAGE_NONE; npages >= 1. */
size_t gcrt_pagebits_find(const struct pagebits *bits, size_t npages);
struct pagesum gcrt_pagebits_summary(const struct pagebits *bits);
/* The packed summary of PAGESUM_FANOUT neighbours of `size` pages each, from theirs. */
uint64_t gcrt_pagebits_merge(const uint64_t *child, size_t size);
/* The range stops being free; returns how many of its pages were scavenged. */
size_t gcrt_pagebits_take(struct pagebits *bits, size_t lo, size_t hi);
/* The range becomes free. */
void gcrt_pagebits_give(struct pagebits *bits, size_t lo, size_t hi, bool scavenged);
/*
 * The highest run of free dirty pages below page hi, or as much of its top as max_pages
 * allows: returns its first page and sets *npages; PAGE_NONE if there is none.  max_pages
 * >= 1, hi >= 1.
 */
size_t gcrt_pagebits_top_dirty(
    const struct pagebits *bits, size_t hi, size_t max_pages, size_t *npages);

/*
 * The lowest multiple of npages at which so many pages are free and scavenged, or PAGE_NONE.
 * npages is a multiple of 64 that CHUNK_PAGES is a multiple of.
 */
size_t gcrt_pagebits_first_clean(const struct pagebits *bits, size_t npages);

/*
 * A summary in one word: three lengths of 21 bits.  2^21 itself does not fit, but a run of
 * that length means that all of the largest block is free, so bit 63 says it for all three.
 * Zero means that nothing is free.
 */
static inline uint64_t
pagesum_pack(struct pagesum sum)
{
    if (sum.start >> PAGESUM_BITS)
        return (uint64_t)1 << 63;
    return (uint64_t)sum.start | (uint64_t)sum.max << PAGESUM_BITS
        | (uint64_t)sum.end << 2 * PAGESUM_BITS;
}

static inline struct pagesum
pagesum_unpack(uint64_t packed)
{
    const uint64_t mask = ((uint64_t)1 << PAGESUM_BITS) - 1;
    size_t all = (size_t)(packed >> 63) << PAGESUM_BITS;
    struct pagesum sum = {
        .start = all | (size_t)(packed & mask),
        .max = all | (size_t)(packed >> PAGESUM_BITS & mask),
        .end = all | (size_t)(packed >> 2 * PAGESUM_BITS & mask),
    };

    return sum;
}

/* The bits of x at which a run of n ones begins; 1 <= n <= 64. */
static inline uint64_t
run_starts(uint64_t x, unsigned n)
{
    while (n > 1) {
        unsigned half = n / 2;

        /* n - half >= half, so n - half ones in a row now mean n ones in a row before. */
        x &= x >> half;
        n -= half;
    }
    return x;
}

static inline bool
pagebits_any_dirty(const struct pagebits *bits)
{
    uint64_t any = 0;

    for (size_t i = 0; i < CHUNK_WORDS; i++)
        any |= bits->free[i] & ~bits->scavenged[i];
    return any != 0;
}

/* All pages are free and scavenged. */
static inline bool
pagebits_is_clean(const struct pagebits *bits)
{
    uint64_t all = ~(uint64_t)0;

    for (size_t i = 0; i < CHUNK_WORDS; i++)
        all &= bits->scavenged[i];
    return all == ~(uint64_t)0;
}

/* The first free page in [lo, hi), or PAGE_NONE. */
static inline size_t
pagebits_first_free(const struct pagebits *bits, size_t lo, size_t hi)
{
    size_t i = bits_find(bits->free, lo, hi, true);

    return i == hi ? PAGE_NONE : i;
}

#endif
