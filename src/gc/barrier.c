/* SPDX-License-Identifier: MIT */
/*
 * The hybrid write barrier.
 *
 * Purpose: keep marking sound while mutators move pointers.
 * Place: gc_write's inline half calls in when the thread's barrier word is not 0; handshake
 * actions flush the buffer; it calls mark.
 *
 * Proof sketch.  Every mutator goes off -> 1 in H1 and 1 -> 2 in H3.
 *   1 (own stack not scanned): old and new value are shaded, then the store happens.
 *   2 (own stack scanned): only the old value is.  A pointer that such a mutator holds was on
 *     its stack when that was scanned, or was read from a slot whose deletion shades it, or
 *     was born black (I-own-snapshot), so storing it needs no shade.
 *   A mutator that has scanned may meet a store of one that has not, over the same slot: the
 *   insertion half of the latter covers the value, the deletion half of whoever overwrites
 *   it first covers what was there (I-settle: nobody's store with the barrier off is still
 *   under way when the first stack is scanned).
 * docs/architecture.md has the invariants; the model in tests/model checks them, and that
 * each is needed.
 *
 * Invariants: I-critical, I-weak-tricolour.  A word in a buffer counts as grey; H4 flushes.
 * Concurrency: the buffer is the mutator's own.  Shading only queues, so a barrier costs no
 * miss; a full buffer is marked in one go with prefetching, or, before marking is open,
 * handed over unresolved (stack.c says why).
 * Under wbcheck=1 every store comes here and is made together with its shadow (wbcheck.c).
 * Cost: off, one load and a branch, inline; on, a call and two appends; a millisecond per full
 * buffer where 32 MiB of them wait because some thread has not answered for long.
 */
#include "gc/barrier.h"

#include "gc/kind.h"
#include "gc/wbcheck.h"

#include <gcrt/barrier.h>

#include <string.h>

/* Bytes of a bulk operation between two chances to answer a handshake. */
#define BULK_STEP ((size_t)4096)

/* More buffers than this wait for marking to open: 32 MiB. */
#define EARLY_MAX  ((uint64_t)16384)
#define CROWDED_NS ((uint64_t)1000 * 1000)

/* ---- the buffer ---- */

static void
mark_buffer(struct gcrt_mutator *m)
{
    const struct mheap *h = &m->heap->mheap;

    for (uint32_t i = 0; i < m->nbarrier; i++)
        __builtin_prefetch(mheap_descriptor(h, m->barrier[i] - h->base));
    for (uint32_t i = 0; i < m->nbarrier; i++)
        gcrt_mark_shaded(&m->marker, m->barrier[i]);
}

/*
 * A word that was shaded means the object that it points into, and not the one before: where that
 * counts too, shade_word has said so. It may be garbage, a dead table and all that it leads to, and
 * would live on as long as somebody stores the address of what lies behind it.
 */
static void
hand_over_raw(struct gc_heap *heap, const uintptr_t *words, uint32_t n)
{
    struct work *w = &heap->work;
    uint32_t buffers = 0;

    while (n != 0) {
        struct workbuf *b = gcrt_work_take_empty(w);
        uint32_t part = n < w->slots ? n : w->slots;

        for (uint32_t i = 0; i < part; i++)
            b->slot[i] = words[i] | RAW_EXACT;
        b->n = part;
        gcrt_work_push_raw(w, b);
        words += part;
        n -= part;
        buffers++;
    }
    aword_add_relaxed(&heap->marking.early, buffers);
}

/*
 * Until marking opens nobody empties these buffers, and it opens only when the slowest thread
 * has answered: one that blocks the signal, or waits for a disk, may take seconds.  Who stores
 * much meanwhile does so slowly then, or memory would run out.
 */
static void
slow_down_if_crowded(struct gc_heap *heap)
{
    if (UNLIKELY(aword_load_relaxed(&heap->marking.early) > EARLY_MAX
            && !ahalf_load_acquire(&heap->marking.open))) /* pairs: mark.open */
        gcrt_os_sleep_ns(CROWDED_NS);
}

/*
 * Is marking over, for a mutator whose barrier is on and who has found it not open?  It is closed
 * before H5, after the phase was set to ENDING: who acquires the one sees the other (mark.open).
 * And who has read `open` before marking was opened answers H4 before the phase is ENDING.
 */
static inline bool
is_over(const struct gc_heap *heap)
{
    return ahalf_load_relaxed(&heap->cycles.phase) == PHASE_ENDING;
}

