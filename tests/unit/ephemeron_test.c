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
    return aword_load_relaxed(&the_heap->ephemerons.entered);
}

static uint64_t
fired(void)
{
    return aword_load_relaxed(&the_heap->ephemerons.fired);
}

static void
mark(const void *p)
{
    gcrt_mark_word(marker(), (uintptr_t)p);
    while (gcrt_mark_drain(marker(), (uint64_t)1 << 40) != 0)
        continue;
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

    mark(e);
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

    mark(e);
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

/* The chain of a bucket is with another marker: it is asked to look again. */
Test(ephemeron, a_bucket_in_use_is_told)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);
    aword *bucket = NULL;

    mark(e);
    for (size_t i = 0; bucket == NULL; i++)
        if (aword_load_relaxed(&((aword *)aword_load_relaxed(&the_heap->ephemerons.table))[i]) != 0)
            bucket = &((aword *)aword_load_relaxed(&the_heap->ephemerons.table))[i];
    aword_store_relaxed(bucket, 1); /* held, and empty */
    mark(key);
    cr_expect_eq(aword_load_relaxed(bucket), 3, "held, and again");
    cr_expect_eq(fired(), 0);
    aword_store_relaxed(bucket, (uintptr_t)e);
    gcrt_ephemeron_fire(marker(), (uintptr_t)key); /* what the other one does then */
    cr_expect_eq(fired(), 1);
    cr_expect_eq(aword_load_relaxed(bucket), 0);
    end();
}

Test(ephemeron, a_child_forgets_what_was_filed)
{
    struct node *key, *value;
    gc_ephemeron *e = begin(&key, &value);

    mark(e);
    gcrt_ephemeron_forget(the_heap);
    cr_expect_eq(e->key, (uintptr_t)key);
    cr_expect_eq(aword_load_relaxed(&e->link), 0);
    cr_expect_not(ephemeron_is_filed(the_heap));
    end();
}

Test(ephemeron, the_table_grows_between_cycles)
{
    size_t before;

    begin_by_hand();
    GC_KEEP_ALIVE(gc_ephemeron_new(gc_alloc(&node_type), NULL));
    before = the_heap->ephemerons.buckets;
    aword_store_relaxed(&the_heap->ephemerons.entered, 5 * before);
    gcrt_ephemeron_resize(the_heap);
    cr_expect_eq(the_heap->ephemerons.buckets, 4 * before);
    cr_expect_eq(filed(), 0);
    gcrt_ephemeron_resize(the_heap);
    cr_expect_eq(the_heap->ephemerons.buckets, 4 * before);
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

    mark(e);
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
