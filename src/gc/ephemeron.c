/* SPDX-License-Identifier: MIT */
/*
 * Ephemerons.
 *
 * Purpose: pairs whose value lives as long as their key does.
 * Place: the trace function of their type is called by mark, as a host's would be; whoever
 * sets a mark bit calls fire; the cycle breaks what is left.  Weak maps are made of them.
 *
 * A scanned ephemeron whose key is not marked is late work: it is scanned again when nothing else
 * is left to be marked.  Most keys are marked by then, and who marks had nobody to look for.  One
 * whose key still is not marked is filed: linked into the bucket of its key, by a word of its
 * own.  Whoever marks an object while something is filed looks into the object's bucket, whose
 * word has in its top bits a tag of each key that is filed there; if the object's is among
 * them, its finder takes the whole chain and queues its first ephemeron as the chain's head.  Who
 * scans a head goes on with the chain, CHAIN_STEP of it at a time: values of marked keys are
 * marked, the other ephemerons filed again, and the one after them is the next head.  So the fixed
 * point is reached by marking itself; an ephemeron is scanned two or three times, a chain of them
 * in the worst order costs one look each, and no step takes long, however many wait for one key.
 *
 * Lost wake-ups.  Who files sets `filed`, enters the bucket, then looks at the key's mark; who
 * marks sets the mark, then looks at `filed` and at the bucket; all of it by full operations.
 * One of them sees the other.  A chain that is out of its bucket is found by nobody who marks
 * one of its keys, but each of its ephemerons is filed again, and then its key is looked at.  It is
 * grey work meanwhile: its head is in a queue, or being scanned (I-ragged-done).
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
 * A forked child drops its parent's queues, and with them heads whose chains nobody knows.  So
 * a link has an epoch, which the child advances: what an older epoch says is nothing.
 *
 * Invariants: I-weak-agree; ephemeron.closed.
 * Concurrency: bucket words and links as above, pairs: ephemeron.filed, ephemeron.link.  An
 * ephemeron is scanned twice at once if it is a finalizer's object, which is scanned unmarked,
 * and then marked; so what a scan does to the link is a claim.
 * Cost: one load per marked object; another, of a bucket, while something is filed, where one in
 * eight or so of other objects finds a tag by chance.  A miss or two per filing, as much again when
 * it fires; 8 bytes for every two ephemerons that may be alive when a cycle begins, touched as
 * they are filed.
 * Source: Hayes, OOPSLA 1997, for the semantics; the chains by key are Whippet's idea
 * (gc-ephemeron), here with tags, and taken as a whole.
 */
#include "gc/ephemeron.h"

#include "gc/barrier.h"
#include "gc/copies.h"
#include "gc/error.h"
#include "gc/kind.h"
#include "gc/malloc.h"
#include "gc/wbcheck.h"
#include "gc/weak.h"

#include <gcrt/gcrt.h>

/* A link: the next one's address, these, and the epoch in the bits above the address. */
#define LINK_LATE     ((uintptr_t)1) /* scanned, and will be again as late work */
#define LINK_FILED    ((uintptr_t)2) /* in a chain */
#define LINK_HEAD     ((uintptr_t)4) /* queued as the head of a chain that is in no bucket */
#define LINK_STATE    (LINK_LATE | LINK_FILED | LINK_HEAD)
#define ADDRESS_BITS  48             /* as in an item (item.h) */
#define ADDRESS       ((((uintptr_t)1 << ADDRESS_BITS) - 1) & ~LINK_STATE)

#define CHAIN_STEP 16
#define MADE_STEP  64 /* a mutator says how many it has made so many at a time */

#define BUCKETS_MIN ((size_t)1 << 14)
#define BUCKETS_MAX ((size_t)EPHEMERON_BLOCK * EPHEMERON_BLOCKS)
#define PER_BUCKET  2 /* ephemerons, at most */
#define SHRINK      8 /* a table that could do with such a part of it is too large */

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

static uint64_t
hash_of(uintptr_t object)
{
    return (uint64_t)(object >> 3) * 0x9e3779b97f4a7c15u;
}

static size_t
bucket_of(const struct gc_heap *heap, uintptr_t object)
{
    return (size_t)(hash_of(object) >> 40) & (heap->ephemerons.buckets - 1);
}

