/* SPDX-License-Identifier: MIT */
/*
 * Purpose: tables of simulated programs with bounds on what the pacer makes of them, and
 * random programs with properties.
 * Place: pacersim.h has the model; docs/pacing.md has the table, which --verbose=1 prints.
 *
 * Each program runs SIM_CYCLES cycles from an empty heap on each number of CPUs; what is
 * bounded are the cycles from `from` on (WARM if it is 0).  Bounds for 64 CPUs are their
 * own: there 48 of them allocate while one thread reads roots and sweeps.
 *
 * No oscillation means: from cycle QUIET on, where nothing changes any more, the heap size
 * at which cycles start varies by less than SWING of its mean; and over all cycles it turns
 * (goes up after down or down after up, by 1 % of its mean each) no more often than stated,
 * which is never where the input goes one way.
 *
 * GCRT_SEED sets the seed of the random tests; the table is made with seed 1.
 */
#include "pacersim.h"

#include "alloc/base/rand.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WARM    16
#define CHANGE  64 /* where steps are */
#define QUIET   96
#define SWING   0.005
#define CONST(x) { { CONSTANT, x, 0, 0, 0 } }
#define AT_CHANGE(before, after) { { STEP, before, after, CHANGE, 0 } }
#define CLIMB(lo, hi) { { RAMP, lo, hi, WARM, 88 } }
#define EVERY(n, usual, then) { { BURST, usual, then, n, 0 } }
#define TURNS(n, a, b) { { ALTERNATE, a, b, n, 0 } }

static const unsigned cpus[] = { 1, 2, 4, 16, 64 };

/* Heap at the end over its goal or limit, share of CPU that marks, most assists at once. */
struct bounds {
    double least, peak, share, burst;
};

struct scenario {
    struct program prog;
    struct bounds usual, big; /* up to 16 CPUs, and 64 */
    unsigned settle;          /* most cycles from CHANGE until starts settle; 0: any */
    unsigned turns;           /* most */
    unsigned from;
    bool moving;              /* the input never rests */
};

/* ---- running and reporting ---- */

static struct sim sim;

static struct summary
worse(struct summary a, struct summary b)
{
    a.least = fmin(a.least, b.least);
    a.peak = fmax(a.peak, b.peak);
    a.share = fmax(a.share, b.share);
    a.assist = fmax(a.assist, b.assist);
    a.share_max = fmax(a.share_max, b.share_max);
    a.burst_max = fmax(a.burst_max, b.burst_max);
    a.settled = a.settled > b.settled ? a.settled : b.settled;
    a.turns = a.turns > b.turns ? a.turns : b.turns;
    return a;
}

static void
report(const struct scenario *sc, const char *which, const struct summary *m,
        const struct bounds *b)
{
    char settled[16] = "";

    if (sc->settle != 0)
        snprintf(settled, sizeof(settled), "%u (%u)", m->settled - CHANGE, sc->settle);
    cr_log_info("| %s | %s | %.0f | %.2f | %.3f..%.3f (%.2f..%.2f) | %.3f | %.3f (%.2f) | "
                "%.3f (%.2f) | %s | %u (%u) |",
            sc->prog.name, which, m->goal, m->start, m->least, m->peak, b->least, b->peak,
            m->share, m->share_max, b->share, m->burst_max, b->burst, settled, m->turns,
            sc->turns);
}

static void
expect(const struct scenario *sc, unsigned procs, const struct summary *m)
{
    const struct bounds *b = procs == 64 ? &sc->big : &sc->usual;

    cr_expect(m->least >= b->least && m->peak <= b->peak,
            "%s, %u CPUs: %.4f..%.4f of the goal is not in %.2f..%.2f", sc->prog.name, procs,
            m->least, m->peak, b->least, b->peak);
    cr_expect(m->share_max <= b->share, "%s, %u CPUs: share %.4f > %.2f", sc->prog.name,
            procs, m->share_max, b->share);
    cr_expect(m->burst_max <= b->burst, "%s, %u CPUs: assists take %.4f > %.2f",
            sc->prog.name, procs, m->burst_max, b->burst);
    cr_expect(m->turns <= sc->turns, "%s, %u CPUs: %u turns > %u", sc->prog.name, procs,
            m->turns, sc->turns);
    if (sc->settle != 0)
        cr_expect(m->settled <= CHANGE + sc->settle, "%s, %u CPUs: settled in cycle %u",
                sc->prog.name, procs, m->settled);
}

