/* SPDX-License-Identifier: MIT */
/*
 * The central lists.
 *
 * Purpose: give a P a span with free slots, preferring swept ones, then unswept ones that
 * it sweeps itself, then a fresh one; take spans back.
 * Place: mcache calls it; it calls sweep and mheap.
 * Invariants: I-sweepgen.  Every span taken out of an unswept set is swept before anything
 * else is done with it.
 * Concurrency: sets are lock-free.  Each function reads the heap's sweepgen once; the
 * header says why a value that goes stale meanwhile does no harm.
 * Cost: a few compare-and-swaps; at most SWEEP_BUDGET spans are swept in vain, so the
 * latency is bounded and about 1 % of space may wait for the background sweep.
 */
#include "alloc/mcentral.h"

#include "alloc/mheap.h"
#include "alloc/sweep.h"

#define SWEEP_BUDGET 100

static unsigned
swept_side(unsigned sweepgen)
{
    return sweepgen / 2 % 2;
}

static bool
has_free_slot(struct mspan *s)
{
    return span_next_free(s, ahalf_load_relaxed(&s->freeindex)) < s->nelems;
}

void
gcrt_mcentral_put_swept(struct mheap *h, struct mcentral *c, struct mspan *s, unsigned sweepgen)
{
    struct spanset *sets = has_free_slot(s) ? c->partial : c->full;

    gcrt_spanset_push(&sets[swept_side(sweepgen)], h->spans, s);
}

/* The heap's sweepgen; whoever advances it has finished marking. */
static unsigned
heap_sweepgen(const struct mheap *h)
{
    return ahalf_load_acquire(&h->sweepgen); /* pairs: sweepgen.advance */
}

/* A span of the unswept side as of `sweepgen`, or NULL. */
static struct mspan *
pop_unswept(struct mheap *h, struct mcentral *c, unsigned sweepgen)
{
    unsigned side = 1 - swept_side(sweepgen);
    struct mspan *s = gcrt_spanset_pop(&c->partial[side], h->spans);

    return s != NULL ? s : gcrt_spanset_pop(&c->full[side], h->spans);
}

struct mspan *
gcrt_mcentral_claim(struct mheap *h, struct mcentral *c, unsigned *sweepgen)
{
    struct mspan *s;

    while ((s = pop_unswept(h, c, heap_sweepgen(h))) != NULL) {
        *sweepgen = heap_sweepgen(h);
        if (LIKELY(ahalf_cas_acquire(&s->sweepgen, *sweepgen - 2, *sweepgen - 1))) {
            chaos_point(h->os, CHAOS_SWEEP_CLAIM);
            return s;
        }
        /* The side was chosen just before sweepgen advanced: s has been swept already. */
        CHECK(ahalf_load_relaxed(&s->sweepgen) == *sweepgen);
        gcrt_mcentral_put_swept(h, c, s, *sweepgen);
    }
    return NULL;
}

/*
 * A span of c that sweeping made or left partly free, or NULL when there is none or the
 * budget is used up.  *sweepgen receives the value that it was swept for.
 */
static struct mspan *
sweep_for_space(struct mheap *h, struct mcentral *c, unsigned *sweepgen)
{
    unsigned side = 1 - swept_side(heap_sweepgen(h));
    struct mspan *s, *found = NULL;

    if (spanset_is_empty(&c->partial[side]) && spanset_is_empty(&c->full[side]))
        return NULL;
    sweep_begin(h);
    for (int budget = SWEEP_BUDGET; found == NULL && budget > 0; budget--) {
        s = gcrt_mcentral_claim(h, c, sweepgen);
        if (s == NULL)
            break;
        if (gcrt_sweep_span(h, s, *sweepgen) < s->nelems)
            found = s;
        else
            gcrt_mcentral_put_swept(h, c, s, *sweepgen);
    }
    sweep_end(h);
    return found;
}

struct mspan *
gcrt_mcentral_take(struct mheap *h, struct mcentral *c, struct pagecache *cache)
{
    unsigned sweepgen = heap_sweepgen(h);
    struct mspan *s = gcrt_spanset_pop(&c->partial[swept_side(sweepgen)], h->spans);

    if (s == NULL)
        s = sweep_for_space(h, c, &sweepgen);
    if (s == NULL) {
        sweep_for_pages(h, gcrt_class_pages[c->sizeclass]);
        sweepgen = heap_sweepgen(h);
        s = gcrt_mheap_alloc_small(h, c, sweepgen, cache);
    }
    if (s != NULL)
        ahalf_store_release(&s->sweepgen, sweepgen + 3);
    return s;
}

void
gcrt_mcentral_give(struct mheap *h, struct mcentral *c, struct mspan *s)
{
    unsigned sweepgen = heap_sweepgen(h);

    if (ahalf_load_relaxed(&s->sweepgen) == sweepgen + 1) { /* stale: cached before the sweep */
        sweep_begin(h);
        ahalf_store_release(&s->sweepgen, sweepgen - 1);
        if (gcrt_sweep_span(h, s, sweepgen) == 0)
            gcrt_mheap_free(h, s);
        else
            gcrt_mcentral_put_swept(h, c, s, sweepgen);
        sweep_end(h);
        return;
    }
    CHECK(ahalf_load_relaxed(&s->sweepgen) == sweepgen + 3);
    ahalf_store_release(&s->sweepgen, sweepgen);
    gcrt_mcentral_put_swept(h, c, s, sweepgen);
}
