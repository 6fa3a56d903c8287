/* SPDX-License-Identifier: MIT */
/*
 * The pacer against hand-computed values and random streams.  Simulated programs are in
 * pacersim_test.c.
 *
 * GCRT_SEED sets the seed of the random streams.
 */
#include "alloc/base/rand.h"
#include "pacersim.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PROCS 8

static uint64_t seed;

static void
choose_seed(void)
{
    const char *env = getenv("GCRT_SEED");

    seed = (uint64_t)time(NULL) * 0x9e3779b97f4a7c15u;
    if (env != NULL)
        seed = strtoull(env, NULL, 0);
    fprintf(stderr, "GCRT_SEED=%" PRIu64 "\n", seed);
}

/* ---- random streams ---- */

/* Any magnitude, with the ends of the range over-represented. */
static uint64_t
rand_count(void)
{
    switch (rand_below(&seed, 16)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - rand_below(&seed, 3);
    default:
        return rand_next(&seed) >> rand_below(&seed, 64);
    }
}

static void
random_cycle_event(struct pacer *p)
{
    if (!p->in_cycle) {
        gcrt_pacer_start_cycle(p, rand_count(), rand_count(),
                (unsigned)rand_below(&seed, 200));
        return;
    }
    gcrt_pacer_end_cycle(p, &(struct pacer_outcome){
        .heap_live = rand_count(), .heap_marked = rand_count(), .heap_work = rand_count(),
        .stack_work = rand_count(), .globals_work = rand_count(), .mark_ns = rand_count(),
        .assist_ns = rand_count(), .idle_ns = rand_count(),
    });
}

static void
random_event(struct pacer *p)
{
    bool swept = rand_below(&seed, 2) == 0;

    switch (rand_below(&seed, 5)) {
    case 0:
        gcrt_pacer_commit(p, rand_count(), swept);
        break;
    case 1:
        gcrt_pacer_set_gogc(p, (int64_t)rand_count(), rand_count(), swept);
        break;
    case 2:
        p->limit_goal = rand_below(&seed, 2) == 0 ? PACER_NONE : rand_count();
        break;
    default:
        random_cycle_event(p);
    }
}

Test(pacer, random_streams_keep_every_number_finite_and_the_trigger_below_the_goal)
{
    unsigned finite_goals = 0, revisions = 0;
    struct pacer p;

    choose_seed();
    for (unsigned i = 0; i < 200000; i++) {
        if (i % 200 == 0)
            gcrt_pacer_init(&p, (int64_t)rand_count(), rand_count(), 8);
        random_event(&p);
        pacersim_check(&p);
        finite_goals += gcrt_pacer_goal(&p) != PACER_NONE;
        if (!p.in_cycle)
            continue;
        pacersim_revise(&p, &(struct pacer_progress){
            .heap_live = rand_count(), .heap_scan = rand_count(),
            .stack_scan = rand_count(), .work = rand_count(), .owed = rand_count(),
        });
        revisions++;
    }
    cr_expect_gt(finite_goals, 20000, "the stream hardly ever had a goal");
    cr_expect_gt(revisions, 20000);
}

/* ---- by hand ---- */

/* A pacer whose last cycle found 100 MiB alive, all of it scanned, without roots. */
static struct pacer
settled(int64_t gogc)
{
    struct pacer p;

    gcrt_pacer_init(&p, gogc, 4 * MIB, PROCS);
    p.heap_marked = 100 * MIB;
    p.last_heap_scan = 100 * MIB;
    gcrt_pacer_commit(&p, p.heap_marked, true);
    return p;
}

Test(pacer, goal_is_the_marked_heap_plus_gogc_percent_of_heap_and_roots)
{
    struct pacer p = settled(50);

    cr_expect_eq(gcrt_pacer_goal(&p), 150 * MIB);
    p.last_stack_scan = 10 * MIB;
    p.globals_scan = 30 * MIB;
    gcrt_pacer_commit(&p, p.heap_marked, true);
    cr_expect_eq(gcrt_pacer_goal(&p), 170 * MIB);
}

