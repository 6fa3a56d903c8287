/* SPDX-License-Identifier: MIT */
/*
 * The central lists: which span is taken first, where spans go back to, all states of
 * sweepgen, and what happens when it advances between two steps of somebody.  Then threads
 * with caches take and give spans while a coordinator marks at random, advances sweepgen
 * and sweeps: no slot is handed out twice, and afterwards every span in use is in exactly
 * one set.  The seed is printed; GCRT_SEED repeats a run.
 */
#include "bare.h"

#include <pthread.h>

static struct bare b;

static struct mcentral *const some = &b.scan[12];

static unsigned
side(void)
{
    return bare_sweepgen(&b) / 2 % 2;
}

/* A span in its swept set, with its first `used` slots allocated. */
static struct mspan *
filed(struct mcentral *c, size_t used)
{
    struct mspan *s = bare_small(&b, c);

    for (size_t i = 0; i < used; i++)
        set_bit(span_allocs(s), i, true);
    gcrt_mcentral_put_swept(&b.heap, c, s, bare_sweepgen(&b));
    return s;
}

static void
mark_all(struct mspan *s)
{
    for (size_t i = 0; i < s->nelems; i++)
        set_bit(span_marks(s), i, true);
}

static struct mspan *
take(void)
{
    struct pagecache pages = { 0, 0, 0 };
    struct mspan *s = gcrt_mcentral_take(&b.heap, some, &pages);

    gcrt_mheap_flush_cache(&b.heap, &pages);
    return s;
}

static size_t
spans_in_use(void)
{
    return aword_load_relaxed(&b.heap.in_use) >> PAGE_SHIFT; /* all of one page here */
}

/* ---- taking ---- */

Test(mcentral, spans_are_filed_by_their_free_slots)
{
    unsigned n;

    bare_init(&b, 0);
    n = gcrt_class_nelems[12];
    cr_assert_eq(filed(some, n - 1), gcrt_spanset_pop(&some->partial[side()], b.heap.spans));
    cr_assert_eq(filed(some, n), gcrt_spanset_pop(&some->full[side()], b.heap.spans));
    cr_assert_eq(filed(some, 0), gcrt_spanset_pop(&some->partial[side()], b.heap.spans));
    bare_finish(&b);
}

Test(mcentral, a_span_whose_free_slots_all_lie_below_its_free_index_is_full)
{
    struct mspan *s;

    bare_init(&b, 0);
    s = bare_small(&b, some);
    ahalf_store_relaxed(&s->freeindex, s->nelems);
    gcrt_mcentral_put_swept(&b.heap, some, s, bare_sweepgen(&b));
    cr_assert_eq(gcrt_spanset_pop(&some->full[side()], b.heap.spans), s);
    bare_finish(&b);
}

Test(mcentral, swept_spans_go_first_then_unswept_then_fresh)
{
    struct mspan *swept, *partial, *full, *fresh;

    bare_init(&b, 0);
    partial = filed(some, 3);
    full = filed(some, gcrt_class_nelems[12]);
    mark_all(partial);
    set_bit(span_marks(full), 7, true); /* it will have free slots */
    bare_advance(&b);
    swept = filed(some, 1);
    cr_assert_eq(take(), swept);
    cr_assert_eq(aword_load_relaxed(&b.heap.swept_spans), 0);
    cr_assert_eq(take(), partial);
    cr_assert_eq(take(), full);
    cr_assert_eq(aword_load_relaxed(&b.heap.swept_spans), 2);
    fresh = take();
    cr_assert(fresh != NULL && fresh != swept && fresh != partial && fresh != full);
    cr_assert_eq(ahalf_load_relaxed(&swept->sweepgen), bare_sweepgen(&b) + 3);
    cr_assert_eq(ahalf_load_relaxed(&full->sweepgen), bare_sweepgen(&b) + 3);
    cr_assert_eq(ahalf_load_relaxed(&fresh->sweepgen), bare_sweepgen(&b) + 3);
    cr_assert_eq(span_next_used(full, 0), 7);
    bare_finish(&b);
}

Test(mcentral, an_empty_swept_span_is_used_and_not_freed)
{
    struct mspan *s;

    bare_init(&b, 0);
    s = filed(some, 5);
    bare_advance(&b);
    cr_assert_eq(take(), s);
    cr_assert_eq(span_next_used(s, 0), s->nelems);
    cr_assert_eq(spans_in_use(), 1);
    bare_finish(&b);
}

