/* SPDX-License-Identifier: MIT */
/*
 * The page allocator and a page cache on it: any sequence of calls.
 *
 * Oracle: one byte per page that says what became of it, searched page by page.  Every
 * answer (the lowest run, how many of its pages are clean, the highest dirty run, the
 * window that a cache takes) must be the naive one, and gcrt_pagealloc_check content.
 * Double frees and pages that were never grown are documented as fatal and left out.
 */
#include "fuzz.h"

#include "alloc/pagealloc.h"

#define GROWN_MAX 12 /* chunks, so that the naive search stays quick */
#define RUNS_MAX  64
#define STEPS_MAX 400

enum state {
    NONE,
    CLEAN,
    DIRTY,
    USED
};

struct run {
    size_t page, n;
};

static struct {
    struct pagealloc pa;
    size_t chunks, ngrown;
    size_t grown[GROWN_MAX]; /* chunk numbers, rising */
    uint8_t page[1024 * CHUNK_PAGES];
    struct run run[RUNS_MAX];
    size_t nruns;
    struct pagecache cache;
} model;

/* ---- the naive answers ---- */

static bool
is_free(size_t page)
{
    return model.page[page] == CLEAN || model.page[page] == DIRTY;
}

static size_t
count(size_t page, size_t n, enum state state)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        found += model.page[page + i] == state;
    return found;
}

static void
paint(size_t page, size_t n, enum state state)
{
    memset(model.page + page, (int)state, n);
}

/* The lowest run of n free pages. */
static size_t
lowest_run(size_t n)
{
    size_t found = 0, expected = 0;

    for (size_t c = 0; c < model.ngrown; c++) {
        size_t first = model.grown[c] * CHUNK_PAGES;

        for (size_t page = first; page < first + CHUNK_PAGES; page++) {
            found = is_free(page) ? (page == expected ? found + 1 : 1) : 0;
            expected = page + 1;
            if (found == n)
                return page + 1 - n;
        }
    }
    return PAGE_NONE;
}

/* The highest run of dirty pages, its top `most` pages, within one chunk. */
static struct run
highest_dirty(size_t most)
{
    struct run run = {PAGE_NONE, 0};

    for (size_t c = model.ngrown; c-- > 0 && run.n == 0;) {
        size_t first = model.grown[c] * CHUNK_PAGES, page = first + CHUNK_PAGES;

        while (page > first && model.page[page - 1] != DIRTY)
            page--;
        while (page > first && model.page[page - 1] == DIRTY && run.n < most) {
            page--;
            run.n++;
        }
        run.page = run.n > 0 ? page : PAGE_NONE;
    }
    return run;
}

static void
check(void)
{
    size_t free_pages = 0, clean = 0;
    char why[200] = "";

    for (size_t c = 0; c < model.ngrown; c++) {
        size_t first = model.grown[c] * CHUNK_PAGES;

        clean += count(first, CHUNK_PAGES, CLEAN);
        free_pages += count(first, CHUNK_PAGES, CLEAN) + count(first, CHUNK_PAGES, DIRTY);
    }
    FUZZ_CHECK(model.pa.grown_pages == model.ngrown * CHUNK_PAGES, "grown_pages");
    FUZZ_CHECK(model.pa.free_pages == free_pages, "%zu free, not %zu", model.pa.free_pages,
            free_pages);
    FUZZ_CHECK(model.pa.scavenged_pages == clean, "%zu clean, not %zu",
            model.pa.scavenged_pages, clean);
    FUZZ_CHECK(gcrt_pagealloc_check(&model.pa, why, sizeof(why)) == 0, "%s", why);
}

/* ---- operations ---- */

static void
remember(size_t page, size_t n)
{
    if (model.nruns == RUNS_MAX) { /* no room: give it back at once */
        gcrt_pagealloc_free(&model.pa, page, n);
        paint(page, n, DIRTY);
        return;
    }
    model.run[model.nruns++] = (struct run){page, n};
}

