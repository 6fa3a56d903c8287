/* SPDX-License-Identifier: MIT */
/*
 * The cycle.
 *
 * Purpose: the steps of a collection, in their order.
 * Place: the coordinator runs cycles, one after the other (coordinator.c), or a thread that
 * allocates runs a small one (drive.c); it calls handshake, worker, roots, sweep, pacer.
 * Invariants, each at its step below: I-barrier-first, I-settle, I-own-snapshot,
 * I-ragged-done, I-no-late-mark.  A cycle starts only when the last one's sweep is complete.
 * Concurrency: whoever sits in the coordinator's seat (seat.h), in short the coordinator, alone
 * runs handshakes, opens and closes marking, and advances sweepgen.  The pacer is its own, but for
 * GOGC changes, hence RANK_CYCLE.
 * Cost: mutators pay the handshakes; all else is the coordinator's and the workers' time.
 *
 * What one cycle knows is in the heap, so that who has begun it may leave the rest to the
 * coordinator.
 *
 * tests/model has the protocol; tests/model/steps.txt the names of the steps in order.
 */
#include "gc/cycle.h"

#include "alloc/sweep.h"
#include "gc/assist.h"
#include "gc/checkmark.h"
#include "gc/cleanup.h"
#include "gc/crew.h"
#include "gc/drive.h"
#include "gc/ephemeron.h"
#include "gc/fiber.h"
#include "gc/fork.h"
#include "gc/handshake.h"
#include "gc/intern.h"
#include "gc/limit.h"
#include "gc/listen.h"
#include "gc/mutator.h"
#include "gc/pace.h"
#include "gc/pool.h"
#include "gc/populator.h"
#include "gc/profile.h"
#include "gc/region.h"
#include "gc/roots.h"
#include "gc/scavenger.h"
#include "gc/solo.h"
#include "gc/trace.h"
#include "gc/verify.h"
#include "gc/wbcheck.h"
#include "gc/weak.h"
#include "gc/worker.h"

/* How often the assist ratio is brought up to date while marking. */
#define REVISE_NS ((uint64_t)1000 * 1000)
/* Spans swept at a time: a fork waits for so many. */
#define SWEEP_BATCH 64

static void
set_phase(struct gc_heap *heap, enum phase phase)
{
    ahalf_store_release(&heap->cycles.phase, phase);
    TRACE(heap, phase, 0, aword_load_relaxed(&heap->cycles.started), phase);
}

static void
set_marks(struct gc_heap *heap, enum marks marks)
{
    ahalf_store_relaxed(&heap->cycles.marks, marks);
}

/* ---- H1 to H3 ---- */

static void
reset_marking(struct marking *mk)
{
    aword_store_relaxed(&mk->marked_bytes, 0);
    aword_store_relaxed(&mk->heap_work, 0);
    aword_store_relaxed(&mk->stack_work, 0);
    aword_store_relaxed(&mk->globals_work, 0);
    aword_store_relaxed(&mk->assist_ns, 0);
    aword_store_relaxed(&mk->worker_ns, 0);
    aword_store_relaxed(&mk->idle_ns, 0);
    aword_store_relaxed(&mk->extra_ns, 0);
    aword_store_relaxed(&mk->credit, 0);
    aword_store_relaxed(&mk->early, 0);
    aword_store_relaxed(&mk->owed, 0);
    aword_store_relaxed(&mk->taken, 0);
    aword_store_relaxed(&mk->charged, 0);
}

static void
open_marking(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct pacer_workers shares = gcrt_pacer_workers(&heap->cycles.pacer);

    ahalf_store_full(&heap->marking.open, 1); /* pairs: mark.open */
    gcrt_pace_revise(cy);
    gcrt_solo_begin(heap);
    gcrt_workers_start(heap, &shares);
}

