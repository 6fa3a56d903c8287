/* SPDX-License-Identifier: MIT */
/*
 * wbcheck: finds the stores that a host made without gc_write.
 *
 * Purpose: a missed barrier loses an object later and elsewhere; this mode ends the process
 * at the next allocation, barriered store or end of a cycle, and names object and field.
 * Place: malloc, barrier, roots and cycle call it when the knob is on; wbshadow compares,
 * wbreport words what was found.
 *
 * How.  Every attached thread's barrier word has BARRIER_WATCHED and its run table stays
 * hidden, so each gc_write and each gc_alloc comes through the slow half, which tells the
 * shadow what was stored and what was born.  Whatever else changes a slot was no gc_write.
 *
 * The rule (gcrt/barrier.h): into an object whose address has never been stored, the first
 * plain store into each still zero field is allowed; everything else goes through gc_write.
 * An address counts as stored, and its object as published, when it is stored by gc_write or
 * a relative into the heap, a registered root or a handle; when it is found in a slot of any
 * object, however it came there; when a range that holds it is registered.  Publishing looks
 * at the object's slots at once, so what was stored plainly before is right and what comes
 * later is not.  What a host keeps in malloc'ed memory or on stacks is not storing.
 *
 * When.  Before a barriered store its words are compared, and small objects that were
 * allocated, published or stored to most recently; at each allocation these again; at the
 * start of a cycle, when marking is complete (so before anything that the miss has cost is
 * freed), and when the heap ends, everything.  stress=1 makes cycles frequent.  A value that
 * a plain store leaves behind is found whenever it is looked at, so gc_safepoint compares
 * nothing: the next of these places finds the same.  Never found is a plain store that is
 * undone by another one before anybody looks.
 *
 * Invariants: an object is forgotten, with all mutators held, when marking is complete and
 * it is unmarked, which is before any span is swept.
 * Concurrency: one lock of the highest rank, held from the compare through the store to the
 * shadow's update, makes slot and shadow change together for everybody else who holds it:
 * a store by another thread's gc_write is never half done where words are compared, so no
 * mutator has to be held for that.  Holding all of them is needed only to walk the spans.
 * The lock is taken by critical threads, by detached ones, and by the coordinator.
 * Cost: off, nothing but tests of bits that slow paths have at hand.  On, a lock and some
 * hundred compared words per store and allocation, and two more words of memory for each word
 * of objects with pointers.
 */
#include "gc/wbcheck.h"

#include "gc/handshake.h"
#include "gc/kind.h"
#include "gc/region.h"
#include "gc/wbshadow.h"

#include <stdlib.h>
#include <string.h>

/* Of objects that are not traced only the first word of origin is in use. */
static void
forget(struct wbcheck *wb, const struct wbview *v)
{
    size_t bytes = v->type->form == GC_FORM_TRACED ? v->bytes : WORD;

    memset(wbshadow_origin(wb, v->start), 0, bytes);
}

/* ---- everything ---- */

/* The object in slot i of the span, if there is one that is tracked. */
static void
meet_slot(struct wbcheck *wb, struct mspan *s, size_t i, bool marked)
{
    uintptr_t start = span_object(&wb->heap->mheap, s, i);
    struct wbview v;

    if (!gcrt_wbshadow_find(wb, start, &v))
        return;
    gcrt_wbshadow_meet(wb, &v);
    if (marked && !span_test(span_marks(s), i))
        forget(wb, &v);
}

static void
meet_everything(struct wbcheck *wb, bool marked)
{
    struct mheap *h = &wb->heap->mheap;
    size_t pages = wb->ready >> PAGE_SHIFT;

    for (size_t page = 0; page < pages; page++) {
        struct mspan *s = &h->spans[page];

        if (span_state(s) < SPAN_SMALL || s->noscan)
            continue;
        for (size_t i = 0; i < s->nelems; i++)
            meet_slot(wb, s, i, marked);
    }
    for (struct wbrange *r = wb->ranges; r != NULL; r = r->next)
        gcrt_wbshadow_meet_range(wb, r, r->start, r->end);
}

void
gcrt_wbcheck_cycle(struct gc_heap *heap, bool marked)
{
    struct wbcheck *wb = heap->wbcheck;

    if (wb == NULL)
        return;
    gcrt_hold_all(heap);
    gcrt_lock_acquire(&wb->lock);
    meet_everything(wb, marked);
    gcrt_lock_release(&wb->lock);
    gcrt_release_all(heap);
    gcrt_wbreport(&wb->found); /* who else finds something does not come back either */
}

/* ---- allocation ---- */

