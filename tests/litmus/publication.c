/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what is initialised is seen by who meets its address (I-publish).
 *
 *   object   the body, publish_barrier, a plain store of the address / a dependent load
 *   run      a zeroed and marked run, its span's free index released / span_is_allocated
 *   span     a descriptor, its head released / mheap_span_of of any word
 *   grow     a descriptor, the heap's limit released / mheap_contains, then the descriptor
 *
 * Place: the real inline functions of src/alloc; install_run, describe and grow_locked in
 * small.
 *
 * Concurrency: one writer, one reader.
 *
 * Controls: the same with the publishing store first.
 */
#include "alloc/mheap.h"
#include "litmus.h"

#define NELEMS 42u

static struct cell {
    uintptr_t slot;
    uintptr_t object[4];
    uintptr_t words[4]; /* of a run's only slot */
    uintptr_t seen[4];
    bool met;
    struct mspan span;
    struct mheap heap;
} cells[LITMUS_CELLS] CACHE_ALIGNED;

static void
reset(size_t i)
{
    struct cell *c = &cells[i];

    *c = (struct cell){ .words = { 1, 1, 1, 1 }, .heap.base = 0x10000 };
    c->heap.spans = &c->span;
    aword_store_relaxed(&c->heap.limit, PAGE_SIZE);
}

static bool
met_with_old(size_t i, uintptr_t wanted)
{
    const struct cell *c = &cells[i];

    for (size_t k = 0; c->met && k < 4; k++)
        if (c->seen[k] != wanted)
            return true;
    return false;
}

/* ---- object ---- */

static void
initialise(struct cell *c)
{
    for (size_t k = 0; k < 4; k++)
        c->object[k] = 7;
}

static void
object_write(size_t i)
{
    initialise(&cells[i]);
    publish_barrier();
    slot_store_relaxed(&cells[i].slot, (uintptr_t)cells[i].object);
}

static void
object_write_weak(size_t i)
{
    slot_store_relaxed(&cells[i].slot, (uintptr_t)cells[i].object);
    publish_barrier();
    initialise(&cells[i]);
}

static void
object_read(size_t i)
{
    uintptr_t p = slot_load(&cells[i].slot);

    cells[i].met = p != 0;
    for (size_t k = 0; p != 0 && k < 4; k++)
        cells[i].seen[k] = slot_load((const uintptr_t *)p + k);
}

static bool
object_bad(size_t i)
{
    return met_with_old(i, 7);
}

/* ---- run ---- */

static void
run_fill(struct cell *c)
{
    for (size_t k = 0; k < 4; k++)
        slot_store_relaxed(&c->words[k], 0);
    aword_or_relaxed(&c->span.mark.bits[0], 1);
}

static void
run_write(size_t i)
{
    run_fill(&cells[i]);
    ahalf_store_release(&cells[i].span.freeindex, 1); /* as install_run does */
}

static void
run_write_weak(size_t i)
{
    ahalf_store_relaxed(&cells[i].span.freeindex, 1);
    publish_barrier();
    run_fill(&cells[i]);
}

static void
run_read(size_t i)
{
    struct cell *c = &cells[i];

    c->met = span_is_allocated(&c->span, 0);
    for (size_t k = 0; k < 4; k++)
        c->seen[k] = slot_load(&c->words[k]);
    if (!span_test(c->span.mark.bits, 0))
        c->seen[0] = 1;
}

static bool
run_bad(size_t i)
{
    return met_with_old(i, 0);
}

/* ---- span ---- */

static void
span_fill(struct cell *c)
{
    c->span.nelems = NELEMS;
    c->span.divmagic = NELEMS;
    c->span.kind = NELEMS;
    ahalf_store_relaxed(&c->span.freeindex, NELEMS);
}

static void
span_write(size_t i)
{
    span_fill(&cells[i]);
    ahalf_store_release(&cells[i].span.head, SPAN_SMALL); /* as gcrt_mheap_alloc_small does */
}

static void
span_write_weak(size_t i)
{
    ahalf_store_relaxed(&cells[i].span.head, SPAN_SMALL);
    publish_barrier();
    span_fill(&cells[i]);
}

static void
span_look(struct cell *c, const struct mspan *s)
{
    c->seen[0] = __atomic_load_n(&s->nelems, __ATOMIC_RELAXED);
    c->seen[1] = __atomic_load_n(&s->divmagic, __ATOMIC_RELAXED);
    c->seen[2] = __atomic_load_n(&s->kind, __ATOMIC_RELAXED);
    c->seen[3] = ahalf_load_relaxed(&s->freeindex);
}

static void
span_read(size_t i)
{
    struct cell *c = &cells[i];
    const struct mspan *s = mheap_span_of(&c->heap, c->heap.base + 8);

    c->met = s != NULL;
    if (s != NULL)
        span_look(c, s);
}

static bool
span_bad(size_t i)
{
    return met_with_old(i, NELEMS);
}

/* ---- grow ---- */

static void
grow_reset(size_t i)
{
    reset(i);
    aword_store_relaxed(&cells[i].heap.limit, 0);
}

static void
grow_write(size_t i)
{
    span_fill(&cells[i]);
    aword_store_release(&cells[i].heap.limit, PAGE_SIZE); /* as grow_locked does */
}

static void
grow_write_weak(size_t i)
{
    aword_store_relaxed(&cells[i].heap.limit, PAGE_SIZE);
    publish_barrier();
    span_fill(&cells[i]);
}

static void
grow_read(size_t i)
{
    struct cell *c = &cells[i];

    c->met = mheap_contains(&c->heap, c->heap.base + 8);
    span_look(c, mheap_descriptor(&c->heap, 8));
}

static const struct litmus tests[] = {
    { "object", 2, false, reset, { object_write, object_read }, object_bad },
    { "run", 2, false, reset, { run_write, run_read }, run_bad },
    { "span", 2, false, reset, { span_write, span_read }, span_bad },
    { "grow", 2, false, grow_reset, { grow_write, grow_read }, span_bad },
    { "object_weak", 2, true, reset, { object_write_weak, object_read }, object_bad },
    { "run_weak", 2, true, reset, { run_write_weak, run_read }, run_bad },
    { "span_weak", 2, true, reset, { span_write_weak, span_read }, span_bad },
    { "grow_weak", 2, true, grow_reset, { grow_write_weak, grow_read }, span_bad },
};

int
main(int argc, char **argv)
{
    return litmus_main("litmus_publication", argc, argv, tests, sizeof tests / sizeof tests[0]);
}