Test(pacer, heap_minimum_scales_with_gogc_and_saturates)
{
    struct pacer p;

    gcrt_pacer_init(&p, 200, 4 * MIB, 1);
    cr_expect_eq(gcrt_pacer_goal(&p), 8 * MIB);
    gcrt_pacer_set_gogc(&p, 25, 0, true);
    cr_expect_eq(gcrt_pacer_goal(&p), MIB);
    gcrt_pacer_set_gogc(&p, INT64_MAX, 0, true);
    cr_expect_eq(gcrt_pacer_goal(&p), PACER_NONE);
    cr_expect_eq(gcrt_pacer_trigger(&p), PACER_NONE);
}

Test(pacer, percentages_are_exact_where_a_double_would_round)
{
    struct pacer p = settled(100);

    p.heap_marked = ((uint64_t)1 << 62) + 1;
    gcrt_pacer_commit(&p, p.heap_marked, true);
    cr_expect_eq(gcrt_pacer_goal(&p), ((uint64_t)1 << 63) + 2);
}

Test(pacer, gogc_zero_triggers_at_the_marked_heap_once_swept)
{
    struct pacer p = settled(0);

    cr_expect_eq(gcrt_pacer_trigger(&p), 100 * MIB);
    gcrt_pacer_commit(&p, 100 * MIB, false);
    cr_expect_eq(gcrt_pacer_trigger(&p), 101 * MIB);
    cr_expect_eq(gcrt_pacer_goal(&p), 101 * MIB);
}

Test(pacer, trigger_lies_a_runway_below_the_goal_between_its_two_bounds)
{
    struct pacer p = settled(100);

    cr_expect_eq(gcrt_pacer_trigger(&p), 196 * MIB, "no runway: 4 MiB below the goal");
    p.runway = 20 * MIB;
    cr_expect_eq(gcrt_pacer_trigger(&p), 180 * MIB);
    p.runway = 90 * MIB;
    cr_expect_eq(gcrt_pacer_trigger(&p), 100 * MIB + 100 * MIB / 64 * 45);
    p.runway = UINT64_MAX;
    cr_expect_eq(gcrt_pacer_trigger(&p), 100 * MIB + 100 * MIB / 64 * 45);
    p.runway = 0;
    gcrt_pacer_set_gogc(&p, 10, 0, true);
    cr_expect_eq(gcrt_pacer_trigger(&p), 100 * MIB + 10 * MIB / 64 * 61);
}

Test(pacer, unfinished_sweep_keeps_the_trigger_a_mebibyte_away)
{
    struct pacer p = settled(1);

    gcrt_pacer_commit(&p, 120 * MIB, false);
    cr_expect_eq(gcrt_pacer_trigger(&p), 121 * MIB);
    gcrt_pacer_commit(&p, 120 * MIB, true);
    cr_expect_eq(gcrt_pacer_goal(&p), 101 * MIB);
}

Test(pacer, late_cycle_has_what_the_plan_left_from_trigger_to_goal)
{
    struct pacer p = settled(100);

    p.runway = 20 * MIB;
    gcrt_pacer_start_cycle(&p, 300 * MIB, 0, PROCS);
    cr_expect_eq(gcrt_pacer_goal(&p), 320 * MIB);
    gcrt_pacer_abandon_cycle(&p);
    gcrt_pacer_start_cycle(&p, 190 * MIB, 0, PROCS);
    cr_expect_eq(gcrt_pacer_goal(&p), 210 * MIB);
    gcrt_pacer_abandon_cycle(&p);
    gcrt_pacer_start_cycle(&p, 150 * MIB, 0, PROCS);
    cr_expect_eq(gcrt_pacer_goal(&p), 200 * MIB, "an early one has its goal");
}

