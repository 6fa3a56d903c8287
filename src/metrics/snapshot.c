/* SPDX-License-Identifier: MIT */
/*
 * Reading all counters of a heap.
 *
 * Purpose: one coherent set of numbers for metrics, gc_stats and exports.
 * Place: metrics, stats and export call it; it reads the structs of gc and alloc.
 *
 * Invariants:
 *   - Cumulative values never go back between two reads of which one follows the other.
 *   - objects = allocs - frees, per class and in all, in every snapshot.
 *   - Sums (memory, CPU, cycles, scan) equal their parts.
 *
 * Concurrency: no lock and no waiting.  Most counters are sums that only grow.  Counts of
 * small allocations are not: allocation bumps through runs without counting, so they are
 * "slots taken in runs" less "slots in the unused rests of runs", both of which their owner
 * changes while we look.  We read slots, rests, slots again, and start over if a run was
 * taken or returned between (both slots and runs_taken are the same only if neither was).
 * In between the owner can only use up its runs, so a stable read is exact, but for an
 * owner caught halfway through taking or returning a run: it shows the run before it counts
 * it, and uncounts it before it hides it, so the result is then too low.  A value too low
 * is raised to the highest one shown before (count_floor), which was true then and is still
 * a lower bound.  If no stable read succeeds, or on a machine that reorders loads, a read
 * may be too high by one run per kind; the floor then holds it until the truth catches up.
 * Frees are read first: what is freed had been allocated before.
 *
 * Caches are found through the append-only list of Ps (pairs: p.publish); Ps, run tables
 * and old run tables live as long as the heap.
 *
 * Cost: cold; about a microsecond, and a quarter of one per P (docs/observability.md).
 */
#include "metrics/snapshot.h"

#include "gc/pool.h"

#include <string.h>

#define STABLE_TRIES 8

static uint64_t
minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* The floor rises to x; returns the larger of both. */
static uint64_t
raise_floor(aword *floor, uint64_t x)
{
    uint64_t old = aword_load_relaxed(floor);

    while (old < x) {
        if (aword_cas_full(floor, old, x))
            return x;
        old = aword_load_relaxed(floor);
    }
    return old;
}

/* ---- caches ---- */

struct cache_counts {
    uint64_t slots[NUM_CLASSES], unused[NUM_CLASSES];
    uint64_t runs_taken;
};

/* Reads slots and runs taken again, which end up in c; false if one of them had changed. */
static bool
slots_are_stable(const struct mcache *mc, struct cache_counts *c)
{
    uint64_t runs_taken = aword_load_acquire(&mc->runs_taken);
    bool stable = runs_taken == c->runs_taken;

    c->runs_taken = runs_taken;
    for (unsigned i = 1; i < NUM_CLASSES; i++) {
        uint64_t slots = aword_load_acquire(&mc->slots[i]);

        stable = stable && slots == c->slots[i];
        c->slots[i] = slots;
    }
    return stable;
}

/* More unused slots than were ever taken: the reader met a run that was being replaced. */
static bool
is_torn(const struct cache_counts *c)
{
    for (unsigned i = 1; i < NUM_CLASSES; i++)
        if (c->unused[i] > c->slots[i])
            return true;
    return false;
}

static void
read_cache(const struct mcache *mc, struct snapshot *s)
{
    struct cache_counts c = { .runs_taken = 0 };
    bool stable = false;

    (void)slots_are_stable(mc, &c);
    for (int i = 0; i < STABLE_TRIES && !stable; i++) {
        memset(c.unused, 0, sizeof(c.unused));
        gcrt_mcache_unused(mc, c.unused);
        stable = slots_are_stable(mc, &c) && !is_torn(&c);
    }
    for (unsigned i = 1; i < NUM_CLASSES; i++)
        s->allocs[i] += minus(c.slots[i], c.unused[i]);
    s->runs_taken += c.runs_taken;
    s->refills += aword_load_relaxed(&mc->refills);
    s->tiny_allocs += aword_load_relaxed(&mc->tiny_allocs);
}