static void
start_cycle(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;

    set_phase(heap, PHASE_STARTING);
    set_marks(heap, MARKS_PARTIAL);
    reset_marking(&heap->marking);
    gcrt_pace_start(cy);
    gcrt_workers_make(heap); /* while nobody is held who may have a lock of libc's */
    gcrt_checkmark_begin(heap);
    gcrt_weak_begin(heap);
    gcrt_ephemeron_begin(heap);
    gcrt_pools_turn_begin(heap);
    if (heap_stops(heap)) {
        gcrt_stop_all(heap); /* nothing changes until marking is complete */
        gcrt_pools_turn_end(heap);
    } else {
        gcrt_handshake_run(heap, ACTION_BARRIER_ON); /* H1 */
        gcrt_pools_turn_end(heap); /* as if idle Ps' mutators answered last */
        gcrt_handshake_run(heap, ACTION_SETTLE);     /* H2: I-settle */
        gcrt_handshake_run(heap, ACTION_SCAN);       /* H3: I-own-snapshot */
    }
    aword_add_relaxed(&heap->marking.globals_work, gcrt_roots_collect(heap));
    aword_add_relaxed(&heap->marking.globals_work, gcrt_special_collect(heap));
    aword_add_relaxed(&heap->marking.globals_work, gcrt_runner_collect(heap));
    gcrt_fibers_publish(heap);
    gcrt_pace_mark(cy);
    set_phase(heap, PHASE_MARKING);
    gcrt_verify_at(heap, VERIFY_SCANNED);
    gcrt_checkmark_open(heap);
    open_marking(cy); /* I-barrier-first: nothing has been marked before this */
}

/* ---- marking to its end ---- */

static void
trace_heap(struct gc_heap *heap)
{
    TRACE(heap, heap, 0, mheap_live(&heap->mheap),
            min_size(aword_load_relaxed(&heap->cycles.goal) >> 10, UINT32_MAX));
}

/*
 * Until no work is visible and nobody marks.  False: there is more to be marked than a thread that
 * drives does itself.
 */
static bool
wait_until_quiet(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct marking *mk = &heap->marking;

    for (;;) {
        unsigned seen = ahalf_load_acquire(&mk->idle_bell);
        bool idle;

        gcrt_solo_mark(heap);
        if (gcrt_marking_is_quiet(heap))
            return true;
        if (heap->cycles.driven && mk->solo == 0)
            return false;
        idle = (uint32_t)aword_load_acquire(&mk->activity) == 0;
        if (heap->cycles.driven && !idle)
            return false; /* nor does it wait for who marks */
        if (idle && !gcrt_work_is_in_reach(&heap->work))
            gcrt_work_open_late(&heap->work);
        if (idle && mk->solo == 0)
            gcrt_workers_ring(heap); /* work has come from a mutator, or was left */
        if (!idle || mk->solo == 0)
            gcrt_fork_rest_wait(heap, &mk->idle_bell, seen, REVISE_NS);
        gcrt_limit_tick(heap);
        gcrt_workers_revise(heap);
        gcrt_pace_revise(cy);
        trace_heap(heap);
    }
}

/*
 * I-ragged-done: all public work is done and nobody marks; then every mutator flushes what
 * it holds privately.  If nobody held anything, and nobody marked or scanned anything since
 * the round began, there is no grey object: the first one to shade a white object after its
 * own flush would have needed a grey one elsewhere, and that would have been flushed, or
 * scanned by an assist.  The last clause matters: a mutator may hold a grey object, scan it
 * in an assist before it answers, and answer with empty hands, while another one, which has
 * answered, has taken the object's child and overwritten the slot.
 * What two of them have shaded one may mark after its answer, and the other finds it marked in
 * its own; so a flush that marks says so before it does (gcrt_mark_shaded).
 * Who takes an unmarked object out of a weak place makes grey from nothing, and says so in the
 * decision word: the round does not count either (weak.c).
 *
 * False, between rounds, if it is to be gone on with by the coordinator.
 */
static bool
mark_to_the_end(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct handshake *hs = &heap->handshake;

    for (;;) {
        if (!wait_until_quiet(cy))
            return false;
        chaos_point(&heap->os, CHAOS_TERMINATE);
        ahalf_store_full(&hs->flushed, 0); /* full: before the look at the queues */
        if (!gcrt_marking_is_quiet(heap))
            continue;
        if (heap_is_stopped(heap)) {
            gcrt_weak_decide_stopped(heap);
            return true; /* nobody holds anything privately */
        }
        gcrt_weak_close(heap);
        gcrt_handshake_run(heap, ACTION_FLUSH); /* H4 */
        /* In this order: a marker says that it marked before it counts itself out. */
        if (gcrt_marking_is_quiet(heap) && !ahalf_load_acquire(&hs->flushed)
                && gcrt_weak_decide(heap))
            return true;
        gcrt_weak_reopen(heap);
        aword_add_relaxed(&heap->counters.terminations_retried, 1);
    }
}