/* Makes both arrays ready for the first `bytes` of the heap. */
static bool
reach(struct wbcheck *wb, size_t bytes)
{
    size_t limit = aword_load_acquire(&wb->heap->mheap.limit); /* pairs: heap.grow */

    if (bytes <= wb->ready)
        return true;
    if (!gcrt_os_commit(&wb->heap->os, (char *)wb->shadow + wb->ready, limit - wb->ready))
        return false;
    if (!gcrt_os_commit(&wb->heap->os, (char *)wb->origin + wb->ready, limit - wb->ready)) {
        (void)gcrt_os_decommit(&wb->heap->os, (char *)wb->shadow + wb->ready,
                limit - wb->ready);
        return false;
    }
    aword_add_relaxed(&wb->heap->beside, 2 * (limit - wb->ready));
    wb->ready = limit;
    return true;
}

static bool
track(struct wbcheck *wb, uintptr_t start, uintptr_t site)
{
    struct mheap *h = &wb->heap->mheap;
    struct mspan *s = mheap_span_of(h, start);
    struct wbview v = { .start = start, .bytes = span_elem_bytes(s) };

    if (s->noscan)
        return true;
    if (!reach(wb, start - h->base + v.bytes))
        return false;
    memset(wbshadow_word(wb, start), 0, v.bytes);
    *wbshadow_origin(wb, start) = ORIGIN_TRACKED | (site & ORIGIN_SITE);
    gcrt_wbshadow_remember(wb, &v);
    return true;
}

bool
gcrt_wbcheck_born(struct gcrt_mutator *m, void *p, const void *site)
{
    struct wbcheck *wb = m->heap->wbcheck;
    bool ok;

    critical_enter();
    gcrt_lock_acquire(&wb->lock);
    gcrt_wbshadow_meet_recent(wb);
    gcrt_wbreport(&wb->found);
    ok = track(wb, (uintptr_t)p, (uintptr_t)site);
    gcrt_lock_release(&wb->lock);
    critical_leave();
    return ok;
}

/* ---- barriered stores ---- */

void
gcrt_wbcheck_bounds(struct gcrt_mutator *m, const char *caller, const void *p, size_t bytes)
{
    const struct mheap *h = &m->heap->mheap;
    size_t i, n;
    struct mspan *s = mheap_find_object(h, (uintptr_t)p, &i);
    uintptr_t object;

    if (s == NULL || bytes == 0 || gcrt_region_has_span(m->heap, s))
        return;
    object = span_object(h, s, i);
    n = span_elem_bytes(s);
    if (bytes > object + n - (uintptr_t)p)
        gcrt_fatal("wbcheck: %s: %zu bytes at %p end beyond the object at %#lx of %zu bytes (%s)",
                caller, bytes, p, (unsigned long)object, n, kind_of(m->heap, s)->type->name);
}

void
gcrt_wbcheck_begin(struct gcrt_mutator *m, const void *slot, size_t bytes)
{
    struct wbcheck *wb = m->heap->wbcheck;
    uintptr_t at = (uintptr_t)slot;
    struct wbrange *r;
    struct wbview v;

    gcrt_lock_acquire(&wb->lock);
    if (gcrt_wbshadow_find(wb, at, &v)) {
        v.lo = at;
        v.hi = min_size(v.hi, at + bytes);
        gcrt_wbshadow_meet(wb, &v);
    } else if ((r = gcrt_wbshadow_range_of(wb, at)) != NULL) {
        gcrt_wbshadow_meet_range(wb, r, at, at + bytes); /* or a local: nobody's business */
    }
    gcrt_wbshadow_meet_recent(wb);
    gcrt_wbreport(&wb->found);
}

void
gcrt_wbcheck_end(struct gcrt_mutator *m, const void *slot, size_t bytes)
{
    struct wbcheck *wb = m->heap->wbcheck;
    uintptr_t at = (uintptr_t)slot, end = at + bytes;
    struct wbrange *r;
    struct wbview v;

    if (gcrt_wbshadow_find(wb, at, &v)) {
        v.lo = at;
        v.hi = min_size(v.hi, end);
        gcrt_wbshadow_learn(wb, &v, bytes == WORD);
    } else if ((r = gcrt_wbshadow_range_of(wb, at)) != NULL) {
        gcrt_wbshadow_learn_range(wb, r, at, end);
    }
    gcrt_lock_release(&wb->lock);
}

/* ---- the collector's own stores ---- */

void
gcrt_wbcheck_forget(struct gc_heap *heap, uintptr_t object)
{
    struct wbcheck *wb = heap->wbcheck;
    struct wbview v;

    if (LIKELY(wb == NULL))
        return;
    gcrt_lock_acquire(&wb->lock);
    if (gcrt_wbshadow_find(wb, object, &v))
        forget(wb, &v);
    gcrt_lock_release(&wb->lock);
}

/* ---- handles and ranges ---- */

