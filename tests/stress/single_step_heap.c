/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what other threads may see of spans, objects and marks between two instructions,
 * looked at after every instruction; and what they may do there.  single_step.c has the
 * mutator's side.
 *
 * Place: internals of gcrt; x86-64 only, elsewhere it is skipped.  Stores become visible in
 * program order on x86, so each state between two instructions is one that others may see.
 *
 * Concurrency: one thread, and a collector that sleeps.
 *
 * Arguments: none.
 */

#include "asked.h"

#include <string.h>

#include "alloc/sweep.h"
#include "gc/assist.h"
#include "gc/batch.h"
#include "gc/ephemeron.h"
#include "gc/item.h"
#include "gc/kind.h"
#include "gc/worker.h"

#if defined(__x86_64__)

#define OLD_BYTE 0xa5

static struct mheap *pages;      /* the heap's */
static struct mcentral central;  /* of a class whose spans have several pages */
static struct mspan *span;
static unsigned sweepgen;

static unsigned
heap_sweepgen(void)
{
    return ahalf_load_relaxed(&pages->sweepgen);
}

/* ---- span.publish ---- */

#define PAGES_CLASS 58 /* 14336 bytes, 7 pages, 4 slots */
#define OTHER_CLASS 5

static struct mcentral other;

static struct mspan *
new_span(struct mcentral *c)
{
    struct pagecache cache = { 0, 0, 0 };
    struct mspan *s = gcrt_mheap_alloc_small(pages, c, heap_sweepgen(), &cache);

    gcrt_mheap_flush_cache(pages, &cache);
    T_CHECK(s != NULL, "memory");
    return s;
}

static void
run_new_span(void)
{
    span = new_span(&central);
}

static struct mspan *expected;

static void
described_when_published(void)
{
    const struct mspan *s = expected;

    if ((ahalf_load_relaxed(&s->head) & SPAN_STATE) != SPAN_SMALL)
        return;
    T_CHECK(s->sizeclass == PAGES_CLASS && s->nelems == gcrt_class_nelems[PAGES_CLASS]
                    && s->divmagic == gcrt_class_magic[PAGES_CLASS] && s->kind == central.index
                    && ahalf_load_relaxed(&s->freeindex) == 0,
            "a span is published before it is described");
    for (unsigned i = 1; i < gcrt_class_pages[PAGES_CLASS]; i++)
        T_CHECK(ahalf_load_relaxed(&s[i].head) == (i << 2 | SPAN_INTERIOR),
                "a span is published before its page %u points back", i);
}

static int
page_is_free(size_t page)
{
    return bits_test(pages->pages.chunk[page / CHUNK_PAGES].free, page % CHUNK_PAGES);
}

static void
ended_when_pages_are_free(void)
{
    for (unsigned i = 0; i < gcrt_class_pages[PAGES_CLASS]; i++)
        T_CHECK(ahalf_load_relaxed(&span[i].head) == SPAN_FREE
                        || !page_is_free((size_t)(&span[i] - pages->spans)),
                "page %u of a span is free before the span has ended", i);
}

static void
run_free_span(void)
{
    gcrt_mheap_free(pages, span);
}

static void
spans_come_and_go(void)
{
    expected = new_span(&other);
    ahalf_store_relaxed(&expected->freeindex, 3); /* what a used descriptor may hold */
    gcrt_mheap_free(pages, expected);
    t_step_through(run_new_span, described_when_published);
    T_CHECK(span == expected, "the same pages come again");
    t_step_through(run_free_span, ended_when_pages_are_free);
    T_CHECK(page_is_free((size_t)(span - pages->spans)), "it has ended");
}

/* ---- any word, while spans come and go ---- */

static struct mcentral tiny; /* of a class whose bits lie in a side block */

static void
prepare_tiny(void)
{
    if (span != NULL)
        gcrt_mheap_free(pages, span);
    span = new_span(&tiny);
}

static void
run_find(void)
{
    size_t index;

    (void)mheap_find_object(pages, span_start(pages, span) + 1000 * 8, &index);
}

/* Its bits lie where the address was, and are no address. */
static void
become_another(void)
{
    const struct mspan *was = span;

    gcrt_mheap_free(pages, span);
    span = new_span(&other);
    T_CHECK(span == was, "the same page comes again");
    aword_store_relaxed(&span->mark.bits[0], 0x5555555555555555);
}

static void
check_nothing(void)
{
}

static void
any_word_may_be_asked_about(void)
{
    span = NULL;
    (void)t_event_everywhere(prepare_tiny, run_find, become_another, check_nothing);
    gcrt_mheap_free(pages, span);
}

