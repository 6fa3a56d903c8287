/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the model of pacersim.h.
 * Place: pacersim_test.c gives it programs and bounds.
 * Invariants: only the functions of gc/pacer.h are called, in their documented order, with
 * numbers that the library would have; its fields are read for checks alone.
 * Cost: some 100 steps a cycle.
 */
#include "pacersim.h"

#include "alloc/base/rand.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>

#define REVISE_NS  1e6  /* as often as the library */
#define LAG_NS     50e3 /* the first handshakes: allocation, no marking */
#define ROOT_RATE  4.0  /* bytes a ns of global roots, before marking opens */
#define SWEEP_RATE 20.0 /* bytes a ns, one thread */
#define SWEEP_HELP 32   /* bytes swept per byte allocated above the goal */
#define STEPS      64   /* of a cycle, if only the workers mark */
#define STEPS_MAX  200000

/* ---- curves ---- */

static double
rand_between(uint64_t *seed, double lo, double hi)
{
    return lo + (hi - lo) * (double)(rand_next(seed) >> 11) * 0x1p-53;
}

static double
value_at(const struct curve *c, unsigned cycle, uint64_t *seed)
{
    double part;

    switch (c->shape) {
    case CONSTANT:
        return c->from;
    case RAMP:
        part = ((double)cycle - c->at) / (c->until - c->at);
        return c->from + (c->to - c->from) * fmin(fmax(part, 0), 1);
    case STEP:
        return cycle < c->at ? c->from : c->to;
    case SAWTOOTH:
        return c->from + (c->to - c->from) * (cycle % c->at) / (c->at - 1);
    case BURST:
        return cycle % c->at == c->at - 1 ? c->to : c->from;
    case NOISE:
        return rand_between(seed, c->from, c->to);
    case ALTERNATE:
        return cycle / c->at % 2 == 0 ? c->from : c->to;
    case ONE:
        break;
    }
    return 1;
}

static double
product(const struct curve *c, unsigned cycle, uint64_t *seed)
{
    double x = 1;

    for (unsigned i = 0; i < CURVES; i++)
        x *= value_at(&c[i], cycle, seed);
    return x;
}

/* ---- one cycle's inputs ---- */

struct inputs {
    double alloc, scan, live, stack, globals, scannable, threads, assists, idle, forced;
    double late, jump;
    int64_t gogc;
    uint64_t heap_min, limit;
};

static double
or_none(struct sim *s, const struct curve *c, unsigned cycle)
{
    return c[0].shape == ONE ? 0 : product(c, cycle, &s->seed);
}

/* The plain program: 64 MiB of pointers, GOGC 100, a byte allocated for 16 scanned. */
static struct inputs
inputs_at(struct sim *s, unsigned cycle)
{
    const struct program *g = s->prog;
    double gogc = 100 * product(g->gogc, cycle, &s->seed);
    double limit = or_none(s, g->limit, cycle);

    return (struct inputs){
        .alloc = 0x1p-4 * product(g->alloc, cycle, &s->seed),
        .scan = product(g->scan, cycle, &s->seed),
        .live = 64 * (double)MIB * product(g->live, cycle, &s->seed),
        .stack = 64 * (double)KIB * product(g->stack, cycle, &s->seed),
        .globals = 256 * (double)KIB * product(g->globals, cycle, &s->seed),
        .scannable = product(g->scannable, cycle, &s->seed),
        .threads = s->procs * product(g->threads, cycle, &s->seed),
        .assists = 0.99 * product(g->assists, cycle, &s->seed),
        .idle = or_none(s, g->idle, cycle),
        .forced = or_none(s, g->forced, cycle),
        .late = (double)MIB * or_none(s, g->late, cycle),
        .jump = (double)MIB * or_none(s, g->jump, cycle),
        .gogc = gogc < 0 ? PACER_GOGC_OFF : (int64_t)(gogc + 0.5),
        .heap_min = (uint64_t)(4 * (double)MIB * product(g->heap_min, cycle, &s->seed)),
        .limit = limit == 0 ? PACER_NONE : (uint64_t)(limit * (double)MIB),
    };
}

