/* SPDX-License-Identifier: MIT */
/*
 * The verifier: each equation of a live small heap is broken by hand, and the complaint must
 * bear that equation's tag; put right again, the heap must pass.  Then the same for what
 * holds at the other edges of a cycle, which the test takes step by step.
 */
#include "verifykit.h"

#include <sys/wait.h>

struct node {
    uint64_t value;
    struct node *next;
};

struct wide {
    void *p[448]; /* class 3584 -> 4096 bytes; a page has two */
};

struct big {
    struct big *next;
    uint64_t data[1199]; /* 9600 bytes: spans of several pages */
};

GC_TYPE(node_type, struct node, next);
GC_TYPE(wide_type, struct wide, p);
GC_TYPE(big_type, struct big, next);

static struct node *head; /* registered */
static void *keep[4];     /* registered: a big, a large, a tiny, an array */

static NOINLINE void
populate(void)
{
    for (size_t i = 0; i < 2000; i++) { /* more than a span of them */
        struct node *node = gc_alloc(&node_type);

        node->next = head;
        gc_write(&head, node);
    }
    for (size_t i = 0; i < 6; i++)
        gc_write(&keep[0], gc_alloc(&big_type));
    gc_write(&keep[1], gc_alloc_array(&gc_pointer_type, 20000));
    gc_write(&keep[2], gc_alloc_bytes(5));
    gc_write(&keep[3], gc_alloc_array(&gc_pointer_type, 3));
}

static void
start(void)
{
    byhand_start(0);
    cr_assert_eq(gc_root_add(&head, sizeof(head)), GC_OK);
    cr_assert_eq(gc_root_add(keep, sizeof(keep)), GC_OK);
    populate();
    gc_collect(heap); /* spans are in sets, and some slots are free */
    populate();
    cr_assert_eq(gc_verify(heap), GC_OK, "%s", gc_last_error());
}

TestSuite(verify, .init = start, .fini = byhand_stop, .timeout = 60);

/* gc_verify names this tag first. */
static void
expect_tag(const char *tag)
{
    char name[40];
    gc_status status = gc_verify(heap);

    snprintf(name, sizeof(name), "[%s] ", tag);
    cr_expect(status == GC_ERR_CORRUPT && strncmp(gc_last_error(), name, strlen(name)) == 0,
            "expected %s, have: %s", name, status == GC_OK ? "nothing" : gc_last_error());
}

static void
expect_clean(void)
{
    cr_expect_eq(gc_verify(heap), GC_OK, "%s", gc_last_error());
}

/* With the field changed the verifier complains, with its old value it does not. */
#define BREAK(field, value, tag)                    \
    do {                                            \
        __typeof__(field) was_ = (field);           \
                                                    \
        (field) = (__typeof__(field))(value);       \
        expect_tag(tag);                            \
        (field) = was_;                             \
        expect_clean();                             \
    } while (0)

/* The same for an atomic half or word, which `raw` makes a field. */
#define BREAK_RAW(atomic, value, tag) BREAK((atomic).raw, value, tag)

static struct mspan *
span_of(const void *p)
{
    size_t i;

    return byhand_span(p, &i);
}

static struct mcache *
my_cache(void)
{
    return &byhand_self()->p->cache;
}

/* The entry of my cache that holds a span of the type. */
static uint32_t
entry_of(const gc_type *type)
{
    int i = gcrt_mcache_find(my_cache(), (uintptr_t)type);

    cr_assert(i >= 0 && my_cache()->table->cold[i].span != NULL);
    return (uint32_t)i;
}

/* A span of nodes that is in a set. */
static struct mspan *
filed_span(void)
{
    struct mspan *cached = my_cache()->table->cold[entry_of(&node_type)].span;

    for (struct node *node = head; node != NULL; node = node->next)
        if (span_of(node) != cached)
            return span_of(node);
    cr_assert(false, "every node is in one span");
    return NULL;
}

/* A span whose objects have alloc bits: the collection swept it. */
static struct mspan *
swept_span(void)
{
    for (struct node *node = head; node != NULL; node = node->next)
        if (ahalf_load_relaxed(&span_of(node)->freeindex) == 0)
            return span_of(node);
    cr_assert(false, "no span was swept");
    return NULL;
}

/* ---- spans ---- */

