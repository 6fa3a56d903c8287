/* SPDX-License-Identifier: MIT */
/*
 * The bitmaps of one 512-page chunk.
 *
 * Purpose: search, summarise and change the two bits per page of a chunk (pagebits.h).
 * Place: called by the page allocator only; calls nothing.
 * Invariants: a scavenged page is free; take and give keep that.
 * Concurrency: none here, the page allocator's caller holds the heap lock.
 * Cost: everything is at most a few operations for each of eight words; a chunk's two maps
 * are two cache lines.
 *
 * A run of free pages either lies inside one word or touches a word's edge.  Runs that
 * touch edges are followed word by word: `run` is the length of the free run that ends
 * where the current word begins.  Runs inside a word are found by folding the word onto
 * itself (run_starts), which takes log2(length) steps.
 *
 *        word i - 1                  word i
 *   ...0 0 1 1 1 1 1 1 | 1 1 1 0 0 1 1 1 1 0 ... 0 1 1 1
 *          '-- run --'   '-head'   '-inside'      '-tail' = the next word's run
 *
 * (Low bits, that is low pages, are drawn at the left.)
 */
#include "alloc/pagebits.h"

#include "alloc/base/check.h"

#define WORD_FULL (~(uint64_t)0)
/* A run inside a word leaves at least one taken page at either side of it. */
#define INSIDE_MAX 62

/* Ones at the low end and at the high end of a word that is not full. */
static inline unsigned
head_ones(uint64_t x)
{
    return bit_lowest(~x);
}

static inline unsigned
tail_ones(uint64_t x)
{
    return 63 - bit_highest(~x);
}

/* The longest run of ones in x if it is longer than `longest`, else `longest`. */
static size_t
longest_inside(uint64_t x, size_t longest)
{
    if (longest >= INSIDE_MAX)
        return longest;
    x = run_starts(x, (unsigned)longest + 1);
    while (x != 0) {
        x &= x >> 1;
        longest++;
    }
    return longest;
}

size_t
gcrt_pagebits_find(const struct pagebits *bits, size_t npages)
{
    size_t run = 0;

    for (size_t i = 0; i < CHUNK_WORDS; i++) {
        uint64_t x = bits->free[i];
        unsigned head = x == WORD_FULL ? 64 : head_ones(x);

        if (run + head >= npages)
            return i * 64 - run;
        if (x == WORD_FULL) {
            run += 64;
            continue;
        }
        /* One more than fits inside: a tail in the last word has no next word. */
        if (npages <= INSIDE_MAX + 1) {
            uint64_t starts = run_starts(x, (unsigned)npages);

            if (starts != 0)
                return i * 64 + bit_lowest(starts);
        }
        run = tail_ones(x);
    }
    return PAGE_NONE;
}

struct pagesum
gcrt_pagebits_summary(const struct pagebits *bits)
{
    struct pagesum sum = { CHUNK_PAGES, 0, 0 };
    bool all_free = true;
    size_t run = 0;

    for (size_t i = 0; i < CHUNK_WORDS; i++) {
        uint64_t x = bits->free[i];

        if (x == WORD_FULL) {
            run += 64;
            continue;
        }
        run += head_ones(x);
        if (all_free)
            sum.start = run;
        all_free = false;
        sum.max = max_size(sum.max, run);
        run = tail_ones(x);
    }
    sum.end = run;
    sum.max = max_size(sum.max, run);
    for (size_t i = 0; i < CHUNK_WORDS; i++) {
        uint64_t x = bits->free[i];

        /* A full word's run is counted above. */
        if (x != 0 && x != WORD_FULL)
            sum.max = longest_inside(x, sum.max);
    }
    return sum;
}

uint64_t
gcrt_pagebits_merge(const uint64_t *child, size_t size)
{
    struct pagesum all = { PAGESUM_FANOUT * size, 0, 0 };
    bool all_free = true;
    size_t run = 0;

    for (size_t i = 0; i < PAGESUM_FANOUT; i++) {
        struct pagesum sum = pagesum_unpack(child[i]);

        run += sum.start;
        if (sum.start == size)
            continue;
        if (all_free)
            all.start = run;
        all_free = false;
        all.max = max_size(all.max, max_size(run, sum.max));
        run = sum.end;
    }
    all.max = max_size(all.max, run);
    all.end = run;
    return pagesum_pack(all);
}

size_t
gcrt_pagebits_take(struct pagebits *bits, size_t lo, size_t hi)
{
    size_t nscavenged = 0;

    for (size_t i = lo / 64; i * 64 < hi; i++) {
        uint64_t mask = bits_word_mask(i, lo, hi);

        ASSERT((bits->free[i] & mask) == mask);
        nscavenged += bit_count(bits->scavenged[i] & mask);
        bits->free[i] &= ~mask;
        bits->scavenged[i] &= ~mask;
    }
    return nscavenged;
}

void
gcrt_pagebits_give(struct pagebits *bits, size_t lo, size_t hi, bool scavenged)
{
    ASSERT(pagebits_first_free(bits, lo, hi) == PAGE_NONE);
    bits_set_range(bits->free, lo, hi);
    if (scavenged)
        bits_set_range(bits->scavenged, lo, hi);
}

/* The length of the free dirty run that ends just below page `end`, at most max_pages. */
static size_t
dirty_below(const struct pagebits *bits, size_t end, size_t max_pages)
{
    size_t n = 0;

    while (n < end && n < max_pages) {
        size_t last = end - n - 1;
        unsigned above = 63 - (unsigned)(last % 64);
        uint64_t x = (bits->free[last / 64] & ~bits->scavenged[last / 64]) << above;
        unsigned ones = x == WORD_FULL ? 64 : tail_ones(x);

        n += ones;
        if (ones < 64 - above)
            break; /* the run does not reach down to the word's edge */
    }
    return min_size(n, max_pages);
}

size_t
gcrt_pagebits_top_dirty(
    const struct pagebits *bits, size_t hi, size_t max_pages, size_t *npages)
{
    for (size_t i = (hi + 63) / 64; i-- > 0;) {
        uint64_t x = bits->free[i] & ~bits->scavenged[i] & bits_word_mask(i, 0, hi);

        if (x != 0) {
            size_t end = i * 64 + bit_highest(x) + 1;

            *npages = dirty_below(bits, end, max_pages);
            return end - *npages;
        }
    }
    return PAGE_NONE;
}

size_t
gcrt_pagebits_first_clean(const struct pagebits *bits, size_t npages)
{
    for (size_t at = 0; at < CHUNK_PAGES; at += npages)
        if (bits_find(bits->scavenged, at, at + npages, false) == at + npages)
            return at;
    return PAGE_NONE;
}