static void
expect_quiet(const struct scenario *sc, unsigned procs)
{
    struct summary m = pacersim_summary(&sim, QUIET, SIM_CYCLES);

    cr_expect(m.turns == 0 && m.swing <= SWING, "%s, %u CPUs: %u turns, swing %.4f",
            sc->prog.name, procs, m.turns, m.swing);
}

static void
simulate(const struct scenario *sc)
{
    struct summary worst = { .least = INFINITY }, m;

    for (unsigned i = 0; i < ARRAY_LEN(cpus); i++) {
        pacersim_run(&sim, &sc->prog, cpus[i], SIM_CYCLES, 1);
        m = pacersim_summary(&sim, sc->from == 0 ? WARM : sc->from, SIM_CYCLES);
        expect(sc, cpus[i], &m);
        if (!sc->moving)
            expect_quiet(sc, cpus[i]);
        if (cpus[i] != 64)
            worst = worse(m, worst);
        if (cpus[i] == 16)
            report(sc, "1..16", &worst, &sc->usual);
    }
    report(sc, "64", &m, &sc->big);
}

static void
simulate_all(const struct scenario *sc, size_t n)
{
    for (size_t i = 0; i < n; i++)
        simulate(&sc[i]);
}

/* ---- tables ---- */

Test(pacersim, steady_programs_end_marking_at_their_goal)
{
    static const struct scenario table[] = {
        { .prog = { .name = "steady" },
            .usual = { 0.99, 1.01, 0.26, 0.01 }, .big = { 0.99, 1.01, 0.25, 0.01 } },
        { .prog = { .name = "from an empty heap" },
            .usual = { 0.99, 1.11, 0.26, 0.03 }, .big = { 0.94, 1.08, 0.25, 0.01 },
            .from = 1 },
        { .prog = { .name = "128 MiB of stacks", .live = CONST(0.25),
              .stack = CONST(2048) },
            .usual = { 0.98, 1.00, 0.09, 0.01 }, .big = { 0.99, 1.01, 0.09, 0.01 } },
        { .prog = { .name = "128 MiB of globals", .live = CONST(0.25),
              .globals = CONST(512) },
            .usual = { 0.99, 1.01, 0.17, 0.01 }, .big = { 1.10, 1.12, 0.02, 1.00 } },
        { .prog = { .name = "no pointers", .scannable = CONST(0.01) },
            .usual = { 0.97, 0.99, 0.24, 0.01 }, .big = { 0.97, 0.99, 0.08, 0.01 } },
        { .prog = { .name = "half the CPUs idle", .threads = CONST(0.5), .idle = CONST(1) },
            .usual = { 0.96, 0.98, 0.26, 0.01 }, .big = { 0.96, 0.98, 0.25, 0.01 } },
        { .prog = { .name = "allocation x 8", .alloc = CONST(8) },
            .usual = { 0.99, 1.01, 0.55, 0.41 }, .big = { 0.99, 1.01, 0.55, 0.44 } },
    };

    simulate_all(table, ARRAY_LEN(table));
}

