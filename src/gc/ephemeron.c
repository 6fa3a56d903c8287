/* SPDX-License-Identifier: MIT */
/*
 * Ephemerons.
 *
 * Purpose: pairs whose value lives as long as their key does.
 * Place: the trace function of their type is called by mark, as a host's would be; whoever
 * sets a mark bit calls fire; the cycle breaks what is left.  Weak maps are made of them.
 *
 * A scanned ephemeron whose key is not marked is filed: linked into the bucket of its key, by
 * a word of its own, so filing needs no memory.  Whoever marks an object while something is
 * filed looks into the object's bucket and queues the ephemerons of marked keys, to be scanned
 * like any grey object.  So the fixed point is reached by marking itself, each ephemeron is
 * scanned at most twice, and a chain of them in the worst order costs one look each.
 *
 * Lost wake-ups.  Who files sets `filed`, enters the bucket, then looks at the key's mark; who
 * marks sets the mark, then looks at `filed` and at the bucket; all of it by full operations.
 * One of them sees the other.  A bucket's chain is taken out, divided, and put back by one
 * marker at a time; others who come meanwhile leave BUCKET_AGAIN for it, and need not wait: a
 * marker that has a chain is active, or a mutator that has not answered H4 yet, so the queue
 * that it fills is asked for (I-ragged-done).
 *
 * So when a round of H4 finds nothing, what is filed has unmarked keys, and DECIDED makes
 * that final: each is broken before H5.  A marked ephemeron that is not filed has a marked
 * key, was born black (then its key was held by whoever made it, and is marked in the end), or
 * is broken.  A thread that reads a key or a value takes it out of a weak place (weak.c): it
 * shades what it takes, and after DECIDED an unmarked key is dead although it is still there.
 * A store of a value has the barrier's insertion half alone.  Who reads a value shades it, so
 * nobody needs the one that is overwritten; and to shade that would be wrong: while the key is not
 * marked the value need not be either, so a thread that has answered H4 would make grey from
 * nothing, after DECIDED even, where what it marks has lost its weak places' agreement and
 * what it points to.
 *
 * Keys with finalizers: broken when the key is found unreachable, before it is revived.
 *
 * Invariants: I-weak-agree; ephemeron.closed.
 * Concurrency: bucket words and links as above, pairs: ephemeron.filed, ephemeron.link.
 * Cost: one load per marked object; a miss or two per filing, as much again when it fires; 8
 * bytes per bucket, two ephemerons per bucket at most, as of the last cycle.
 * Source: Hayes, OOPSLA 1997, for the semantics; the chains by key are Whippet's idea
 * (gc-ephemeron), here with a bucket's state in its word.
 */
#include "gc/ephemeron.h"

#include "gc/barrier.h"
#include "gc/error.h"
#include "gc/kind.h"
#include "gc/malloc.h"
#include "gc/wbcheck.h"
#include "gc/weak.h"

#include <gcrt/gcrt.h>

#define LINK_FILED   ((uintptr_t)1)
#define BUCKET_HELD  ((uintptr_t)1) /* a marker has the chain */
#define BUCKET_AGAIN ((uintptr_t)2) /* and shall look at it once more */
#define BUCKET_FLAGS (BUCKET_HELD | BUCKET_AGAIN)

#define BUCKETS_MIN ((size_t)1 << 14)
#define BUCKETS_MAX ((size_t)EPHEMERON_BLOCK * EPHEMERON_BLOCKS)

static void trace_ephemeron(const void *obj, size_t bytes, gc_tracer *tracer);

const gc_type gcrt_ephemeron_type = { .name = "gc_ephemeron",
    .size = sizeof(struct gc_ephemeron), .form = GC_FORM_TRACED, .trace = trace_ephemeron,
    .magic = GC_IMPL_TYPE_MAGIC };

/* ---- the table ---- */

static aword *
table_of(const struct gc_heap *heap)
{
    return (aword *)aword_load_acquire(&heap->ephemerons.table); /* pairs: ephemeron.table */
}

static size_t
bucket_of(const struct gc_heap *heap, uintptr_t object)
{
    uint64_t hash = (uint64_t)(object >> 3) * 0x9e3779b97f4a7c15u;

    return (size_t)(hash >> 40) & (heap->ephemerons.buckets - 1);
}

