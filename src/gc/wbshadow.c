/* SPDX-License-Identifier: MIT */
/*
 * wbcheck's shadow.
 *
 * Purpose: know which objects there are, which are published, and what each of their slots
 * was when it was last known to be right; find the words that differ.
 * Place: wbcheck decides when; this file looks, and hands findings to wbreport.
 *
 * Beside the heap lie two arrays with a word for each of its words.  `shadow` has the last
 * value known to be right.  `origin` says for an object's first word that the object exists,
 * where it was allocated, and whether it is published; and for any word of a traced object
 * whether its shadow is a slot's value.
 *
 * A word that differs from its shadow is
 *     - a first store, if the object is unpublished and the shadow no heap pointer: the
 *       shadow learns it, and what it points to is published from then on;
 *     - of no interest, if neither the old nor the new value points into the heap;
 *     - else a missed barrier.
 *
 * Slots are the words that the type names.  In a conservative object they are those whose
 * old or new value points into an allocated object.  Of a traced object only the host knows
 * them: its function is run, and a word is a slot if it points into an object that the
 * function reported, and not more often than it reported it (so an untraced cursor beside a
 * traced pointer to the same object makes no finding).  What the function decodes from
 * anything but an interior pointer is published, but not compared.  Traced objects above
 * 512 KiB are not compared.
 *
 * Invariants: origin is zero but for objects that were born here and have not been found
 * dead.  Such an object is not freed, so under the lock its span is stable.
 * Concurrency: wb->lock.  Words are read while hosts write others of their object; nothing
 * is allocated by malloc, because a held thread may be inside it.
 * Cost: a compare per word; trace functions are run only for objects with a changed word.
 */
#include "gc/wbshadow.h"

#include "gc/kind.h"

#include <string.h>

/* How the pointers of a word's neighbourhood are told from data. */
enum slots { SLOTS_TYPED, SLOTS_CONSERVATIVE, SLOTS_TRACED };

/* ---- words and objects ---- */

/* The span and first byte of the allocated object that word points into; 0 if none. */
static uintptr_t
object_of(struct wbcheck *wb, uintptr_t word, struct mspan **ret)
{
    const struct mheap *h = &wb->heap->mheap;
    size_t i;

    *ret = mheap_find_object(h, word, &i);
    return *ret == NULL ? 0 : span_object(h, *ret, i);
}

bool
gcrt_wbshadow_find(struct wbcheck *wb, uintptr_t word, struct wbview *v)
{
    struct mspan *s;
    uint64_t origin;

    v->start = object_of(wb, word, &s);
    if (v->start == 0 || s->noscan || v->start - wb->heap->mheap.base >= wb->ready)
        return false;
    origin = *wbshadow_origin(wb, v->start);
    if (!(origin & ORIGIN_TRACKED))
        return false;
    v->bytes = span_elem_bytes(s);
    v->type = kind_of(wb->heap, s)->type;
    v->published = (origin & ORIGIN_PUBLISHED) != 0;
    v->lo = v->start;
    v->hi = v->start + v->bytes;
    return true;
}

void
gcrt_wbshadow_remember(struct wbcheck *wb, const struct wbview *v)
{
    if (v->bytes > WBRECENT_BYTES)
        return;
    for (unsigned i = 0; i < WBRECENT; i++)
        if (wb->recent[i] == v->start)
            return;
    wb->recent[wb->next_recent++ % WBRECENT] = v->start;
}

void
gcrt_wbshadow_publish(struct wbcheck *wb, uintptr_t word)
{
    struct wbview v;

    if (!mheap_contains(&wb->heap->mheap, word) || !gcrt_wbshadow_find(wb, word, &v)
            || v.published)
        return;
    if (wb->npending == WBPENDING_MAX)
        return; /* it counts as unpublished: less is found, nothing wrongly */
    *wbshadow_origin(wb, v.start) |= ORIGIN_PUBLISHED;
    wb->pending[wb->npending++] = v.start;
}

/* ---- findings ---- */

static const char *
type_name(struct wbcheck *wb, uintptr_t word)
{
    struct mspan *s;

    return object_of(wb, word, &s) == 0 ? NULL : kind_of(wb->heap, s)->type->name;
}

static void
add_finding(struct wbcheck *wb, const struct wbfinding *what)
{
    struct wbfinding *f;

    if (wb->found.n++ >= WBFINDINGS_MAX)
        return;
    f = &wb->found.kept[wb->found.n - 1];
    *f = *what;
    f->was_type = type_name(wb, f->was);
    f->is_type = type_name(wb, f->is);
}

static void
found_in(struct wbcheck *wb, const struct wbview *v, uintptr_t at, uintptr_t is)
{
    struct wbfinding f = { .type = v->type, .object = v->start, .bytes = v->bytes, .at = at,
        .was = *wbshadow_word(wb, at), .is = is, .published = v->published,
        .site = (uintptr_t)(*wbshadow_origin(wb, v->start) & ORIGIN_SITE) };

    add_finding(wb, &f);
}