/* Bytes of a cache and its table; the tables it outgrew count as other metadata. */
static uint64_t
cache_bytes(const struct mcache *mc)
{
    /* pairs: mcache.table */
    const struct mcache_table *t = __atomic_load_n(&mc->table, __ATOMIC_ACQUIRE);
    uint64_t entries = (uint64_t)t->mask + 1;

    return sizeof(struct p) + sizeof(*t)
        + entries * (sizeof(struct gc_impl_run) + sizeof(struct mcache_cold));
}

/* All caches; returns the bytes that they take. */
static uint64_t
read_ps(struct gc_heap *heap, struct snapshot *s)
{
    /* pairs: p.publish */
    const struct p *p = __atomic_load_n(&heap->ps.all, __ATOMIC_ACQUIRE);
    uint64_t bytes = 0;

    for (; p != NULL; p = p->next_all) {
        read_cache(&p->cache, s);
        bytes += cache_bytes(&p->cache);
        s->ps++;
    }
    return bytes;
}

/* ---- plain counters ---- */

static void
read_heap(struct gc_heap *heap, struct snapshot *s)
{
    struct mheap *h = &heap->mheap;

    /* Frees before allocs; acquire keeps them in this order, it pairs with nothing. */
    s->frees[CLASS_LARGE] = aword_load_acquire(&h->large_frees);
    s->large_free_bytes = aword_load_acquire(&h->large_free_bytes);
    for (unsigned i = 1; i < NUM_CLASSES; i++) {
        s->frees[i] = aword_load_acquire(&h->small_frees[i]);
        s->unused[i] = aword_load_relaxed(&h->small_spans[i]) * gcrt_class_nelems[i];
    }
    s->allocs[CLASS_LARGE] = aword_load_relaxed(&h->large_allocs);
    s->large_alloc_bytes = aword_load_relaxed(&h->large_alloc_bytes);
    s->heap_pacing = mheap_live(h);
    s->swept_spans = aword_load_relaxed(&h->swept_spans);
    s->freed_spans = aword_load_relaxed(&h->freed_spans);
    s->scavenge_assist = aword_load_relaxed(&h->scavenged[SCAVENGE_ASSIST]);
    s->scavenge_background = aword_load_relaxed(&h->scavenged[SCAVENGE_BACKGROUND]);
    s->scavenge_forced = aword_load_relaxed(&h->scavenged[SCAVENGE_FORCED]);
    s->populate_bytes = aword_load_relaxed(&h->populated);
    s->scavenge_goal = aword_load_relaxed(&heap->scavenger.retain);
    s->address_space = aword_load_relaxed(&heap->os.reserved);
}

static void
read_cycles(struct gc_heap *heap, struct snapshot *s)
{
    struct counters *c = &heap->counters;
    int64_t gogc = (int64_t)aword_load_relaxed(&heap->cycles.gogc);

    s->cycles_automatic = aword_load_relaxed(&c->cycles_auto);
    s->cycles_driven = aword_load_relaxed(&c->cycles_driven);
    s->cycles_forced = aword_load_relaxed(&c->cycles_forced);
    s->cycles_started = aword_load_relaxed(&heap->cycles.started);
    s->gogc = gogc < 0 ? UINT64_MAX : (uint64_t)gogc;
    s->heap_goal = aword_load_relaxed(&heap->cycles.goal);
    s->heap_trigger = aword_load_relaxed(&heap->cycles.trigger_said);
    s->heap_min = aword_load_relaxed(&heap->cycles.heap_min);
    s->heap_live = aword_load_relaxed(&c->marked_last);
    s->scan_heap = aword_load_relaxed(&c->heap_work_last);
    s->scan_stack = aword_load_relaxed(&c->stack_work_last);
    s->stacks = aword_load_relaxed(&heap->fibers.count);
    s->stacks_at_switch = aword_load_relaxed(&heap->fibers.at_switch);
    s->scan_globals = aword_load_relaxed(&c->globals_last);
    s->last_gc_epoch_ns = aword_load_relaxed(&c->last_gc_epoch_ns);
    s->mark_rounds = aword_load_relaxed(&c->terminations_retried);
    s->mark_wall_ns = aword_load_relaxed(&c->mark_wall_ns);
    s->mark_cpu_last = aword_load_relaxed(&c->mark_cpu_last);
    s->scanned = aword_load_relaxed(&c->scanned);
    s->profile_samples = aword_load_relaxed(&heap->profile.samples);
    s->profile_lost = aword_load_relaxed(&heap->profile.lost);
}