Test(pacer, running_cycle_has_64_kib_to_its_goal_at_least)
{
    struct pacer p = settled(0);

    gcrt_pacer_start_cycle(&p, 300 * MIB, 0, PROCS);
    cr_expect_eq(gcrt_pacer_goal(&p), 300 * MIB + 64 * KIB);
    gcrt_pacer_set_gogc(&p, 100, 300 * MIB, true);
    gcrt_pacer_end_cycle(&p, &(struct pacer_outcome){ .heap_marked = 100 * MIB });
    cr_expect_eq(gcrt_pacer_goal(&p), 200 * MIB);
}

Test(pacer, limit_goal_wins_when_lower_but_never_goes_below_the_marked_heap)
{
    struct pacer p = settled(100);

    p.limit_goal = 150 * MIB;
    gcrt_pacer_commit(&p, 180 * MIB, false);
    cr_expect_eq(gcrt_pacer_goal(&p), 150 * MIB);
    cr_expect_leq(gcrt_pacer_trigger(&p), 150 * MIB);
    p.limit_goal = 50 * MIB;
    cr_expect_eq(gcrt_pacer_goal(&p), 100 * MIB);
    cr_expect_eq(gcrt_pacer_trigger(&p), 100 * MIB);
    p.limit_goal = PACER_NONE;
    cr_expect_eq(gcrt_pacer_goal(&p), 200 * MIB);
}

Test(pacer, cons_mark_is_allocation_over_marking_at_equal_cpu_time)
{
    struct pacer p = settled(100);

    gcrt_pacer_start_cycle(&p, 150 * MIB, 0, 4);
    /* 0.25 + 1/(1 * 4) of the CPUs marked for the mutators' account, 0.25 were idle. */
    gcrt_pacer_end_cycle(&p, &(struct pacer_outcome){ .heap_live = 180 * MIB,
            .heap_marked = 100 * MIB, .heap_work = 80 * MIB, .stack_work = 15 * MIB,
            .globals_work = 5 * MIB, .mark_ns = 1000, .assist_ns = 1000, .idle_ns = 1000 });
    cr_expect_float_eq(p.cons_mark, 30.0 / 100 * 0.75 / 0.5, 1e-12);
    p.globals_scan = 5 * MIB;
    gcrt_pacer_commit(&p, 100 * MIB, true);
    cr_expect_eq(p.runway, 135 * MIB, "0.45 * 3 * 100 MiB");
}

Test(pacer, cons_mark_survives_clocks_that_disagree)
{
    struct pacer_outcome out = { .heap_live = 180 * MIB, .heap_work = 100 * MIB,
        .assist_ns = 1000 };
    struct pacer p = settled(100), q = p;

    gcrt_pacer_start_cycle(&p, 150 * MIB, 0, 0);
    cr_expect_eq(p.procs, 1);
    gcrt_pacer_end_cycle(&p, &out);
    cr_expect_float_eq(p.cons_mark, 0.3 / 3, 1e-12, "no time passed: no assist known");
    out.mark_ns = 1;
    out.idle_ns = UINT64_MAX;
    gcrt_pacer_start_cycle(&q, 150 * MIB, 0, 1);
    gcrt_pacer_end_cycle(&q, &out);
    cr_expect_float_eq(q.cons_mark, 0.3 * 1 / 0.01, 1e-9, "all CPUs marked, not more");
}

static void
cycle_from(struct pacer *p, uint64_t start, uint64_t bytes)
{
    gcrt_pacer_start_cycle(p, start, 0, PROCS);
    gcrt_pacer_end_cycle(p, &(struct pacer_outcome){ .heap_live = start + bytes,
            .heap_marked = 100 * MIB, .heap_work = 100 * MIB, .mark_ns = 1000 });
}

static void
cycle_allocating(struct pacer *p, uint64_t bytes)
{
    cycle_from(p, 196 * MIB, bytes);
}

