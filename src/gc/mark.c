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
    chaos_point(&mk->heap->os); /* between the mark bit and the push */
    mk->marked += span_elem_bytes(s);
    if (!s->noscan)
        queue_item(mk, span_object(h, s, index), s->kind);
}

/* A word read from a typed slot: it points to an allocated object, or to no span. */
static inline void
mark_precise(struct marker *mk, uintptr_t word)
{
    const struct mheap *h = &mk->heap->mheap;
    struct mspan *s = mheap_span_of(h, word);
    size_t index;

    if (UNLIKELY(s == NULL))
        return;
    index = span_object_index(h, s, word);
    if (LIKELY(index < s->nelems))
        set_mark(mk, s, index);
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
    gcrt_mark_word(mk, word);
    gcrt_mark_word(mk, word - 1);
}

bool
gcrt_mark_raw(struct marker *mk)
{
    struct work *w = &mk->heap->work;
    struct workbuf *b = gcrt_work_pop_raw(w);

    if (b == NULL)
        return false;
    for (uint32_t i = 0; i < b->n; i++)
        mark_ambiguous(mk, b->slot[i]);
    gcrt_work_put_empty(w, b);
    return true;
}

/* ---- scanning one object ---- */

static inline void
pending_take(struct marker *mk)
{
    mark_precise(mk, mk->pending[mk->pending_out++ % MARK_PENDING]);
}

/* A word of a scanned object: remembered until its descriptor has arrived. */
static inline void
pending_put(struct marker *mk, uintptr_t base, uintptr_t limit, uintptr_t word)
{
    if (word - base >= limit)
        return;
    __builtin_prefetch(mheap_descriptor(&mk->heap->mheap, word - base));
    if (UNLIKELY(mk->pending_in - mk->pending_out == MARK_PENDING))
        pending_take(mk);
    mk->pending[mk->pending_in++ % MARK_PENDING] = word;
}

RACY_READER static void
scan_mask(struct marker *mk, uintptr_t object, uint64_t mask)
{
    uintptr_t base = mk->heap->mheap.base;
    uintptr_t limit = aword_load_acquire(&mk->heap->mheap.limit); /* pairs: heap.grow */

    for (; mask != 0; mask &= mask - 1)
        pending_put(mk, base, limit, RACY_READ(object + bit_lowest(mask) * WORD));
}

RACY_READER static void
scan_all(struct marker *mk, uintptr_t from, uintptr_t to)
{
    uintptr_t base = mk->heap->mheap.base;
    uintptr_t limit = aword_load_acquire(&mk->heap->mheap.limit); /* pairs: heap.grow */

    for (; from + WORD <= to; from += WORD)
        pending_put(mk, base, limit, RACY_READ(from));
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
    const struct mheap *h = &mk->heap->mheap;

    pending_put(mk, h->base, aword_load_acquire(&h->limit), (uintptr_t)obj);
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
        if (l->how == SCAN_FIELDS)
            scan_fields(mk, at, l->type);
        else
            scan_mask(mk, at, l->mask);
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

/* Fills `ahead` from the queue; false if there is nothing to scan or resolve any more. */
static bool
look_ahead(struct marker *mk)
{
    while (mk->ahead_in - mk->ahead_out < MARK_AHEAD) {
        uintptr_t item;

        if (mk->queue.cur == NULL || mk->queue.cur->n == 0) {
            /* Resolve what is pending before taking a buffer from others. */
            if (mk->pending_in != mk->pending_out) {
                pending_take(mk);
                continue;
            }
            if (mk->ahead_in != mk->ahead_out)
                return true;
        }
        item = workqueue_get(&mk->heap->work, &mk->queue);
        if (item == 0)
            return gcrt_mark_raw(mk) || mk->ahead_in != mk->ahead_out;
        __builtin_prefetch((const void *)(item & ITEM_ADDRESS));
        mk->ahead[mk->ahead_in++ % MARK_AHEAD] = item;
    }
    return true;
}

/* Nothing stays in the short queues when the marker stops. */
static void
put_back(struct marker *mk)
{
    while (mk->pending_in != mk->pending_out)
        pending_take(mk);
    while (mk->ahead_in != mk->ahead_out)
        workqueue_put(
                &mk->heap->work, &mk->queue, mk->ahead[mk->ahead_out++ % MARK_AHEAD]);
}

uint64_t
gcrt_mark_drain(struct marker *mk, uint64_t budget)
{
    uint64_t start = mk->scanned;

    while (mk->scanned - start < budget && look_ahead(mk)) {
        if (mk->ahead_in == mk->ahead_out)
            continue; /* a raw buffer was resolved and had nothing new */
        scan_item(mk, mk->ahead[mk->ahead_out++ % MARK_AHEAD]);
    }
    put_back(mk);
    return mk->scanned - start;
}

bool
gcrt_marker_flush(struct marker *mk)
{
    struct marking *marking = &mk->heap->marking;

    if (mk->marked != 0)
        aword_add_relaxed(&marking->marked_bytes, mk->marked);
    if (mk->scanned != 0)
        aword_add_relaxed(&marking->heap_work, mk->scanned);
    mk->marked = mk->scanned = 0;
    return gcrt_workqueue_publish(&mk->heap->work, &mk->queue);
}

bool
gcrt_is_marked(struct gc_heap *heap, uintptr_t object)
{
    struct mspan *s = mheap_span_of(&heap->mheap, object);

    return s != NULL && span_test(span_marks(s), span_object_index(&heap->mheap, s, object));
}