/* In a bucket's word: one of the bits above the address. */
static uint64_t
tag_of(uintptr_t object)
{
    return (uint64_t)1 << (ADDRESS_BITS + (hash_of(object) >> 36) % (64 - ADDRESS_BITS));
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
static void
resize(struct gc_heap *heap, uint64_t alive)
{
    struct ephemerons *ep = &heap->ephemerons;
    size_t buckets = ep->buckets;
    aword *table;

    if (alive > PER_BUCKET * buckets || alive < PER_BUCKET * buckets / SHRINK)
        for (buckets = BUCKETS_MIN; buckets < BUCKETS_MAX && alive > PER_BUCKET * buckets;)
            buckets *= 2;
    if (buckets == ep->buckets || (table = map_table(heap, buckets)) == NULL)
        return;
    unmap_table(heap, table_of(heap), ep->buckets);
    ep->buckets = buckets;
    aword_store_release(&ep->table, (uintptr_t)table); /* pairs: ephemeron.table */
}

void
gcrt_ephemeron_begin(struct gc_heap *heap)
{
    struct ephemerons *ep = &heap->ephemerons;
    uint64_t made = aword_load_relaxed(&ep->made);

    aword_add_relaxed(&ep->made, (uint64_t)0 - made);
    ep->alive += made;
    if (table_of(heap) != NULL)
        resize(heap, ep->alive);
}

void
gcrt_ephemeron_count(struct gc_heap *heap)
{
    struct ephemerons *ep = &heap->ephemerons;

    ep->alive = aword_load_relaxed(&ep->scanned);
    aword_store_relaxed(&ep->scanned, 0);
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

/* Or will it be, for this marker has marked it in a copy (copies.h)? */
static bool
is_marked_by_now(const struct marker *mk, uintptr_t p)
{
    const struct spanmap map = mheap_map(&mk->heap->mheap);
    const struct mspan *s = mheap_span_of(&mk->heap->mheap, p);

    return copies_marked(mk->copies, (uintptr_t)(s - map.spans), spanmap_index(map, s, p))
        || is_marked(mk->heap, p);
}

static uintptr_t
object_of(const struct gc_heap *heap, uintptr_t p)
{
    const struct mheap *h = &heap->mheap;
    struct mspan *s = mheap_span_of(h, p);

    return span_object(h, s, span_object_index(h, s, p));
}

/* ---- links ---- */

static struct gc_ephemeron *
at(uintptr_t address)
{
    return (struct gc_ephemeron *)address;
}

/* As this epoch sees it. */
static uintptr_t
link_of(const struct gc_heap *heap, const struct gc_ephemeron *e)
{
    uintptr_t link = aword_load_acquire(&e->link); /* pairs: ephemeron.link */

    return link >> ADDRESS_BITS == heap->ephemerons.epoch ? link : 0;
}

static uintptr_t
link_to(const struct gc_heap *heap, uintptr_t next, uintptr_t state)
{
    return (uintptr_t)heap->ephemerons.epoch << ADDRESS_BITS | next | state;
}

static void
set_link(struct gc_ephemeron *e, uintptr_t link)
{
    aword_store_release(&e->link, link); /* pairs: ephemeron.link */
}

/* From what a link of this epoch was to another; one thread can. */
static bool
claim(struct gc_heap *heap, struct gc_ephemeron *e, uintptr_t was, uintptr_t link)
{
    uintptr_t word = aword_load_relaxed(&e->link);

    if (was == 0 && word >> ADDRESS_BITS != heap->ephemerons.epoch)
        was = word; /* of an older one */
    return aword_cas_full(&e->link, was, link); /* pairs: ephemeron.link */
}

bool
gcrt_ephemeron_waits(const struct gc_heap *heap, const struct gc_ephemeron *e)
{
    return (link_of(heap, e) & LINK_STATE) != 0;
}

/* ---- chains ---- */

/* The chain, which is the caller's, becomes grey work. */
static void
queue_chain(struct marker *mk, uintptr_t first)
{
    struct gc_ephemeron *e = at(first);

    set_link(e, link_of(mk->heap, e) | LINK_HEAD);
    gcrt_mark_queue_unmarked(mk->heap, &mk->queue, first);
}

/* If one of its ephemerons may wait for an object with that tag, a bucket's chain is queued. */
static void
look_into(struct marker *mk, aword *bucket, uint64_t tag)
{
    uint64_t word;

    do {
        word = aword_load_full(bucket);
        if ((word & tag) == 0)
            return;
    } while (!aword_cas_full(bucket, word, 0));
    chaos_point(&mk->heap->os, CHAOS_MARK_PUSH);
    queue_chain(mk, word & ADDRESS);
}

void
gcrt_ephemeron_fire(struct marker *mk, uintptr_t object)
{
    look_into(mk, &table_of(mk->heap)[bucket_of(mk->heap, object)], tag_of(object));
}

static void
touch_block(struct ephemerons *ep, size_t bucket)
{
    size_t block = bucket / EPHEMERON_BLOCK;
    uint64_t bit = (uint64_t)1 << (block % 64);

    if ((aword_load_relaxed(&ep->touched[block / 64]) & bit) == 0)
        aword_or_relaxed(&ep->touched[block / 64], bit);
}

/* e is the caller's; its key is not marked, or has just been. */
static void
file_under_key(struct marker *mk, struct gc_ephemeron *e, uintptr_t key)
{
    struct ephemerons *ep = &mk->heap->ephemerons;
    uintptr_t object = object_of(mk->heap, key);
    size_t i = bucket_of(mk->heap, object);
    aword *bucket = &table_of(mk->heap)[i];
    uint64_t word, tag = tag_of(object);

    if (ahalf_load_relaxed(&ep->filed) == 0)
        ahalf_store_full(&ep->filed, 1); /* pairs: ephemeron.filed */
    touch_block(ep, i);
    do {
        word = aword_load_full(bucket);
        set_link(e, link_to(mk->heap, word & ADDRESS, LINK_FILED));
    } while (!aword_cas_full(bucket, word, (uintptr_t)e | (word & ~ADDRESS) | tag));
    chaos_point(&mk->heap->os, CHAOS_MARK_PUSH);
    if (is_marked(mk->heap, key))
        look_into(mk, bucket, tag);
}

static void
trace_value(struct marker *mk, const struct gc_ephemeron *e)
{
    gc_trace((gc_tracer *)mk, (const void *)slot_load_acquire(&e->value)); /* ephemeron.value */
}

/* One of a chain that is the caller's: it fires, or is filed again. */
static void
sort_out(struct marker *mk, struct gc_ephemeron *e)
{
    uintptr_t key = slot_load_acquire(&e->key);

    if (!is_marked_by_now(mk, key)) {
        file_under_key(mk, e, key);
        return;
    }
    set_link(e, 0);
    aword_add_relaxed(&mk->heap->ephemerons.fired, 1);
    trace_value(mk, e);
}

static void
go_through(struct marker *mk, uintptr_t chain)
{
    for (int n = 0; chain != 0; n++) {
        struct gc_ephemeron *e = at(chain);

        if (n == CHAIN_STEP) {
            queue_chain(mk, chain);
            return;
        }
        chain = link_of(mk->heap, e) & ADDRESS;
        sort_out(mk, e);
    }
}

/* ---- scanning ---- */

/* The key is not marked: later, or in the bucket. */
static void
wait_for_key(struct marker *mk, struct gc_ephemeron *e, uintptr_t key, uintptr_t link)
{
    struct gc_heap *heap = mk->heap;

    if (link == 0 && claim(heap, e, 0, link_to(heap, 0, LINK_LATE))) {
        gcrt_mark_again_late(mk, (uintptr_t)e);
    } else if (link & LINK_LATE && claim(heap, e, link, link_to(heap, 0, LINK_FILED))) {
        aword_add_relaxed(&heap->ephemerons.filings, 1);
        file_under_key(mk, e, key);
    }
}

static void
scan(struct marker *mk, struct gc_ephemeron *e, uintptr_t key)
{
    uintptr_t link = link_of(mk->heap, e);

    mk->ephemerons += link == 0;
    if (link & LINK_HEAD) {
        if (claim(mk->heap, e, link, link & ~LINK_HEAD))
            go_through(mk, (uintptr_t)e);
    } else if (!is_marked_by_now(mk, key)) {
        wait_for_key(mk, e, key, link);
    } else {
        if (link & LINK_LATE)
            (void)claim(mk->heap, e, link, 0);
        trace_value(mk, e);
    }
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
    if (mk->report == NULL)
        scan(mk, e, key);
    else if (is_marked(mk->heap, key))
        trace_value(mk, e);
}

/* ---- the end of marking ---- */

static size_t
break_chain(struct gc_heap *heap, uintptr_t chain)
{
    uintptr_t next;
    size_t n = 0;

    for (uintptr_t e = chain; e != 0; e = next, n++) {
        next = link_of(heap, at(e)) & ADDRESS;
        gcrt_wbcheck_forget(heap, e);
        slot_store_release(&at(e)->value, 0);
        gcrt_weak_empty(&at(e)->key);
        set_link(at(e), 0);
    }
    return n;
}

static size_t
break_bucket(struct gc_heap *heap, aword *bucket)
{
    return break_chain(heap, aword_load_full(bucket) & ADDRESS);
}

static size_t
forget_bucket(struct gc_heap *heap, aword *bucket)
{
    (void)heap;
    (void)bucket;
    return 0;
}

/* Calls fn with each bucket and empties it; the sum of what fn returns.  Nobody marks. */
static size_t
empty_table(struct gc_heap *heap, size_t (*fn)(struct gc_heap *heap, aword *bucket))
{
    struct ephemerons *ep = &heap->ephemerons;
    aword *table = table_of(heap);
    size_t sum = 0;

    for (size_t block = 0; block * EPHEMERON_BLOCK < ep->buckets; block++) {
        if (((aword_load_relaxed(&ep->touched[block / 64]) >> (block % 64)) & 1) == 0)
            continue;
        for (size_t i = block * EPHEMERON_BLOCK; i < (block + 1) * EPHEMERON_BLOCK; i++) {
            sum += fn(heap, &table[i]);
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
    n = empty_table(heap, break_bucket);
    aword_add_relaxed(&heap->ephemerons.broken, n);
    aword_add_relaxed(&heap->marking.marked_bytes, (uint64_t)0 - n * sizeof(struct gc_ephemeron));
}

/* Its epochs come round after 65,536 forks in a line of descent. */
void
gcrt_ephemeron_forget(struct gc_heap *heap)
{
    struct ephemerons *ep = &heap->ephemerons;

    if (ephemeron_is_filed(heap))
        (void)empty_table(heap, forget_bucket);
    ep->epoch = (ep->epoch + 1) & (UINT64_MAX >> ADDRESS_BITS);
    aword_store_relaxed(&ep->scanned, 0);
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
    if (++m->nephemerons % MADE_STEP == 0)
        aword_add_relaxed(&m->heap->ephemerons.made, MADE_STEP);
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
