/* SPDX-License-Identifier: MIT */
/*
 * Sweep of one span.
 *
 * Purpose: turn a span's mark bits into its alloc bits.
 * Place: mcentral, the background sweeper and mcache's flush call it; it calls mheap.
 * Invariants: only a span claimed at sweepgen h-1 is swept; it ends at h with free index 0
 * and clean mark bits.  A mark counts only on a slot that was allocated (below the free
 * index, or alloc bit set): runs given back half used leave marks on free slots.
 * I-no-late-mark keeps markers away until the next cycle.
 * Concurrency: the claimer owns the span; storing sweepgen h publishes it (pairs:
 * span.swept, by whoever pops it from a set).
 * Cost: one or two lines per span, no object is touched (unless they are clobbered).
 */
#include "alloc/sweep.h"

#include "alloc/base/tools.h"

#define CLOBBER 0xdeadbeefdeadbeefu
#define SWEEP_FOR_PAGES 64u /* spans that one request for pages sweeps at most */

/* Bits of word w that are allocated slots. */
static uint64_t
allocated_word(const aword *allocs, size_t w, size_t freeindex)
{
    uint64_t is = aword_load_relaxed(&allocs[w]);

    if (freeindex >= w * 64 + 64)
        return ~(uint64_t)0;
    return freeindex <= w * 64 ? is : is | (((uint64_t)1 << freeindex % 64) - 1);
}

static void
clobber(uintptr_t object, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += WORD)
        *(uintptr_t *)(object + i) = CLOBBER; /* nobody else may look at it any more */
}

/* What debug builds and options do to slots that have just died. */
static void
bury_slots(struct mheap *h, struct mspan *s, size_t w, uint64_t dead)
{
    size_t bytes = span_elem_bytes(s);

    for (; dead != 0; dead &= dead - 1) {
        uintptr_t object = span_object(h, s, w * 64 + bit_lowest(dead));

        if (h->clobber && !span_is_dropped(s))
            clobber(object, bytes);
        poison(object, bytes);
    }
}

/* Objects and bytes that died, into the statistics. */
static void
count_frees(struct mheap *h, const struct mspan *s, size_t freed)
{
    if (freed == 0)
        return;
    if (s->sizeclass == CLASS_LARGE) {
        aword_add_relaxed(&h->large_frees, 1);
        aword_add_relaxed(&h->large_free_bytes, s->alloc.large.npages << PAGE_SHIFT);
    } else {
        aword_add_relaxed(&h->small_frees[s->sizeclass], freed);
    }
}

size_t
gcrt_sweep_span(struct mheap *h, struct mspan *s, unsigned sweepgen)
{
    size_t freeindex = ahalf_load_relaxed(&s->freeindex);
    size_t words = span_words(s), live = 0, allocated = 0;
    aword *marks = span_marks(s), *allocs = span_allocs(s);

    CHECK(ahalf_load_relaxed(&s->sweepgen) == sweepgen - 1);
    for (size_t w = 0; w < words; w++) {
        uint64_t was = allocated_word(allocs, w, freeindex);
        uint64_t is = was & aword_load_relaxed(&marks[w]);

        if (is != 0)
            live += bit_count(is);
        allocated += bit_count(was);
        if (UNLIKELY(h->clobber || GCRT_POISON) && was != is)
            bury_slots(h, s, w, was & ~is);
        aword_store_relaxed(&allocs[w], is);
        aword_store_relaxed(&marks[w], 0);
    }
    if (allocated != live)
        s->needzero = 1;
    count_frees(h, s, allocated - live);
    ahalf_store_release(&s->freeindex, 0); /* who sees it sees the bits that count from now on */
    aword_add_relaxed(&h->swept_spans, 1);
    ahalf_store_release(&s->sweepgen, sweepgen); /* pairs: span.swept */
    return live;
}

/* One call's work: it ends with so many spans, or when so many pages came free. */
struct sweep {
    struct mheap *h;
    struct pagecache window; /* pages on their way back */
    unsigned spans;          /* to sweep yet */
    size_t pages;            /* to free yet */
};

static bool
is_over(const struct sweep *w)
{
    return w->spans == 0 || w->pages == 0;
}

static void
free_span(struct sweep *w, struct mspan *s)
{
    size_t npages = span_npages(s);

    gcrt_mheap_free_into(w->h, s, &w->window);
    w->pages -= min_size(w->pages, npages);
}

/* Spans of c are filed, or end in the window. */
static void
sweep_kind(struct sweep *w, struct mcentral *c)
{
    struct mspan *s;
    unsigned sweepgen;

    for (; !is_over(w) && (s = gcrt_mcentral_claim(w->h, c, &sweepgen)) != NULL; w->spans--)
        if (gcrt_sweep_span(w->h, s, sweepgen) == 0)
            free_span(w, s);
        else
            gcrt_mcentral_put_swept(w->h, c, s, sweepgen);
}

static void
sweep_kinds(struct sweep *w)
{
    struct mheap *h = w->h;
    unsigned n = ahalf_load_acquire(&h->ncentrals); /* pairs: central.publish */
    unsigned start = ahalf_load_relaxed(&h->sweep_cursor);

    sweep_begin(h);
    for (unsigned i = 0; !is_over(w) && i < n; i++) {
        unsigned at = start + i < n ? start + i : start + i - n;

        sweep_kind(w, h->centrals[at]);
        if (is_over(w))
            ahalf_store_relaxed(&h->sweep_cursor, at); /* a hint: stay with this kind */
    }
    gcrt_mheap_flush_freed(h, &w->window); /* before it counts as done */
    sweep_end(h);
}

unsigned
gcrt_sweep_some(struct mheap *h, unsigned max)
{
    struct sweep w = { .h = h, .spans = max, .pages = SIZE_MAX };

    sweep_kinds(&w);
    return max - w.spans;
}

COLD void
gcrt_sweep_for_pages(struct mheap *h, size_t npages)
{
    struct sweep w = { .h = h, .spans = SWEEP_FOR_PAGES, .pages = npages };

    sweep_kinds(&w);
}

bool
gcrt_sweep_is_done(struct mheap *h)
{
    unsigned n = ahalf_load_acquire(&h->ncentrals); /* pairs: central.publish */
    unsigned unswept = 1 - ahalf_load_acquire(&h->sweepgen) / 2 % 2;

    for (unsigned i = 0; i < n; i++)
        if (!spanset_is_empty(&h->centrals[i]->partial[unswept])
                || !spanset_is_empty(&h->centrals[i]->full[unswept]))
            return false;
    /* Acquire: a sweeper counts itself before it pops, so empty sets and a zero after them
     * mean that nobody holds an unswept span. */
    return ahalf_load_acquire(&h->sweepers) == 0;
}
