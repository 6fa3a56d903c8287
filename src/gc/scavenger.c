/* SPDX-License-Identifier: MIT */
/*
 * The scavenger.
 *
 * Purpose: decide how much free memory the heap keeps, and return the rest, slowly.
 * Place: the coordinator tells it the numbers of each cycle; it calls alloc/scavenge.
 *
 * Why a thread.  A system call that drops 2 MiB takes 0.15 ms, and waits for the process's
 * memory map as long as others hold it.  The coordinator would begin cycles late; an
 * allocating thread would pay for somebody else's peak.  The thread exists only while there
 * is something to return: the coordinator starts it at the end of a cycle, and it ends when it
 * has found nothing to do for some half-lives.
 *
 * What goes back:
 *
 *   above the goal   whatever the heap has backed beyond a tenth more than the next cycle
 *                    will need, or beyond 95 % of the memory limit.  As fast as the CPU share
 *                    allows.
 *   over time        of the pages that were free and dirty during the whole last half-life,
 *                    and so were needed by nobody, half in the next one.  Which ones is first
 *                    fit's choice, the highest (pagealloc.c).  So an idle heap ends at what
 *                    it uses, and one that is busy keeps what it cycles through.
 *
 * Chunks that were nearly full within the last two half-lives, and are more than half in use,
 * are left alone: what is free in them are the holes of a sweep.
 *
 * Windows of pages that threads hold count as used.  A thread that is outside is not using
 * its own, so twice a half-life they are taken back from such threads; others give them back
 * in the next cycle.
 *
 * Invariants: at most SHARE of the CPUs' time, measured, is used by the thread.
 * Concurrency: nothing is shared with it but atomic words and what is under locks, so a fork
 * needs not know of it: the lock of alloc/scavenge is among those that it takes.  It holds a
 * mutator only under the registry lock, as nobody else does, and not across a wait.
 * Source: the goal is Go's (mgcscavenge.go), the decay is jemalloc's idea.
 */
#include "gc/scavenger.h"

#include "alloc/populate.h"
#include "alloc/scavenge.h"
#include "gc/cycle.h"
#include "gc/fork.h"
#include "gc/limit.h"
#include "gc/mutator.h"
#include "gc/pace.h"
#include "gc/trace.h"

/* Of all CPUs' time, one part in so many. */
#define SHARE       100
#define BURST_NS    ((uint64_t)1000 * 1000)
#define BURST_BYTES ((uint64_t)16 << 20)
#define LIMIT_SHARE(bytes) ((bytes) / 100 * 95)
/* Decay ends in steps of this, or it would never. */
#define SHARE_MIN   ((uint64_t)256 << 10)
/* Ticks without anything to return until the thread ends. */
#define IDLE_TICKS  (8 * SCAVENGER_TICKS)
#define FULLNESS_MAX 4.0
#define TRACE_NS    ((uint64_t)1000 * 1000 * 1000)

static uint64_t
minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- how much ---- */

uint64_t
gcrt_scavenger_retain(uint64_t goal, uint64_t in_use, uint64_t live, uint64_t metadata)
{
    double per_byte = live == 0 ? 1 : (double)in_use / (double)live;
    double need, bytes;

    per_byte = per_byte < 1 ? 1 : per_byte > FULLNESS_MAX ? FULLNESS_MAX : per_byte;
    need = (double)goal * per_byte;
    bytes = need * 1.1 - (double)metadata;
    bytes = bytes < need * 1.03 ? need * 1.03 : bytes;
    return goal == PACER_NONE || bytes >= 0x1p63 ? SCAVENGER_NONE : (uint64_t)bytes;
}

uint64_t
gcrt_scavenger_share(uint64_t unneeded)
{
    uint64_t share = unneeded / 1000 * 83; /* 1 - 0.5^(1/8) */

    return share >= SHARE_MIN ? share : min_size(unneeded, SHARE_MIN);
}

static uint64_t
retained(const struct gc_heap *heap)
{
    return minus(aword_load_relaxed(&heap->mheap.grown),
            aword_load_relaxed(&heap->mheap.released));
}

/* Bytes that shall go back whether they are needed or not. */
static uint64_t
above_goals(const struct gc_heap *heap)
{
    uint64_t above = minus(retained(heap), aword_load_relaxed(&heap->scavenger.retain));
    uint64_t soft = aword_load_relaxed(&heap->limit.soft);
    uint64_t mapped;

    if (soft == UINT64_MAX)
        return above;
    mapped = gcrt_limit_mapped(heap) + aword_load_relaxed(&heap->mheap.external);
    return max_size(above, minus(mapped, LIMIT_SHARE(soft)));
}

/* ---- reports, and what is forced ---- */

/* What has come to the sum since it was told last. */
static uint64_t
untold(const aword *sum, aword *said)
{
    uint64_t now = aword_load_relaxed(sum), before;

    do
        before = aword_load_relaxed(said);
    while (before < now && !aword_cas_full(said, before, now));
    return minus(now, before);
}

