/* SPDX-License-Identifier: MIT */
/*
 * Rows of words that lead to one page.
 *
 * Purpose: what an array points to was often allocated in its order, so that its words come in
 * rows which lead to one page each.  A row's span is looked at once, and objects whose bits are in
 * one mark word are marked by one atomic operation.
 * Place: mark, for a batch with words of arrays.  Objects near to who points to them are
 * plain.c's; what other objects point to is in no row, and to look for some costs 2 %.
 * Invariants: as mark.c's: words are untrusted, and who turned a bit scans the object.
 * Concurrency: as in mark.c.  Of several bits that are set at once those are ours that were
 * zero before the operation; another marker's operation finds them set.
 * Cost: 20 instructions a word, in place of 60 and the atomic operation's 2 ns.
 */
#include "gc/row.h"

#include "gc/ephemeron.h"
#include "gc/item.h"
#include "gc/weak.h"

/* Objects of a row with bits in one mark word. */
struct together {
    struct mspan *s;
    uintptr_t start; /* of the span */
    uint32_t bytes;  /* of an object */
    size_t word;     /* index */
    uint64_t bits;
};

/* Marked objects are scanned, and ephemerons may wait for them. */
static void
queue_objects(struct marker *mk, const struct together *t, uint64_t bits)
{
    for (; bits != 0; bits &= bits - 1) {
        uintptr_t object = t->start + (t->word * 64 + bit_lowest(bits)) * t->bytes;

        if (!t->s->noscan)
            put_item(mk, item_of(object, t->s->kind));
        if (UNLIKELY(ephemeron_is_filed(mk->heap)))
            gcrt_ephemeron_fire(mk, object);
    }
}

static inline void
mark_together(struct marker *mk, const struct together *t)
{
    aword *word = &span_marks(t->s)[t->word];
    uint64_t bits = t->bits & ~aword_load_relaxed(word);

    if (bits == 0)
        return;
    ASSERT(ahalf_load_relaxed(&mk->heap->weak.word) != WEAK_DECIDED); /* I-weak-agree */
    chaos_point(&mk->heap->os, CHAOS_MARK_PUSH); /* another marker may come first */
    bits &= ~aword_fetch_or_full(word, bits); /* full; pairs: ephemeron.filed */
    mk->marked += (uint64_t)bit_count(bits) * t->bytes;
    if (!t->s->noscan || UNLIKELY(ephemeron_is_filed(mk->heap)))
        queue_objects(mk, t, bits);
}

NOINLINE uint32_t
gcrt_mark_row(struct marker *mk, struct spanmap map, uint32_t i)
{
    const uintptr_t *from = &mk->batch[i], *end = &mk->batch[mk->nbatch], *at;
    struct mspan *s = spanmap_at(map, *from);
    struct together t;
    uintptr_t start;

    if (s == NULL || span_state(s) != SPAN_SMALL || s->checked)
        return 0;
    t = (struct together){ s, spanmap_start(map, s), gcrt_class_bytes[s->sizeclass], 0, 0 };
    start = t.start - map.base;
    for (at = from; at < end && (*at ^ *from) < PAGE_SIZE; at++) {
        size_t index = (size_t)(((*at - start) * s->divmagic) >> 32);

        if (UNLIKELY(index >= s->nelems))
            continue;
        if (index / 64 != t.word) {
            mark_together(mk, &t);
            t.word = index / 64;
            t.bits = 0;
        }
        t.bits |= (uint64_t)1 << index % 64;
    }
    mark_together(mk, &t);
    return (uint32_t)(at - from);
}
