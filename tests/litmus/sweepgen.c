/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what sweepgen carries, and mark bits.
 *
 *   advance  who sees the heap's new sweepgen sees the cycle's mark bits (sweepgen.advance)
 *   swept    who sees a span's sweepgen h sees its swept bits (span.swept)
 *   claim    one of two sweepers gets a span
 *   first    of two markers of one object one is first, and exactly one (I-weak-tricolour
 *            rests on it: the first queues the object)
 *   bits     marks of different objects in one word are all there
 *
 * Place: as end_marking, gcrt_sweep_span, gcrt_mcentral_claim and set_mark do it, with the
 * real struct mspan.
 *
 * Concurrency: two threads; three in claim.
 *
 * Controls: the publishing store first; a mark bit by load, or, store.
 */
#include "alloc/mheap.h"
#include "litmus.h"

enum { OLD = 4, NEW = 6 };

static struct cell {
    ahalf heap_gen CACHE_ALIGNED;
    struct mspan span;
    bool won[LITMUS_THREADS];
    unsigned gen;
    uint64_t bits;
} cells[LITMUS_CELLS];

static void
reset(size_t i)
{
    cells[i] = (struct cell){ .gen = 0 };
    ahalf_store_relaxed(&cells[i].heap_gen, OLD);
    ahalf_store_relaxed(&cells[i].span.sweepgen, OLD);
}

/* ---- advance ---- */

static void
advance_coordinator(size_t i)
{
    struct cell *c = &cells[i];

    (void)aword_fetch_or_full(&c->span.mark.bits[0], 2);
    ahalf_store_full(&c->heap_gen, ahalf_load_relaxed(&c->heap_gen) + 2);
}

static void
advance_weak(size_t i)
{
    struct cell *c = &cells[i];

    ahalf_store_relaxed(&c->heap_gen, NEW);
    cpu_relax(); /* or the locked instruction that follows leaves no time to look */
    (void)aword_fetch_or_full(&c->span.mark.bits[0], 2);
}

static void
advance_mutator(size_t i)
{
    cells[i].gen = ahalf_load_acquire(&cells[i].heap_gen);
    cells[i].bits = aword_load_relaxed(&cells[i].span.mark.bits[0]);
}

static bool
bits_missing(size_t i)
{
    return cells[i].gen == NEW && cells[i].bits != 2;
}

/* ---- swept ---- */

static void
swept_sweeper(size_t i)
{
    aword_store_relaxed(&cells[i].span.alloc.bits[0], 2);
    ahalf_store_release(&cells[i].span.sweepgen, NEW);
}

static void
swept_weak(size_t i)
{
    ahalf_store_relaxed(&cells[i].span.sweepgen, NEW);
    publish_barrier();
    aword_store_relaxed(&cells[i].span.alloc.bits[0], 2);
}

static void
swept_other(size_t i)
{
    struct cell *c = &cells[i];

    if (!ahalf_cas_acquire(&c->span.sweepgen, OLD + 1, OLD + 1))
        c->gen = ahalf_load_acquire(&c->span.sweepgen);
    c->bits = aword_load_relaxed(&c->span.alloc.bits[0]);
}

/* ---- claim ---- */

static void
claim(size_t i, unsigned who)
{
    cells[i].won[who] = ahalf_cas_acquire(&cells[i].span.sweepgen, OLD, OLD + 1);
}

static void
claim_weak(size_t i, unsigned who)
{
    cells[i].won[who] = ahalf_load_acquire(&cells[i].span.sweepgen) == OLD;
    ahalf_store_release(&cells[i].span.sweepgen, OLD + 1);
}

static void claim_0(size_t i) { claim(i, 0); }
static void claim_1(size_t i) { claim(i, 1); }
static void claim_2(size_t i) { claim(i, 2); }
static void claim_weak_0(size_t i) { claim_weak(i, 0); }
static void claim_weak_1(size_t i) { claim_weak(i, 1); }

static bool
not_one(size_t i)
{
    return cells[i].won[0] + cells[i].won[1] + cells[i].won[2] != 1;
}

/* ---- mark bits ---- */

static void
first(size_t i, unsigned who)
{
    aword *word = &cells[i].span.mark.bits[0];

    if (!(aword_load_relaxed(word) & 1)) /* as set_mark does */
        cells[i].won[who] = !(aword_fetch_or_full(word, 1) & 1);
}

static void first_0(size_t i) { first(i, 0); }
static void first_1(size_t i) { first(i, 1); }

static void
bits(size_t i, unsigned who)
{
    (void)aword_fetch_or_full(&cells[i].span.mark.bits[0], (uint64_t)1 << who);
}

/* What a black run does, beside a marker. */
static void
bits_run(size_t i)
{
    aword_or_relaxed(&cells[i].span.mark.bits[0], 1);
}

static void
bits_weak(size_t i, unsigned who)
{
    aword *word = &cells[i].span.mark.bits[0];

    aword_store_relaxed(word, aword_load_relaxed(word) | (uint64_t)1 << who);
}

static void bits_1(size_t i) { bits(i, 1); }
static void bits_weak_0(size_t i) { bits_weak(i, 0); }
static void bits_weak_1(size_t i) { bits_weak(i, 1); }

static bool
bit_lost(size_t i)
{
    return aword_load_relaxed(&cells[i].span.mark.bits[0]) != 3;
}

static const struct litmus tests[] = {
    { "advance", 2, false, reset, { advance_coordinator, advance_mutator }, bits_missing },
    { "swept", 2, false, reset, { swept_sweeper, swept_other }, bits_missing },
    { "claim", 3, false, reset, { claim_0, claim_1, claim_2 }, not_one },
    { "first", 2, false, reset, { first_0, first_1 }, not_one },
    { "bits", 2, false, reset, { bits_run, bits_1 }, bit_lost },
    { "advance_weak", 2, true, reset, { advance_weak, advance_mutator }, bits_missing },
    { "swept_weak", 2, true, reset, { swept_weak, swept_other }, bits_missing },
    { "claim_weak", 2, true, reset, { claim_weak_0, claim_weak_1 }, not_one },
    { "bits_weak", 2, true, reset, { bits_weak_0, bits_weak_1 }, bit_lost },
};

int
main(int argc, char **argv)
{
    return litmus_main("litmus_sweepgen", argc, argv, tests, sizeof tests / sizeof tests[0]);
}