/* Between the end of marking and H5 all that is buffered is marked, and nobody empties buffers. */
void
gcrt_barrier_flush(struct gcrt_mutator *m)
{
    if (m->nbarrier == 0)
        return;
    chaos_point(&m->heap->os, CHAOS_BARRIER_FLUSH);
    if (ahalf_load_acquire(&m->heap->marking.open)) /* pairs: mark.open */
        mark_buffer(m);
    else if (!is_over(m->heap))
        hand_over_raw(m->heap, m->barrier, m->nbarrier);
    aword_add_relaxed(&m->heap->counters.barrier_flushes, 1);
    aword_add_relaxed(&m->heap->counters.barrier_words, m->nbarrier);
    m->nbarrier = 0;
}

static inline void
buffer_word(struct gcrt_mutator *m, uintptr_t word)
{
    if (!mheap_contains(&m->heap->mheap, word))
        return;
    m->barrier[m->nbarrier++] = word;
    if (UNLIKELY(m->nbarrier == m->barrier_slots)) {
        gcrt_barrier_flush(m);
        slow_down_if_crowded(m->heap);
    }
}

/*
 * A slot outside of the heap is a root, where a pointer one past the end of an object counts
 * for that object too; in the heap it does not.  Once marking is open the roots have been
 * collected, so, and to shade what lies before a word would make garbage grey, too late.
 */
static inline void
shade_word(struct gcrt_mutator *m, uintptr_t slot, uintptr_t word)
{
    buffer_word(m, word);
    if (!mheap_contains(&m->heap->mheap, slot) && !heap_is_exact(m->heap)
            && !ahalf_load_acquire(&m->heap->marking.open) /* pairs: mark.open */
            && !is_over(m->heap) && mheap_may_end_at(&m->heap->mheap, word))
        buffer_word(m, word - 1);
}

void
gcrt_barrier_shade(struct gcrt_mutator *m, const void *slot, uintptr_t old, uintptr_t new_)
{
    shade_word(m, (uintptr_t)slot, old);
    if (barrier_state(m->self) == BARRIER_HYBRID)
        shade_word(m, (uintptr_t)slot, new_);
}

void
gcrt_barrier_shade_object(struct gcrt_mutator *m, uintptr_t word)
{
    buffer_word(m, word);
}

/* ---- stores ---- */

/* wbcheck=1: in between slot and shadow change together. */
static inline void
watch_begin(const void *slot, size_t bytes)
{
    if (UNLIKELY(gc_impl_self.barrier & BARRIER_WATCHED))
        gcrt_wbcheck_begin(gc_impl_self.mutator, slot, bytes);
}

static inline void
watch_end(const void *slot, size_t bytes)
{
    if (UNLIKELY(gc_impl_self.barrier & BARRIER_WATCHED))
        gcrt_wbcheck_end(gc_impl_self.mutator, slot, bytes);
}

/*
 * Most stores fill a field that was NULL, and a thread that has scanned its stack has nothing to
 * shade then.  Critical, but behind no gate, for a fork may come before or after it as with an
 * inline store.
 */
static ALWAYS_INLINE bool
fill_field(void *slot, uintptr_t value)
{
    struct gc_heap *heap;
    bool fills = false;

    critical_set();
    heap = gc_impl_self.heap_inside;
    if (gc_impl_self.barrier == BARRIER_DELETION && heap != NULL && slot_load(slot) == 0) {
        chaos_point(&heap->os, CHAOS_BARRIER_STORE);
        slot_store_relaxed(slot, value);
        fills = true;
    }
    critical_clear();
    return fills;
}

void
gc_impl_write_slow(void *slot, const void *value)
{
    struct gcrt_mutator *m;

    if (LIKELY(fill_field(slot, (uintptr_t)value))) {
        gc_safepoint();
        return;
    }
    m = gcrt_mutator_self("gc_write");
    critical_enter();
    if (barrier_state(&gc_impl_self) != BARRIER_OFF)
        gcrt_barrier_shade(m, slot, slot_load(slot), (uintptr_t)value);
    chaos_point(&m->heap->os, CHAOS_BARRIER_STORE);
    watch_begin(slot, WORD);
    slot_store_relaxed(slot, (uintptr_t)value);
    watch_end(slot, WORD);
    critical_leave();
}

void
gc_impl_write_word_slow(const gc_decode *decode, void *slot, uint64_t word)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_write_word");

    critical_enter();
    if (barrier_state(&gc_impl_self) != BARRIER_OFF)
        gcrt_barrier_shade(m, slot, gc_decode_word(decode, slot_load(slot)),
                gc_decode_word(decode, word));
    chaos_point(&m->heap->os, CHAOS_BARRIER_STORE);
    watch_begin(slot, WORD);
    slot_store_relaxed(slot, word);
    watch_end(slot, WORD);
    critical_leave();
}

