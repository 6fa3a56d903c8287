/* SPDX-License-Identifier: MIT */
/*
 * The heap verifier.
 *
 * Purpose: find a broken invariant where it breaks, not where it hurts.
 * Place: cycle calls it at the edges of a cycle when GCRT_DEBUG has verify, and for
 * gc_verify; it reads everything and changes nothing.
 * Invariants checked, by tag:
 *   span.tiles     descriptors of in-use spans tile their pages; interiors point back
 *   span.bits      no bit beyond nelems; free index in range; idle: no mark bit set
 *   I-sweepgen     idle: each span is swept, or swept and cached
 *   pages.sum      pages in spans are the pages that the page allocator handed out
 *   pages.summary  the page allocator's summaries, derived again
 *   I-weak-tricolour  marking complete: a marked object's pointers lead to marked objects,
 *                  and so do roots and handles
 * Concurrency: all mutators are held, so nothing moves; words of objects are read racily
 * all the same, because hosts' detached threads may write roots.
 * Cost: linear in the heap's pages; verify=2 in its marked objects.
 */
#include "gc/verify.h"

#include "gc/error.h"
#include "gc/handshake.h"
#include "gc/kind.h"
#include "gc/roots.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct verifier {
    struct gc_heap *heap;
    char *text;   /* first complaint */
    size_t n;
    bool broken;
    size_t pages; /* in spans */
};

static void __attribute__((format(printf, 3, 4)))
complain(struct verifier *v, const char *tag, const char *format, ...)
{
    va_list args;
    int used;

    if (v->broken)
        return;
    v->broken = true;
    used = snprintf(v->text, v->n, "[%s] ", tag);
    va_start(args, format);
    vsnprintf(v->text + used, v->n - (size_t)used, format, args);
    va_end(args);
}

/* ---- structure ---- */

static void
check_interior(struct verifier *v, const struct mspan *s, size_t npages)
{
    for (size_t i = 1; i < npages && !v->broken; i++)
        if (ahalf_load_relaxed(&s[i].head) != ((i << 2) | SPAN_INTERIOR))
            complain(v, "span.tiles", "page %zu of span %#lx does not point back to it", i,
                    (unsigned long)span_start(&v->heap->mheap, s));
}

static uint64_t
valid_bits(const struct mspan *s, size_t w)
{
    return bits_word_mask(w, 0, s->nelems);
}

static void
check_bits(struct verifier *v, struct mspan *s)
{
    const aword *marks = span_marks(s), *allocs = span_allocs(s);
    unsigned long start = (unsigned long)span_start(&v->heap->mheap, s);

    if (ahalf_load_relaxed(&s->freeindex) > s->nelems)
        complain(v, "span.bits", "span %#lx: free index %u of %u", start,
                ahalf_load_relaxed(&s->freeindex), s->nelems);
    for (size_t w = 0; w < span_words(s); w++) {
        if (aword_load_relaxed(&allocs[w]) & ~valid_bits(s, w))
            complain(v, "span.bits", "span %#lx: alloc bit beyond slot %u", start, s->nelems);
        if (aword_load_relaxed(&marks[w]) != 0)
            complain(v, "span.bits",
                    "span %#lx of %s: marked between cycles (I-no-late-mark); word %zu is %#lx, "
                    "free index %u of %u, sweepgen %u, heap's %u",
                    start, kind_of(v->heap, s)->type->name, w,
                    (unsigned long)aword_load_relaxed(&marks[w]),
                    ahalf_load_relaxed(&s->freeindex), s->nelems,
                    ahalf_load_relaxed(&s->sweepgen),
                    ahalf_load_relaxed(&v->heap->mheap.sweepgen));
    }
}

static void
check_sweepgen(struct verifier *v, const struct mspan *s)
{
    unsigned h = ahalf_load_relaxed(&v->heap->mheap.sweepgen);
    unsigned sg = ahalf_load_relaxed(&s->sweepgen);

    if (sg != h && sg != h + 3)
        complain(v, "I-sweepgen", "span %#lx: sweepgen %u while the heap's is %u",
                (unsigned long)span_start(&v->heap->mheap, s), sg, h);
}

static void
check_span(struct verifier *v, struct mspan *s, size_t npages)
{
    const struct mheap *h = &v->heap->mheap;
    struct mcentral *c;

    if (s->kind >= ahalf_load_relaxed(&h->ncentrals)) {
        complain(v, "span.tiles", "span %#lx: kind %u does not exist",
                (unsigned long)span_start(h, s), s->kind);
        return;
    }
    c = h->centrals[s->kind];
    if (c->sizeclass != s->sizeclass || c->noscan != s->noscan)
        complain(v, "span.tiles", "span %#lx: class %u, its kind has %u",
                (unsigned long)span_start(h, s), s->sizeclass, c->sizeclass);
    check_interior(v, s, npages);
    check_bits(v, s);
    check_sweepgen(v, s);
}

/* Calls fn for each in-use span, in address order. */
static void
each_span(struct verifier *v, void (*fn)(struct verifier *, struct mspan *, size_t npages))
{
    struct mheap *h = &v->heap->mheap;
    size_t limit = aword_load_acquire(&h->limit) >> PAGE_SHIFT; /* pairs: heap.grow */

    for (size_t page = 0; page < limit && !v->broken;) {
        struct mspan *s = &h->spans[page];
        unsigned state = span_state(s);

        if (state == SPAN_INTERIOR) {
            complain(v, "span.tiles", "page %zu is inside of no span", page);
            return;
        }
        if (state != SPAN_FREE)
            fn(v, s, span_npages(s));
        page += state == SPAN_FREE ? 1 : span_npages(s);
    }
}