/* ---- sweep ---- */

static void
clean_when_swept(void)
{
    if (ahalf_load_relaxed(&span->sweepgen) != sweepgen)
        return;
    T_CHECK(aword_load_relaxed(&span->mark.bits[0]) == 0
                    && aword_load_relaxed(&span->alloc.bits[0]) == 5
                    && ahalf_load_relaxed(&span->freeindex) == 0,
            "a span is swept before its bits are");
}

static void
run_sweep_span(void)
{
    (void)gcrt_sweep_span(pages, span, sweepgen);
}

/* An unswept span with slots 0, 1, 2 allocated and 0 and 2 marked. */
static void
make_unswept(void)
{
    span = new_span(&central);
    aword_store_relaxed(&span->mark.bits[0], 5);
    ahalf_store_relaxed(&span->freeindex, 3);
    sweepgen = heap_sweepgen() + 2;
    ahalf_store_full(&pages->sweepgen, sweepgen);
}

static void
sweeping_one_span(void)
{
    make_unswept();
    ahalf_store_release(&span->sweepgen, sweepgen - 1);
    t_step_through(run_sweep_span, clean_when_swept);
    T_CHECK(ahalf_load_relaxed(&span->sweepgen) == sweepgen, "it is swept");
    run_free_span();
}

/* Who has taken an unswept span out of its set is counted. */
static void
not_done_before_it_is_swept(void)
{
    unsigned sg = ahalf_load_relaxed(&span->sweepgen);

    if (sg == sweepgen - 2 || sg == sweepgen - 1)
        T_CHECK(!gcrt_sweep_is_done(pages), "the sweep is complete, but a span is not swept");
}

static void
run_sweep_one(void)
{
    T_CHECK(gcrt_sweep_some(pages, 1), "there is a span");
}

static void
run_take(void)
{
    struct pagecache cache = { 0, 0, 0 };

    T_CHECK(gcrt_mcentral_take(pages, &central, &cache) == span, "it is swept for its space");
}

static void
run_give(void)
{
    gcrt_mcentral_give(pages, &central, span);
}

static void
not_done_while_given(void)
{
    if (ahalf_load_relaxed(&span->sweepgen) == sweepgen - 1)
        T_CHECK(!gcrt_sweep_is_done(pages), "the sweep is complete, but a span is not swept");
}

static void
sweepers_are_counted(void)
{
    static void (*const run[])(void) = { run_sweep_one, run_take };

    for (size_t i = 0; i < ARRAY_LEN(run); i++) {
        make_unswept();
        gcrt_mcentral_put_swept(pages, &central, span, sweepgen - 2);
        t_step_through(run[i], not_done_before_it_is_swept);
        (void)gcrt_spanset_pop(&central.partial[sweepgen / 2 % 2], pages->spans);
        run_free_span();
    }
    make_unswept();
    ahalf_store_release(&span->sweepgen, sweepgen + 1); /* cached before the sweep */
    t_step_through(run_give, not_done_while_given);
    T_CHECK(gcrt_spanset_pop(&central.partial[sweepgen / 2 % 2], pages->spans) == span, "filed");
    run_free_span();
}

/* ---- I-publish: runs and large objects ---- */

struct thick {
    char byte[14336];
};

GC_TYPE_NOSCAN(thick_type, struct thick);

static struct mcache *cache;
static int entry;

static int
is_zero(const void *p, size_t bytes)
{
    const char *c = p;

    return c[0] == 0 && memcmp(c, c + 1, bytes - 1) == 0;
}

static unsigned first_new; /* slots from here on are taken while we look */

static void
zero_and_black_below_the_free_index(void)
{
    unsigned end = ahalf_load_relaxed(&span->freeindex);

    for (unsigned i = first_new; i < end && i < span->nelems; i++) {
        T_CHECK(is_zero((void *)span_object(pages, span, i), sizeof(struct thick)),
                "slot %u counts as allocated, but has old bytes", i);
        T_CHECK(span_test(span_marks(span), i), "slot %u of a black run is white", i);
    }
}

static void
run_take_run(void)
{
    T_CHECK(gcrt_mcache_take_run(cache, entry) == sizeof(struct thick), "one slot");
}

static void
runs(void)
{
    struct thick *first = gc_alloc(&thick_type);

    cache = &gc_impl_self.mutator->p->cache;
    entry = gcrt_mcache_find(cache, (uintptr_t)&thick_type);
    T_CHECK(entry >= 0, "it has an entry");
    span = cache->table->cold[entry].span;
    memset((void *)span_object(pages, span, 1), OLD_BYTE, 3 * sizeof(struct thick));
    span->needzero = 1;
    cache->black = true;
    cache->black_gen = ahalf_load_relaxed(&span->sweepgen);
    first_new = 1;
    t_step_through(run_take_run, zero_and_black_below_the_free_index);
    T_CHECK(ahalf_load_relaxed(&span->freeindex) == 2, "a run was taken");
    cache->black = false;
    GC_KEEP_ALIVE(first);
}