static void
grow(struct input *in)
{
    size_t chunk = take_below(in, model.chunks), at = 0;

    if (model.ngrown == GROWN_MAX)
        return;
    while (at < model.ngrown && model.grown[at] < chunk)
        at++;
    if (at < model.ngrown && model.grown[at] == chunk)
        return;
    memmove(&model.grown[at + 1], &model.grown[at],
            (model.ngrown - at) * sizeof(model.grown[0]));
    model.grown[at] = chunk;
    model.ngrown++;
    gcrt_pagealloc_grow(&model.pa, chunk * CHUNK_PAGES, CHUNK_PAGES);
    paint(chunk * CHUNK_PAGES, CHUNK_PAGES, CLEAN);
}

static size_t
take_npages(struct input *in)
{
    size_t n = take8(in);

    return n < 128 ? n + 1 : take16(in) % (3 * CHUNK_PAGES) + 1;
}

static void
alloc(struct input *in)
{
    size_t n = take_npages(in), want = lowest_run(n), clean = 12345, got;
    bool all_zero = false;

    got = gcrt_pagealloc_alloc(&model.pa, n, &clean, &all_zero);
    FUZZ_CHECK(got == want, "run of %zu at %zd, not %zd", n, (ssize_t)got, (ssize_t)want);
    if (got == PAGE_NONE) {
        FUZZ_CHECK(clean == 12345 && !all_zero, "outputs were touched");
        return;
    }
    FUZZ_CHECK(clean == count(got, n, CLEAN), "%zu clean ones", clean);
    FUZZ_CHECK(all_zero == (clean == n), "all_zero");
    paint(got, n, USED);
    remember(got, n);
}

/* Gives back all of a run, or its first, last or middle part. */
static void
give_back(struct input *in)
{
    size_t i, cut;
    struct run *run, gone;

    if (model.nruns == 0)
        return;
    i = take_below(in, model.nruns);
    run = &model.run[i];
    cut = take16(in) % (run->n + 1);
    gone = cut == 0 || cut == run->n ? *run : (struct run){run->page, cut};
    if (cut != 0 && cut != run->n && take8(in) % 2 != 0)
        gone = (struct run){run->page + cut, run->n - cut};
    gcrt_pagealloc_free(&model.pa, gone.page, gone.n);
    paint(gone.page, gone.n, DIRTY);
    if (gone.n == run->n) {
        *run = model.run[--model.nruns];
    } else {
        if (gone.page == run->page)
            run->page += gone.n;
        run->n -= gone.n;
    }
}

static void
scavenge(struct input *in)
{
    size_t most = take16(in) % (2 * CHUNK_PAGES) + 1, n = 12345, page;
    struct run want = highest_dirty(most);
    struct pagehunt hunt = { .below = PAGE_NONE, .max_pages = most };

    page = gcrt_pagealloc_scavenge_find(&model.pa, &hunt, &n);
    FUZZ_CHECK(page == want.page, "at %zd, not %zd", (ssize_t)page, (ssize_t)want.page);
    if (page == PAGE_NONE)
        return;
    FUZZ_CHECK(n == want.n, "%zu pages, not %zu", n, want.n);
    paint(page, n, USED);
    if (take8(in) % 2 != 0)
        alloc(in); /* what the lock lets in meanwhile */
    if (take8(in) % 4 != 0) {
        gcrt_pagealloc_scavenged(&model.pa, page, n);
        paint(page, n, CLEAN);
    } else {
        gcrt_pagealloc_free(&model.pa, page, n);
        paint(page, n, DIRTY);
    }
}