Test(pacersim, goals_follow_what_grows_and_shrinks)
{
    static const struct scenario table[] = {
        { .prog = { .name = "live data 1..16", .live = CLIMB(1, 16) },
            .usual = { 0.99, 1.03, 0.26, 0.01 }, .big = { 0.99, 1.03, 0.26, 0.01 } },
        { .prog = { .name = "live data 16..1", .live = CLIMB(16, 1) },
            .usual = { 0.98, 1.01, 0.26, 0.01 }, .big = { 0.98, 1.01, 0.26, 0.01 } },
        { .prog = { .name = "allocation 1..16", .alloc = CLIMB(1, 16) },
            .usual = { 0.99, 1.01, 0.71, 0.63 }, .big = { 0.99, 1.01, 0.71, 0.69 },
            .turns = 1 },
        { .prog = { .name = "allocation 16..1", .alloc = CLIMB(16, 1) },
            .usual = { 0.92, 1.01, 0.71, 0.63 }, .big = { 0.92, 1.01, 0.71, 0.69 },
            .turns = 1 },
        { .prog = { .name = "stacks 64 KiB..128 MiB", .stack = CLIMB(1, 2048) },
            .usual = { 0.98, 1.01, 0.26, 0.01 }, .big = { 0.98, 1.01, 0.25, 0.01 } },
        { .prog = { .name = "pointers 1..100 %", .scannable = CLIMB(0.01, 1) },
            .usual = { 0.97, 1.01, 0.26, 0.01 }, .big = { 0.97, 1.01, 0.25, 0.01 } },
    };

    simulate_all(table, ARRAY_LEN(table));
}

Test(pacersim, steps_are_learnt_within_a_few_cycles)
{
    static const struct scenario table[] = {
        { .prog = { .name = "live data x 1.5", .live = AT_CHANGE(1, 1.5) },
            .usual = { 0.99, 1.05, 0.26, 0.01 }, .big = { 0.99, 1.05, 0.25, 0.01 },
            .settle = 2 },
        { .prog = { .name = "live data x 8", .live = AT_CHANGE(1, 8) },
            .usual = { 0.99, 1.10, 0.26, 0.01 }, .big = { 0.99, 1.10, 0.26, 0.01 },
            .settle = 4 },
        { .prog = { .name = "live data / 8", .live = AT_CHANGE(8, 1) },
            .usual = { 0.92, 1.01, 0.26, 0.01 }, .big = { 0.92, 1.01, 0.26, 0.01 },
            .settle = 2 },
        { .prog = { .name = "allocation x 4", .alloc = AT_CHANGE(1, 4) },
            .usual = { 0.99, 1.01, 0.58, 0.45 }, .big = { 0.99, 1.01, 0.57, 0.48 },
            .settle = 5, .turns = 1 },
        { .prog = { .name = "allocation / 4", .alloc = AT_CHANGE(4, 1) },
            .usual = { 0.91, 1.01, 0.38, 0.18 }, .big = { 0.91, 1.01, 0.38, 0.19 },
            .settle = 6, .turns = 1 },
        { .prog = { .name = "allocation x 16", .alloc = AT_CHANGE(1, 16) },
            .usual = { 0.99, 1.01, 0.85, 0.82 }, .big = { 0.99, 1.01, 0.85, 0.91 },
            .settle = 5, .turns = 1 },
        { .prog = { .name = "scanning / 4", .scan = AT_CHANGE(1, 0.25) },
            .usual = { 0.99, 1.01, 0.58, 0.44 }, .big = { 0.99, 1.01, 0.57, 0.44 },
            .settle = 5, .turns = 1 },
        { .prog = { .name = "stacks + 128 MiB", .stack = AT_CHANGE(1, 2048) },
            .usual = { 0.90, 1.01, 0.26, 0.01 }, .big = { 0.90, 1.01, 0.25, 0.01 },
            .settle = 6 },
        { .prog = { .name = "globals + 128 MiB", .globals = AT_CHANGE(1, 512) },
            .usual = { 0.91, 1.14, 0.26, 1.00 }, .big = { 0.99, 1.77, 0.25, 1.00 },
            .settle = 7 },
        { .prog = { .name = "pointers 1 %, then all", .scannable = AT_CHANGE(0.01, 1) },
            .usual = { 0.97, 1.08, 0.26, 0.01 }, .big = { 0.92, 1.08, 0.25, 0.01 },
            .settle = 6 },
        { .prog = { .name = "threads / 4", .threads = AT_CHANGE(1, 0.25),
              .idle = CONST(1) },
            .usual = { 0.91, 1.01, 0.26, 0.01 }, .big = { 0.91, 1.01, 0.25, 0.01 },
            .settle = 6, .turns = 1 },
    };

    simulate_all(table, ARRAY_LEN(table));
}