/* ---- checks ---- */

static void
check_finite(double x)
{
    cr_assert(isfinite(x) && x >= 0, "%g", x);
}

void
pacersim_check(const struct pacer *p)
{
    uint64_t goal = gcrt_pacer_goal(p), trigger = gcrt_pacer_trigger(p);

    cr_assert_geq(goal, p->heap_marked);
    cr_assert_leq(trigger, goal);
    cr_assert_geq(trigger, p->heap_marked);
    check_finite(p->cons_mark);
    for (unsigned i = 0; i < PACER_HISTORY; i++)
        check_finite(p->cons_mark_history[i]);
}

struct pacer_assist
pacersim_revise(const struct pacer *p, const struct pacer_progress *now)
{
    struct pacer_assist a = gcrt_pacer_revise(p, now);

    cr_assert(isfinite(a.work_per_byte) && a.work_per_byte > 0);
    cr_assert(isfinite(a.bytes_per_work) && a.bytes_per_work > 0);
    cr_assert_float_eq(a.work_per_byte * a.bytes_per_work, 1, 1e-9);
    return a;
}

/* ---- between cycles ---- */

static double
min_double(double a, double b)
{
    return a < b ? a : b;
}

/* The heap when it is swept.  Beyond the goal those who allocate help. */
static uint64_t
sweep(struct sim *s, double rate)
{
    uint64_t goal = gcrt_pacer_goal(&s->p), room = goal - s->heap;
    double grown = rate * (double)s->heap / SWEEP_RATE, left;

    if (grown <= (double)room)
        return s->heap + (uint64_t)grown;
    left = (double)s->heap - (double)room / rate * SWEEP_RATE;
    return goal + (uint64_t)(left / SWEEP_HELP);
}

/*
 * A heap that grows comes to its trigger: that is no further away than GOGC and the heap
 * minimum say, or what sweeping needs.
 */
static void
check_reachable(const struct pacer *p, const struct inputs *in, uint64_t trigger)
{
    double percent = (double)in->gogc / 100, most;

    if (in->gogc < 0) {
        cr_assert_eq(trigger == PACER_NONE, in->limit == PACER_NONE);
        return;
    }
    most = (double)p->heap_marked
            + (double)(p->heap_marked + p->last_stack_scan + p->globals_scan) * percent;
    most = fmax(most, (double)in->heap_min * percent);
    cr_assert_leq((double)trigger, most + 1, "%g, not %" PRIu64, most, trigger);
}

/* Sweeps, then lets the heap grow to where the cycle starts; returns the CPU time gone by. */
static double
grow(struct sim *s, const struct inputs *in, struct row *r)
{
    double rate = in->alloc * min_double(in->threads, s->procs);
    uint64_t from = s->heap, grown;

    s->p.limit_goal = in->limit;
    gcrt_pacer_set_heap_min(&s->p, in->heap_min, s->heap, false);
    pacersim_check(&s->p);
    gcrt_pacer_set_gogc(&s->p, in->gogc, s->heap, false);
    pacersim_check(&s->p);
    grown = sweep(s, rate);
    gcrt_pacer_commit(&s->p, grown, true);
    pacersim_check(&s->p);
    r->trigger = gcrt_pacer_trigger(&s->p);
    check_reachable(&s->p, in, r->trigger);
    r->start = r->trigger != PACER_NONE ? r->trigger : s->p.heap_marked * 4 + MIB;
    if (in->forced >= 1 && r->start > grown)
        r->start = grown + (r->start - grown) / 3;
    if (r->start < grown)
        r->start = grown; /* the next cycle waits for the sweep */
    r->start += (uint64_t)in->late;
    return (double)(r->start - from) / rate * s->procs;
}

/* ---- marking ---- */

struct marking {
    double ns, work, born, assist_ns, idle_ns, worker_ns, bank;
    double workers, mutators, idle; /* CPUs */
    struct pacer_assist ratio;
    double revise_at;
    uint64_t heap_scan; /* at most */
};

