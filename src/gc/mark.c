/* SPDX-License-Identifier: MIT */
/*
 * Marking.
 *
 * Purpose: drain grey objects at the speed of memory.
 * Place: workers and assists drain; barrier flushes mark single words; it calls work, and
 * trace functions of the host.
 * Invariants: whoever sets a mark bit queues or scans the object, unless it has no pointers.
 * Mark bits are set only while marking is open (I-barrier-first, I-no-late-mark).  Words are
 * untrusted: range, span and slot are checked before anything is followed.
 * Concurrency: a mark bit is set by an atomic or; the one who turned it owns the push, and looks
 * whether an ephemeron waits for the object.  Or it is set in the marker's own copy of a page's
 * bits (copies.c); then another marker may push the object, too, and who merges the copy looks.
 * Objects are read word by word while their mutators write them: a slot read before a store
 * is covered by the deletion barrier, one read after it by whoever stored.
 * The scan of an object that was marked acquires nothing: its address was read from memory,
 * and x86 and arm64 order dependent loads behind that.
 * Cost: per object two prefetched misses; per pointer a range check and a mark-bit test.  Big
 * objects are scanned in pieces: the budget of a drain is kept to within a piece, and for a
 * mutator (a brief marker) all pieces are small.
 */
#include "gc/mark.h"

#include "gc/batch.h"
#include "gc/copies.h"
#include "gc/ephemeron.h"
#include "gc/fiber.h"
#include "gc/heap.h"
#include "gc/item.h"
#include "gc/kind.h"
#include "gc/plain.h"
#include "gc/row.h"
#include "gc/scan.h"
#include "gc/weak.h"

/* Words of a raw buffer that a brief marker resolves at once: two misses each. */
#define BRIEF_RAW 64
/* A group is lean if fewer than one in so many of its objects led to a word for the batch. */
#define LEAN_PART 4

/* ---- marking one word ---- */

static inline void
set_mark(struct marker *mk, struct spanmap map, struct mspan *s, size_t index)
{
    aword *word = &span_marks(s)[index / 64];
    uint64_t bit = (uint64_t)1 << (index % 64);
    uintptr_t object;

    if (aword_load_relaxed(word) & bit)
        return;
    /* I-weak-agree: what was not marked when the decision fell is dead. */
    ASSERT(ahalf_load_relaxed(&mk->heap->weak.word) != WEAK_DECIDED);
    if (aword_fetch_or_full(word, bit) & bit) /* full; pairs: ephemeron.filed, mark.said */
        return;
    chaos_point(&mk->heap->os, CHAOS_MARK_PUSH);
    object = spanmap_object(map, s, index);
    mk->marked += span_elem_bytes(s);
    if (!s->noscan)
        put_item(mk, item_of(object, s->kind));
    if (UNLIKELY(ephemeron_is_filed(mk->heap)))
        gcrt_ephemeron_fire(mk, object);
}

void
gcrt_mark_word(struct marker *mk, uintptr_t word)
{
    const struct mheap *h = &mk->heap->mheap;
    size_t index;
    struct mspan *s = mheap_find_object(h, word, &index);

    if (s != NULL)
        set_mark(mk, mheap_map(h), s, index);
}

/*
 * Two threads may have shaded one object, and we, who mark it, may have answered H4 already; the
 * other has not, finds it marked and answers that it had nothing.  The object is grey in our
 * queue then, and nobody else's: so we say so, and before the bit can be seen.
 */
void
gcrt_mark_shaded(struct marker *mk, uintptr_t word)
{
    struct gc_heap *heap = mk->heap;
    ahalf *flushed = &heap->handshake.flushed;
    size_t index;
    struct mspan *s = mheap_find_object(&heap->mheap, word, &index);

    if (s == NULL || (aword_load_acquire(&span_marks(s)[index / 64]) >> index % 64 & 1))
        return; /* pairs: mark.said */
    if (ahalf_load_relaxed(flushed) == 0)
        ahalf_store_relaxed(flushed, 1);
    set_mark(mk, mheap_map(&heap->mheap), s, index);
}

