/* SPDX-License-Identifier: MIT */
/*
 * Ephemerons and interned bytes, one step of a cycle at a time: what is filed and what fires,
 * and what a getter does in each state of the decision.
 */
#include "byhand.h"

#include "gc/ephemeron.h"
#include "gc/intern.h"
#include "gc/weak.h"

struct node {
    struct node *next;
    long number;
};

GC_TYPE(node_type, struct node, next);

static struct marker *
marker(void)
{
    return &self()->marker;
}

static uint64_t
filed(void)
{
    return aword_load_relaxed(&the_heap->ephemerons.filings);
}

static uint64_t
fired(void)
{
    return aword_load_relaxed(&the_heap->ephemerons.fired);
}

static void
drain(void)
{
    while (gcrt_mark_drain(marker(), (uint64_t)1 << 40) != 0)
        continue;
}

static void
mark(const void *p)
{
    gcrt_mark_word(marker(), (uintptr_t)p);
    drain();
}

/* What a worker does when nothing else is left. */
static void
drain_late(void)
{
    marker()->brief = marker()->leaves_traced = false;
    (void)gcrt_marker_flush(marker());
    gcrt_work_open_late(&the_heap->work);
    drain();
    marker()->brief = marker()->leaves_traced = true;
}

/* To where it waits for its key in a bucket. */
static void
file(const gc_ephemeron *e)
{
    mark(e);
    drain_late();
}

static void
to_decided(void)
{
    gcrt_weak_close(the_heap);
    cr_assert(gcrt_weak_decide(the_heap));
}

static struct raw_words raw;

/* Key, value and ephemeron, white, with marking open and nothing grey. */
static gc_ephemeron *
begin(struct node **key, struct node **value)
{
    gc_ephemeron *e;

    begin_by_hand();
    *key = gc_alloc(&node_type);
    *value = gc_alloc(&node_type);
    e = gc_ephemeron_new(*key, *value);
    gcrt_weak_begin(the_heap);
    to_marking();
    take_raw(&raw); /* our own stack has all of them */
    return e;
}

static void
end(void)
{
    gcrt_ephemeron_forget(the_heap);
    handshake(ACTION_BARRIER_OFF);
    gcrt_weak_end(the_heap);
    end_by_hand();
}

/* ---- marking ---- */

Test(ephemeron, a_marked_key_marks_the_value)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    mark(key);
    mark(e);
    cr_expect(is_marked(value));
    cr_expect_eq(filed(), 0);
    end();
}

Test(ephemeron, one_that_waits_fires_with_its_key)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    file(e);
    cr_expect_eq(filed(), 1);
    cr_expect(ephemeron_is_filed(the_heap));
    cr_expect_not(is_marked(value));
    mark(key);
    cr_expect(is_marked(value));
    cr_expect_eq(fired(), 1);
    gcrt_ephemeron_break(the_heap); /* nothing is left to be broken */
    cr_expect_eq(e->key, (uintptr_t)key);
    cr_expect_eq(aword_load_relaxed(&the_heap->ephemerons.broken), 0);
    end();
}

Test(ephemeron, one_that_waits_to_the_end_is_broken)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    file(e);
    to_decided();
    gcrt_ephemeron_break(the_heap);
    cr_expect_eq(e->key, 0);
    cr_expect_eq(e->value, 0);
    cr_expect_eq(aword_load_relaxed(&e->link), 0);
    cr_expect_not(ephemeron_is_filed(the_heap));
    cr_expect_eq(aword_load_relaxed(&the_heap->ephemerons.broken), 1);
    end();
}

/*
 * The value that a store overwrites need not be marked while the key is not: shading it would
 * make grey from nothing.  Before the own scan the new one is shaded, which nobody else may hold.
 */
Test(ephemeron, a_store_shades_the_new_value_and_only_before_the_scan)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    cr_assert_eq(barrier_state(self()->self), BARRIER_DELETION);
    cr_assert_eq(self()->nbarrier, 0);
    gc_ephemeron_set_value(e, key);
    cr_expect_eq(self()->nbarrier, 0, "neither");
    barrier_set(self(), BARRIER_HYBRID);
    gc_ephemeron_set_value(e, value);
    cr_expect_eq(self()->nbarrier, 1);
    cr_expect_eq(self()->barrier[0], (uintptr_t)value);
    barrier_set(self(), BARRIER_DELETION);
    end();
}

/* Late work is scanned when nothing else is left, and then most keys are marked. */
Test(ephemeron, a_key_that_is_marked_in_time_is_never_waited_for)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    mark(e);
    cr_expect(gcrt_ephemeron_waits(the_heap, e));
    cr_expect_not(ephemeron_is_filed(the_heap));
    mark(key);
    cr_expect_not(is_marked(value), "not yet");
    drain_late();
    cr_expect(is_marked(value));
    cr_expect_not(gcrt_ephemeron_waits(the_heap, e));
    cr_expect_eq(filed(), 0);
    end();
}