Test(verify, spans_tile_their_pages)
{
    struct mspan *s = span_of(keep[0]);
    size_t limit = aword_load_relaxed(&heap->mheap.limit) >> PAGE_SHIFT;

    cr_assert_gt(span_npages(s), 1);
    BREAK_RAW(s[1].head, 2u << 2 | SPAN_INTERIOR, "span.tiles");
    BREAK_RAW(s[1].head, SPAN_FREE, "span.tiles");
    BREAK_RAW(s->head, SPAN_FREE, "span.tiles"); /* its interior is nobody's */
    BREAK_RAW(heap->mheap.spans[limit - 1].head, 1u << 2 | SPAN_INTERIOR, "span.tiles");
}

Test(verify, a_span_agrees_with_its_kind_and_class)
{
    struct mspan *s = span_of(head), *large = span_of(keep[1]);

    BREAK(s->kind, s->kind + 1, "span.class");
    BREAK(s->kind, 60000, "span.class");
    BREAK(s->sizeclass, s->sizeclass + 1, "span.class");
    BREAK(s->sizeclass, 200, "span.class");
    BREAK(s->noscan, 1, "span.class");
    s->checked = !s->checked; /* bits have no address */
    expect_tag("span.class");
    s->checked = !s->checked;
    s->open_end = !s->open_end;
    expect_tag("span.class");
    s->open_end = !s->open_end;
    BREAK(s->nelems, s->nelems - 1, "span.class");
    BREAK(s->divmagic, s->divmagic + 1, "span.class");
    BREAK(s->mark.side, NULL, "span.class");
    BREAK_RAW(s->head, SPAN_LARGE, "span.class");
    BREAK(large->alloc.large.npages, large->alloc.large.npages + 1, "span.class");
    BREAK(large->alloc.large.bytes, 8, "span.class");
    BREAK(large->nelems, 2, "span.class");
}

Test(verify, bits_lie_within_the_span)
{
    struct mspan *s = span_of(keep[0]);
    uint64_t beyond = (uint64_t)1 << s->nelems;

    cr_assert_lt(s->nelems, 63);
    BREAK_RAW(s->alloc.bits[0], s->alloc.bits[0].raw | beyond, "span.bits");
    BREAK_RAW(s->mark.bits[0], s->mark.bits[0].raw | beyond, "span.bits");
    BREAK_RAW(s->freeindex, s->nelems + 1u, "span.bits");
}

Test(verify, nothing_is_marked_between_cycles)
{
    BREAK_RAW(span_marks(span_of(head))[0], 1, "I-no-late-mark");
    BREAK_RAW(span_of(keep[1])->mark.bits[0], 1, "I-no-late-mark");
}

Test(verify, between_cycles_a_span_is_swept_or_swept_and_cached)
{
    struct mspan *s = filed_span();
    unsigned h = ahalf_load_relaxed(&heap->mheap.sweepgen);

    BREAK_RAW(s->sweepgen, h - 2, "I-sweepgen");
    BREAK_RAW(s->sweepgen, h - 1, "I-sweepgen");
    BREAK_RAW(s->sweepgen, h + 1, "I-sweepgen");
    BREAK_RAW(s->sweepgen, h + 3, "span.filed"); /* allowed, but then not in a set */
}

/* ---- who holds a span ---- */

/* The set that s is on top of, after it was put there. */
static struct spanset *
set_of(struct mspan *s)
{
    struct mcentral *c = heap->mheap.centrals[s->kind];
    unsigned swept = ahalf_load_relaxed(&heap->mheap.sweepgen) / 2 % 2;
    bool full = span_next_free(s, ahalf_load_relaxed(&s->freeindex)) >= s->nelems;

    return full ? &c->full[swept] : &c->partial[swept];
}

Test(verify, a_span_in_no_set_is_lost)
{
    struct spanset *set = set_of(filed_span());
    struct mspan *top = gcrt_spanset_pop(set, heap->mheap.spans);

    expect_tag("span.filed");
    gcrt_spanset_push(set, heap->mheap.spans, top);
    expect_clean();
}

Test(verify, a_span_is_in_one_set_once)
{
    struct spanset *set = set_of(filed_span());
    struct mspan *top = &heap->mheap.spans[(uint32_t)aword_load_relaxed(&set->top) - 1];
    struct spanset before = *set;
    unsigned next = ahalf_load_relaxed(&top->next);

    gcrt_spanset_push(set, heap->mheap.spans, top); /* now it follows itself */
    expect_tag("span.filed");
    *set = before;
    ahalf_store_relaxed(&top->next, next);
    expect_clean();
}