void
gcrt_mark_again_late(struct marker *mk, uintptr_t object)
{
    const struct mspan *s = mheap_span_of(&mk->heap->mheap, object);

    gcrt_workqueue_put_late(&mk->heap->work, &mk->queue, item_of(object, s->kind));
}

void
gcrt_mark_queue_unmarked(struct gc_heap *heap, struct workqueue *q, uintptr_t object)
{
    const struct mspan *s = mheap_span_of(&heap->mheap, object);

    if (!s->noscan)
        workqueue_put(&heap->work, q, item_of(object, s->kind));
}

/*
 * Words of raw buffers come from stacks, registers and barriers.  In C a pointer one past
 * the end of an object may be all that is left of it, so the object before counts too, if it is
 * of a kind that such pointers are made for.
 */
static void
mark_ambiguous(struct marker *mk, uintptr_t word)
{
    gcrt_mark_word(mk, word & ~RAW_EXACT);
    if ((word & RAW_EXACT) == 0 && mheap_may_end_at(&mk->heap->mheap, word))
        gcrt_mark_word(mk, word - 1);
}

/* Resolves one raw buffer, or a part of it; the number of words, 0 if there is none. */
static uint32_t
mark_raw(struct marker *mk)
{
    struct work *w = &mk->heap->work;
    struct workbuf *b = gcrt_work_pop_raw(w);
    uint32_t n;

    if (b == NULL)
        return 0;
    n = mk->brief && b->n > BRIEF_RAW ? BRIEF_RAW : b->n;
    for (uint32_t i = 0; i < n; i++)
        mark_ambiguous(mk, b->slot[--b->n]);
    if (b->n != 0)
        gcrt_work_push_raw(w, b);
    else
        gcrt_work_put_empty(w, b);
    return n;
}

/* ---- the batch ---- */

/*
 * Marks the batch.  Words of typed slots point to allocated objects.  Words of conservative
 * objects, and what trace functions report, may hit a free slot; marking that is harmless
 * (the sweep ignores it) and scanning it only finds old words, so which slots are allocated
 * is not asked, and one line per object is enough.  But a host's trace function must never
 * see a slot that is not an object: spans of traced types are `checked`.
 */
static NOINLINE void
mark_odd(struct marker *mk, uintptr_t offset)
{
    const struct spanmap map = mheap_map(&mk->heap->mheap);
    struct mspan *s = spanmap_at(map, offset);
    size_t index;

    if (s == NULL)
        return;
    index = spanmap_index(map, s, map.base + offset);
    if (index >= s->nelems || (s->checked && !span_is_allocated(s, index)))
        return;
    set_mark(mk, map, s, index);
}

/*
 * The same for a small object, with all that it needs in registers; one miss, on the mark line,
 * which has been prefetched.  Returns its item if it is to be scanned, or 0; the caller queues it,
 * or scans it.  With every other chaos seed all goes the other way, where a chaos point is.
 */
