/* SPDX-License-Identifier: MIT */
/*
 * The heap verifier.
 *
 * Purpose: find a broken invariant where it breaks, not where it hurts.
 * Place: cycle calls it at the edges of a cycle when GCRT_DEBUG has verify, and for
 * gc_verify; it reads everything and changes nothing.
 * Invariants checked here, by tag; docs/invariants.md has the equations:
 *   span.tiles     descriptors of in-use spans tile their pages; interiors point back
 *   span.class     kind, class, slots and divisor are those of the kind and the class table
 *   span.bits      no bit beyond nelems; free index in range
 *   I-no-late-mark, I-barrier-first  mark bits only where the edge allows them
 *   I-sweepgen     sweepgen is one of those that the edge allows
 *   I-weak-tricolour  marking complete: roots lead to marked objects, and with verify=2 every
 *                  pointer of a marked object does
 * The others are in verify_lists.c, verify_sums.c and verify_weak.c.
 * Concurrency: all mutators are held, so nothing moves; words of objects are read racily
 * all the same, because hosts' detached threads may write roots.
 * Cost: linear in the heap's pages; verify=2 in its marked objects.
 */
#include "gc/verifier.h"

#include "gc/barrier.h"
#include "gc/error.h"
#include "gc/handshake.h"
#include "gc/log.h"
#include "gc/look.h"
#include "gc/roots.h"
#include "gc/search.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct verify_rules rules[VERIFY_EDGES] = {
    [VERIFY_IDLE] = { .when = "between cycles", .marks = ALLOW_NONE },
    [VERIFY_SCANNED] = { .when = "before marking opens", .marks = ALLOW_BORN,
        .barrier = BARRIER_DELETION, .black = true, .grey = true, .shaded = true },
    [VERIFY_MARKED] = { .when = "marking complete", .marks = ALLOW_ANY,
        .barrier = BARRIER_DELETION, .black = true, .shaded = true },
    [VERIFY_CLOSED] = { .when = "after H5", .marks = ALLOW_ANY, .black = true },
    [VERIFY_SWEEPING] = { .when = "after H6", .marks = ALLOW_UNSWEPT, .unswept = true },
};

void
gcrt_verify_complain(struct verifier *v, const char *tag, const char *format, ...)
{
    va_list args;
    int used;

    if (v->broken)
        return;
    v->broken = true;
    used = snprintf(v->text, VERIFY_TEXT, "[%s] ", tag);
    va_start(args, format);
    vsnprintf(v->text + used, VERIFY_TEXT - (size_t)used, format, args);
    va_end(args);
}

/* ---- spans ---- */

static void
check_interior(struct verifier *v, const struct mspan *s, size_t page, size_t npages)
{
    bool large = s->sizeclass == CLASS_LARGE;
    size_t linked = large ? span_next_linked(page, 0) : 1;

    for (size_t i = 1; i < npages; i++) {
        unsigned head = i == linked ? (unsigned)(i << 2) | SPAN_INTERIOR : SPAN_FREE;

        if (i == linked)
            linked = large ? span_next_linked(page, i) : i + 1;
        if (ahalf_load_relaxed(&s[i].head) != head)
            gcrt_verify_complain(v, "span.tiles", "page %zu of span %#lx does not point back "
                    "to it", i, verify_start(v, s));
    }
}

/* Do the fields say what the kind and the class table say?  Nothing else is used before. */
static bool
class_agrees(struct verifier *v, const struct mspan *s)
{
    const struct mheap *h = &v->heap->mheap;
    const struct mcentral *c;
    bool large = span_state(s) == SPAN_LARGE;
    unsigned class = s->sizeclass;

    if (s->kind >= ahalf_load_relaxed(&h->ncentrals) || class >= NUM_CLASSES
            || large != (class == CLASS_LARGE))
        return false;
    c = h->centrals[s->kind];
    if (c->index != s->kind || c->sizeclass != class || c->noscan != s->noscan
            || c->checked != s->checked || c->open_end != s->open_end)
        return false;
    if (large)
        return s->nelems == 1 && s->alloc.large.bytes > SMALL_MAX
            && s->alloc.large.npages == (s->alloc.large.bytes + PAGE_SIZE - 1) >> PAGE_SHIFT;
    return s->nelems == gcrt_class_pages[class] * PAGE_SIZE / gcrt_class_bytes[class]
        && s->divmagic == UINT32_MAX / gcrt_class_bytes[class] + 1
        && (!span_has_side(s) || s->mark.side != NULL);
}

