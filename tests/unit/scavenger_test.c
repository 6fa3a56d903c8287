/* SPDX-License-Identifier: MIT */
/*
 * How much the scavenger keeps and how fast it lets go: the arithmetic.  And its thread's end.
 */
#include "byhand.h"
#include "heapkit.h"

#include "alloc/populate.h"
#include "gc/pacer.h"
#include "gc/scavenger.h"

#define MIB ((uint64_t)1 << 20)

static void
expect_about(uint64_t have, double want)
{
    cr_expect_float_eq((double)have / want, 1.0, 1e-6, "%.0f, not %.0f", (double)have, want);
}

Test(scavenger, a_tenth_above_the_goal_is_kept)
{
    expect_about(gcrt_scavenger_retain(100 * MIB, 50 * MIB, 50 * MIB, 0), 110.0 * MIB);
    expect_about(gcrt_scavenger_retain(100 * MIB, 0, 0, 0), 110.0 * MIB);
}

Test(scavenger, spans_that_are_not_full_are_kept_in_proportion)
{
    expect_about(gcrt_scavenger_retain(100 * MIB, 60 * MIB, 40 * MIB, 0), 165.0 * MIB);
    expect_about(gcrt_scavenger_retain(100 * MIB, 39 * MIB, 40 * MIB, 0), 110.0 * MIB);
    expect_about(gcrt_scavenger_retain(4 * MIB, 90 * MIB, 1, 0), 4 * 4.4 * MIB);
}

Test(scavenger, descriptors_of_a_past_peak_come_out_of_the_tenth)
{
    expect_about(gcrt_scavenger_retain(100 * MIB, 50 * MIB, 50 * MIB, 4 * MIB), 106.0 * MIB);
    expect_about(gcrt_scavenger_retain(100 * MIB, 50 * MIB, 50 * MIB, 40 * MIB), 103.0 * MIB);
}

Test(scavenger, a_goal_that_is_never_reached_keeps_all)
{
    cr_expect_eq(gcrt_scavenger_retain(PACER_NONE, 1, 1, 0), SCAVENGER_NONE);
    cr_expect_eq(gcrt_scavenger_retain(PACER_NONE - 1, 1, 1, 0), SCAVENGER_NONE);
}

Test(scavenger, half_of_what_nobody_needs_is_gone_after_all_ticks)
{
    uint64_t left = 1000 * MIB;

    for (int i = 0; i < SCAVENGER_TICKS; i++)
        left -= gcrt_scavenger_share(left);
    cr_expect_float_eq((double)left / (500.0 * MIB), 1.0, 0.01);
}

Test(scavenger, decay_comes_to_an_end)
{
    uint64_t left = 100 * MIB;
    int ticks = 0;

    for (; left != 0; ticks++) {
        uint64_t share = gcrt_scavenger_share(left);

        cr_assert(share > 0 && share <= left);
        left -= share;
    }
    cr_expect_lt(ticks, 10 * SCAVENGER_TICKS);
    cr_expect_eq(gcrt_scavenger_share(0), 0);
    cr_expect_eq(gcrt_scavenger_share(1), 1);
}

/* ---- the thread ---- */

#define TICK_US 5000

struct block {
    struct block *next;
    char rest[248];
};

GC_TYPE(block_type, struct block, next);

static NOINLINE void
make_garbage(size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(struct block); i++)
        use(gc_alloc(&block_type));
}

static uint64_t
free_bytes(void)
{
    gc_metric_sample s = { .name = "/memory/classes/heap/free:bytes" };

    cr_assert_eq(gc_metrics_read(the_heap, &s, 1), GC_OK);
    return s.value.u64;
}

Test(scavenger, who_gives_all_back_is_not_crossed_by_the_populator)
{
    gc_options opt;

    options_by_hand(&opt);
    opt.release_ms = 0;
    opt.hugepages = GC_HUGEPAGES_NEVER; /* there is no such thread; the test looks instead */
    cr_assert_eq(gc_heap_create(&opt, &the_heap), GC_OK);
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    make_garbage(8 * MIB);
    gc_collect(the_heap);
    cr_assert_gt(gc_free_os_memory(the_heap), 4 * MIB);
    cr_assert_lt(free_bytes(), MIB);
    cr_assert_eq(gcrt_populate(&the_heap->mheap, UINT64_MAX), POPULATE_ENOUGH);
    end_by_hand();
}

/* So late in its last ticks that it would end before it knew what the sweep has freed. */
Test(scavenger, what_a_sweep_frees_before_the_thread_ends_goes_too)
{
    gc_options opt;

    options_by_hand(&opt);
    opt.release_ms = SCAVENGER_TICKS * TICK_US / 1000;
    opt.hugepages = GC_HUGEPAGES_NEVER;
    cr_assert_eq(gc_heap_create(&opt, &the_heap), GC_OK);
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    for (unsigned late = 7 * SCAVENGER_TICKS; late < 8 * SCAVENGER_TICKS + 3; late += 2) {
        make_garbage(8 * MIB);
        gc_collect(the_heap);
        while (free_bytes() > MIB)
            t_sleep_us(TICK_US);
        t_sleep_us(late * TICK_US);
        make_garbage(16 * MIB);
        gc_collect(the_heap);
        gc_block_enter();
        while (free_bytes() > MIB)
            t_sleep_us(TICK_US);
        gc_block_leave();
    }
    end_by_hand();
}