Test(verify, a_span_is_in_the_set_of_its_kind_side_and_fill)
{
    struct mspan *s = gcrt_spanset_pop(set_of(filed_span()), heap->mheap.spans);
    struct mcentral *c = heap->mheap.centrals[s->kind];
    struct mcentral *other = heap->mheap.centrals[(s->kind + 1u)
            % ahalf_load_relaxed(&heap->mheap.ncentrals)];
    struct spanset *right = set_of(s), *wrong[4];
    size_t n = 0;

    for (unsigned side = 0; side < 2; side++) {
        if (&c->full[side] != right)
            wrong[n++] = &c->full[side];
        if (&c->partial[side] != right)
            wrong[n++] = &c->partial[side];
    }
    wrong[n++] = &other->full[ahalf_load_relaxed(&heap->mheap.sweepgen) / 2 % 2];
    for (size_t i = 0; i < n; i++) {
        gcrt_spanset_push(wrong[i], heap->mheap.spans, s);
        expect_tag("span.filed");
        cr_assert_eq(gcrt_spanset_pop(wrong[i], heap->mheap.spans), s);
    }
    gcrt_spanset_push(right, heap->mheap.spans, s);
    expect_clean();
}

Test(verify, a_set_holds_no_page_without_a_span)
{
    struct mcentral *c = heap->mheap.centrals[span_of(head)->kind];
    unsigned swept = ahalf_load_relaxed(&heap->mheap.sweepgen) / 2 % 2;
    struct mspan *inside = &span_of(keep[0])[1];
    size_t limit = aword_load_relaxed(&heap->mheap.limit) >> PAGE_SHIFT;
    struct spanset before = c->full[swept];

    gcrt_spanset_push(&c->full[swept], heap->mheap.spans, inside);
    expect_tag("span.filed");
    c->full[swept] = before;
    gcrt_spanset_push(&c->full[swept], heap->mheap.spans, &heap->mheap.spans[limit - 1]);
    expect_tag("span.filed");
    c->full[swept] = before;
    expect_clean();
}

Test(verify, a_cached_span_is_cached_once_and_in_no_set)
{
    struct mcache_cold *cold = my_cache()->table->cold;
    struct mspan *s = cold[entry_of(&node_type)].span;

    BREAK(cold[entry_of(&node_type)].span, filed_span(), "span.filed");
    BREAK(cold[entry_of(&big_type)].span, s, "span.filed");
    BREAK_RAW(s->sweepgen, ahalf_load_relaxed(&heap->mheap.sweepgen), "span.filed");
}

/* ---- caches ---- */

Test(verify, a_run_ends_at_the_free_index_of_its_span)
{
    struct gc_impl_run *run = &my_cache()->table->runs[entry_of(&node_type)];

    cr_assert_lt((uintptr_t)run->next, (uintptr_t)run->end);
    BREAK(run->end, run->end - run->size, "cache.run");
    BREAK(run->next, run->end + run->size, "cache.run");
    BREAK(run->next, run->next + 8, "cache.run");
    BREAK(run->next, span_start(&heap->mheap, span_of(head)) - 64, "cache.run");
    BREAK(run->size, run->size * 2, "cache.run");
}

Test(verify, the_rest_of_a_run_is_free_and_zero)
{
    uint32_t entry = entry_of(&node_type);
    struct gc_impl_run *run = &my_cache()->table->runs[entry];
    struct mspan *s = my_cache()->table->cold[entry].span;
    size_t last = ahalf_load_relaxed(&s->freeindex) - 1;
    aword *word = &span_allocs(s)[last / 64];

    cr_assert_lt((uintptr_t)run->next, (uintptr_t)run->end);
    BREAK(((uint64_t *)(void *)run->next)[1], 1, "cache.run"); /* behind the last object */
    BREAK_RAW(*word, word->raw | (uint64_t)1 << last % 64, "cache.run");
}

Test(verify, a_run_without_a_span_is_empty)
{
    struct mcache_table *t = my_cache()->table;
    uint32_t i = 0;

    while (t->cold[i].span != NULL)
        i++;
    BREAK(t->runs[i].end, t->runs[i].end + 16, "cache.run");
}

Test(verify, the_tiny_block_lies_in_a_slot_of_tiny_ones)
{
    struct mcache *mc = my_cache();

    cr_assert_neq(mc->tiny, mc->tiny_end);
    BREAK(mc->tiny, mc->tiny - TINY_BYTES, "cache.tiny");
    BREAK(mc->tiny, mc->tiny_end + 1, "cache.tiny");
    BREAK(mc->tiny_end, (uintptr_t)head + TINY_BYTES, "cache.tiny");
}

