/* SPDX-License-Identifier: MIT */
/*
 * The verifier: counters, and whatever is said in two places.
 *
 * Purpose: what is kept up to date step by step must be what counting again gives.
 * Place: verify calls it when spans and lists are right.
 * Invariants checked, by tag; sums over all Ps, all modulo 2^64:
 *   pages.sum      pages in spans = handed out - in windows = in_use; clean free pages, those
 *                  in windows and dropped spans too = released; limit = grown
 *   pages.summary  the page allocator's summaries, derived again
 *   sum.memory     what was made ready is what the owners of all parts count
 *   sum.slots      of each class: slots taken - frees = slots allocated; its spans as counted
 *   sum.large      the same for large spans and their bytes
 *   sum.live       live + debts - bytes taken - external changes only when a cycle settles it
 *   mutator.list   the registry's count is its list's length; idle Ps are empty
 *   mutator.phase  each mutator's barrier and colour are those of the last handshake
 *   mutator.store  inline stores are open exactly for mutators that are inside with the barrier
 *                  off
 *   work.idle      no work is queued where there may be none; between cycles every buffer is
 *                  on the free stack once
 * Concurrency: all mutators are held; workers are not marking.
 * Cost: linear in Ps, mutators, work buffers and the page allocator's chunks.
 */
#include "gc/verifier.h"

#include "gc/barrier.h"

/* ---- pages ---- */

static const struct p *
all_ps(const struct gc_heap *heap)
{
    return __atomic_load_n(&heap->ps.all, __ATOMIC_ACQUIRE); /* pairs: p.publish */
}

static void
check_page_counts(struct verifier *v, size_t cached, size_t cached_clean)
{
    struct mheap *h = &v->heap->mheap;
    const struct pagealloc *pa = &h->pages;
    size_t limit = aword_load_relaxed(&h->limit), grown = aword_load_relaxed(&h->grown);

    if (pa->grown_pages - pa->free_pages - cached != v->pages)
        gcrt_verify_complain(v, "pages.sum", "%zu pages in spans, %zu handed out", v->pages,
                pa->grown_pages - pa->free_pages - cached);
    if (aword_load_relaxed(&h->in_use) != v->pages << PAGE_SHIFT)
        gcrt_verify_complain(v, "pages.sum", "%zu pages in spans, in_use counts %zu", v->pages,
                (size_t)(aword_load_relaxed(&h->in_use) >> PAGE_SHIFT));
    cached_clean += (size_t)(aword_load_relaxed(&h->dropped) >> PAGE_SHIFT);
    if (aword_load_relaxed(&h->released) != (pa->scavenged_pages + cached_clean) << PAGE_SHIFT)
        gcrt_verify_complain(v, "pages.sum", "%zu clean pages, released counts %zu",
                pa->scavenged_pages + cached_clean,
                (size_t)(aword_load_relaxed(&h->released) >> PAGE_SHIFT));
    /* The populator may have grown the heap since we began; by free pages. */
    if (grown != limit || pa->grown_pages != limit >> PAGE_SHIFT || pa->grown_pages < v->npages)
        gcrt_verify_complain(v, "pages.sum", "%zu pages up to the limit, grown counts %zu",
                limit >> PAGE_SHIFT, grown >> PAGE_SHIFT);
}

static void
check_pages(struct verifier *v)
{
    struct mheap *h = &v->heap->mheap;
    size_t cached = 0, cached_clean = 0;
    char why[128];

    for (const struct p *p = all_ps(v->heap); p != NULL; p = p->next_all) {
        cached += bit_count(p->cache.pages.free);
        cached_clean += bit_count(p->cache.pages.scavenged);
    }
    gcrt_lock_acquire(&h->scavenging); /* nothing is on its way to the OS */
    gcrt_lock_acquire(&h->lock);
    if (gcrt_pagealloc_check(&h->pages, why, sizeof(why)) != 0)
        gcrt_verify_complain(v, "pages.summary", "%s", why);
    check_page_counts(v, cached, cached_clean);
    gcrt_lock_release(&h->lock);
    gcrt_lock_release(&h->scavenging);
}

/*
 * Under these locks threads that attach take metadata meanwhile, the populator takes pages, and
 * both of them, and the scavenger, rings for their events.
 */
