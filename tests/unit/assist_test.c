/* SPDX-License-Identifier: MIT */
/*
 * What allocation owes and pays while marking, and in which colour objects are born.
 */
#include "byhand.h"

#include "gc/assist.h"

static struct raw_words raw;

/* The marker's only work, beside what allocation brings, is the array, which it marks. */
static void
to_marking_with(void *array)
{
    to_marking();
    take_raw(&raw);
    set_marked(array, false);
    gcrt_mark_word(&self()->marker, (uintptr_t)array);
}

Test(assist, a_large_object_is_black_only_in_the_cycle_that_will_sweep_it)
{
    begin_by_hand();
    cr_expect_not(is_marked(gc_alloc_bytes(100000)), "white between cycles");
    to_marking();
    cr_expect(is_marked(gc_alloc_bytes(100000)), "black while marking");
    ahalf_store_full(&the_heap->mheap.sweepgen, ahalf_load_relaxed(&the_heap->mheap.sweepgen) + 2);
    cr_expect_not(is_marked(gc_alloc_bytes(100000)), "white once sweepgen has advanced");
    end_by_hand();
}

Test(assist, allocation_makes_debt_and_starts_a_cycle_at_the_trigger)
{
    int64_t before;

    begin_by_hand();
    use(gc_alloc_bytes(100000));
    before = self()->credit;
    use(gc_alloc_bytes(100000));
    cr_expect_eq(self()->credit, before - (int64_t)align_up(100000, PAGE_SIZE));
    cr_expect_eq(aword_load_relaxed(&the_heap->cycles.started), 0);
    aword_store_relaxed(&the_heap->cycles.trigger, 1);
    use(gc_alloc_bytes(100000));
    for (int i = 0; i < 10000 && aword_load_relaxed(&the_heap->cycles.started) == 0; i++) {
        gc_safepoint();
        gcrt_os_sleep_ns(1000000);
    }
    cr_expect_eq(aword_load_relaxed(&the_heap->cycles.started), 1);
    gc_collect(the_heap); /* and until it is over */
    end_by_hand();
}

static void
owe(int64_t bytes)
{
    self()->credit = -bytes;
    critical_enter();
    gcrt_assist(self());
    critical_leave();
}

Test(assist, debt_is_paid_by_credit_first_and_then_by_work)
{
    void **array;

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, 30000);
    to_marking_with(array);
    gcrt_assist_set_ratio(the_heap, 1, 1);
    aword_store_relaxed(&the_heap->marking.credit, 1000000);
    (void)gcrt_marker_flush(&self()->marker);
    owe(100000);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.credit), 900000);
    cr_expect_geq(self()->credit, 0);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.heap_work), 0, "others had worked");
    aword_store_relaxed(&the_heap->marking.credit, 0);
    for (int64_t left = 100000, before; left > 0; left -= self()->credit - before) {
        before = -left;
        owe(left);
        cr_assert_gt(self()->credit, before, "each assist pays something");
    }
    cr_expect_gt(aword_load_relaxed(&the_heap->marking.heap_work), 90000);
    cr_expect_null(self()->marker.queue.cur, "what it found is there for others");
    end_by_hand();
}

/* Words that may be pointers into the heap, on the stack below the caller. */
#if defined(__SANITIZE_ADDRESS__)
__attribute__((no_sanitize_address))
#endif
static NOINLINE size_t
pointers_below(void)
{
    const volatile uintptr_t *sp = __builtin_frame_address(0);
    size_t n = 0;

    for (ptrdiff_t i = -256; i < -32; i++) /* this frame is smaller than 32 words */
        n += mheap_contains(&the_heap->mheap, sp[i]);
    return n;
}

Test(assist, leaves_no_object_on_the_stack)
{
    void **array;

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, 30000);
    for (size_t i = 0; i < 30000; i++)
        gc_write(&array[i], gc_alloc_array(&gc_pointer_type, 2 + i % 7));
    to_marking_with(array);
    gcrt_assist_set_ratio(the_heap, 1, 1);
    (void)gcrt_marker_flush(&self()->marker);
    owe(100000);
    cr_expect_eq(pointers_below(), 0);
    cr_expect_gt(aword_load_relaxed(&the_heap->marking.heap_work), 0);
    end_by_hand();
}

Test(assist, a_thread_that_never_assists_owes_to_the_workers)
{
    void **array;

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, 30000);
    to_marking_with(array);
    gcrt_assist_set_ratio(the_heap, 0.5, 2);
    (void)gcrt_marker_flush(&self()->marker);
    cr_expect_eq(gc_thread_set_assist(0), 1);
    aword_store_relaxed(&the_heap->marking.credit, 10000);
    owe(100000);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.credit), 0, "credit is for all");
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.owed), 40000);
    cr_expect_geq(self()->credit, 0);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.heap_work), 0, "it has done nothing");
    owe(100 << 20);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.owed), 40000 + (50 << 20),
            "nothing is forgiven");
    self()->over_goal = true;
    aword_store_relaxed(&the_heap->cycles.goal, 1);
    gcrt_throttle(self());
    cr_expect_eq(aword_load_relaxed(&the_heap->counters.throttles), 0, "it does not wait");
    cr_expect_not(self()->over_goal);
    cr_expect_eq(gc_thread_set_assist(1), 0);
    owe(1000);
    cr_expect_gt(aword_load_relaxed(&the_heap->marking.heap_work), 0);
    end_by_hand();
}

Test(assist, what_a_thread_spends_is_in_its_account)
{
    gc_thread_stats before, after;
    void **array;

    memset(&before, 0xff, sizeof(before));
    gc_thread_stats_read(&before);
    cr_expect_eq(before.total_alloc | before.assists | before.pauses, 0, "detached");
    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, 30000);
    to_marking_with(array);
    gc_thread_stats_read(&before);
    cr_expect_eq(before.total_alloc, align_up(30000 * 8, PAGE_SIZE));
    cr_expect_eq(before.assists, 0);
    gcrt_assist_set_ratio(the_heap, 1, 1);
    owe(20000);
    owe(20000);
    gc_thread_stats_read(&after);
    cr_expect_eq(after.assists, 2);
    cr_expect_gt(after.assist_ns, 0);
    cr_expect_leq(after.assist_max_ns, after.assist_ns);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.assist_ns), after.assist_ns);
    handshake(ACTION_BARRIER_OFF);
    handshake(ACTION_FLUSH_CACHE);
    handshake(ACTION_FLUSH_CACHE);
    cr_expect_eq(aword_load_relaxed(&the_heap->counters.assist_threads.total_ns),
            after.assist_ns, "one sample for the cycle");
    cr_expect_eq(aword_load_relaxed(
            &the_heap->counters.assist_threads.counts[timehist_bucket(after.assist_ns)]), 1);
    end_by_hand();
}

Test(assist, nobody_assists_when_marking_is_closed)
{
    void **object;

    begin_by_hand();
    object = gc_alloc(&gc_pointer_type);
    handshake(ACTION_BARRIER_ON);
    handshake(ACTION_SCAN);
    gcrt_assist_set_ratio(the_heap, 1, 1);
    owe(100000);
    cr_expect_not(is_marked(object));
    end_by_hand();
}