/* CPUs that assist now: demand is what credit, workers and assists cover together. */
static double
assisting(const struct marking *m, const struct inputs *in, double dt)
{
    double owed = m->ratio.work_per_byte * in->alloc;
    double given = in->scan * (m->workers + m->idle) + m->bank / dt;
    double cpus = (owed * m->mutators - given) / (in->scan + owed);

    return fmax(0, min_double(cpus, m->mutators * in->assists));
}

static void
revise(struct sim *s, const struct inputs *in, struct marking *m)
{
    const struct pacer *p = &s->p;
    m->ratio = pacersim_revise(p, &(struct pacer_progress){
        .heap_live = p->triggered + (uint64_t)m->born,
        .heap_scan = m->heap_scan,
        .stack_scan = (uint64_t)in->stack,
        .work = (uint64_t)m->work,
    });
    m->revise_at = m->ns + REVISE_NS;
}

static void
step(struct row *r, const struct inputs *in, struct marking *m, double dt, double work_all)
{
    double x = assisting(m, in, dt);
    double rate = in->scan * (m->workers + m->idle + x);
    double owed = m->ratio.work_per_byte * in->alloc * (m->mutators - x);

    dt = min_double(dt, (work_all - m->work) / rate + 1e-3);
    m->ns += dt;
    m->work += rate * dt;
    m->born += in->alloc * (m->mutators - x) * dt;
    m->bank = fmax(0, m->bank + (rate - owed) * dt);
    m->assist_ns += x * dt;
    m->idle_ns += m->idle * dt;
    m->worker_ns += m->workers * dt;
    r->burst = fmax(r->burst, x / m->mutators);
}

/* Threads scan their stacks, then the roots are read; marking has not begun. */
static void
open_marking(struct sim *s, const struct inputs *in, struct marking *m)
{
    double threads = min_double(in->threads, s->procs);
    double roots_ns = LAG_NS + in->globals / ROOT_RATE;

    m->ns = roots_ns + in->stack / (in->scan * threads);
    m->born = in->alloc * threads * roots_ns;
    m->work = in->stack + in->globals;
    m->heap_scan = s->p.last_heap_scan
            + (uint64_t)((double)(s->p.triggered - s->fresh_from) * in->scannable);
}

static struct marking
mark(struct sim *s, const struct inputs *in, struct row *r, double work_all)
{
    struct pacer_workers w = gcrt_pacer_workers(&s->p);
    struct marking m = { .workers = w.dedicated + w.fractional * s->procs };
    double jump = in->jump, dt;
    unsigned steps = 0;

    m.mutators = min_double(in->threads, s->procs - m.workers);
    m.idle = (s->procs - m.workers - m.mutators) * in->idle;
    open_marking(s, in, &m);
    dt = min_double(REVISE_NS, work_all / (in->scan * m.workers) / STEPS + 1);
    while (m.work < work_all) {
        if (m.ns >= m.revise_at)
            revise(s, in, &m);
        step(r, in, &m, dt, work_all);
        if (jump > 0 && m.work > work_all / 2) {
            m.born += jump;
            jump = 0;
        }
        cr_assert_lt(++steps, STEPS_MAX, "marking does not end");
    }
    return m;
}

static void
end(struct sim *s, const struct inputs *in, const struct marking *m, struct row *r,
        double survivors)
{
    struct pacer_outcome out = {
        .heap_live = r->start + (uint64_t)m->born,
        .heap_marked = (uint64_t)(survivors + m->born),
        .heap_work = (uint64_t)(survivors * in->scannable),
        .stack_work = (uint64_t)in->stack,
        .globals_work = (uint64_t)in->globals,
        .mark_ns = (uint64_t)m->ns,
        .assist_ns = (uint64_t)m->assist_ns,
        .idle_ns = (uint64_t)m->idle_ns,
    };

    gcrt_pacer_end_cycle(&s->p, &out);
    gcrt_pacer_commit(&s->p, out.heap_marked, false);
    pacersim_check(&s->p);
    s->heap = out.heap_marked;
    s->fresh_from = out.heap_marked - (uint64_t)m->born;
    r->peak = out.heap_live;
    r->marked = out.heap_marked;
}