static void
check_memory(struct verifier *v)
{
    struct gc_heap *heap = v->heap;
    uint64_t parts = heap->mheap.pagealloc_bytes + heap->work.pool_bytes;
    uint64_t ready;

    gcrt_lock_acquire(&heap->mheap.lock);
    gcrt_lock_acquire(&heap->persist.lock);
    parts += aword_load_relaxed(&heap->mheap.grown) + aword_load_relaxed(&heap->mheap.described);
    parts += aword_load_relaxed(&heap->persist.mapped) + aword_load_relaxed(&heap->beside);
    ready = aword_load_relaxed(&heap->os.committed);
    gcrt_lock_release(&heap->persist.lock);
    gcrt_lock_release(&heap->mheap.lock);
    if (parts != ready)
        gcrt_verify_complain(v, "sum.memory", "%llu bytes are ready, their owners count %llu",
                (unsigned long long)ready, (unsigned long long)parts);
}

/* ---- objects and bytes ---- */

static uint64_t
taken_of_class(const struct gc_heap *heap, unsigned class)
{
    uint64_t n = 0;

    for (const struct p *p = all_ps(heap); p != NULL; p = p->next_all)
        n += aword_load_relaxed(&p->cache.slots[class]);
    return n;
}

static void
check_slots(struct verifier *v)
{
    const struct mheap *h = &v->heap->mheap;

    for (unsigned class = 1; class < NUM_CLASSES; class++) {
        uint64_t taken = taken_of_class(v->heap, class);
        uint64_t frees = aword_load_relaxed(&h->small_frees[class]);

        if (taken - frees != v->slots[class])
            gcrt_verify_complain(v, "sum.slots",
                    "class %u: %llu slots taken, %llu freed, %llu allocated", class,
                    (unsigned long long)taken, (unsigned long long)frees,
                    (unsigned long long)v->slots[class]);
    }
}

static void
check_spans(struct verifier *v)
{
    for (unsigned class = 1; class < NUM_CLASSES; class++) {
        uint64_t counted = aword_load_relaxed(&v->heap->mheap.small_spans[class]);

        if (counted != v->spans[class])
            gcrt_verify_complain(v, "sum.slots", "class %u: %llu spans, counted as %llu", class,
                    (unsigned long long)v->spans[class], (unsigned long long)counted);
    }
}

static void
check_large(struct verifier *v)
{
    const struct mheap *h = &v->heap->mheap;
    uint64_t spans = aword_load_relaxed(&h->large_allocs) - aword_load_relaxed(&h->large_frees);
    uint64_t bytes = aword_load_relaxed(&h->large_alloc_bytes)
        - aword_load_relaxed(&h->large_free_bytes);

    if (spans != v->larges || bytes != v->large_pages << PAGE_SHIFT)
        gcrt_verify_complain(v, "sum.large",
                "%llu large spans of %llu bytes, counted as %llu of %llu",
                (unsigned long long)v->larges, (unsigned long long)v->large_pages << PAGE_SHIFT,
                (unsigned long long)spans, (unsigned long long)bytes);
}

/* What heap->live says beyond what was taken: constant from one cycle's end to the next's. */
static uint64_t
live_balance(const struct gc_heap *heap)
{
    uint64_t x = aword_load_relaxed(&heap->mheap.live)
        + aword_load_relaxed(&heap->mheap.dropped_live)
        - aword_load_relaxed(&heap->mheap.large_alloc_bytes);

    for (unsigned class = 1; class < NUM_CLASSES; class++)
        x -= taken_of_class(heap, class) * gcrt_class_bytes[class];
    for (const struct p *p = all_ps(heap); p != NULL; p = p->next_all)
        x += p->cache.debt;
    return x;
}

/* sweepgen advances when a cycle has settled heap->live. */
static void
check_live(struct verifier *v)
{
    struct verify_live *last = &v->heap->verify_live;
    unsigned sweepgen = ahalf_load_relaxed(&v->heap->mheap.sweepgen);
    uint64_t balance = live_balance(v->heap);

    if (last->sweepgen == sweepgen && last->balance != balance)
        gcrt_verify_complain(v, "sum.live",
                "heap->live has moved by %lld bytes that nobody took or gave back",
                (long long)(balance - last->balance));
    if (!v->broken)
        *last = (struct verify_live){ .sweepgen = sweepgen, .balance = balance };
}

/* ---- mutators and Ps ---- */

