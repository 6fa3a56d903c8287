/* SPDX-License-Identifier: MIT */
/*
 * The pacer against hand-computed values, random streams and simulated programs.
 *
 * The simulation is a fluid model.  A machine of PROCS CPUs scans `scan` bytes a
 * nanosecond if all of them mark, and allocates `alloc` if none does.  While a cycle runs,
 * a share u of the CPUs marks: the workers' quarter, or more if the assist ratio r demands
 * it, which is where r * alloc * (1 - u) = scan * u.  What is alive when a cycle starts
 * survives it; what is allocated during it is born black.  Nothing in the model knows how
 * the pacer decides, so the bounds asserted here are statements about the pacer.
 *
 * GCRT_SEED sets the seed of the random tests.  --verbose prints the table of
 * docs/pacing.md.
 */
#include "gc/pacer.h"

#include "alloc/base/rand.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define KIB    ((uint64_t)1 << 10)
#define MIB    ((uint64_t)1 << 20)
#define CYCLES 64
#define PROCS  8
#define STEPS  256 /* of a cycle, if only the workers mark */

/* ---- a simulated program ---- */

struct load {
    int64_t gogc;
    double live;      /* bytes of what is reachable */
    double alloc;     /* bytes a ns, whole machine */
    double scan;      /* bytes a ns, whole machine */
    double scannable; /* share of heap bytes that must be scanned */
    double stack;     /* bytes */
    double globals;   /* bytes */
};

static const struct load plain = {
    .gogc = 100, .live = 64 << 20, .alloc = 0.5, .scan = 8, .scannable = 1,
    .stack = 64 << 10, .globals = 256 << 10,
};

struct row {
    uint64_t marked_before, goal, trigger, peak;
    double peak_ratio; /* peak / goal */
    double share;      /* of CPU time during the cycle that marked */
};

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

static double
rand_between(double lo, double hi)
{
    return lo + (hi - lo) * (double)(rand_next(&seed) >> 11) * 0x1p-53;
}

static void
check_invariants(const struct pacer *p)
{
    uint64_t goal = gcrt_pacer_goal(p), trigger = gcrt_pacer_trigger(p);

    cr_assert_geq(goal, p->heap_marked);
    cr_assert_leq(trigger, goal);
    cr_assert_geq(trigger, p->heap_marked);
    cr_assert(isfinite(p->cons_mark) && p->cons_mark >= 0);
    for (unsigned i = 0; i < PACER_HISTORY; i++)
        cr_assert(isfinite(p->cons_mark_history[i]) && p->cons_mark_history[i] >= 0);
}

static struct pacer_assist
checked_revise(const struct pacer *p, const struct pacer_progress *now)
{
    struct pacer_assist a = gcrt_pacer_revise(p, now);

    cr_assert(isfinite(a.work_per_byte) && a.work_per_byte > 0);
    cr_assert(isfinite(a.bytes_per_work) && a.bytes_per_work > 0);
    cr_assert_float_eq(a.work_per_byte * a.bytes_per_work, 1, 1e-9);
    return a;
}

/* Marks until no work is left; returns the bytes allocated meanwhile. */
static double
simulate_mark(const struct pacer *p, const struct load *l, double work_all,
        struct pacer_outcome *out)
{
    double ns = 0, assist = 0, work = 0, bytes = 0;
    double step = work_all / (l->scan * p->utilization_goal) / STEPS;

    while (work < work_all) {
        struct pacer_assist a = checked_revise(p, &(struct pacer_progress){
            .heap_live = p->triggered + (uint64_t)bytes,
            .heap_scan = (uint64_t)((double)p->triggered * l->scannable),
            .stack_scan = (uint64_t)l->stack,
            .work = (uint64_t)work,
        });
        double demand = a.work_per_byte * l->alloc;
        double u = fmax(demand / (demand + l->scan), p->utilization_goal);
        double dt = fmin(step, (work_all - work) / (l->scan * u) + 1e-3);

        ns += dt;
        work += dt * l->scan * u;
        bytes += dt * l->alloc * (1 - u);
        assist += dt * (u - p->utilization_goal) * PROCS;
    }
    out->mark_ns = (uint64_t)ns;
    out->assist_ns = (uint64_t)assist;
    return bytes;
}

