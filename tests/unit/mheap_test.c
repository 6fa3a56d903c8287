/* SPDX-License-Identifier: MIT */
/*
 * The page heap against an array with one entry per page: thousands of spans of every
 * class and of large sizes come and go; none overlaps another, every page leads to its
 * span, memory that claims to be zero is zero, and the counters are the model's.  Then the
 * edges: growth, exhaustion, each failing system call.
 * The seed is printed; GCRT_SEED repeats a run.
 */
#include "bare.h"

#include <sys/resource.h>

#include "support.h"

#define RESERVE   ((size_t)64 << 20) /* the least that there is: soon exhausted */
#define PAGES     (RESERVE >> PAGE_SHIFT)
#define SPANS_MAX 6000

static struct bare b;

struct model {
    struct mspan *span[SPANS_MAX]; /* in use, in no order */
    size_t npages[SPANS_MAX];
    size_t n;
    size_t in_use;               /* pages */
    struct mspan *owner[PAGES];  /* the span of each page, or NULL */
    unsigned char dirty[PAGES];  /* somebody wrote to it */
    struct pagecache cache[2];   /* of two Ps */
    uint64_t seed;
    size_t refused;              /* allocations without room */
};

static struct model m;

/* ---- one span ---- */

static size_t
page_of(const struct mspan *s)
{
    return (size_t)(s - b.heap.spans);
}

static void
expect_fresh_small(struct mspan *s, const struct mcentral *c)
{
    cr_assert_eq(span_state(s), SPAN_SMALL);
    cr_assert_eq(s->sizeclass, c->sizeclass);
    cr_assert_eq(s->kind, c->index);
    cr_assert_eq(s->noscan, c->noscan);
    cr_assert_eq(s->nelems, gcrt_class_nelems[c->sizeclass]);
    cr_assert_eq(ahalf_load_relaxed(&s->freeindex), 0);
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b));
    cr_assert_eq(span_next_used(s, 0), s->nelems, "no slot is allocated");
    for (size_t w = 0; w < span_words(s); w++)
        cr_assert_eq(aword_load_relaxed(&span_marks(s)[w]), 0, "no slot is marked");
}

static void
expect_fresh_large(struct mspan *s, size_t bytes)
{
    cr_assert_eq(span_state(s), SPAN_LARGE);
    cr_assert_eq(s->sizeclass, CLASS_LARGE);
    cr_assert_eq(s->alloc.large.bytes, align_up(bytes, WORD));
    cr_assert_eq(s->alloc.large.npages, (bytes + PAGE_SIZE - 1) / PAGE_SIZE);
    cr_assert_eq(ahalf_load_relaxed(&s->freeindex), 1);
    cr_assert_eq(ahalf_load_relaxed(&s->ready), 0, "nobody has zeroed it");
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b));
    cr_assert_eq(aword_load_relaxed(&s->mark.bits[0]), 0);
}

/* The pages were nobody's; a span that needs no zeroing has none that was written to. */
static void
model_take(struct mspan *s)
{
    size_t first = page_of(s), npages = span_npages(s);

    cr_assert_lt(m.n, SPANS_MAX);
    for (size_t page = first; page < first + npages; page++) {
        cr_assert_null(m.owner[page], "page %zu is handed out twice", page);
        cr_assert(s->needzero || !m.dirty[page], "page %zu is not zero", page);
        cr_assert_eq(mheap_span_of(&b.heap, b.heap.base + (page << PAGE_SHIFT) + 1), s);
        m.owner[page] = s;
    }
    m.span[m.n] = s;
    m.npages[m.n++] = npages;
    m.in_use += npages;
}

static bool
is_zero(const struct mspan *s)
{
    const uint64_t *word = (const uint64_t *)span_start(&b.heap, s);

    for (size_t i = 0; i < span_npages(s) << PAGE_SHIFT >> 3; i++)
        if (word[i] != 0)
            return false;
    return true;
}

/* Writes to some pages of the span, so that they are old bytes for the next one. */
static void
scribble(struct mspan *s)
{
    for (size_t i = 0; i < span_npages(s); i++)
        if (rand_below(&m.seed, 2) != 0) {
            uintptr_t page = span_start(&b.heap, s) + (i << PAGE_SHIFT);

            *(uint64_t *)(page + 8 * rand_below(&m.seed, PAGE_SIZE / 8)) = 0x5a5a5a5a5a5a5a5au;
            m.dirty[page_of(s) + i] = 1;
        }
}

