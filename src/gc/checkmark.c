/* SPDX-License-Identifier: MIT */
/*
 * Checkmark.
 *
 * Purpose: find whatever marking lost, in the cycle that lost it, and say how it was held.
 * Place: cycle calls it at three points, actions in H3; it calls search.
 *
 * What can be claimed.  Marking is on the fly, so at its end a stack may hold words that
 * lead to unmarked garbage and mean nothing: stale words below frames that have grown since
 * the scan, scratch registers of before it in a signal frame, the end of a run, an address
 * computed one past the end of an object, a pointer kept in foreign memory.  So no claim
 * rests on the stacks as they are in the end.  Instead a search begins where the cycle's
 * snapshot does, after H3 and before marking opens:
 *   mark.snapshot  what is reachable then, from ranges, handles, and the words that each
 *                  mutator's own scan saw (noted beside the collector's queue), and those of
 *                  parked stacks that are still to be scanned, must be marked in the end:
 *                  every store since shades what it overwrites.
 *   mark.born      a slot that was not allocated then and is in the end must be marked: it
 *                  was born black.
 *   mark.reach     what ranges and handles lead to in the end must be marked.  A root word
 *                  that points one past a marked object says nothing.
 * Whatever a mutator may still use when marking ends was reachable then or was born since,
 * so the first two are complete, but for what was shaded between a mutator's own scan and
 * that moment, and then taken to its stack alone.
 *   Words of stacks in the end that lead to unmarked objects are counted, and with
 * checkmark=2 told; they prove nothing.
 *
 * Invariants: shares neither mark bits, queues, layouts nor root loops with marking.
 * Concurrency: the coordinator's, with all mutators held; words are noted by many mutators
 * at once, each in a slot of its own.
 * Cost: two searches a cycle while everybody waits; as much memory again as the heap.
 */
#include "gc/checkmark.h"

#include "gc/handshake.h"
#include "gc/kind.h"
#include "gc/log.h"
#include "gc/roots.h"
#include "gc/stack.h"

#include <stdio.h>

/* Words noted per cycle at most; more are not checked. */
#define CHECKMARK_WORDS ((unsigned)1 << 22)

static size_t
words_bytes(void)
{
    return CHECKMARK_WORDS * sizeof(struct stack_word);
}

bool
gcrt_checkmark_init(struct gc_heap *heap)
{
    struct checkmark *c;

    if (heap->options.debug_checkmark == 0)
        return true;
    c = gcrt_persist_alloc(&heap->persist, sizeof(*c));
    if (c == NULL)
        return false;
    c->heap = heap;
    c->words = gcrt_os_map(&c->os, words_bytes());
    if (c->words == NULL)
        return false;
    heap->checkmark = c;
    return true;
}

static void
forget(struct checkmark *c)
{
    if (!c->is_open)
        return;
    c->is_open = false;
    gcrt_search_finish(&c->search);
    gcrt_os_unmap(&c->os, c->born, c->born_bytes, c->born_bytes);
}

void
gcrt_checkmark_finish(struct gc_heap *heap)
{
    struct checkmark *c = heap->checkmark;

    if (c == NULL)
        return;
    forget(c);
    gcrt_os_unmap(&c->os, c->words, words_bytes(), words_bytes());
    heap->checkmark = NULL;
}

/* ---- what the scans see ---- */

static void
note_word(struct checkmark *c, uintptr_t word, uintptr_t at, int tid, bool exact)
{
    const struct mheap *h = &c->heap->mheap;
    unsigned i;

    if (!mheap_contains(h, word) && !mheap_contains(h, word - 1))
        return;
    i = ahalf_add_full(&c->nwords, 1); /* full: the vocabulary has nothing weaker */
    if (i < CHECKMARK_WORDS)
        c->words[i] = (struct stack_word){ .word = word, .at = at, .tid = tid, .exact = exact };
    else
        ahalf_store_relaxed(&c->nwords, CHECKMARK_WORDS);
}

RACY_READER static void
note_range(struct checkmark *c, uintptr_t from, uintptr_t to, int tid)
{
    for (; from < to; from += WORD)
        note_word(c, RACY_READ(from), from, tid, false);
}

