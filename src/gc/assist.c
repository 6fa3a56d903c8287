/* SPDX-License-Identifier: MIT */
/*
 * Mark assist.
 *
 * Purpose: make allocation during marking pay for itself, so that the heap ends near its
 * goal however fast mutators allocate.
 * Place: malloc calls it in its slow paths; it drains work like a worker, in small bits.
 * Invariants: a mutator's private queue is empty when it leaves an assist, so it holds
 * nothing back from others; marking activity is counted while it works (I-ragged-done); no
 * object that it marked stays on its stack.
 * Concurrency: credit is a shared sum of scan bytes that workers did in advance; taking
 * from it may overdraw by a race, which only makes somebody pay later.
 * The ratio is two words that may be read from different updates; either is fine.
 * Cost: an assist ends after ASSIST_NS whatever is owed; what is left is owed on.  Beyond that
 * it takes what one step takes: 4 KiB of big objects, or 128 small ones (mark.h: brief), plus
 * 16 raw words.  Objects with a trace function above 2 KiB are left to the workers; how long
 * that of a smaller one takes is the host's.  Nobody queues for anything.
 *
 * A thread that never assists (gc_thread_set_assist) takes credit as others do.  What credit does
 * not cover is owed by the workers, whose share rises for it (worker.c), and what they owe is
 * not in the ratio that others pay, as long as the share can still rise (pacer.c, revise).
 * Source: Go's gcAssistAlloc (mgcmark.go), without its queue: a mutator that finds no work
 * goes on instead of sleeping, because then termination is near.
 */
#include "gc/assist.h"

#include "alloc/sweep.h"
#include "gc/limit.h"
#include "gc/listen.h"
#include "gc/stack.h"
#include "gc/trace.h"
#include "gc/worker.h"

#include <string.h>

#define ASSIST_NS    ((uint64_t)30 * 1000)
#define ASSIST_STEP  ((uint64_t)4 << 10)  /* scan bytes between looks at the clock */
#define WORK_MIN     ((int64_t)32 << 10)  /* scan bytes done at least, in advance */
#define CREDIT_MAX   (64.0 * (1 << 20))   /* bytes that one assist may earn at most */
#define THROTTLE_NS ((uint64_t)100 * 1000) /* a wait just above the goal */
#define TENTHS_MAX   ((uint64_t)10)         /* of the goal above it, beyond which waits stay */
#define GOAL_MIN     ((uint64_t)8 << 20)    /* a smaller goal is missed by a few runs */
#define THROTTLE_SPANS 64                  /* spans swept instead of waiting ... */
#define THROTTLE_STEP  8                   /* ... between looks at the clock */
#define DEBT_MAX     ((int64_t)4 << 20)   /* a debt beyond this is forgiven */
#define WANT_MAX     ((int64_t)1 << 48)   /* more than there is, for who never assists */

static double
load_double(const aword *w)
{
    uint64_t bits = aword_load_relaxed(w);
    double x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

static void
store_double(aword *w, double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof(bits));
    aword_store_relaxed(w, bits);
}

void
gcrt_assist_set_ratio(struct gc_heap *heap, double work_per_byte, double bytes_per_work)
{
    store_double(&heap->marking.bytes_per_work, bytes_per_work);
    store_double(&heap->marking.work_per_byte, work_per_byte);
}

/* Takes up to `want` scan bytes of the workers' credit. */
static int64_t
take_credit(struct gc_heap *heap, int64_t want)
{
    int64_t there = (int64_t)aword_load_relaxed(&heap->marking.credit);
    int64_t taken = there < want ? there : want;

    if (taken <= 0)
        return 0;
    aword_add_relaxed(&heap->marking.credit, (uint64_t)0 - (uint64_t)taken);
    aword_add_relaxed(&heap->marking.taken, (uint64_t)taken);
    return taken;
}

/* What one assist took: wall time for whoever waits for the thread, CPU time for the books. */
static void
count_assist(struct gcrt_mutator *m, uint64_t wall_ns, uint64_t cpu_ns)
{
    struct gc_heap *heap = m->heap;
    struct thread_account *a = &m->account;

    a->assists++;
    a->assist_ns += cpu_ns;
    a->cycle_assist_ns += cpu_ns;
    a->assist_max_ns = max_size(a->assist_max_ns, cpu_ns);
    aword_add_relaxed(&heap->marking.assist_ns, cpu_ns);
    timehist_add(&heap->counters.assist, wall_ns);
    listen_note_pause(heap, m->tid, wall_ns);
    timehist_add(&heap->counters.assist_cpu, cpu_ns);
}

/* Marks for about `want` scan bytes, at most ASSIST_NS long. */
static int64_t
work_off(struct gcrt_mutator *m, int64_t want)
{
    struct gc_heap *heap = m->heap;
    uint64_t start = gcrt_os_now_ns(), cpu = gcrt_os_thread_cpu_ns();
    int64_t done = 0;

    chaos_point(&heap->os, CHAOS_ASSIST_BEGIN);
    gcrt_marking_begin(heap);
    do {
        uint64_t n = gcrt_mark_drain(&m->marker, ASSIST_STEP);

        done += (int64_t)n;
        if (n < ASSIST_STEP)
            break; /* no work in reach */
    } while (done < want && gcrt_os_now_ns() - start < ASSIST_NS);
    (void)gcrt_marker_flush(&m->marker);
    gcrt_marking_end(heap);
    gcrt_stack_wipe();
    aword_add_relaxed(&heap->marking.charged, (uint64_t)done);
    count_assist(m, gcrt_os_now_ns() - start, gcrt_os_thread_cpu_ns() - cpu);
    TRACE(heap, assist, start, (uint64_t)done, 0);
    return done;
}