static struct row
simulate_cycle(struct pacer *p, const struct load *l)
{
    struct row r = { .marked_before = p->heap_marked };
    struct pacer_outcome out = { 0 };
    double survivors, born;

    gcrt_pacer_set_gogc(p, l->gogc, p->heap_marked, true);
    r.trigger = gcrt_pacer_trigger(p);
    /* Nobody can wait for a trigger that never comes: force the cycle. */
    gcrt_pacer_start_cycle(p, r.trigger != PACER_NONE ? r.trigger : p->heap_marked * 4,
            (uint64_t)l->globals, PROCS);
    check_invariants(p);
    r.goal = gcrt_pacer_goal(p);

    survivors = fmin(l->live, (double)p->triggered);
    out.heap_work = (uint64_t)(survivors * l->scannable);
    out.stack_work = (uint64_t)l->stack;
    out.globals_work = (uint64_t)l->globals;
    born = simulate_mark(p, l, survivors * l->scannable + l->stack + l->globals, &out);
    out.heap_live = p->triggered + (uint64_t)born;
    out.heap_marked = (uint64_t)(survivors + born);

    gcrt_pacer_end_cycle(p, &out);
    gcrt_pacer_commit(p, out.heap_marked, false);
    check_invariants(p);
    gcrt_pacer_commit(p, out.heap_marked, true);
    check_invariants(p);
    r.peak = out.heap_live;
    r.peak_ratio = (double)r.peak / (double)r.goal;
    r.share = p->utilization_goal
            + (double)out.assist_ns / fmax((double)out.mark_ns * PROCS, 1);
    return r;
}

/* ---- scenarios ---- */

#define WARM 8 /* the history of cons_mark has forgotten the cold start by then */

enum scenario {
    STEADY, GROWING, SHRINKING, ALLOC_STEP, LIVE_STEP, SAWTOOTH, BIG_STACKS, BIG_GLOBALS,
    NO_POINTERS, CHURN, GOGC_CHANGES, GOGC_CLIMBS, NOISY, SCENARIOS,
};

static const char *const scenario_name[SCENARIOS] = {
    "steady", "growing 5 %", "shrinking 5 %", "allocation x 4", "live data x 1.5",
    "sawtooth", "128 MiB stacks", "128 MiB globals", "no pointers", "churn",
    "GOGC 100..400", "GOGC 1..4096", "noisy",
};

static int64_t
climbing_gogc(unsigned cycle)
{
    if (cycle < WARM)
        return 100;
    return cycle < 60 ? (int64_t)1 << (cycle - WARM) / 4 : PACER_GOGC_OFF;
}

static struct load
load_at(enum scenario what, unsigned cycle)
{
    static const int64_t gogc[] = { 100, 50, 400, 100 };
    struct load l = plain;

    switch (what) {
    case GROWING:
        l.live *= pow(1.05, cycle);
        break;
    case SHRINKING:
        l.live *= 16 * pow(0.95, cycle);
        break;
    case ALLOC_STEP:
        l.alloc *= cycle >= 32 ? 4 : 1;
        break;
    case LIVE_STEP:
        l.live *= cycle >= 32 ? 1.5 : 1;
        break;
    case SAWTOOTH:
        l.alloc *= 0.5 + (cycle % 8) / 4.0;
        break;
    case BIG_STACKS:
        l.live /= 4;
        l.stack = 128 << 20;
        break;
    case BIG_GLOBALS:
        l.live /= 4;
        l.globals = 128 << 20;
        break;
    case NO_POINTERS:
        l.scannable = 0.01;
        break;
    case CHURN:
        l.live = 256 << 10;
        l.alloc = 8;
        break;
    case GOGC_CHANGES:
        l.gogc = gogc[cycle / 16];
        break;
    case GOGC_CLIMBS:
        l.gogc = climbing_gogc(cycle);
        break;
    case NOISY:
        l.alloc *= rand_between(0.8, 1.2);
        l.live *= rand_between(0.97, 1.03);
        break;
    case STEADY:
    case SCENARIOS:
        break;
    }
    return l;
}

static struct row rows[CYCLES];

