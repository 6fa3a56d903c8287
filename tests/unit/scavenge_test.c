/* SPDX-License-Identifier: MIT */
/*
 * Purpose: giving memory back: which pages go, that they read as zero afterwards, that the
 * books agree with the OS, and what happens when the OS refuses.
 */

#define _GNU_SOURCE

#include "bare.h"
#include "pagekit.h"

#include "alloc/scavenge.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB   ((size_t)1 << 20)
#define SPANS 64

static struct bare bare;

static void
expect_books_in_order(struct bare *b)
{
    char why[128];

    cr_assert_eq(gcrt_pagealloc_check(&b->heap.pages, why, sizeof why), 0, "%s", why);
    cr_assert_eq(aword_load_relaxed(&b->heap.released),
            b->heap.pages.scavenged_pages << PAGE_SHIFT);
}

/* Bytes of the range that have memory behind them. */
static size_t
resident(const void *start, size_t bytes)
{
    size_t os_page = (size_t)sysconf(_SC_PAGESIZE), n = bytes / os_page, sum = 0;
    unsigned char *map = malloc(n);

    cr_assert_eq(mincore((void *)(uintptr_t)start, bytes, map), 0);
    for (size_t i = 0; i < n; i++)
        sum += (map[i] & 1) * os_page;
    free(map);
    return sum;
}

static size_t
resident_heap(struct bare *b)
{
    return resident((void *)b->heap.base, aword_load_relaxed(&b->heap.grown));
}

/* n large spans of 1 MiB, one behind the other, every byte written. */
static void
make_spans(struct bare *b, struct mspan **spans, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        spans[i] = gcrt_mheap_alloc_large(
                &b->heap, &b->noscan[CLASS_LARGE], MIB, bare_sweepgen(b));
        cr_assert_not_null(spans[i]);
        memset((void *)span_start(&b->heap, spans[i]), 0xa5, MIB);
    }
}

static void
free_spans(struct bare *b, struct mspan **spans, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gcrt_mheap_free(&b->heap, spans[i]);
}

Test(scavenge, all_of_a_free_heap_goes_back_and_reads_as_zero)
{
    struct mspan *spans[SPANS], *again;

    bare_init(&bare, 256 * MIB);
    cr_assert_eq(gcrt_scavenge(&bare.heap, SIZE_MAX), 0);
    make_spans(&bare, spans, SPANS);
    cr_assert_geq(resident_heap(&bare), SPANS * MIB);
    free_spans(&bare, spans, SPANS);
    cr_assert_eq(gcrt_scavenge(&bare.heap, SIZE_MAX), SPANS * MIB);
    expect_books_in_order(&bare);
    cr_assert_eq(resident_heap(&bare), 0);
    cr_assert_eq(aword_load_relaxed(&bare.heap.released), aword_load_relaxed(&bare.heap.grown));
    cr_assert_eq(aword_load_relaxed(&bare.heap.scavenged[SCAVENGE_ASSIST]), SPANS * MIB);
    again = gcrt_mheap_alloc_large(
            &bare.heap, &bare.noscan[CLASS_LARGE], MIB, bare_sweepgen(&bare));
    cr_assert_not(again->needzero, "a page that was given back needs no zeroing");
    for (size_t i = 0; i < MIB; i += sizeof(uint64_t))
        cr_assert_eq(*(uint64_t *)(span_start(&bare.heap, again) + i), 0);
    bare_finish(&bare);
}

Test(scavenge, the_highest_pages_go_first_and_no_more_than_asked_for)
{
    struct mspan *spans[SPANS];
    size_t back;

    bare_init(&bare, 256 * MIB);
    make_spans(&bare, spans, SPANS);
    free_spans(&bare, spans, SPANS);
    back = gcrt_scavenge(&bare.heap, 10 * MIB);
    cr_assert_geq(back, 10 * MIB);
    cr_assert_lt(back, 10 * MIB + SCAVENGE_STEP);
    cr_assert_eq(resident((void *)bare.heap.base, SPANS * MIB - back), SPANS * MIB - back);
    expect_books_in_order(&bare);
    bare_finish(&bare);
}