Test(mcentral, at_most_100_spans_are_swept_in_vain)
{
    struct mspan *s;

    bare_init(&b, 0);
    for (int i = 0; i < 250; i++)
        mark_all(filed(some, gcrt_class_nelems[12]));
    bare_advance(&b);
    for (size_t round = 1; round <= 3; round++) {
        s = take();
        cr_assert_not_null(s);
        cr_assert_eq(span_next_used(s, 0), s->nelems, "a fresh one");
        cr_assert_eq(aword_load_relaxed(&b.heap.swept_spans), min_size(round * 100, 250));
    }
    cr_assert_eq(drain_set(&b, &some->full[side()], NULL), 250);
    cr_assert(gcrt_sweep_is_done(&b.heap));
    bare_finish(&b);
}

Test(mcentral, no_memory_is_no_span)
{
    bare_init(&b, 0);
    b.os.fail_at = aword_load_relaxed(&b.os.calls) + 1;
    cr_assert_null(take());
    cr_assert_not_null(take());
    bare_finish(&b);
}

/* ---- giving, and the five states ---- */

Test(mcentral, a_span_given_back_in_its_own_cycle_is_swept_already)
{
    struct mspan *s;

    bare_init(&b, 0);
    s = take();
    set_bit(span_marks(s), 3, true);
    ahalf_store_relaxed(&s->freeindex, 10);
    gcrt_mcentral_give(&b.heap, some, s);
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b));
    cr_assert_eq(ahalf_load_relaxed(&s->freeindex), 10, "nothing was swept");
    cr_assert(bit_of(span_marks(s), 3));
    cr_assert_eq(gcrt_spanset_pop(&some->partial[side()], b.heap.spans), s);
    bare_finish(&b);
}

Test(mcentral, a_stale_cached_span_is_swept_when_it_is_given_back)
{
    struct mspan *s;

    bare_init(&b, 0);
    s = take();
    ahalf_store_relaxed(&s->freeindex, 10);
    set_bit(span_marks(s), 3, true);
    set_bit(span_marks(s), 20, true); /* free: a run given back */
    bare_advance(&b);
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b) + 1, "stale and cached");
    cr_assert(gcrt_sweep_is_done(&b.heap), "no set holds it");
    gcrt_mcentral_give(&b.heap, some, s);
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b));
    cr_assert_eq(ahalf_load_relaxed(&s->freeindex), 0);
    cr_assert_eq(span_next_used(s, 0), 3);
    cr_assert_eq(span_next_used(s, 4), s->nelems);
    cr_assert_eq(gcrt_spanset_pop(&some->partial[side()], b.heap.spans), s);
    cr_assert(gcrt_sweep_is_done(&b.heap));
    bare_finish(&b);
}

Test(mcentral, a_stale_cached_span_that_dies_becomes_pages)
{
    struct mspan *s;

    bare_init(&b, 0);
    s = take();
    ahalf_store_relaxed(&s->freeindex, 10);
    bare_advance(&b);
    gcrt_mcentral_give(&b.heap, some, s);
    cr_assert_eq(spans_in_use(), 0);
    cr_assert_eq(span_state(s), SPAN_FREE);
    cr_assert_eq(aword_load_relaxed(&b.heap.small_frees[12]), 10);
    cr_assert(spanset_is_empty(&some->partial[0]) && spanset_is_empty(&some->partial[1]));
    bare_finish(&b);
}

Test(mcentral, a_span_in_no_legal_state_cannot_be_given_back, .signal = SIGABRT)
{
    struct mspan *s;

    bare_init(&b, 0);
    s = take();
    bare_advance(&b);
    bare_advance(&b); /* a cycle without H6 */
    gcrt_mcentral_give(&b.heap, some, s);
}

/* ---- sweepgen advances between two steps ---- */

Test(mcentral, a_swept_span_popped_from_the_wrong_side_is_put_back)
{
    struct mspan *partial, *full;
    unsigned sweepgen = 0;

    bare_init(&b, 0);
    partial = filed(some, 3);
    full = filed(some, gcrt_class_nelems[12]);
    /* Where a claimer that read the old sweepgen would look: as if these were unswept. */
    cr_assert_eq(gcrt_spanset_pop(&some->partial[side()], b.heap.spans), partial);
    cr_assert_eq(gcrt_spanset_pop(&some->full[side()], b.heap.spans), full);
    gcrt_spanset_push(&some->partial[1 - side()], b.heap.spans, partial);
    gcrt_spanset_push(&some->full[1 - side()], b.heap.spans, full);
    cr_assert_null(gcrt_mcentral_claim(&b.heap, some, &sweepgen));
    cr_assert_eq(ahalf_load_relaxed(&partial->sweepgen), bare_sweepgen(&b));
    cr_assert_eq(span_next_free(partial, 0), 3, "nothing was swept");
    cr_assert_eq(gcrt_spanset_pop(&some->partial[side()], b.heap.spans), partial);
    cr_assert_eq(gcrt_spanset_pop(&some->full[side()], b.heap.spans), full);
    cr_assert(gcrt_sweep_is_done(&b.heap));
    bare_finish(&b);
}

