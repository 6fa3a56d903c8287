/* SPDX-License-Identifier: MIT */
/*
 * The page allocator's verifier.
 *
 * Purpose: derive everything that the page allocator keeps from its bitmaps, page by page, and
 * compare.
 * Place: gcrt_pagealloc_check is called by the heap verifier and by tests.
 * Invariants: those at the head of pagealloc.c; nothing here uses the code that keeps them.
 * Concurrency: the caller holds the heap lock.
 * Cost: every page of the grown chunks, once per level.
 */
#include "alloc/pagealloc.h"

#include <stdio.h>

/* Counts differences and words the first one. */
struct complaint {
    char *why;
    size_t n;
    size_t count;
};

static void
expect_equal(struct complaint *c, const char *what, size_t where, size_t have, size_t want)
{
    if (have == want)
        return;
    if (c->count++ == 0 && c->n > 0)
        (void)snprintf(
            c->why, c->n, "%s at %zu is %zu, should be %zu", what, where, have, want);
}

static void
expect_sum(struct complaint *c, const char *what, size_t where, uint64_t have,
    struct pagesum want)
{
    struct pagesum sum = pagesum_unpack(have);

    expect_equal(c, what, where, sum.start, want.start);
    expect_equal(c, what, where, sum.max, want.max);
    expect_equal(c, what, where, sum.end, want.end);
}

/* A summary derived run by run: feed runs of equal pages in order, then read it. */
static void
naive_add(struct pagesum *sum, size_t *npages, bool is_free, size_t n)
{
    if (is_free) {
        if (sum->start == *npages)
            sum->start += n;
        sum->end += n;
        sum->max = max_size(sum->max, sum->end);
    } else {
        sum->end = 0;
    }
    *npages += n;
}

/* The summary of chunks lo .. hi - 1, from their bitmaps, a page at a time. */
static struct pagesum
naive_sum(const struct pagealloc *pa, size_t lo, size_t hi)
{
    struct pagesum sum = { 0, 0, 0 };
    size_t npages = 0;

    for (size_t chunk = lo; chunk < hi; chunk++) {
        if (chunk >= pa->chunks_top || !bits_test(pa->grown, chunk)) {
            naive_add(&sum, &npages, false, CHUNK_PAGES);
            continue;
        }
        for (size_t i = 0; i < CHUNK_PAGES; i++)
            naive_add(&sum, &npages, bits_test(pa->chunk[chunk].free, i), 1);
    }
    return sum;
}

static void
check_chunks(const struct pagealloc *pa, struct complaint *c)
{
    size_t nfree = 0, nscavenged = 0, ngrown = 0, first = PAGE_NONE;

    for (size_t chunk = 0; chunk < pa->chunks_top; chunk++) {
        const struct pagebits *bits = &pa->chunk[chunk];
        bool grown = bits_test(pa->grown, chunk), dirty = false;

        for (size_t i = 0; i < CHUNK_PAGES; i++) {
            bool is_free = bits_test(bits->free, i);
            bool scavenged = bits_test(bits->scavenged, i);
            size_t page = chunk * CHUNK_PAGES + i;

            expect_equal(c, "free bit of a page not grown", page, is_free && !grown, 0);
            expect_equal(
                c, "scavenged bit of a page not free", page, scavenged && !is_free, 0);
            nfree += is_free;
            nscavenged += scavenged;
            dirty |= is_free && !scavenged;
            if (is_free && first == PAGE_NONE)
                first = page;
        }
        ngrown += grown ? CHUNK_PAGES : 0;
        expect_equal(c, "dirty bit of chunk", chunk, pagealloc_is_dirty(pa, chunk), dirty);
    }
    expect_equal(c, "free pages", 0, pa->free_pages, nfree);
    expect_equal(c, "scavenged pages", 0, pa->scavenged_pages, nscavenged);
    expect_equal(c, "grown pages", 0, pa->grown_pages, ngrown);
    expect_equal(c, "hint above the first free page", first, pa->hint > first, 0);
}

static void
check_tree(const struct pagealloc *pa, struct complaint *c)
{
    static const char *const what[PAGEALLOC_LEVELS_MAX] = {
        "summary, level 0,", "summary, level 1,", "summary, level 2,",
        "summary, level 3,", "summary, level 4,",
    };

    for (unsigned level = 0; level < pa->nlevels; level++) {
        unsigned shift = pagealloc_level_shift(pa, level) - CHUNK_PAGES_LOG;

        for (size_t i = 0; i < pa->nentries[level]; i++) {
            struct pagesum want = naive_sum(pa, i << shift, (i + 1) << shift);

            expect_sum(c, what[level], i, pa->level[level][i], want);
        }
    }
}

static void
check_dirty_levels(const struct pagealloc *pa, struct complaint *c)
{
    size_t n = pa->nchunks;

    for (unsigned level = 0; level + 1 < BITPILE_LEVELS; level++) {
        n = (n + 63) / 64;
        for (size_t i = 0; i < n; i++)
            expect_equal(c, "dirty bit of word", i, bits_test(pa->dirty.level[level + 1], i),
                pa->dirty.level[level][i] != 0);
    }
}

size_t
gcrt_pagealloc_check(const struct pagealloc *pa, char *why, size_t n)
{
    struct complaint c = { .why = why, .n = n };

    if (n > 0)
        why[0] = '\0';
    check_chunks(pa, &c);
    check_tree(pa, &c);
    check_dirty_levels(pa, &c);
    return c.count;
}
