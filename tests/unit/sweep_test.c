/* SPDX-License-Identifier: MIT */
/*
 * The sweep of one span against its rule applied slot by slot, for every class, with random
 * marks, alloc bits and free indices; and the sweep of a heap: each unswept span is swept
 * once, empty ones become pages, and nobody says "done" too early.
 * The seed is printed; GCRT_SEED repeats a run.
 */
#include "bare.h"

#define CLOBBER 0xdeadbeefdeadbeefu
#define CLASS_OF_PAIRS 35 /* whose spans have two pages */

static struct bare b;

/* ---- one span ---- */

/* What the slots of a span were and shall be. */
struct model {
    bool was[1024], is[1024];
    size_t live, dead;
};

/* A random span as it is after marking, claimed; the model says what sweeping makes of it. */
static struct mspan *
marked_span(struct mcentral *c, struct model *m, uint64_t *seed)
{
    struct mspan *s = bare_small(&b, c);
    size_t freeindex = rand_below(seed, s->nelems + 1u);
    uint64_t allocated = rand_below(seed, 101), marked = rand_below(seed, 101);

    *m = (struct model){ .live = 0 };
    for (size_t i = 0; i < s->nelems; i++) {
        bool alloc = rand_below(seed, 100) < allocated, mark = rand_below(seed, 100) < marked;

        set_bit(span_allocs(s), i, alloc);
        set_bit(span_marks(s), i, mark);
        m->was[i] = alloc || i < freeindex;
        m->is[i] = m->was[i] && mark; /* a mark on a free slot says nothing */
        m->live += m->is[i];
        m->dead += m->was[i] && !m->is[i];
    }
    ahalf_store_relaxed(&s->freeindex, (unsigned)freeindex);
    ahalf_store_relaxed(&s->sweepgen, bare_sweepgen(&b) - 1);
    return s;
}

static void
expect_swept(struct mspan *s, const struct model *m)
{
    size_t words = span_has_side(s) ? span_side_words(s->sizeclass) : span_words(s);

    for (size_t i = 0; i < s->nelems; i++) {
        cr_assert_eq(bit_of(span_allocs(s), i), m->is[i], "class %u slot %zu", s->sizeclass, i);
        cr_assert_eq(span_is_allocated(s, i), m->is[i]);
    }
    for (size_t w = 0; w < words; w++)
        cr_assert_eq(aword_load_relaxed(&span_marks(s)[w]), 0, "clean for the next cycle");
    cr_assert_eq(ahalf_load_relaxed(&s->freeindex), 0);
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b));
    cr_assert_eq(span_state(s), SPAN_SMALL, "even an empty span is not freed");
}

Test(sweep, marks_count_only_where_a_slot_was_allocated)
{
    uint64_t seed = seed_of("marks_count_only_where_a_slot_was_allocated");
    static struct model m;

    bare_init(&b, 0);
    for (unsigned c = 1; c < NUM_CLASSES; c++)
        for (int round = 0; round < 20; round++) {
            struct mspan *s = marked_span(&b.scan[c], &m, &seed);
            uint64_t frees = aword_load_relaxed(&b.heap.small_frees[c]);
            uint64_t spans = aword_load_relaxed(&b.heap.swept_spans);
            bool needzero = s->needzero;

            cr_assert_eq(gcrt_sweep_span(&b.heap, s, bare_sweepgen(&b)), m.live);
            expect_swept(s, &m);
            cr_assert_eq(aword_load_relaxed(&b.heap.small_frees[c]) - frees, m.dead);
            cr_assert_eq(aword_load_relaxed(&b.heap.swept_spans) - spans, 1);
            cr_assert_eq(s->needzero, needzero || m.dead != 0, "class %u: %zu died", c, m.dead);
        }
    bare_finish(&b);
}

Test(sweep, a_span_that_needed_zeroing_still_does)
{
    struct mspan *s;

    bare_init(&b, 0);
    s = bare_small(&b, &b.scan[8]);
    s->needzero = 1;
    ahalf_store_relaxed(&s->sweepgen, bare_sweepgen(&b) - 1);
    cr_assert_eq(gcrt_sweep_span(&b.heap, s, bare_sweepgen(&b)), 0);
    cr_assert_eq(s->needzero, 1);
    bare_finish(&b);
}

/* Every word of dead slots holds the pattern; no other byte of the span has changed. */
static void
expect_clobbered(struct mspan *s, const struct model *m, bool on)
{
    const uint64_t *word = (const uint64_t *)span_start(&b.heap, s);
    size_t per_slot = span_elem_bytes(s) / 8, words = span_npages(s) << PAGE_SHIFT >> 3;

    for (size_t w = 0; w < words; w++) {
        size_t slot = w / per_slot;
        bool dead = slot < s->nelems && m->was[slot] && !m->is[slot];
        uint64_t want = dead && on ? CLOBBER : w;

        if (word[w] != want)
            cr_assert_fail("class %u slot %zu word %zu: %#lx", s->sizeclass, slot,
                    w % per_slot, (unsigned long)word[w]);
    }
}