static void
step_small(void)
{
    unsigned c = 1 + (unsigned)rand_below(&m.seed, NUM_CLASSES - 1);
    struct mcentral *central = rand_below(&m.seed, 2) ? &b.scan[c] : &b.noscan[c];
    struct mspan *s = gcrt_mheap_alloc_small(&b.heap, central, bare_sweepgen(&b),
            &m.cache[rand_below(&m.seed, 2)]);

    if (s == NULL) {
        m.refused++;
        return;
    }
    model_take(s);
    expect_fresh_small(s, central);
    if (!s->needzero)
        cr_assert(is_zero(s));
    scribble(s);
}

static void
step_large(void)
{
    size_t bytes = 1 + rand_below(&m.seed, (size_t)1 << (13 + rand_below(&m.seed, 12)));
    struct mspan *s = gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], bytes, bare_sweepgen(&b));

    if (s == NULL) {
        m.refused++;
        return;
    }
    model_take(s);
    expect_fresh_large(s, bytes);
    scribble(s);
}

/* window NULL: by itself. */
static void
free_one(struct pagecache *window)
{
    size_t i = rand_below(&m.seed, m.n + 1), npages, first;
    struct mspan *s;

    if (i == m.n)
        return;
    s = m.span[i];
    npages = m.npages[i];
    first = page_of(s);
    if (window == NULL)
        gcrt_mheap_free(&b.heap, s);
    else
        gcrt_mheap_free_into(&b.heap, s, window);
    m.span[i] = m.span[--m.n];
    m.npages[i] = m.npages[m.n];
    m.in_use -= npages;
    for (size_t page = first; page < first + npages; page++) {
        m.owner[page] = NULL;
        cr_assert_null(mheap_span_of(&b.heap, b.heap.base + (page << PAGE_SHIFT)));
    }
}

static void
step_free(void)
{
    struct pagecache window = { 0 };

    free_one(NULL);
    if (rand_below(&m.seed, 4) != 0)
        return;
    for (uint64_t n = rand_below(&m.seed, 8); n > 0; n--)
        free_one(&window);
    gcrt_mheap_flush_freed(&b.heap, &window);
    cr_assert(pagecache_is_empty(&window));
}

/* ---- the whole heap ---- */

static void
expect_sound(void)
{
    size_t cached = bit_count(m.cache[0].free) + bit_count(m.cache[1].free);
    struct pagealloc *pages = &b.heap.pages;
    char why[200];

    cr_assert_eq(gcrt_pagealloc_check(pages, why, sizeof(why)), 0, "%s", why);
    cr_assert_eq(pages->grown_pages - pages->free_pages, m.in_use + cached);
    cr_assert_eq(aword_load_relaxed(&b.heap.in_use), m.in_use << PAGE_SHIFT);
    cr_assert_eq(aword_load_relaxed(&b.heap.limit), pages->grown_pages << PAGE_SHIFT);
    cr_assert_eq(aword_load_relaxed(&b.heap.limit) % ((size_t)4 << 20), 0);
    for (size_t page = 0; page < aword_load_relaxed(&b.heap.limit) >> PAGE_SHIFT; page++)
        cr_assert_eq(mheap_span_of(&b.heap, b.heap.base + (page << PAGE_SHIFT)),
                m.owner[page], "page %zu", page);
}

/* Pages that are not backed: free ones, or in a P's window, that nobody wrote to. */
static void
expect_released(void)
{
    size_t cached = bit_count(m.cache[0].scavenged) + bit_count(m.cache[1].scavenged);

    cr_assert_eq(aword_load_relaxed(&b.heap.released),
            (b.heap.pages.scavenged_pages + cached) << PAGE_SHIFT);
}

static void
random_step(void)
{
    uint64_t dice = rand_below(&m.seed, 100);

    if (dice < 40)
        step_small();
    else if (dice < 50)
        step_large();
    else if (dice < 99)
        step_free();
    else
        gcrt_mheap_flush_cache(&b.heap, &m.cache[rand_below(&m.seed, 2)]);
}