static void
check_class(struct verifier *v, const struct mspan *s)
{
    if (!class_agrees(v, s))
        gcrt_verify_complain(v, "span.class",
                "span %#lx: kind %u, class %u, noscan %u, %u slots, magic %u do not agree",
                verify_start(v, s), s->kind, s->sizeclass, s->noscan, s->nelems, s->divmagic);
}

static void
check_sweepgen(struct verifier *v, const struct mspan *s)
{
    unsigned h = ahalf_load_relaxed(&v->heap->mheap.sweepgen);
    unsigned sg = ahalf_load_relaxed(&s->sweepgen);

    if (sg != h && sg != h + 3 && !(v->rules->unswept && sg == h - 2))
        gcrt_verify_complain(v, "I-sweepgen", "span %#lx: sweepgen %u while the heap's is %u",
                verify_start(v, s), sg, h);
}

/* Those of the marks in word w that the edge does not allow. */
static uint64_t
bad_marks(const struct verifier *v, struct mspan *s, size_t w)
{
    uint64_t marks = aword_load_relaxed(&span_marks(s)[w]);
    unsigned h = ahalf_load_relaxed(&v->heap->mheap.sweepgen);

    switch (v->rules->marks) {
    case ALLOW_NONE:
        return marks;
    case ALLOW_BORN:
        return marks & aword_load_relaxed(&span_allocs(s)[w]);
    case ALLOW_UNSWEPT:
        return ahalf_load_relaxed(&s->sweepgen) == h - 2 ? 0 : marks;
    default:
        return 0;
    }
}

static void
check_marks(struct verifier *v, struct mspan *s, size_t w)
{
    const char *tag = v->rules->marks == ALLOW_BORN ? "I-barrier-first" : "I-no-late-mark";
    uint64_t bad = bad_marks(v, s, w);

    if (bad == 0)
        return;
    gcrt_verify_complain(v, tag,
            "span %#lx of %s: slot %zu is marked %s; free index %u of %u, sweepgen %u, heap's %u",
            verify_start(v, s), kind_of(v->heap, s)->type->name, w * 64 + bit_lowest(bad),
            v->rules->when, ahalf_load_relaxed(&s->freeindex), s->nelems,
            ahalf_load_relaxed(&s->sweepgen), ahalf_load_relaxed(&v->heap->mheap.sweepgen));
}

static void
check_bits(struct verifier *v, struct mspan *s)
{
    const aword *marks = span_marks(s), *allocs = span_allocs(s);

    if (ahalf_load_relaxed(&s->freeindex) > s->nelems)
        gcrt_verify_complain(v, "span.bits", "span %#lx: free index %u of %u",
                verify_start(v, s), ahalf_load_relaxed(&s->freeindex), s->nelems);
    for (size_t w = 0; w < span_words(s); w++) {
        uint64_t beyond = ~bits_word_mask(w, 0, s->nelems);

        if ((aword_load_relaxed(&allocs[w]) | aword_load_relaxed(&marks[w])) & beyond)
            gcrt_verify_complain(v, "span.bits", "span %#lx: a bit beyond slot %u",
                    verify_start(v, s), s->nelems);
        check_marks(v, s, w);
    }
}

static void
count_span(struct verifier *v, struct mspan *s, size_t page, size_t npages)
{
    v->pages += npages;
    v->place[page] = PLACE_SPAN;
    memset(&v->place[page + 1], PLACE_INSIDE, npages - 1);
    if (s->sizeclass == CLASS_LARGE) {
        v->larges++;
        v->large_pages += npages;
        return;
    }
    v->spans[s->sizeclass]++;
    for (size_t i = 0; i < s->nelems; i++)
        v->slots[s->sizeclass] += span_is_allocated(s, i);
}