static void
cycle(struct sim *s, unsigned n)
{
    struct row *r = &s->rows[n];
    struct inputs in = inputs_at(s, n);
    struct marking m;
    double survivors, cpu_before;

    *r = (struct row){ .marked_before = s->p.heap_marked };
    cpu_before = grow(s, &in, r);
    gcrt_pacer_start_cycle(&s->p, r->start, (uint64_t)in.globals, s->procs);
    pacersim_check(&s->p);
    r->goal = gcrt_pacer_goal(&s->p);
    survivors = min_double(in.live, (double)r->start);
    m = mark(s, &in, r, survivors * in.scannable + in.stack + in.globals + 1);
    end(s, &in, &m, r, survivors);
    r->live = survivors;
    if (s->p.limit_goal < s->p.gogc_goal)
        r->goal = (uint64_t)fmax((double)in.limit, survivors);
    r->peak_ratio = (double)r->peak / (double)r->goal;
    r->assist = m.assist_ns / (m.ns * s->procs);
    r->share = r->assist + m.worker_ns / (m.ns * s->procs);
    r->overall = r->share * m.ns * s->procs / (cpu_before + m.ns * s->procs);
}

void
pacersim_run(struct sim *s, const struct program *prog, unsigned procs, unsigned cycles,
        uint64_t seed)
{
    struct inputs in;

    *s = (struct sim){ .prog = prog, .procs = procs, .seed = seed };
    in = inputs_at(s, 0);
    gcrt_pacer_init(&s->p, in.gogc, in.heap_min, procs);
    for (unsigned i = 0; i < cycles; i++)
        cycle(s, i);
}

/* ---- results ---- */

/* Reversals of the trigger, small ones left out; its range. */
static void
count_turns(const struct sim *s, unsigned from, unsigned to, struct summary *sum)
{
    double mean = 0, lo = INFINITY, hi = 0, turn = (double)s->rows[from].start;
    int way = 0;

    for (unsigned i = from; i < to; i++)
        mean += (double)s->rows[i].start / (to - from);
    for (unsigned i = from; i < to; i++) {
        double x = (double)s->rows[i].start;

        lo = fmin(lo, x);
        hi = fmax(hi, x);
        if (fabs(x - turn) > 0.01 * mean) {
            int now = x > turn ? 1 : -1;

            sum->turns += way != 0 && now != way;
            way = now;
            turn = x;
        } else if ((x - turn) * way > 0) {
            turn = x;
        }
    }
    sum->swing = (hi - lo) / mean;
}

static unsigned
first_settled(const struct sim *s, unsigned from, unsigned to)
{
    double last = (double)s->rows[to - 1].start;
    unsigned i = to - 1;

    while (i > from && fabs((double)s->rows[i - 1].start - last) <= 0.01 * last)
        i--;
    return i;
}

struct summary
pacersim_summary(const struct sim *s, unsigned from, unsigned to)
{
    struct summary sum = { .least = INFINITY };
    double n = to - from;

    for (unsigned i = from; i < to; i++) {
        const struct row *r = &s->rows[i];

        sum.goal += (double)r->goal / (double)MIB / n;
        sum.start += (double)r->start / (double)r->goal / n;
        sum.least = fmin(sum.least, r->peak_ratio);
        sum.peak = fmax(sum.peak, r->peak_ratio);
        sum.share += r->share / n;
        sum.assist += r->assist / n;
        sum.share_max = fmax(sum.share_max, r->share);
        sum.burst_max = fmax(sum.burst_max, r->burst);
        sum.overall += r->overall / n;
    }
    count_turns(s, from, to, &sum);
    sum.settled = first_settled(s, from, to);
    return sum;
}