struct note {
    struct checkmark *c;
    int tid;
};

static void
note_own(void *arg, uintptr_t word, uintptr_t at)
{
    const struct note *note = arg;

    note_word(note->c, word, at, note->tid, true);
}

static void
note_saved(const struct note *note, const struct gc_stack *s)
{
    note_range(note->c, (uintptr_t)s->regs, (uintptr_t)(s->regs + CALLEE_SAVED), note->tid);
    note_range(note->c, (uintptr_t)s->window, (uintptr_t)(s->window + s->nwindow), note->tid);
}

static void
note_parked(struct note *note, const struct gc_stack *s)
{
    gcrt_own_visit_stack(stack_frames(s), &s->scopes, note_own, note);
    if (s->manners == STACK_PRECISE)
        return;
    note_saved(note, s);
    note_range(note->c, s->sp, s->extent.hi, note->tid);
}

/* Its own scan is still to come, or is a thread's that resumes it. */
static void
note_unseen(void *arg, struct gc_stack *s)
{
    struct note *note = arg;
    uint64_t cycle = aword_load_relaxed(&note->c->heap->cycles.started);

    if (aword_load_relaxed(&s->cycle) != cycle)
        note_parked(note, s);
}

void
gcrt_checkmark_note_parked(struct gc_heap *heap, const struct gc_stack *s)
{
    struct note note = { .c = heap->checkmark };

    if (!ahalf_load_acquire(&heap->marking.open)) /* pairs: mark.open */
        note_parked(&note, s);
}

/*
 * Only words that stay what they are while the frames of the scan itself come and go: an
 * inside mutator's stack from the frame on that holds its registers.
 */
void
gcrt_checkmark_note_stack(struct gcrt_mutator *m, uintptr_t sp)
{
    struct checkmark *c = m->heap->checkmark;
    struct note note = { .c = c, .tid = m->tid };

    gcrt_own_visit(m, note_own, &note);
    if (gcrt_fiber_native(m) != NULL)
        note_parked(&note, gcrt_fiber_native(m));
    if (m->precise)
        return;
    if (m->landing)
        note_saved(&note, m->current);
    if (ahalf_load_relaxed(&m->state) == MUTATOR_INSIDE) {
        note_range(c, stack_lowest(m, sp + STACK_SLACK - STACK_SAVED), m->stack_hi, m->tid);
        return;
    }
    note_range(c, (uintptr_t)m->regs, (uintptr_t)(m->regs + SAVED_REGISTERS), m->tid);
    note_range(c, (uintptr_t)m->window, (uintptr_t)(m->window + m->nwindow), m->tid);
    note_range(c, align_down(sp, WORD), m->stack_hi, m->tid);
}

void
gcrt_checkmark_begin(struct gc_heap *heap)
{
    if (heap->checkmark != NULL)
        ahalf_store_relaxed(&heap->checkmark->nwords, 0);
}

/* ---- marking opens ---- */

/*
 * A word that a scan saw counts with the word before it: it may be one past an object's end.
 * A root's word does not, because it may be younger than the collector's look at it.
 */
static void
search_snapshot(struct checkmark *c)
{
    struct note note = { .c = c };
    size_t n;

    gcrt_fibers_visit(c->heap, note_unseen, &note);
    n = min_size(ahalf_load_relaxed(&c->nwords), CHECKMARK_WORDS);
    gcrt_search_roots(&c->search);
    gcrt_search_drain(&c->search); /* first, so that paths begin there if they can */
    for (size_t i = 0; i < n; i++) {
        uintptr_t word = c->words[i].word, at = (uintptr_t)&c->words[i];

        gcrt_search_word(&c->search, word, at, FROM_SCAN);
        if (!c->words[i].exact && mheap_may_end_at(&c->heap->mheap, word))
            gcrt_search_word(&c->search, word - 1, at, FROM_SCAN);
    }
    gcrt_search_drain(&c->search);
    c->reachable = c->search.objects;
}