static void
free_everything(void)
{
    while (m.n > 0)
        step_free();
    for (int i = 0; i < 2; i++)
        gcrt_mheap_flush_cache(&b.heap, &m.cache[i]);
    cr_assert_eq(b.heap.pages.free_pages, b.heap.pages.grown_pages);
    expect_sound();
    expect_released();
}

Test(mheap, spans_come_and_go_as_in_the_model)
{
    m.seed = seed_of("spans_come_and_go_as_in_the_model");
    bare_init(&b, RESERVE);
    for (int step = 0; step < 30000; step++) {
        random_step();
        if (step % 500 == 0) {
            expect_sound();
            expect_released();
        }
    }
    free_everything();
    bare_finish(&b);
}

Test(mheap, a_full_heap_refuses_and_goes_on)
{
    m.seed = seed_of("a_full_heap_refuses_and_goes_on");
    bare_init(&b, RESERVE);
    for (int round = 0; round < 3; round++) {
        for (m.refused = 0; m.refused < 100;) {
            step_small();
            step_large();
        }
        cr_assert_eq(aword_load_relaxed(&b.heap.limit), RESERVE, "all of it is in use");
        cr_assert_gt(m.in_use, PAGES - PAGES / 16);
        expect_sound();
        while (m.n > 100)
            step_free();
        expect_sound();
    }
    free_everything();
    bare_finish(&b);
}

Test(mheap, the_whole_reservation_can_be_one_object)
{
    struct mspan *s;

    bare_init(&b, RESERVE);
    cr_assert_null(gcrt_mheap_alloc_large(&b.heap, &b.scan[0], RESERVE + 1, 4));
    cr_assert_null(gcrt_mheap_alloc_large(&b.heap, &b.scan[0], (size_t)PTRDIFF_MAX, 4));
    s = gcrt_mheap_alloc_large(&b.heap, &b.scan[0], RESERVE, 4);
    cr_assert_not_null(s);
    model_take(s);
    expect_sound();
    cr_assert_null(gcrt_mheap_alloc_large(&b.heap, &b.scan[0], 1, 4));
    free_everything();
    bare_finish(&b);
}

/* Its pages are all the same its own, and those behind it are not. */
Test(mheap, a_huge_span_is_known_by_a_few_descriptors)
{
    const size_t npages = 5000;
    size_t interior = 0;
    struct mspan *before, *s;

    bare_init(&b, RESERVE);
    before = gcrt_mheap_alloc_large(&b.heap, &b.scan[0], 3 * PAGE_SIZE, 4);
    s = gcrt_mheap_alloc_large(&b.heap, &b.scan[0], npages * PAGE_SIZE, 4);
    cr_assert_not_null(before);
    cr_assert_not_null(s);
    cr_assert_neq(page_of(s) % SPAN_GROUP, 0);
    model_take(before);
    model_take(s);
    for (size_t i = 1; i < npages; i++)
        interior += span_state(&s[i]) == SPAN_INTERIOR;
    cr_expect_leq(interior, SPAN_GROUP + npages / SPAN_GROUP);
    for (size_t i = npages; i < npages + 600; i++)
        cr_expect_null(mheap_span_of(&b.heap, span_start(&b.heap, s) + i * PAGE_SIZE), "%zu", i);
    gcrt_mheap_free(&b.heap, s);
    for (size_t i = 0; i < npages; i++) {
        cr_assert_eq(span_state(&s[i]), SPAN_FREE);
        cr_expect_null(mheap_span_of(&b.heap, span_start(&b.heap, s) + i * PAGE_SIZE));
    }
    bare_finish(&b);
}

Test(mheap, growth_is_an_eighth_between_4_and_64_mib)
{
    size_t mib = (size_t)1 << 20;

    bare_init(&b, (size_t)4 << 30);
    cr_assert_eq(aword_load_relaxed(&b.heap.limit), 0, "nothing is committed before use");
    for (size_t limit = 0, before = 0; before < 1500 * mib; before = limit) {
        size_t step = before / 8 < 4 * mib ? 4 * mib
            : before / 8 > 64 * mib        ? 64 * mib
                                           : before / 8 / (4 * mib) * (4 * mib);

        while ((limit = aword_load_relaxed(&b.heap.limit)) == before)
            cr_assert_not_null(
                    gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], 4 * mib, bare_sweepgen(&b)));
        cr_assert_eq(limit, before + step, "grown from %zu MiB to %zu MiB", before / mib,
                limit / mib);
    }
    bare_finish(&b);
}

