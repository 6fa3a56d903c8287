/* SPDX-License-Identifier: MIT */
/*
 * The page allocator against an array of bytes, one per page: many thousand random steps,
 * each answer compared with a page-by-page search, and the allocator's own check after
 * every few.  Then the edges, one by one.  The seed is printed; GCRT_SEED repeats a run.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagekit.h"
#include "seed.h"

#include "alloc/base/rand.h"

static void
expect_sound(const struct pagealloc *pa)
{
    char why[200];

    cr_assert_eq(gcrt_pagealloc_check(pa, why, sizeof(why)), 0, "%s", why);
}

static size_t
alloc(struct pagealloc *pa, size_t npages)
{
    size_t nscavenged;
    bool all_zero;

    return gcrt_pagealloc_alloc(pa, npages, &nscavenged, &all_zero);
}

static size_t
size_of(size_t npages)
{
    return npages * CHUNK_PAGES;
}

/* ---- the model ---- */

enum { ABSENT, TAKEN, DIRTY, CLEAN };

struct model {
    struct pagealloc pa;
    unsigned char *page; /* one of the four above for each page */
    size_t npages;
    uint64_t seed;
};

static void
model_init(struct model *m, size_t nchunks, const char *test)
{
    m->npages = size_of(nchunks);
    m->page = calloc(m->npages, 1);
    m->seed = seed_of(test);
    setup(&m->pa, m->npages);
}

static void
model_finish(struct model *m)
{
    expect_sound(&m->pa);
    teardown(&m->pa);
    free(m->page);
}

static size_t
model_find(const struct model *m, size_t npages)
{
    for (size_t i = 0, run = 0; i < m->npages; i++) {
        run = m->page[i] >= DIRTY ? run + 1 : 0;
        if (run == npages)
            return i + 1 - npages;
    }
    return PAGE_NONE;
}

static size_t
model_count(const struct model *m, int least, size_t lo, size_t hi)
{
    size_t n = 0;

    for (size_t i = lo; i < hi; i++)
        n += m->page[i] >= least;
    return n;
}

static void
step_grow(struct model *m)
{
    size_t lo = size_of(rand_below(&m->seed, m->npages / CHUNK_PAGES));
    size_t hi = lo;

    while (hi < m->npages && m->page[hi] == ABSENT && rand_below(&m->seed, 4) != 0)
        hi += CHUNK_PAGES;
    if (hi == lo)
        return;
    gcrt_pagealloc_grow(&m->pa, lo, hi - lo);
    memset(m->page + lo, CLEAN, hi - lo);
}

static void
step_alloc(struct model *m, size_t npages)
{
    size_t want = model_find(m, npages), nscavenged = 999999;
    bool all_zero = false;
    size_t have = gcrt_pagealloc_alloc(&m->pa, npages, &nscavenged, &all_zero);

    cr_assert_eq(have, want, "%zu pages at %zu, not %zu", npages, have, want);
    if (want == PAGE_NONE) {
        cr_assert_eq(nscavenged, 999999, "outputs are untouched");
        return;
    }
    cr_assert_eq(nscavenged, model_count(m, CLEAN, have, have + npages));
    cr_assert_eq(all_zero, nscavenged == npages);
    memset(m->page + have, TAKEN, npages);
}

/* Gives back up to npages taken pages from a random one on. */
static void
step_free(struct model *m, size_t npages)
{
    size_t lo = rand_below(&m->seed, m->npages), hi;

    while (lo < m->npages && m->page[lo] != TAKEN)
        lo++;
    for (hi = lo; hi < m->npages && m->page[hi] == TAKEN && hi - lo < npages; hi++)
        ;
    if (hi == lo)
        return;
    gcrt_pagealloc_free(&m->pa, lo, hi - lo);
    memset(m->page + lo, DIRTY, hi - lo);
}

/* The highest dirty run, or the top of it. */
static size_t
scavenge_find(struct pagealloc *pa, size_t max_pages, size_t *npages)
{
    struct pagehunt hunt = { .below = PAGE_NONE, .max_pages = max_pages };

    return gcrt_pagealloc_scavenge_find(pa, &hunt, npages);
}

