/* SPDX-License-Identifier: MIT */
/*
 * The cycle.
 *
 * Purpose: run collections, one after the other, on a thread of their own.
 * Place: malloc and the api ask for cycles; it calls handshake, worker, roots, sweep, pacer.
 * Invariants, each at its step below: I-barrier-first, I-settle, I-own-snapshot,
 * I-ragged-done, I-no-late-mark.  A cycle starts only when the last one's sweep is complete.
 * Concurrency: the coordinator alone runs handshakes, opens and closes marking, and
 * advances sweepgen.  The pacer is its own, but for GOGC changes, hence RANK_CYCLE.
 * Requests are bits in one word and a futex bell; waiters wait on the count of complete
 * cycles.
 * Cost: mutators pay the handshakes; all else is the coordinator's and the workers' time.
 *
 * tests/model has the protocol; tests/model/steps.txt the names of the steps in order.
 */
#include "gc/cycle.h"

#include "alloc/sweep.h"
#include "gc/assist.h"
#include "gc/checkmark.h"
#include "gc/cleanup.h"
#include "gc/crew.h"
#include "gc/ephemeron.h"
#include "gc/fiber.h"
#include "gc/fork.h"
#include "gc/handshake.h"
#include "gc/intern.h"
#include "gc/limit.h"
#include "gc/listen.h"
#include "gc/look.h"
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