/* One line of the table: the rows after warming up, those without a goal left out. */
static void
report(enum scenario what)
{
    double lo = INFINITY, hi = 0, start = 0, share = 0, share_max = 0, goal = 0, n = 0;

    for (unsigned i = WARM; i < CYCLES && rows[i].goal != PACER_NONE; i++, n++) {
        lo = fmin(lo, rows[i].peak_ratio);
        hi = fmax(hi, rows[i].peak_ratio);
        share += rows[i].share;
        share_max = fmax(share_max, rows[i].share);
        start += (double)rows[i].trigger / (double)rows[i].goal;
        goal += (double)rows[i].goal / (double)MIB;
    }
    cr_log_info("| %-15s | %6.1f | %.3f | %.3f | %.3f | %.3f | %.3f |", scenario_name[what],
            goal / n, start / n, lo, hi, share / n, share_max);
}

static void
simulate(enum scenario what)
{
    struct pacer p;

    gcrt_pacer_init(&p, 100, 4 * MIB, PROCS);
    for (unsigned i = 0; i < CYCLES; i++) {
        struct load l = load_at(what, i);

        rows[i] = simulate_cycle(&p, &l);
    }
    report(what);
}

/* Rows [from, to): peaks and shares lie in these ranges. */
static void
expect(unsigned from, unsigned to, double lo, double hi, double share_max)
{
    for (unsigned i = from; i < to; i++) {
        double ratio = rows[i].peak_ratio, share = rows[i].share;

        cr_expect(ratio >= lo && ratio <= hi, "cycle %u: peak %.4f not in [%.3f, %.3f]", i,
                ratio, lo, hi);
        cr_expect(share <= share_max, "cycle %u: share %.4f > %.3f", i, share, share_max);
    }
}

static void
expect_still(unsigned from, unsigned to, double by)
{
    for (unsigned i = from + 1; i < to; i++) {
        double ratio = (double)rows[i].goal / (double)rows[i - 1].goal;

        cr_expect_float_eq(ratio, 1, by, "cycle %u: goal moved by %.4f", i, ratio);
    }
}

/* ---- simulated programs ---- */

/* Nothing varies, so the measured ratio is the true one and only rounding remains. */
Test(pacer, steady_program_ends_marking_at_its_goal_without_assists)
{
    simulate(STEADY);
    expect(WARM, CYCLES, 0.99, 1.01, 0.255);
    expect_still(WARM, CYCLES, 0.001);
}

/* From an empty heap: 4 MiB, then at most doubling and what was allocated black. */
Test(pacer, cold_start_never_passes_the_hard_goal)
{
    simulate(STEADY);
    expect(0, WARM, 0.95, 2, 0.5);
}

/* 5 % more work than planned stretches the runway, 8 % of the goal, by as much. */
Test(pacer, growing_heap_overshoots_by_less_than_a_hundredth)
{
    simulate(GROWING);
    expect(WARM, CYCLES, 0.99, 1.01, 0.255);
}

Test(pacer, shrinking_heap_never_passes_its_goal_and_its_goal_follows)
{
    simulate(SHRINKING);
    expect(WARM, CYCLES, 0.99, 1, 0.255);
    for (unsigned i = WARM + 1; i < CYCLES; i++)
        cr_expect_lt(rows[i].goal, rows[i - 1].goal);
}

/*
 * The ratio r was set for a third of the scan rate (1/4 against 3/4 of the CPUs); at four
 * times the allocation u = (4/3) / (4/3 + 1) = 0.571.  Then the trigger moves down as far
 * as it may, and what the earlier start cannot give assists must.
 */
Test(pacer, fourfold_allocation_rate_is_held_at_the_goal_by_assists)
{
    simulate(ALLOC_STEP);
    expect(WARM, 32, 0.99, 1.01, 0.255);
    expect(32, CYCLES, 0.99, 1.01, 0.575);
    expect(33, CYCLES, 0.99, 1.01, 0.45);
    cr_expect_gt(rows[32].share, 0.5);
    cr_expect_lt(rows[33].trigger, rows[32].trigger);
    expect_still(40, CYCLES, 0.001);
}

/* Half as much again to scan: the runway, 8 % of the goal, grows by half, once. */
Test(pacer, sudden_live_data_overshoots_once_and_by_the_stretched_runway_only)
{
    simulate(LIVE_STEP);
    expect(32, 33, 1.01, 1.05, 0.255);
    expect(33, CYCLES, 0.99, 1.01, 0.255);
    expect_still(34, CYCLES, 0.001);
}