/* The window of the lowest free page moves into the cache. */
static void
fill_cache(void)
{
    size_t lowest = lowest_run(1), base = lowest & ~(size_t)63;
    bool filled;

    if (!pagecache_is_empty(&model.cache))
        return;
    filled = gcrt_pagealloc_fill_cache(&model.pa, &model.cache);
    FUZZ_CHECK(filled == (lowest != PAGE_NONE), "filled %d", (int)filled);
    if (!filled)
        return;
    FUZZ_CHECK(model.cache.base == base, "window %zu, not %zu", model.cache.base, base);
    for (size_t i = 0; i < PAGECACHE_PAGES; i++) {
        uint64_t bit = (uint64_t)1 << i;

        FUZZ_CHECK(!(model.cache.free & bit) == !is_free(base + i), "page %zu", base + i);
        FUZZ_CHECK(!(model.cache.scavenged & bit) == (model.page[base + i] != CLEAN),
                "page %zu", base + i);
        if (is_free(base + i))
            model.page[base + i] = USED;
    }
}

static void
use_cache(struct input *in)
{
    size_t n = take8(in) % PAGECACHE_RUN_MAX + 1, clean, page, want = PAGE_NONE;
    uint64_t free = model.cache.free, scavenged = model.cache.scavenged;
    bool all_zero;

    for (size_t i = PAGECACHE_PAGES - n + 1; i-- > 0;)
        if ((free >> i & (((uint64_t)1 << n) - 1)) == ((uint64_t)1 << n) - 1)
            want = model.cache.base + i;
    page = gcrt_pagecache_alloc(&model.cache, n, &clean, &all_zero);
    FUZZ_CHECK(page == want, "at %zd, not %zd", (ssize_t)page, (ssize_t)want);
    if (page == PAGE_NONE)
        return;
    for (size_t i = page - model.cache.base; i < page - model.cache.base + n; i++)
        clean -= scavenged >> i & 1;
    FUZZ_CHECK(clean == 0, "count of clean pages is off by %zd", (ssize_t)clean);
    remember(page, n);
}

static void
flush_cache(void)
{
    for (size_t i = 0; i < PAGECACHE_PAGES; i++)
        if (model.cache.free >> i & 1)
            model.page[model.cache.base + i] =
                    model.cache.scavenged >> i & 1 ? CLEAN : DIRTY;
    gcrt_pagealloc_flush_cache(&model.pa, &model.cache);
    FUZZ_CHECK(pagecache_is_empty(&model.cache), "something is left");
}

static void
step(struct input *in)
{
    switch (take8(in) % 16) {
    case 0:
    case 1:
        grow(in);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        alloc(in);
        break;
    case 7:
    case 8:
    case 9:
    case 10:
        give_back(in);
        break;
    case 11:
    case 12:
        scavenge(in);
        break;
    case 13:
        fill_cache();
        break;
    case 14:
        use_cache(in);
        break;
    default:
        flush_cache();
        break;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t ranges[] = {1, 2, 8, 9, 64, 65, 600, 1024};
    struct input in = {data, data + size};
    size_t bytes, npages;
    void *block = NULL;

    model.chunks = ranges[take_below(&in, COUNT_OF(ranges))];
    npages =
            model.chunks * CHUNK_PAGES + take16(&in) % CHUNK_PAGES; /* the rest is unused */
    bytes = gcrt_pagealloc_bytes(npages);
    FUZZ_CHECK(posix_memalign(&block, 64, bytes) == 0, "no memory");
    memset(block, 0, bytes);
    gcrt_pagealloc_init(&model.pa, npages, block);
    model.ngrown = model.nruns = 0;
    memset(&model.cache, 0, sizeof(model.cache));
    for (int i = 1; i <= STEPS_MAX && more(&in); i++) {
        step(&in);
        if (i % 32 == 0 && model.chunks < 100) /* the check is linear in the range */
            check();
    }
    check();
    for (size_t c = 0; c < model.ngrown; c++)
        paint(model.grown[c] * CHUNK_PAGES, CHUNK_PAGES, NONE);
    free(block);
    return 0;
}