/* ---- pages ---- */

Test(verify, each_page_has_one_owner)
{
    struct pagecache *pages = &my_cache()->pages;
    uint64_t lowest = pages->free & -pages->free, first = 0;

    cr_assert_neq(pages->free, 0);
    for (unsigned i = 0; i < 64 && first == 0; i++) /* the window's pages that are in spans */
        if (span_state(&heap->mheap.spans[pages->base + i]) != SPAN_FREE)
            first = (uint64_t)1 << i;
    cr_assert_neq(first, 0);
    BREAK(pages->free, pages->free | first, "pages.owner");
    BREAK(pages->base, pages->base + heap->mheap.npages_max, "pages.owner");
    pages->scavenged &= ~lowest;
    BREAK(pages->free, pages->free & ~lowest, "pages.owner");
}

Test(verify, page_counters_are_what_counting_gives)
{
    struct mheap *h = &heap->mheap;

    BREAK_RAW(h->in_use, h->in_use.raw + PAGE_SIZE, "pages.sum");
    BREAK_RAW(h->released, h->released.raw - PAGE_SIZE, "pages.sum");
    BREAK_RAW(h->grown, h->grown.raw + PAGE_SIZE, "pages.sum");
}

Test(verify, page_summaries_are_those_of_the_bitmaps)
{
    struct pagealloc *pa = &heap->mheap.pages;

    BREAK(pa->level[0][0], pa->level[0][0] ^ 1, "pages.summary");
    BREAK(pa->hint, pa->chunks_top * CHUNK_PAGES, "pages.summary");
    BREAK(pa->dirty.level[0][0], ~pa->dirty.level[0][0], "pages.summary");
    BREAK(pa->scavenged_pages, pa->scavenged_pages + 1, "pages.summary");
}

/* ---- sums ---- */

Test(verify, slots_taken_less_freed_are_allocated)
{
    struct mcache *mc = my_cache();

    BREAK_RAW(mc->slots[2], mc->slots[2].raw + 1, "sum.slots");
    BREAK_RAW(mc->slots[60], mc->slots[60].raw + 1, "sum.slots");
    BREAK_RAW(heap->mheap.small_frees[2], heap->mheap.small_frees[2].raw + 1, "sum.slots");
    BREAK_RAW(heap->mheap.small_spans[2], heap->mheap.small_spans[2].raw + 1, "sum.slots");
}

Test(verify, large_spans_are_counted)
{
    struct mheap *h = &heap->mheap;

    BREAK_RAW(h->large_allocs, h->large_allocs.raw + 1, "sum.large");
    BREAK_RAW(h->large_frees, h->large_frees.raw + 1, "sum.large");
    BREAK_RAW(h->large_alloc_bytes, h->large_alloc_bytes.raw + 8, "sum.large");
    BREAK_RAW(h->large_free_bytes, h->large_free_bytes.raw + 8, "sum.large");
}

Test(verify, live_bytes_move_with_what_is_taken)
{
    struct mheap *h = &heap->mheap;

    populate(); /* between two looks; the books are kept */
    expect_clean();
    aword_add_relaxed(&h->live, 8);
    expect_tag("sum.live");
    aword_add_relaxed(&h->live, (uint64_t)0 - 8);
    BREAK(my_cache()->debt, my_cache()->debt - 16, "sum.live");
}

/* ---- mutators, Ps, work ---- */

Test(verify, idle_ps_are_empty_and_counted)
{
    struct p *p = gcrt_p_acquire(heap);

    gcrt_p_release(heap, p);
    expect_clean();
    BREAK(p->cache.black, true, "mutator.list");
    BREAK(p->cache.tiny_end, p->cache.tiny + 1, "cache.tiny");
    BREAK(p->cache.debt, 8, "sum.live");
    BREAK(heap->ps.count, heap->ps.count + 1, "mutator.list");
    BREAK(p->next_idle, p, "mutator.list"); /* for ever */
}

Test(verify, barriers_and_colours_are_off_between_cycles)
{
    BREAK(byhand_self()->nbarrier, 1, "mutator.phase");
    BREAK(my_cache()->black, true, "mutator.phase");
    BREAK(gc_impl_self.barrier, BARRIER_DELETION, "mutator.phase");
}