#define LARGE_BYTES 40960

static void *large;

static void
zero_when_ready(void)
{
    if ((ahalf_load_relaxed(&expected->head) & SPAN_STATE) == SPAN_LARGE
            && ahalf_load_relaxed(&expected->ready))
        T_CHECK(is_zero((void *)span_start(pages, expected), LARGE_BYTES),
                "a large object with old bytes may be scanned");
}

static void
run_alloc_large(void)
{
    large = gc_alloc_array(&gc_pointer_type, LARGE_BYTES / sizeof(void *));
}

static void
large_objects(void)
{
    struct mcentral *c;

    run_alloc_large();
    memset(large, OLD_BYTE, LARGE_BYTES);
    expected = mheap_span_of(pages, (uintptr_t)large);
    c = pages->centrals[expected->kind];
    span = gcrt_spanset_pop(&c->full[heap_sweepgen() / 2 % 2], pages->spans);
    T_CHECK(span == expected, "it is filed as full");
    run_free_span();
    t_step_through(run_alloc_large, zero_when_ready);
    T_CHECK((uintptr_t)large == span_start(pages, expected), "the same pages come again");
    T_CHECK(ahalf_load_relaxed(&expected->ready), "it is ready");
    T_CHECK(is_zero(large, LARGE_BYTES), "it is zero");
}

/* ---- mark bits ---- */

struct pair {
    void *left, *right;
    uint64_t plain;
};

GC_TYPE(pair_type, struct pair, left, right);

static struct pair *one, *two;
static struct marker mine, theirs;

static void
drop_queue(struct marker *mk)
{
    (void)gcrt_workqueue_publish(&the_heap->work, &mk->queue);
    while (gcrt_workqueue_refill(&the_heap->work, &mk->queue))
        mk->queue.cur->n = 0;
    (void)gcrt_workqueue_publish(&the_heap->work, &mk->queue);
    mk->marked = mk->scanned = 0;
    mk->nbatch = 0;
}

static aword *
mark_word(void)
{
    return &span_marks(span)[0];
}

static void
prepare_marks(void)
{
    mine.heap = theirs.heap = the_heap;
    drop_queue(&mine);
    drop_queue(&theirs);
    aword_store_relaxed(mark_word(), 0);
}

static void
run_mark(void)
{
    gcrt_mark_word(&mine, (uintptr_t)one);
}

static void
mark_other(void)
{
    gcrt_mark_word(&theirs, (uintptr_t)two);
}

static void
mark_same(void)
{
    gcrt_mark_word(&theirs, (uintptr_t)one);
}

static uint32_t
queued(const struct marker *mk)
{
    return mk->queue.cur == NULL ? 0 : mk->queue.cur->n;
}

static void
check_both_marked(void)
{
    T_CHECK(bit_count(aword_load_relaxed(mark_word())) == 2, "step %lu: a mark is lost",
            t_event_step);
    T_CHECK(queued(&mine) == 1 && queued(&theirs) == 1, "step %lu: each is queued",
            t_event_step);
}

static void
check_queued_once(void)
{
    T_CHECK(queued(&mine) + queued(&theirs) == 1, "step %lu: queued %u times", t_event_step,
            queued(&mine) + queued(&theirs));
}

/* ---- runs that become black beside a marker ---- */

static struct gc_impl_run *run_of_pairs;
static char *run_next;

static void
prepare_blacken(void)
{
    prepare_marks();
    __atomic_store_n(&run_of_pairs->next, run_next, __ATOMIC_RELAXED);
    cache->black = false;
}

static void
run_blacken(void)
{
    gcrt_mcache_blacken(cache, heap_sweepgen());
}

static size_t last_marks;

static void
check_blackened(void)
{
    size_t i = span_object_index(pages, span, (uintptr_t)two);
    size_t first = span_object_index(pages, span, (uintptr_t)run_next);
    size_t end = span_object_index(pages, span, (uintptr_t)run_of_pairs->end);

    T_CHECK(span_test(span_marks(span), i), "step %lu: a marker's mark is lost", t_event_step);
    for (size_t k = first; k < end; k++)
        T_CHECK(span_test(span_marks(span), k), "step %lu: slot %zu is white", t_event_step, k);
    last_marks = end - first;
}

