/* SPDX-License-Identifier: MIT */
/*
 * Dropped spans.
 *
 * Purpose: give the memory of a large object back at once, when its owner says that it has
 * ended, and its addresses only when no pointer into it is left.
 * Place: gc/region drops chunks of arenas; sweep, through mheap, frees what was dropped.
 * Invariants: a dropped span is an object as any other to words, marks and sweep; but nothing
 * in it is read by the library.  `released` has its pages from the drop on, `in_use` until the
 * sweep, so mheap.dropped is what lies in both (pages.sum).
 * What a host writes through a pointer that it should not have may back a page again, with
 * something else than zeros.  So the pages are given back once more before they become free,
 * because free pages that count as released must read as zero.
 * Concurrency: dropping is for one thread that knows that the object is not read meanwhile
 * (region.c says how); freeing is for the sweeper that claimed the span.
 * Cost: one system call for each; with guards two.
 *
 * Source: Go's arena experiment, runtime/arena.go, keeps chunks that were freed in quarantine
 * in the same way, until a cycle has found no pointer into them.
 */
#include "alloc/drop.h"

#include "alloc/base/tools.h"

/* What of a span the OS can take alone: its pages may be larger than ours. */
struct part {
    void *start;
    size_t bytes;
};

static struct part
whole_pages(const struct mheap *h, const struct mspan *s)
{
    uintptr_t unit = max_size(gcrt_os_page_size(), PAGE_SIZE), start = span_start(h, s);
    uintptr_t lo = align_up(start, unit);
    uintptr_t hi = align_down(start + (s->alloc.large.npages << PAGE_SHIFT), unit);

    return (struct part){ (void *)lo, hi > lo ? hi - lo : 0 };
}

static void
count_dropped(struct mheap *h, uint64_t bytes)
{
    aword_add_relaxed(&h->dropped, bytes);
    aword_add_relaxed(&h->released, bytes);
}

void
gcrt_drop(struct mheap *h, struct mspan *s, bool guard, bool in_live)
{
    size_t bytes = s->alloc.large.npages << PAGE_SHIFT;
    struct part part = whole_pages(h, s);
    unsigned state = SPAN_DROPPED;

    ahalf_store_release(&s->ready, SPAN_DROPPED); /* pairs: large.ready */
    if (in_live) {
        aword_add_relaxed(&h->dropped_live, bytes);
        aword_add_relaxed(&h->live, (uint64_t)0 - bytes);
    }
    if (part.bytes != 0 && gcrt_os_release(h->os, part.start, part.bytes)) {
        count_dropped(h, part.bytes);
        state = guard && gcrt_os_guard(h->os, part.start, part.bytes) ? SPAN_GUARDED
                                                                      : SPAN_RELEASED;
    }
    poison(span_start(h, s), s->alloc.large.bytes);
    ahalf_store_release(&s->ready, state); /* pairs: large.ready */
}

/* Is that memory usable again, and zero? */
static bool
clean(struct mheap *h, struct part part, unsigned state)
{
    if (state == SPAN_GUARDED && !gcrt_os_unguard(part.start, part.bytes))
        gcrt_fatal("arena=1: the system has no mapping for memory of a freed arena (see "
                   "vm.max_map_count)");
    return state != SPAN_DROPPED && gcrt_os_release(h->os, part.start, part.bytes);
}

void
gcrt_drop_free(struct mheap *h, struct mspan *s)
{
    size_t npages = s->alloc.large.npages, bytes = npages << PAGE_SHIFT;
    size_t page = (size_t)(s - h->spans);
    unsigned state = ahalf_load_relaxed(&s->ready);
    struct part part = whole_pages(h, s);
    bool is_clean = clean(h, part, state) && part.bytes == bytes;

    gcrt_mheap_unlink(h, s, npages);
    chaos_point(h->os, CHAOS_SPAN_FREE);
    poison(h->base + (page << PAGE_SHIFT), bytes);
    gcrt_lock_acquire(&h->lock);
    if (is_clean)
        gcrt_pagealloc_give_clean(&h->pages, page, npages);
    else
        gcrt_pagealloc_free(&h->pages, page, npages);
    gcrt_lock_release(&h->lock);
    aword_add_relaxed(&h->in_use, (uint64_t)0 - bytes);
    if (state != SPAN_DROPPED) {
        aword_add_relaxed(&h->dropped, (uint64_t)0 - part.bytes);
        if (!is_clean)
            aword_add_relaxed(&h->released, (uint64_t)0 - part.bytes);
    }
    aword_add_relaxed(&h->freed_spans, 1);
}