/* ---- registry ---- */

Test(mheap, centrals_get_indices_until_the_table_is_full)
{
    static struct mcentral more[MHEAP_CENTRALS_MAX];
    size_t n = 2 * NUM_CLASSES;

    bare_init(&b, RESERVE);
    for (; n < MHEAP_CENTRALS_MAX; n++) {
        cr_assert(gcrt_mheap_register(&b.heap, &more[n]));
        cr_assert_eq(more[n].index, n);
        cr_assert_eq(b.heap.centrals[n], &more[n]);
        cr_assert_eq(ahalf_load_relaxed(&b.heap.ncentrals), n + 1);
    }
    cr_assert_not(gcrt_mheap_register(&b.heap, &more[0]));
    cr_assert_eq(ahalf_load_relaxed(&b.heap.ncentrals), MHEAP_CENTRALS_MAX);
    cr_assert_not(gcrt_sweep_some(&b.heap, 1), "8192 empty sets");
    cr_assert(gcrt_sweep_is_done(&b.heap));
    bare_finish(&b);
}

/* ---- faults ---- */

/* With the n-th call that can fail, or with all from it on, failing; was the heap made? */
static bool
init_in(struct os os)
{
    struct persist persist;
    struct mheap heap;
    bool ok;

    gcrt_persist_init(&persist, &os);
    ok = gcrt_mheap_init(&heap, &os, &persist, (size_t)64 << 20);
    if (ok)
        gcrt_mheap_finish(&heap);
    gcrt_persist_finish(&persist);
    cr_assert_eq(aword_load_relaxed(&os.reserved), 0, "address space is left");
    cr_assert_eq(aword_load_relaxed(&os.committed), 0, "memory is left");
    return ok;
}

Test(mheap, a_failed_construction_leaves_nothing)
{
    uint64_t n = 1;
    int failed = 0;

    for (; !init_in((struct os){ .fail_from = n }); n++)
        failed += !init_in((struct os){ .fail_at = n });
    cr_assert_gt(n, 3, "there are calls that can fail");
    cr_assert_geq(failed, 2, "and not all of them can be done without");
}

/* This test is a process of its own: the limit goes with it. */
Test(mheap, a_refused_reservation_is_tried_again_with_half)
{
    size_t bytes = (t_proc_status_kib("VmSize") << 10) + ((size_t)200 << 20);
    struct rlimit limit = { bytes, bytes };

    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    bare_init(&b, (size_t)256 << 20);
    cr_assert_eq(b.heap.npages_max, (size_t)128 << 20 >> PAGE_SHIFT);
    bare_finish(&b);
}

/* What is committed but for descriptors, which stay ready when the growth fails later. */
static size_t
committed_beside_descriptors(void)
{
    return aword_load_relaxed(&b.os.committed) - b.heap.ndescribed * sizeof(struct mspan);
}

/* Growing needs two commits; without one of them the heap has not changed. */
static void
expect_refusal_at(uint64_t nth)
{
    size_t committed = committed_beside_descriptors();
    size_t limit = aword_load_relaxed(&b.heap.limit);

    b.os.fail_at = aword_load_relaxed(&b.os.calls) + nth;
    cr_assert_null(gcrt_mheap_alloc_large(
            &b.heap, &b.scan[0], (size_t)9 << 20, bare_sweepgen(&b)));
    cr_assert_eq(committed_beside_descriptors(), committed);
    cr_assert_eq(aword_load_relaxed(&b.heap.limit), limit);
    expect_sound();
}

