/* SPDX-License-Identifier: MIT */
/*
 * The verifier: who holds each span and each page.
 *
 * Purpose: a span that two hold is handed out twice, one that nobody holds is lost.
 * Place: verify calls it when the spans themselves are right.
 * Invariants checked, by tag:
 *   span.filed     each span in use is in exactly one set of its kind's mcentral, the one
 *                  that its sweepgen and its free slots say, or cached by exactly one P
 *   cache.run      a run lies in its entry's span, ends at its free index, is free, and zero
 *                  unless it is for uninitialised bytes
 *   cache.tiny     the current tiny block lies in an allocated slot of its kind
 *   pages.owner    each grown page is in one span, or in one P's window, or free
 *   I-own-snapshot while mutators are black, the rest of each run is marked
 * Concurrency: all mutators are held.
 * Cost: linear in the spans, the entries of run tables, and the bytes of unused runs.
 */
#include "gc/verifier.h"

/* ---- sets ---- */

static bool
has_free_slot(struct mspan *s)
{
    return span_next_free(s, ahalf_load_relaxed(&s->freeindex)) < s->nelems;
}

/* Does s, whose page says that it is a span, belong in this set? */
static bool
belongs(const struct verifier *v, const struct mcentral *c, struct mspan *s, bool full,
        bool swept)
{
    unsigned h = ahalf_load_relaxed(&v->heap->mheap.sweepgen);

    return s->kind == c->index && has_free_slot(s) == !full
        && ahalf_load_relaxed(&s->sweepgen) == (swept ? h : h - 2);
}

static void
check_set(struct verifier *v, const struct mcentral *c, const struct spanset *set, bool full,
        bool swept)
{
    struct mspan *spans = v->heap->mheap.spans;
    uint32_t at = (uint32_t)aword_load_relaxed(&set->top);

    while (at != 0 && !v->broken) {
        size_t page = at - 1;

        if (page >= v->npages || v->place[page] != PLACE_SPAN)
            gcrt_verify_complain(v, "span.filed",
                    "the %s %s set of kind %u has page %zu, where no span begins that is not "
                    "filed elsewhere", swept ? "swept" : "unswept", full ? "full" : "partial",
                    c->index, page);
        else if (!belongs(v, c, &spans[page], full, swept))
            gcrt_verify_complain(v, "span.filed",
                    "span %#lx of kind %u, sweepgen %u, free index %u of %u does not belong in "
                    "the %s %s set of kind %u", verify_start(v, &spans[page]),
                    spans[page].kind, ahalf_load_relaxed(&spans[page].sweepgen),
                    ahalf_load_relaxed(&spans[page].freeindex), spans[page].nelems,
                    swept ? "swept" : "unswept", full ? "full" : "partial", c->index);
        else {
            v->place[page] = PLACE_FILED;
            at = ahalf_load_relaxed(&spans[page].next);
        }
    }
}

static void
check_central(struct verifier *v, const struct mcentral *c)
{
    unsigned swept = ahalf_load_relaxed(&v->heap->mheap.sweepgen) / 2 % 2;

    for (unsigned side = 0; side < 2; side++) {
        check_set(v, c, &c->partial[side], false, side == swept);
        check_set(v, c, &c->full[side], true, side == swept);
    }
}

/* ---- caches ---- */

static bool
all_marked(struct mspan *s, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (!span_test(span_marks(s), i))
            return false;
    return true;
}

/* Are the slots [from, to) of the run free, and zero if they must be? */
RACY_READER static bool
is_fresh(struct mspan *s, const struct gc_impl_run *run, size_t from, size_t to)
{
    uintptr_t start = (uintptr_t)run->next, end = (uintptr_t)run->end;

    if (span_next_used(s, from) < to)
        return false;
    for (; !key_is_raw(run->key) && start < end; start += WORD)
        if (RACY_READ(start) != 0)
            return false;
    return true;
}

static void
check_run(struct verifier *v, const struct mcache *mc, const struct gc_impl_run *run,
        struct mspan *s)
{
    uintptr_t start = span_start(&v->heap->mheap, s);
    uintptr_t next = (uintptr_t)run->next, end = (uintptr_t)run->end;
    size_t size = gcrt_class_bytes[s->sizeclass], from, to;

    from = (next - start) / size;
    to = (end - start) / size;
    if (run->size != size || next < start || next > end || (next - start) % size != 0
            || (end - start) % size != 0 || to != ahalf_load_relaxed(&s->freeindex))
        gcrt_verify_complain(v, "cache.run",
                "run [%#lx, %#lx) of %zu-byte slots in span %#lx, whose free index is %u",
                (unsigned long)next, (unsigned long)end, (size_t)run->size, verify_start(v, s),
                ahalf_load_relaxed(&s->freeindex));
    else if (!is_fresh(s, run, from, to))
        gcrt_verify_complain(v, "cache.run",
                "run [%#lx, %#lx) in span %#lx of %s is not free and zero; something wrote "
                "behind an object", (unsigned long)next, (unsigned long)end, verify_start(v, s),
                kind_of(v->heap, s)->type->name);
    else if (v->rules->black && mc->black && !all_marked(s, from, to))
        gcrt_verify_complain(v, "I-own-snapshot",
                "run [%#lx, %#lx) in span %#lx of %s is not black", (unsigned long)next,
                (unsigned long)end, verify_start(v, s), kind_of(v->heap, s)->type->name);
}