static void
step_scavenge(struct model *m, size_t max_pages)
{
    size_t end = m->npages, npages = 0, page;

    while (end > 0 && m->page[end - 1] != DIRTY)
        end--;
    page = scavenge_find(&m->pa, max_pages, &npages);
    if (end == 0) {
        cr_assert_eq(page, PAGE_NONE);
        return;
    }
    cr_assert_eq(page + npages, end, "the highest dirty page is scavenged first");
    cr_assert_leq(npages, max_pages);
    for (size_t i = page; i < end; i++)
        cr_assert_eq(m->page[i], DIRTY);
    if (npages < max_pages && page % CHUNK_PAGES != 0)
        cr_assert_neq(m->page[page - 1], DIRTY, "the run is as long as it can be");
    memset(m->page + page, TAKEN, npages);
    cr_assert_eq(m->pa.free_pages, model_count(m, DIRTY, 0, m->npages));
    if (rand_below(&m->seed, 2) != 0)
        step_alloc(m, 1 + rand_below(&m->seed, 40)); /* while the lock is dropped */
    if (rand_below(&m->seed, 8) != 0) {
        gcrt_pagealloc_scavenged(&m->pa, page, npages);
        memset(m->page + page, CLEAN, npages);
    } else {
        gcrt_pagealloc_free(&m->pa, page, npages);
        memset(m->page + page, DIRTY, npages);
    }
}

/* The lowest clean block is out while the lock is dropped, and comes back dirty. */
static void
step_populate(struct model *m, size_t npages)
{
    size_t chunk = rand_below(&m->seed, m->npages / CHUNK_PAGES + 1);
    size_t from = rand_below(&m->seed, 2) * chunk * CHUNK_PAGES, want = from;
    size_t page = gcrt_pagealloc_take_clean(&m->pa, from, npages);

    while (want < m->npages && model_count(m, CLEAN, want, want + npages) < npages)
        want += npages;
    cr_assert_eq(page, want < m->npages ? want : PAGE_NONE);
    if (page == PAGE_NONE)
        return;
    memset(m->page + page, TAKEN, npages);
    if (rand_below(&m->seed, 2) != 0)
        step_alloc(m, 1 + rand_below(&m->seed, 40));
    gcrt_pagealloc_free(&m->pa, page, npages);
    memset(m->page + page, DIRTY, npages);
}

static void
step_cache(struct model *m)
{
    struct pagecache cache = { 0, 0, 0 };
    size_t first = model_find(m, 1), base = align_down(first, 64);
    unsigned char old[64];

    cr_assert_eq(gcrt_pagealloc_fill_cache(&m->pa, &cache), first != PAGE_NONE);
    if (first == PAGE_NONE)
        return;
    cr_assert_eq(cache.base, base);
    memcpy(old, m->page + base, 64);
    for (size_t i = 0; i < 64; i++) {
        cr_assert_eq((cache.free >> i) & 1, old[i] >= DIRTY);
        cr_assert_eq((cache.scavenged >> i) & 1, old[i] == CLEAN);
        if (old[i] >= DIRTY)
            m->page[base + i] = TAKEN;
    }
    step_alloc(m, 1 + rand_below(&m->seed, 40)); /* nothing of the window comes */
    for (size_t k = rand_below(&m->seed, 6); k > 0; k--) {
        size_t npages = 1 + rand_below(&m->seed, PAGECACHE_RUN_MAX), nscavenged;
        bool all_zero;
        size_t page = gcrt_pagecache_alloc(&cache, npages, &nscavenged, &all_zero);

        if (page != PAGE_NONE)
            memset(old + (page - base), TAKEN, npages);
    }
    gcrt_pagealloc_flush_cache(&m->pa, &cache);
    cr_assert(pagecache_is_empty(&cache));
    for (size_t i = 0; i < 64; i++)
        if (old[i] >= DIRTY)
            m->page[base + i] = old[i];
}

static size_t
random_size(struct model *m)
{
    switch (rand_below(&m->seed, 8)) {
    case 0:
        return 1 + rand_below(&m->seed, m->npages / 3);
    case 1:
        return 1 + rand_below(&m->seed, 3 * CHUNK_PAGES);
    case 2:
    case 3:
        return 1 + rand_below(&m->seed, 130);
    default:
        return 1 + rand_below(&m->seed, 16);
    }
}