Test(mcentral, a_span_filed_by_an_old_sweepgen_is_swept_like_the_others)
{
    unsigned before, sweepgen = 0;
    struct mspan *s;

    bare_init(&b, 0);
    s = bare_small(&b, some);
    before = bare_sweepgen(&b);
    bare_advance(&b);
    gcrt_mcentral_put_swept(&b.heap, some, s, before);
    cr_assert_not(gcrt_sweep_is_done(&b.heap));
    cr_assert_eq(gcrt_mcentral_claim(&b.heap, some, &sweepgen), s);
    cr_assert_eq(sweepgen, before + 2);
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), sweepgen - 1);
    bare_finish(&b);
}

Test(mcentral, sides_change_with_every_cycle_for_ever)
{
    unsigned sweepgen;

    bare_init(&b, 0);
    ahalf_store_relaxed(&b.heap.sweepgen, UINT32_MAX - 7); /* it wraps meanwhile */
    mark_all(filed(some, 4));
    for (int cycle = 0; cycle < 10; cycle++) {
        struct mspan *s;

        bare_advance(&b);
        s = gcrt_mcentral_claim(&b.heap, some, &sweepgen);
        cr_assert_not_null(s, "cycle %d", cycle);
        cr_assert_eq(gcrt_sweep_span(&b.heap, s, sweepgen), 4);
        gcrt_mcentral_put_swept(&b.heap, some, s, sweepgen);
        mark_all(s);
        cr_assert(gcrt_sweep_is_done(&b.heap));
        cr_assert_null(gcrt_mcentral_claim(&b.heap, some, &sweepgen));
    }
    bare_finish(&b);
}

/* ---- threads ---- */

#define THREADS 4
#define KINDS   6
#define CYCLES  400

struct taker {
    struct mcache mc;
    uint64_t seed;
    uint32_t number;
    const char *from[KINDS]; /* first slot allocated of the current run */
    ahalf asked, answered; /* H6 */
};

static struct taker taker[THREADS];
static ahalf over;
static const unsigned kind_class[KINDS] = { 1, 2, 5, 26, 46, 58 };

_Noreturn static void
give_up(const char *what, const struct mspan *s)
{
    fprintf(stderr, "%s: span %zu, class %u\n", what, (size_t)(s - b.heap.spans), s->sizeclass);
    abort(); /* Criterion's own asserts jump, which only its thread may */
}

/* What we have allocated from the entry's run still holds what we wrote. */
static void
check_stamps(struct taker *t, int i)
{
    const struct gc_impl_run *run = &t->mc.table->runs[i];

    for (const char *p = t->from[i]; p < run->next; p += run->size)
        if (*(const uint64_t *)(const void *)p != t->number)
            give_up("somebody else wrote to a slot of our run", t->mc.table->cold[i].span);
}

/* Allocates some of a new run, or all of it.  All of it is zero. */
static void
stamp_some(struct taker *t, int i)
{
    struct gc_impl_run *run = &t->mc.table->runs[i];
    size_t n = (size_t)(run->end - run->next) / run->size;

    t->from[i] = run->next;
    for (const char *p = run->next; p < run->end; p += run->size)
        if (*(const uint64_t *)(const void *)p != 0)
            give_up("a slot of a new run is not zero", t->mc.table->cold[i].span);
    for (n = rand_below(&t->seed, 4) ? n : rand_below(&t->seed, n); n > 0; n--) {
        *(uint64_t *)(void *)run->next = t->number;
        run->next += run->size;
    }
}

static void
flush(struct taker *t, bool keep)
{
    for (int i = 0; i < KINDS; i++) {
        check_stamps(t, i);
        t->from[i] = NULL;
    }
    gcrt_mcache_flush(&t->mc, keep ? RUNS_KEPT : RUNS_FREE);
}

static void
answer(struct taker *t)
{
    unsigned asked = ahalf_load_acquire(&t->asked);

    if (asked == ahalf_load_relaxed(&t->answered))
        return;
    flush(t, rand_below(&t->seed, 2) != 0);
    ahalf_store_release(&t->answered, asked);
}