/*
 * The rate climbs from 0.5 to 2.25 times the plain one and falls back, in 8 cycles.  When
 * it climbs to 1.75 the last five measurements know 1.5 at most: u = 0.389 / 1.389 = 0.28.
 * The earliest trigger is 19/64 of the growth before the goal, 0.85 of the goal here.
 */
Test(pacer, sawtooth_of_allocation_stays_below_its_goal_with_few_assists)
{
    simulate(SAWTOOTH);
    expect(WARM, CYCLES, 0.85, 1.01, 0.285);
}

Test(pacer, big_stacks_and_big_globals_count_as_work_and_widen_the_goal)
{
    for (enum scenario what = BIG_STACKS; what <= BIG_GLOBALS; what++) {
        simulate(what);
        expect(WARM, CYCLES, 0.99, 1.01, 0.255);
        expect_still(WARM, CYCLES, 0.001);
        cr_expect_geq(rows[WARM].goal, rows[WARM].marked_before * 2 + 128 * MIB);
    }
}

/* Hardly anything to scan: the runway is short, so the latest trigger applies. */
Test(pacer, heap_without_pointers_starts_late_and_stays_below_its_goal)
{
    simulate(NO_POINTERS);
    expect(WARM, CYCLES, 0.95, 1, 0.255);
}

/* The heap minimum is the goal; mutators allocate as fast as workers scan. */
Test(pacer, churn_on_a_small_heap_is_held_at_the_heap_minimum)
{
    simulate(CHURN);
    expect(WARM, CYCLES, 0.95, 1.01, 0.5);
    for (unsigned i = 0; i < CYCLES; i++) {
        cr_expect_eq(rows[i].goal, 4 * MIB);
        cr_expect_geq((double)rows[i].trigger, 0.70 * 4.0 * (double)MIB);
    }
}

Test(pacer, gogc_changed_in_mid_run_moves_the_goal_at_once_and_it_settles)
{
    simulate(GOGC_CHANGES);
    for (unsigned from = 0; from < CYCLES; from += 16) {
        double percent = (double)load_at(GOGC_CHANGES, from).gogc;

        expect(from + WARM, from + 16, 0.99, 1.01, 0.275);
        expect_still(from + WARM, from + 16, 0.001);
        cr_expect_float_eq((double)rows[from + WARM].goal / (1 + percent / 100),
                (double)rows[from + WARM].marked_before, 0.01 * 64 * (double)MIB);
    }
}

/*
 * GOGC 100 to warm up, then 1, 2, 4, ... 4096 for four cycles each, then off.  With GOGC 1
 * all marking must fit into 19/64 of 1 % of the heap: r = 337 at most, so u = 0.955.
 * From 128 on the runway fits between the trigger's bounds.
 */
Test(pacer, larger_gogc_lets_the_heap_grow_further_and_off_never_triggers)
{
    simulate(GOGC_CLIMBS);
    expect(WARM, 60, 0.95, 1.01, 0.96);
    expect(WARM + 4 * 7, 60, 0.95, 1.01, 0.255);
    for (unsigned i = WARM + 3; i + 4 < 60; i += 4)
        cr_expect_gt(rows[i + 4].goal - rows[i + 4].marked_before,
                rows[i].goal - rows[i].marked_before);
    for (unsigned i = 60; i < CYCLES; i++) {
        cr_expect_eq(rows[i].goal, PACER_NONE);
        cr_expect_eq(rows[i].trigger, PACER_NONE);
        cr_expect_float_eq(rows[i].share, 0.25, 0.001);
    }
}

/*
 * Allocation varies by 20 %, live data by 3 %.  The largest of five measurements is at
 * most 1.5 times the truth, the work at least 0.94 of the plan: 0.6 of a runway of 10 % of
 * the goal is used at least.  Work of 1.06 times the plan may overshoot by 1 %.
 */