static void
read_specials(struct gc_heap *heap, struct snapshot *s)
{
    const struct specials *sp = &heap->specials;

    s->weak_live = aword_load_relaxed(&sp->count[SPECIAL_WEAK]);
    s->cleanups = aword_load_relaxed(&sp->count[SPECIAL_CLEANUP]);
    s->finalizers = aword_load_relaxed(&sp->count[SPECIAL_FINALIZER]);
    s->weak_emptied = aword_load_relaxed(&sp->emptied);
    s->decide_ns = aword_load_relaxed(&sp->decide_ns);
    s->weak_cancelled = aword_load_relaxed(&heap->weak.cancelled);
}

static void
read_limit(struct gc_heap *heap, struct snapshot *s)
{
    const struct limit *l = &heap->limit;

    s->limit_soft = aword_load_relaxed(&l->soft);
    s->limit_hard = aword_load_relaxed(&l->hard);
    s->limit_missed = aword_load_relaxed(&l->missed);
    s->external = aword_load_relaxed(&heap->mheap.external);
    s->limited_cycle = aword_load_relaxed(&l->limited_cycle);
    s->limited_ns = aword_load_relaxed(&l->limited_ns);
    s->throttle_ns = aword_load_relaxed(&heap->counters.throttle.total_ns);
}

static void
read_weak(struct gc_heap *heap, struct snapshot *s)
{
    s->ephemerons_filed = aword_load_relaxed(&heap->ephemerons.filings);
    s->ephemerons_fired = aword_load_relaxed(&heap->ephemerons.fired);
    s->ephemerons_broken = aword_load_relaxed(&heap->ephemerons.broken);
    s->intern_live = aword_load_relaxed(&heap->interning.count);
    s->intern_dropped = aword_load_relaxed(&heap->interning.dropped);
    s->weakmap_rebuilds = aword_load_relaxed(&heap->weakmaps.rebuilt);
}

static void
read_arenas(struct gc_heap *heap, struct snapshot *s)
{
    const struct regions *r = &heap->regions;

    /* Freed before made; the acquire pairs with nothing. */
    s->arenas_freed = aword_load_acquire(&r->freed);
    s->arena_freed_bytes = aword_load_acquire(&r->freed_bytes);
    s->arenas_made = aword_load_relaxed(&r->made);
    s->arena_made_bytes = aword_load_relaxed(&r->made_bytes);
    s->arenas_deferred = aword_load_relaxed(&r->deferred);
    s->arena_waiting = aword_load_relaxed(&heap->mheap.dropped);
}

static void
read_threads(struct gc_heap *heap, struct snapshot *s)
{
    struct counters *c = &heap->counters;
    /* Before attaches; the acquire pairs with nothing. */
    uint64_t detaches = aword_load_acquire(&c->detaches);

    s->attaches = aword_load_relaxed(&c->attaches);
    s->mutators = minus(s->attaches, detaches);
    s->inside = ahalf_load_relaxed(&heap->marking.inside);
    s->handshakes = aword_load_relaxed(&c->handshakes);
    s->signals = aword_load_relaxed(&c->signals);
    s->signal_answers = aword_load_relaxed(&c->signal_answers);
    s->proxy_answers = aword_load_relaxed(&c->proxy_answers);
    s->throttles = aword_load_relaxed(&c->throttles);
    s->left_to_workers = aword_load_relaxed(&c->done_for_others);
    s->worker_percent = aword_load_relaxed(&heap->marking.share.percent);
    s->barrier_flushes = aword_load_relaxed(&c->barrier_flushes);
    s->barrier_words = aword_load_relaxed(&c->barrier_words);
    s->cpus = heap->cpus;
    gcrt_pools_stats(heap, &s->pools);
}

