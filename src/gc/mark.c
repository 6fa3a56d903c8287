/* SPDX-License-Identifier: MIT */
/*
 * Marking.
 *
 * Purpose: drain grey objects at the speed of memory.
 * Place: workers and assists drain; barrier flushes mark single words; it calls work, and
 * trace functions of the host.
 * Invariants: whoever sets a mark bit queues the object, unless it has no pointers.  Mark
 * bits are set only while marking is open (I-barrier-first, I-no-late-mark).  Words are
 * untrusted: range, span and slot are checked before anything is followed.
 * Concurrency: a mark bit is set by an atomic or; the one who turned it owns the push.
 * Objects are read word by word while their mutators write them: a slot read before a store
 * is covered by the deletion barrier, one read after it by whoever stored.
 * The scan of an object that was marked acquires nothing: its address was read from memory,
 * and x86 and arm64 order dependent loads behind that.
 * Cost: per object two prefetched misses; per pointer a range check and a mark-bit test.
 */
#include "gc/mark.h"

#include "gc/heap.h"
#include "gc/kind.h"

/* What a trace function sees of a marker. */
struct gc_tracer {
    struct marker marker;
};

/*
 * What marking one word costs, in bytes scanned: objects without pointers are marked and
 * never scanned, and a bounded step must count them too.
 */
#define WORD_EFFORT 32

/*
 * A queued item is an object's address with its kind in the top 16 bits, so that scanning
 * it does not look at its span again.
 */
#define ITEM_KIND_SHIFT 48
#define ITEM_ADDRESS    (((uintptr_t)1 << ITEM_KIND_SHIFT) - 1)

static inline void
queue_item(struct marker *mk, uintptr_t address, unsigned kind)
{
    workqueue_put(&mk->heap->work, &mk->queue, address | (uintptr_t)kind << ITEM_KIND_SHIFT);
}

/* ---- marking one word ---- */

static inline void
set_mark(struct marker *mk, struct mspan *s, size_t index)
{
    const struct mheap *h = &mk->heap->mheap;
    aword *word = &span_marks(s)[index / 64];
    uint64_t bit = (uint64_t)1 << (index % 64);

    if (aword_load_relaxed(word) & bit)
        return;
    if (aword_fetch_or_relaxed(word, bit) & bit)
        return;
    chaos_point(&mk->heap->os, CHAOS_MARK_PUSH);
    mk->marked += span_elem_bytes(s);
    if (!s->noscan)
        queue_item(mk, span_object(h, s, index), s->kind);
}

void
gcrt_mark_word(struct marker *mk, uintptr_t word)
{
    const struct mheap *h = &mk->heap->mheap;
    struct mspan *s = mheap_span_of(h, word);
    size_t index;

    if (s == NULL)
        return;
    index = span_object_index(h, s, word);
    if (index < s->nelems && span_is_allocated(s, index))
        set_mark(mk, s, index);
}

/*
 * Words of raw buffers come from stacks, registers and barriers.  In C a pointer one past
 * the end of an object may be all that is left of it, so the object before counts too.
 */
static void
mark_ambiguous(struct marker *mk, uintptr_t word)
{
    gcrt_mark_word(mk, word & ~RAW_EXACT);
    if ((word & RAW_EXACT) == 0)
        gcrt_mark_word(mk, word - 1);
}