void
gcrt_barrier_store_release(struct gcrt_mutator *m, void *slot, uintptr_t value)
{
    if (barrier_state(&gc_impl_self) != BARRIER_OFF)
        gcrt_barrier_shade(m, slot, slot_load(slot), value);
    watch_begin(slot, WORD);
    slot_store_release(slot, value); /* pairs: the host's acquire load */
    watch_end(slot, WORD);
}

void
gcrt_barrier_store_inserting(struct gcrt_mutator *m, void *slot, uintptr_t value)
{
    if (barrier_state(&gc_impl_self) == BARRIER_HYBRID)
        buffer_word(m, value);
    watch_begin(slot, WORD);
    slot_store_release(slot, value); /* pairs: ephemeron.value */
    watch_end(slot, WORD);
}

static void
write_release(void *slot, const void *value)
{
    critical_enter();
    if (LIKELY(gc_impl_self.barrier == BARRIER_OFF))
        slot_store_release(slot, (uintptr_t)value); /* pairs: the host's acquire load */
    else
        gcrt_barrier_store_release(gc_impl_self.mutator, slot, (uintptr_t)value);
    critical_leave();
}

void
gc_impl_write_release(void *slot, const void *value)
{
    (void)gcrt_mutator_self("gc_write_release");
    write_release(slot, value);
}

static bool
slot_cas(void *slot, uintptr_t expected, uintptr_t value)
{
    bool done;

    watch_begin(slot, WORD);
    done = __atomic_compare_exchange_n((uintptr_t *)slot, &expected, value, false,
            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    watch_end(slot, WORD);
    return done;
}

/* The value that is replaced must be the one that was shaded, hence a loop. */
void *
gc_impl_exchange(void *slot, const void *value)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_exchange");
    uintptr_t old;

    critical_enter();
    do {
        old = slot_load(slot);
        if (barrier_state(&gc_impl_self) != BARRIER_OFF)
            gcrt_barrier_shade(m, slot, old, (uintptr_t)value);
    } while (!slot_cas(slot, old, (uintptr_t)value));
    m->own.result = (void *)old; /* perhaps nothing else holds it while we poll */
    critical_leave();
    m->own.result = NULL;
    return (void *)old;
}

/* What is only compared is not shaded: nobody need hold it, and it may be dead. */
int
gc_impl_cas(void *slot, const void *expected, const void *value)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_cas");
    bool done;

    critical_enter();
    done = __atomic_load_n((uintptr_t *)slot, __ATOMIC_SEQ_CST) == (uintptr_t)expected;
    if (done && barrier_state(&gc_impl_self) != BARRIER_OFF)
        gcrt_barrier_shade(m, slot, (uintptr_t)expected, (uintptr_t)value);
    done = done && slot_cas(slot, (uintptr_t)expected, (uintptr_t)value);
    critical_leave();
    return done;
}

/* ---- bulk stores ---- */

/* The words of `from`, which lie in the slots from `slot` on, or will; decode NULL: pointers. */
static void
shade_words(struct gcrt_mutator *m, const gc_decode *decode, const char *slot,
        const char *from, size_t bytes)
{
    for (size_t i = 0; i + WORD <= bytes; i += WORD) {
        uintptr_t word = slot_load(from + i);

        shade_word(m, (uintptr_t)slot + i, decode == NULL ? word : gc_decode_word(decode, word));
    }
}

void
gcrt_barrier_shade_range(struct gcrt_mutator *m, const void *start, size_t bytes)
{
    shade_words(m, NULL, start, start, bytes);
}

/* dst[0..bytes) is about to become src (NULL: zeroes). */
static void
shade_bulk(const gc_decode *decode, const char *dst, const char *src, size_t bytes)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    if (barrier_state(&gc_impl_self) == BARRIER_OFF)
        return;
    shade_words(m, decode, dst, dst, bytes);
    if (src != NULL && barrier_state(&gc_impl_self) == BARRIER_HYBRID)
        shade_words(m, decode, dst, src, bytes);
}

/* One step of a bulk store, whole words, in the direction that overlap allows. */
static void
step(const gc_type *type, char *dst, const char *src, size_t bytes, bool backwards)
{
    critical_enter();
    shade_bulk(type_decode(type), dst, src, bytes);
    watch_begin(dst, bytes);
    for (size_t i = 0; i < bytes; i += WORD) {
        size_t at = backwards ? bytes - WORD - i : i;

        slot_store_relaxed(dst + at, src == NULL ? 0 : slot_load(src + at));
    }
    watch_end(dst, bytes);
    critical_leave();
}