static void
check_phase(struct verifier *v, const struct gcrt_mutator *m)
{
    const struct verify_rules *r = v->rules;
    uint32_t barrier = heap_stops(v->heap) ? (uint32_t)BARRIER_OFF : r->barrier;

    if (barrier_state(m->self) != barrier || m->p->cache.black != r->black)
        gcrt_verify_complain(v, "mutator.phase", "thread %d has barrier %u, black %d %s", m->tid,
                barrier_state(m->self), m->p->cache.black, r->when);
    if (m->self->store != mutator_store_word(m))
        gcrt_verify_complain(v, "mutator.store", "thread %d has store word %#x, barrier %u", m->tid,
                m->self->store, m->self->barrier);
    if (!r->shaded && m->nbarrier != 0)
        gcrt_verify_complain(v, "mutator.phase", "thread %d has %u shaded words %s", m->tid,
                m->nbarrier, r->when);
}

static void
check_mutators(struct verifier *v)
{
    const struct registry *r = &v->heap->registry;
    const struct gcrt_mutator *m;
    uint32_t n = 0;

    RCU_LIST_EACH(struct gcrt_mutator, m, &r->mutators, node) {
        n++;
        check_phase(v, m);
    }
    if (n != r->count)
        gcrt_verify_complain(v, "mutator.list", "%u mutators in the list, %u counted", n,
                r->count);
}

static bool
is_empty(const struct mcache *mc)
{
    for (uint32_t i = 0; i <= mc->table->mask; i++)
        if (mc->table->cold[i].span != NULL)
            return false;
    return mc->pages.free == 0 && mc->debt == 0 && !mc->black && mc->tiny == mc->tiny_end;
}

/* Idle Ps are among all and empty. */
static void
check_idle_ps(struct verifier *v)
{
    struct ps *ps = &v->heap->ps;
    uint32_t all = 0, idle = 0;

    gcrt_lock_acquire(&ps->lock);
    for (const struct p *p = ps->all; p != NULL; p = p->next_all)
        all++;
    for (const struct p *p = ps->idle; p != NULL && idle <= all; p = p->next_idle, idle++)
        if (!is_empty(&p->cache))
            gcrt_verify_complain(v, "mutator.list", "an idle P is not empty");
    if (all != ps->count || idle > all)
        gcrt_verify_complain(v, "mutator.list", "%u Ps, %u counted, %u idle", all, ps->count,
                idle);
    gcrt_lock_release(&ps->lock);
}

/* ---- work buffers ---- */

static bool
has_work(const struct workqueue *q)
{
    return (q->cur != NULL && q->cur->n != 0) || (q->spare != NULL && q->spare->n != 0);
}

static void
check_queues(struct verifier *v)
{
    const struct work *w = &v->heap->work;
    const struct gcrt_mutator *m;

    for (uint32_t i = 0; i < w->nstacks; i++)
        if ((uint32_t)aword_load_relaxed(&w->full[i].top) != 0)
            gcrt_verify_complain(v, "work.idle", "grey objects on stack %u %s", i,
                    v->rules->when);
    RCU_LIST_EACH(struct gcrt_mutator, m, &v->heap->registry.mutators, node)
        if (has_work(&m->marker.queue))
            gcrt_verify_complain(v, "work.idle", "thread %d holds grey objects %s", m->tid,
                    v->rules->when);
}

/* Nobody holds a buffer: each that was ever taken is on the free stack. */
static void
check_buffers(struct verifier *v)
{
    const struct work *w = &v->heap->work;
    uint64_t used = aword_load_relaxed(&w->used) - 1, n = 0;
    uint32_t at = (uint32_t)aword_load_relaxed(&w->free.top);

    for (; at != 0 && at <= used && n <= used; at = ahalf_load_relaxed(&w->pool[at].next))
        n++;
    if (at != 0 || n != used || (uint32_t)aword_load_relaxed(&w->raw.top) != 0)
        gcrt_verify_complain(v, "work.idle", "%llu free work buffers of %llu, raw ones: %s",
                (unsigned long long)n, (unsigned long long)used,
                (uint32_t)aword_load_relaxed(&w->raw.top) != 0 ? "some" : "none");
}

void
gcrt_verify_sums(struct verifier *v)
{
    check_pages(v);
    check_memory(v);
    check_slots(v);
    check_spans(v);
    check_large(v);
    check_live(v);
    check_mutators(v);
    check_idle_ps(v);
    if (!v->rules->grey)
        check_queues(v);
    if (!v->rules->grey && !v->rules->shaded)
        check_buffers(v);
}