static inline uintptr_t
mark_offset(struct marker *mk, struct mark_copies *copies, struct spanmap map, uintptr_t offset)
{
    struct gc_heap *heap = mk->heap;
    uintptr_t page = offset >> PAGE_SHIFT, in_span = offset % PAGE_SIZE, object;
    struct mspan *s = &map.spans[page];
    unsigned head = ahalf_load_acquire(&s->head); /* pairs: span.publish */
    size_t index, bytes;
    uint64_t bit;
    aword *word;

    if ((head & SPAN_STATE) == SPAN_INTERIOR) {
        s -= head >> 2;
        in_span += (uintptr_t)(head >> 2) << PAGE_SHIFT;
        head = ahalf_load_acquire(&s->head); /* pairs: span.publish */
    }
    if (UNLIKELY((head & SPAN_STATE) != SPAN_SMALL || s->checked || heap->os.chaos & 1)) {
        mark_odd(mk, offset);
        return 0;
    }
    index = (size_t)((in_span * s->divmagic) >> 32);
    if (UNLIKELY(index >= s->nelems))
        return 0;
    bytes = gcrt_class_bytes[s->sizeclass];
    object = map.base + offset - in_span + index * bytes;
    if (copies != NULL && copies_have(copies, page))
        return copies_mark(copies, page, index) && !s->noscan ? item_of(object, s->kind) : 0;
    word = &span_marks(s)[index / 64];
    bit = (uint64_t)1 << index % 64;
    if (aword_load_relaxed(word) & bit)
        return 0;
    ASSERT(ahalf_load_relaxed(&heap->weak.word) != WEAK_DECIDED); /* I-weak-agree */
    if (aword_fetch_or_full(word, bit) & bit) /* full; pairs: ephemeron.filed */
        return 0;
    mk->marked += bytes;
    if (UNLIKELY(ephemeron_is_filed(heap)))
        gcrt_ephemeron_fire(mk, object);
    return s->noscan ? 0 : item_of(object, s->kind);
}

static ALWAYS_INLINE void
mark_words(struct marker *mk, bool rows)
{
    const struct spanmap map = mheap_map(&mk->heap->mheap);
    struct mark_copies *copies = copies_at_hand(mk);
    uint32_t n = mk->nbatch, i = 0, row;

    while (i < n) {
        uintptr_t item;

        if (rows && is_row(mk, i) && (row = gcrt_mark_row(mk, map, i)) != 0) {
            i += row;
            continue;
        }
        item = mark_offset(mk, copies, map, mk->batch[i++]);
        if (item != 0)
            put_item(mk, item);
    }
    mk->nbatch = 0;
}

/* With words of arrays among them. */
static NOINLINE void
mark_rows(struct marker *mk)
{
    mark_words(mk, true);
    mk->rows = false;
}

void
gcrt_mark_batch(struct marker *mk)
{
    if (UNLIKELY(mk->rows))
        mark_rows(mk);
    else
        mark_words(mk, false);
}

/* ---- scanning one item ---- */

/*
 * The part of an object that is scanned at once, and then the clock may be looked at.  What
 * remains is queued, and is what the same marker takes next.
 */
static size_t
piece_bytes(const struct marker *mk)
{
    return mk->brief ? PIECE_BRIEF : PIECE_BYTES;
}

/*
 * Only the host can tell the parts of a traced object apart.  A mutator that met a big one
 * would be kept for as long as its trace function takes, so it leaves it to the workers.
 */
static bool
leave_to_workers(struct marker *mk, const struct kind *kind, size_t bytes, uintptr_t item)
{
    if (LIKELY(!mk->leaves_traced) || kind->layout.how != SCAN_TRACE || bytes <= PIECE_BRIEF)
        return false;
    gcrt_work_push_aside(&mk->heap->work, item);
    return true;
}

/*
 * Queues oblets of a large object when the first of a group of them is met: the others of
 * the group, and the first one of the next group.
 */
static void
queue_oblets(struct marker *mk, uintptr_t oblet, uintptr_t end, unsigned kind)
{
    const size_t group = OBLET_GROUP * OBLET_BYTES;

    if (end - oblet > group)
        put_item(mk, item_of(oblet + group, kind));
    for (size_t at = OBLET_BYTES; at < group && oblet + at < end; at += OBLET_BYTES)
        put_item(mk, item_of(oblet + at, kind));
}

