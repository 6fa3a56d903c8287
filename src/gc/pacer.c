/* SPDX-License-Identifier: MIT */
/*
 * The pacer: when a cycle starts, and how much marking an allocating thread owes.
 *
 * Purpose: a cycle marks while the program allocates.  Started too late, the heap outgrows
 * its goal before marking is done, or the mutators must stop to help; started too early,
 * cycles come more often than GOGC asks for.  The pacer therefore measures one number, the
 * ratio of allocation to marking when both have the same CPU time (cons_mark), predicts how
 * many bytes will be allocated during the next cycle (the runway), and places the trigger
 * that far below the goal:
 *
 *     heap_marked          trigger                    goal     1.1 goal      hard goal
 *          |------------------|--------- runway --------|---------|--------------|
 *          |    no marking    |  workers + assists mark |  more work is expected |
 *
 * While the cycle runs, the assist ratio closes the gap between prediction and truth: what
 * remains to be scanned, over what may still be allocated.
 *
 * Place: only the coordinator of cycles calls it; it calls nobody.
 *
 * Invariants: heap_marked <= trigger <= goal at every moment.  No operation here can yield
 * a NaN or an infinity: every divisor is a constant, a count of at least 1, or at least
 * 1 - UTILIZATION_MAX, and every product of two 64-bit counts is far inside a double's
 * range.  Byte counts saturate at PACER_NONE, which reads as "never".
 *
 * Concurrency: none here.  Readers on other threads see copies.
 *
 * Cost: cold, some dozens of floating-point operations a call.
 */
#include "gc/pacer.h"

#include "alloc/base/check.h"

#define UTILIZATION_GOAL 0.25
/*
 * If the mutators did little but assist, they allocated at an unknown, high rate per CPU
 * time; this bounds the extrapolation and keeps 1 - utilization away from 0.
 */
#define UTILIZATION_MAX 0.99

/* Largest relative error accepted when the background share is rounded to threads. */
#define DEDICATED_ERROR 0.3

#define TRIGGER_PARTS 64 /* the trigger lies in [45/64, 61/64] of the way to the goal ... */
#define TRIGGER_LOW   45
#define TRIGGER_HIGH  61
#define TRIGGER_GAP   ((uint64_t)4 << 20) /* ... or later, if at least so far below it */

#define LIMIT_HEADROOM     3                  /* percent of the goal by a memory limit ... */
#define LIMIT_HEADROOM_MIN ((uint64_t)1 << 20) /* ... or so much */

#define SWEEP_ROOM       ((uint64_t)1 << 20) /* allocation that sweeping may spread over */
#define RUNWAY_MIN       ((uint64_t)64 << 10) /* between a cycle's start and its goal */
#define WORK_MIN         1000 /* never expect less work than this to remain */
#define OVERSHOOT        1.1  /* the goal is soft up to here ... */
#define LIMIT_PERCENT    3    /* ... or by this much where a memory limit set it */
#define HARD_GOGC_IF_OFF 100000

/* ---- saturating arithmetic ---- */