static void
check_span(struct verifier *v, struct mspan *s, size_t page)
{
    size_t npages;

    check_class(v, s);
    if (v->broken)
        return;
    npages = span_npages(s);
    if (page + npages > v->npages) {
        gcrt_verify_complain(v, "span.tiles", "span %#lx ends beyond the heap",
                verify_start(v, s));
        return;
    }
    check_interior(v, s, page, npages);
    check_bits(v, s);
    check_sweepgen(v, s);
    count_span(v, s, page, npages);
}

/* In address order. */
static void
check_spans(struct verifier *v)
{
    struct mspan *spans = v->heap->mheap.spans;

    for (size_t page = 0; page < v->npages && !v->broken;) {
        struct mspan *s = &spans[page];

        if (span_state(s) == SPAN_INTERIOR)
            gcrt_verify_complain(v, "span.tiles", "page %zu is inside of no span", page);
        else if (span_state(s) != SPAN_FREE)
            check_span(v, s, page);
        page += v->place[page] == PLACE_SPAN ? span_npages(s) : 1;
    }
}

/* ---- colours ---- */

/* Is word a pointer to an unmarked object? */
static bool
is_white(const struct verifier *v, uintptr_t word, struct mspan **s)
{
    size_t i;

    *s = gcrt_walk_find(&v->heap->mheap, word, &i);
    return *s != NULL && !span_test(span_marks(*s), i);
}

static bool
is_marked(const struct verifier *v, uintptr_t word)
{
    struct mspan *s;

    return !is_white(v, word, &s) && s != NULL;
}

/* A word one past the end of a marked object need not lead to another. */
static void
check_root(void *arg, uintptr_t word, uintptr_t at, enum root_kind kind)
{
    static const char *const names[] = { [ROOT_RANGE] = "a root", [ROOT_HANDLE] = "a handle",
        [ROOT_CLEANUP] = "the argument of a cleanup",
        [ROOT_FINALIZER] = "the argument of a finalizer",
        [ROOT_CALLBACK] = "a callback that is due", [ROOT_POOL] = "a pool" };
    struct verifier *v = arg;
    struct mspan *s;

    if (is_white(v, word, &s) && !is_marked(v, word - 1))
        gcrt_verify_complain(v, "I-weak-tricolour", "%s, %#lx, points to unmarked %#lx (%s)",
                names[kind], (unsigned long)at, (unsigned long)word,
                kind_of(v->heap, s)->type->name);
}

/* Of a mutator's barrier buffer: whatever it shaded since its last flush. */
static void
check_shaded(struct verifier *v)
{
    struct gcrt_mutator *m;
    struct mspan *s;

    RCU_LIST_EACH(struct gcrt_mutator, m, &v->heap->registry.mutators, node)
        for (uint32_t i = 0; i < m->nbarrier; i++)
            if (is_white(v, m->barrier[i], &s))
                gcrt_verify_complain(v, "I-ragged-done",
                        "the barrier buffer of thread %d has unmarked %#lx (%s)", m->tid,
                        (unsigned long)m->barrier[i], kind_of(v->heap, s)->type->name);
}

struct colours {
    struct walk walk;
    struct verifier *v;
};

static void
check_edge(struct walk *w, uintptr_t word, uintptr_t slot)
{
    struct verifier *v = container_of_(w, struct colours, walk)->v;
    struct mspan *s;

    (void)slot;
    if (v->broken || !is_white(v, word, &s))
        return;
    v->blamed = w->object;
    gcrt_verify_complain(v, "I-weak-tricolour", "%s at %#lx points to unmarked %#lx (%s)",
            kind_of(v->heap, mheap_span_of(&v->heap->mheap, w->object))->type->name,
            (unsigned long)w->object, (unsigned long)word, kind_of(v->heap, s)->type->name);
}