Test(pacer, cycles_that_the_trigger_did_not_start_push_out_no_measurement)
{
    struct pacer p = settled(100);

    cycle_allocating(&p, 30 * MIB);
    for (unsigned i = 0; i < 20; i++)
        cycle_from(&p, 110 * MIB, 3 * MIB);
    cr_expect_float_eq(p.cons_mark, 0.1, 1e-12, "an idle program's");
    cycle_from(&p, 110 * MIB, 60 * MIB);
    cr_expect_float_eq(p.cons_mark, 0.2, 1e-12, "but they may say that there is more");
    for (unsigned i = 0; i < 4; i++)
        cycle_allocating(&p, 3 * MIB);
    cr_expect_float_eq(p.cons_mark, 0.2, 1e-12);
    cycle_allocating(&p, 3 * MIB);
    cr_expect_float_eq(p.cons_mark, 0.01, 1e-12);
}

Test(pacer, largest_of_the_last_five_measurements_counts)
{
    struct pacer p = settled(100);

    cycle_allocating(&p, 30 * MIB);
    for (unsigned i = 0; i < 4; i++) {
        cycle_allocating(&p, 3 * MIB);
        cr_expect_float_eq(p.cons_mark, 0.1, 1e-12);
    }
    cycle_allocating(&p, 3 * MIB);
    cr_expect_float_eq(p.cons_mark, 0.01, 1e-12);
}

Test(pacer, cycle_without_allocation_or_work_teaches_nothing_but_the_live_heap)
{
    struct pacer p = settled(100);

    cycle_allocating(&p, 30 * MIB);
    cycle_allocating(&p, 0);
    cycle_allocating(&p, 0);
    gcrt_pacer_start_cycle(&p, 150 * MIB, 0, PROCS);
    gcrt_pacer_end_cycle(&p, &(struct pacer_outcome){ .heap_live = 160 * MIB });
    cr_expect_float_eq(p.cons_mark_history[PACER_HISTORY - 1], 0.1, 1e-12);
    cr_expect_float_eq(p.cons_mark_history[PACER_HISTORY - 2], 0, 1e-12);
    cr_expect_eq(p.heap_marked, 0);
}

Test(pacer, assist_ratio_is_work_left_over_bytes_left)
{
    struct pacer p = settled(100);
    struct pacer_progress now = { .heap_live = 180 * MIB, .heap_scan = 180 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 5, 1e-12);
    now.work = 60 * MIB;
    now.heap_live = 190 * MIB;
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 4, 1e-12);
    now.work = 100 * MIB;
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 1000 / (10.0 * (double)MIB),
            1e-12, "never less than 1000 bytes of work");
}

/* x bytes allocated by a thread that never assists leave x * ratio of work to the workers. */
Test(pacer, what_only_workers_are_to_do_is_not_in_the_ratio)
{
    struct pacer p = settled(100);
    struct pacer_progress now = { .heap_live = 180 * MIB, .heap_scan = 180 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    for (uint64_t x = 0; x < 20; x++) {
        now.heap_live = (180 + x) * MIB;
        now.owed = 5 * x * MIB;
        cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 5, 1e-12);
    }
    now.owed = UINT64_MAX;
    now.work = 50 * MIB;
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 1000 / (1.0 * (double)MIB), 1e-12,
            "more owed than there is leaves next to nothing to others");
}

Test(pacer, more_work_than_expected_stretches_the_goal_up_to_the_hard_goal)
{
    struct pacer p = settled(100);
    struct pacer_progress now = { .heap_live = 180 * MIB, .heap_scan = 150 * MIB,
        .work = 101 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    /* 20 MiB for 100 MiB of work: 30 MiB for 150. */
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 49.0 / 30, 1e-9);
    now.heap_scan = 10 * MIB;
    cr_expect_float_eq(pacersim_revise(&p, &now).bytes_per_work,
            20.2 * (double)MIB / 1000, 1, "bytes reported late: what is done is the least");
    now.heap_scan = 2180 * MIB;
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 2079.0 / 220, 1e-9,
            "the hard goal is 400 MiB");
}