/* Resolves one raw buffer; the number of its words, 0 if there is none. */
static uint32_t
mark_raw(struct marker *mk)
{
    struct work *w = &mk->heap->work;
    struct workbuf *b = gcrt_work_pop_raw(w);
    uint32_t n;

    if (b == NULL)
        return 0;
    n = b->n;
    for (uint32_t i = 0; i < n; i++)
        mark_ambiguous(mk, b->slot[i]);
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
static void
mark_batch(struct marker *mk)
{
    const struct mheap *h = &mk->heap->mheap;
    uint32_t n = mk->nbatch;

    for (uint32_t i = 0; i < n; i++) {
        uintptr_t word = mk->batch[i];
        struct mspan *s = mheap_span_of(h, word);
        size_t index;

        if (UNLIKELY(s == NULL))
            continue;
        index = span_object_index(h, s, word);
        if (UNLIKELY(index >= s->nelems))
            continue;
        if (UNLIKELY(s->checked) && !span_is_allocated(s, index))
            continue;
        set_mark(mk, s, index);
    }
    mk->nbatch = 0;
}

static inline void
make_room(struct marker *mk, uint32_t words)
{
    if (UNLIKELY(mk->nbatch + words > MARK_BATCH))
        mark_batch(mk);
}

/* Appends a word that points into the heap; returns the new length. */
static inline uint32_t
append(struct marker *mk, uint32_t n, uintptr_t word)
{
    const struct mheap *h = &mk->heap->mheap;

    if (word - h->base >= aword_load_relaxed(&h->limit))
        return n;
    __builtin_prefetch(mheap_descriptor(h, word - h->base));
    mk->batch[n] = word;
    return n + 1;
}

/* ---- scanning one object ---- */

RACY_READER static void
scan_mask(struct marker *mk, uintptr_t object, uint64_t mask)
{
    uint32_t n;

    make_room(mk, 64);
    n = mk->nbatch;
    for (; mask != 0; mask &= mask - 1)
        n = append(mk, n, RACY_READ(object + bit_lowest(mask) * WORD));
    mk->nbatch = n;
}

RACY_READER static void
scan_all(struct marker *mk, uintptr_t from, uintptr_t to)
{
    while (from + WORD <= to) {
        uintptr_t stop = from + min_size((to - from) & ~(WORD - 1), 64 * WORD);
        uint32_t n;

        make_room(mk, 64);
        n = mk->nbatch;
        for (; from < stop; from += WORD)
            n = append(mk, n, RACY_READ(from));
        mk->nbatch = n;
    }
}

static void
scan_fields(struct marker *mk, uintptr_t object, const gc_type *type)
{
    for (size_t i = 0; i < type->nfields; i++) {
        uintptr_t from = object + type->fields[i].offset;

        scan_all(mk, from, from + type->fields[i].bytes);
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

    if (UNLIKELY(mk->report != NULL)) {
        mk->report(mk, (uintptr_t)obj);
        return;
    }
    make_room(mk, 1);
    mk->nbatch = append(mk, mk->nbatch, (uintptr_t)obj);
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

/* ---- parts of objects ---- */

RACY_READER static void
scan_tagged_words(struct marker *mk, const gc_decode *decode, uintptr_t from, uintptr_t to)
{
    while (from < to) {
        uintptr_t stop = from + min_size(to - from, 64 * WORD);
        uint32_t n;

        make_room(mk, 64);
        n = mk->nbatch;
        for (; from < stop; from += WORD)
            n = append(mk, n, gc_decode_word(decode, RACY_READ(from)));
        mk->nbatch = n;
    }
}

static void
scan_tagged(struct marker *mk, uintptr_t object, const gc_type *type)
{
    const gc_decode *decode = type_decode(type);

    for (size_t i = 0; i < type->nfields; i++) {
        uintptr_t from = object + type->fields[i].offset;

        scan_tagged_words(mk, decode, from, from + type->fields[i].bytes);
    }
}

/*
 * Elements of a tiled region that start in [from, to); origin is element 0, bytes the
 * region's end.  A last incomplete element is padding, and zero.
 */
static void
scan_tiled(struct marker *mk, const struct layout *l, uintptr_t origin, uintptr_t end,
        uintptr_t from, uintptr_t to)
{
    uintptr_t at = origin + (from - origin + l->elem_bytes - 1) / l->elem_bytes * l->elem_bytes;

    for (; at < to && at + l->elem_bytes <= end; at += l->elem_bytes)
        if (l->how == SCAN_TILED)
            scan_mask(mk, at, l->mask);
        else if (l->how == SCAN_FIELDS)
            scan_fields(mk, at, l->type);
        else
            scan_tagged(mk, at, l->type);
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

    if (from == object)
        scan_fields(mk, object, kind->type);
    if (to > tail)
        scan_region(mk, &kind->tail, tail, end, from > tail ? from : tail, to);
}

static inline void
scan_part(struct marker *mk, const struct kind *kind, uintptr_t object, uintptr_t end,
        uintptr_t from, uintptr_t to)
{
    if (kind->layout.how == SCAN_FLEX)
        scan_flex(mk, kind, object, end, from, to);
    else
        scan_region(mk, &kind->layout, object, end, from, to);
    mk->scanned += to - from;
}

/* Queues the later oblets of a large object when its first one is met. */
static void
queue_oblets(struct marker *mk, uintptr_t object, const struct mspan *s)
{
    for (size_t at = OBLET_BYTES; at < s->alloc.large.bytes; at += OBLET_BYTES)
        queue_item(mk, object + at, s->kind);
}

static void
scan_large(struct marker *mk, const struct kind *kind, uintptr_t address)
{
    struct mspan *s = mheap_span_of(&mk->heap->mheap, address);
    uintptr_t object = span_start(&mk->heap->mheap, s);
    size_t bytes = s->alloc.large.bytes;

    if (!ahalf_load_acquire(&s->ready))
        return; /* pairs: large.ready; still being zeroed, so it holds no pointer yet */
    if (kind->layout.how == SCAN_TRACE) { /* only the host can tell its parts apart */
        scan_part(mk, kind, object, object + bytes, object, object + bytes);
        return;
    }
    if (address == object)
        queue_oblets(mk, object, s);
    scan_part(mk, kind, object, object + bytes, address,
            object + min_size(address - object + OBLET_BYTES, bytes));
}

static inline void
scan_item(struct marker *mk, uintptr_t item)
{
    const struct kind *kind = kind_at(mk->heap, (unsigned)(item >> ITEM_KIND_SHIFT));
    uintptr_t address = item & ITEM_ADDRESS;

    if (LIKELY(kind->layout.how == SCAN_ONE && kind->central.sizeclass != CLASS_LARGE)) {
        scan_mask(mk, address, kind->layout.mask);
        mk->scanned += kind->layout.elem_bytes;
    } else if (kind->central.sizeclass == CLASS_LARGE) {
        scan_large(mk, kind, address);
    } else {
        uintptr_t end = address + gcrt_class_bytes[kind->central.sizeclass];

        scan_part(mk, kind, address, end, address, end);
    }
}

/* ---- draining ---- */

/* Takes up to MARK_GROUP objects from the private buffers and prefetches them. */
static uint32_t
take_group(struct marker *mk, uintptr_t *group)
{
    struct workqueue *q = &mk->queue;
    uint32_t n = 0;

    while (n < MARK_GROUP && q->cur != NULL && q->cur->n != 0) {
        group[n] = q->cur->slot[--q->cur->n];
        __builtin_prefetch((const void *)(group[n] & ITEM_ADDRESS));
        n++;
    }
    return n;
}

/* One round: a group is taken, the last round's words are marked, the group is scanned. */
static uint32_t
mark_round(struct marker *mk)
{
    uintptr_t group[MARK_GROUP];
    uint32_t n = take_group(mk, group), words = mk->nbatch;

    mark_batch(mk);
    for (uint32_t i = 0; i < n; i++)
        scan_item(mk, group[i]);
    return n + words;
}

/*
 * One round, or the next buffer if the private ones are empty, or raw words.  Returns the
 * number of items and words dealt with, 0 if no work is in reach.
 */
static uint32_t
mark_step(struct marker *mk)
{
    uint32_t n = mark_round(mk);

    if (n != 0)
        return n;
    return gcrt_workqueue_refill(&mk->heap->work, &mk->queue) ? 1 : mark_raw(mk);
}

uint64_t
gcrt_mark_drain(struct marker *mk, uint64_t budget)
{
    uint64_t start = mk->scanned, effort = 0;

    while (effort + (mk->scanned - start) < budget) {
        uint32_t n = mark_step(mk);

        if (n == 0)
            break;
        effort += n * WORD_EFFORT;
    }
    mark_batch(mk); /* nothing stays in the batch when the marker stops */
    return effort + (mk->scanned - start);
}

bool
gcrt_marker_flush(struct marker *mk)
{
    struct marking *marking = &mk->heap->marking;

    /* Whoever marked or scanned since the round began may have made work for others whose
     * flush came before: the round does not count (I-ragged-done). */
    if (mk->marked != 0 || mk->scanned != 0)
        ahalf_store_release(&mk->heap->handshake.flushed, 1);
    if (mk->marked != 0)
        aword_add_relaxed(&marking->marked_bytes, mk->marked);
    if (mk->scanned != 0)
        aword_add_relaxed(&marking->heap_work, mk->scanned);
    mk->marked = mk->scanned = 0;
    return gcrt_workqueue_publish(&mk->heap->work, &mk->queue);
}
