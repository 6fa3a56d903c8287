/* SPDX-License-Identifier: MIT */
/*
 * The coordinator.
 *
 * Purpose: a thread that runs a heap's cycles, and whatever else must not come in between them.
 * Place: malloc and the api ask; it calls cycle.
 * Invariants: what is asked for is done, once, in the seat (seat.h).  A caller of gc_collect gets a
 * cycle that began after its call.
 * Concurrency: requests are bits in one word and a futex bell; waiters wait on the count of
 * complete cycles.  tests/model/request.pml.
 * Cost: asleep, nothing.
 */
#include "gc/cycle.h"

#include "gc/checkmark.h"
#include "gc/crew.h"
#include "gc/drive.h"
#include "gc/fork.h"
#include "gc/intern.h"
#include "gc/limit.h"
#include "gc/log.h"
#include "gc/look.h"
#include "gc/mutator.h"
#include "gc/pace.h"
#include "gc/populator.h"
#include "gc/region.h"
#include "gc/scavenger.h"
#include "gc/seat.h"
#include "gc/trace.h"

/* Somebody runs a cycle just when a periodic one is due: then look again. */
#define PERIODIC_LATER_NS ((uint64_t)1000 * 1000)

/* ---- what is asked for ---- */

static unsigned
take_requests(struct cycles *c)
{
    unsigned wanted;

    do
        wanted = ahalf_load_acquire(&c->wanted);
    while (!ahalf_cas_full(&c->wanted, wanted, 0));
    return wanted;
}

/* How long to wait for a periodic cycle to be due; 0: it is. */
static uint64_t
periodic_wait(const struct gc_heap *heap, uint64_t since)
{
    uint64_t period = (uint64_t)heap->options.periodic_ms * 1000000u, now = gcrt_os_now_ns();
    uint64_t due = max_size(since, aword_load_relaxed(&heap->cycles.begun_ns)) + period;

    if (period == 0)
        return UINT64_MAX;
    return now < due ? due - now : 0;
}

/*
 * Sleeps until somebody asks, or until it is time for a periodic cycle (then true); returns in
 * the seat.  While somebody else sits there a cycle runs.
 */
static bool
wait_for_request(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;
    uint64_t start = gcrt_os_now_ns();

    for (;;) {
        unsigned seen = ahalf_load_acquire(&c->bell);
        bool wanted = ahalf_load_acquire(&c->wanted) != 0;
        uint64_t ns = periodic_wait(heap, start);

        if ((wanted || ns == 0) && gcrt_seat_take(heap))
            return !wanted && (int64_t)aword_load_relaxed(&c->gogc) >= 0;
        gcrt_os_wait(&c->bell, seen, ns == 0 ? PERIODIC_LATER_NS : ns);
    }
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

/* Goes on counting where the coordinator of the parent stopped, if there was one. */
static void
inherit(struct gc_heap *heap)
{
    struct counters *n = &heap->counters;

    critical_set(); /* for good: a fork in the log function is none of ours */
    heap->cycles.cpu_base
            = aword_load_relaxed(&n->coordinator_ns) + aword_load_relaxed(&n->sweep_ns);
    CHECK(gcrt_seat_take(heap)); /* nobody drives before the first cycle */
    if (heap->ps.generation > 1)
        gcrt_cycle_finish_inherited(heap);
    gcrt_seat_leave(heap);
}

static void
serve(struct gc_heap *heap, unsigned wanted, bool periodic)
{
    if (wanted & CYCLE_GO_ON)
        (void)gcrt_cycle_go_on(heap);
    if (wanted & CYCLE_LOOK)
        gcrt_look_serve(heap);
    if (wanted & CYCLE_SHUT_DOWN)
        return;
    if (wanted & CYCLE_INTERN_GROW)
        gcrt_intern_grow(heap);
    if (wanted & CYCLE_POPULATE)
        gcrt_populator_start(heap);
    if (wanted & CYCLE_THREADS) {
        gcrt_crew_look(heap);
        gcrt_scavenger_look(heap);
    }
    if (!periodic && !is_due(heap, wanted))
        return;
    if ((wanted & (CYCLE_FORCED | CYCLE_STRESS)) == 0)
        gcrt_limit_hold_back(heap);
    (void)gcrt_cycle_run(heap, (wanted & CYCLE_FORCED) != 0);
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

        serve(heap, wanted, periodic);
        if (wanted & CYCLE_SHUT_DOWN)
            return NULL; /* in the seat */
        gcrt_seat_leave(heap);
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
    gcrt_drive_init(heap);
    c->current = gcrt_persist_alloc(&heap->persist, sizeof(*c->current));
    gcrt_pacer_init(&c->pacer, heap->options.gogc, heap->options.heap_min, heap->cpus);
    aword_store_relaxed(&c->gogc, (uint64_t)heap->options.gogc);
    aword_store_relaxed(&c->heap_min, heap->options.heap_min);
    gcrt_pace_limit_changed(heap); /* the first goal and trigger */
    ahalf_store_relaxed(&c->stress, heap->options.debug_stress);
    if (c->current == NULL || !gcrt_checkmark_init(heap)) {
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