/* ---- H5 and H6 ---- */

/* Whatever barriers still handed over between H4 and H5 is marked already. */
static void
drop_leftovers(struct gc_heap *heap)
{
    struct work *w = &heap->work;
    struct workqueue q = { .stack = 0 };
    struct workbuf *b;

    while ((b = gcrt_work_pop_raw(w)) != NULL)
        gcrt_work_put_empty(w, b);
    while (gcrt_work_pop_parked(w) != 0)
        continue;
    gcrt_work_open_late(w);
    while (gcrt_workqueue_refill(w, &q) || gcrt_workqueue_refill_aside(w, &q)
            || gcrt_workqueue_refill_late(w, &q))
        q.cur->n = 0;
    (void)gcrt_workqueue_publish(w, &q);
    gcrt_work_close_late(w);
}

/* Threads are started by the coordinator, which has nothing of the host's for them to inherit. */
static void
call_crew(struct gc_heap *heap)
{
    if (!heap->cycles.driven)
        gcrt_crew_look(heap);
    else if (gcrt_crew_is_wanted(heap))
        gcrt_cycle_request(heap, CYCLE_THREADS);
}

static void
end_marking(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;

    set_phase(heap, PHASE_ENDING);
    gcrt_assist_set_ratio(heap, 0, 0);
    gcrt_ephemeron_break(heap); /* what is weak and is no special: before any is ready */
    gcrt_intern_drop(heap);
    gcrt_verify_at(heap, VERIFY_MARKED);
    gcrt_checkmark_close(heap);
    chaos_point(&heap->os, CHAOS_WEAK_DECIDED);
    gcrt_special_empty_weak(heap); /* all of what is weak, then the rest: special.h */
    gcrt_special_ready(heap);
    gcrt_cleanups_due(heap);
    gcrt_wbcheck_cycle(heap, true); /* what is to be finalized is not dead */
    gcrt_profile_marked(heap);
    cy->dropped = aword_load_relaxed(&heap->mheap.dropped_live);
    ahalf_store_full(&heap->marking.open, 0);
    chaos_point(&heap->os, CHAOS_MARK_CLOSED);
    if (heap_is_stopped(heap))
        gcrt_resume_all(heap);
    else
        gcrt_handshake_run(heap, ACTION_BARRIER_OFF); /* H5 */
    call_crew(heap); /* for what has become due, and what was left */
    while ((uint32_t)aword_load_acquire(&heap->marking.activity) != 0)
        gcrt_os_yield(); /* a worker that is just finding out */
    drop_leftovers(heap);
    gcrt_weak_end(heap);
    gcrt_ephemeron_count(heap);
    gcrt_intern_free_gone(heap); /* H5: nobody looks at them any more */
    gcrt_verify_at(heap, VERIFY_CLOSED);
    gcrt_special_unwatch(heap);
    gcrt_scavenger_marked(heap);
    gcrt_pace_settle(cy);
    gcrt_region_settle(heap); /* before anything is swept */
    chaos_point(&heap->os, CHAOS_SWEEP_ADVANCE);
    /* I-no-late-mark: nobody can set a mark bit any more, so spans may be swept. */
    ahalf_store_full(&heap->mheap.sweepgen, /* pairs: sweepgen.advance */
            ahalf_load_relaxed(&heap->mheap.sweepgen) + 2);
    set_marks(heap, MARKS_FINAL);
    gcrt_handshake_run(heap, ACTION_FLUSH_CACHE); /* H6 */
    ahalf_store_relaxed(&heap->mheap.unswept, 1);
    gcrt_verify_at(heap, VERIFY_SWEEPING);
}

/* ---- one cycle ---- */