static void
random_step(struct model *m)
{
    switch (rand_below(&m->seed, 16)) {
    case 0:
        step_grow(m);
        break;
    case 1:
    case 2:
        step_scavenge(m, 1 + rand_below(&m->seed, 2 * CHUNK_PAGES));
        break;
    case 3:
        if (rand_below(&m->seed, 2) != 0)
            step_cache(m);
        else
            step_populate(m, (size_t)64 << rand_below(&m->seed, 4));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
        step_free(m, random_size(m));
        break;
    default:
        step_alloc(m, random_size(m));
        break;
    }
}

static void
random_steps(const char *test, size_t nchunks, size_t nsteps, size_t check_every)
{
    struct model m;

    model_init(&m, nchunks, test);
    for (size_t i = 0; i < nsteps; i++) {
        random_step(&m);
        cr_assert_eq(m.pa.free_pages, model_count(&m, DIRTY, 0, m.npages), "step %zu", i);
        cr_assert_eq(m.pa.scavenged_pages, model_count(&m, CLEAN, 0, m.npages));
        cr_assert_eq(m.pa.grown_pages, model_count(&m, TAKEN, 0, m.npages));
        if (i % check_every == 0)
            expect_sound(&m.pa);
    }
    model_finish(&m);
}

Test(pagealloc, random_steps_in_one_level_match_the_model)
{
    random_steps("one level", 7, 20000, 10);
}

Test(pagealloc, random_steps_in_two_levels_match_the_model)
{
    random_steps("two levels", 100, 3000, 50);
}

Test(pagealloc, random_steps_in_three_levels_match_the_model)
{
    random_steps("three levels", 530, 600, 50);
}

/* ---- edges ---- */

Test(pagealloc, new_one_has_no_pages)
{
    static const size_t npages[] = { 0, 1, 512, 64 * 512, 65 * 512, 100000, 1 << 26 };

    for (size_t i = 0; i < ARRAY_LEN(npages); i++) {
        struct pagealloc pa;
        struct pagecache cache = { 0, 0, 0 };
        size_t n;

        setup(&pa, npages[i]);
        cr_assert_leq(pa.nentries[0], PAGEALLOC_ROOT_MAX);
        cr_assert_eq(alloc(&pa, 1), PAGE_NONE);
        cr_assert_eq(alloc(&pa, 1 << 26), PAGE_NONE);
        cr_assert_eq(scavenge_find(&pa, 1, &n), PAGE_NONE);
        cr_assert_not(gcrt_pagealloc_fill_cache(&pa, &cache));
        gcrt_pagealloc_flush_cache(&pa, &cache);
        expect_sound(&pa);
        teardown(&pa);
    }
}

Test(pagealloc, every_page_can_be_had_one_by_one_in_order)
{
    struct pagealloc pa;
    const size_t n = size_of(70);

    setup(&pa, n);
    gcrt_pagealloc_grow(&pa, 0, n);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(alloc(&pa, 1), i);
    cr_assert_eq(alloc(&pa, 1), PAGE_NONE);
    cr_assert_eq(pa.free_pages, 0);
    expect_sound(&pa);
    gcrt_pagealloc_free(&pa, n - 1, 1);
    gcrt_pagealloc_free(&pa, 12345, 1);
    cr_assert_eq(alloc(&pa, 2), PAGE_NONE);
    cr_assert_eq(alloc(&pa, 1), 12345);
    cr_assert_eq(alloc(&pa, 1), n - 1);
    expect_sound(&pa);
    teardown(&pa);
}

/* Pages that one entry of the root covers. */
static size_t
n_root(const struct pagealloc *pa)
{
    return CHUNK_PAGES << PAGESUM_FANOUT_LOG * (pa->nlevels - 1);
}

Test(pagealloc, whole_range_is_one_run)
{
    static const size_t nchunks[] = { 1, 8, 64, 65, 512, 4096, 4097, 32768, 131072 };

    for (size_t i = 0; i < ARRAY_LEN(nchunks); i++) {
        struct pagealloc pa;
        size_t n = size_of(nchunks[i]), nscavenged;
        bool all_zero;

        setup(&pa, n);
        gcrt_pagealloc_grow(&pa, 0, n);
        cr_assert_eq(gcrt_pagealloc_summary(&pa, 0, 0).max, min_size(n, n_root(&pa)));
        cr_assert_eq(alloc(&pa, n + 1), PAGE_NONE);
        cr_assert_eq(gcrt_pagealloc_alloc(&pa, n, &nscavenged, &all_zero), 0);
        cr_assert(all_zero);
        cr_assert_eq(nscavenged, n);
        cr_assert_eq(alloc(&pa, 1), PAGE_NONE);
        gcrt_pagealloc_free(&pa, 0, n);
        cr_assert_eq(pa.free_pages, n);
        cr_assert_eq(pa.scavenged_pages, 0);
        cr_assert_eq(gcrt_pagealloc_alloc(&pa, n, &nscavenged, &all_zero), 0);
        cr_assert_not(all_zero);
        cr_assert_eq(nscavenged, 0);
        teardown(&pa);
    }
}