static aword *
map_table(struct gc_heap *heap, size_t buckets)
{
    aword *table = gcrt_os_map(&heap->os, buckets * sizeof(aword));

    if (table != NULL)
        aword_add_relaxed(&heap->beside, buckets * sizeof(aword));
    return table;
}

static void
unmap_table(struct gc_heap *heap, aword *table, size_t buckets)
{
    gcrt_os_unmap(&heap->os, table, buckets * sizeof(aword), buckets * sizeof(aword));
    aword_add_relaxed(&heap->beside, (uint64_t)0 - buckets * sizeof(aword));
}

/* Critical, so that whoever holds everybody finds the books in order. */
bool
gcrt_ephemeron_prepare(struct gc_heap *heap)
{
    struct ephemerons *ep = &heap->ephemerons;
    aword *table;

    if (LIKELY(table_of(heap) != NULL))
        return true;
    critical_enter();
    table = map_table(heap, BUCKETS_MIN);
    if (table != NULL) {
        /* pairs: ephemeron.table; buckets is what gcrt_ephemeron_init has said */
        if (!aword_cas_full(&ep->table, 0, (uintptr_t)table))
            unmap_table(heap, table, BUCKETS_MIN);
    }
    critical_leave();
    return table != NULL;
}

void
gcrt_ephemeron_init(struct gc_heap *heap)
{
    heap->ephemerons.buckets = BUCKETS_MIN;
}

void
gcrt_ephemeron_finish(struct gc_heap *heap)
{
    if (table_of(heap) != NULL)
        unmap_table(heap, table_of(heap), heap->ephemerons.buckets);
}

/* Without memory for a larger one chains are longer, which is all. */
void
gcrt_ephemeron_resize(struct gc_heap *heap)
{
    struct ephemerons *ep = &heap->ephemerons;
    uint64_t entered = aword_load_relaxed(&ep->entered);
    size_t buckets = ep->buckets;
    aword *table;

    aword_store_relaxed(&ep->entered, 0);
    aword_add_relaxed(&ep->filings, entered);
    while (buckets < BUCKETS_MAX && entered > 2 * buckets)
        buckets *= 2;
    if (buckets == ep->buckets || (table = map_table(heap, buckets)) == NULL)
        return;
    unmap_table(heap, table_of(heap), ep->buckets);
    ep->buckets = buckets;
    aword_store_release(&ep->table, (uintptr_t)table); /* pairs: ephemeron.table */
}

/* ---- marks ---- */

/* Of the object that p points into, which is one. */
static bool
is_marked(const struct gc_heap *heap, uintptr_t p)
{
    const struct mheap *h = &heap->mheap;
    struct mspan *s = mheap_span_of(h, p);
    size_t i = span_object_index(h, s, p);

    return (aword_load_full(&span_marks(s)[i / 64]) >> (i % 64)) & 1; /* ephemeron.filed */
}

static uintptr_t
object_of(const struct gc_heap *heap, uintptr_t p)
{
    const struct mheap *h = &heap->mheap;
    struct mspan *s = mheap_span_of(h, p);

    return span_object(h, s, span_object_index(h, s, p));
}

/* ---- chains ---- */

static struct gc_ephemeron *
at(uintptr_t address)
{
    return (struct gc_ephemeron *)address;
}

static uintptr_t
next_of(uintptr_t e)
{
    return aword_load_acquire(&at(e)->link) & ~LINK_FILED; /* pairs: ephemeron.link */
}

static void
set_next(uintptr_t e, uintptr_t next)
{
    aword_store_release(&at(e)->link, next | LINK_FILED); /* pairs: ephemeron.link */
}

/* The bucket's chain.  False if it is empty, or with a marker that will look again. */
static bool
take_chain(aword *bucket, uintptr_t *chain)
{
    for (;;) {
        uint64_t word = aword_load_full(bucket);

        if (word == 0)
            return false;
        if (!aword_cas_full(bucket, word, word & BUCKET_HELD ? word | BUCKET_AGAIN : BUCKET_HELD))
            continue;
        *chain = word & ~BUCKET_FLAGS;
        return (word & BUCKET_HELD) == 0;
    }
}