/* Until no work is visible and nobody marks. */
static void
wait_until_quiet(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct marking *mk = &heap->marking;

    for (;;) {
        unsigned seen = ahalf_load_acquire(&mk->idle_bell);
        bool idle;

        gcrt_solo_mark(heap);
        if (gcrt_marking_is_quiet(heap))
            return;
        idle = (uint32_t)aword_load_acquire(&mk->activity) == 0;
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
 */
static void
mark_to_the_end(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct handshake *hs = &heap->handshake;

    for (;;) {
        wait_until_quiet(cy);
        chaos_point(&heap->os, CHAOS_TERMINATE);
        ahalf_store_full(&hs->flushed, 0); /* full: before the look at the queues */
        if (!gcrt_marking_is_quiet(heap))
            continue;
        if (heap_is_stopped(heap)) {
            gcrt_weak_decide_stopped(heap);
            return; /* nobody holds anything privately */
        }
        gcrt_weak_close(heap);
        gcrt_handshake_run(heap, ACTION_FLUSH); /* H4 */
        /* In this order: a marker says that it marked before it counts itself out. */
        if (gcrt_marking_is_quiet(heap) && !ahalf_load_acquire(&hs->flushed)
                && gcrt_weak_decide(heap))
            return;
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
    gcrt_crew_look(heap); /* for what has become due, and what was left */
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
run_cycle(struct gc_heap *heap, bool forced)
{
    struct cycle cy = { .heap = heap, .report.forced = forced };
    uint64_t start = gcrt_os_now_ns();

    aword_add_full(&heap->cycles.started, 1); /* full: see wait_for_cycle */
    gcrt_verify_at(heap, VERIFY_IDLE);
    gcrt_wbcheck_cycle(heap, false);
    ahalf_store_relaxed(&heap->marking.awaited, forced);
    gcrt_listen_tell(heap, GC_EVENT_CYCLE_BEGIN, 0);
    trace_heap(heap);
    start_cycle(&cy);
    mark_to_the_end(&cy);
    cy.end_mark_ns = gcrt_os_now_ns();
    end_marking(&cy);
    gcrt_pace_end(&cy);
    gcrt_listen_tell(heap, GC_EVENT_MARKED, gcrt_os_now_ns() - start);
    trace_heap(heap);
    if (heap->on_cycle != NULL)
        tell_host(heap, &cy.report);
    finish_sweep(heap);
    gcrt_verify_at(heap, VERIFY_IDLE);
    TRACE(heap, cycle, start, aword_load_relaxed(&heap->cycles.started), forced);
    trace_heap(heap);
    /* First, so that who has called gc_collect finds its listeners told. */
    gcrt_listen_tell(heap, GC_EVENT_CYCLE_END, gcrt_os_now_ns() - start);
    announce_complete(heap);
    gcrt_limit_cycle_done(heap);
    gcrt_scavenger_swept(heap);
    gcrt_populator_swept(heap);
}

/* ---- the coordinator ---- */

static unsigned
take_requests(struct cycles *c)
{
    unsigned wanted;

    do
        wanted = ahalf_load_acquire(&c->wanted);
    while (!ahalf_cas_full(&c->wanted, wanted, 0));
    return wanted;
}

/* Sleeps until somebody asks, or until it is time for a periodic cycle (then true). */
static bool
wait_for_request(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;
    uint64_t period = (uint64_t)heap->options.periodic_ms * 1000000u;
    uint64_t until = gcrt_os_now_ns() + period, now;
    unsigned seen = ahalf_load_acquire(&c->bell);

    while (ahalf_load_acquire(&c->wanted) == 0) {
        now = gcrt_os_now_ns();
        if (period != 0 && now >= until)
            return (int64_t)aword_load_relaxed(&c->gogc) >= 0;
        gcrt_fork_rest_wait(heap, &c->bell, seen, period == 0 ? UINT64_MAX : until - now);
        seen = ahalf_load_acquire(&c->bell);
    }
    return false;
}

/* Is a cycle due?  The pacer's requests may be older than the last cycle. */
static bool
is_due(struct gc_heap *heap, unsigned wanted)
{
    if (wanted & (CYCLE_FORCED | CYCLE_STRESS))
        return true;
    if ((wanted & CYCLE_REGION) && gcrt_region_is_due(heap))
        return true;
    return (wanted & CYCLE_BY_PACER)
        && gcrt_pace_live(heap) >= aword_load_relaxed(&heap->cycles.trigger);
}

/*
 * In a forked child: the parent's cycle is brought to an end (fork.c).  If this process
 * forks in the meantime, its child begins again.
 */
static void
finish_inherited(struct gc_heap *heap)
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

/* Goes on counting where the coordinator of the parent stopped, if there was one. */
static void
inherit(struct gc_heap *heap)
{
    struct counters *n = &heap->counters;

    gcrt_fork_rest_end(heap);
    critical_set(); /* for good: a fork in the log function is none of ours */
    heap->cycles.cpu_base
            = aword_load_relaxed(&n->coordinator_ns) + aword_load_relaxed(&n->sweep_ns);
    if (heap->ps.generation > 1)
        finish_inherited(heap);
}

static void *
coordinator_main(void *arg)
{
    struct gc_heap *heap = arg;
    struct cycles *c = &heap->cycles;

    gcrt_os_thread_nice(heap->options.nice); /* its children, the workers, inherit it */
    gcrt_os_thread_begin("gcrt-cycle");
    ahalf_store_relaxed(&c->tid, (unsigned)gcrt_os_thread_id());
    gcrt_trace_thread_begin();
    inherit(heap);
    for (;;) {
        bool periodic = wait_for_request(heap);
        unsigned wanted = take_requests(c);

        if (wanted & CYCLE_LOOK)
            gcrt_look_serve(heap);
        if (wanted & CYCLE_SHUT_DOWN)
            return NULL;
        if (wanted & CYCLE_INTERN_GROW)
            gcrt_intern_grow(heap);
        if (wanted & CYCLE_POPULATE)
            gcrt_populator_start(heap);
        if (!periodic && !is_due(heap, wanted))
            continue;
        if ((wanted & (CYCLE_FORCED | CYCLE_STRESS)) == 0)
            gcrt_limit_hold_back(heap);
        run_cycle(heap, (wanted & CYCLE_FORCED) != 0);
    }
}

bool
gcrt_cycle_is_coordinator(const struct gc_heap *heap)
{
    return ahalf_load_relaxed(&heap->cycles.tid) == (unsigned)gcrt_os_thread_id();
}

/* Makes the coordinator if there is none.  False if the OS has no thread. */
static bool
start_coordinator(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;
    bool ok = ahalf_load_acquire(&c->running) != 0; /* pairs: coordinator.start */

    if (LIKELY(ok))
        return true;
    gcrt_lock_acquire(&c->lock);
    ok = ahalf_load_relaxed(&c->running) != 0
        || gcrt_os_thread_start(&heap->os, &c->thread, coordinator_main, heap);
    if (ok)
        ahalf_store_release(&c->running, 1); /* pairs: coordinator.start */
    gcrt_lock_release(&c->lock);
    return ok;
}

bool
gcrt_cycles_init(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;

    gcrt_lock_init(&c->lock, RANK_CYCLE);
    gcrt_pacer_init(&c->pacer, heap->options.gogc, heap->options.heap_min, heap->cpus);
    aword_store_relaxed(&c->gogc, (uint64_t)heap->options.gogc);
    aword_store_relaxed(&c->heap_min, heap->options.heap_min);
    gcrt_pace_limit_changed(heap); /* the first goal and trigger */
    ahalf_store_relaxed(&c->stress, heap->options.debug_stress);
    if (!gcrt_checkmark_init(heap)) {
        gcrt_lock_finish(&c->lock);
        return false;
    }
    ahalf_store_relaxed(&c->at_rest, 1);
    if (start_coordinator(heap))
        return true;
    gcrt_checkmark_finish(heap);
    gcrt_lock_finish(&c->lock);
    return false;
}

void
gcrt_cycles_finish(struct gc_heap *heap)
{
    if (ahalf_load_acquire(&heap->cycles.running)) { /* pairs: coordinator.start */
        gcrt_cycle_request(heap, CYCLE_SHUT_DOWN);
        gcrt_os_thread_join(heap->cycles.thread);
    }
    gcrt_scavenger_finish(heap);
    gcrt_populator_finish(heap);
    gcrt_checkmark_finish(heap);
    gcrt_lock_finish(&heap->cycles.lock);
}

/* ---- those who ask ---- */

bool
gcrt_cycle_can_run(struct gc_heap *heap)
{
    return start_coordinator(heap);
}

bool
gcrt_cycle_request(struct gc_heap *heap, unsigned why)
{
    struct cycles *c = &heap->cycles;
    unsigned wanted;

    if (!start_coordinator(heap))
        return false;
    do {
        wanted = ahalf_load_relaxed(&c->wanted);
        if ((wanted & why) == why)
            return true; /* asked already; the bell was rung then */
    } while (!ahalf_cas_full(&c->wanted, wanted, wanted | why));
    ahalf_add_full(&c->bell, 1);
    gcrt_os_wake(&c->bell, 1);
    return true;
}

void
gcrt_cycle_stress(struct gc_heap *heap)
{
    ahalf *left = &heap->cycles.stress;

    if (ahalf_add_full(left, (unsigned)-1) != 1)
        return;
    ahalf_store_relaxed(left, heap->options.debug_stress);
    gcrt_cycle_request(heap, CYCLE_STRESS);
}

/*
 * A cycle that has been counted as started may have scanned us already, so the next one is
 * meant.  One that takes our request has not been counted yet when we read, or counts as
 * one of which we also wait for the successor: later than needed, never earlier.
 */
static void
wait_for_cycle(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;
    unsigned target = (unsigned)aword_load_acquire(&c->started) + 1, done;

    if (gcrt_cycle_is_coordinator(heap))
        gcrt_fatal("a collection was asked for by a listener, on_limit or log, on the collector's "
                   "thread");
    if (!gcrt_cycle_request(heap, CYCLE_FORCED)) {
        gcrt_warn("no collection: the OS has no thread for the collector of a forked process");
        return;
    }
    while ((int)((done = ahalf_load_acquire(&c->swept)) - target) < 0) /* cycle.complete */
        gcrt_os_wait(&c->swept, done, UINT64_MAX);
}

void
gcrt_cycle_collect(struct gc_heap *heap)
{
    bool attached = gc_impl_self.mutator != NULL;

    if (attached)
        gc_block_enter();
    wait_for_cycle(heap);
    if (attached)
        gc_block_leave();
}

size_t
gcrt_cycle_collect_and_free(struct gc_heap *heap)
{
    bool attached = gc_impl_self.mutator != NULL;
    size_t bytes;

    if (attached)
        gc_block_enter();
    wait_for_cycle(heap);
    bytes = gcrt_scavenger_all(heap);
    if (attached)
        gc_block_leave();
    return bytes;
}
