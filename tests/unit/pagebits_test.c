/* SPDX-License-Identifier: MIT */
/*
 * The bitmaps of one chunk against bytes: every answer of pagebits.c is compared with a
 * page-by-page loop, over random maps of many densities and over the edges of words.
 * The seed is printed; GCRT_SEED repeats a run.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seed.h"

#include "alloc/base/rand.h"
#include "alloc/pagebits.h"
#include "alloc/pagecache.h"

#define ROUNDS 4000

/* Alternating free and taken runs of up to `longest` pages. */
static void
random_bits(struct pagebits *bits, uint64_t *seed, size_t longest)
{
    bool is_free = rand_below(seed, 2) != 0;

    memset(bits, 0, sizeof(*bits));
    for (size_t at = 0, n; at < CHUNK_PAGES; at += n, is_free = !is_free) {
        n = min_size(CHUNK_PAGES - at, 1 + rand_below(seed, longest));
        if (is_free)
            bits_set_range(bits->free, at, at + n);
    }
    for (size_t i = 0; i < CHUNK_WORDS; i++)
        bits->scavenged[i] = bits->free[i] & rand_next(seed);
}

static size_t
random_longest(uint64_t *seed)
{
    static const size_t longest[] = { 1, 2, 5, 30, 62, 63, 64, 65, 100, 200, 512 };

    return longest[rand_below(seed, ARRAY_LEN(longest))];
}

static struct pagesum
naive_summary(const struct pagebits *bits)
{
    struct pagesum sum = { 0, 0, 0 };

    for (size_t i = 0; i < CHUNK_PAGES; i++) {
        sum.end = bits_test(bits->free, i) ? sum.end + 1 : 0;
        if (sum.end == i + 1)
            sum.start = i + 1;
        sum.max = max_size(sum.max, sum.end);
    }
    return sum;
}

static size_t
naive_find(const struct pagebits *bits, size_t npages)
{
    for (size_t i = 0, run = 0; i < CHUNK_PAGES; i++) {
        run = bits_test(bits->free, i) ? run + 1 : 0;
        if (run == npages)
            return i + 1 - npages;
    }
    return PAGE_NONE;
}

static bool
is_dirty(const struct pagebits *bits, size_t i)
{
    return bits_test(bits->free, i) && !bits_test(bits->scavenged, i);
}

static size_t
naive_top_dirty(
    const struct pagebits *bits, size_t hi, size_t max_pages, size_t *npages)
{
    size_t end = hi;

    while (end > 0 && !is_dirty(bits, end - 1))
        end--;
    if (end == 0)
        return PAGE_NONE;
    for (*npages = 0; *npages < max_pages && *npages < end; (*npages)++)
        if (!is_dirty(bits, end - *npages - 1))
            break;
    return end - *npages;
}

static void
expect_sum(struct pagesum have, struct pagesum want)
{
    cr_assert_eq(have.start, want.start, "start %zu, not %zu", have.start, want.start);
    cr_assert_eq(have.max, want.max, "max %zu, not %zu", have.max, want.max);
    cr_assert_eq(have.end, want.end, "end %zu, not %zu", have.end, want.end);
}

Test(pagebits, summary_is_that_of_a_page_by_page_scan)
{
    uint64_t seed = seed_of("summary");
    struct pagebits bits;

    for (int round = 0; round < ROUNDS; round++) {
        random_bits(&bits, &seed, random_longest(&seed));
        expect_sum(gcrt_pagebits_summary(&bits), naive_summary(&bits));
    }
}

Test(pagebits, summary_of_one_run_is_right_at_every_place)
{
    for (size_t n = 1; n <= CHUNK_PAGES; n += n < 70 ? 1 : 37) {
        for (size_t lo = 0; lo + n <= CHUNK_PAGES; lo++) {
            struct pagebits bits = { { 0 }, { 0 } };
            struct pagesum sum;

            bits_set_range(bits.free, lo, lo + n);
            sum = gcrt_pagebits_summary(&bits);
            cr_assert_eq(sum.max, n);
            cr_assert_eq(sum.start, lo == 0 ? n : 0);
            cr_assert_eq(sum.end, lo + n == CHUNK_PAGES ? n : 0);
            cr_assert_eq(gcrt_pagebits_find(&bits, n), lo);
            cr_assert_eq(gcrt_pagebits_find(&bits, n + 1), PAGE_NONE);
        }
    }
}