static void
note_spans(struct checkmark *c)
{
    struct mheap *h = &c->heap->mheap;
    size_t limit = aword_load_relaxed(&h->limit) >> PAGE_SHIFT; /* everybody is held */

    for (size_t page = 0; page < limit; page++)
        if (span_state(&h->spans[page]) >= SPAN_SMALL)
            c->born[page] = ahalf_load_relaxed(&h->spans[page].freeindex) + 1;
}

/* False without memory: then this cycle goes unchecked. */
static bool
take_snapshot(struct checkmark *c)
{
    if (!gcrt_search_init(&c->search, c->heap))
        return false;
    c->born_bytes = c->search.bytes / PAGE_SIZE * sizeof(*c->born);
    c->born = gcrt_os_map(&c->os, c->born_bytes);
    if (c->born == NULL) {
        gcrt_search_finish(&c->search);
        return false;
    }
    note_spans(c);
    search_snapshot(c);
    return true;
}

void
gcrt_checkmark_open(struct gc_heap *heap)
{
    struct checkmark *c = heap->checkmark;

    if (c == NULL)
        return;
    forget(c);
    gcrt_hold_all(heap);
    c->is_open = take_snapshot(c);
    gcrt_release_all(heap);
    if (!c->is_open)
        gcrt_log(heap, "checkmark: no memory for the search; a cycle goes unchecked");
}

/* ---- marking is complete ---- */

struct verdict {
    struct checkmark *c;
    char *text;              /* CHECKMARK_TEXT bytes: the complaint */
    struct search end;       /* from when marking is complete */
    uintptr_t object;        /* complained about; 0: none */
    const struct search *by; /* what reached it; NULL: born since */
};

static void
complain(struct verdict *v, const char *tag, const char *what, uintptr_t object)
{
    const struct mheap *h = &v->c->heap->mheap;
    const struct mspan *s = mheap_span_of(h, object);

    CHECK(s != NULL);
    v->object = object;
    snprintf(v->text, CHECKMARK_TEXT,
            "[%s] %s at %#lx, %zu bytes, %s and is not marked; span %#lx, class %u, slot %zu "
            "of %u, free index %u, sweepgen %u, the heap's %u",
            tag, kind_of(v->c->heap, s)->type->name, (unsigned long)object,
            span_elem_bytes(s), what, (unsigned long)span_start(h, s), s->sizeclass,
            span_object_index(h, s, object), s->nelems, ahalf_load_relaxed(&s->freeindex),
            ahalf_load_relaxed(&s->sweepgen), ahalf_load_relaxed(&h->sweepgen));
}

/* Does word lie in a marked object? */
static bool
is_marked(const struct mheap *h, uintptr_t word)
{
    size_t i;
    struct mspan *s = gcrt_walk_find(h, word, &i);

    return s != NULL && span_test(span_marks(s), i);
}

/*
 * The search reached the object, which is not marked.  Of its path the first object that is
 * not marked is the one that was lost; the others only follow.
 */
static void
blame(struct verdict *v, const char *tag, const char *what, const struct search *by,
        uintptr_t object)
{
    uintptr_t holder = gcrt_search_holder(by, object);

    while (holder != 0 && !is_marked(&v->c->heap->mheap, holder)) {
        object = holder;
        holder = gcrt_search_holder(by, object);
    }
    v->by = by;
    complain(v, tag, what, object);
}

/* Calls fn for each span, until somebody complains. */
static void
each_span(struct verdict *v, void (*fn)(struct verdict *v, struct mspan *s, size_t page))
{
    struct mheap *h = &v->c->heap->mheap;
    size_t limit = aword_load_relaxed(&h->limit) >> PAGE_SHIFT;

    for (size_t page = 0; page < limit && v->object == 0; page++)
        if (span_state(&h->spans[page]) >= SPAN_SMALL)
            fn(v, &h->spans[page], page);
}

/* Was slot i allocated when marking opened?  Alloc bits have not changed since. */
static bool
was_allocated(const struct checkmark *c, struct mspan *s, size_t page, size_t i)
{
    uint32_t born = page < c->search.bytes >> PAGE_SHIFT ? c->born[page] : 0;

    return born != 0 && (i < born - 1 || span_test(span_allocs(s), i));
}