/* ---- traced objects ---- */

static struct wbtally *
tally_of(struct wbcheck *wb, uintptr_t object)
{
    size_t i = (size_t)((object >> 3) * 0x9e3779b97f4a7c15u >> 32) & wb->tally_mask;

    while (wb->tally[i].object != 0 && wb->tally[i].object != object)
        i = (i + 1) & wb->tally_mask;
    return &wb->tally[i];
}

/* What the host's function reports comes here in place of a marker's batch. */
static void
take_report(struct marker *mk, uintptr_t word)
{
    struct wbcheck *wb = container_of_(mk, struct wbcheck, tracer);
    struct mspan *s;
    uintptr_t object = object_of(wb, word, &s);
    struct wbtally *t;

    if (object == 0)
        return;
    gcrt_wbshadow_publish(wb, word);
    t = tally_of(wb, object);
    if (t->object != 0)
        t->reports++;
}

/* Fills the table for an object; false if it is too large to be told. */
RACY_READER static bool
take_tally(struct wbcheck *wb, const struct wbview *v)
{
    size_t words = v->bytes / WORD, size = 16;
    struct mspan *s;

    while (size < 2 * words)
        size *= 2;
    if (size > WBTALLY_MAX)
        return false;
    wb->tally_mask = size - 1;
    memset(wb->tally, 0, size * sizeof(wb->tally[0]));
    for (size_t i = 0; i < words; i++) {
        uintptr_t object = object_of(wb, RACY_READ(v->start + i * WORD), &s);
        struct wbtally *t = object == 0 ? NULL : tally_of(wb, object);

        if (t != NULL) {
            t->object = object;
            t->words++;
        }
    }
    v->type->trace((const void *)v->start, v->bytes, (gc_tracer *)(void *)&wb->tracer);
    return true;
}

/* ---- comparing ---- */

/* Does a value make its word a slot that matters? */
static bool
is_pointer(struct wbcheck *wb, enum slots slots, uintptr_t word)
{
    struct mspan *s;
    uintptr_t object;
    const struct wbtally *t;

    if (!mheap_contains(&wb->heap->mheap, word))
        return false;
    if (slots == SLOTS_TYPED)
        return true;
    object = object_of(wb, word, &s);
    if (object == 0 || slots == SLOTS_CONSERVATIVE)
        return object != 0;
    t = tally_of(wb, object);
    return t->reports >= t->words && t->words != 0;
}

/* The word at `at` was known to be *was and is something else now. */
static void
meet_change(struct wbcheck *wb, const struct wbview *v, uintptr_t at, uintptr_t is,
        enum slots slots)
{
    uintptr_t *was = wbshadow_word(wb, at);
    bool gained = is_pointer(wb, slots, is);
    bool lost = slots == SLOTS_TRACED ? (*wbshadow_origin(wb, at) & ORIGIN_REPORTED) != 0
                                      : is_pointer(wb, slots, *was);

    if (lost || (gained && v->published))
        found_in(wb, v, at, is);
    else if (gained)
        gcrt_wbshadow_publish(wb, is);
    *was = is;
    if (slots == SLOTS_TRACED)
        *wbshadow_origin(wb, at) = (*wbshadow_origin(wb, at) & ~ORIGIN_REPORTED)
            | (gained ? ORIGIN_REPORTED : 0);
}

RACY_READER static void
meet_words(struct wbcheck *wb, const struct wbview *v, uintptr_t from, uintptr_t to,
        enum slots slots)
{
    from = max_size(from, v->lo);
    to = min_size(to, v->hi);
    for (; from + WORD <= to; from += WORD) {
        uintptr_t is = RACY_READ(from);

        if (is != *wbshadow_word(wb, from))
            meet_change(wb, v, from, is, slots);
    }
}

/* The trace function is run only if a word has changed. */
RACY_READER static void
meet_traced(struct wbcheck *wb, const struct wbview *v)
{
    for (uintptr_t at = v->lo; at + WORD <= v->hi; at += WORD)
        if (RACY_READ(at) != *wbshadow_word(wb, at)) {
            if (take_tally(wb, v))
                meet_words(wb, v, v->lo, v->hi, SLOTS_TRACED);
            return;
        }
}

/* The elements from `origin` to the object's end that the window touches. */
static void
meet_elements(struct wbcheck *wb, const struct wbview *v, uintptr_t origin, const gc_type *type)
{
    uintptr_t end = v->start + v->bytes, at = origin;

    if (type->form == GC_FORM_CONSERVATIVE) {
        meet_words(wb, v, origin, end, SLOTS_CONSERVATIVE);
        return;
    }
    if (v->lo > origin)
        at += (v->lo - origin) / type->size * type->size;
    for (; at < v->hi && at + type->size <= end; at += type->size)
        for (size_t i = 0; i < type->nfields; i++) {
            uintptr_t from = at + type->fields[i].offset;

            meet_words(wb, v, from, from + type->fields[i].bytes, SLOTS_TYPED);
        }
}