Test(ephemeron, late_work_is_work)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    mark(e);
    cr_expect(gcrt_marker_flush(marker()));
    cr_expect_not(gcrt_work_is_empty(&the_heap->work));
    cr_expect_not(gcrt_work_is_in_reach(&the_heap->work), "it is not its turn");
    gcrt_work_open_late(&the_heap->work);
    cr_expect(gcrt_work_is_in_reach(&the_heap->work));
    drain();
    cr_expect_eq(filed(), 0, "a mutator leaves it to the workers");
    drain_late();
    cr_expect_eq(filed(), 1);
    cr_expect(gcrt_work_is_empty(&the_heap->work));
    end();
}

/* The bucket's word: tags of 16 kinds above the address of the first ephemeron. */
static aword *
bucket_in_use(void)
{
    aword *table = (aword *)aword_load_relaxed(&the_heap->ephemerons.table);

    for (size_t i = 0; i < the_heap->ephemerons.buckets; i++)
        if (aword_load_relaxed(&table[i]) != 0)
            return &table[i];
    return NULL;
}

#define TAGS ((uint64_t)0xffff << 48)

/* One that hits the bucket with another tag does not disturb what waits there. */
Test(ephemeron, an_object_without_a_filed_tag_takes_no_chain)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);
    aword *bucket;
    uint64_t word;

    file(e);
    bucket = bucket_in_use();
    cr_assert_not_null(bucket);
    word = aword_load_relaxed(bucket);
    cr_expect_eq(word & ~TAGS, (uintptr_t)e);
    cr_expect_eq(__builtin_popcountll(word & TAGS), 1);
    aword_store_relaxed(bucket, (word & ~TAGS) | (TAGS & ~word));
    gcrt_ephemeron_fire(marker(), (uintptr_t)key);
    cr_expect_neq(aword_load_relaxed(bucket), 0);
    aword_store_relaxed(bucket, word | TAGS);
    gcrt_ephemeron_fire(marker(), (uintptr_t)key); /* by chance: the key is not marked */
    cr_expect_eq(aword_load_relaxed(bucket), 0);
    drain();
    cr_expect_eq(aword_load_relaxed(bucket), word, "filed again, with its own tag alone");
    cr_expect_eq(filed(), 1);
    cr_expect_eq(fired(), 0);
    mark(key);
    cr_expect(is_marked(value));
    end();
}

/* The chance that all keys have one tag is 16 to the -7. */
Test(ephemeron, keys_that_share_a_bucket_are_all_found)
{
    enum { N = 8 };
    struct node *key[N], *value[N];
    gc_ephemeron *e[N];
    size_t buckets;

    begin_by_hand();
    for (int i = 0; i < N; i++) {
        key[i] = gc_alloc(&node_type);
        value[i] = gc_alloc(&node_type);
        e[i] = gc_ephemeron_new(key[i], value[i]);
    }
    gcrt_weak_begin(the_heap);
    to_marking();
    take_raw(&raw);
    buckets = the_heap->ephemerons.buckets;
    the_heap->ephemerons.buckets = 1;
    for (int i = 0; i < N; i++)
        file(e[i]);
    for (int i = 0; i < N; i++) {
        mark(key[i]);
        cr_expect(is_marked(value[i]), "ephemeron %d of %d", i, N);
    }
    the_heap->ephemerons.buckets = buckets;
    end();
}

/* However many wait for one key: each step deals with a few. */
Test(ephemeron, a_long_chain_is_gone_through_in_steps)
{
    enum { N = 1000 };
    struct node *key, *value;
    gc_ephemeron *more[N];

    begin_by_hand();
    key = gc_alloc(&node_type);
    value = gc_alloc(&node_type);
    for (int i = 0; i < N; i++)
        more[i] = gc_ephemeron_new(key, value);
    gcrt_weak_begin(the_heap);
    to_marking();
    take_raw(&raw);
    for (int i = 0; i < N; i++)
        file(more[i]);
    cr_expect_eq(filed(), N);
    gcrt_mark_word(marker(), (uintptr_t)key);
    cr_expect_eq(fired(), 0, "the barrier of a thread goes through no chain");
    gcrt_mark_drain(marker(), 1);
    cr_expect_leq(fired(), 64, "nor does one step of an assist");
    drain();
    cr_expect_eq(fired(), N);
    cr_expect(is_marked(value));
    for (int i = 0; i < N; i++)
        cr_expect_not(gcrt_ephemeron_waits(the_heap, more[i]));
    end();
}

/* A queued chain goes with its parent's queues; its ephemerons can be filed again. */
Test(ephemeron, a_child_forgets_what_was_filed)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    file(e);
    gcrt_ephemeron_fire(marker(), (uintptr_t)key);
    cr_expect_neq(aword_load_relaxed(&e->link), 0);
    gcrt_ephemeron_forget(the_heap);
    cr_expect_eq(e->key, (uintptr_t)key);
    cr_expect_not(gcrt_ephemeron_waits(the_heap, e));
    cr_expect_not(ephemeron_is_filed(the_heap));
    marker()->queue.cur->n = 0;
    set_marked(e, false);
    file(e);
    cr_expect_eq(filed(), 2);
    mark(key);
    cr_expect(is_marked(value));
    end();
}