static void *
take_and_give(void *arg)
{
    struct taker *t = arg;

    while (!ahalf_load_acquire(&over)) {
        int i = (int)rand_below(&t->seed, KINDS);

        check_stamps(t, i);
        if (gcrt_mcache_take_run(&t->mc, i) == 0)
            give_up("no memory", b.heap.spans);
        stamp_some(t, i);
        if (rand_below(&t->seed, 64) == 0)
            flush(t, false); /* as a thread that detaches */
        if (rand_below(&t->seed, 16) == 0)
            (void)gcrt_sweep_some(&b.heap, 1);
        answer(t);
    }
    flush(t, false);
    return NULL;
}

/* Between cycles nobody sweeps, so no span ends and no mark bit is cleared. */
static void
mark_at_random(uint64_t *seed)
{
    size_t pages = aword_load_acquire(&b.heap.limit) >> PAGE_SHIFT;

    for (size_t page = 0; page < pages; page++) {
        struct mspan *s = &b.heap.spans[page];

        if (span_state(s) == SPAN_SMALL && rand_below(seed, 3) != 0)
            for (size_t w = 0; w < span_words(s); w++)
                aword_or_relaxed(&span_marks(s)[w],
                        bits_word_mask(w, 0, s->nelems) & rand_next(seed) & rand_next(seed));
    }
}

static void
one_cycle(uint64_t *seed)
{
    mark_at_random(seed);
    bare_advance(&b);
    for (int i = 0; i < THREADS; i++)
        ahalf_add_full(&taker[i].asked, 1);
    for (int i = 0; i < THREADS; i++)
        while (ahalf_load_acquire(&taker[i].answered) != ahalf_load_relaxed(&taker[i].asked))
            if (!gcrt_sweep_some(&b.heap, 1))
                gcrt_os_yield();
    while (gcrt_sweep_some(&b.heap, 1) || !gcrt_sweep_is_done(&b.heap))
        continue;
}

static size_t seen_pages;

static void
see_once(struct bare *bare, struct mspan *s)
{
    (void)bare;
    cr_assert_eq(s->checked, 0, "span %zu is in two sets", (size_t)(s - b.heap.spans));
    cr_assert_eq(span_state(s), SPAN_SMALL);
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b));
    s->checked = 1;
    seen_pages += span_npages(s);
}

/* Nobody caches anything any more: every page in use is of a span in one swept set. */
static void
expect_all_filed(void)
{
    for (int k = 0; k < KINDS; k++) {
        struct mcentral *c = &b.scan[kind_class[k]];

        cr_assert(spanset_is_empty(&c->partial[1 - side()]), "an unswept span is left");
        cr_assert(spanset_is_empty(&c->full[1 - side()]), "an unswept span is left");
        drain_set(&b, &c->partial[side()], see_once);
        drain_set(&b, &c->full[side()], see_once);
    }
    cr_assert_eq(seen_pages, aword_load_relaxed(&b.heap.in_use) >> PAGE_SHIFT);
    cr_assert_eq(seen_pages, b.heap.pages.grown_pages - b.heap.pages.free_pages);
}

static void
start_taker(struct taker *t, uint32_t number, uint64_t seed, pthread_t *ret)
{
    t->number = number;
    t->seed = seed + number;
    cr_assert(gcrt_mcache_init(&t->mc, &b.heap));
    for (int k = 0; k < KINDS; k++) /* distinct homes in order: entry k is kind k */
        cr_assert_eq(gcrt_mcache_add(&t->mc, (64 + (uintptr_t)k) << 6,
                             &b.scan[kind_class[k]]), k);
    cr_assert_eq(pthread_create(ret, NULL, take_and_give, t), 0);
}

static void
stress(const char *test, uint64_t chaos)
{
    uint64_t seed = seed_of(test);
    uint64_t until = gcrt_os_now_ns() + (uint64_t)2000 * 1000 * 1000;
    pthread_t threads[THREADS];

    bare_init(&b, (size_t)8 << 30);
    b.os.chaos = chaos;
    for (uint32_t i = 0; i < THREADS; i++)
        start_taker(&taker[i], i + 1, seed, &threads[i]);
    for (int cycle = 0; cycle < CYCLES && gcrt_os_now_ns() < until; cycle++)
        one_cycle(&seed);
    ahalf_store_release(&over, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    while (gcrt_sweep_some(&b.heap, 1))
        continue;
    cr_assert_gt(aword_load_relaxed(&b.heap.swept_spans), 1000, "the test was too short");
    expect_all_filed();
    bare_finish(&b);
}

Test(mcentral, no_span_is_lost_while_sweepgen_advances)
{
    stress("no_span_is_lost_while_sweepgen_advances", 0);
}

Test(mcentral, no_span_is_lost_while_sweepgen_advances_in_chaos)
{
    stress("no_span_is_lost_while_sweepgen_advances_in_chaos", 4711);
}
