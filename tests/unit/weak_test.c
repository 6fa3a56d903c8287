/* SPDX-License-Identifier: MIT */
/*
 * Weak references, one step of a cycle at a time: what a getter does in each state of the
 * decision and of its own barrier, and what the decision leaves.
 */
#include "byhand.h"

#include "gc/special.h"
#include "gc/weak.h"

/* A look at a weak place, before the second of which it may be emptied. */
static uintptr_t scripted_look(const void *place);

#define slot_load_acquire scripted_look
#define is_marked         weak_is_marked
#include "gc/weak.c"
#undef slot_load_acquire
#undef is_marked

static struct {
    void *place; /* to be emptied; NULL: nothing happens */
    unsigned looks;
} script;

static uintptr_t
scripted_look(const void *place)
{
    if (place == script.place && ++script.looks == 2)
        gcrt_weak_empty(script.place);
    return slot_load_acquire(place);
}

struct node {
    struct node *next;
    long number;
};

GC_TYPE(node_type, struct node, next);

static struct raw_words raw;

static unsigned
word(void)
{
    return ahalf_load_acquire(&the_heap->weak.word);
}

static uint64_t
records(void)
{
    return aword_load_relaxed(&the_heap->specials.count[SPECIAL_WEAK]);
}

/* An object, and a weak reference to it. */
static gc_weak *
begin_with_weak(struct node **n)
{
    begin_by_hand();
    *n = gc_alloc(&node_type);
    return gc_weak_new(*n);
}

static void
to_closing(void)
{
    gcrt_weak_begin(the_heap);
    to_marking();
    gcrt_weak_close(the_heap);
}

static void
to_decided(void)
{
    to_closing();
    cr_assert(gcrt_weak_decide(the_heap));
}

/* ---- looking ---- */

Test(weak, off_takes_what_the_place_holds)
{
    struct node *n;
    gc_weak *w;

    w = begin_with_weak(&n);
    cr_expect_eq(gc_weak_get(w), n);
    gcrt_weak_begin(the_heap); /* the coordinator has begun, H1 is not here yet */
    cr_expect_eq(gc_weak_get(w), n);
    cr_expect_eq(gc_impl_weak_get(w), n);
    cr_expect_eq(self()->nbarrier, 0, "H3 scans the stack: nothing is shaded");
    end_by_hand();
}

/* After its own H5 a mutator must not look at marks: the sweep may be clearing them. */
Test(weak, off_after_h5_takes_what_the_place_holds)
{
    struct node *n;
    gc_weak *w;

    w = begin_with_weak(&n);
    to_decided();
    handshake(ACTION_BARRIER_OFF); /* ours; another one's answer is still missing */
    set_marked(n, false);
    cr_expect_eq(gc_weak_get(w), n);
    cr_expect_eq(gc_impl_weak_get(w), n);
    end_by_hand();
}

Test(weak, before_marking_opens_the_object_is_queued_and_not_marked)
{
    struct node *n;
    gc_weak *w;

    w = begin_with_weak(&n);
    gcrt_weak_begin(the_heap);
    handshake(ACTION_BARRIER_ON);
    cr_expect_eq(gc_weak_get(w), n);
    cr_expect_eq(count_buffered(n), 1, "hybrid");
    handshake(ACTION_SETTLE);
    handshake(ACTION_SCAN);
    take_raw(&raw); /* of the stack */
    self()->nbarrier = 0;
    cr_expect_eq(gc_weak_get(w), n);
    cr_expect_eq(count_buffered(n), 1, "deletion");
    gcrt_barrier_flush(self());
    cr_expect_not(is_marked(n), "nothing is marked before marking opens");
    take_raw(&raw);
    cr_expect_eq(count_raw(&raw, n), 1);
    end_by_hand();
}

Test(weak, marking_shades_the_unmarked)
{
    struct node *n;
    gc_weak *w;

    w = begin_with_weak(&n);
    gcrt_weak_begin(the_heap);
    to_marking();
    self()->nbarrier = 0;
    cr_expect_eq(gc_weak_get(w), n);
    cr_expect_eq(count_buffered(n), 1);
    gcrt_barrier_flush(self());
    cr_expect(is_marked(n));
    cr_expect_eq(gc_weak_get(w), n);
    cr_expect_eq(self()->nbarrier, 0, "a marked object needs nothing");
    end_by_hand();
}