static void
scan_large(struct marker *mk, const struct kind *kind, uintptr_t item)
{
    uintptr_t address = item & ITEM_ADDRESS;
    struct mspan *s = mheap_span_of(&mk->heap->mheap, address);
    uintptr_t object = span_start(&mk->heap->mheap, s);
    size_t bytes = s->alloc.large.bytes, at = address - object, to, oblet;

    if (!span_is_ready(s))
        return; /* pairs: large.ready; it holds no pointer yet, or none any more */
    if (kind->layout.how == SCAN_TRACE) {
        if (!leave_to_workers(mk, kind, bytes, item))
            gcrt_scan_part(mk, kind, object, object + bytes, object, object + bytes);
        return;
    }
    if (at % (OBLET_GROUP * OBLET_BYTES) == 0)
        queue_oblets(mk, address, object + bytes, s->kind);
    oblet = min_size((at / OBLET_BYTES + 1) * OBLET_BYTES, bytes);
    to = min_size(at + piece_bytes(mk), oblet);
    gcrt_scan_part(mk, kind, object, object + bytes, address, object + to);
    if (to < oblet)
        put_item(mk, item_of(object + to, s->kind));
}

/* Where the small object starts that address points into. */
static uintptr_t
object_at(const struct mheap *h, uintptr_t address)
{
    struct mspan *s = mheap_span_of(h, address);

    return span_object(h, s, span_object_index(h, s, address));
}

static void
scan_small(struct marker *mk, const struct kind *kind, uintptr_t item)
{
    uintptr_t from = item & ITEM_ADDRESS;
    uintptr_t object = item & ITEM_REST ? object_at(&mk->heap->mheap, from) : from;
    size_t bytes = gcrt_class_bytes[kind->central.sizeclass];
    uintptr_t end = object + bytes, to = end;

    if (leave_to_workers(mk, kind, bytes, item))
        return;
    if (kind->layout.how != SCAN_TRACE)
        to = min_size(from + piece_bytes(mk), end);
    gcrt_scan_part(mk, kind, object, end, from, to);
    if (to < end)
        put_item(mk, item_of(to | ITEM_REST, kind->central.index));
}

/*
 * A list: the only grey object leads to one other, so there is nothing to do while memory is
 * awaited, and no need to queue it.  Follows it from the batch's only word to its end, or to
 * where it forks; returns how many objects were scanned.
 */
static NOINLINE uint32_t
follow_list(struct marker *mk, uint64_t until)
{
    const struct spanmap map = mheap_map(&mk->heap->mheap);
    struct mark_copies *copies = copies_at_hand(mk);
    uint32_t n = 0;

    while (mk->nbatch == 1 && mk->scanned + (2 * (uint64_t)n + mk->near) * WORD_EFFORT < until) {
        uintptr_t item = mark_offset(mk, copies, map, mk->batch[0]);

        mk->nbatch = 0;
        if (item == 0)
            break;
        if (!kind_is_plain(item_kind(mk, item))) {
            put_item(mk, item);
            break;
        }
        n += gcrt_scan_plain(mk, &item, 1);
    }
    return n;
}

static void
scan_other(struct marker *mk, uintptr_t item)
{
    const struct kind *kind = item_kind(mk, item);

    if (kind->central.sizeclass == CLASS_LARGE)
        scan_large(mk, kind, item);
    else
        scan_small(mk, kind, item);
}

/* ---- draining ---- */

/* Takes up to MARK_GROUP objects from the private buffers and prefetches them, at both ends. */
static uint32_t
take_group(struct marker *mk, uintptr_t *group)
{
    struct workbuf *b = mk->queue.cur;
    uint32_t n;

    if (b == NULL)
        return 0;
    n = b->n < MARK_GROUP ? b->n : MARK_GROUP;
    b->n -= n;
    for (uint32_t i = 0; i < n; i++) {
        uintptr_t item = b->slot[b->n + n - 1 - i], at = item & ITEM_ADDRESS;

        group[i] = item;
        __builtin_prefetch((const void *)at);
        __builtin_prefetch((const void *)(at + item_kind(mk, item)->layout.reach));
    }
    return n;
}

/* Scans the group's objects until mk->scanned has reached `until`; how many. */
static inline uint32_t
scan_group(struct marker *mk, const uintptr_t *group, uint32_t n, uint64_t until)
{
    uint32_t words = mk->nbatch, i, run;

    for (i = 0; i < n && mk->scanned < until; i += run) {
        if (LIKELY(kind_is_plain(item_kind(mk, group[i])))) {
            run = gcrt_scan_plain(mk, &group[i], n - i);
        } else {
            scan_other(mk, group[i]);
            run = 1;
        }
    }
    mk->lean = (mk->nbatch - words) * LEAN_PART <= i; /* a full batch was emptied: a guess */
    return i;
}