static void
check_snapshot(struct verdict *v, struct mspan *s, size_t page)
{
    struct checkmark *c = v->c;
    const struct mheap *h = &c->heap->mheap;

    for (size_t i = 0; i < s->nelems && v->object == 0; i++) {
        bool was = was_allocated(c, s, page, i), is = was || span_is_allocated(s, i);

        c->born_since += is && !was;
        if (!is || span_test(span_marks(s), i))
            continue;
        if (!was)
            complain(v, "mark.born", "was born since marking opened", span_object(h, s, i));
        else if (gcrt_search_has(&c->search, span_object(h, s, i)))
            blame(v, "mark.snapshot", "was reachable when marking opened", &c->search,
                    span_object(h, s, i));
    }
}

static void
search_end_root(void *arg, uintptr_t word, uintptr_t at, enum root_kind kind)
{
    struct verdict *v = arg;
    const struct mheap *h = &v->c->heap->mheap;

    if (is_marked(h, word) || !is_marked(h, word - 1)) /* else perhaps one past that one's end */
        gcrt_search_word(&v->end, word, at, search_from_root(kind));
}

static void
check_reach(struct verdict *v, struct mspan *s, size_t page)
{
    const struct mheap *h = &v->c->heap->mheap;

    (void)page;
    for (size_t i = 0; i < s->nelems && v->object == 0; i++)
        if (gcrt_search_has(&v->end, span_object(h, s, i)) && !span_test(span_marks(s), i))
            blame(v, "mark.reach", "is reachable", &v->end, span_object(h, s, i));
}

static void
count_ambiguous(struct verdict *v, struct mspan *s, size_t page)
{
    struct checkmark *c = v->c;
    char path[PATH_TEXT];

    (void)page;
    for (size_t i = 0; i < s->nelems; i++) {
        uintptr_t object = span_object(&c->heap->mheap, s, i);

        if (!gcrt_search_has(&v->end, object) || span_test(span_marks(s), i))
            continue;
        if (c->ambiguous++ != 0 || c->heap->options.debug_checkmark < 2)
            continue;
        gcrt_warn("checkmark: unmarked, but a stack word leads there, which may be stale:");
        gcrt_search_path(&v->end, object, path, sizeof(path));
        gcrt_search_say("checkmark: path: ", path);
    }
}

/* The graph as it is now. */
static void
check_end(struct verdict *v)
{
    struct checkmark *c = v->c;

    if (!gcrt_search_init(&v->end, c->heap))
        return;
    gcrt_roots_visit(c->heap, search_end_root, v);
    gcrt_search_drain(&v->end);
    c->reachable_end = v->end.objects;
    each_span(v, check_reach);
    if (v->object != 0)
        return;
    gcrt_search_stacks(&v->end);
    gcrt_search_drain(&v->end);
    each_span(v, count_ambiguous);
}

static void
compare_held(struct verdict *v, char path[PATH_TEXT])
{
    struct checkmark *c = v->c;

    c->born_since = c->reachable_end = c->ambiguous = 0;
    each_span(v, check_snapshot);
    if (v->object == 0)
        check_end(v);
    if (v->by != NULL)
        gcrt_search_path(v->by, v->object, path, PATH_TEXT);
    gcrt_search_finish(&v->end);
    c->cycles++;
}

gc_status
gcrt_checkmark_compare(struct gc_heap *heap, char text[CHECKMARK_TEXT], char path[PATH_TEXT])
{
    struct verdict v = { .c = heap->checkmark, .text = text };

    text[0] = path[0] = '\0';
    if (!v.c->is_open)
        return GC_OK;
    gcrt_hold_all(heap);
    compare_held(&v, path);
    gcrt_release_all(heap);
    forget(v.c);
    return v.object == 0 ? GC_OK : GC_ERR_CORRUPT;
}

void
gcrt_checkmark_close(struct gc_heap *heap)
{
    char text[CHECKMARK_TEXT], path[PATH_TEXT];

    if (heap->checkmark == NULL || gcrt_checkmark_compare(heap, text, path) == GC_OK)
        return;
    gcrt_search_say("checkmark: path: ", path);
    gcrt_fatal("checkmark: %s", text);
}