/* Another thread, inside or outside; gc_verify takes the calling one outside. */
static ahalf other_goes; /* 1: it is there, 2: it shall go outside, 3: it is, 4: it shall end */
static struct gcrt_mutator *other;

static void *
be_verified(void *arg)
{
    (void)arg;
    if (gc_thread_attach(heap) != GC_OK)
        abort();
    other = byhand_self();
    gc_block_enter();
    gc_block_leave();
    ahalf_store_release(&other_goes, 1);
    while (ahalf_load_acquire(&other_goes) != 2)
        gc_safepoint();
    GC_BLOCKING {
        ahalf_store_release(&other_goes, 3);
        while (ahalf_load_acquire(&other_goes) != 4)
            gcrt_os_yield();
    }
    gc_thread_detach();
    return NULL;
}

static void
await_other(unsigned place)
{
    while (ahalf_load_acquire(&other_goes) != place)
        gcrt_os_yield();
}

Test(verify, stores_are_open_for_who_is_inside_with_the_barrier_off)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, be_verified, NULL), 0);
    await_other(1);
    cr_expect_eq(other->self->store, (uint32_t)GC_IMPL_STORE_OPEN);
    BREAK(other->self->store, 0, "mutator.store");
    BREAK(other->self->store, 1, "mutator.store");
    ahalf_store_release(&other_goes, 2);
    await_other(3);
    cr_expect_eq(other->self->store, 0);
    BREAK(other->self->store, GC_IMPL_STORE_OPEN, "mutator.store");
    ahalf_store_release(&other_goes, 4);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(verify, between_cycles_every_work_buffer_is_free)
{
    struct work *w = &heap->work;
    struct workbuf *b = gcrt_work_take_empty(w);

    expect_tag("work.idle");
    b->slot[b->n++] = 1;
    gcrt_work_push_raw(w, b);
    expect_tag("work.idle");
    cr_assert_eq(gcrt_work_pop_raw(w), b);
    byhand_self()->marker.queue.cur = b;
    expect_tag("work.idle");
    (void)gcrt_workqueue_publish(w, &byhand_self()->marker.queue);
    expect_tag("work.idle");
    cr_assert(gcrt_workqueue_refill(w, &byhand_self()->marker.queue));
    byhand_self()->marker.queue.cur = NULL;
    gcrt_work_put_empty(w, b);
    expect_clean();
}

/* ---- the other edges ---- */

static void
scan_all(void)
{
    t_wipe_stack();
    byhand_scan();
    byhand_collect_roots();
}

Test(verify, before_marking_opens_only_the_newborn_are_marked)
{
    struct mspan *s = swept_span();
    size_t i;

    scan_all();
    EXPECT_CLEAN(VERIFY_SCANNED);
    GC_KEEP_ALIVE(gc_alloc(&wide_type)); /* in a run that was taken black */
    EXPECT_CLEAN(VERIFY_SCANNED);
    i = span_next_used(s, 0);
    span_marks(s)[i / 64].raw |= (uint64_t)1 << i % 64;
    EXPECT_TAG(VERIFY_SCANNED, "I-barrier-first");
}

Test(verify, while_marking_the_rest_of_a_run_is_black)
{
    struct gc_impl_run *run = &my_cache()->table->runs[entry_of(&node_type)];

    cr_assert_lt((uintptr_t)run->next, (uintptr_t)run->end);
    scan_all();
    byhand_set_mark(run->end - run->size, false);
    EXPECT_TAG(VERIFY_SCANNED, "I-own-snapshot");
}

Test(verify, before_marking_opens_everybody_is_black_and_shades_deletions)
{
    scan_all();
    gc_impl_self.barrier = BARRIER_HYBRID;
    EXPECT_TAG(VERIFY_SCANNED, "mutator.phase");
    gc_impl_self.barrier = BARRIER_DELETION;
    EXPECT_CLEAN(VERIFY_SCANNED);
    EXPECT_TAG(VERIFY_IDLE, "I-no-late-mark"); /* the edge matters */
}

static void
mark_all(void)
{
    scan_all();
    ahalf_store_full(&heap->marking.open, 1); /* pairs: mark.open */
    byhand_mark();
}