Test(pacer, noisy_program_stays_within_the_range_its_noise_allows)
{
    choose_seed();
    for (unsigned run = 0; run < 50; run++) {
        double share = 0;

        simulate(NOISY);
        expect(WARM, CYCLES, 0.95, 1.02, 0.35);
        for (unsigned i = WARM; i < CYCLES; i++)
            share += rows[i].share / (CYCLES - WARM);
        cr_expect_lt(share, 0.27);
    }
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
        check_invariants(&p);
        finite_goals += gcrt_pacer_goal(&p) != PACER_NONE;
        if (!p.in_cycle)
            continue;
        checked_revise(&p, &(struct pacer_progress){
            .heap_live = rand_count(), .heap_scan = rand_count(),
            .stack_scan = rand_count(), .work = rand_count(),
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

Test(pacer, running_cycle_has_64_kib_to_its_goal)
{
    struct pacer p = settled(100);

    gcrt_pacer_start_cycle(&p, 300 * MIB, 0, PROCS);
    cr_expect_eq(gcrt_pacer_goal(&p), 300 * MIB + 64 * KIB);
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
cycle_allocating(struct pacer *p, uint64_t bytes)
{
    gcrt_pacer_start_cycle(p, 150 * MIB, 0, PROCS);
    gcrt_pacer_end_cycle(p, &(struct pacer_outcome){ .heap_live = 150 * MIB + bytes,
            .heap_marked = 100 * MIB, .heap_work = 100 * MIB, .mark_ns = 1000 });
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
    cr_expect_float_eq(checked_revise(&p, &now).work_per_byte, 5, 1e-12);
    now.work = 60 * MIB;
    now.heap_live = 190 * MIB;
    cr_expect_float_eq(checked_revise(&p, &now).work_per_byte, 4, 1e-12);
    now.work = 100 * MIB;
    cr_expect_float_eq(checked_revise(&p, &now).work_per_byte, 1000 / (10.0 * (double)MIB),
            1e-12, "never less than 1000 bytes of work");
}

Test(pacer, more_work_than_expected_stretches_the_goal_up_to_the_hard_goal)
{
    struct pacer p = settled(100);
    struct pacer_progress now = { .heap_live = 180 * MIB, .heap_scan = 150 * MIB,
        .work = 101 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    /* 20 MiB for 100 MiB of work: 30 MiB for 150. */
    cr_expect_float_eq(checked_revise(&p, &now).work_per_byte, 49.0 / 30, 1e-9);
    now.heap_scan = 10 * MIB;
    cr_expect_float_eq(checked_revise(&p, &now).bytes_per_work,
            20.2 * (double)MIB / 1000, 1, "bytes reported late: what is done is the least");
    now.heap_scan = 180 * MIB;
    now.stack_scan = 2000 * MIB;
    cr_expect_float_eq(checked_revise(&p, &now).work_per_byte, 2079.0 / 220, 1e-9,
            "the hard goal is 400 MiB");
    gcrt_pacer_set_gogc(&p, -7, 180 * MIB, true);
    cr_expect_eq(p.gogc, PACER_GOGC_OFF);
    p.limit_goal = 200 * MIB;
    cr_expect_float_eq(checked_revise(&p, &now).work_per_byte, 2079.0 / 436, 1e-9,
            "GOGC off: stretched to 616 MiB, far below its hard goal");
}

Test(pacer, heap_beyond_its_goal_gets_a_tenth_more_and_plans_for_the_worst)
{
    struct pacer p = settled(100);
    struct pacer_progress now = { .heap_live = 210 * MIB, .heap_scan = 180 * MIB,
        .work = 50 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    cr_expect_float_eq(checked_revise(&p, &now).work_per_byte, 13, 1e-6);
    now.heap_live = 230 * MIB;
    cr_expect_float_eq(checked_revise(&p, &now).work_per_byte, 130 * (double)MIB, 1,
            "nothing left: all work at once");
}

Test(pacer, forced_cycle_with_gogc_off_asks_for_next_to_no_assist)
{
    struct pacer p = settled(PACER_GOGC_OFF);
    struct pacer_progress now = { .heap_live = 180 * MIB, .heap_scan = 180 * MIB };

    gcrt_pacer_start_cycle(&p, 180 * MIB, 0, PROCS);
    cr_expect_lt(checked_revise(&p, &now).work_per_byte, 1e-9);
    now.work = 150 * MIB;
    cr_expect_lt(checked_revise(&p, &now).work_per_byte, 1e-9);
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
