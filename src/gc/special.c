/* SPDX-License-Identifier: MIT */
/*
 * Specials: records tied to an object's life.
 *
 * Purpose: find what was said about an object, and act when it dies.
 * Place: weak references, cleanups and finalizers keep their records here; the cycle collects
 * their roots and has the dead ones decided; it calls weak for marks.
 * Invariants: an object in the table is allocated: its records leave the table in the cycle
 * that finds it unmarked, before its span can be swept.  Records are the collector's, and
 * are never read without their shard's lock.
 * Concurrency: one lock a shard (RANK_SPECIAL), 64 shards by the object's address.  The decision
 * holds one for some hundred records at a time.  What mutators add meanwhile is marked, so it
 * does not matter whether the decision has passed there already, nor that it looks at a record
 * twice that a growing shard has moved upwards (chains.c).
 * The coordinator does not rest from DECIDED to the end of the decision, so a fork's child
 * sees none of it or all.
 * Cost: an object without records costs nothing.  24 bytes for a weak reference, 128 for the
 * others, and 8 to 16 for the buckets; memory of records is used again, never given back.  The
 * decision looks at each record once, and takes no more time with a bigger heap.
 */
#include "gc/special.h"

#include "gc/barrier.h"
#include "gc/chains.h"
#include "gc/kind.h"
#include "gc/mark.h"
#include "gc/region.h"
#include "gc/weak.h"

#include <gcrt/weak.h>

#include <string.h>

/* Buckets that are gone through under one lock. */
#define STEP_BUCKETS 256
/* A bucket's chain is prefetched so many buckets ahead. */
#define AHEAD 8

#define SLAB_MIN 16     /* records that are made at once ... */
#define SLAB_MAX 256    /* ... growing with their number */

static const size_t record_bytes[SPECIAL_KINDS] = {
    [SPECIAL_WEAK] = sizeof(struct special),
    [SPECIAL_CLEANUP] = SPECIAL_CALL_BYTES,
    [SPECIAL_FINALIZER] = SPECIAL_CALL_BYTES,
};

void
gcrt_special_init(struct gc_heap *heap)
{
    for (size_t i = 0; i < SPECIAL_SHARDS; i++)
        gcrt_lock_init(&heap->specials.shards[i].lock, RANK_SPECIAL);
}

void
gcrt_special_finish(struct gc_heap *heap)
{
    for (size_t i = 0; i < SPECIAL_SHARDS; i++)
        gcrt_lock_finish(&heap->specials.shards[i].lock);
}

/* ---- where a record lies ---- */

#define SHARD_SHIFT 58

_Static_assert(SPECIAL_SHARDS == 1 << (64 - SHARD_SHIFT), "the top bits number the shards");

static struct special_shard *
shard_of(struct gc_heap *heap, uintptr_t object)
{
    return &heap->specials.shards[special_hash(object) >> SHARD_SHIFT];
}

struct special_shard *
gcrt_special_lock(struct gc_heap *heap, uintptr_t object)
{
    struct special_shard *shard = shard_of(heap, object);

    gcrt_lock_acquire(&shard->lock);
    return shard;
}

void
gcrt_special_unlock(struct special_shard *shard)
{
    gcrt_lock_release(&shard->lock);
}

uintptr_t
gcrt_special_object(struct gc_heap *heap, const void *p)
{
    const struct mheap *h = &heap->mheap;
    size_t i;
    struct mspan *s = mheap_find_object(h, (uintptr_t)p, &i);

    if (s == NULL || gcrt_region_has_span(heap, s))
        return 0;
    return kind_of(heap, s)->key == kind_key_tiny() ? (uintptr_t)p : span_object(h, s, i);
}

/* ---- memory ---- */

/* `bytes` of memory become free records. */
static void
carve_locked(struct special_chains *c, enum special_kind kind, char *memory, size_t bytes)
{
    for (; bytes >= record_bytes[kind]; bytes -= record_bytes[kind]) {
        struct special *record = (struct special *)(void *)memory;

        record->next = c->free;
        c->free = record;
        memory += record_bytes[kind];
    }
}

static void *
take_memory(struct gc_heap *heap, size_t bytes)
{
    return gcrt_os_fault(&heap->os) ? NULL : gcrt_persist_alloc(&heap->persist, bytes);
}