static void
check_pointers(struct verifier *v)
{
    struct colours c = { .v = v };
    struct mspan *spans = v->heap->mheap.spans;

    gcrt_walk_init(&c.walk, v->heap, check_edge);
    for (size_t page = 0; page < v->npages && !v->broken; page++) {
        struct mspan *s = &spans[page];

        if (span_state(s) < SPAN_SMALL || s->noscan)
            continue;
        for (size_t i = 0; i < s->nelems && !v->broken; i++)
            if (span_test(span_marks(s), i) && span_is_allocated(s, i))
                gcrt_walk_object(&c.walk, s, i);
    }
}

static void
check_colours(struct verifier *v)
{
    gcrt_roots_visit(v->heap, check_root, v);
    check_shaded(v);
    if (v->heap->options.debug_verify > 1)
        check_pointers(v);
}

/* ---- everything ---- */

/* How a root leads to the object whose pointer is complained about. */
static void
find_path(struct verifier *v, char path[VERIFY_PATH])
{
    struct search search;

    if (v->blamed == 0 || path == NULL || !gcrt_search_init(&search, v->heap))
        return;
    gcrt_search_roots(&search);
    gcrt_search_drain(&search);
    gcrt_search_stacks(&search);
    gcrt_search_drain(&search);
    if (gcrt_search_has(&search, v->blamed))
        gcrt_search_path(&search, v->blamed, path, VERIFY_PATH);
    else
        snprintf(path, VERIFY_PATH, "none: nothing leads to it any more\n");
    gcrt_search_finish(&search);
}

static void
check_all(struct verifier *v, enum verify_edge edge)
{
    check_spans(v);
    if (!v->broken)
        gcrt_verify_lists(v);
    if (!v->broken)
        gcrt_verify_sums(v);
    if (!v->broken)
        gcrt_verify_weak(v, edge == VERIFY_MARKED);
    if (!v->broken)
        gcrt_verify_specials(v, edge);
    if (!v->broken && edge == VERIFY_MARKED)
        check_colours(v);
}

gc_status
gcrt_verify_now(struct gc_heap *heap, enum verify_edge edge, char text[VERIFY_TEXT],
        char path[VERIFY_PATH])
{
    struct verifier v = { .heap = heap, .rules = &rules[edge], .text = text };
    size_t bytes;

    text[0] = '\0';
    if (path != NULL)
        path[0] = '\0';
    gcrt_hold_all(heap);
    v.npages = aword_load_relaxed(&heap->mheap.limit) >> PAGE_SHIFT; /* no span comes above */
    bytes = v.npages + 1;
    v.place = gcrt_os_map(&v.os, bytes);
    if (v.place != NULL) {
        check_all(&v, edge);
        find_path(&v, path);
        gcrt_os_unmap(&v.os, v.place, bytes, bytes);
    }
    gcrt_release_all(heap);
    if (v.place == NULL) {
        snprintf(text, VERIFY_TEXT, "no memory for the verifier's map");
        return GC_ERR_NOMEM;
    }
    return v.broken ? GC_ERR_CORRUPT : GC_OK;
}

struct verify_look {
    struct look look; /* first */
    gc_status status;
    char *text;
};

static void
verify_idle(struct gc_heap *heap, struct look *l)
{
    struct verify_look *v = container_of_(l, struct verify_look, look);

    v->status = gcrt_verify_now(heap, VERIFY_IDLE, v->text, NULL);
}

gc_status
gcrt_verify_ask(struct gc_heap *heap, char text[VERIFY_TEXT])
{
    struct verify_look v = { .look.fn = verify_idle, .text = text };

    text[0] = '\0';
    return gcrt_look(heap, &v.look) ? v.status : GC_ERR_THREAD;
}

void
gcrt_verify_at(struct gc_heap *heap, enum verify_edge edge)
{
    char text[VERIFY_TEXT], path[VERIFY_PATH];
    gc_status status;

    if (heap->options.debug_verify == 0)
        return;
    status = gcrt_verify_now(heap, edge, text, path);
    if (status == GC_ERR_NOMEM)
        gcrt_log(heap, "verify: %s", text);
    if (status != GC_ERR_CORRUPT)
        return;
    gcrt_search_say("verify: path: ", path);
    gcrt_fatal("verify: %s (%s)", text, rules[edge].when);
}