Test(sweep, only_the_dead_are_clobbered_and_only_if_asked)
{
    uint64_t seed = seed_of("only_the_dead_are_clobbered_and_only_if_asked");
    static struct model m;

    bare_init(&b, 0);
    for (unsigned c = 1; c < NUM_CLASSES; c++)
        for (int on = 0; on < 2; on++) {
            struct mspan *s = marked_span(&b.scan[c], &m, &seed);
            uint64_t *word = (uint64_t *)span_start(&b.heap, s);

            for (size_t w = 0; w < span_npages(s) << PAGE_SHIFT >> 3; w++)
                word[w] = w;
            b.heap.clobber = on;
            (void)gcrt_sweep_span(&b.heap, s, bare_sweepgen(&b));
            expect_clobbered(s, &m, on);
        }
    bare_finish(&b);
}

static void
sweep_large(size_t bytes, bool marked)
{
    struct mspan *s = gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], bytes, bare_sweepgen(&b));
    uint64_t frees = aword_load_relaxed(&b.heap.large_frees);
    uint64_t freed = aword_load_relaxed(&b.heap.large_free_bytes);
    size_t npages = span_npages(s);
    uint64_t *object = (uint64_t *)span_start(&b.heap, s);

    object[0] = object[bytes / 8 - 1] = 7;
    set_bit(span_marks(s), 0, marked);
    ahalf_store_relaxed(&s->sweepgen, bare_sweepgen(&b) - 1);
    cr_assert_eq(gcrt_sweep_span(&b.heap, s, bare_sweepgen(&b)), marked);
    cr_assert_eq(span_is_allocated(s, 0), marked);
    cr_assert_eq(span_npages(s), npages, "its length lies beside its alloc bit");
    cr_assert_eq(span_elem_bytes(s), bytes);
    cr_assert_eq(aword_load_relaxed(&b.heap.large_frees) - frees, !marked);
    cr_assert_eq(aword_load_relaxed(&b.heap.large_free_bytes) - freed,
            marked ? 0 : npages << PAGE_SHIFT);
    cr_assert_eq(object[0], marked ? 7 : CLOBBER);
    cr_assert_eq(object[bytes / 8 - 1], marked ? 7 : CLOBBER);
    if (marked) { /* and once more: its alloc bit is all that keeps it now */
        set_bit(span_marks(s), 0, true);
        ahalf_store_relaxed(&s->sweepgen, bare_sweepgen(&b) - 1);
        cr_assert_eq(gcrt_sweep_span(&b.heap, s, bare_sweepgen(&b)), 1);
    }
    gcrt_mheap_free(&b.heap, s);
}

Test(sweep, large_objects_live_by_one_bit)
{
    bare_init(&b, 0);
    b.heap.clobber = true;
    for (size_t bytes = 32776; bytes < 3000000; bytes = bytes * 5 / 3 & ~(size_t)7) {
        sweep_large(bytes, false);
        sweep_large(bytes, true);
    }
    cr_assert_eq(aword_load_relaxed(&b.heap.in_use), 0);
    bare_finish(&b);
}

Test(sweep, only_a_claimed_span_may_be_swept, .signal = SIGABRT)
{
    struct mspan *s;

    bare_init(&b, 0);
    s = bare_small(&b, &b.scan[8]);
    (void)gcrt_sweep_span(&b.heap, s, bare_sweepgen(&b));
}

/* ---- a whole heap ---- */

#define SPANS 400

struct file {
    struct mspan *span;
    size_t live; /* objects that sweeping leaves */
};

/* Random spans of random kinds, filed as if their P had given them back before the end. */
static void
file_spans(struct file *file, uint64_t *seed)
{
    static struct model m;

    for (size_t k = 0; k < SPANS; k++) {
        struct mcentral *c = &b.scan[1 + rand_below(seed, NUM_CLASSES - 1)];

        file[k].span = marked_span(c, &m, seed);
        file[k].live = m.live;
        ahalf_store_relaxed(&file[k].span->sweepgen, bare_sweepgen(&b));
        gcrt_mcentral_put_swept(&b.heap, c, file[k].span, bare_sweepgen(&b));
    }
}

static void
count_seen(struct bare *bare, struct mspan *s)
{
    (void)bare;
    cr_assert_eq(s->checked, 0, "a span is in two sets");
    s->checked = 1;
}

/* After the sweep: empty spans are free pages, the others are in the right swept set. */
static void
expect_filed(const struct file *file)
{
    unsigned swept = bare_sweepgen(&b) / 2 % 2;
    size_t n = 0, live = 0;

    for (size_t k = 0; k < SPANS; k++)
        live += file[k].live != 0;
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        n += drain_set(&b, &b.scan[c].partial[swept], count_seen);
        n += drain_set(&b, &b.scan[c].full[swept], count_seen);
        cr_assert(spanset_is_empty(&b.scan[c].partial[1 - swept]));
        cr_assert(spanset_is_empty(&b.scan[c].full[1 - swept]));
    }
    cr_assert_eq(n, live);
    for (size_t k = 0; k < SPANS; k++)
        cr_assert_eq(file[k].span->checked, file[k].live != 0);
}

