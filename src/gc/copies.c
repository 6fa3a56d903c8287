/* SPDX-License-Identifier: MIT */
/*
 * Copies of mark bits.
 *
 * Purpose: an atomic operation for each word of mark bits, instead of one for each object.
 * Place: the near kernels (plain.c) mark in copies; whoever flushes a marker merges them.
 *
 * An atomic or costs some 20 cycles, in which no load that follows can begin: a third to a half
 * of what marking a near object takes.  So a marker has places for MARK_COPIES pages, by page
 * number.  On the first near object of a page it copies the page's bits there; what it marks from
 * then on it sets in the copy.  When another page wants the place, and when the marker counts
 * itself out (worker.h), the copy's new bits are set in the page's own by one atomic or a word.
 *
 * Two markers may so mark one object, each in its own copy or one of them in the page's own
 * bits, and both scan it.  That is harmless and rare: an object has one near reference or few,
 * and nearly all pages are one marker's at a time.  It counts once, for the merge that has turned
 * the bit.
 *
 * Invariants: copies are empty while their marker is not counted as active.  So whoever finds
 * that nobody marks sees all marks, and the end of marking is none the wiser (I-ragged-done);
 * what is scanned and not merged yet can only be scanned again.
 * Who reads marks while somebody marks must live with one that comes later: a look before an
 * object is marked does, and so does a weak reference, which marks what it takes.  An ephemeron
 * that finds its key unmarked is filed, and whoever marks the key finds it there; so who merges
 * looks as one who marks does (ephemeron.filed).  From the first that is filed on, which is when
 * all else is marked, copies are not used: in a chain of ephemerons each step would wait for a
 * merge.
 * Concurrency: a copy is its marker's alone; the bits are merged by full operations, before the
 * marker says that it has marked, publishes its queue and counts itself out (term.pml).  With the
 * bits themselves nothing travels (docs/memory-order.md, workstack.top).
 * Cost: a page's line is read once, and written for as many words as have new bits.
 */
#include "gc/copies.h"

#include "gc/weak.h"

struct mark_copies *
gcrt_copies_make(struct persist *persist)
{
    struct mark_copies *copies = gcrt_persist_alloc(persist, sizeof(*copies));

    for (unsigned i = 0; copies != NULL && i < MARK_COPIES; i++)
        copies->page[i] = NO_PAGE;
    return copies;
}

/* Objects of a page have been marked, and ephemerons may wait for them. */
static NOINLINE void
fire(struct marker *mk, uintptr_t first, size_t bytes, uint64_t bits)
{
    for (; bits != 0; bits &= bits - 1)
        gcrt_ephemeron_fire(mk, first + bit_lowest(bits) * bytes);
}

static void
merge(struct marker *mk, struct spanmap map, unsigned i)
{
    struct mspan *s = &map.spans[mk->copies->page[i]];
    size_t bytes = gcrt_class_bytes[s->sizeclass];
    aword *marks = span_marks(s);
    uint64_t objects = 0;

    ASSERT(ahalf_load_relaxed(&mk->heap->weak.word) != WEAK_DECIDED); /* I-weak-agree */
    chaos_point(&mk->heap->os, CHAOS_MARK_PUSH); /* another marker may come first */
    for (size_t w = 0; w < span_words(s); w++) {
        uint64_t bits = mk->copies->bits[i][w] & ~aword_load_relaxed(&marks[w]);

        if (bits == 0)
            continue;
        bits &= ~aword_fetch_or_full(&marks[w], bits); /* full; pairs: ephemeron.filed */
        objects += bit_count(bits);
        if (UNLIKELY(ephemeron_is_filed(mk->heap)))
            fire(mk, spanmap_start(map, s) + w * 64 * bytes, bytes, bits);
    }
    mk->marked += objects * bytes;
    mk->copies->page[i] = NO_PAGE;
}

void
gcrt_copies_take(struct marker *mk, struct spanmap map, uintptr_t page)
{
    struct mspan *s = &map.spans[page];
    const aword *marks = span_marks(s);
    unsigned i = page % MARK_COPIES;

    if (mk->copies->page[i] != NO_PAGE)
        merge(mk, map, i);
    mk->copies->page[i] = page;
    mk->copies->any = true;
    for (size_t w = 0; w < span_words(s); w++)
        mk->copies->bits[i][w] = aword_load_relaxed(&marks[w]);
}

void
gcrt_copies_merge(struct marker *mk)
{
    const struct spanmap map = mheap_map(&mk->heap->mheap);

    if (mk->copies == NULL || !mk->copies->any)
        return;
    for (unsigned i = 0; i < MARK_COPIES; i++)
        if (mk->copies->page[i] != NO_PAGE)
            merge(mk, map, i);
    mk->copies->any = false;
}
