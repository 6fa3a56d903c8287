/* SPDX-License-Identifier: MIT */
/*
 * Mark assist.
 *
 * Purpose: make allocation during marking pay for itself, so that the heap ends near its
 * goal however fast mutators allocate.
 * Place: malloc calls it in its slow paths; it drains work like a worker, in small bits.
 * Invariants: a mutator's private queue is empty when it leaves an assist, so it holds
 * nothing back from others; marking activity is counted while it works (I-ragged-done).
 * Concurrency: credit is a shared sum of scan bytes that workers did in advance; taking
 * from it may overdraw by a race, which only makes somebody pay later.
 * The ratio is two words that may be read from different updates; either is fine.
 * Cost: an assist ends after ASSIST_NS whatever is owed; what is left is owed on.
 * Source: Go's gcAssistAlloc (mgcmark.go), without its queue: a mutator that finds no work
 * goes on instead of sleeping, because then termination is near.
 */
#include "gc/assist.h"

#include "alloc/sweep.h"
#include "gc/worker.h"

#include <string.h>

#define ASSIST_NS    ((uint64_t)40 * 1000)
#define ASSIST_STEP  ((uint64_t)16 << 10) /* scan bytes between looks at the clock */
#define WORK_MIN     ((int64_t)16 << 10)  /* scan bytes done at least, in advance */
#define CREDIT_MAX   (64.0 * (1 << 20))   /* bytes that one assist may earn at most */
#define THROTTLE_NS ((uint64_t)100 * 1000) /* a wait just above the goal */
#define TENTHS_MAX   ((uint64_t)10)         /* of the goal above it, beyond which waits stay */
#define GOAL_MIN     ((uint64_t)8 << 20)    /* a smaller goal is missed by a few runs */
#define THROTTLE_SPANS 64                  /* spans swept instead of waiting */
#define DEBT_MAX     ((int64_t)4 << 20)   /* a debt beyond this is forgiven */

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
    return taken;
}

/* Marks for about `want` scan bytes, at most ASSIST_NS long. */
static int64_t
work_off(struct gcrt_mutator *m, int64_t want)
{
    struct gc_heap *heap = m->heap;
    uint64_t start = gcrt_os_now_ns(), ns;
    int64_t done = 0;

    gcrt_marking_begin(heap);
    do {
        uint64_t n = gcrt_mark_drain(&m->marker, ASSIST_STEP);

        done += (int64_t)n;
        if (n < ASSIST_STEP)
            break; /* no work in reach */
    } while (done < want && gcrt_os_now_ns() - start < ASSIST_NS);
    (void)gcrt_marker_flush(&m->marker);
    gcrt_marking_end(heap);
    ns = gcrt_os_now_ns() - start;
    aword_add_relaxed(&heap->marking.assist_ns, ns);
    timehist_add(&heap->counters.assist, ns);
    return done;
}

void
gcrt_assist(struct gcrt_mutator *m)
{
    struct gc_heap *heap = m->heap;
    double work_per_byte = load_double(&heap->marking.work_per_byte);
    double bytes_per_work = load_double(&heap->marking.bytes_per_work);
    int64_t want, done;
    double gain;

    if (!ahalf_load_acquire(&heap->marking.open)) /* pairs: mark.open */
        return;
    if (m->credit < -DEBT_MAX)
        m->credit = -DEBT_MAX;
    want = (int64_t)((double)-m->credit * work_per_byte);
    want = want < WORK_MIN ? WORK_MIN : want;
    done = take_credit(heap, want);
    if (done < want)
        done += work_off(m, want - done);
    gain = (double)done * bytes_per_work;
    m->credit += gain < CREDIT_MAX ? (int64_t)gain + 1 : (int64_t)CREDIT_MAX;
}

/* ---- above the goal ---- */

static bool
sweep_some(struct gc_heap *heap)
{
    int n = 0;

    critical_enter();
    while (n < THROTTLE_SPANS && gcrt_sweep_one(&heap->mheap))
        n++;
    critical_leave();
    return n != 0;
}

/*
 * How long to wait for the next run: 100 us just above the goal, growing with the square of
 * the excess, to 10 ms at twice the goal.  Where threads allocate and the collector cannot get
 * the CPU, that is what holds the heap: short waits let each thread take its run 10,000 times a
 * second.
 */
static uint64_t
throttle_ns(struct gc_heap *heap)
{
    uint64_t goal = aword_load_relaxed(&heap->cycles.goal) + 1;
    uint64_t live = aword_load_relaxed(&heap->mheap.live), tenths;

    if (live <= goal || live >> 63 != 0)
        return THROTTLE_NS;
    tenths = (live - goal) / ((goal > GOAL_MIN ? goal : GOAL_MIN) / 10);
    tenths = tenths < TENTHS_MAX ? tenths : TENTHS_MAX;
    return THROTTLE_NS * (1 + tenths * tenths);
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

    m->over_goal = false;
    if (ahalf_load_acquire(&heap->cycles.phase) == PHASE_SWEEPING && sweep_some(heap))
        return;
    aword_add_relaxed(&heap->counters.throttles, 1);
    gc_block_enter();
    gcrt_os_wait(&heap->cycles.swept, seen, throttle_ns(heap));
    gc_block_leave();
}
