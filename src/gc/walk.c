/* SPDX-License-Identifier: MIT */
/*
 * Objects, read by their types.
 *
 * Purpose: a second opinion on what an object points to.
 * Place: verify and search call it; it calls trace functions of the host, nothing else.
 * Invariants: reads the type's own fields, one after the other, for one element after the
 * other; no masks, layouts, oblets or prefetching, which are the scanner's and may be wrong.
 * Concurrency: mutators are held.  Words are read racily all the same, because detached
 * threads of the host may be about.
 * Cost: some ten nanoseconds per object and two per word.
 */
#include "gc/walk.h"

#include "gc/ephemeron.h"
#include "gc/kind.h"

struct mspan *
gcrt_walk_find(const struct mheap *h, uintptr_t word, size_t *index)
{
    struct mspan *s = mheap_span_of(h, word);
    size_t offset, i;

    if (s == NULL)
        return NULL;
    offset = word - span_start(h, s);
    if (s->sizeclass == CLASS_LARGE)
        i = offset < s->alloc.large.bytes ? 0 : 1;
    else
        i = offset / gcrt_class_bytes[s->sizeclass];
    *index = i;
    return i < s->nelems && span_is_allocated(s, i) ? s : NULL;
}

/* What a trace function reports. */
static void
take_report(struct marker *mk, uintptr_t word)
{
    struct walk *w = container_of_(mk, struct walk, marker);

    w->edge(w, word, 0);
}

void
gcrt_walk_init(struct walk *w, struct gc_heap *heap,
        void (*edge)(struct walk *w, uintptr_t word, uintptr_t slot))
{
    *w = (struct walk){ .marker.heap = heap, .marker.report = take_report, .edge = edge };
}

RACY_READER static void
walk_words(struct walk *w, uintptr_t from, uintptr_t to)
{
    for (; from + WORD <= to; from += WORD)
        w->edge(w, RACY_READ(from), from);
}

RACY_READER static void
walk_tagged(struct walk *w, uintptr_t from, uintptr_t to, const gc_decode *d)
{
    for (; from + WORD <= to; from += WORD) {
        uintptr_t word = RACY_READ(from);

        if ((word & d->mask) == d->value)
            w->edge(w, word & d->keep, from);
    }
}

static void
walk_fields(struct walk *w, uintptr_t at, const gc_type *type)
{
    for (size_t i = 0; i < type->nfields; i++) {
        uintptr_t from = at + type->fields[i].offset, to = from + type->fields[i].bytes;

        if (type->flags & GC_IMPL_TAGGED)
            walk_tagged(w, from, to, type_decode(type));
        else
            walk_words(w, from, to);
    }
}

/* Elements from `at` on; a last one that is not whole is padding. */
static void
walk_elements(struct walk *w, uintptr_t at, uintptr_t end, const gc_type *type)
{
    if (type->form == GC_FORM_CONSERVATIVE)
        walk_words(w, at, end);
    else if (type->form == GC_FORM_FIELDS)
        for (; at + type->size <= end; at += type->size)
            walk_fields(w, at, type);
}

static void
walk_ephemeron(struct walk *w, const struct gc_ephemeron *e)
{
    uintptr_t key = slot_load_acquire(&e->key); /* pairs: weak.emptied */

    if (key != 0 && w->key_lives(w, key)) /* pairs: ephemeron.value */
        w->edge(w, slot_load_acquire(&e->value), (uintptr_t)&e->value);
}

void
gcrt_walk_object(struct walk *w, struct mspan *s, size_t index)
{
    const gc_type *type = kind_of(w->marker.heap, s)->type;
    uintptr_t at = span_object(&w->marker.heap->mheap, s, index);
    size_t bytes = span_elem_bytes(s);

    if (!s->noscan && !span_is_ready(s))
        return; /* pairs: large.ready; old bytes, which are no object yet or no more */
    w->object = at;
    gcrt_walk_contents(w, type, at, bytes);
}

void
gcrt_walk_contents(struct walk *w, const gc_type *type, uintptr_t at, size_t bytes)
{
    switch (type->form) {
    case GC_FORM_TRACED:
        if (type == &gcrt_ephemeron_type && w->key_lives != NULL)
            walk_ephemeron(w, (const struct gc_ephemeron *)at);
        else
            type->trace((const void *)at, bytes, (gc_tracer *)(void *)&w->marker);
        break;
    case GC_FORM_FLEX:
        walk_fields(w, at, type);
        walk_elements(w, at + type->tail, at + bytes, type->elem);
        break;
    default:
        walk_elements(w, at, at + bytes, type);
        break;
    }
}