Test(scavenge, what_is_in_use_stays)
{
    struct mspan *spans[SPANS], *odd[SPANS / 2];
    size_t n = 0;

    bare_init(&bare, 256 * MIB);
    make_spans(&bare, spans, SPANS);
    for (size_t i = 0; i < SPANS; i += 2)
        odd[n++] = spans[i];
    free_spans(&bare, odd, n);
    cr_assert_eq(gcrt_scavenge(&bare.heap, SIZE_MAX), n * MIB);
    for (size_t i = 1; i < SPANS; i += 2) {
        const unsigned char *p = (const unsigned char *)span_start(&bare.heap, spans[i]);

        for (size_t at = 0; at < MIB; at++)
            cr_assert_eq(p[at], 0xa5);
    }
    expect_books_in_order(&bare);
    bare_finish(&bare);
}

Test(scavenge, refused_memory_stays_dirty_and_is_asked_for_again)
{
    struct mspan *spans[SPANS], *again;

    bare_init(&bare, 256 * MIB);
    make_spans(&bare, spans, SPANS);
    free_spans(&bare, spans, SPANS);
    bare.os.fail_from = aword_load_relaxed(&bare.os.calls) + 3; /* the third step on */
    cr_assert_lt(gcrt_scavenge(&bare.heap, SIZE_MAX), SPANS * MIB);
    cr_assert_eq(gcrt_scavenge(&bare.heap, SIZE_MAX), 0);
    expect_books_in_order(&bare);
    bare.os.fail_from = 0;
    again = gcrt_mheap_alloc_large(
            &bare.heap, &bare.noscan[CLASS_LARGE], MIB, bare_sweepgen(&bare));
    cr_assert(again->needzero, "these pages were refused, so they have their old contents");
    cr_assert_gt(gcrt_scavenge(&bare.heap, SIZE_MAX), 0);
    cr_assert_eq(aword_load_relaxed(&bare.heap.scavenged[SCAVENGE_ASSIST]), (SPANS - 1) * MIB);
    expect_books_in_order(&bare);
    bare_finish(&bare);
}

/* ---- while others allocate ---- */

static ahalf over;

static void *
scavenge_on(void *arg)
{
    while (!ahalf_load_acquire(&over)) /* pairs: nothing, the join does */
        (void)gcrt_scavenge(arg, SIZE_MAX);
    return NULL;
}

/* Each word is written before and read after a span's life, so a page that goes in it shows. */
static void
churn(struct bare *b, uint64_t seed)
{
    struct mspan *spans[16] = { NULL };

    for (int i = 0; i < 20000 || aword_load_relaxed(&b->heap.scavenged[SCAVENGE_ASSIST]) == 0;
            i++) {
        size_t at = rand_below(&seed, 16);
        uint64_t *p;

        if (spans[at] == NULL) {
            spans[at] = gcrt_mheap_alloc_large(&b->heap, &b->noscan[CLASS_LARGE],
                    (1 + rand_below(&seed, 8)) * PAGE_SIZE, bare_sweepgen(b));
            p = (uint64_t *)span_start(&b->heap, spans[at]);
            cr_assert(spans[at]->needzero || *p == 0, "clean, and not zero");
            *p = (uintptr_t)p;
        } else {
            p = (uint64_t *)span_start(&b->heap, spans[at]);
            cr_assert_eq(*p, (uintptr_t)p, "a page in use was given back");
            gcrt_mheap_free(&b->heap, spans[at]);
            spans[at] = NULL;
        }
    }
}

Test(scavenge, pages_in_use_are_never_touched)
{
    pthread_t thread;

    bare_init(&bare, 64 * MIB);
    cr_assert_eq(pthread_create(&thread, NULL, scavenge_on, &bare.heap), 0);
    churn(&bare, seed_of("scavenge"));
    ahalf_store_release(&over, 1);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_gt(aword_load_relaxed(&bare.heap.scavenged[SCAVENGE_ASSIST]), 0);
    expect_books_in_order(&bare);
    bare_finish(&bare);
}