static void
report(struct gc_heap *heap, bool forced)
{
    struct scavenger *s = &heap->scavenger;
    struct scavenge_report r = { .forced = forced };

    if (heap->on_scavenge == NULL)
        return;
    r.background = untold(&heap->mheap.scavenged[SCAVENGE_BACKGROUND], &s->said_background);
    r.assist = untold(&heap->mheap.scavenged[SCAVENGE_ASSIST], &s->said_assist);
    r.released = aword_load_relaxed(&heap->mheap.released);
    r.in_use = aword_load_relaxed(&heap->mheap.in_use);
    r.retained = retained(heap);
    heap->on_scavenge(heap, &r);
}

size_t
gcrt_scavenger_all(struct gc_heap *heap)
{
    size_t done;

    gcrt_populate_no_more(&heap->mheap); /* a ring from before would undo some of it */
    done = gcrt_scavenge_as(&heap->mheap, SIZE_MAX, SCAVENGE_FORCED);
    report(heap, true);
    return done;
}

/* ---- the thread ---- */

/* What the thread knows. */
struct watch {
    struct gc_heap *heap;
    uint64_t tick_ns;    /* between looks at what was not needed */
    uint64_t next_tick;
    uint64_t rest_until; /* its share of the CPUs is used up until then */
    uint64_t next_trace;
    uint64_t unneeded[SCAVENGER_TICKS]; /* bytes, of the last half-life's ticks */
    unsigned ticks;
    unsigned idle;       /* ticks since something was returned, or a sweep */
    unsigned sweeps;     /* as of `idle` */
    uint64_t quota;      /* bytes that may still decay in this tick */
    bool stuck;          /* nothing more to be had until the next tick */
};

/* A window of a thread that is outside. */
static void
take_window_locked(struct gcrt_mutator *m)
{
    if (!gcrt_mutator_hold(m))
        return;
    gcrt_mheap_flush_cache(&m->heap->mheap, &m->p->cache.pages);
    gcrt_mutator_let_go(m);
}

static void
take_windows(struct gc_heap *heap)
{
    struct gcrt_mutator *m;

    gcrt_lock_acquire(&heap->registry.lock);
    if (!heap->registry.held)
        RCU_LIST_EACH(struct gcrt_mutator, m, &heap->registry.mutators, node)
            take_window_locked(m);
    gcrt_lock_release(&heap->registry.lock);
}

/* Returns the pages that were free and dirty all the time since the last call, in bytes. */
static uint64_t
look_at_pages(struct gc_heap *heap, bool new_generation)
{
    struct mheap *h = &heap->mheap;
    size_t unneeded;

    gcrt_lock_acquire(&h->lock);
    unneeded = gcrt_pagealloc_unneeded(&h->pages);
    if (new_generation)
        h->pages.generation++;
    gcrt_lock_release(&h->lock);
    return (uint64_t)unneeded << PAGE_SHIFT;
}

/* What a sweep has freed is known to be unneeded a half-life later. */
static void
note_sweeps(struct watch *w)
{
    unsigned sweeps = ahalf_load_acquire(&w->heap->scavenger.sweeps); /* pairs: scavenger.end */

    if (w->sweeps != sweeps)
        w->idle = 0;
    w->sweeps = sweeps;
}

static void
tick(struct watch *w)
{
    uint64_t least = UINT64_MAX;

    if (w->ticks % (SCAVENGER_TICKS / 2) == 0)
        take_windows(w->heap);
    w->unneeded[w->ticks % SCAVENGER_TICKS]
            = look_at_pages(w->heap, w->ticks % SCAVENGER_TICKS == 0);
    for (unsigned i = 0; i < SCAVENGER_TICKS; i++)
        least = min_size(least, w->unneeded[i]);
    w->quota = gcrt_scavenger_share(least);
    w->stuck = false;
    w->ticks++;
    w->idle++;
    note_sweeps(w);
}

static void
note_done(struct watch *w, uint64_t done)
{
    for (unsigned i = 0; i < SCAVENGER_TICKS; i++)
        w->unneeded[i] = minus(w->unneeded[i], done);
    w->quota = minus(w->quota, done);
    w->stuck = done == 0;
    if (done != 0)
        w->idle = 0;
}

static uint64_t
wanted(const struct watch *w)
{
    return w->stuck ? 0 : max_size(above_goals(w->heap), w->quota);
}

/* Returns memory for a moment, then rests for as long as that moment has cost. */
static void
work(struct watch *w)
{
    struct mheap *h = &w->heap->mheap;
    uint64_t start = gcrt_os_thread_cpu_ns(), cpu = start, bytes;

    while ((bytes = wanted(w)) != 0 && cpu - start < BURST_NS
            && !ahalf_load_acquire(&w->heap->scavenger.stop)) {
        uint64_t since = trace_begin(w->heap);
        uint64_t done = gcrt_scavenge_as(h, min_size(bytes, BURST_BYTES), SCAVENGE_BACKGROUND);

        note_done(w, done);
        TRACE(w->heap, scavenge, since, done, 0);
        cpu = gcrt_os_thread_cpu_ns();
    }
    w->rest_until = gcrt_os_now_ns() + (cpu - start) * SHARE / w->heap->cpus;
}

