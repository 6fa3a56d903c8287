/* SPDX-License-Identifier: MIT */
/*
 * The verifier: ephemerons and interned bytes.
 *
 * Purpose: find an ephemeron that the fixed point has passed by, and an entry of the intern
 * table that outlives its copy.
 * Place: verify.c calls it; the equations are in docs/invariants.md.
 * Invariants checked here: ephemeron.closed, intern.live, intern.count.
 * Concurrency: all mutators are held, outside of critical sections; what is to be broken and
 * dropped has been.
 * Cost: linear in the pages of the heap, in marked ephemerons and in entries.
 */
#include "gc/ephemeron.h"
#include "gc/intern.h"
#include "gc/verifier.h"
#include "gc/walk.h"

/* Is there an object at p, unmarked? */
static bool
is_white(const struct gc_heap *heap, uintptr_t p)
{
    size_t i;
    struct mspan *s = gcrt_walk_find(&heap->mheap, p, &i);

    return s != NULL && !span_test(span_marks(s), i);
}

/* ---- ephemerons ---- */

static void
check_ephemeron(struct verifier *v, const struct gc_ephemeron *e)
{
    unsigned long at = (unsigned long)(uintptr_t)e;

    if (gcrt_ephemeron_waits(v->heap, e))
        gcrt_verify_complain(v, "ephemeron.closed", "ephemeron %#lx is still filed", at);
    else if (e->key != 0 && is_white(v->heap, e->key))
        gcrt_verify_complain(v, "ephemeron.closed", "ephemeron %#lx is whole, its key %#lx dead",
                at, (unsigned long)e->key);
    else if (e->key != 0 && is_white(v->heap, e->value))
        gcrt_verify_complain(v, "ephemeron.closed",
                "ephemeron %#lx has a marked key, and an unmarked value %#lx", at,
                (unsigned long)e->value);
}

static void
check_ephemerons(struct verifier *v)
{
    const struct mheap *h = &v->heap->mheap;

    for (size_t page = 0; page < v->npages && !v->broken; page++) {
        struct mspan *s = &h->spans[page];

        if (span_state(s) != SPAN_SMALL || kind_of(v->heap, s)->type != &gcrt_ephemeron_type)
            continue;
        for (size_t i = 0; i < s->nelems; i++)
            if (span_test(span_marks(s), i) && span_is_allocated(s, i))
                check_ephemeron(v, (const struct gc_ephemeron *)span_object(h, s, i));
    }
}

/* ---- interned bytes ---- */

static void
check_entry(void *arg, const struct intern_entry *e)
{
    struct verifier *v = arg;

    if (e->copy == 0 || is_white(v->heap, e->copy))
        gcrt_verify_complain(v, "intern.live", "an entry of %zu bytes has the dead copy %#lx", e->n,
                (unsigned long)e->copy);
}

static void
ignore_entry(void *arg, const struct intern_entry *e)
{
    (void)arg;
    (void)e;
}

void
gcrt_verify_weak(struct verifier *v, bool marked)
{
    size_t n = gcrt_intern_visit(v->heap, marked ? check_entry : ignore_entry, v);
    uint64_t count = aword_load_relaxed(&v->heap->interning.count);

    if (n != count)
        gcrt_verify_complain(v, "intern.count", "%zu entries are interned, %llu are counted", n,
                (unsigned long long)count);
    if (marked)
        check_ephemerons(v);
}