static void
check_structure_of(struct verifier *v, struct mspan *s, size_t npages)
{
    v->pages += npages;
    check_span(v, s, npages);
}

/* Pages in the windows of Ps. */
static size_t
cached_pages(const struct gc_heap *heap)
{
    const struct p *p = __atomic_load_n(&heap->ps.all, __ATOMIC_ACQUIRE); /* pairs: p.publish */
    size_t n = 0;

    for (; p != NULL; p = p->next_all)
        n += bit_count(p->cache.pages.free);
    return n;
}

static void
check_pages(struct verifier *v)
{
    struct mheap *h = &v->heap->mheap;
    char why[128];
    size_t handed_out;

    gcrt_lock_acquire(&h->lock);
    handed_out = h->pages.grown_pages - h->pages.free_pages - cached_pages(v->heap);
    if (gcrt_pagealloc_check(&h->pages, why, sizeof(why)) != 0)
        complain(v, "pages.summary", "%s", why);
    gcrt_lock_release(&h->lock);
    if (handed_out != v->pages)
        complain(v, "pages.sum", "%zu pages in spans, %zu handed out", v->pages, handed_out);
    if (aword_load_relaxed(&h->in_use) != v->pages << PAGE_SHIFT)
        complain(v, "pages.sum", "%zu pages in spans, in_use counts %zu", v->pages,
                (size_t)(aword_load_relaxed(&h->in_use) >> PAGE_SHIFT));
}

gc_status
gcrt_verify_now(struct gc_heap *heap, char *text, size_t n)
{
    struct verifier v = { .heap = heap, .text = text, .n = n };

    text[0] = '\0';
    gcrt_hold_all(heap);
    each_span(&v, check_structure_of);
    if (!v.broken)
        check_pages(&v);
    gcrt_release_all(heap);
    return v.broken ? GC_ERR_CORRUPT : GC_OK;
}

void
gcrt_verify_idle(struct gc_heap *heap)
{
    char text[256];

    if (heap->options.debug_verify != 0
            && gcrt_verify_now(heap, text, sizeof(text)) != GC_OK)
        gcrt_fatal("verify: %s", text);
}

/* ---- colours ---- */

/* word, found in what `from` says, must lead to a marked object or to none. */
static void
check_edge(struct verifier *v, uintptr_t from, uintptr_t word)
{
    struct mheap *h = &v->heap->mheap;
    struct mspan *s = mheap_span_of(h, word);
    size_t i;

    if (s == NULL)
        return;
    i = span_object_index(h, s, word);
    if (i < s->nelems && span_is_allocated(s, i) && !span_test(span_marks(s), i))
        complain(v, "I-weak-tricolour", "%s at %#lx points to unmarked %#lx (%s)",
                from == 0 ? "a root" : kind_of(v->heap, mheap_span_of(h, from))->type->name,
                (unsigned long)from, (unsigned long)word, kind_of(v->heap, s)->type->name);
}

static void
check_words(struct verifier *v, uintptr_t object, uintptr_t from, uintptr_t to)
{
    for (; from + WORD <= to && !v->broken; from += WORD)
        check_edge(v, object, slot_load((const void *)from));
}

/* Pointer words of one element, by the type's own fields: independent of masks and tiles. */
static void
check_element(struct verifier *v, uintptr_t object, uintptr_t at, const gc_type *type, size_t left)
{
    if (type->form == GC_FORM_CONSERVATIVE)
        check_words(v, object, at, at + min_size(type->size, left));
    else if (type->form != GC_FORM_NOSCAN && left >= type->size)
        for (size_t i = 0; i < type->nfields; i++)
            check_words(v, object, at + type->fields[i].offset,
                    at + type->fields[i].offset + type->fields[i].bytes);
}

static void
check_object(struct verifier *v, uintptr_t object, size_t bytes, const gc_type *type)
{
    if (type->form == GC_FORM_TRACED)
        return; /* only the host knows, and its function wants a marker */
    if (type->form == GC_FORM_FLEX) {
        check_element(v, object, object, type, bytes);
        for (size_t at = type->tail; at < bytes && !v->broken; at += type->elem->size)
            check_element(v, object, object + at, type->elem, bytes - at);
        return;
    }
    for (size_t at = 0; at < bytes && !v->broken; at += type->size)
        check_element(v, object, object + at, type, bytes - at);
}

static void
check_colours_of(struct verifier *v, struct mspan *s, size_t npages)
{
    const struct mheap *h = &v->heap->mheap;
    const gc_type *type = kind_of(v->heap, s)->type;

    (void)npages;
    if (s->noscan || (s->sizeclass == CLASS_LARGE && !ahalf_load_acquire(&s->ready)))
        return;
    for (size_t i = 0; i < s->nelems && !v->broken; i++)
        if (span_test(span_marks(s), i) && span_is_allocated(s, i))
            check_object(v, span_object(h, s, i), span_elem_bytes(s), type);
}

static void
check_root(void *arg, uintptr_t word)
{
    check_edge(arg, 0, word);
}

void
gcrt_verify_marked(struct gc_heap *heap)
{
    char text[256] = "";
    struct verifier v = { .heap = heap, .text = text, .n = sizeof(text) };

    if (heap->options.debug_verify == 0)
        return;
    gcrt_hold_all(heap);
    gcrt_roots_each(heap, check_root, &v);
    if (heap->options.debug_verify > 1)
        each_span(&v, check_colours_of);
    gcrt_release_all(heap);
    if (v.broken)
        gcrt_fatal("verify: %s", text);
}
