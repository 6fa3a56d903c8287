/* SPDX-License-Identifier: MIT */
/*
 * The pacer: any stream of calls in their documented order, with any numbers.
 *
 * Oracle: after each call no number is a NaN or an infinity, heap_marked <= trigger <= goal,
 * without a memory limit nothing triggers below what sweeping needs, a cycle that runs keeps
 * room before its goal, GOGC's own formula holds for the goal, GOGC off means never, assist
 * ratios are positive and each other's inverse, and worker shares lie near what was asked
 * for, so that marking never starves.
 */
#include "fuzz.h"

#include <math.h>

#include "gc/pacer.h"

static bool
is_sound(double x)
{
    return isfinite(x) && x >= 0;
}

/* The lowest goal that GOGC allows, in 128 bits and cut off at PACER_NONE. */
static uint64_t
goal_by_hand(const struct pacer *p)
{
    unsigned __int128 marked = p->heap_marked, roots, growth, least;

    if (p->gogc < 0)
        return PACER_NONE;
    roots = (unsigned __int128)p->last_stack_scan + p->globals_scan;
    if (roots > UINT64_MAX)
        roots = UINT64_MAX;
    growth = marked + roots;
    if (growth > UINT64_MAX)
        growth = UINT64_MAX;
    growth = growth * (uint64_t)p->gogc / 100;
    least = (unsigned __int128)p->heap_min * (uint64_t)p->gogc / 100;
    growth += marked;
    growth = growth > least ? growth : least;
    return growth > UINT64_MAX ? UINT64_MAX : (uint64_t)growth;
}

static void
check_goal(const struct pacer *p)
{
    uint64_t goal = gcrt_pacer_goal(p), trigger = gcrt_pacer_trigger(p);

    FUZZ_CHECK(p->heap_marked <= trigger, "trigger %llu below the marked heap %llu",
            (unsigned long long)trigger, (unsigned long long)p->heap_marked);
    FUZZ_CHECK(trigger <= goal, "trigger %llu above the goal %llu",
            (unsigned long long)trigger, (unsigned long long)goal);
    if (p->limit_goal >= p->gogc_goal && goal != PACER_NONE)
        FUZZ_CHECK(trigger >= p->sweep_min, "no room to sweep: %llu < %llu",
                (unsigned long long)trigger, (unsigned long long)p->sweep_min);
    if (p->limit_goal >= p->gogc_goal && p->in_cycle)
        FUZZ_CHECK(goal > p->triggered || goal == PACER_NONE, "no room to mark");
    if (p->gogc < 0 && p->limit_goal == PACER_NONE)
        FUZZ_CHECK(goal == PACER_NONE && trigger == PACER_NONE, "off is not never");
}

static void
check_state(const struct pacer *p)
{
    FUZZ_CHECK(is_sound(p->cons_mark), "cons_mark %g", p->cons_mark);
    for (unsigned i = 0; i < PACER_HISTORY; i++)
        FUZZ_CHECK(is_sound(p->cons_mark_history[i])
                        && p->cons_mark_history[i] <= p->cons_mark,
                "history %g, cons_mark %g", p->cons_mark_history[i], p->cons_mark);
    check_goal(p);
}

static void
check_committed(const struct pacer *p)
{
    uint64_t want = goal_by_hand(p);

    FUZZ_CHECK(p->gogc_goal == want, "goal %llu is not %llu",
            (unsigned long long)p->gogc_goal, (unsigned long long)want);
}

static void
check_workers(const struct pacer *p)
{
    struct pacer_workers w = gcrt_pacer_workers(p);
    double want = p->utilization_goal * p->procs;
    double got = w.dedicated + w.fractional * p->procs;

    FUZZ_CHECK(w.fractional >= 0 && w.fractional <= 1 && isfinite(w.fractional), "share %g",
            w.fractional);
    FUZZ_CHECK(got > 0, "nobody marks on %u CPUs", p->procs);
    FUZZ_CHECK(
            got >= want * 0.699 && got <= want * 1.301, "%g CPUs instead of %g", got, want);
}

static void
check_revise(const struct pacer *p, struct input *in)
{
    struct pacer_progress now;
    struct pacer_assist a;

    now.heap_live = take_number(in);
    now.heap_scan = take_number(in);
    now.stack_scan = take_number(in);
    now.work = take_number(in);
    now.owed = take_number(in);
    a = gcrt_pacer_revise(p, &now);
    FUZZ_CHECK(isfinite(a.work_per_byte) && a.work_per_byte > 0, "%g", a.work_per_byte);
    FUZZ_CHECK(isfinite(a.bytes_per_work) && a.bytes_per_work > 0, "%g", a.bytes_per_work);
    FUZZ_CHECK(fabs(a.work_per_byte * a.bytes_per_work - 1) < 1e-9, "no inverses: %g %g",
            a.work_per_byte, a.bytes_per_work);
}

static void
end_cycle(struct pacer *p, struct input *in)
{
    struct pacer_outcome out;

    out.heap_live = take_number(in);
    out.heap_marked = take_number(in);
    out.heap_work = take_number(in);
    out.stack_work = take_number(in);
    out.globals_work = take_number(in);
    out.mark_ns = take_number(in);
    out.assist_ns = take_number(in);
    out.idle_ns = take_number(in);
    gcrt_pacer_end_cycle(p, &out);
    gcrt_pacer_commit(p, out.heap_live, false);
    FUZZ_CHECK(p->heap_marked == out.heap_marked, "the marked heap was not taken over");
    check_committed(p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct pacer p;
    int64_t gogc = (int64_t)(take_number(&in) % ((uint64_t)INT32_MAX + 2)) - 1;
    uint64_t heap_min = take_number(&in), live;

    gcrt_pacer_init(&p, gogc, heap_min, take16(&in));
    check_committed(&p);
    while (more(&in)) {
        switch (take8(&in) % 6) {
        case 0:
            gogc = (int64_t)(take_number(&in) % ((uint64_t)INT32_MAX + 2)) - 1;
            live = take_number(&in);
            gcrt_pacer_set_gogc(&p, gogc, live, take8(&in) % 2 != 0);
            check_committed(&p);
            break;
        case 1:
            live = take_number(&in);
            gcrt_pacer_commit(&p, live, take8(&in) % 2 != 0);
            check_committed(&p);
            break;
        case 2:
            if (!p.in_cycle) {
                live = take_number(&in);
                gcrt_pacer_start_cycle(&p, live, take_number(&in), take16(&in));
            }
            break;
        case 3:
            if (p.in_cycle)
                check_revise(&p, &in);
            break;
        case 4:
            if (p.in_cycle)
                end_cycle(&p, &in);
            break;
        default: /* what a memory limit would set */
            p.limit_goal = take8(&in) % 2 != 0 ? take_number(&in) : PACER_NONE;
            break;
        }
        check_state(&p);
        check_workers(&p);
    }
    return 0;
}