static void
sweep_all(struct gc_heap *heap)
{
    while (gcrt_sweep_some(&heap->mheap, SWEEP_BATCH) == SWEEP_BATCH)
        gcrt_fork_rest(heap);
    while (!gcrt_sweep_is_done(&heap->mheap))
        gcrt_os_yield(); /* a mutator is at its last span */
    ahalf_store_relaxed(&heap->mheap.unswept, 0);
}

static void
finish_sweep(struct gc_heap *heap)
{
    uint64_t cpu = gcrt_os_thread_cpu_ns();

    set_phase(heap, PHASE_SWEEPING);
    sweep_all(heap);
    aword_add_relaxed(&heap->counters.sweep_ns, gcrt_os_thread_cpu_ns() - cpu);
    gcrt_pace_swept(heap);
    gcrt_region_swept(heap);
    set_marks(heap, MARKS_NONE);
    set_phase(heap, PHASE_IDLE);
}

static void
announce_complete(struct gc_heap *heap)
{
    ahalf_add_full(&heap->cycles.swept, 1); /* pairs: cycle.complete */
    gcrt_os_wake(&heap->cycles.swept, INT32_MAX);
}

/* The host's function may wait for a lock of the host's that a thread has which forks. */
static void
tell_host(struct gc_heap *heap, const struct cycle_report *report)
{
    gcrt_fork_rest_begin(heap);
    heap->on_cycle(heap, report);
    gcrt_fork_rest_end(heap);
}

static void
begin_cycle(struct gc_heap *heap, bool forced)
{
    struct cycle *cy = heap->cycles.current;

    *cy = (struct cycle){ .heap = heap, .report.forced = forced, .begun_ns = gcrt_os_now_ns() };
    aword_store_relaxed(&heap->cycles.begun_ns, cy->begun_ns);
    aword_add_full(&heap->cycles.started, 1); /* full: see wait_for_cycle */
    gcrt_verify_at(heap, VERIFY_IDLE);
    gcrt_wbcheck_cycle(heap, false);
    ahalf_store_relaxed(&heap->marking.awaited, forced);
    gcrt_listen_tell(heap, GC_EVENT_CYCLE_BEGIN, 0);
    trace_heap(heap);
    start_cycle(cy);
}

static void
end_cycle(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;

    cy->end_mark_ns = gcrt_os_now_ns();
    end_marking(cy);
    gcrt_pace_end(cy);
    gcrt_listen_tell(heap, GC_EVENT_MARKED, gcrt_os_now_ns() - cy->begun_ns);
    trace_heap(heap);
    if (heap->on_cycle != NULL)
        tell_host(heap, &cy->report);
    finish_sweep(heap);
    gcrt_verify_at(heap, VERIFY_IDLE);
    TRACE(heap, cycle, cy->begun_ns, aword_load_relaxed(&heap->cycles.started),
            cy->report.forced);
    trace_heap(heap);
    /* First, so that who has called gc_collect finds its listeners told. */
    gcrt_listen_tell(heap, GC_EVENT_CYCLE_END, gcrt_os_now_ns() - cy->begun_ns);
    gcrt_drive_learn(heap);
    announce_complete(heap);
    gcrt_limit_cycle_done(heap);
    gcrt_scavenger_swept(heap);
    gcrt_populator_swept(heap);
}

bool
gcrt_cycle_go_on(struct gc_heap *heap)
{
    struct cycle *cy = heap->cycles.current;

    if (!mark_to_the_end(cy))
        return false;
    end_cycle(cy);
    return true;
}

bool
gcrt_cycle_run(struct gc_heap *heap, bool forced)
{
    begin_cycle(heap, forced);
    return gcrt_cycle_go_on(heap);
}

/* ---- what a forked child inherits ---- */

void
gcrt_cycle_finish_inherited(struct gc_heap *heap)
{
    enum marks marks = ahalf_load_relaxed(&heap->cycles.marks);

    gcrt_fork_drop_orphans(heap);
    drop_leftovers(heap);
    gcrt_ephemeron_forget(heap);
    gcrt_intern_free_gone(heap);
    if (marks == MARKS_PARTIAL) {
        gcrt_fork_clear_marks(heap);
        set_marks(heap, MARKS_NONE);
    } else if (marks == MARKS_FINAL) {
        gcrt_handshake_run(heap, ACTION_FLUSH_CACHE);
        finish_sweep(heap);
    }
}