/* ---- what the page allocator finds ---- */

static size_t
size_of(size_t nchunks)
{
    return nchunks * CHUNK_PAGES;
}

static size_t
alloc(struct pagealloc *pa, size_t npages)
{
    size_t nscavenged;
    bool all_zero;

    return gcrt_pagealloc_alloc(pa, npages, &nscavenged, &all_zero);
}

Test(scavenge, scavenging_below_a_page_finds_what_lies_there)
{
    struct pagealloc pa;
    uint64_t seed = seed_of("scavenge below");
    const size_t n = size_of(300);

    setup(&pa, n);
    gcrt_pagealloc_grow(&pa, 0, n);
    cr_assert_eq(alloc(&pa, n), 0);
    for (int i = 0; i < 2000; i++) {
        size_t at = rand_below(&seed, n - 1), npages;
        struct pagehunt hunt = { .below = at, .max_pages = 1 };

        gcrt_pagealloc_free(&pa, at, 1); /* its chunk is looked at, it is not */
        while (hunt.below != 0)
            cr_assert_eq(gcrt_pagealloc_scavenge_find(&pa, &hunt, &npages), PAGE_NONE);
        hunt.below = at + 1 + rand_below(&seed, n - at);
        cr_assert_eq(gcrt_pagealloc_scavenge_find(&pa, &hunt, &npages), at);
        cr_assert_eq(hunt.below, at);
        cr_assert_eq(npages, 1);
    }
    teardown(&pa);
}

static size_t
find_politely(struct pagealloc *pa)
{
    struct pagehunt hunt = { .below = PAGE_NONE, .max_pages = 1, .polite = true };
    size_t npages;

    return gcrt_pagealloc_scavenge_find(pa, &hunt, &npages);
}

/* A full chunk, then one with `holes` pages free. */
static void
make_holes(struct pagealloc *pa, size_t holes)
{
    setup(pa, CHUNK_PAGES);
    gcrt_pagealloc_grow(pa, 0, CHUNK_PAGES);
    cr_assert_eq(alloc(pa, CHUNK_PAGES), 0);
    gcrt_pagealloc_free(pa, 0, holes);
}

Test(scavenge, polite_scavenging_leaves_holes_for_two_generations)
{
    struct pagealloc pa;

    make_holes(&pa, CHUNK_PAGES / 2 - 1);
    for (int i = 0; i < 2; i++, pa.generation++)
        cr_assert_eq(find_politely(&pa), PAGE_NONE);
    cr_assert_eq(find_politely(&pa), CHUNK_PAGES / 2 - 2);
    teardown(&pa);
}

Test(scavenge, polite_scavenging_takes_what_is_no_hole)
{
    struct pagealloc pa;

    make_holes(&pa, CHUNK_PAGES / 2);
    cr_assert_eq(find_politely(&pa), CHUNK_PAGES / 2 - 1);
    teardown(&pa);
}

Test(scavenge, dense_is_all_but_a_few_pages_in_use)
{
    for (size_t spare = PAGEALLOC_DENSE_FREE; spare <= PAGEALLOC_DENSE_FREE + 1; spare++) {
        struct pagealloc pa;

        setup(&pa, CHUNK_PAGES);
        gcrt_pagealloc_grow(&pa, 0, CHUNK_PAGES);
        cr_assert_eq(alloc(&pa, CHUNK_PAGES - spare), 0);
        gcrt_pagealloc_free(&pa, 0, 1);
        cr_assert_eq(find_politely(&pa), spare == PAGEALLOC_DENSE_FREE ? PAGE_NONE : 0);
        teardown(&pa);
    }
}

