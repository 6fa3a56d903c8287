/* SPDX-License-Identifier: MIT */
/*
 * A cycle's accounts, of a cycle that the test takes through its edges: what the pacer is told
 * of stacks and scannable bytes, what the report says of the pacer, and when settings are
 * published.
 */
#include "byhand.h"

#include "gc/pace.h"

#define MIB ((uint64_t)1 << 20)

TestSuite(pace, .init = begin_by_hand, .fini = end_by_hand);

static void
scannable(uint64_t bytes)
{
    aword_add_relaxed(&the_heap->ps.all->cache.scan_bytes, bytes);
}

static void
began(struct cycle *cy)
{
    *cy = (struct cycle){ .heap = the_heap };
    gcrt_pace_start(cy);
    gcrt_pace_mark(cy);
}

static void
ended(struct cycle *cy)
{
    cy->end_mark_ns = gcrt_os_now_ns();
    gcrt_pace_settle(cy);
    gcrt_pace_end(cy);
    gcrt_pace_swept(the_heap);
}

static uint64_t
trigger(void)
{
    return aword_load_relaxed(&the_heap->cycles.trigger);
}

static uint64_t
goal(void)
{
    return aword_load_relaxed(&the_heap->cycles.goal);
}

Test(pace, stacks_are_those_that_this_cycle_scanned)
{
    struct cycle cy = { .heap = the_heap };

    gcrt_pace_start(&cy);
    aword_store_relaxed(&the_heap->marking.stack_work, 12345);
    gcrt_pace_mark(&cy);
    cr_expect_eq(cy.stack_scan, 12345);
    ended(&cy);
    cr_expect_eq(the_heap->cycles.pacer.last_stack_scan, 12345);
}

/* The worst case: all that was scanned, and all that was allocated since that cycle began. */
Test(pace, bytes_born_black_are_scannable_in_the_next_cycle)
{
    struct cycle cy;

    scannable(1000);
    began(&cy);
    scannable(500);
    aword_store_relaxed(&the_heap->marking.heap_work, 300);
    ended(&cy);
    scannable(70);
    began(&cy);
    cr_expect_eq(cy.heap_scan, 300 + 500 + 70);
    ended(&cy);
}

Test(pace, settings_move_goal_and_trigger_at_once_but_the_trigger_of_a_running_cycle)
{
    struct cycle cy;

    cr_expect_eq(goal(), PACER_NONE);
    cr_expect_eq(gcrt_pace_set_gogc(the_heap, 50), GC_GOGC_OFF);
    cr_expect_eq(goal(), 2 * MIB);
    cr_expect_eq(gcrt_pace_set_heap_min(the_heap, 64 * MIB), 4 * MIB);
    cr_expect_eq(goal(), 32 * MIB);
    cr_expect_lt(trigger(), 32 * MIB);
    began(&cy);
    cr_expect_eq(gcrt_pace_set_heap_min(the_heap, 128 * MIB), 64 * MIB);
    cr_expect_eq(gcrt_pace_set_gogc(the_heap, 100), 50);
    cr_expect_eq(trigger(), UINT64_MAX, "one cycle at a time");
    ended(&cy);
    cr_expect_eq(goal(), 128 * MIB);
    cr_expect_lt(trigger(), 128 * MIB);
}

Test(pace, report_says_what_was_planned_and_what_comes_next)
{
    struct cycle cy;
    uint64_t planned;

    (void)gcrt_pace_set_gogc(the_heap, 100);
    scannable(8 * MIB);
    planned = trigger();
    began(&cy);
    gcrt_pace_revise(&cy);
    aword_store_relaxed(&the_heap->marking.heap_work, 2 * MIB);
    gcrt_pace_revise(&cy);
    ended(&cy);
    cr_expect_eq(cy.report.pace.planned_start, planned);
    cr_expect_eq(cy.report.pace.heap_work, 2 * MIB);
    cr_expect(cy.report.pace.dedicated != 0 || cy.report.pace.fractional != 0);
    cr_expect_gt(cy.report.pace.assist_last, cy.report.pace.assist_first,
            "no work was expected, some was found, so more may come");
    cr_expect_eq(cy.report.pace.next_goal, 4 * MIB);
    cr_expect_eq(cy.report.pace.next_trigger, trigger());
}