Test(mheap, a_step_that_is_too_large_for_the_system_is_tried_smaller)
{
    size_t limit;

    bare_init(&b, (size_t)1 << 30);
    cr_assert_not_null(gcrt_mheap_alloc_large(
            &b.heap, &b.scan[0], (size_t)256 << 20, bare_sweepgen(&b)));
    limit = aword_load_relaxed(&b.heap.limit);
    b.os.fail_at = aword_load_relaxed(&b.os.calls) + 2; /* 32 MiB of pages */
    cr_assert_not_null(gcrt_mheap_alloc_large(
            &b.heap, &b.scan[0], (size_t)1 << 20, bare_sweepgen(&b)));
    cr_assert_eq(aword_load_relaxed(&b.heap.limit), limit + ((size_t)4 << 20));
    bare_finish(&b);
}

Test(mheap, what_cannot_be_unmapped_is_counted)
{
    struct os os = { 0 };
    void *p = gcrt_os_map(&os, 1 << 20);

    cr_assert_not_null(p);
    *(char *)p = 1;
    os.fail_from = 1;
    gcrt_os_unmap(&os, p, 1 << 20, 1 << 20);
    cr_assert_eq(aword_load_relaxed(&os.refused), 1 << 20);
    cr_assert_eq(aword_load_relaxed(&os.reserved), 0);
    cr_assert_eq(*(char *)p, 0, "its contents are dropped");
    os.fail_from = 0;
    gcrt_os_unmap(&os, p, 1 << 20, 1 << 20);
    cr_assert_eq(aword_load_relaxed(&os.refused), 1 << 20);
}

Test(mheap, growth_without_memory_changes_nothing)
{
    bare_init(&b, RESERVE);
    expect_refusal_at(1);
    expect_refusal_at(2);
    b.os.fail_at = 0;
    m.seed = seed_of("growth_without_memory_changes_nothing");
    for (int step = 0; step < 2000; step++) {
        if (step % 10 == 0)
            b.os.fail_at = aword_load_relaxed(&b.os.calls) + 1 + rand_below(&m.seed, 2);
        random_step();
    }
    expect_sound();
    expect_released();
    b.os.fail_at = 0;
    free_everything();
    bare_finish(&b);
}

Test(mheap, a_span_without_its_side_block_is_not_made)
{
    struct mspan *s;

    bare_init(&b, RESERVE);
    m.seed = seed_of("a_span_without_its_side_block_is_not_made");
    for (;;) { /* until the persistent chunk is used up */
        b.os.fail_at = aword_load_relaxed(&b.os.calls) + 1;
        if (b.heap.pages.free_pages < 100)
            b.os.fail_at = 0; /* pages are not what shall run out */
        s = gcrt_mheap_alloc_small(&b.heap, &b.noscan[1], bare_sweepgen(&b), &m.cache[0]);
        if (s == NULL)
            break;
        model_take(s);
    }
    expect_sound();
    expect_released();
    b.os.fail_at = 0;
    step_free();
    s = gcrt_mheap_alloc_small(&b.heap, &b.noscan[2], bare_sweepgen(&b), &m.cache[0]);
    cr_assert_not_null(s);
    model_take(s);
    free_everything();
    bare_finish(&b);
}

Test(mheap, side_blocks_come_back_clean)
{
    struct mspan *s[20];
    uint64_t before;

    bare_init(&b, RESERVE);
    before = aword_load_relaxed(&b.persist.total);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < ARRAY_LEN(s); i++) { /* in other pages than the round before */
            s[i] = bare_small(&b, &b.noscan[1 + (i + (unsigned)round) % CLASS_SIDE_MAX]);
            expect_fresh_small(s[i], &b.noscan[1 + (i + (unsigned)round) % CLASS_SIDE_MAX]);
            for (size_t k = 0; k < s[i]->nelems; k++) {
                set_bit(span_marks(s[i]), k, true);
                set_bit(span_allocs(s[i]), k, true);
            }
        }
        for (size_t i = 0; i < ARRAY_LEN(s); i++) {
            for (size_t k = 0; k < s[i]->nelems; k++)
                cr_assert(bit_of(span_marks(s[i]), k) && bit_of(span_allocs(s[i]), k));
            gcrt_mheap_free(&b.heap, s[i]);
        }
    }
    cr_assert_leq(aword_load_relaxed(&b.persist.total) - before,
            ARRAY_LEN(s) / 2 * 2 * (span_side_words(1) + span_side_words(2)) * sizeof(aword),
            "and are used again");
    bare_finish(&b);
}