Test(scavenge, search_for_dirty_pages_rests_and_goes_on)
{
    struct pagehunt hunt = { .below = PAGE_NONE, .max_pages = 1, .polite = true };
    struct pagealloc pa;
    size_t npages, page, rests = 0;

    setup(&pa, 200 * CHUNK_PAGES);
    gcrt_pagealloc_grow(&pa, 0, 200 * CHUNK_PAGES);
    cr_assert_eq(alloc(&pa, 200 * CHUNK_PAGES), 0);
    for (size_t chunk = 0; chunk < 200; chunk++)
        gcrt_pagealloc_free(&pa, chunk * CHUNK_PAGES, chunk == 3 ? CHUNK_PAGES : 1);
    while ((page = gcrt_pagealloc_scavenge_find(&pa, &hunt, &npages)) == PAGE_NONE
        && hunt.below != 0)
        rests++;
    cr_assert_eq(page, 4 * CHUNK_PAGES - 1);
    cr_assert_gt(rests, 1);
    teardown(&pa);
}

/* The block's pages that have memory are among those that count as touched. */
Test(scavenge, touched_is_what_growing_and_use_touch)
{
    const size_t n = size_of(5000), block = align_up(gcrt_pagealloc_bytes(n), 4096);
    struct pagealloc pa;

    for (size_t grown = 1; grown <= 5000; grown = grown * 5 / 2 + 1) {
        unsigned char *map = malloc(block / 4096);
        size_t count = 0, touched = gcrt_pagealloc_touched(n, grown * CHUNK_PAGES, 4096);
        void *p = mmap(NULL, block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        cr_assert(p != MAP_FAILED);
        gcrt_pagealloc_init(&pa, n, p);
        gcrt_pagealloc_grow(&pa, 0, grown * CHUNK_PAGES);
        cr_assert_eq(alloc(&pa, grown * CHUNK_PAGES), 0);
        gcrt_pagealloc_free(&pa, 0, grown * CHUNK_PAGES);
        cr_assert_eq(mincore(p, block, map), 0);
        for (size_t i = 0; i < block / 4096; i++)
            count += (map[i] & 1u) * 4096u;
        cr_assert_leq(count, touched, "%zu chunks: %zu bytes have memory", grown, count);
        cr_assert_leq(touched, count + 12 * 4096, "%zu chunks: %zu only", grown, count);
        cr_assert_eq(munmap(p, block), 0);
        free(map);
    }
}

Test(scavenge, unneeded_is_the_fewest_that_were_free_and_dirty)
{
    struct pagealloc pa;
    struct pagecache cache = { .free = 0 };
    struct pagehunt hunt = { .below = PAGE_NONE, .max_pages = 50 };
    size_t npages, page;

    setup(&pa, CHUNK_PAGES);
    gcrt_pagealloc_grow(&pa, 0, CHUNK_PAGES);
    cr_assert_eq(gcrt_pagealloc_unneeded(&pa), 0);
    cr_assert_eq(alloc(&pa, 400), 0);
    gcrt_pagealloc_free(&pa, 0, 400);
    cr_assert_eq(gcrt_pagealloc_unneeded(&pa), 0, "there were none at the beginning");
    cr_assert_eq(gcrt_pagealloc_unneeded(&pa), 400);
    cr_assert_eq(alloc(&pa, 100), 0);
    gcrt_pagealloc_free(&pa, 0, 100);
    cr_assert(gcrt_pagealloc_fill_cache(&pa, &cache));
    gcrt_pagealloc_flush_cache(&pa, &cache);
    cr_assert_eq(gcrt_pagealloc_unneeded(&pa), 300, "the least, not the last");
    cr_assert(gcrt_pagealloc_fill_cache(&pa, &cache));
    gcrt_pagealloc_flush_cache(&pa, &cache);
    cr_assert_eq(gcrt_pagealloc_unneeded(&pa), 400 - PAGECACHE_PAGES, "a window is a need");
    page = gcrt_pagealloc_scavenge_find(&pa, &hunt, &npages);
    gcrt_pagealloc_scavenged(&pa, page, npages);
    cr_assert_eq(gcrt_pagealloc_unneeded(&pa), 350, "and what goes to the OS is none");
    page = alloc(&pa, 10);
    gcrt_pagealloc_give_clean(&pa, page, 10);
    cr_assert_eq(gcrt_pagealloc_unneeded(&pa), 340, "what was in use went there: no need of these");
    teardown(&pa);
}