Test(pacersim, gogc_may_be_anything_and_change_at_any_time)
{
    static const struct scenario table[] = {
        { .prog = { .name = "GOGC 1", .gogc = CONST(0.01) },
            .usual = { 0.99, 1.01, 0.96, 0.98 }, .big = { 1.08, 1.10, 0.38, 0.20 },
            .from = QUIET, .moving = true },
        { .prog = { .name = "GOGC 10", .gogc = CONST(0.1) },
            .usual = { 0.99, 1.01, 0.68, 0.59 }, .big = { 0.99, 1.01, 0.68, 0.64 },
            .from = QUIET },
        { .prog = { .name = "GOGC 50", .gogc = CONST(0.5) },
            .usual = { 0.99, 1.01, 0.27, 0.03 }, .big = { 0.99, 1.01, 0.27, 0.04 } },
        { .prog = { .name = "GOGC 1000", .gogc = CONST(10) },
            .usual = { 0.99, 1.01, 0.26, 0.01 }, .big = { 0.99, 1.01, 0.25, 0.01 } },
        { .prog = { .name = "GOGC 100000", .gogc = CONST(1000) },
            .usual = { 0.99, 1.01, 0.26, 0.01 }, .big = { 0.99, 1.01, 0.25, 0.01 } },
        { .prog = { .name = "GOGC 100 to 400", .gogc = AT_CHANGE(1, 4) },
            .usual = { 0.99, 1.01, 0.26, 0.01 }, .big = { 0.99, 1.01, 0.25, 0.01 },
            .settle = 2 },
        { .prog = { .name = "GOGC 400 to 50", .gogc = AT_CHANGE(4, 0.5) },
            .usual = { 0.99, 1.01, 0.27, 0.03 }, .big = { 0.99, 1.01, 0.27, 0.04 },
            .settle = 2 },
        { .prog = { .name = "GOGC 10, 1000, 10 ...", .gogc = TURNS(1, 0.1, 10) },
            .usual = { 0.99, 1.01, 0.65, 0.54 }, .big = { 0.99, 1.01, 0.65, 0.59 },
            .turns = 112, .moving = true },
        { .prog = { .name = "GOGC 0, 100, 0 ...", .gogc = TURNS(4, 0, 1) },
            .usual = { 0.98, 1.10, 0.99, 1.00 }, .big = { 0.99, 1.10, 0.39, 0.21 },
            .turns = 28, .moving = true },
    };

    simulate_all(table, ARRAY_LEN(table));
}

Test(pacersim, programs_that_never_rest_do_not_make_the_pacer_swing_more)
{
    static const struct scenario table[] = {
        { .prog = { .name = "allocation in sawteeth",
              .alloc = { { SAWTOOTH, 0.5, 2.25, 8, 0 } } },
            .usual = { 0.88, 1.01, 0.29, 0.05 }, .big = { 0.88, 1.01, 0.28, 0.05 },
            .turns = 55, .moving = true },
        { .prog = { .name = "live data in sawteeth", .live = { { SAWTOOTH, 1, 2, 8, 0 } } },
            .usual = { 0.95, 1.02, 0.26, 0.01 }, .big = { 0.95, 1.02, 0.26, 0.01 },
            .turns = 28, .moving = true },
        { .prog = { .name = "noise 20 %, live 3 %", .alloc = { { NOISE, 0.8, 1.2, 0, 0 } },
              .live = { { NOISE, 0.97, 1.03, 0, 0 } } },
            .usual = { 0.96, 1.01, 0.30, 0.06 }, .big = { 0.96, 1.01, 0.29, 0.07 },
            .turns = 75, .moving = true },
        { .prog = { .name = "noise x 4, live 30 %", .alloc = { { NOISE, 0.25, 4, 0, 0 } },
              .live = { { NOISE, 0.7, 1.3, 0, 0 } } },
            .usual = { 0.85, 1.12, 0.44, 0.26 }, .big = { 0.85, 1.12, 0.43, 0.28 },
            .turns = 80, .moving = true },
        { .prog = { .name = "phases", .alloc = TURNS(16, 0.25, 4), .live = TURNS(16, 1, 8),
              .scan = TURNS(8, 1, 0.5) },
            .usual = { 0.84, 1.16, 0.74, 0.66 }, .big = { 0.84, 1.15, 0.73, 0.72 },
            .turns = 6, .moving = true },
        { .prog = { .name = "threads come and go", .threads = TURNS(8, 0.25, 1),
              .idle = CONST(1) },
            .usual = { 0.91, 1.01, 0.51, 0.74 }, .big = { 0.91, 1.01, 0.50, 0.37 },
            .turns = 28, .moving = true },
    };

    simulate_all(table, ARRAY_LEN(table));
}