/* Checks the arguments; src may be NULL. */
static size_t
bulk_bytes(const char *caller, const gc_type *type, const void *dst, const void *src, size_t n)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);
    uintptr_t at = (uintptr_t)dst | (uintptr_t)src; /* of which only the low bits count */
    size_t bytes;

    if (type == NULL || type->magic != GC_IMPL_TYPE_MAGIC)
        gcrt_fatal("%s: type is no gc_type", caller);
    if (__builtin_mul_overflow(n, (size_t)type->size, &bytes))
        gcrt_fatal("%s: %zu elements of %s overflow", caller, n, type->name);
    if (type->form == GC_FORM_FLEX && n > 1)
        gcrt_fatal("%s: %zu elements of %s, which is flexible: store its header, then its tail "
                   "by the type of that", caller, n, type->name);
    if (type->form != GC_FORM_NOSCAN && at % WORD != 0)
        gcrt_fatal("%s: %s at a misaligned address", caller, type->name);
    if (type->form != GC_FORM_NOSCAN && type->size % WORD != 0)
        gcrt_fatal("%s: type %s has a size that is no multiple of the word", caller, type->name);
    if (UNLIKELY(gc_impl_self.barrier & BARRIER_WATCHED)) {
        gcrt_wbcheck_bounds(m, caller, dst, bytes);
        gcrt_wbcheck_bounds(m, caller, src, bytes);
    }
    return bytes;
}

/* Going up over its own source, a move begins at the end. */
static bool
is_backwards(const char *dst, const char *src, size_t bytes)
{
    return (uintptr_t)dst - (uintptr_t)src < bytes;
}

/* What the call was given need not be held by anything else while handshakes come between. */
static void
bulk_steps(const gc_type *type, char *dst, const char *src, size_t bytes)
{
    bool backwards = is_backwards(dst, src, bytes);
    GC_FRAME(dst, src);

    for (size_t done = 0; done < bytes;) {
        size_t part = min_size(bytes - done, BULK_STEP);
        size_t at = backwards ? bytes - done - part : done;

        step(type, dst + at, src == NULL ? NULL : src + at, part, backwards);
        done += part;
    }
}

/* src NULL: zeroes. */
static void
bulk_store(const gc_type *type, char *dst, const char *src, size_t bytes)
{
    if (type->form == GC_FORM_NOSCAN && src == NULL)
        memset(dst, 0, bytes);
    else if (type->form == GC_FORM_NOSCAN)
        memmove(dst, src, bytes);
    else if (bytes <= BULK_STEP)
        step(type, dst, src, bytes, is_backwards(dst, src, bytes));
    else
        bulk_steps(type, dst, src, bytes);
}

void
gc_copy(const gc_type *type, void *dst, const void *src, size_t n)
{
    bulk_store(type, dst, src, bulk_bytes("gc_copy", type, dst, src, n));
}

void
gc_move(const gc_type *type, void *dst, const void *src, size_t n)
{
    bulk_store(type, dst, src, bulk_bytes("gc_move", type, dst, src, n));
}

void
gc_clear(const gc_type *type, void *dst, size_t n)
{
    bulk_store(type, dst, NULL, bulk_bytes("gc_clear", type, dst, NULL, n));
}

/* ---- roots of threads that may not be attached ---- */

/* A handle's word does not mean the object before: when marking is complete that is too late. */
static void
add_reference(const struct gc_heap *heap, uintptr_t *words, uint32_t *n, uintptr_t word)
{
    if (mheap_contains(&heap->mheap, word))
        words[(*n)++] = word;
}

/*
 * A detached thread has no barrier state.  Under the registry lock no handshake can be
 * published, so its test and its store are one step for the protocol.  It may come at any time up
 * to H5; what it hands over then is marked.
 */
static void
store_detached(struct gc_heap *heap, void *slot, uintptr_t value)
{
    gcrt_lock_acquire(&heap->registry.lock);
    if (heap->registry.marking) {
        uintptr_t words[2];
        uint32_t n = 0;

        add_reference(heap, words, &n, slot_load(slot));
        add_reference(heap, words, &n, value);
        hand_over_raw(heap, words, n);
        chaos_point(&heap->os, CHAOS_HANDLE_STORE);
    }
    slot_store_release(slot, value);
    gcrt_lock_release(&heap->registry.lock);
    slow_down_if_crowded(heap);
}

void
gcrt_barrier_root_store(struct gc_heap *heap, void *slot, uintptr_t value)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    if (UNLIKELY(heap->wbcheck != NULL))
        gcrt_wbcheck_publish(heap, value);
    if (m != NULL && m->heap == heap && m->block_depth == 0)
        write_release(slot, (const void *)value);
    else
        store_detached(heap, slot, value);
}