void
gcrt_wbcheck_publish(struct gc_heap *heap, uintptr_t word)
{
    struct wbcheck *wb = heap->wbcheck;

    critical_enter();
    gcrt_lock_acquire(&wb->lock);
    gcrt_wbshadow_publish(wb, word);
    gcrt_wbshadow_settle(wb);
    gcrt_wbreport(&wb->found);
    gcrt_lock_release(&wb->lock);
    critical_clear(); /* no poll: a precise caller holds word by nothing before it is stored */
}

/* Without memory the range is not compared. */
void
gcrt_wbcheck_root_add(struct gc_heap *heap, uintptr_t start, size_t bytes)
{
    struct wbcheck *wb = heap->wbcheck;
    struct wbrange *r;

    if (wb == NULL || (r = malloc(sizeof(*r) + bytes)) == NULL)
        return;
    *r = (struct wbrange){ .start = start, .end = start + bytes };
    critical_enter();
    gcrt_lock_acquire(&wb->lock);
    gcrt_wbshadow_learn_range(wb, r, r->start, r->end);
    r->next = wb->ranges;
    wb->ranges = r;
    gcrt_wbreport(&wb->found);
    gcrt_lock_release(&wb->lock);
    critical_leave();
}

void
gcrt_wbcheck_root_remove(struct gc_heap *heap, uintptr_t start)
{
    struct wbcheck *wb = heap->wbcheck;
    struct wbrange **at, *found = NULL;

    if (wb == NULL)
        return;
    critical_enter();
    gcrt_lock_acquire(&wb->lock);
    for (at = &wb->ranges; *at != NULL && (*at)->start != start;)
        at = &(*at)->next;
    if (*at != NULL) {
        found = *at;
        gcrt_wbshadow_meet_range(wb, found, found->start, found->end);
        gcrt_wbreport(&wb->found);
        *at = found->next;
    }
    gcrt_lock_release(&wb->lock);
    critical_leave();
    free(found);
}

/* ---- fork ---- */

struct lock *
gcrt_wbcheck_lock(struct gc_heap *heap)
{
    return &heap->wbcheck->lock;
}

void
gcrt_wbcheck_empty_within_locked(struct gc_heap *heap, uintptr_t lo, uintptr_t hi)
{
    if (heap->wbcheck == NULL)
        return;
    for (struct wbrange *r = heap->wbcheck->ranges; r != NULL; r = r->next)
        if (r->start >= lo && r->end <= hi)
            r->end = r->start;
}

/* ---- the mode itself ---- */

static void
unmap(struct wbcheck *wb, struct os *os)
{
    if (wb->shadow != NULL)
        gcrt_os_unmap(os, wb->shadow, wb->reserved, wb->ready);
    if (wb->origin != NULL)
        gcrt_os_unmap(os, wb->origin, wb->reserved, wb->ready);
    if (wb->pending != NULL)
        gcrt_os_unmap(os, wb->pending, WBPENDING_MAX * WORD, WBPENDING_MAX * WORD);
    if (wb->tally != NULL)
        gcrt_os_unmap(os, wb->tally, WBTALLY_MAX * sizeof(wb->tally[0]),
                WBTALLY_MAX * sizeof(wb->tally[0]));
    gcrt_os_unmap(os, wb, sizeof(*wb), sizeof(*wb));
}

bool
gcrt_wbcheck_init(struct gc_heap *heap)
{
    struct os *os = &heap->os;
    struct wbcheck *wb;

    if (heap->options.debug_wbcheck == 0)
        return true;
    wb = gcrt_os_map(os, sizeof(*wb));
    if (wb == NULL)
        return false;
    gcrt_wbshadow_init(wb, heap);
    wb->reserved = heap->mheap.npages_max << PAGE_SHIFT;
    wb->shadow = gcrt_os_reserve(os, wb->reserved);
    wb->origin = gcrt_os_reserve(os, wb->reserved);
    wb->pending = gcrt_os_map(os, WBPENDING_MAX * WORD);
    wb->tally = gcrt_os_map(os, WBTALLY_MAX * sizeof(wb->tally[0]));
    if (wb->shadow == NULL || wb->origin == NULL || wb->pending == NULL || wb->tally == NULL) {
        unmap(wb, os);
        return false;
    }
    gcrt_lock_init(&wb->lock, RANK_WBCHECK);
    aword_add_relaxed(&heap->beside,
            sizeof(*wb) + WBPENDING_MAX * WORD + WBTALLY_MAX * sizeof(wb->tally[0]));
    heap->wbcheck = wb;
    return true;
}

void
gcrt_wbcheck_finish(struct gc_heap *heap)
{
    struct wbcheck *wb = heap->wbcheck;
    struct wbrange *r;

    if (wb == NULL)
        return;
    meet_everything(wb, false);
    gcrt_wbreport(&wb->found);
    while ((r = wb->ranges) != NULL) {
        wb->ranges = r->next;
        free(r);
    }
    gcrt_lock_finish(&wb->lock);
    heap->wbcheck = NULL;
    unmap(wb, &heap->os);
}