Test(pacersim, small_heaps_stay_at_their_minimum)
{
    static const struct scenario table[] = {
        { .prog = { .name = "churn on 256 KiB", .live = CONST(0x1p-8), .alloc = CONST(16) },
            .usual = { 0.99, 1.26, 0.22, 1.00 }, .big = { 1.27, 1.29, 0.04, 1.00 } },
        { .prog = { .name = "churn on 16 KiB", .live = CONST(0x1p-12), .alloc = CONST(16) },
            .usual = { 0.98, 1.29, 0.08, 1.00 }, .big = { 1.28, 1.30, 0.01, 1.00 } },
        { .prog = { .name = "256 KiB, no minimum", .live = CONST(0x1p-8),
              .heap_min = CONST(0) },
            .usual = { 0.98, 1.01, 0.22, 0.01 }, .big = { 1.08, 1.10, 0.04, 0.68 } },
        { .prog = { .name = "1 MiB, minimum 256 MiB", .live = CONST(0x1p-6),
              .heap_min = CONST(64) },
            .usual = { 0.98, 1.00, 0.25, 0.01 }, .big = { 0.98, 1.00, 0.10, 0.01 } },
        { .prog = { .name = "minimum just the goal", .heap_min = CONST(32) },
            .usual = { 0.99, 1.01, 0.26, 0.01 }, .big = { 0.99, 1.01, 0.25, 0.01 } },
        { .prog = { .name = "minimum 4, 256, 4 ... MiB", .live = CONST(0x1p-6),
              .heap_min = TURNS(4, 1, 64) },
            .usual = { 0.98, 1.01, 0.25, 0.01 }, .big = { 0.98, 1.01, 0.10, 0.01 },
            .turns = 28, .moving = true },
    };

    simulate_all(table, ARRAY_LEN(table));
}

Test(pacersim, limits_hold_and_are_returned_to)
{
    static const struct scenario table[] = {
        { .prog = { .name = "limit 100 MiB", .limit = CONST(100) },
            .usual = { 0.99, 1.01, 0.34, 0.12 }, .big = { 0.99, 1.01, 0.34, 0.13 } },
        { .prog = { .name = "limit 80 MiB", .limit = CONST(80) },
            .usual = { 0.99, 1.01, 0.53, 0.38 }, .big = { 1.02, 1.04, 0.63, 0.57 } },
        { .prog = { .name = "limit 66 MiB", .limit = CONST(66) },
            .usual = { 1.05, 1.07, 0.68, 0.58 }, .big = { 1.05, 1.07, 0.68, 0.64 } },
        { .prog = { .name = "limit below what lives", .limit = CONST(32) },
            .usual = { 1.08, 1.10, 0.68, 0.58 }, .big = { 1.08, 1.10, 0.68, 0.64 } },
        { .prog = { .name = "limit 200..66 MiB", .limit = CLIMB(200, 66) },
            .usual = { 0.99, 1.07, 0.68, 0.58 }, .big = { 0.99, 1.07, 0.68, 0.64 } },
        { .prog = { .name = "limit 66..200 MiB", .limit = CLIMB(66, 200) },
            .usual = { 0.99, 1.07, 0.68, 0.58 }, .big = { 0.99, 1.07, 0.68, 0.64 } },
        { .prog = { .name = "limit 100 to 70 MiB", .limit = AT_CHANGE(100, 70) },
            .usual = { 0.99, 1.10, 0.66, 0.57 }, .big = { 0.99, 1.10, 0.66, 0.62 },
            .settle = 2 },
        { .prog = { .name = "limit 90..150 at random",
              .limit = { { NOISE, 90, 150, 0, 0 } } },
            .usual = { 0.91, 1.01, 0.50, 0.34 }, .big = { 0.88, 1.04, 0.61, 0.53 },
            .turns = 64, .moving = true },
        { .prog = { .name = "limit 256 MiB alone", .gogc = CONST(-1), .limit = CONST(256) },
            .usual = { 0.99, 1.01, 0.26, 0.01 }, .big = { 0.99, 1.01, 0.25, 0.01 } },
        { .prog = { .name = "limit 80 MiB alone", .gogc = CONST(-1), .limit = CONST(80) },
            .usual = { 0.99, 1.01, 0.53, 0.38 }, .big = { 1.02, 1.04, 0.63, 0.57 } },
        { .prog = { .name = "limit 160 MiB, live x 2", .live = AT_CHANGE(1, 2),
              .limit = CONST(160) },
            .usual = { 0.98, 1.01, 0.63, 0.79 }, .big = { 0.98, 1.05, 0.63, 0.54 },
            .settle = 3, .turns = 1 },
    };

    simulate_all(table, ARRAY_LEN(table));
}