static uint64_t
add_sat(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t
sub_sat(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t
max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t
min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* n * percent / 100, without losing the low bits of n. */
static uint64_t
percent_of(uint64_t n, uint64_t percent)
{
    uint64_t hundreds, rest;

    if (__builtin_mul_overflow(n / 100, percent, &hundreds)
            || __builtin_mul_overflow(n % 100, percent, &rest))
        return UINT64_MAX;
    return add_sat(hundreds, rest / 100);
}

/* x >= 0; rounded down. */
static uint64_t
to_bytes(double x)
{
    return x < 0x1p64 ? (uint64_t)x : UINT64_MAX;
}

static double
min_double(double a, double b)
{
    return a < b ? a : b;
}

/* ---- goals ---- */

uint64_t
gcrt_pacer_expected(const struct pacer *p)
{
    return add_sat(add_sat(p->last_heap_scan, p->last_stack_scan), p->globals_scan);
}

static uint64_t
goal_by_gogc(const struct pacer *p)
{
    uint64_t percent, roots, growth;

    if (p->gogc < 0)
        return PACER_NONE;
    percent = (uint64_t)p->gogc;
    roots = add_sat(p->last_stack_scan, p->globals_scan);
    growth = percent_of(add_sat(p->heap_marked, roots), percent);
    return max_u64(add_sat(p->heap_marked, growth), percent_of(p->heap_min, percent));
}

/* Memory that is neither objects nor free pages: metadata, empty slots. */
static uint64_t
overhead(const struct pacer_memory *m)
{
    return sub_sat(m->mapped, add_sat(m->free, m->objects));
}

/*
 * What the limit leaves to objects.  What is mapped at it and beyond counts twice, so that the
 * heap is pulled back below it.  The headroom is for what happens between here and the end of a
 * cycle: spans in use by few objects, metadata, the goal's own softness.
 */
uint64_t
gcrt_pacer_goal_by_limit(const struct pacer *p, const struct pacer_memory *m)
{
    uint64_t total = add_sat(m->mapped, m->external), room, head;

    if (m->limit == PACER_NONE)
        return PACER_NONE;
    room = sub_sat(m->limit,
            add_sat(sub_sat(overhead(m), m->usable), sub_sat(total, pacer_near(m->limit))));
    if (room == 0)
        return p->heap_marked;
    head = max_u64(percent_of(room, LIMIT_HEADROOM), LIMIT_HEADROOM_MIN);
    return max_u64(max_u64(sub_sat(room, head), head), p->heap_marked);
}

uint64_t
gcrt_pacer_least_memory(const struct pacer *p, const struct pacer_memory *m)
{
    return add_sat(p->heap_marked, overhead(m));
}

bool
gcrt_pacer_is_limited(const struct pacer *p)
{
    return p->limit_goal < p->gogc_goal;
}

/*
 * What may be allocated in the running cycle, however late it started.  A room that shrank as
 * the start came later would make starts swing: little born black, the next start is early,
 * much is born black, the next is late.
 */
static uint64_t
room(const struct pacer *p, uint64_t goal)
{
    return gcrt_pacer_is_limited(p) ? max_u64(percent_of(goal, LIMIT_PERCENT), RUNWAY_MIN)
                                    : p->room;
}

/* A memory limit is stronger than the comfort of sweeping. */
uint64_t
gcrt_pacer_goal(const struct pacer *p)
{
    uint64_t goal = max_u64(min_u64(p->gogc_goal, p->limit_goal), p->heap_marked);

    if (!gcrt_pacer_is_limited(p))
        goal = max_u64(goal, p->sweep_min);
    if (p->in_cycle)
        goal = max_u64(goal, add_sat(p->triggered, room(p, goal)));
    return goal;
}

/* heap_marked + parts/64 of the way to the goal. */
static uint64_t
part_way(const struct pacer *p, uint64_t goal, uint64_t parts)
{
    return p->heap_marked + (goal - p->heap_marked) / TRIGGER_PARTS * parts;
}

uint64_t
gcrt_pacer_trigger(const struct pacer *p)
{
    uint64_t goal = gcrt_pacer_goal(p);
    uint64_t low, high;

    if (goal == PACER_NONE || goal == p->heap_marked)
        return goal;
    low = part_way(p, goal, TRIGGER_LOW);
    if (!gcrt_pacer_is_limited(p))
        low = max_u64(low, p->sweep_min);
    high = part_way(p, goal, TRIGGER_HIGH);
    high = max_u64(high, sub_sat(goal, TRIGGER_GAP));
    high = max_u64(high, low);
    return min_u64(max_u64(sub_sat(goal, p->runway), low), high);
}

/* ---- settings ---- */

void
gcrt_pacer_init(struct pacer *p, int64_t gogc, uint64_t heap_min, unsigned procs)
{
    *p = (struct pacer){
        .heap_min = heap_min,
        .limit_goal = PACER_NONE,
        .utilization_goal = UTILIZATION_GOAL,
        .procs = procs == 0 ? 1 : procs,
    };
    gcrt_pacer_set_gogc(p, gogc, 0, true);
}

void
gcrt_pacer_set_gogc(struct pacer *p, int64_t gogc, uint64_t heap_live, bool swept)
{
    p->gogc = gogc < 0 ? PACER_GOGC_OFF : gogc;
    gcrt_pacer_commit(p, heap_live, swept);
}

void
gcrt_pacer_set_heap_min(struct pacer *p, uint64_t bytes, uint64_t heap_live, bool swept)
{
    p->heap_min = bytes;
    gcrt_pacer_commit(p, heap_live, swept);
}

void
gcrt_pacer_forget(struct pacer *p, uint64_t bytes)
{
    p->heap_marked = sub_sat(p->heap_marked, bytes);
}

void
gcrt_pacer_commit(struct pacer *p, uint64_t heap_live, bool swept)
{
    double share = p->utilization_goal;

    ASSERT(share > 0 && share < UTILIZATION_MAX);
    p->gogc_goal = goal_by_gogc(p);
    p->sweep_min = swept ? 0 : add_sat(heap_live, SWEEP_ROOM);
    p->runway = to_bytes(p->cons_mark * ((1 - share) / share) * (double)gcrt_pacer_expected(p));
}

struct pacer_workers
gcrt_pacer_workers(const struct pacer *p)
{
    double want = p->utilization_goal * p->procs;
    struct pacer_workers w = { .dedicated = (unsigned)(want + 0.5), .fractional = 0 };
    double error = w.dedicated / want - 1;

    if (error >= -DEDICATED_ERROR && error <= DEDICATED_ERROR)
        return w;
    if (w.dedicated > want)
        w.dedicated--;
    w.fractional = (want - w.dedicated) / p->procs;
    return w;
}

/* ---- a cycle ---- */

/*
 * What the plan leaves to be allocated while marking.  A cycle that starts late gets it too:
 * one huge object may take the heap far beyond its goal, and all mutators would pay for it.
 */
static uint64_t
planned_room(const struct pacer *p)
{
    return max_u64(gcrt_pacer_goal(p) - gcrt_pacer_trigger(p), RUNWAY_MIN);
}

void
gcrt_pacer_start_cycle(struct pacer *p, uint64_t heap_live, uint64_t globals_scan,
        unsigned procs)
{
    ASSERT(!p->in_cycle);
    p->by_trigger = heap_live >= gcrt_pacer_trigger(p);
    p->room = planned_room(p);
    p->triggered = heap_live;
    p->globals_scan = globals_scan;
    p->procs = procs == 0 ? 1 : procs;
    p->in_cycle = true;
}

/*
 * More was found than expected.  Stretch the goal so that the heap may grow by as much per
 * byte of work as was planned, but never beyond one more GOGC step, nor a memory limit.
 */
static uint64_t
stretched_goal(const struct pacer *p, uint64_t goal, uint64_t expected, uint64_t most)
{
    uint64_t gogc = p->gogc < 0 ? HARD_GOGC_IF_OFF : (uint64_t)p->gogc;
    uint64_t hard = add_sat(goal, percent_of(goal, gogc));
    double grow;

    hard = min_u64(hard, max_u64(p->limit_goal, goal));
    if (expected == 0)
        return hard;
    grow = (double)sub_sat(goal, p->triggered) / (double)expected * (double)most;
    return min_u64(add_sat(p->triggered, to_bytes(grow)), hard);
}

/*
 * The heap has outgrown its goal.  Where a memory limit set it, or lies just above it, there
 * is little more: a tenth more each time would be marked as born black, become part of the
 * next goal, and the heap would stay above a limit that it could return to.
 */
static uint64_t
passed_goal(const struct pacer *p, uint64_t goal)
{
    uint64_t limit = max_u64(p->limit_goal, goal);

    limit = add_sat(limit, percent_of(limit, LIMIT_PERCENT));
    return min_u64(to_bytes((double)goal * OVERSHOOT), limit);
}

/*
 * The plan is that this cycle scans in the heap what the last one did.  If that proves wrong,
 * by work done or by the heap's outgrowing its goal, plan for the worst case: everything in
 * the heap is alive.  Stacks are scanned before marking opens, so theirs is known.  (The
 * maximum with the work done is ours: the counters are snapshots, and scannable bytes may be
 * reported later than the work on them.)
 *
 * What workers have taken on for threads that never assist is no part of what the others pay
 * for.  Such a thread that allocates x bytes leaves x * work_per_byte to the workers, so
 * work left and bytes left shrink alike, and the ratio stays what it was.
 */
struct pacer_assist
gcrt_pacer_revise(const struct pacer *p, const struct pacer_progress *now)
{
    uint64_t expected = add_sat(add_sat(p->last_heap_scan, now->stack_scan), p->globals_scan);
    uint64_t most = add_sat(add_sat(now->heap_scan, now->stack_scan), p->globals_scan);
    uint64_t goal = gcrt_pacer_goal(p);
    double work_left, bytes_left;

    ASSERT(p->in_cycle);
    most = max_u64(most, now->work);
    if (now->work > expected) {
        goal = stretched_goal(p, goal, expected, most);
        expected = most;
    }
    if (now->heap_live > goal) {
        goal = passed_goal(p, goal);
        expected = most;
    }
    work_left = (double)max_u64(sub_sat(expected, add_sat(now->work, now->owed)), WORK_MIN);
    bytes_left = (double)max_u64(sub_sat(goal, now->heap_live), 1);
    return (struct pacer_assist){ work_left / bytes_left, bytes_left / work_left };
}

/*
 * Bytes allocated per byte scanned, had both had the same CPU time.  The mutators had what
 * marking left over; work on idle CPUs counts as marking but took nothing from them.
 */
static double
measured_cons_mark(const struct pacer *p, const struct pacer_outcome *out, uint64_t work)
{
    double cpu_ns = (double)out->mark_ns * p->procs;
    double busy = p->utilization_goal, idle = 0;

    if (out->mark_ns > 0) {
        busy = min_double(busy + (double)out->assist_ns / cpu_ns, UTILIZATION_MAX);
        idle = min_double((double)out->idle_ns / cpu_ns, 1 - busy);
    }
    return (double)(out->heap_live - p->triggered) * (busy + idle)
            / ((double)work * (1 - busy));
}

/*
 * The largest of the last measurements counts: a trigger that is a little early costs less
 * than one that is late.  Only cycles that the trigger started push old ones out: a periodic
 * or forced one says what an idle program allocates, and the next trigger will come when it
 * is idle no more.
 */
static void
learn(struct pacer *p, double measured)
{
    double *h = p->cons_mark_history;

    if (!p->by_trigger && measured <= p->cons_mark)
        return;
    p->cons_mark = measured;
    for (unsigned i = 0; i < PACER_HISTORY; i++) {
        if (h[i] > p->cons_mark)
            p->cons_mark = h[i];
    }
    for (unsigned i = 1; i < PACER_HISTORY; i++)
        h[i - 1] = h[i];
    h[PACER_HISTORY - 1] = measured;
}

void
gcrt_pacer_end_cycle(struct pacer *p, const struct pacer_outcome *out)
{
    uint64_t work = add_sat(add_sat(out->heap_work, out->stack_work), out->globals_work);

    ASSERT(p->in_cycle);
    if (out->heap_live > p->triggered && work > 0)
        learn(p, measured_cons_mark(p, out, work));
    p->heap_marked = out->heap_marked;
    p->last_heap_scan = out->heap_work;
    p->last_stack_scan = out->stack_work;
    p->in_cycle = false;
}

void
gcrt_pacer_abandon_cycle(struct pacer *p)
{
    p->in_cycle = false;
}