/* The workers do it, beyond what they do for everybody. */
static int64_t
leave_to_workers(struct gc_heap *heap, int64_t want)
{
    aword_add_relaxed(&heap->marking.owed, (uint64_t)want);
    return want;
}

/* The scan bytes that m owes; done in advance, too, unless it is not to do them itself. */
static int64_t
wanted(struct gcrt_mutator *m)
{
    int64_t least = m->never_assists ? 1 : WORK_MIN;
    double want;

    if (m->credit < -DEBT_MAX && !m->never_assists)
        m->credit = -DEBT_MAX;
    want = (double)-m->credit * load_double(&m->heap->marking.work_per_byte);
    if (want < (double)least)
        return least;
    return want < (double)WANT_MAX ? (int64_t)want : WANT_MAX;
}

void
gcrt_assist(struct gcrt_mutator *m)
{
    struct gc_heap *heap = m->heap;
    double bytes_per_work = load_double(&heap->marking.bytes_per_work);
    int64_t want, done;
    double gain;

    if (!ahalf_load_acquire(&heap->marking.open)) /* pairs: mark.open */
        return;
    if (limit_is_given_up(heap))
        return;
    want = wanted(m);
    done = take_credit(heap, want);
    if (done < want && m->never_assists)
        done += leave_to_workers(heap, want - done);
    else if (done < want)
        done += work_off(m, want - done);
    gain = (double)done * bytes_per_work;
    m->credit += gain < CREDIT_MAX ? (int64_t)gain + 1 : (int64_t)CREDIT_MAX;
}

void
gcrt_assist_end_cycle(struct gcrt_mutator *m)
{
    struct counters *c = &m->heap->counters;

    if (m->account.cycle_assist_ns == 0)
        return;
    timehist_add(&c->assist_threads, m->account.cycle_assist_ns);
    m->account.cycle_assist_ns = 0;
}

/* ---- above the goal ---- */

static bool
sweep_some(struct gc_heap *heap)
{
    uint64_t start = gcrt_os_now_ns();
    unsigned n = 0, step = THROTTLE_STEP;

    critical_enter();
    while (n < THROTTLE_SPANS && step == THROTTLE_STEP && gcrt_os_now_ns() - start < ASSIST_NS) {
        step = gcrt_sweep_some(&heap->mheap, THROTTLE_STEP);
        n += step;
    }
    critical_leave();
    return n != 0;
}

/*
 * How long to wait for the next run: 100 us just above the goal, growing with the square of
 * the excess, to 10 ms at twice the goal.  Where threads allocate and the collector cannot get
 * the CPU, that is what holds the heap: short waits let each thread take its run 10,000 times a
 * second.  Twice for a run of more than a page.
 */
static uint64_t
throttle_ns(struct gc_heap *heap, uint64_t bytes)
{
    uint64_t base = bytes > PAGE_SIZE ? 2 * THROTTLE_NS : THROTTLE_NS;
    uint64_t goal = aword_load_relaxed(&heap->cycles.goal) + 1;
    uint64_t live = mheap_live(&heap->mheap), tenths;

    if (live <= goal)
        return base;
    tenths = (live - goal) / ((goal > GOAL_MIN ? goal : GOAL_MIN) / 10);
    tenths = tenths < TENTHS_MAX ? tenths : TENTHS_MAX;
    return base * (1 + tenths * tenths);
}

/*
 * Allocation has outrun the collector, which happens when more threads allocate than there
 * are CPUs: then its threads wait for theirs.  One bounded wait per run taken hands them
 * the CPU; being outside meanwhile also lets the workers count it as idle.
 */
void
gcrt_throttle(struct gcrt_mutator *m)
{
    struct gc_heap *heap = m->heap;
    unsigned seen = ahalf_load_acquire(&heap->cycles.swept);
    uint64_t bytes = m->over_goal, start, ns;

    m->over_goal = 0;
    if (m->never_assists || limit_is_given_up(heap))
        return;
    if (ahalf_load_acquire(&heap->cycles.phase) == PHASE_SWEEPING && sweep_some(heap))
        return;
    start = gcrt_os_now_ns();
    gc_block_enter();
    gcrt_os_wait(&heap->cycles.swept, seen, throttle_ns(heap, bytes));
    gc_block_leave();
    ns = gcrt_os_now_ns() - start;
    m->account.waits++;
    m->account.wait_ns += ns;
    timehist_add(&heap->counters.throttle, ns);
    listen_note_pause(heap, m->tid, ns);
    TRACE(heap, wait, start, 0, 0);
    aword_add_relaxed(&heap->counters.throttles, 1);
}