/* From the third burst on: the first is news. */
Test(pacersim, known_pains_hurt_less)
{
    static const struct scenario table[] = {
        { .prog = { .name = "idle, every 16th x 4", .alloc = EVERY(16, 0x1p-6, 4),
              .forced = EVERY(16, 1, 0) },
            .usual = { 0.61, 1.01, 0.46, 0.29 }, .big = { 0.61, 1.01, 0.46, 0.32 },
            .from = 32, .turns = 12, .moving = true },
        { .prog = { .name = "idle, every 16th x 16", .alloc = EVERY(16, 0x1p-6, 16),
              .forced = EVERY(16, 1, 0) },
            .usual = { 0.61, 1.01, 0.78, 0.72 }, .big = { 0.61, 1.01, 0.78, 0.80 },
            .from = 32, .turns = 12, .moving = true },
        { .prog = { .name = "256 MiB before marking", .late = EVERY(8, 0, 256) },
            .usual = { 0.99, 1.01, 0.26, 0.01 }, .big = { 0.99, 1.01, 0.25, 0.01 },
            .turns = 28, .moving = true },
        { .prog = { .name = "16 MiB while marking", .jump = EVERY(8, 0, 16) },
            .usual = { 0.91, 1.09, 0.35, 0.43 }, .big = { 0.91, 1.09, 0.34, 0.43 },
            .turns = 28, .moving = true },
        { .prog = { .name = "256 MiB while marking", .jump = EVERY(8, 0, 256) },
            .usual = { 0.86, 2.65, 0.41, 1.00 }, .big = { 0.86, 2.64, 0.39, 1.00 },
            .turns = 28, .moving = true },
        { .prog = { .name = "forced, each", .forced = CONST(1) },
            .usual = { 0.71, 0.74, 0.26, 0.01 }, .big = { 0.75, 0.77, 0.25, 0.01 } },
        { .prog = { .name = "forced, every 4th", .forced = EVERY(4, 0, 1) },
            .usual = { 0.71, 1.01, 0.26, 0.01 }, .big = { 0.78, 1.01, 0.25, 0.01 },
            .turns = 56, .moving = true },
        { .prog = { .name = "assists of 70 % at most", .alloc = AT_CHANGE(1, 16),
              .assists = CONST(0.707) },
            .usual = { 0.99, 1.06, 0.78, 0.71 }, .big = { 0.99, 1.09, 0.72, 0.71 },
            .settle = 4 },
    };

    simulate_all(table, ARRAY_LEN(table));
}

/* ---- by themselves ---- */

Test(pacersim, gogc_off_never_triggers)
{
    static const struct program off = { .name = "off", .gogc = CONST(-1) };

    pacersim_run(&sim, &off, 4, 64, 1);
    for (unsigned i = 0; i < 64; i++) {
        cr_expect_eq(sim.rows[i].goal, PACER_NONE);
        cr_expect_eq(sim.rows[i].trigger, PACER_NONE);
        cr_expect_lt(sim.rows[i].assist, 1e-6);
    }
}