static void
marks(void)
{
    one = gc_alloc(&pair_type);
    two = gc_alloc(&pair_type);
    span = mheap_span_of(pages, (uintptr_t)one);
    T_CHECK(span == mheap_span_of(pages, (uintptr_t)two), "one word has both bits");
    (void)t_event_everywhere(prepare_marks, run_mark, mark_other, check_both_marked);
    (void)t_event_everywhere(prepare_marks, run_mark, mark_same, check_queued_once);
    entry = gcrt_mcache_find(cache, (uintptr_t)&pair_type);
    run_of_pairs = &cache->table->runs[entry];
    run_next = run_of_pairs->next;
    (void)t_event_everywhere(prepare_blacken, run_blacken, mark_other, check_blackened);
    T_CHECK(last_marks > 10, "%zu slots were blackened", last_marks);
    prepare_blacken();
}

/* ---- ephemerons ---- */

static gc_ephemeron *waiting;

static void
prepare_white(void)
{
    prepare_marks();
    gcrt_ephemeron_forget(the_heap);
}

static void
run_scan(void)
{
    gcrt_ephemeron_type.trace(waiting, sizeof(*waiting), (gc_tracer *)(void *)&mine);
}

/* Twice: it is late work first. */
static void
prepare_late(void)
{
    prepare_white();
    run_scan();
    T_CHECK(!ephemeron_is_filed(the_heap), "filed when it is scanned for the first time");
    mine.queue.late->n = 0;
}

/* Who has it in a queue scans it, as a chain's head or for its value. */
static void
check_not_filed(void)
{
    const aword *table = (const aword *)aword_load_relaxed(&the_heap->ephemerons.table);

    for (size_t i = 0; i < the_heap->ephemerons.buckets; i++)
        T_CHECK(aword_load_relaxed(&table[i]) == 0,
                "step %lu: an ephemeron is filed under a marked key", t_event_step);
}

/* Filed under its key, which is white. */
static void
prepare_filed(void)
{
    prepare_late();
    run_scan();
    T_CHECK(ephemeron_is_filed(the_heap), "a white key's ephemeron is not filed");
}

/* What marking another object with the key's tag does. */
static void
run_fire(void)
{
    gcrt_ephemeron_fire(&mine, (uintptr_t)one);
}

/* Its chain is queued, and the queue is ours to look at. */
static void
prepare_chain(void)
{
    prepare_filed();
    run_fire();
    drop_queue(&mine);
}

static unsigned
times_queued(const struct marker *mk)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < queued(mk); i++)
        n += item_address(mk->queue.cur->slot[i]) == (uintptr_t)waiting;
    return n;
}

/* The key is marked there, so one of both markers queues the ephemeron. */
static void
check_queued(void)
{
    check_not_filed();
    T_CHECK(times_queued(&mine) + times_queued(&theirs) == 1,
            "step %lu: an ephemeron is queued twice, or never", t_event_step);
}

/* Whoever goes through the chain marks the value, or leaves the ephemeron to the other. */
static void
check_scanned(void)
{
    bool whole;

    gcrt_mark_batch(&mine);
    whole = span_test(span_marks(span), span_object_index(pages, span, (uintptr_t)two));
    check_not_filed();
    T_CHECK(times_queued(&mine) + times_queued(&theirs) + whole == 1,
            "step %lu: an ephemeron is scanned twice, or never", t_event_step);
}

/* A finalizer's object is scanned unmarked, and once more when it is marked. */
static void
scan_too(void)
{
    gcrt_ephemeron_type.trace(waiting, sizeof(*waiting), (gc_tracer *)(void *)&theirs);
}

/* Alone in its chain, under a key that is white still. */
static void
check_filed_once(void)
{
    const aword *table = (const aword *)aword_load_relaxed(&the_heap->ephemerons.table);
    const uint64_t address = ((uint64_t)1 << 48) - 8;
    size_t n = 0;

    for (size_t i = 0; i < the_heap->ephemerons.buckets; i++)
        n += (aword_load_relaxed(&table[i]) & address) == (uintptr_t)waiting;
    T_CHECK(n == 1 && (aword_load_relaxed(&waiting->link) & address) == 0,
            "step %lu: an ephemeron is filed twice, or never", t_event_step);
}

static void
ephemerons(void)
{
    waiting = gc_ephemeron_new(one, two);
    (void)t_event_everywhere(prepare_late, run_scan, mark_same, check_not_filed);
    (void)t_event_everywhere(prepare_filed, run_fire, mark_same, check_queued);
    (void)t_event_everywhere(prepare_chain, run_scan, mark_same, check_scanned);
    (void)t_event_everywhere(prepare_late, run_scan, scan_too, check_filed_once);
    (void)t_event_everywhere(prepare_chain, run_scan, scan_too, check_filed_once);
    gcrt_ephemeron_forget(the_heap);
    prepare_marks();
}

