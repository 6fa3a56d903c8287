/* SPDX-License-Identifier: MIT */
/*
 * Scanning one object.
 *
 * Purpose: find an object's pointers, by its kind's layout, and put them into the batch.
 * Place: mark calls it for all but the plainest objects; trace functions of the host call
 * gc_trace.
 * Invariants: only what lies in [from, to) is read, and each word once.
 * Concurrency: objects are read word by word while their mutators write them (mark.c); the
 * batch is the marker's.
 * Cost: some ten instructions for each word that may be a pointer.
 */
#include "gc/scan.h"

#include "gc/batch.h"
#include "gc/heap.h"
#include "gc/kind.h"

/* What a trace function sees of a marker. */
struct gc_tracer {
    struct marker marker;
};

static void
scan_mask(struct marker *mk, uintptr_t object, uint64_t mask)
{
    struct appender a;

    make_room(mk, 64);
    a = append_begin(mk);
    append_mask(&a, object, mask);
    append_end(mk, &a);
}

RACY_READER static void
scan_all(struct marker *mk, uintptr_t from, uintptr_t to)
{
    while (from + WORD <= to) {
        uintptr_t stop = from + min_size((to - from) & ~(WORD - 1), 64 * WORD);
        struct appender a;

        make_room(mk, 64);
        a = append_begin(mk);
        for (; from < stop; from += WORD)
            append(&a, RACY_READ(from));
        append_end(mk, &a);
        mk->rows = true;
    }
}

RACY_READER static void
scan_tagged_words(struct marker *mk, const gc_decode *decode, uintptr_t from, uintptr_t to)
{
    while (from < to) {
        uintptr_t stop = from + min_size(to - from, 64 * WORD);
        struct appender a;

        make_room(mk, 64);
        a = append_begin(mk);
        for (; from < stop; from += WORD)
            append(&a, gc_decode_word(decode, RACY_READ(from)));
        append_end(mk, &a);
    }
}

/* What lies in [from, to) of the fields of an element at `at`. */
static void
scan_fields(struct marker *mk, uintptr_t at, const gc_type *type, uintptr_t from, uintptr_t to)
{
    const gc_decode *decode = type_decode(type);

    for (size_t i = 0; i < type->nfields; i++) {
        uintptr_t start = at + type->fields[i].offset, end = start + type->fields[i].bytes;

        start = start > from ? start : from;
        end = end < to ? end : to;
        if (start < end && decode == NULL)
            scan_all(mk, start, end);
        else if (start < end)
            scan_tagged_words(mk, decode, start, end);
    }
}

static void
scan_trace(struct marker *mk, uintptr_t object, size_t bytes, const gc_type *type)
{
    type->trace((const void *)object, bytes, (gc_tracer *)(void *)mk);
}

void
gc_trace(gc_tracer *tracer, const void *obj)
{
    struct marker *mk = &tracer->marker;
    struct appender a;

    if (UNLIKELY(mk->report != NULL)) {
        mk->report(mk, (uintptr_t)obj);
        return;
    }
    make_room(mk, 1);
    a = append_begin(mk);
    append(&a, (uintptr_t)obj);
    append_end(mk, &a);
}

RACY_READER void
gc_trace_words(gc_tracer *tracer, const void *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gc_trace(tracer, (const void *)RACY_READ((uintptr_t)words + i * WORD));
}

RACY_READER void
gc_trace_tagged(gc_tracer *tracer, const gc_decode *decode, const void *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uintptr_t word = gc_decode_word(decode, RACY_READ((uintptr_t)words + i * WORD));

        if (word != 0)
            gc_trace(tracer, (const void *)word);
    }
}

/*
 * What elements of a tiled region have in [from, to), and an element with a mask at all if it
 * starts there; origin is element 0, end the region's.  A last incomplete element is padding,
 * and zero.
 */
static void
scan_tiled(struct marker *mk, const struct layout *l, uintptr_t origin, uintptr_t end,
        uintptr_t from, uintptr_t to)
{
    bool whole = l->how == SCAN_TILED;
    uintptr_t first = (from - origin + (whole ? l->elem_bytes - 1 : 0)) / l->elem_bytes;
    uintptr_t at = origin + first * l->elem_bytes;

    for (; at < to && at + l->elem_bytes <= end; at += l->elem_bytes)
        if (whole)
            scan_mask(mk, at, l->mask);
        else
            scan_fields(mk, at, l->type, from, to);
}

/* The part [from, to) of a region that starts at origin and ends at end. */
static void
scan_region(struct marker *mk, const struct layout *l, uintptr_t origin, uintptr_t end,
        uintptr_t from, uintptr_t to)
{
    switch (l->how) {
    case SCAN_NONE:
        break;
    case SCAN_ONE:
        if (from == origin)
            scan_mask(mk, origin, l->mask);
        break;
    case SCAN_ALL:
        scan_all(mk, from, to);
        break;
    case SCAN_TILED:
    case SCAN_FIELDS:
    case SCAN_TAGGED:
        scan_tiled(mk, l, origin, end, from, to);
        break;
    case SCAN_TRACE:
        if (from == origin)
            scan_trace(mk, origin, end - origin, l->type);
        break;
    case SCAN_FLEX:
        UNREACHABLE();
    }
}

static void
scan_flex(struct marker *mk, const struct kind *kind, uintptr_t object, uintptr_t end,
        uintptr_t from, uintptr_t to)
{
    uintptr_t tail = object + kind->type->tail;

    scan_fields(mk, object, kind->type, from, min_size(to, tail));
    if (to > tail)
        scan_region(mk, &kind->tail, tail, end, from > tail ? from : tail, to);
}

void
gcrt_scan_part(struct marker *mk, const struct kind *kind, uintptr_t object, uintptr_t end,
        uintptr_t from, uintptr_t to)
{
    if (kind->layout.how == SCAN_FLEX)
        scan_flex(mk, kind, object, end, from, to);
    else
        scan_region(mk, &kind->layout, object, end, from, to);
    mk->scanned += to - from;
}

void
gcrt_scan_contents(gc_tracer *tracer, const struct kind *kind, uintptr_t object, uintptr_t end)
{
    if (kind->layout.how == SCAN_FLEX)
        scan_flex(&tracer->marker, kind, object, end, object, end);
    else
        scan_region(&tracer->marker, &kind->layout, object, end, object, end);
}