static void
check_entry(struct verifier *v, const struct mcache *mc, const struct mcache_table *t,
        uint32_t i)
{
    const struct gc_impl_run *run = &t->runs[i];
    struct mspan *s = t->cold[i].span;
    size_t page = s == NULL ? 0 : (size_t)(s - v->heap->mheap.spans);

    if (s == NULL) {
        if (run_left(run) != 0)
            gcrt_verify_complain(v, "cache.run", "run [%p, %p) of no span", (void *)run->next,
                    (void *)run->end);
        return;
    }
    if (page >= v->npages || v->place[page] != PLACE_SPAN
            || s->kind != t->cold[i].central->index
            || ahalf_load_relaxed(&s->sweepgen)
                    != ahalf_load_relaxed(&v->heap->mheap.sweepgen) + 3) {
        gcrt_verify_complain(v, "span.filed",
                "a P caches page %zu for kind %u, where no span of it begins, or one that is "
                "held elsewhere or not cached", page, t->cold[i].central->index);
        return;
    }
    v->place[page] = PLACE_CACHED;
    check_run(v, mc, run, s);
}

static void
check_tiny(struct verifier *v, const struct mcache *mc)
{
    const struct mheap *h = &v->heap->mheap;
    uintptr_t last = mc->tiny_end - 1;
    struct mspan *s;
    size_t i;

    if (mc->tiny == mc->tiny_end)
        return;
    s = mheap_span_of(h, last);
    i = s == NULL ? 0 : span_object_index(h, s, last);
    if (mc->tiny > mc->tiny_end || s == NULL || kind_of(v->heap, s)->key != kind_key_tiny()
            || i >= s->nelems || !span_is_allocated(s, i) || mc->tiny < span_object(h, s, i))
        gcrt_verify_complain(v, "cache.tiny", "tiny block [%#lx, %#lx)",
                (unsigned long)mc->tiny, (unsigned long)mc->tiny_end);
}

/* Pages of a window are in no span and in no other window. */
static void
check_window(struct verifier *v, const struct pagecache *pages)
{
    for (uint64_t left = pages->free; left != 0; left &= left - 1) {
        size_t page = pages->base + bit_lowest(left);

        if (page >= v->npages || v->place[page] != PLACE_NONE) {
            gcrt_verify_complain(v, "pages.owner",
                    "page %zu of a P's window is in a span or in another window", page);
            return;
        }
        v->place[page] = PLACE_WINDOW;
    }
    if (pages->scavenged & ~pages->free)
        gcrt_verify_complain(v, "pages.owner", "a window has clean pages that it does not have");
}

static void
check_cache(struct verifier *v, const struct mcache *mc)
{
    const struct mcache_table *t = mc->table;

    for (uint32_t i = 0; i <= t->mask && !v->broken; i++)
        check_entry(v, mc, t, i);
    check_tiny(v, mc);
    check_window(v, &mc->pages);
}

/* ---- what is left ---- */

static bool
is_free(const struct pagealloc *pa, size_t page)
{
    return bits_test(pa->chunk[page / CHUNK_PAGES].free, page % CHUNK_PAGES);
}

static void
check_places(struct verifier *v)
{
    struct mheap *h = &v->heap->mheap;

    gcrt_lock_acquire(&h->scavenging); /* nothing is on its way to the OS */
    gcrt_lock_acquire(&h->lock);
    for (size_t page = 0; page < v->npages && !v->broken; page++) {
        bool held = v->place[page] != PLACE_NONE;

        if (v->place[page] == PLACE_SPAN)
            gcrt_verify_complain(v, "span.filed",
                    "span %#lx of kind %u, sweepgen %u, is in no set and no cache",
                    verify_start(v, &h->spans[page]), h->spans[page].kind,
                    ahalf_load_relaxed(&h->spans[page].sweepgen));
        else if (is_free(&h->pages, page) == held)
            gcrt_verify_complain(v, "pages.owner", "page %zu is %s", page,
                    held ? "in a span or window, and free" : "handed out to nobody");
    }
    gcrt_lock_release(&h->lock);
    gcrt_lock_release(&h->scavenging);
}

/* ---- registered stacks ---- */

/* When nothing is grey and barriers are on, marking is complete. */
static void
check_parked(void *arg, struct gc_stack *s)
{
    struct verifier *v = arg;
    uint64_t cycle = aword_load_relaxed(&v->heap->cycles.started);

    v->stacks++;
    if (v->rules->barrier != 0 && !v->rules->grey && aword_load_relaxed(&s->cycle) != cycle)
        gcrt_verify_complain(v, "stack.seen", "the parked stack at %#lx was last scanned in "
                "cycle %llu, this is %llu", (unsigned long)s->extent.lo,
                (unsigned long long)aword_load_relaxed(&s->cycle), (unsigned long long)cycle);
}

static void
check_stacks(struct verifier *v)
{
    uint64_t n = aword_load_relaxed(&v->heap->fibers.count);

    gcrt_fibers_visit(v->heap, check_parked, v);
    if (v->stacks > n)
        gcrt_verify_complain(v, "stack.count", "%llu stacks are parked, %llu registered",
                (unsigned long long)v->stacks, (unsigned long long)n);
}

void
gcrt_verify_lists(struct verifier *v)
{
    const struct mheap *h = &v->heap->mheap;
    unsigned n = ahalf_load_relaxed(&h->ncentrals);
    const struct p *p = __atomic_load_n(&v->heap->ps.all, __ATOMIC_ACQUIRE); /* pairs: p.publish */

    for (unsigned i = 0; i < n && !v->broken; i++)
        check_central(v, h->centrals[i]);
    for (; p != NULL && !v->broken; p = p->next_all)
        check_cache(v, &p->cache);
    if (!v->broken)
        check_places(v);
    if (!v->broken)
        check_stacks(v);
}