static void
read_times(struct gc_heap *heap, struct snapshot *s)
{
    struct counters *c = &heap->counters;
    struct mheap *h = &heap->mheap;

    s->assist_ns = aword_load_relaxed(&c->assist_ns);
    s->worker_ns = aword_load_relaxed(&c->worker_ns);
    s->idle_ns = aword_load_relaxed(&c->idle_ns);
    s->pause_ns = aword_load_relaxed(&c->pause_ns);
    s->sweep_ns = aword_load_relaxed(&c->sweep_ns);
    s->coordinator_ns = aword_load_relaxed(&c->coordinator_ns);
    s->scavenge_assist_ns = aword_load_relaxed(&h->scavenge_ns[SCAVENGE_ASSIST])
        + aword_load_relaxed(&h->scavenge_ns[SCAVENGE_FORCED]);
    s->scavenge_background_ns = aword_load_relaxed(&h->scavenge_ns[SCAVENGE_BACKGROUND]);
    s->pauses = &c->pauses;
    s->reach = &c->reach;
    s->assists = &c->assist;
    s->assists_cpu = &c->assist_cpu;
    s->assist_threads = &c->assist_threads;
    s->throttle_waits = &c->throttle;
    for (unsigned i = 0; i < ACTION_COUNT; i++) {
        s->pause[i] = &c->pause[i];
        s->latency[i] = &c->latency[i];
    }
}

/* ---- sums ---- */

static void
derive_objects(struct snapshot *s, struct count_floor *floor)
{
    s->large_alloc_bytes = max_size(s->large_alloc_bytes, s->large_free_bytes);
    s->allocs_bytes = s->large_alloc_bytes;
    s->frees_bytes = s->large_free_bytes;
    for (unsigned i = 0; i < NUM_CLASSES; i++) {
        s->allocs[i] = raise_floor(&floor->allocs[i], max_size(s->allocs[i], s->frees[i]));
        s->allocs_objects += s->allocs[i];
        s->frees_objects += s->frees[i];
        s->allocs_bytes += s->allocs[i] * gcrt_class_bytes[i];
        s->frees_bytes += s->frees[i] * gcrt_class_bytes[i];
        s->unused[i] = minus(s->unused[i], s->allocs[i] - s->frees[i]);
    }
    s->objects = s->allocs_objects - s->frees_objects;
}

/*
 * The collector's times arrive in portions, a whole cycle's marking at once, so "the rest"
 * may be ahead of the truth for a while and then has to wait.
 */
static void
derive_cpu(struct snapshot *s, struct count_floor *floor, uint64_t wall_cpu_ns)
{
    s->gc_cpu_ns = s->assist_ns + s->worker_ns + s->idle_ns + s->pause_ns + s->sweep_ns
        + s->coordinator_ns;
    s->scavenge_ns = s->scavenge_assist_ns + s->scavenge_background_ns;
    s->user_cpu_ns = raise_floor(
            &floor->user_ns, minus(wall_cpu_ns, s->gc_cpu_ns + s->scavenge_ns));
    s->total_cpu_ns = s->gc_cpu_ns + s->scavenge_ns + s->user_cpu_ns;
}

/* By bytes, not to overflow: the nanoseconds of a cycle's marking are few. */
static uint64_t
per_second(uint64_t bytes, uint64_t ns)
{
    return ns == 0 ? 0 : (uint64_t)((double)bytes / (double)ns * 1e9);
}

/* Each attached thread has a P; the numbers were read at different moments. */
static void
derive_threads(struct snapshot *s)
{
    s->inside = min_size(s->inside, s->mutators);
    s->outside = s->mutators - s->inside;
    s->idle_ps = minus(s->ps, s->mutators);
}