static struct special *
take_record_locked(struct gc_heap *heap, struct special_chains *c, enum special_kind kind)
{
    struct special *record;

    if (c->free == NULL) {
        size_t n = max_size(SLAB_MIN, min_size(c->count / 4, SLAB_MAX));
        size_t bytes = align_up(n * record_bytes[kind], CACHE_PAIR);
        void *slab = take_memory(heap, bytes);

        if (slab == NULL)
            return NULL;
        carve_locked(c, kind, slab, bytes);
    }
    record = c->free;
    c->free = record->next;
    return record;
}

/* ---- single records ---- */

static struct special *
first_of(struct special *record, uintptr_t object)
{
    while (record != NULL && record->object != object)
        record = record->next;
    return record;
}

struct special *
gcrt_special_find_locked(struct special_shard *shard, enum special_kind kind, uintptr_t object)
{
    struct special_chains *c = &shard->kinds[kind];

    gcrt_lock_assert_held(&shard->lock);
    return c->nbuckets == 0 ? NULL : first_of(*chains_of(c, object), object);
}

struct special *
gcrt_special_next_locked(const struct special *record)
{
    return first_of(record->next, record->object);
}

struct special *
gcrt_special_insert_locked(struct gc_heap *heap, struct special_shard *shard,
        enum special_kind kind, uintptr_t object, void *arg)
{
    struct special_chains *c = &shard->kinds[kind];
    struct special *record, **at;

    gcrt_lock_assert_held(&shard->lock);
    if (!gcrt_chains_grow(heap, c))
        return NULL;
    record = take_record_locked(heap, c, kind);
    if (record == NULL)
        return NULL;
    memset(record, 0, record_bytes[kind]);
    at = chains_of(c, object);
    *record = (struct special){ .next = *at, .object = object, .arg = arg };
    *at = record;
    c->count++;
    aword_add_relaxed(&heap->specials.count[kind], 1);
    return record;
}

void
gcrt_special_unlink_locked(struct gc_heap *heap, struct special_shard *shard,
        enum special_kind kind, struct special *record)
{
    struct special_chains *c = &shard->kinds[kind];
    struct special **at = chains_of(c, record->object);

    gcrt_lock_assert_held(&shard->lock);
    while (*at != record)
        at = &(*at)->next;
    *at = record->next;
    c->count--;
    aword_add_relaxed(&heap->specials.count[kind], (uint64_t)0 - 1);
}

struct special *
gcrt_special_pop_locked(
        struct gc_heap *heap, struct special_shard *shard, enum special_kind kind, uint32_t *at)
{
    struct special_chains *c = &shard->kinds[kind];
    struct special *record;

    gcrt_lock_assert_held(&shard->lock);
    if (c->count == 0)
        return NULL;
    while ((record = *chains_at(c, *at)) == NULL)
        ++*at;
    *chains_at(c, *at) = record->next;
    c->count--;
    aword_add_relaxed(&heap->specials.count[kind], (uint64_t)0 - 1);
    return record;
}

void
gcrt_special_free_locked(
        struct special_shard *shard, enum special_kind kind, struct special *record)
{
    struct special_chains *c = &shard->kinds[kind];

    record->next = c->free;
    c->free = record;
}

void
gcrt_special_free(struct gc_heap *heap, enum special_kind kind, struct special *record)
{
    struct special_shard *shard = gcrt_special_lock(heap, record->object);

    gcrt_special_free_locked(shard, kind, record);
    gcrt_special_unlock(shard);
}

/* ---- records with roots ---- */

/*
 * The record comes or goes while marking.  An object with a finalizer is shaded itself: it lives
 * through this cycle, and what it points to is marked.
 */
static void
shade_roots(struct gcrt_mutator *m, enum special_kind kind, const struct special *record)
{
    if (barrier_state(m->self) == BARRIER_OFF)
        return;
    gcrt_barrier_shade_object(m, (uintptr_t)record->arg);
    if (kind == SPECIAL_FINALIZER)
        gcrt_barrier_shade_object(m, record->object);
}