/* Two chunks grown around each border of the largest tree, and nothing else. */
Test(pagealloc, runs_cross_the_borders_of_every_level)
{
    static const size_t border[] = { 1, 8, 64, 512, 4096, 8192, 32768, 65536, 131071 };

    for (size_t i = 0; i < ARRAY_LEN(border); i++) {
        struct pagealloc pa;
        size_t at = size_of(border[i]), lo = at - CHUNK_PAGES;

        setup(&pa, PAGEALLOC_PAGES_MAX);
        cr_assert_eq(pa.nlevels, PAGEALLOC_LEVELS_MAX);
        gcrt_pagealloc_grow(&pa, at, CHUNK_PAGES);
        gcrt_pagealloc_grow(&pa, lo, CHUNK_PAGES);
        cr_assert_eq(alloc(&pa, 2 * CHUNK_PAGES + 1), PAGE_NONE);
        cr_assert_eq(alloc(&pa, 2 * CHUNK_PAGES), lo);
        gcrt_pagealloc_free(&pa, lo, 2 * CHUNK_PAGES);
        cr_assert_eq(alloc(&pa, 300), lo);
        cr_assert_eq(alloc(&pa, 600), lo + 300, "across the border of %zu", border[i]);
        cr_assert_eq(alloc(&pa, 125), PAGE_NONE);
        gcrt_pagealloc_free(&pa, at - 1, 2);
        cr_assert_eq(alloc(&pa, 3), lo + 900);
        cr_assert_eq(alloc(&pa, 2), at - 1);
        cr_assert_eq(alloc(&pa, 1), lo + 903);
        expect_sound(&pa);
        teardown(&pa);
    }
}

/* Runs over many whole subtrees, each with a taken page at either side. */
Test(pagealloc, long_run_between_two_taken_pages_is_found)
{
    static const size_t nchunks[] = { 2, 9, 65, 513, 4097, 20000, 65000 };
    struct pagealloc pa;
    const size_t all = PAGEALLOC_PAGES_MAX, lo = size_of(3) + 13;

    setup(&pa, all);
    gcrt_pagealloc_grow(&pa, 0, all);
    for (size_t i = 0; i < ARRAY_LEN(nchunks); i++) {
        size_t n = size_of(nchunks[i]) - 77;

        cr_assert_eq(alloc(&pa, all), 0);
        gcrt_pagealloc_free(&pa, 5, 1);
        gcrt_pagealloc_free(&pa, lo, n);
        gcrt_pagealloc_free(&pa, lo + n + 1, n + 1);
        cr_assert_eq(alloc(&pa, n + 2), PAGE_NONE);
        cr_assert_eq(alloc(&pa, n + 1), lo + n + 1);
        cr_assert_eq(alloc(&pa, n), lo);
        cr_assert_eq(alloc(&pa, 1), 5);
        cr_assert_eq(alloc(&pa, 1), PAGE_NONE);
        gcrt_pagealloc_free(&pa, 0, all);
    }
    teardown(&pa);
}

Test(pagealloc, chunks_not_grown_are_never_handed_out)
{
    struct pagealloc pa;

    setup(&pa, size_of(1000));
    for (size_t chunk = 999; chunk < 1000; chunk -= 2) /* odd chunks, downwards */
        gcrt_pagealloc_grow(&pa, size_of(chunk), CHUNK_PAGES);
    expect_sound(&pa);
    cr_assert_eq(alloc(&pa, CHUNK_PAGES + 1), PAGE_NONE);
    for (size_t chunk = 1; chunk < 1000; chunk += 2)
        cr_assert_eq(alloc(&pa, CHUNK_PAGES), size_of(chunk));
    cr_assert_eq(alloc(&pa, 1), PAGE_NONE);
    gcrt_pagealloc_grow(&pa, size_of(500), CHUNK_PAGES);
    cr_assert_eq(alloc(&pa, 1), size_of(500));
    expect_sound(&pa);
    teardown(&pa);
}