/*
 * A private chain from first to last goes back, before what has been filed meanwhile.  False if
 * it must be looked at again; then *chain has all of it.
 */
static bool
put_chain_back(aword *bucket, uintptr_t first, uintptr_t last, uintptr_t *chain)
{
    for (;;) {
        uint64_t word = aword_load_full(bucket);
        uintptr_t joined = word & ~BUCKET_FLAGS;

        if (first != 0) {
            set_next(last, joined);
            joined = first;
        }
        if (!aword_cas_full(bucket, word, word & BUCKET_AGAIN ? BUCKET_HELD : joined))
            continue;
        *chain = joined;
        return (word & BUCKET_AGAIN) == 0;
    }
}

/* Queues those of a private chain whose keys are marked; the others in *first and *last. */
static void
divide(struct marker *mk, uintptr_t chain, uintptr_t *first, uintptr_t *last)
{
    uintptr_t next;

    *first = *last = 0;
    for (uintptr_t e = chain; e != 0; e = next) {
        next = next_of(e);
        if (!is_marked(mk->heap, slot_load(&at(e)->key))) {
            set_next(e, *first);
            *first = e;
            *last = *last == 0 ? e : *last;
            continue;
        }
        aword_store_release(&at(e)->link, 0);
        gcrt_mark_queue_unmarked(mk->heap, &mk->queue, e);
        aword_add_relaxed(&mk->heap->ephemerons.fired, 1);
    }
}

static void
look_into(struct marker *mk, aword *bucket)
{
    uintptr_t chain, first, last;

    if (!take_chain(bucket, &chain))
        return;
    do {
        divide(mk, chain, &first, &last);
        chaos_point(&mk->heap->os, CHAOS_MARK_PUSH);
    } while (!put_chain_back(bucket, first, last, &chain));
}

void
gcrt_ephemeron_fire(struct marker *mk, uintptr_t object)
{
    look_into(mk, &table_of(mk->heap)[bucket_of(mk->heap, object)]);
}

/* ---- filing ---- */

static void
touch_block(struct ephemerons *ep, size_t bucket)
{
    size_t block = bucket / EPHEMERON_BLOCK;
    uint64_t bit = (uint64_t)1 << (block % 64);

    if ((aword_load_relaxed(&ep->touched[block / 64]) & bit) == 0)
        aword_or_relaxed(&ep->touched[block / 64], bit);
}

/*
 * e is scanned twice at once only if it is a finalizer's object, which is scanned unmarked,
 * and then marked; hence the claim.
 */
static void
file_under_key(struct marker *mk, struct gc_ephemeron *e, uintptr_t key)
{
    struct ephemerons *ep = &mk->heap->ephemerons;
    size_t i = bucket_of(mk->heap, object_of(mk->heap, key));
    aword *bucket = &table_of(mk->heap)[i];
    uint64_t word;

    if (!aword_cas_full(&e->link, 0, LINK_FILED))
        return;
    if (ahalf_load_relaxed(&ep->filed) == 0)
        ahalf_store_full(&ep->filed, 1); /* pairs: ephemeron.filed */
    touch_block(ep, i);
    aword_add_relaxed(&ep->entered, 1);
    do {
        word = aword_load_full(bucket);
        set_next((uintptr_t)e, word & ~BUCKET_FLAGS);
    } while (!aword_cas_full(bucket, word, (uintptr_t)e | (word & BUCKET_FLAGS)));
    chaos_point(&mk->heap->os, CHAOS_MARK_PUSH);
    if (is_marked(mk->heap, key))
        look_into(mk, bucket);
}

/*
 * The verifier, checkmark and wbcheck read objects by this, too.  They are told of a value that
 * is known to be held, and file nothing.
 */
static void
trace_ephemeron(const void *obj, size_t bytes, gc_tracer *tracer)
{
    struct gc_ephemeron *e = (struct gc_ephemeron *)(uintptr_t)obj;
    struct marker *mk = marker_of(tracer);
    uintptr_t key = slot_load_acquire(&e->key);

    (void)bytes;
    if (key == 0)
        return;
    if (is_marked(mk->heap, key))
        gc_trace(tracer, (const void *)slot_load_acquire(&e->value)); /* ephemeron.value */
    else if (mk->report == NULL)
        file_under_key(mk, e, key);
}