struct special *
gcrt_special_add(struct gcrt_mutator *m, enum special_kind kind, uintptr_t object, void *arg)
{
    struct special_shard *shard = gcrt_special_lock(m->heap, object);
    struct special *record = gcrt_special_insert_locked(m->heap, shard, kind, object, arg);

    gcrt_special_unlock(shard);
    if (record != NULL)
        shade_roots(m, kind, record);
    return record;
}

void
gcrt_special_remove(struct gcrt_mutator *m, enum special_kind kind, struct special *record)
{
    struct special_shard *shard = gcrt_special_lock(m->heap, record->object);

    shade_roots(m, kind, record);
    gcrt_special_unlink_locked(m->heap, shard, kind, record);
    gcrt_special_free_locked(shard, kind, record);
    gcrt_special_unlock(shard);
}

/* ---- going through ---- */

/* Does what it likes with the records of a bucket, under the shard's lock. */
typedef void chain_fn(void *arg, struct special_shard *shard, struct special **chain);

/* Some hundred buckets from *b on, and *b behind them; false after the last. */
static bool
walk_step(struct special_shard *shard, enum special_kind kind, uint32_t *b, chain_fn *fn,
        void *arg)
{
    struct special_chains *c = &shard->kinds[kind];
    uint32_t end;
    bool more;

    gcrt_lock_acquire(&shard->lock);
    end = c->count == 0 ? 0 : (uint32_t)min_size(*b + STEP_BUCKETS, c->nbuckets);
    more = c->count != 0 && end < c->nbuckets;
    for (; *b < end; ++*b) {
        chains_prefetch(c, *b + AHEAD);
        fn(arg, shard, chains_at(c, *b));
    }
    gcrt_lock_release(&shard->lock);
    return more;
}

static void
walk(struct gc_heap *heap, enum special_kind kind, chain_fn *fn, void *arg)
{
    for (size_t i = 0; i < SPECIAL_SHARDS; i++)
        for (uint32_t b = 0; walk_step(&heap->specials.shards[i], kind, &b, fn, arg);)
            continue;
}

struct visit {
    void (*fn)(void *arg, const struct special *record);
    void *arg;
};

static void
visit_chain(void *arg, struct special_shard *shard, struct special **chain)
{
    const struct visit *visit = arg;

    (void)shard;
    for (const struct special *r = *chain; r != NULL; r = r->next)
        visit->fn(visit->arg, r);
}

void
gcrt_special_visit(struct gc_heap *heap, enum special_kind kind,
        void (*fn)(void *arg, const struct special *record), void *arg)
{
    struct visit visit = { fn, arg };

    walk(heap, kind, visit_chain, &visit);
}

/* ---- roots ---- */

struct collecting {
    struct gc_heap *heap;
    struct workbuf *raw;
    struct workqueue objects;
    size_t bytes;
};

static void
collect_arg(void *arg, const struct special *record)
{
    struct collecting *c = arg;
    struct work *w = &c->heap->work;

    c->bytes += WORD;
    if (!mheap_contains(&c->heap->mheap, (uintptr_t)record->arg))
        return;
    if (c->raw == NULL)
        c->raw = gcrt_work_take_empty(w);
    c->raw->slot[c->raw->n++] = (uintptr_t)record->arg | RAW_EXACT;
    if (c->raw->n == w->slots) {
        gcrt_work_push_raw(w, c->raw);
        c->raw = NULL;
    }
}

static void
collect_finalizer(void *arg, const struct special *record)
{
    struct collecting *c = arg;

    collect_arg(arg, record);
    gcrt_mark_queue_unmarked(c->heap, &c->objects, record->object);
}

size_t
gcrt_special_collect(struct gc_heap *heap)
{
    struct collecting c = { .heap = heap };

    gcrt_special_visit(heap, SPECIAL_CLEANUP, collect_arg, &c);
    gcrt_special_visit(heap, SPECIAL_FINALIZER, collect_finalizer, &c);
    if (c.raw != NULL)
        gcrt_work_push_raw(&heap->work, c.raw);
    (void)gcrt_workqueue_publish(&heap->work, &c.objects);
    return c.bytes;
}

/* ---- the decision ---- */

/* One record of one kind: true if it stays in the table. */
typedef bool decide_fn(
        struct gc_heap *heap, struct special_shard *shard, struct special *record);

