/* SPDX-License-Identifier: MIT */
/*
 * A cycle's accounts.
 *
 * Purpose: what the pacer is told and tells, and what statistics and gctrace say of a cycle.
 * Place: the coordinator calls it at each edge of a cycle; it calls the pacer and sets the
 * assist ratio.
 * Invariants: goal and trigger that everybody reads are those of the pacer's last commit; while
 * a cycle runs the trigger is UINT64_MAX, so none is asked for.
 * Concurrency: the pacer is under RANK_CYCLE, because GOGC changes come from any thread; all
 * else here is the coordinator's own.  Sums over Ps and over markers are racy snapshots; the
 * pacer is made for such.
 * Cost: a few hundred nanoseconds a cycle, and a revision a millisecond while it marks.
 */
#include "gc/pace.h"

#include "gc/assist.h"
#include "gc/limit.h"
#include "gc/mutator.h"
#include "gc/worker.h"

/* ---- sums over Ps ---- */

static uint64_t
sum_ps(const struct gc_heap *heap, size_t offset)
{
    const struct p *p = __atomic_load_n(&heap->ps.all, __ATOMIC_ACQUIRE); /* pairs: p.publish */
    uint64_t sum = 0;

    for (; p != NULL; p = p->next_all)
        sum += aword_load_relaxed((const aword *)(const void *)((const char *)p + offset));
    return sum;
}

static uint64_t
black_bytes(const struct gc_heap *heap)
{
    return sum_ps(heap, offsetof(struct p, cache.black_bytes));
}

static uint64_t
scan_bytes(const struct gc_heap *heap)
{
    return sum_ps(heap, offsetof(struct p, cache.scan_bytes));
}

/* A sum of racy deltas may dip below zero. */
static uint64_t
not_negative(uint64_t x)
{
    return x >> 63 ? 0 : x;
}

uint64_t
gcrt_pace_live(const struct gc_heap *heap)
{
    return mheap_live(&heap->mheap);
}

/* ---- pacing ---- */

void
gcrt_pace_publish_locked(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;

    aword_store_relaxed(&c->goal, gcrt_pacer_goal(&c->pacer));
    if (!c->pacer.in_cycle) { /* one cycle at a time */
        aword_store_relaxed(&c->trigger, gcrt_pacer_trigger(&c->pacer));
        aword_store_relaxed(&c->trigger_said, gcrt_pacer_trigger(&c->pacer));
    }
    ahalf_store_relaxed(&heap->limit.binding, gcrt_pacer_is_limited(&c->pacer));
    gcrt_limit_set_bounds_locked(heap); /* they depend on that */
}

/* No span waits for the sweep: between the last sweep's end and this cycle's H6. */
static bool
is_swept(const struct gc_heap *heap)
{
    enum phase phase = ahalf_load_acquire(&heap->cycles.phase);

    return phase == PHASE_IDLE || phase == PHASE_STARTING || phase == PHASE_MARKING;
}

int64_t
gcrt_pace_set_gogc(struct gc_heap *heap, int64_t percent)
{
    struct cycles *c = &heap->cycles;
    int64_t old;

    gcrt_lock_acquire(&c->lock);
    old = (int64_t)aword_load_relaxed(&c->gogc);
    aword_store_relaxed(&c->gogc, (uint64_t)percent);
    gcrt_pacer_set_gogc(&c->pacer, percent, gcrt_pace_live(heap), is_swept(heap));
    gcrt_pace_publish_locked(heap);
    gcrt_lock_release(&c->lock);
    return old;
}

uint64_t
gcrt_pace_set_heap_min(struct gc_heap *heap, uint64_t bytes)
{
    struct cycles *c = &heap->cycles;
    uint64_t old;

    gcrt_lock_acquire(&c->lock);
    old = aword_load_relaxed(&c->heap_min);
    aword_store_relaxed(&c->heap_min, bytes);
    gcrt_pacer_set_heap_min(&c->pacer, bytes, gcrt_pace_live(heap), is_swept(heap));
    gcrt_pace_publish_locked(heap);
    gcrt_lock_release(&c->lock);
    return old;
}

/* What is below this line and sets a goal asks what the limit leaves first. */
static void
commit_locked(struct gc_heap *heap, bool swept)
{
    gcrt_limit_to_pacer_locked(heap);
    gcrt_pacer_commit(&heap->cycles.pacer, gcrt_pace_live(heap), swept);
    gcrt_pace_publish_locked(heap);
}

void
gcrt_pace_limit_changed(struct gc_heap *heap)
{
    gcrt_lock_acquire(&heap->cycles.lock);
    commit_locked(heap, is_swept(heap));
    gcrt_lock_release(&heap->cycles.lock);
}