static void
meet_view(struct wbcheck *wb, const struct wbview *v)
{
    const gc_type *type = v->type;

    if (type->form == GC_FORM_TRACED) {
        meet_traced(wb, v);
    } else if (type->form == GC_FORM_FLEX) {
        for (size_t i = 0; i < type->nfields; i++) {
            uintptr_t from = v->start + type->fields[i].offset;

            meet_words(wb, v, from, from + type->fields[i].bytes, SLOTS_TYPED);
        }
        meet_elements(wb, v, v->start + type->tail, type->elem);
    } else {
        meet_elements(wb, v, v->start, type);
    }
}

void
gcrt_wbshadow_settle(struct wbcheck *wb)
{
    struct wbview v;

    while (wb->npending != 0) {
        if (!gcrt_wbshadow_find(wb, wb->pending[--wb->npending], &v))
            continue;
        v.published = false; /* it was, when these words were stored */
        meet_view(wb, &v);
        gcrt_wbshadow_remember(wb, &v);
    }
}

void
gcrt_wbshadow_meet(struct wbcheck *wb, const struct wbview *v)
{
    meet_view(wb, v);
    gcrt_wbshadow_settle(wb);
}

void
gcrt_wbshadow_meet_recent(struct wbcheck *wb)
{
    struct wbview v;

    for (unsigned i = 0; i < WBRECENT; i++)
        if (wb->recent[i] != 0 && gcrt_wbshadow_find(wb, wb->recent[i], &v)
                && v.start == wb->recent[i] && v.bytes <= WBRECENT_BYTES)
            gcrt_wbshadow_meet(wb, &v);
}

void
gcrt_wbshadow_init(struct wbcheck *wb, struct gc_heap *heap)
{
    wb->heap = heap;
    wb->tracer.heap = heap;
    wb->tracer.report = take_report;
}

/* ---- learning ---- */

/* A single store says that its word is a slot; a bulk one carries data words along. */
static void
learn_reported(struct wbcheck *wb, const struct wbview *v, bool single)
{
    bool told = !single && take_tally(wb, v);

    for (uintptr_t at = v->lo; at + WORD <= v->hi; at += WORD) {
        uintptr_t is = slot_load((const void *)at);
        bool slot = single ? mheap_contains(&wb->heap->mheap, is)
                           : told && is_pointer(wb, SLOTS_TRACED, is);
        uint64_t *origin = wbshadow_origin(wb, at);

        *origin = (*origin & ~ORIGIN_REPORTED) | (slot ? ORIGIN_REPORTED : 0);
    }
}

void
gcrt_wbshadow_learn(struct wbcheck *wb, const struct wbview *v, bool single)
{
    for (uintptr_t at = v->lo; at + WORD <= v->hi; at += WORD) {
        uintptr_t is = slot_load((const void *)at);

        *wbshadow_word(wb, at) = is;
        gcrt_wbshadow_publish(wb, is);
    }
    if (v->type->form == GC_FORM_TRACED)
        learn_reported(wb, v, single);
    gcrt_wbshadow_remember(wb, v);
    gcrt_wbshadow_settle(wb);
}

/* ---- registered roots ---- */

struct wbrange *
gcrt_wbshadow_range_of(struct wbcheck *wb, uintptr_t at)
{
    struct wbrange *r = wb->ranges;

    while (r != NULL && (at < r->start || at >= r->end))
        r = r->next;
    return r;
}

RACY_READER void
gcrt_wbshadow_learn_range(struct wbcheck *wb, struct wbrange *r, uintptr_t from, uintptr_t to)
{
    for (to = min_size(to, r->end); from < to; from += WORD) {
        uintptr_t is = RACY_READ(from);

        r->shadow[(from - r->start) / WORD] = is;
        gcrt_wbshadow_publish(wb, is);
    }
    gcrt_wbshadow_settle(wb);
}

RACY_READER void
gcrt_wbshadow_meet_range(struct wbcheck *wb, struct wbrange *r, uintptr_t from, uintptr_t to)
{
    const struct mheap *h = &wb->heap->mheap;

    for (to = min_size(to, r->end); from < to; from += WORD) {
        uintptr_t *was = &r->shadow[(from - r->start) / WORD], is = RACY_READ(from);
        struct wbfinding f = { .object = r->start, .bytes = r->end - r->start, .at = from,
            .was = *was, .is = is, .published = true };

        if (is == *was)
            continue;
        if (mheap_contains(h, *was) || mheap_contains(h, is))
            add_finding(wb, &f);
        *was = is;
    }
}