/* ---- kinds ---- */

static const struct kind *mine_kind, *their_kind;

static void
run_get_kind(void)
{
    mine_kind = gcrt_kind_get(the_heap, kind_key(&pair_type, 40), &pair_type, 40, false);
}

static void
get_kind(void)
{
    their_kind = gcrt_kind_get(the_heap, kind_key(&pair_type, 40), &pair_type, 40, false);
}

/* Another thread makes the kind while we wait for the lock. */
static void
kinds(void)
{
    t_event_at(run_get_kind, (uintptr_t)gcrt_lock_acquire, get_kind);
    T_CHECK(mine_kind != NULL && mine_kind == their_kind, "a key has two kinds");
}

/* ---- I-ragged-done: the look for work, and assists ---- */

static bool quiet;

static void
prepare_quiet(void)
{
    struct workbuf *b = gcrt_work_take_empty(&the_heap->work);

    prepare_marks();
    b->n = 0;
    mine.queue.stack = the_heap->work.nstacks - 1; /* the stack that is looked at last */
    b->slot[b->n++] = (uintptr_t)one;
    mine.queue.cur = b;
    T_CHECK(gcrt_workqueue_publish(&the_heap->work, &mine.queue), "there is work");
    quiet = false;
}

static void
run_quiet(void)
{
    quiet = gcrt_marking_is_quiet(the_heap);
}

/* A worker that takes the work and leaves it where it has been looked already. */
static void
move_work(void)
{
    theirs.queue.stack = 0;
    gcrt_marking_begin(the_heap);
    T_CHECK(gcrt_workqueue_refill(&the_heap->work, &theirs.queue), "there is work");
    T_CHECK(gcrt_workqueue_publish(&the_heap->work, &theirs.queue), "and it stays");
    gcrt_marking_end(the_heap);
}

static void
check_not_quiet(void)
{
    T_CHECK(!quiet, "step %lu: marking counts as quiet, but there is work", t_event_step);
}

static void
active_while_it_holds_work(void)
{
    const struct marker *mk = &gc_impl_self.mutator->marker;

    if ((uint32_t)aword_load_relaxed(&the_heap->marking.activity) == 0)
        T_CHECK(queued(mk) == 0 && mk->nbatch == 0 && mk->marked == 0 && mk->scanned == 0,
                "a mutator holds work but counts as inactive");
}

static void
run_assist(void)
{
    gcrt_assist(gc_impl_self.mutator);
}

static void
assists(void)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;
    struct pair *list = NULL;

    for (int i = 0; i < 20; i++) {
        struct pair *pair = gc_alloc(&pair_type);

        pair->left = list;
        list = pair;
    }
    prepare_marks();
    gcrt_mark_word(&mine, (uintptr_t)list);
    (void)gcrt_workqueue_publish(&the_heap->work, &mine.queue);
    ahalf_store_full(&the_heap->marking.open, 1);
    gcrt_assist_set_ratio(the_heap, 1, 1);
    m->credit = -100000;
    t_step_through(run_assist, active_while_it_holds_work);
    T_CHECK(aword_load_relaxed(&the_heap->marking.heap_work) >= 20 * sizeof(*list),
            "it has worked");
    ahalf_store_full(&the_heap->marking.open, 0);
    gcrt_assist_set_ratio(the_heap, 0, 0);
}

static void
start(int argc, char **argv)
{
    gc_options opt;

    asked_options("single_step_heap", argc, argv, &opt);
    opt.threads = 2;
    asked_begin(&opt);
    pages = &the_heap->mheap;
    central.sizeclass = PAGES_CLASS;
    central.noscan = 1;
    other.sizeclass = OTHER_CLASS;
    tiny.sizeclass = 1;
    T_CHECK(gcrt_mheap_register(pages, &central), "register");
    T_CHECK(gcrt_mheap_register(pages, &other), "register");
    T_CHECK(gcrt_mheap_register(pages, &tiny), "register");
}

int
main(int argc, char **argv)
{
    start(argc, argv);
    spans_come_and_go();
    any_word_may_be_asked_about();
    sweeping_one_span();
    sweepers_are_counted();
    runs();
    large_objects();
    marks();
    ephemerons();
    kinds();
    (void)t_event_everywhere(prepare_quiet, run_quiet, move_work, check_not_quiet);
    prepare_marks();
    assists();
    return asked_end();
}

#else

int
main(void)
{
    return T_SKIP;
}

#endif