Test(pagebits, find_returns_the_lowest_run)
{
    uint64_t seed = seed_of("find");
    struct pagebits bits;

    for (int round = 0; round < ROUNDS; round++) {
        size_t longest = random_longest(&seed);
        size_t npages = 1 + rand_below(&seed, longest + 3);

        random_bits(&bits, &seed, longest);
        cr_assert_eq(gcrt_pagebits_find(&bits, npages), naive_find(&bits, npages),
            "round %d, %zu pages", round, npages);
    }
}

Test(pagebits, take_and_give_change_the_range_and_nothing_else)
{
    uint64_t seed = seed_of("take and give");
    struct pagebits bits, before;

    for (int round = 0; round < ROUNDS; round++) {
        size_t lo = rand_below(&seed, CHUNK_PAGES);
        size_t hi = lo + 1 + rand_below(&seed, CHUNK_PAGES - lo);
        bool scavenged = rand_below(&seed, 2) != 0;
        size_t want = 0;

        random_bits(&bits, &seed, random_longest(&seed));
        bits_set_range(bits.free, lo, hi);
        before = bits;
        for (size_t i = lo; i < hi; i++)
            want += bits_test(bits.scavenged, i);
        cr_assert_eq(gcrt_pagebits_take(&bits, lo, hi), want);
        for (size_t i = 0; i < CHUNK_PAGES; i++) {
            bool inside = i >= lo && i < hi;

            cr_assert_eq(bits_test(bits.free, i), !inside && bits_test(before.free, i));
            cr_assert_eq(
                bits_test(bits.scavenged, i), !inside && bits_test(before.scavenged, i));
        }
        gcrt_pagebits_give(&bits, lo, hi, scavenged);
        for (size_t i = 0; i < CHUNK_PAGES; i++) {
            bool inside = i >= lo && i < hi;

            cr_assert_eq(bits_test(bits.free, i), bits_test(before.free, i));
            cr_assert_eq(bits_test(bits.scavenged, i),
                inside ? scavenged : bits_test(before.scavenged, i));
        }
    }
}

Test(pagebits, top_dirty_is_the_top_of_the_highest_dirty_run)
{
    uint64_t seed = seed_of("top dirty");
    struct pagebits bits;

    for (int round = 0; round < ROUNDS; round++) {
        size_t max_pages = 1 + rand_below(&seed, 2 * random_longest(&seed));
        size_t have_n = 0, want_n = 0, have, want;
        size_t hi = rand_below(&seed, 2) != 0 ? CHUNK_PAGES : 1 + rand_below(&seed, CHUNK_PAGES);

        random_bits(&bits, &seed, random_longest(&seed));
        if (rand_below(&seed, 4) != 0) /* long dirty runs, and none at all */
            for (size_t i = 0; i < CHUNK_WORDS; i++)
                bits.scavenged[i] = rand_below(&seed, 2) != 0 ? bits.free[i] : 0;
        have = gcrt_pagebits_top_dirty(&bits, hi, max_pages, &have_n);
        want = naive_top_dirty(&bits, hi, max_pages, &want_n);
        cr_assert_eq(have, want, "round %d: page %zu, not %zu", round, have, want);
        cr_assert_eq(have_n, want_n, "round %d: %zu pages, not %zu", round, have_n, want_n);
        if (hi == CHUNK_PAGES)
            cr_assert_eq(pagebits_any_dirty(&bits), want != PAGE_NONE);
    }
}

Test(pagebits, first_clean_is_the_lowest_clean_block)
{
    uint64_t seed = seed_of("first clean");
    struct pagebits bits;

    for (int round = 0; round < ROUNDS; round++) {
        size_t npages = (size_t)64 << rand_below(&seed, 4), want = 0;

        for (size_t i = 0; i < CHUNK_WORDS; i++) {
            bits.free[i] = rand_below(&seed, 3) != 0 ? UINT64_MAX : rand_next(&seed);
            bits.scavenged[i] = rand_below(&seed, 4) != 0 ? bits.free[i] : 0;
        }
        while (want < CHUNK_PAGES
                && bits_count_range(bits.scavenged, want, want + npages) < npages)
            want += npages;
        want = want < CHUNK_PAGES ? want : PAGE_NONE;
        cr_assert_eq(gcrt_pagebits_first_clean(&bits, npages), want);
    }
}