Test(pacersim, goals_are_what_gogc_says)
{
    static const double gogc[] = { 0.01, 0.5, 1, 4, 10 };

    for (unsigned i = 0; i < ARRAY_LEN(gogc); i++) {
        struct program g = { .name = "goal", .gogc = CONST(gogc[i]), .globals = CONST(64) };

        pacersim_run(&sim, &g, 4, 64, 1);
        for (unsigned n = 1; n < 64; n++) {
            const struct row *r = &sim.rows[n];
            double marked = (double)r->marked_before, least = 4 * (double)MIB * gogc[i];
            double want = marked + (marked + 16.0625 * (double)MIB) * gogc[i];

            cr_expect_float_eq((double)r->goal / fmax(want, least), 1, 0.011, "cycle %u", n);
        }
    }
}

/* ---- random programs ---- */

static uint64_t seed;

static double
rand_between(double lo, double hi)
{
    return lo + (hi - lo) * (double)(rand_next(&seed) >> 11) * 0x1p-53;
}

/* Between lo and hi, each power of two as likely as any other. */
static double
rand_size(double lo, double hi)
{
    return exp2(rand_between(log2(lo), log2(hi)));
}

static void
random_curves(curves c, double lo, double hi)
{
    unsigned n = 1 + (unsigned)rand_below(&seed, CURVES - 1);

    for (unsigned i = 0; i < n; i++) {
        double each = 1.0 / n;

        c[i] = (struct curve){
            .shape = CONSTANT + (enum shape)rand_below(&seed, ALTERNATE),
            .from = pow(rand_size(lo, hi), each),
            .to = pow(rand_size(lo, hi), each),
            .at = 2 + (unsigned)rand_below(&seed, 62),
            .until = 65 + (unsigned)rand_below(&seed, 64),
        };
    }
}

static struct program
random_program(void)
{
    struct program g = { .name = "random" };

    random_curves(g.alloc, 0x1p-10, 32);
    random_curves(g.scan, 0x1p-3, 4);
    random_curves(g.live, 0x1p-16, 64);
    random_curves(g.stack, 0x1p-6, 4096);
    random_curves(g.globals, 0x1p-6, 512);
    random_curves(g.scannable, 0x1p-10, 1);
    random_curves(g.threads, 0x1p-3, 1);
    random_curves(g.gogc, 0x1p-7, 64);
    random_curves(g.heap_min, 0x1p-8, 256);
    if (rand_below(&seed, 2) == 0)
        random_curves(g.limit, 1, 8192);
    if (rand_below(&seed, 4) == 0)
        random_curves(g.forced, 0.5, 2);
    if (rand_below(&seed, 4) == 0)
        random_curves(g.late, 0x1p-6, 512);
    if (rand_below(&seed, 4) == 0)
        random_curves(g.jump, 0x1p-6, 512);
    if (rand_below(&seed, 2) == 0)
        g.idle[0] = (struct curve){ .shape = CONSTANT, .from = 1 };
    return g;
}

/* The model checks the pacer's state at each step; here is what came out of a cycle. */
static void
check_row(const struct row *r)
{
    cr_assert_geq(r->trigger, r->marked_before);
    cr_assert(isfinite(r->peak_ratio) && r->peak_ratio > 0);
    cr_assert(r->share >= 0 && r->share <= 1.001, "share %g", r->share);
}

Test(pacersim, random_programs_are_paced_whatever_they_do)
{
    const char *env = getenv("GCRT_SEED");

    seed = env != NULL ? strtoull(env, NULL, 0) : (uint64_t)time(NULL) * 0x9e3779b97f4a7c15u;
    fprintf(stderr, "GCRT_SEED=%" PRIu64 "\n", seed);
    for (unsigned n = 0; n < 300; n++) {
        struct program g = random_program();

        pacersim_run(&sim, &g, cpus[rand_below(&seed, ARRAY_LEN(cpus))], SIM_CYCLES, seed);
        for (unsigned i = 0; i < SIM_CYCLES; i++)
            check_row(&sim.rows[i]);
    }
}
