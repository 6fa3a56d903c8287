/* SPDX-License-Identifier: MIT */
/*
 * A worker's session and the look for termination, without the worker's thread: the file is
 * part of this program, and what it does to `activity` is watched on the way.
 */
#include "byhand.h"

#include "gc/worker.h"

static uint64_t watched_add(aword *w, uint64_t x);

#define aword_add_full watched_add
#include "gc/worker.c"
#undef aword_add_full

static struct worker *worker; /* the one whose session is watched */
static unsigned ended;

/* When a worker counts itself out it holds nothing. */
static uint64_t
watched_add(aword *w, uint64_t x)
{
    if (worker != NULL && x == (uint64_t)0 - 1) {
        ended++;
        cr_expect_null(worker->marker.queue.cur);
        cr_expect_null(worker->marker.queue.spare);
        cr_expect_eq(worker->marker.nbatch, 0);
        cr_expect_eq(worker->marker.marked, 0);
        cr_expect_eq(worker->marker.scanned, 0);
    }
    return aword_add_full(w, x);
}

static void
push_raw_word(const void *p)
{
    struct workbuf *b = gcrt_work_take_empty(&the_heap->work);

    b->slot[0] = (uintptr_t)p;
    b->n = 1;
    gcrt_work_push_raw(&the_heap->work, b);
}

static void
run_session(void)
{
    struct session session;

    worker = &the_heap->marking.workers[0];
    aword_store_relaxed(&worker->share, MILLION);
    session_begin(&session);
    (void)mark_session(worker, &session);
    worker = NULL;
}

static struct raw_words raw;

Test(worker, a_session_ends_with_empty_hands)
{
    void **array;

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, 60000);
    for (int i = 0; i < 60000; i++)
        array[i] = gc_alloc_array(&gc_pointer_type, 1);
    to_marking();
    take_raw(&raw);
    push_raw_word(array);
    run_session();
    cr_expect_eq(ended, 1);
    cr_expect_eq((uint32_t)aword_load_relaxed(&the_heap->marking.activity), 0);
    cr_expect_gt(aword_load_relaxed(&the_heap->marking.heap_work), 1000);
    end_by_hand();
}

Test(worker, who_wakes_after_marking_has_closed_marks_nothing)
{
    void *object;

    begin_by_hand();
    object = gc_alloc_bytes(100);
    push_raw_word(object);
    run_session();
    cr_expect_not(is_marked(object));
    cr_expect_eq((uint32_t)aword_load_relaxed(&the_heap->marking.activity), 0);
    take_raw(&raw);
    cr_expect_eq(raw.n, 1);
    end_by_hand();
}

Test(worker, marking_is_quiet_when_nobody_marks_and_no_work_is_visible)
{
    begin_by_hand();
    cr_expect(gcrt_marking_is_quiet(the_heap));
    gcrt_marking_begin(the_heap);
    cr_expect_not(gcrt_marking_is_quiet(the_heap));
    gcrt_marking_begin(the_heap);
    gcrt_marking_end(the_heap);
    cr_expect_not(gcrt_marking_is_quiet(the_heap));
    gcrt_marking_end(the_heap);
    cr_expect(gcrt_marking_is_quiet(the_heap));
    push_raw_word(the_heap);
    cr_expect_not(gcrt_marking_is_quiet(the_heap));
    take_raw(&raw);
    end_by_hand();
}

Test(worker, shares_add_up_to_what_the_pacer_gave)
{
    struct pacer_workers shares = { .dedicated = 2, .fractional = 0.125 };

    begin_by_hand();
    the_heap->cpus = 4;
    cr_expect_eq(share_of(the_heap, &shares, 0), MILLION);
    cr_expect_eq(share_of(the_heap, &shares, 1), MILLION);
    cr_expect_eq(share_of(the_heap, &shares, 2), MILLION / 2);
    cr_expect_eq(share_of(the_heap, &shares, 3), 0);
    the_heap->cpus = 64;
    cr_expect_eq(share_of(the_heap, &shares, 2), MILLION, "a thread is one CPU at most");
    end_by_hand();
}