Test(weak, closing_is_cancelled_by_an_unmarked_object)
{
    struct node *n;
    gc_weak *w;

    w = begin_with_weak(&n);
    to_closing();
    self()->nbarrier = 0;
    cr_expect_eq(gc_weak_get(w), n);
    cr_expect_eq(word(), WEAK_MARKING);
    cr_expect_eq(count_buffered(n), 1);
    cr_expect_not(gcrt_weak_decide(the_heap), "the round does not count");
    cr_expect_eq(aword_load_relaxed(&the_heap->weak.cancelled), 1);
    end_by_hand();
}

Test(weak, closing_is_not_cancelled_by_a_marked_object)
{
    struct node *n;
    gc_weak *w;

    w = begin_with_weak(&n);
    to_closing();
    set_marked(n, true);
    cr_expect_eq(gc_weak_get(w), n);
    cr_expect_eq(word(), WEAK_CLOSING);
    cr_expect(gcrt_weak_decide(the_heap));
    end_by_hand();
}

Test(weak, decided_gives_the_marked_and_not_the_unmarked)
{
    struct node *n;
    gc_weak *w;

    w = begin_with_weak(&n);
    to_decided();
    self()->nbarrier = 0;
    cr_expect_null(gc_weak_get(w), "before its place is emptied, too");
    cr_expect_eq(self()->nbarrier, 0);
    set_marked(n, true);
    cr_expect_eq(gc_weak_get(w), n);
    end_by_hand();
}

/* The finalizer's mark comes when the place is empty: who sees the mark looks again. */
Test(weak, a_place_emptied_between_the_looks_is_empty)
{
    struct node *n;
    uintptr_t place;

    begin_by_hand();
    n = gc_alloc(&node_type);
    place = (uintptr_t)n;
    to_decided();
    cr_expect_eq(gcrt_weak_load(self(), &place), 0);
    gcrt_weak_empty(&place);
    gcrt_weak_revive(the_heap, (uintptr_t)n);
    cr_expect(is_marked(n));
    cr_expect(gcrt_weak_upgrade(self(), (uintptr_t)n), "this is why the place is read again");
    cr_expect_eq(gcrt_weak_load(self(), &place), 0);
    end_by_hand();
}

Test(weak, a_finalizers_mark_does_not_count)
{
    struct node *n;
    uintptr_t place;

    begin_by_hand();
    n = gc_alloc(&node_type);
    place = (uintptr_t)n;
    to_decided();
    gcrt_weak_revive(the_heap, (uintptr_t)n); /* it comes between the getter's two looks */
    script.place = &place;
    cr_expect_eq(gcrt_weak_load(self(), &place), 0);
    cr_expect_eq(script.looks, 2);
    end_by_hand();
}

Test(weak, revived_bytes_count_once)
{
    struct node *n;
    uint64_t before;

    begin_by_hand();
    n = gc_alloc(&node_type);
    to_decided();
    before = aword_load_relaxed(&the_heap->marking.marked_bytes);
    gcrt_weak_revive(the_heap, (uintptr_t)n);
    gcrt_weak_revive(the_heap, (uintptr_t)n);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.marked_bytes) - before, sizeof(*n));
    end_by_hand();
}

/* ---- one for each object ---- */

Test(weak, the_same_object_has_the_same_reference)
{
    struct node *n, *other;
    gc_weak *w;

    begin_by_hand();
    n = gc_alloc(&node_type);
    other = gc_alloc(&node_type);
    w = gc_weak_new(n);
    cr_expect_eq(gc_weak_new(n), w);
    cr_expect_eq(gc_weak_new(&n->number), w, "the object's base counts");
    cr_expect_neq(gc_weak_new(other), w);
    cr_expect_eq(records(), 2);
    cr_expect_neq(gc_weak_new(w), w, "a gc_weak is an object like any other");
    end_by_hand();
}

Test(weak, finding_it_while_marking_makes_it_strong)
{
    struct node *n;
    gc_weak *w;

    w = begin_with_weak(&n);
    to_closing();
    set_marked(n, true);
    self()->nbarrier = 0;
    cr_expect_eq(gc_weak_new(n), w);
    cr_expect_eq(count_buffered(w), 1);
    cr_expect_eq(word(), WEAK_MARKING, "the termination is cancelled");
    end_by_hand();
}