struct decision {
    struct gc_heap *heap;
    enum special_kind kind;
    decide_fn *decide;
};

static void
decide_chain(void *arg, struct special_shard *shard, struct special **at)
{
    const struct decision *d = arg;

    while (*at != NULL) {
        struct special *record = *at, *next = record->next;

        if (d->decide(d->heap, shard, record)) {
            at = &record->next;
        } else {
            *at = next;
            shard->kinds[d->kind].count--;
            aword_add_relaxed(&d->heap->specials.count[d->kind], (uint64_t)0 - 1);
        }
    }
}

static void
decide_all(struct gc_heap *heap, enum special_kind kind, decide_fn *decide)
{
    struct decision decision = { heap, kind, decide };
    uint64_t start = gcrt_os_now_ns();

    if (aword_load_relaxed(&heap->specials.count[kind]) == 0)
        return;
    walk(heap, kind, decide_chain, &decision);
    aword_add_relaxed(&heap->specials.decide_ns, gcrt_os_now_ns() - start);
}

/* verify=1: the record is kept until H5 is complete, to see that its object stays dead. */
static bool
watch(struct gc_heap *heap, struct special_shard *shard, struct special *record)
{
    uintptr_t object = record->object;

    if (LIKELY(heap->options.debug_verify == 0))
        return false;
    record->arg = gcrt_special_find_locked(shard, SPECIAL_FINALIZER, object);
    record->next = heap->specials.watched;
    heap->specials.watched = record;
    return true;
}

void
gcrt_special_unwatch(struct gc_heap *heap)
{
    struct special *record;

    while ((record = heap->specials.watched) != NULL) {
        heap->specials.watched = record->next;
        gcrt_special_free(heap, SPECIAL_WEAK, record);
    }
}

bool
gcrt_special_is_filed(
        struct gc_heap *heap, enum special_kind kind, const struct special *record)
{
    const struct special *r = gcrt_special_find_locked(
            shard_of(heap, record->object), kind, record->object);

    while (r != NULL && r != record)
        r = gcrt_special_next_locked(r);
    return r != NULL;
}

/*
 * Who holds the reference must learn that its object is dead.  A reference that nobody holds goes
 * with its record; it is empty from then on, for a finalizer may bring it back.
 */
static bool
decide_weak(struct gc_heap *heap, struct special_shard *shard, struct special *record)
{
    gc_weak *weak = record->arg;
    bool held = !gcrt_weak_is_dead(heap, (uintptr_t)weak);

    if (!held || gcrt_weak_is_dead(heap, record->object))
        gcrt_weak_empty(&weak->impl_target);
    if (gcrt_weak_is_dead(heap, record->object)) {
        aword_add_relaxed(&heap->specials.emptied, held);
        if (watch(heap, shard, record))
            return false;
    } else if (held) {
        return true;
    }
    gcrt_special_free_locked(shard, SPECIAL_WEAK, record);
    return false;
}

static void
hand_over(struct gc_heap *heap, struct special_shard *shard, enum special_kind kind,
        struct special *record)
{
    if (heap->specials.ready != NULL)
        heap->specials.ready(heap, kind, record);
    else
        gcrt_special_free_locked(shard, kind, record);
}

static bool
decide_cleanup(struct gc_heap *heap, struct special_shard *shard, struct special *record)
{
    if (!gcrt_weak_is_dead(heap, record->object)
            || gcrt_special_find_locked(shard, SPECIAL_FINALIZER, record->object) != NULL)
        return true;
    hand_over(heap, shard, SPECIAL_CLEANUP, record);
    return false;
}

static bool
decide_finalizer(struct gc_heap *heap, struct special_shard *shard, struct special *record)
{
    if (!gcrt_weak_is_dead(heap, record->object))
        return true;
    gcrt_weak_revive(heap, record->object);
    hand_over(heap, shard, SPECIAL_FINALIZER, record);
    return false;
}

void
gcrt_special_empty_weak(struct gc_heap *heap)
{
    decide_all(heap, SPECIAL_WEAK, decide_weak);
}

void
gcrt_special_ready(struct gc_heap *heap)
{
    decide_all(heap, SPECIAL_CLEANUP, decide_cleanup);
    decide_all(heap, SPECIAL_FINALIZER, decide_finalizer);
}