void
gcrt_snapshot_derive(struct snapshot *s, struct count_floor *floor, uint64_t wall_cpu_ns)
{
    derive_objects(s, floor);
    derive_cpu(s, floor, wall_cpu_ns);
    s->cycles = s->cycles_automatic + s->cycles_forced;
    s->scavenge_bytes = s->scavenge_assist + s->scavenge_background + s->scavenge_forced;
    s->scan_total = s->scan_heap + s->scan_stack + s->scan_globals;
    s->mark_rate = per_second(s->scan_total, s->mark_cpu_last);
    derive_threads(s);
}

/* ---- memory ---- */

/*
 * What was read at different moments need not fit: then the parts give way, but for the
 * objects, and not the whole, which is what was grown and all metadata.
 */
void
gcrt_snapshot_divide(const struct memory_inputs *in, uint64_t objects,
        struct memory_classes *ret)
{
    uint64_t grown = max_size(in->grown, objects);
    uint64_t in_use = min_size(max_size(in->in_use, objects), grown);

    ret->heap_objects = objects;
    ret->heap_unused = in_use - objects;
    ret->heap_released = min_size(in->released, grown - in_use);
    ret->heap_free = grown - in_use - ret->heap_released;
    ret->mspan_inuse = min_size((in_use >> PAGE_SHIFT) * sizeof(struct mspan), in->mspans);
    ret->mspan_free = in->mspans - ret->mspan_inuse;
    ret->pages = in->pages;
    ret->workbufs = in->workbufs;
    ret->mcache_inuse = min_size(in->mcaches, in->persist);
    ret->profile = min_size(in->profile, in->persist - ret->mcache_inuse);
    ret->other = in->persist - ret->mcache_inuse - ret->profile + in->beside;
    ret->total = grown + in->mspans + in->pages + in->workbufs + in->persist + in->beside;
}

/* What has run before what was due: both only grow. */
static void
read_cleanups(const struct gc_heap *heap, struct snapshot *s)
{
    const struct cleanups *c = &heap->cleanups;

    s->cleanups_executed = aword_load_acquire(&c->cleanup.executed);
    s->finalizers_executed = aword_load_acquire(&c->finalizer.executed);
    s->cleanups_queued = aword_load_relaxed(&c->cleanup.queued);
    s->finalizers_queued = aword_load_relaxed(&c->finalizer.queued);
    s->cleanups_cancelled = aword_load_relaxed(&c->cancelled);
    s->cleanups_registered = aword_load_relaxed(&heap->specials.count[SPECIAL_CLEANUP]);
    s->finalizers_registered = aword_load_relaxed(&heap->specials.count[SPECIAL_FINALIZER]);
    s->callbacks_slow = aword_load_relaxed(&heap->runner.slow);
}

void
gcrt_snapshot_read(struct gc_heap *heap, struct snapshot *ret)
{
    struct memory_inputs in;
    uint64_t mcaches, wall;

    memset(ret, 0, sizeof(*ret));
    read_heap(heap, ret);
    mcaches = read_ps(heap, ret);
    read_cycles(heap, ret);
    read_specials(heap, ret);
    read_limit(heap, ret);
    read_weak(heap, ret);
    read_arenas(heap, ret);
    read_threads(heap, ret);
    read_times(heap, ret);
    read_cleanups(heap, ret);
    wall = gcrt_os_now_ns() - heap->counters.start_ns;
    gcrt_snapshot_derive(ret, &heap->floor, mul_capped(wall, heap->cpus));
    gcrt_limit_read_memory(heap, &in);
    in.mcaches = mcaches;
    in.in_use = minus(in.in_use, ret->arena_waiting); /* in spans, without memory: as if free */
    gcrt_snapshot_divide(&in,
            minus(ret->allocs_bytes - ret->frees_bytes, ret->arena_waiting), &ret->memory);
    ret->mapped = ret->memory.total - ret->memory.heap_released;
}
