/* SPDX-License-Identifier: MIT */
/*
 * Words that two mutators have shaded, when one has answered H4 and the other has not; and what
 * is shaded when marking is over.  mark.c is part of this program, so that one can look at the
 * moment before a mark bit is set.
 */
#include "byhand.h"

#include <pthread.h>

static uint64_t watched_or(aword *word, uint64_t bits);

#define aword_fetch_or_full watched_or
#include "gc/mark.c"
#undef aword_fetch_or_full

struct node {
    struct node *next;
};

GC_TYPE(node_type, struct node, next);

/* What the heap's word said before each bit. */
static unsigned marks_set, marks_said;

static uint64_t
watched_or(aword *word, uint64_t bits)
{
    marks_set++;
    marks_said += ahalf_load_relaxed(&the_heap->handshake.flushed);
    return aword_fetch_or_full(word, bits);
}

/* The object goes through the barrier as the old value of a store. */
static void
shade(struct node *white)
{
    struct node *from = gc_alloc(&node_type);

    from->next = white;
    gc_write(&from->next, NULL);
}

/* Two white objects, the first leads to the second. */
static struct node *
begin_with_pair(void)
{
    struct node *white;

    begin_by_hand();
    white = gc_alloc(&node_type);
    white->next = gc_alloc(&node_type);
    to_marking();
    return white;
}

Test(shaded, a_flush_says_that_it_marks_before_it_does)
{
    struct node *white = begin_with_pair();

    shade(white);
    ahalf_store_full(&the_heap->handshake.flushed, 0);
    gcrt_barrier_flush(self());
    cr_expect_eq(self()->nbarrier, 0);
    cr_expect_eq(marks_set, 1);
    cr_expect_eq(marks_said, 1, "who finds the bit must find the word");
    end_by_hand();
}

Test(shaded, a_flush_of_what_is_marked_says_nothing)
{
    struct node *white = begin_with_pair();

    shade(white);
    gcrt_barrier_flush(self());
    ahalf_store_full(&the_heap->handshake.flushed, 0);
    shade(white);
    cr_assert_eq(self()->nbarrier, 1);
    gcrt_barrier_flush(self());
    cr_expect_eq(self()->nbarrier, 0);
    cr_expect_eq(marks_set, 1);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.flushed), 0);
    end_by_hand();
}

/* What a failing gc_cas compares with may be dead. */
Test(shaded, a_compare_and_swap_that_fails_shades_nothing)
{
    struct node *white = begin_with_pair(), *from = gc_alloc(&node_type);

    cr_expect_not(gc_cas(&from->next, white, NULL));
    cr_expect_eq(self()->nbarrier, 0);
    from->next = white;
    cr_expect(gc_cas(&from->next, white, NULL));
    cr_expect_eq(self()->nbarrier, 1);
    end_by_hand();
}

/* ---- two mutators ---- */

static struct node *shared;
static struct gcrt_mutator *other; /* outside once there is one */
static bool over;

static void *
other_main(void *arg)
{
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    shade(shared);
    gc_block_enter();
    __atomic_store_n(&other, self(), __ATOMIC_RELEASE);
    while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
        sched_yield();
    gc_block_leave();
    gc_thread_detach();
    return arg;
}

Test(shaded, who_finds_it_marked_in_its_answer_is_not_the_end)
{
    ahalf *flushed;
    pthread_t thread;

    shared = begin_with_pair();
    flushed = &the_heap->handshake.flushed;
    cr_assert_eq(pthread_create(&thread, NULL, other_main, NULL), 0);
    while (__atomic_load_n(&other, __ATOMIC_ACQUIRE) == NULL)
        sched_yield();
    ahalf_store_full(flushed, 0);
    ask(ACTION_FLUSH);
    gc_safepoint();
    cr_assert(has_answered());
    cr_expect_eq(ahalf_load_relaxed(flushed), 0, "we had nothing");
    shade(shared);
    gcrt_barrier_flush(self()); /* as when it is full; the object is in our queue now */
    gcrt_action_run(other, ACTION_FLUSH, 0);
    cr_expect_eq(ahalf_load_relaxed(flushed), 1, "the object is grey, and only in our queue");
    __atomic_store_n(&over, true, __ATOMIC_RELEASE);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    end_by_hand();
}

/* ---- before marking is open ---- */

static struct raw_words raw;

/* The first of two objects that lie one behind the other; each is all that its array has. */
static char *
begin_with_neighbours(void)
{
    char *first;

    begin_by_hand();
    first = gc_alloc_array(&node_type, 1);
    cr_assert_eq((char *)gc_alloc_array(&node_type, 1), first + sizeof(struct node));
    cr_assert(mheap_may_end_at(&the_heap->mheap, (uintptr_t)first + sizeof(struct node)));
    return first;
}

/* Else what lies before an object lives as long as somebody stores that object's address. */
Test(shaded, what_is_handed_over_from_a_field_means_its_object_alone)
{
    char *first = begin_with_neighbours(), *second = first + sizeof(struct node);

    handshake(ACTION_BARRIER_ON);
    shade((struct node *)(void *)second);
    gcrt_barrier_flush(self());
    take_raw(&raw);
    cr_expect_eq(count_raw(&raw, second), 1);
    cr_expect_eq(count_raw(&raw, first) + count_raw(&raw, second - 1), 0);
    cr_expect_eq(raw.nexact, raw.n, "%zu of %zu", raw.nexact, raw.n);
    end_by_hand();
}

Test(shaded, what_is_handed_over_from_a_root_means_the_object_before_too)
{
    static void *root;
    char *first = begin_with_neighbours(), *second = first + sizeof(struct node);

    cr_assert_eq(gc_root_add(&root, sizeof(root)), GC_OK);
    root = second;
    handshake(ACTION_BARRIER_ON);
    gc_write(&root, NULL);
    gcrt_barrier_flush(self());
    take_raw(&raw);
    cr_expect_eq(count_raw(&raw, second), 1);
    cr_expect_eq(count_raw(&raw, second - 1), 1);
    gc_root_remove(&root);
    end_by_hand();
}

/* ---- the end of marking ---- */

/*
 * Marking is closed before H5, and assists may still look for work: what lies before a word is
 * garbage, perhaps, and dead for everybody.
 */
Test(shaded, when_marking_is_over_a_root_means_its_object_alone_and_nothing_is_handed_over)
{
    static void *root;

    begin_by_hand();
    cr_assert_eq(gc_root_add(&root, sizeof(root)), GC_OK);
    root = (char *)gc_alloc_array(&node_type, 1) + sizeof(struct node);
    to_marking();
    take_raw(&raw);
    ahalf_store_full(&the_heap->cycles.phase, PHASE_ENDING);
    ahalf_store_full(&the_heap->marking.open, 0);
    gc_write(&root, NULL);
    cr_expect_eq(self()->nbarrier, 1);
    gcrt_barrier_flush(self());
    cr_expect_eq(self()->nbarrier, 0);
    take_raw(&raw);
    cr_expect_eq(raw.n, 0);
    ahalf_store_full(&the_heap->cycles.phase, PHASE_IDLE);
    gc_root_remove(&root);
    end_by_hand();
}