Test(verify, marking_complete_a_root_leads_to_a_marked_object)
{
    char text[VERIFY_TEXT], want[64];

    mark_all();
    EXPECT_CLEAN(VERIFY_MARKED);
    byhand_set_mark(keep[1], false);
    EXPECT_TAG(VERIFY_MARKED, "I-weak-tricolour");
    cr_expect_eq(byhand_verify(VERIFY_MARKED, text, NULL), GC_ERR_CORRUPT);
    snprintf(want, sizeof(want), "a root, %#lx, points to unmarked", (unsigned long)&keep[1]);
    cr_expect_not_null(strstr(text, want), "%s", text);
}

Test(verify, marking_complete_a_shaded_word_is_marked)
{
    struct gcrt_mutator *m = byhand_self();

    mark_all();
    byhand_set_mark(head->next, false);
    m->barrier[m->nbarrier++] = (uintptr_t)head->next;
    EXPECT_TAG(VERIFY_MARKED, "I-ragged-done");
}

Test(verify, marking_complete_nothing_is_grey)
{
    struct work *w = &heap->work;
    struct workqueue q = { .stack = 1 };

    mark_all();
    workqueue_put(w, &q, (uintptr_t)head);
    cr_assert(gcrt_workqueue_publish(w, &q));
    EXPECT_TAG(VERIFY_MARKED, "work.idle");
}

/* verify=2 names the object that the missing store went into, and how it is reached. */
Test(verify, the_path_to_a_bad_pointer_begins_at_a_root)
{
    char text[VERIFY_TEXT], path[VERIFY_PATH], want[512];
    struct node *second = head->next, *third = second->next;

    heap->options.debug_verify = 2;
    mark_all();
    byhand_set_mark(third, false);
    cr_assert_eq(byhand_verify(VERIFY_MARKED, text, path), GC_ERR_CORRUPT);
    snprintf(want, sizeof(want), "struct node at %p points to unmarked %p", (void *)second,
            (void *)third);
    cr_expect_not_null(strstr(text, want), "%s", text);
    snprintf(want, sizeof(want),
            "a root range, word at %#lx\nstruct node at %p, its word at +8\nstruct node at %p\n",
            (unsigned long)&head, (void *)head, (void *)second);
    cr_expect_str_eq(path, want, "%s", path);
}

Test(verify, after_h5_barriers_are_off_and_no_work_is_left)
{
    mark_all();
    byhand_close();
    EXPECT_CLEAN(VERIFY_CLOSED);
    gc_impl_self.barrier = BARRIER_DELETION;
    EXPECT_TAG(VERIFY_CLOSED, "mutator.phase");
    gc_impl_self.barrier = BARRIER_OFF;
    byhand_self()->nbarrier = 1;
    EXPECT_TAG(VERIFY_CLOSED, "mutator.phase");
}

Test(verify, after_h6_only_unswept_spans_have_marks)
{
    struct mspan *s = span_of(keep[1]);
    unsigned h;

    mark_all();
    byhand_close();
    byhand_advance();
    EXPECT_CLEAN(VERIFY_SWEEPING);
    GC_KEEP_ALIVE(gc_alloc(&node_type)); /* sweeps a span */
    EXPECT_CLEAN(VERIFY_SWEEPING);
    h = ahalf_load_relaxed(&heap->mheap.sweepgen);
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), h - 2);
    ahalf_store_relaxed(&s->sweepgen, h);
    EXPECT_TAG(VERIFY_SWEEPING, "I-no-late-mark");
    ahalf_store_relaxed(&s->sweepgen, h + 1);
    EXPECT_TAG(VERIFY_SWEEPING, "I-no-late-mark");
    ahalf_store_relaxed(&s->sweepgen, h - 2);
    byhand_set_mark(head, true);
    EXPECT_TAG(VERIFY_IDLE, "I-no-late-mark");
}

/* ---- the end ---- */

static void
fatal_path(void *arg)
{
    (void)arg;
    start();
    heap->options.debug_verify = 2;
    mark_all();
    byhand_set_mark(head->next, false);
    gc_block_enter();
    gcrt_verify_at(heap, VERIFY_MARKED);
    gc_block_leave();
}

Test(verify_fatal, the_last_words_are_the_path_and_one_fatal_line, .timeout = 60)
{
    char said[4096];
    int status = t_child(fatal_path, NULL, said, sizeof(said));

    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    cr_expect_eq(strncmp(said, "gcrt: verify: path: a root range, word at 0x", 44), 0, "%s", said);
    cr_expect_not_null(strstr(said, "\ngcrt: fatal: verify: [I-weak-tricolour] struct node at 0x"),
            "%s", said);
    cr_expect_not_null(strstr(said, "(marking complete)\n"), "%s", said);
}