static void
put_back(struct marker *mk, const uintptr_t *group, uint32_t from, uint32_t n)
{
    for (uint32_t left = n; left > from; left--)
        put_item(mk, group[left - 1]);
}

/*
 * One round: a group is taken, the last round's words are marked while it comes, the group is
 * scanned.  Where groups lead to few words, as leaves do, that is no time to wait in: then the
 * next group is on its way while one is scanned, as long as that lasts.  What is left of the groups
 * when mk->scanned has reached `until` goes back.
 */
static uint32_t
mark_round(struct marker *mk, uint64_t until)
{
    uintptr_t groups[2][MARK_GROUP];
    uint32_t n = take_group(mk, groups[0]), words = mk->nbatch, all = words;

    if (n == 0 && words == 1) /* its one object alone is grey */
        return 2 * follow_list(mk, until) + words;
    gcrt_mark_batch(mk);
    if (n == 0) /* there is nothing to do meanwhile */
        n = take_group(mk, groups[0]);
    for (unsigned g = 0; n != 0; g = !g) {
        uint32_t ahead = mk->lean ? take_group(mk, groups[!g]) : 0;
        uint32_t done = scan_group(mk, groups[g], n, until);

        all += done;
        if (UNLIKELY(done < n)) {
            put_back(mk, groups[!g], 0, ahead);
            put_back(mk, groups[g], done, n);
            break;
        }
        n = ahead;
    }
    return all;
}

/*
 * One round, or the next buffer if the private ones are empty, or raw words, or parked stacks, or
 * late work.
 * Returns the number of items and words dealt with, 0 if no work is in reach.
 */
static uint32_t
mark_step(struct marker *mk, uint64_t until)
{
    uint32_t n = mark_round(mk, until);

    if (n != 0)
        return n;
    if (gcrt_workqueue_refill(&mk->heap->work, &mk->queue))
        return 1;
    if (!mk->leaves_traced && gcrt_workqueue_refill_aside(&mk->heap->work, &mk->queue))
        return 1;
    n = mark_raw(mk);
    if (n != 0 || mk->brief)
        return n;
    n = gcrt_fibers_mark(mk);
    return n != 0 ? n : gcrt_workqueue_refill_late(&mk->heap->work, &mk->queue);
}

uint64_t
gcrt_mark_drain(struct marker *mk, uint64_t budget)
{
    uint64_t start = mk->scanned, effort = 0;

    while (effort + (mk->scanned - start) < budget) {
        uint32_t n = mark_step(mk, start + (budget - effort));

        if (n == 0)
            break;
        effort += (uint64_t)(n + mk->near) * WORD_EFFORT;
        mk->near = 0;
    }
    gcrt_mark_batch(mk); /* nothing stays in the batch when the marker stops */
    return effort + (mk->scanned - start);
}

bool
gcrt_marker_flush(struct marker *mk)
{
    struct marking *marking = &mk->heap->marking;

    gcrt_copies_merge(mk);
    /* Whoever marked or scanned since the round began may have made work for others whose
     * flush came before: the round does not count (I-ragged-done). */
    if (mk->marked != 0 || mk->scanned != 0)
        ahalf_store_release(&mk->heap->handshake.flushed, 1);
    if (mk->marked != 0)
        aword_add_relaxed(&marking->marked_bytes, mk->marked);
    if (mk->scanned != 0)
        aword_add_relaxed(&marking->heap_work, mk->scanned);
    if (mk->ephemerons != 0)
        aword_add_relaxed(&mk->heap->ephemerons.scanned, mk->ephemerons);
    mk->marked = mk->scanned = mk->ephemerons = 0;
    return gcrt_workqueue_publish(&mk->heap->work, &mk->queue);
}