Test(pagebits, zero_chunk_offers_nothing)
{
    struct pagebits bits = { { 0 }, { 0 } };
    size_t n;

    cr_assert_eq(pagesum_pack(gcrt_pagebits_summary(&bits)), 0);
    cr_assert_eq(gcrt_pagebits_find(&bits, 1), PAGE_NONE);
    cr_assert_eq(gcrt_pagebits_top_dirty(&bits, CHUNK_PAGES, 1, &n), PAGE_NONE);
    cr_assert_eq(gcrt_pagebits_first_clean(&bits, 64), PAGE_NONE);
}

Test(pagebits, packing_loses_nothing)
{
    const size_t most = (size_t)1 << PAGESUM_BITS;
    const struct pagesum sums[] = { { 0, 0, 0 }, { 1, 2, 3 }, { most - 1, most - 1, 0 },
        { 0, most - 1, most - 1 }, { 0, most - 2, 0 }, { most, most, most } };

    for (size_t i = 0; i < ARRAY_LEN(sums); i++)
        expect_sum(pagesum_unpack(pagesum_pack(sums[i])), sums[i]);
}

/* Eight neighbours, each empty, full or anything, against a scan of all their pages. */
Test(pagebits, merge_is_the_summary_of_all_eight)
{
    uint64_t seed = seed_of("merge");
    struct pagebits bits;

    for (int round = 0; round < ROUNDS / 4; round++) {
        uint64_t child[PAGESUM_FANOUT];
        struct pagesum want = { 0, 0, 0 };

        for (size_t i = 0; i < PAGESUM_FANOUT; i++) {
            random_bits(&bits, &seed, random_longest(&seed));
            if (rand_below(&seed, 3) != 0)
                memset(bits.free, rand_below(&seed, 2) != 0 ? 0xff : 0, sizeof(bits.free));
            child[i] = pagesum_pack(gcrt_pagebits_summary(&bits));
            for (size_t page = 0; page < CHUNK_PAGES; page++) {
                want.end = bits_test(bits.free, page) ? want.end + 1 : 0;
                if (want.end == i * CHUNK_PAGES + page + 1)
                    want.start = want.end;
                want.max = max_size(want.max, want.end);
            }
        }
        expect_sum(pagesum_unpack(gcrt_pagebits_merge(child, CHUNK_PAGES)), want);
    }
}

Test(pagecache, alloc_takes_the_lowest_run_and_tells_what_is_clean)
{
    uint64_t seed = seed_of("cache");

    for (int round = 0; round < ROUNDS; round++) {
        struct pagecache cache = { .base = 64 * rand_below(&seed, 1000) };
        struct pagebits bits = { { 0 }, { 0 } };
        size_t npages = 1 + rand_below(&seed, PAGECACHE_RUN_MAX);
        size_t nscavenged = 999, want = 0, page, first;
        bool all_zero = false;

        random_bits(&bits, &seed, random_longest(&seed));
        memset(&bits.free[1], 0, sizeof(bits.free) - sizeof(bits.free[0]));
        cache.free = bits.free[0];
        cache.scavenged = bits.scavenged[0];
        first = naive_find(&bits, npages);
        page = gcrt_pagecache_alloc(&cache, npages, &nscavenged, &all_zero);
        if (first == PAGE_NONE) {
            cr_assert_eq(page, PAGE_NONE);
            cr_assert_eq(nscavenged, 999, "outputs are untouched");
            cr_assert_eq(cache.free, bits.free[0]);
            continue;
        }
        for (size_t i = first; i < first + npages; i++)
            want += bits_test(bits.scavenged, i);
        cr_assert_eq(page, cache.base + first);
        cr_assert_eq(nscavenged, want);
        cr_assert_eq(all_zero, want == npages);
        bits_clear_range(bits.free, first, first + npages);
        bits_clear_range(bits.scavenged, first, first + npages);
        cr_assert_eq(cache.free, bits.free[0]);
        cr_assert_eq(cache.scavenged, bits.scavenged[0]);
    }
}
