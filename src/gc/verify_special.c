/* SPDX-License-Identifier: MIT */
/*
 * The verifier: records tied to objects.
 *
 * Purpose: what the table of specials says of an object is so.
 * Place: verify calls it when spans, lists and sums are right.
 * Invariants checked, by tag:
 *   special.table  each record's object is allocated, and the table finds the record by it;
 *                  the counts are those of the shards
 *   special.weak   a record's gc_weak is allocated, of this heap, and has the record's object.
 *                  After H5 it is marked, and no object is marked whose weak references this
 *                  cycle has emptied, unless it had a finalizer
 *   special.alive  after H5 each record's object is marked, but for one that was born since
 *   special.roots  when marking is complete what an object with a finalizer points to is marked
 * Concurrency: all mutators are held; the shards' locks are taken under the registry's.
 * Cost: a look-up for each record.
 */
#include "gc/verifier.h"

#include "gc/special.h"
#include "gc/walk.h"

#include <gcrt/weak.h>

static const char *const names[SPECIAL_KINDS] = {
    [SPECIAL_WEAK] = "weak reference",
    [SPECIAL_CLEANUP] = "cleanup",
    [SPECIAL_FINALIZER] = "finalizer",
};

struct table_check {
    struct walk walk;
    struct verifier *v;
    enum special_kind kind;
    enum verify_edge edge;
    uint64_t n;
};

static bool
is_unmarked(const struct verifier *v, uintptr_t object)
{
    size_t i;
    struct mspan *s = gcrt_walk_find(&v->heap->mheap, object, &i);

    return s != NULL && !span_test(span_marks(s), i);
}

static bool
is_allocated(const struct verifier *v, uintptr_t object)
{
    size_t i;

    return gcrt_walk_find(&v->heap->mheap, object, &i) != NULL;
}

static void
check_weak(struct verifier *v, const struct special *r, bool closed)
{
    const gc_weak *weak = r->arg;

    if (!is_allocated(v, (uintptr_t)weak))
        gcrt_verify_complain(v, "special.weak", "the gc_weak of %#lx at %p is no object",
                (unsigned long)r->object, r->arg);
    else if ((uintptr_t)weak->impl_target != r->object || weak->impl_heap != v->heap)
        gcrt_verify_complain(v, "special.weak", "the gc_weak of %#lx at %p has %p",
                (unsigned long)r->object, r->arg, weak->impl_target);
    else if (closed && is_unmarked(v, (uintptr_t)weak))
        gcrt_verify_complain(v, "special.weak", "the gc_weak of %#lx at %p is unmarked",
                (unsigned long)r->object, r->arg);
}

/* The kind's chains are those of this very record's shard, whose lock is held. */
static void
check_record(void *arg, const struct special *r)
{
    struct table_check *c = arg;
    struct verifier *v = c->v;
    bool closed = c->edge == VERIFY_CLOSED;

    c->n++;
    if (v->broken)
        return;
    if (!is_allocated(v, r->object))
        gcrt_verify_complain(v, "special.table", "a %s has %#lx, which is no object",
                names[c->kind], (unsigned long)r->object);
    else if (!gcrt_special_is_filed(v->heap, c->kind, r))
        gcrt_verify_complain(v, "special.table", "the %s of %#lx is not where it is looked for",
                names[c->kind], (unsigned long)r->object);
    else if (closed && is_unmarked(v, r->object))
        gcrt_verify_complain(v, "special.alive", "%#lx has a %s and is unmarked",
                (unsigned long)r->object, names[c->kind]);
    if (!v->broken && c->kind == SPECIAL_WEAK)
        check_weak(v, r, closed);
}

static void
check_emptied(struct verifier *v)
{
    const struct special *r = v->heap->specials.watched;

    for (; r != NULL && !v->broken; r = r->next)
        if (r->arg == NULL && is_allocated(v, r->object) && !is_unmarked(v, r->object))
            gcrt_verify_complain(v, "special.weak",
                    "%#lx is marked, and its weak reference was emptied",
                    (unsigned long)r->object);
}

static void
check_child(struct walk *w, uintptr_t word, uintptr_t slot)
{
    struct verifier *v = container_of_(w, struct table_check, walk)->v;

    (void)slot;
    if (!v->broken && is_unmarked(v, word))
        gcrt_verify_complain(v, "special.roots",
                "%#lx has a finalizer and points to unmarked %#lx", (unsigned long)w->object,
                (unsigned long)word);
}

static void
check_children(void *arg, const struct special *r)
{
    struct table_check *c = arg;
    size_t i;
    struct mspan *s = gcrt_walk_find(&c->v->heap->mheap, r->object, &i);

    if (s != NULL && !s->noscan)
        gcrt_walk_object(&c->walk, s, i);
}

void
gcrt_verify_specials(struct verifier *v, enum verify_edge edge)
{
    struct gc_heap *heap = v->heap;
    struct table_check c = { .v = v, .edge = edge };

    for (unsigned kind = 0; kind < SPECIAL_KINDS && !v->broken; kind++) {
        uint64_t counted = aword_load_relaxed(&heap->specials.count[kind]);

        c.kind = (enum special_kind)kind;
        c.n = 0;
        gcrt_special_visit(heap, c.kind, check_record, &c);
        if (c.n != counted)
            gcrt_verify_complain(v, "special.table", "%llu records of kind %s, %llu counted",
                    (unsigned long long)c.n, names[kind], (unsigned long long)counted);
    }
    if (edge == VERIFY_CLOSED)
        check_emptied(v);
    if (edge != VERIFY_MARKED || v->broken)
        return;
    gcrt_walk_init(&c.walk, heap, check_child);
    gcrt_special_visit(heap, SPECIAL_FINALIZER, check_children, &c);
}