Test(pagealloc, pages_above_the_last_whole_chunk_are_not_used)
{
    struct pagealloc pa;

    setup(&pa, size_of(3) + 100);
    cr_assert_eq(pa.nchunks, 3);
    gcrt_pagealloc_grow(&pa, 0, size_of(3));
    cr_assert_eq(alloc(&pa, size_of(3)), 0);
    cr_assert_eq(alloc(&pa, 1), PAGE_NONE);
    teardown(&pa);
}

/* ---- scavenging and the cache ---- */

Test(pagealloc, scavenging_everything_leaves_every_page_clean_and_free)
{
    struct pagealloc pa;
    uint64_t seed = seed_of("scavenge all");
    const size_t n = size_of(200);
    size_t page, npages, last = n, total = 0, nscavenged;
    bool all_zero;

    setup(&pa, n);
    gcrt_pagealloc_grow(&pa, 0, n);
    cr_assert_eq(alloc(&pa, n), 0);
    gcrt_pagealloc_free(&pa, 0, n);
    while ((page = scavenge_find(&pa, 1 + rand_below(&seed, 700), &npages))
        != PAGE_NONE) {
        cr_assert_eq(page + npages, last, "from the top down, without holes");
        cr_assert_eq(pa.free_pages, n - npages);
        gcrt_pagealloc_scavenged(&pa, page, npages);
        last = page;
        total += npages;
        cr_assert_eq(pa.free_pages, n);
        cr_assert_eq(pa.scavenged_pages, total);
    }
    cr_assert_eq(total, n);
    expect_sound(&pa);
    cr_assert_eq(gcrt_pagealloc_alloc(&pa, n, &nscavenged, &all_zero), 0);
    cr_assert(all_zero);
    teardown(&pa);
}

Test(pagealloc, single_dirty_page_is_found_anywhere)
{
    static const size_t where[] = { 0, 511, 512, 64 * 512, 4095 * 512 + 17, 4096 * 512,
        (1 << 26) - 1 };
    struct pagealloc pa;
    size_t npages, total = 0;

    setup(&pa, PAGEALLOC_PAGES_MAX);
    gcrt_pagealloc_grow(&pa, 0, PAGEALLOC_PAGES_MAX);
    cr_assert_eq(alloc(&pa, PAGEALLOC_PAGES_MAX), 0);
    for (size_t i = 0; i < ARRAY_LEN(where); i++)
        gcrt_pagealloc_free(&pa, where[i], 1);
    for (size_t i = ARRAY_LEN(where); i-- > 0;) {
        size_t page = scavenge_find(&pa, 64, &npages);

        /* 511 and 512 lie in two chunks, so they come one by one as well. */
        cr_assert_eq(page, where[i]);
        cr_assert_eq(npages, 1);
        gcrt_pagealloc_scavenged(&pa, page, npages);
        cr_assert_eq(pa.scavenged_pages, ++total);
    }
    cr_assert_eq(scavenge_find(&pa, 64, &npages), PAGE_NONE);
    teardown(&pa);
}

Test(pagealloc, fresh_pages_are_not_scavenged_again)
{
    struct pagealloc pa;
    size_t npages;

    setup(&pa, size_of(8));
    gcrt_pagealloc_grow(&pa, 0, size_of(8));
    cr_assert_eq(scavenge_find(&pa, 1, &npages), PAGE_NONE);
    cr_assert_eq(pa.scavenged_pages, size_of(8));
    teardown(&pa);
}

Test(pagealloc, caches_do_not_overlap_and_give_everything_back)
{
    struct pagealloc pa;
    struct pagecache cache[20] = { { 0, 0, 0 } };
    const size_t n = size_of(2);
    size_t nscavenged, total = 0;
    bool all_zero;

    setup(&pa, n);
    gcrt_pagealloc_grow(&pa, 0, n);
    for (size_t i = 0; i < 16; i++) {
        cr_assert(gcrt_pagealloc_fill_cache(&pa, &cache[i]));
        cr_assert_eq(cache[i].base, 64 * i);
        expect_sound(&pa);
    }
    cr_assert_not(gcrt_pagealloc_fill_cache(&pa, &cache[16]));
    cr_assert_eq(pa.free_pages, 0);
    for (size_t i = 0; i < 16; i++) {
        cr_assert_eq(gcrt_pagecache_alloc(&cache[i], 3, &nscavenged, &all_zero), 64 * i);
        cr_assert(all_zero);
        total += 61;
        gcrt_pagealloc_flush_cache(&pa, &cache[i]);
        cr_assert_eq(pa.free_pages, total);
        cr_assert_eq(pa.scavenged_pages, total);
        expect_sound(&pa);
    }
    gcrt_pagealloc_free(&pa, 0, 3);
    cr_assert(gcrt_pagealloc_fill_cache(&pa, &cache[17]));
    cr_assert_eq(cache[17].scavenged, ~(uint64_t)7);
    teardown(&pa);
}