static void
trace(struct watch *w, uint64_t now)
{
    struct scavenger *s = &w->heap->scavenger;

    if (now < w->next_trace)
        return;
    w->next_trace = now + TRACE_NS;
    if (aword_load_relaxed(&w->heap->mheap.scavenged[SCAVENGE_BACKGROUND])
            != aword_load_relaxed(&s->said_background))
        report(w->heap, false);
}

static bool
is_over(const struct watch *w)
{
    return ahalf_load_acquire(&w->heap->scavenger.stop) || w->idle > IDLE_TICKS;
}

static void
watch(struct watch *w)
{
    struct scavenger *s = &w->heap->scavenger;
    unsigned seen = ahalf_load_acquire(&s->bell);
    uint64_t now = gcrt_os_now_ns(), until;

    if (now >= w->next_tick) {
        w->next_tick = now + w->tick_ns;
        tick(w);
    }
    if (now >= w->rest_until && wanted(w) != 0)
        work(w);
    trace(w, now);
    now = gcrt_os_now_ns();
    until = wanted(w) != 0 ? min_size(w->rest_until, w->next_tick) : w->next_tick;
    if (now < until)
        gcrt_os_wait(&s->bell, seen, until - now);
}

/* Who sweeps counts it, then asks whether a thread runs; we say that we do not, then look. */
static bool
end(struct watch *w)
{
    struct scavenger *s = &w->heap->scavenger;

    ahalf_store_full(&s->running, 0); /* pairs: scavenger.end */
    if (ahalf_load_acquire(&s->stop) || ahalf_load_acquire(&s->sweeps) == w->sweeps)
        return true;
    w->idle = 0;
    return !ahalf_cas_full(&s->running, 0, 1); /* else the coordinator starts another */
}

static void *
scavenger_main(void *arg)
{
    struct gc_heap *heap = arg;
    struct watch w = { .heap = heap,
        .tick_ns = (uint64_t)heap->options.release_ms * 1000000u / SCAVENGER_TICKS };

    critical_set(); /* for good: a fork in the log function is none of ours */
    gcrt_os_thread_begin("gcrt-scavenge");
    gcrt_trace_thread_begin();
    do
        while (!is_over(&w))
            watch(&w);
    while (!end(&w));
    gcrt_trace_thread_end();
    return NULL;
}

/* ---- the coordinator ---- */

/* The host's function may wait for a lock of the host's that a thread has which forks. */
static void
tell_host(struct gc_heap *heap)
{
    gcrt_fork_rest_begin(heap);
    report(heap, false);
    gcrt_fork_rest_end(heap);
}

static void
join(struct scavenger *s)
{
    if (s->started)
        gcrt_os_thread_join(s->thread);
    s->started = false;
}

/* `running` is ours.  Without a thread nothing is returned until the next cycle tries again. */
static void
start(struct gc_heap *heap)
{
    struct scavenger *s = &heap->scavenger;

    join(s);
    s->started = gcrt_os_thread_start(&heap->os, &s->thread, scavenger_main, heap);
    if (!s->started)
        ahalf_store_relaxed(&s->running, 0);
}

static void
ring(struct scavenger *s)
{
    ahalf_add_full(&s->bell, 1);
    gcrt_os_wake(&s->bell, 1);
}

void
gcrt_scavenger_marked(struct gc_heap *heap)
{
    heap->scavenger.peak_in_use = aword_load_relaxed(&heap->mheap.in_use);
    heap->scavenger.peak_live
            = minus(gcrt_pace_live(heap), aword_load_relaxed(&heap->mheap.external));
}

static bool
has_dirty_pages(const struct gc_heap *heap)
{
    return retained(heap) > aword_load_relaxed(&heap->mheap.in_use);
}

void
gcrt_scavenger_look(struct gc_heap *heap)
{
    struct scavenger *s = &heap->scavenger;

    if (heap->options.release_ms == 0 || !has_dirty_pages(heap))
        return;
    ahalf_add_full(&s->sweeps, 1); /* pairs: scavenger.end */
    if (heap->cycles.driven && !ahalf_load_full(&s->running))
        (void)gcrt_cycle_request(heap, CYCLE_THREADS);
    else if (!heap->cycles.driven && ahalf_cas_full(&s->running, 0, 1))
        start(heap);
    else if (above_goals(heap) != 0)
        ring(s);
}

void
gcrt_scavenger_swept(struct gc_heap *heap)
{
    struct scavenger *s = &heap->scavenger;
    uint64_t goal = aword_load_relaxed(&heap->cycles.goal);

    if (goal != PACER_NONE)
        goal = minus(goal, aword_load_relaxed(&heap->mheap.external));
    aword_store_relaxed(&s->retain, gcrt_scavenger_retain(goal, s->peak_in_use, s->peak_live,
            aword_load_relaxed(&heap->mheap.described)));
    tell_host(heap);
    gcrt_scavenger_look(heap);
}

void
gcrt_scavenger_finish(struct gc_heap *heap)
{
    struct scavenger *s = &heap->scavenger;

    ahalf_store_full(&s->stop, 1);
    ring(s);
    join(s);
}