Test(sweep, each_unswept_span_is_swept_once)
{
    static struct file file[SPANS];
    uint64_t seed = seed_of("each_unswept_span_is_swept_once");
    size_t steps = 0;

    bare_init(&b, 0);
    file_spans(file, &seed);
    cr_assert(gcrt_sweep_is_done(&b.heap), "all are swept as far as this cycle goes");
    cr_assert_not(gcrt_sweep_some(&b.heap, 1));
    bare_advance(&b);
    for (; !gcrt_sweep_is_done(&b.heap); steps++)
        cr_assert(gcrt_sweep_some(&b.heap, 1));
    cr_assert_eq(steps, SPANS);
    cr_assert_not(gcrt_sweep_some(&b.heap, 1));
    cr_assert_eq(aword_load_relaxed(&b.heap.swept_spans), SPANS);
    expect_filed(file);
    bare_finish(&b);
}

Test(sweep, spans_are_filed_by_their_free_slots)
{
    static struct file file[SPANS];
    uint64_t seed = seed_of("spans_are_filed_by_their_free_slots");
    unsigned swept;
    struct mspan *s;

    bare_init(&b, 0);
    file_spans(file, &seed);
    bare_advance(&b);
    while (gcrt_sweep_some(&b.heap, 1))
        continue;
    swept = bare_sweepgen(&b) / 2 % 2;
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        while ((s = gcrt_spanset_pop(&b.scan[c].partial[swept], b.heap.spans)) != NULL)
            cr_assert_lt(span_next_free(s, 0), s->nelems);
        while ((s = gcrt_spanset_pop(&b.scan[c].full[swept], b.heap.spans)) != NULL)
            cr_assert_eq(span_next_free(s, 0), s->nelems);
    }
    bare_finish(&b);
}

Test(sweep, it_is_not_done_while_somebody_holds_an_unswept_span)
{
    struct mcentral *c = &b.scan[30];
    unsigned sweepgen;
    struct mspan *s;

    bare_init(&b, 0);
    s = bare_small(&b, c);
    gcrt_mcentral_put_swept(&b.heap, c, s, bare_sweepgen(&b));
    bare_advance(&b);
    cr_assert_not(gcrt_sweep_is_done(&b.heap));
    sweep_begin(&b.heap);
    cr_assert_eq(gcrt_mcentral_claim(&b.heap, c, &sweepgen), s);
    cr_assert_eq(sweepgen, bare_sweepgen(&b));
    cr_assert_not(gcrt_sweep_is_done(&b.heap), "its set is empty, but it is not swept");
    cr_assert_eq(gcrt_sweep_span(&b.heap, s, sweepgen), 0);
    gcrt_mheap_free(&b.heap, s);
    sweep_end(&b.heap);
    cr_assert(gcrt_sweep_is_done(&b.heap));
    bare_finish(&b);
}

/* n spans of two pages each, as a P has given them back; all their objects are alive, or none. */
static void
file_pairs(size_t n, bool alive)
{
    struct mcentral *c = &b.scan[CLASS_OF_PAIRS];

    for (size_t k = 0; k < n; k++) {
        struct mspan *s = bare_small(&b, c);

        cr_assert_eq(span_npages(s), 2);
        set_bit(span_allocs(s), 0, true);
        set_bit(span_marks(s), 0, alive);
        gcrt_mcentral_put_swept(&b.heap, c, s, bare_sweepgen(&b));
    }
    bare_advance(&b);
}

static size_t
spans_swept_for(size_t npages)
{
    uint64_t before = aword_load_relaxed(&b.heap.swept_spans);

    sweep_for_pages(&b.heap, npages);
    return aword_load_relaxed(&b.heap.swept_spans) - before;
}

Test(sweep, who_takes_pages_frees_as_many)
{
    struct pagecache pages = { 0, 0, 0 };
    struct mspan *s;
    uint64_t in_use;

    bare_init(&b, 0);
    file_pairs(200, false);
    cr_assert_eq(spans_swept_for(1), 0, "the coordinator does not sweep");
    ahalf_store_relaxed(&b.heap.unswept, 1);
    cr_assert_eq(spans_swept_for(1), 1);
    cr_assert_eq(spans_swept_for(7), 4);
    cr_assert_eq(spans_swept_for(1000), 64, "a bounded piece of work");
    in_use = aword_load_relaxed(&b.heap.in_use);
    s = gcrt_mcentral_take(&b.heap, &b.noscan[CLASS_OF_PAIRS], &pages);
    cr_assert_not_null(s);
    cr_assert_eq(aword_load_relaxed(&b.heap.in_use), in_use, "pages of the dead");
    bare_finish(&b);
}

Test(sweep, nobody_sweeps_all_that_lives_for_one_page)
{
    bare_init(&b, 0);
    file_pairs(200, true);
    ahalf_store_relaxed(&b.heap.unswept, 1);
    cr_assert_eq(spans_swept_for(1), 64);
    bare_finish(&b);
}