void
gcrt_pace_start(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct cycles *c = &heap->cycles;

    gcrt_lock_acquire(&c->lock);
    cy->report.pace.planned_start = gcrt_pacer_trigger(&c->pacer);
    gcrt_pacer_start_cycle(&c->pacer, gcrt_pace_live(heap), aword_load_relaxed(&heap->roots.bytes),
            heap->cpus);
    cy->report.heap_start = c->pacer.triggered;
    cy->report.goal = gcrt_pacer_goal(&c->pacer);
    cy->report.pace.expected = gcrt_pacer_expected(&c->pacer);
    cy->scan_start = scan_bytes(heap);
    cy->heap_scan = not_negative(
            c->pacer.last_heap_scan + cy->scan_start - c->scan_bytes_last);
    aword_store_relaxed(&c->trigger, UINT64_MAX); /* one cycle at a time */
    gcrt_lock_release(&c->lock);
    cy->start_ns = gcrt_os_now_ns();
    cy->pause_start = aword_load_relaxed(&heap->counters.pause_ns);
    cy->black_start = black_bytes(heap);
}

void
gcrt_pace_mark(struct cycle *cy)
{
    cy->mark_ns = gcrt_os_now_ns();
    cy->pause_mark = aword_load_relaxed(&cy->heap->counters.pause_ns);
    cy->stack_scan = aword_load_relaxed(&cy->heap->marking.stack_work)
        + aword_load_relaxed(&cy->heap->fibers.scanned_last); /* the parked ones come later */
}

static uint64_t
work_done(const struct marking *mk)
{
    return aword_load_relaxed(&mk->heap_work) + aword_load_relaxed(&mk->stack_work)
        + aword_load_relaxed(&mk->globals_work);
}

/* x >= 0; saturates. */
static uint64_t
millionths(double x)
{
    return x < 0x1p44 ? (uint64_t)(x * PACE_ONE) : UINT64_MAX;
}

void
gcrt_pace_revise(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct pacer_progress now = { .heap_live = gcrt_pace_live(heap), .heap_scan = cy->heap_scan,
        .stack_scan = cy->stack_scan, .work = work_done(&heap->marking) };
    uint64_t all = now.heap_scan + now.stack_scan + heap->cycles.pacer.globals_scan;
    struct pacer_assist ratio;

    gcrt_workers_forgive(heap, all > now.work ? all - now.work : 0);
    now.owed = gcrt_workers_owe(heap);
    gcrt_lock_acquire(&heap->cycles.lock);
    gcrt_limit_to_pacer_locked(heap);
    ratio = gcrt_pacer_revise(&heap->cycles.pacer, &now);
    gcrt_limit_set_bounds_locked(heap);
    gcrt_lock_release(&heap->cycles.lock);
    gcrt_assist_set_ratio(heap, ratio.work_per_byte, ratio.bytes_per_work);
    cy->report.pace.assist_last = millionths(ratio.work_per_byte);
    if (!cy->revised)
        cy->report.pace.assist_first = cy->report.pace.assist_last;
    cy->revised = true;
}

void
gcrt_pace_settle(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    uint64_t live = not_negative(aword_load_relaxed(&heap->mheap.live));
    uint64_t marked = aword_load_relaxed(&heap->marking.marked_bytes) + black_bytes(heap)
        - cy->black_start;
    uint64_t gone = aword_load_relaxed(&heap->mheap.dropped_live) - cy->dropped;

    marked -= gone < marked ? gone : marked; /* arenas that were freed after their thread's H5 */

    marked = marked < live ? marked : live;
    aword_add_relaxed(&heap->mheap.live, marked - live);
    cy->external = aword_load_relaxed(&heap->mheap.external);
    cy->report.heap_end = live + cy->external;
    cy->report.heap_live = marked;
}

/* ---- accounts ---- */

/* What the pacer makes of the cycle.  The plan's workers are those of its start. */
static void
report_pacing(struct cycle *cy, const struct pacer_outcome *out)
{
    struct gc_heap *heap = cy->heap;
    const struct pacer *p = &heap->cycles.pacer;
    struct pace_report *r = &cy->report.pace;
    struct pacer_workers shares = gcrt_pacer_workers(p);
    double cpu_ns = (double)(out->mark_ns + 1) * p->procs;

    r->dedicated = shares.dedicated;
    r->fractional = millionths(shares.fractional);
    r->heap_work = out->heap_work;
    r->workers_share = millionths(
            (double)aword_load_relaxed(&heap->marking.worker_ns) / cpu_ns);
    r->assists_share = millionths((double)out->assist_ns / cpu_ns);
    r->idle_share = millionths((double)out->idle_ns / cpu_ns);
    r->cons_mark = millionths(p->cons_mark_history[PACER_HISTORY - 1]);
    r->cons_mark_used = millionths(p->cons_mark);
    r->runway = p->runway;
    r->next_trigger = gcrt_pacer_trigger(p);
    r->next_goal = gcrt_pacer_goal(p);
}