/* ---- the check itself, and misuse ---- */

Test(pagealloc, check_sees_every_kind_of_damage)
{
    struct pagealloc pa;
    char why[100];
    size_t page;

    setup(&pa, size_of(100));
    gcrt_pagealloc_grow(&pa, size_of(4), size_of(4));
    page = alloc(&pa, 10);
    gcrt_pagealloc_free(&pa, page, 5);
    expect_sound(&pa);
#define DAMAGED(change, undo)                                                 \
    do {                                                                      \
        change;                                                               \
        cr_assert_neq(gcrt_pagealloc_check(&pa, why, sizeof(why)), 0, #change); \
        cr_assert_neq(why[0], '\0');                                          \
        undo;                                                                 \
        expect_sound(&pa);                                                    \
    } while (0)
    DAMAGED(pa.free_pages++, pa.free_pages--);
    DAMAGED(pa.scavenged_pages--, pa.scavenged_pages++);
    DAMAGED(pa.grown_pages++, pa.grown_pages--);
    DAMAGED(pa.hint += 600, pa.hint -= 600);
    DAMAGED(pa.chunk[1].free[0] = 1, pa.chunk[1].free[0] = 0);
    DAMAGED(pa.chunk[4].scavenged[0] ^= 1, pa.chunk[4].scavenged[0] ^= 1);
    DAMAGED(pa.level[0][0] ^= 1, pa.level[0][0] ^= 1);
    DAMAGED(pa.level[1][5] ^= 2, pa.level[1][5] ^= 2);
    DAMAGED(pa.level[1][103] ^= 2, pa.level[1][103] ^= 2);
    DAMAGED(pa.dirty.level[0][0] ^= 16, pa.dirty.level[0][0] ^= 16);
    DAMAGED(pa.dirty.level[1][0] ^= 1, pa.dirty.level[1][0] ^= 1);
    DAMAGED(pa.dirty.level[2][0] ^= 1, pa.dirty.level[2][0] ^= 1);
    DAMAGED(pa.grown[0] ^= 32, pa.grown[0] ^= 32);
    teardown(&pa);
}

static void
misuse_setup(struct pagealloc *pa)
{
    setup(pa, size_of(16));
    gcrt_pagealloc_grow(pa, 0, size_of(4));
    cr_assert_eq(alloc(pa, 1000), 0);
}

Test(pagealloc, freeing_twice_aborts, .signal = SIGABRT)
{
    struct pagealloc pa;

    misuse_setup(&pa);
    gcrt_pagealloc_free(&pa, 600, 1);
    gcrt_pagealloc_free(&pa, 500, 200);
}

Test(pagealloc, freeing_a_page_that_was_not_grown_aborts, .signal = SIGABRT)
{
    struct pagealloc pa;

    misuse_setup(&pa);
    gcrt_pagealloc_free(&pa, size_of(4), 1);
}

Test(pagealloc, freeing_beyond_the_range_aborts, .signal = SIGABRT)
{
    struct pagealloc pa;

    misuse_setup(&pa);
    gcrt_pagealloc_free(&pa, size_of(16), 1);
}

Test(pagealloc, freeing_a_cached_page_and_flushing_aborts, .signal = SIGABRT)
{
    struct pagealloc pa;
    struct pagecache cache = { 0, 0, 0 };

    misuse_setup(&pa);
    cr_assert(gcrt_pagealloc_fill_cache(&pa, &cache));
    gcrt_pagealloc_free(&pa, 1010, 1);
    gcrt_pagealloc_flush_cache(&pa, &cache);
}

Test(pagealloc, growing_twice_aborts, .signal = SIGABRT)
{
    struct pagealloc pa;

    misuse_setup(&pa);
    gcrt_pagealloc_grow(&pa, size_of(3), size_of(2));
}