Test(weak, a_dead_reference_is_replaced)
{
    struct node *n;
    gc_weak *w, *fresh;

    w = begin_with_weak(&n);
    to_decided();
    set_marked(n, true);
    set_marked(w, false);
    fresh = gc_weak_new(n);
    cr_expect_neq(fresh, w, "nobody can compare it with the dead one");
    cr_expect_null(w->impl_target, "a finalizer may bring the dead one back");
    cr_expect_eq(records(), 1);
    cr_expect(is_marked(fresh), "born black");
    gcrt_special_empty_weak(the_heap);
    cr_expect_eq(records(), 1);
    cr_expect_eq(gc_weak_new(n), fresh);
    end_by_hand();
}

Test(weak, tiny_objects_have_one_each_and_live_with_their_block)
{
    char *a, *b;
    gc_weak *wa, *wb;

    begin_by_hand();
    a = gc_alloc_bytes(3);
    b = gc_alloc_bytes(3);
    cr_assert_eq((uintptr_t)a / 16, (uintptr_t)b / 16, "one block");
    wa = gc_weak_new(a);
    wb = gc_weak_new(b);
    cr_expect_neq(wa, wb);
    cr_expect_eq(gc_weak_get(wa), a);
    cr_expect_eq(gc_weak_get(wb), b);
    to_decided();
    set_marked(wa, true);
    set_marked(wb, true);
    set_marked(a, true);
    gcrt_special_empty_weak(the_heap);
    cr_expect_eq(gc_weak_get(wb), b);
    set_marked(a, false);
    gcrt_special_empty_weak(the_heap);
    cr_expect_null(wa->impl_target);
    cr_expect_null(wb->impl_target);
    end_by_hand();
}

/* ---- what the decision leaves ---- */

static uint64_t
records_after(bool object, bool reference, void **target)
{
    struct node *n;
    gc_weak *w;
    uint64_t left;

    w = begin_with_weak(&n);
    to_decided();
    set_marked(n, object);
    set_marked(w, reference);
    gcrt_special_empty_weak(the_heap);
    *target = w->impl_target == n ? n : NULL;
    left = records();
    end_by_hand();
    return left;
}

Test(weak, both_alive)
{
    void *target;

    cr_expect_eq(records_after(true, true, &target), 1);
    cr_expect_not_null(target);
}

Test(weak, the_object_dies)
{
    void *target;

    cr_expect_eq(records_after(false, true, &target), 0);
    cr_expect_null(target);
}

Test(weak, the_reference_dies)
{
    void *target;

    cr_expect_eq(records_after(true, false, &target), 0);
    cr_expect_null(target, "a finalizer may bring the reference back");
}

Test(weak, both_die)
{
    void *target;

    cr_expect_eq(records_after(false, false, &target), 0);
    cr_expect_null(target);
}

/* ---- memory ---- */

Test(weak, without_memory_for_the_record_the_try_form_gives_null)
{
    struct node *n;
    gc_weak *w;

    begin_by_hand();
    n = gc_alloc(&node_type);
    w = gc_weak_new(gc_alloc(&node_type)); /* there are spans for both types */
    use(w);
    the_heap->os.fail_at = 1;
    the_heap->os.fail_from = 1;
    for (int i = 0; i < 2000; i++) { /* until records or buckets are used up */
        n = gc_try_alloc(&node_type);
        if (n == NULL || gc_try_weak_new(n) == NULL)
            break;
    }
    the_heap->os.fail_at = the_heap->os.fail_from = 0;
    cr_assert_not_null(n, "the heap has memory for so many");
    cr_expect_not_null(strstr(gc_last_error(), "record of a weak reference"), "%s",
            gc_last_error());
    w = gc_weak_new(n);
    cr_expect_eq(gc_weak_get(w), n);
    end_by_hand();
}

Test(weak, null_for_null)
{
    begin_by_hand();
    cr_expect_null(gc_weak_new(NULL));
    cr_expect_null(gc_try_weak_new(NULL));
    cr_expect_null(gc_weak_get(NULL));
    end_by_hand();
}