/* ---- the end of marking ---- */

static size_t
break_chain(struct gc_heap *heap, uintptr_t chain)
{
    uintptr_t next;
    size_t n = 0;

    for (uintptr_t e = chain; e != 0; e = next) {
        next = next_of(e);
        gcrt_wbcheck_forget(heap, e);
        slot_store_release(&at(e)->value, 0);
        gcrt_weak_empty(&at(e)->key);
        aword_store_release(&at(e)->link, 0);
        n++;
    }
    return n;
}

static size_t
unlink_chain(struct gc_heap *heap, uintptr_t chain)
{
    uintptr_t next;

    (void)heap;
    for (uintptr_t e = chain; e != 0; e = next) {
        next = next_of(e);
        aword_store_release(&at(e)->link, 0);
    }
    return 0;
}

/* Calls fn with each chain and empties the bucket; the sum of what it returns. */
static size_t
empty_table(struct gc_heap *heap, size_t (*fn)(struct gc_heap *heap, uintptr_t chain))
{
    struct ephemerons *ep = &heap->ephemerons;
    aword *table = table_of(heap);
    size_t sum = 0;

    for (size_t block = 0; block * EPHEMERON_BLOCK < ep->buckets; block++) {
        if (((aword_load_relaxed(&ep->touched[block / 64]) >> (block % 64)) & 1) == 0)
            continue;
        for (size_t i = block * EPHEMERON_BLOCK; i < (block + 1) * EPHEMERON_BLOCK; i++) {
            uintptr_t chain = aword_load_full(&table[i]);

            CHECK((chain & BUCKET_FLAGS) == 0); /* nobody marks */
            sum += fn(heap, chain);
            aword_store_release(&table[i], 0);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(ep->touched); i++)
        aword_store_relaxed(&ep->touched[i], 0);
    ahalf_store_full(&ep->filed, 0); /* pairs: ephemeron.filed */
    return sum;
}

/*
 * A weak map holds its ephemerons, so the broken ones have been marked; they live until their
 * slots are used again.  To the pacer they are dead: else a map through which much passes would
 * make the next cycle later and itself larger, from cycle to cycle.
 */
void
gcrt_ephemeron_break(struct gc_heap *heap)
{
    uint64_t n;

    if (!ephemeron_is_filed(heap))
        return;
    n = empty_table(heap, break_chain);
    aword_add_relaxed(&heap->ephemerons.broken, n);
    aword_add_relaxed(&heap->marking.marked_bytes, (uint64_t)0 - n * sizeof(struct gc_ephemeron));
}

void
gcrt_ephemeron_forget(struct gc_heap *heap)
{
    if (ephemeron_is_filed(heap))
        (void)empty_table(heap, unlink_chain);
    aword_store_relaxed(&heap->ephemerons.entered, 0);
}

/* ---- mutators ---- */

bool
gcrt_ephemeron_is_object(const struct gc_heap *heap, const void *p)
{
    size_t i;

    return mheap_find_object(&heap->mheap, (uintptr_t)p, &i) != NULL;
}

/*
 * The key has been read in this critical section.  A mark that is seen may be that of a
 * finalizer's object, which was revived after the ephemeron was broken: so look again.
 */
static bool
key_is_dead(struct gcrt_mutator *m, const struct gc_ephemeron *e, uintptr_t key)
{
    if (barrier_state(m->self) == BARRIER_OFF)
        return false;
    if (!is_marked(m->heap, key)) {
        if (ahalf_load_acquire(&m->heap->weak.word) != WEAK_DECIDED) /* pairs: weak.word */
            return false;
        if (!is_marked(m->heap, key))
            return true;
    }
    return slot_load_acquire(&e->key) != key; /* pairs: weak.emptied */
}

bool
gcrt_ephemeron_is_dead(struct gcrt_mutator *m, const struct gc_ephemeron *e)
{
    uintptr_t key = slot_load_acquire(&e->key); /* pairs: weak.emptied */

    return key == 0 || key_is_dead(m, e, key);
}

uintptr_t
gcrt_ephemeron_load_key(struct gcrt_mutator *m, const struct gc_ephemeron *e)
{
    return gcrt_weak_load(m, &e->key);
}

uintptr_t
gcrt_ephemeron_load_value(struct gcrt_mutator *m, const struct gc_ephemeron *e)
{
    uintptr_t value = slot_load_acquire(&e->value); /* pairs: ephemeron.value */

    if (value == 0 || gcrt_ephemeron_is_dead(m, e))
        return 0;
    if (!gcrt_ephemeron_is_object(m->heap, (const void *)value))
        return value; /* no object of ours: a number, or foreign memory */
    return gcrt_weak_upgrade(m, value) ? value : 0;
}

/* Everybody's first stores into it, which need no barrier. */
struct gc_ephemeron *
gcrt_ephemeron_make(
        struct gcrt_mutator *m, void *key, void *value, bool may_fail, const void *site)
{
    struct request req = { .type = &gcrt_ephemeron_type, .bytes = sizeof(struct gc_ephemeron),
        .single = true, .zero = true, .may_fail = may_fail, .site = site };
    struct gc_ephemeron *e = NULL;
    GC_FRAME(key, value);

    if (gcrt_ephemeron_prepare(m->heap))
        e = gcrt_malloc(m, &req);
    else
        (void)gcrt_error(GC_ERR_NOMEM, "no memory for the table of ephemerons");
    if (e == NULL)
        return NULL;
    slot_store_relaxed(&e->value, (uintptr_t)value);
    slot_store_release(&e->key, (uintptr_t)key);
    return e;
}

/* ---- the public functions ---- */

/* Does it belong to the caller's heap? */
static struct gcrt_mutator *
check(const char *caller, const struct gc_ephemeron *e)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);
    struct mspan *s = mheap_span_of(&m->heap->mheap, (uintptr_t)e);

    if (UNLIKELY(s == NULL || kind_of(m->heap, s)->type != &gcrt_ephemeron_type))
        gcrt_fatal("%s: %p is no ephemeron of the caller's heap", caller, (const void *)e);
    return m;
}