static void
end_pacing(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct marking *mk = &heap->marking;
    struct cycles *c = &heap->cycles;
    struct pacer_outcome out = { .heap_live = cy->report.heap_end,
        .heap_marked = cy->report.heap_live + cy->external,
        .heap_work = aword_load_relaxed(&mk->heap_work),
        .stack_work = aword_load_relaxed(&mk->stack_work),
        .globals_work = aword_load_relaxed(&mk->globals_work),
        .mark_ns = cy->end_ns - cy->start_ns,
        .assist_ns = aword_load_relaxed(&mk->assist_ns) + aword_load_relaxed(&mk->extra_ns),
        .idle_ns = aword_load_relaxed(&mk->idle_ns) };

    gcrt_lock_acquire(&c->lock);
    gcrt_pacer_end_cycle(&c->pacer, &out);
    aword_store_relaxed(&heap->limit.external_marked, cy->external);
    gcrt_limit_peak_locked(heap);
    commit_locked(heap, false);
    report_pacing(cy, &out);
    c->scan_bytes_last = cy->scan_start;
    gcrt_lock_release(&c->lock);
}

static void
count_cycle(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct counters *n = &heap->counters;
    struct marking *mk = &heap->marking;

    aword_add_relaxed(cy->report.forced ? &n->cycles_forced : &n->cycles_auto, 1);
    aword_store_relaxed(&n->marked_last, cy->report.heap_live);
    aword_store_relaxed(&n->heap_work_last, aword_load_relaxed(&mk->heap_work));
    aword_store_relaxed(&n->stack_work_last, aword_load_relaxed(&mk->stack_work));
    aword_store_relaxed(&n->globals_last, aword_load_relaxed(&mk->globals_work));
    aword_store_relaxed(&n->last_gc_epoch_ns, gcrt_os_epoch_ns());
    aword_add_relaxed(&n->assist_ns, aword_load_relaxed(&mk->assist_ns));
    aword_add_relaxed(&n->worker_ns, aword_load_relaxed(&mk->worker_ns));
    aword_add_relaxed(&n->idle_ns, aword_load_relaxed(&mk->idle_ns));
    aword_store_relaxed(&n->coordinator_ns,
            heap->cycles.cpu_base + gcrt_os_thread_cpu_ns() - aword_load_relaxed(&n->sweep_ns));
    aword_add_relaxed(&n->mark_wall_ns, cy->end_ns - cy->start_ns);
    aword_add_relaxed(&n->scanned, aword_load_relaxed(&mk->heap_work)
            + aword_load_relaxed(&mk->stack_work) + aword_load_relaxed(&mk->globals_work));
    aword_store_relaxed(&n->mark_cpu_last, aword_load_relaxed(&mk->assist_ns)
            + aword_load_relaxed(&mk->worker_ns) + aword_load_relaxed(&mk->idle_ns));
}

static void
fill_report(struct cycle *cy)
{
    struct gc_heap *heap = cy->heap;
    struct counters *n = &heap->counters;
    struct marking *mk = &heap->marking;
    struct cycle_report *r = &cy->report;
    uint64_t end_pause = aword_load_relaxed(&n->pause_ns);

    r->cycle = aword_load_relaxed(&heap->cycles.started);
    r->since_start_ns = cy->start_ns - n->start_ns;
    r->nps = __atomic_load_n(&heap->ps.count, __ATOMIC_RELAXED);
    r->start_wall_ns = cy->mark_ns - cy->start_ns;
    r->mark_wall_ns = cy->end_mark_ns - cy->mark_ns;
    r->end_wall_ns = cy->end_ns - cy->end_mark_ns;
    r->start_cpu_ns = cy->pause_mark - cy->pause_start;
    r->end_cpu_ns = end_pause - cy->pause_mark;
    r->assist_ns = aword_load_relaxed(&mk->assist_ns);
    r->dedicated_ns = aword_load_relaxed(&mk->worker_ns);
    r->idle_ns = aword_load_relaxed(&mk->idle_ns);
    r->stacks = aword_load_relaxed(&mk->stack_work);
    r->globals = aword_load_relaxed(&mk->globals_work);
    r->gc_cpu_ns = aword_load_relaxed(&n->assist_ns) + aword_load_relaxed(&n->worker_ns)
        + end_pause + aword_load_relaxed(&n->coordinator_ns);
    r->total_cpu_ns = mul_capped(cy->end_ns - n->start_ns, heap->cpus);
}

void
gcrt_pace_end(struct cycle *cy)
{
    cy->end_ns = gcrt_os_now_ns();
    end_pacing(cy);
    count_cycle(cy);
    fill_report(cy);
}

void
gcrt_pace_swept(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;

    gcrt_lock_acquire(&c->lock);
    commit_locked(heap, true);
    gcrt_lock_release(&c->lock);
}