/* 20 MiB for 100 MiB of work would be 30 for 150, but no plan goes beyond a limit. */
Test(pacer, memory_limit_ends_the_stretching)
{
    struct pacer p = settled(100);
    struct pacer_progress now = { .heap_live = 180 * MIB, .heap_scan = 150 * MIB,
        .work = 101 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    p.limit_goal = 205 * MIB;
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 49.0 / 25, 1e-9);
    p.limit_goal = 190 * MIB;
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 49.0 / 10, 1e-9);
    gcrt_pacer_set_gogc(&p, -7, 180 * MIB, true);
    cr_expect_eq(p.gogc, PACER_GOGC_OFF);
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 49.0 / 10, 1e-9);
}

Test(pacer, stacks_are_planned_with_as_they_were_scanned)
{
    struct pacer p = settled(100);
    struct pacer_progress now = { .heap_live = 180 * MIB, .heap_scan = 180 * MIB,
        .stack_scan = 300 * MIB, .work = 300 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 100.0 / 20, 1e-9,
            "the heap's 100 MiB are still to come");
}

Test(pacer, heap_beyond_its_goal_gets_a_tenth_more_and_plans_for_the_worst)
{
    struct pacer p = settled(100);
    struct pacer_progress now = { .heap_live = 210 * MIB, .heap_scan = 180 * MIB,
        .work = 50 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 13, 1e-6);
    now.heap_live = 230 * MIB;
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 130 * (double)MIB, 1,
            "nothing left: all work at once");
}

/* 3 % above the limit's goal, or above where the cycle started; not a tenth. */
Test(pacer, heap_beyond_a_limits_goal_gets_little_more)
{
    struct pacer p = settled(100);
    struct pacer_progress now = { .heap_live = 152 * MIB, .heap_scan = 150 * MIB };

    p.limit_goal = 150 * MIB;
    gcrt_pacer_start_cycle(&p, 145 * MIB, 0, PROCS);
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 150 / 2.5, 1e-4);
    p.limit_goal = 50 * MIB;
    p.heap_marked = 150 * MIB;
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 150 / 2.5, 1e-4);
    p.limit_goal = 154 * MIB;
    gcrt_pacer_set_gogc(&p, 0, 150 * MIB, true);
    cr_expect_float_eq(pacersim_revise(&p, &now).work_per_byte, 150 / 6.62, 1e-4,
            "the limit lies above the goal by GOGC, and below 1.1 of it");
}

Test(pacer, forced_cycle_with_gogc_off_asks_for_next_to_no_assist)
{
    struct pacer p = settled(PACER_GOGC_OFF);
    struct pacer_progress now = { .heap_live = 180 * MIB, .heap_scan = 180 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    cr_expect_lt(pacersim_revise(&p, &now).work_per_byte, 1e-9);
    now.work = 150 * MIB;
    cr_expect_lt(pacersim_revise(&p, &now).work_per_byte, 1e-9);
}

Test(pacer, workers_take_a_quarter_in_whole_threads_unless_rounding_misses_by_a_third)
{
    static const struct {
        unsigned procs, dedicated;
        double fractional;
    } want[] = {
        { 0, 0, 0.25 }, { 1, 0, 0.25 }, { 2, 0, 0.25 }, { 3, 0, 0.25 }, { 4, 1, 0 },
        { 5, 1, 0 }, { 6, 1, 0.5 / 6 }, { 7, 2, 0 }, { 8, 2, 0 }, { 16, 4, 0 },
        { 96, 24, 0 },
    };

    for (unsigned i = 0; i < ARRAY_LEN(want); i++) {
        struct pacer p;
        struct pacer_workers w;

        gcrt_pacer_init(&p, 100, 4 * MIB, want[i].procs);
        w = gcrt_pacer_workers(&p);
        cr_expect_eq(w.dedicated, want[i].dedicated, "%u CPUs", want[i].procs);
        cr_expect_float_eq(w.fractional, want[i].fractional, 1e-12, "%u CPUs",
                want[i].procs);
    }
}