void *
gc_ephemeron_key(const gc_ephemeron *e)
{
    struct gcrt_mutator *m = check("gc_ephemeron_key", e);
    void *key;

    critical_enter();
    key = (void *)gcrt_ephemeron_load_key(m, e);
    m->own.result = key;
    critical_leave();
    m->own.result = NULL;
    return key;
}

void *
gc_ephemeron_value(const gc_ephemeron *e)
{
    struct gcrt_mutator *m = check("gc_ephemeron_value", e);
    void *value;

    critical_enter();
    value = (void *)gcrt_ephemeron_load_value(m, e);
    m->own.result = value;
    critical_leave();
    m->own.result = NULL;
    return value;
}

void
gc_ephemeron_set_value(gc_ephemeron *e, void *value)
{
    struct gcrt_mutator *m = check("gc_ephemeron_set_value", e);

    critical_enter();
    gcrt_barrier_store_inserting(m, &e->value, (uintptr_t)value); /* pairs: ephemeron.value */
    critical_leave();
}

static struct gc_ephemeron *
ephemeron_new(const char *caller, void *key, void *value, bool may_fail, const void *site)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);
    struct gc_ephemeron *e;

    if (UNLIKELY(!gcrt_ephemeron_is_object(m->heap, key))) {
        if (!may_fail)
            gcrt_fatal("%s: key %p points into no object of the caller's heap", caller, key);
        (void)gcrt_error(GC_ERR_INVAL, "%s: key %p points into no object of the caller's heap",
                caller, key);
        return NULL;
    }
    e = gcrt_ephemeron_make(m, key, value, may_fail, site);
    if (UNLIKELY(e == NULL && !may_fail))
        gcrt_fatal("%s: %s", caller, gc_last_error());
    return e;
}

gc_ephemeron *
gc_ephemeron_new(void *key, void *value)
{
    return ephemeron_new("gc_ephemeron_new", key, value, false, __builtin_return_address(0));
}

gc_ephemeron *
gc_try_ephemeron_new(void *key, void *value)
{
    return ephemeron_new("gc_try_ephemeron_new", key, value, true, __builtin_return_address(0));
}