Test(ephemeron, the_table_is_as_large_as_a_cycle_may_need)
{
    size_t before;

    begin_by_hand();
    GC_KEEP_ALIVE(gc_ephemeron_new(gc_alloc(&node_type), NULL));
    before = the_heap->ephemerons.buckets;
    aword_store_relaxed(&the_heap->ephemerons.made, 5 * before);
    gcrt_ephemeron_begin(the_heap);
    cr_expect_eq(the_heap->ephemerons.buckets, 4 * before);
    aword_store_relaxed(&the_heap->ephemerons.scanned, 4 * before);
    gcrt_ephemeron_count(the_heap);
    gcrt_ephemeron_begin(the_heap);
    cr_expect_eq(the_heap->ephemerons.buckets, 4 * before);
    gcrt_ephemeron_count(the_heap);
    gcrt_ephemeron_begin(the_heap);
    cr_expect_eq(the_heap->ephemerons.buckets, before);
    for (int i = 0; i < 128; i++)
        GC_KEEP_ALIVE(gc_ephemeron_new(gc_alloc(&node_type), NULL));
    cr_expect_eq(aword_load_relaxed(&the_heap->ephemerons.made), 128);
    end_by_hand();
}

/* ---- taking out ---- */

Test(ephemeron, a_value_that_is_taken_is_shaded)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    gcrt_weak_close(the_heap);
    self()->nbarrier = 0;
    cr_expect_eq(gc_ephemeron_value(e), value);
    cr_expect_eq(self()->nbarrier, 1);
    cr_expect_eq(self()->barrier[0], (uintptr_t)value);
    cr_expect_not(gcrt_weak_decide(the_heap), "it was cancelled");
    end();
}

Test(ephemeron, after_the_decision_a_dead_key_answers_no_more)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    mark(value); /* held by somebody else, which does not matter */
    to_decided();
    cr_expect_null(gc_ephemeron_value(e));
    cr_expect_null(gc_ephemeron_key(e));
    cr_expect_eq(e->key, (uintptr_t)key, "it is not broken yet");
    end();
}

Test(ephemeron, a_revived_key_comes_too_late)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    file(e);
    to_decided();
    gcrt_ephemeron_break(the_heap);
    gcrt_weak_revive(the_heap, (uintptr_t)key);
    cr_expect_null(gc_ephemeron_key(e));
    cr_expect_null(gc_ephemeron_value(e));
    end();
}

/* ---- interned bytes ---- */

Test(ephemeron, a_dead_copy_is_not_found_and_gets_a_successor)
{
    struct node *key, *value;
    void *copy, *fresh;

    (void)begin(&key, &value);
    copy = gc_intern(NULL, "name", 4); /* born black */
    set_marked(copy, false);
    to_decided();
    cr_expect_null(gc_intern_find(NULL, "name", 4));
    fresh = gc_intern(NULL, "name", 4);
    cr_expect_neq(fresh, copy);
    cr_expect_eq(gc_intern_find(NULL, "name", 4), fresh);
    gcrt_intern_drop(the_heap);
    cr_expect_eq(aword_load_relaxed(&the_heap->interning.count), 1);
    cr_expect_eq(aword_load_relaxed(&the_heap->interning.dropped), 1);
    cr_expect_not_null(the_heap->interning.gone, "somebody may look at it still");
    gcrt_intern_free_gone(the_heap);
    cr_expect_eq(gc_intern_find(NULL, "name", 4), fresh);
    end();
}

Test(ephemeron, a_copy_that_is_found_is_shaded)
{
    struct node *key, *value;
    void *copy;

    (void)begin(&key, &value);
    copy = gc_intern(NULL, "name", 4);
    set_marked(copy, false);
    gcrt_weak_close(the_heap);
    self()->nbarrier = 0;
    cr_expect_eq(gc_intern_find(NULL, "name", 4), copy);
    cr_expect_eq(self()->nbarrier, 1);
    cr_expect_not(gcrt_weak_decide(the_heap), "it was cancelled");
    end();
}

/* What src/gc/intern.c does with each eight bytes. */
static uint64_t
hash_step(uint64_t h, uint64_t w)
{
    h = (h ^ w) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

/* Their third words differ, and their fourth ones make up for it. */
Test(ephemeron, names_of_one_hash_that_begin_alike_are_two)
{
    uint64_t one[4] = { 1, 2, 3, 4 }, two[4] = { 1, 2, 5, 4 }, h;
    const char *first;

    begin_by_hand();
    h = hash_step(hash_step(the_heap->interning.seed ^ sizeof(one), 1), 2);
    two[3] ^= hash_step(h, one[2]) ^ hash_step(h, two[2]);
    first = gc_intern(NULL, (const char *)one, sizeof(one));
    cr_expect_neq(gc_intern(NULL, (const char *)two, sizeof(two)), first);
    cr_expect_eq(gc_intern(NULL, (const char *)one, sizeof(one)), first);
    cr_expect_eq(aword_load_relaxed(&the_heap->interning.count), 2);
    end_by_hand();
}
