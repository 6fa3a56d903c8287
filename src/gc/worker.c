/* SPDX-License-Identifier: MIT */
/*
 * Background marking threads.
 *
 * Purpose: mark with a quarter of the CPUs, and with those that are idle.
 * Place: cycle starts them; they drain work through mark.
 * Invariants: a worker holds no work while it is not counted as active, and is not active
 * while the collector rests for a fork (fork.c; a session counts itself, then looks).
 * Concurrency: sleeping workers wait on marking->bell, which whoever makes work public
 * advances if somebody sleeps (pairs: marking.bell).  Sleeps while marking are bounded by
 * a few PAUSE_NS, so a ring that came too early costs milliseconds, not the cycle.
 * Cost: a look at two clocks per quantum of about 100 microseconds.
 *
 * Who may run when: worker i has a guaranteed share of one CPU (of the pacer's 25 % of
 * all).  Beyond it a worker may run on CPUs that no mutator uses: as many workers as there
 * are CPUs less mutators inside.  The kernel's scheduler does the rest.  A worker that was
 * kept from its CPU for half a quantum concludes that others want it, and pauses.
 * Source: Go's dedicated, fractional and idle workers (mgcpacer.go), for threads that the
 * library does not schedule.
 */
#include "gc/worker.h"

#include "alloc/os/os.h"
#include "gc/mutator.h"

#define QUANTUM_BYTES ((uint64_t)256 << 10)
#define PAUSE_NS      ((uint64_t)1000 * 1000)
#define MILLION       1000000u

/* ---- activity ---- */

#define ONE_ACTIVATION ((uint64_t)1 << 32 | 1)

void
gcrt_marking_begin(struct gc_heap *heap)
{
    aword_add_full(&heap->marking.activity, ONE_ACTIVATION); /* full: before any pop */
}

void
gcrt_marking_end(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;

    if ((uint32_t)aword_add_full(&mk->activity, (uint64_t)0 - 1) == 1) {
        ahalf_add_full(&mk->idle_bell, 1);
        gcrt_os_wake(&mk->idle_bell, 1);
    }
}

bool
gcrt_marking_is_quiet(struct gc_heap *heap)
{
    uint64_t before = aword_load_acquire(&heap->marking.activity);

    return (uint32_t)before == 0 && gcrt_work_is_empty(&heap->work)
        && aword_load_acquire(&heap->marking.activity) == before;
}

void
gcrt_workers_ring(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;

    if (ahalf_load_acquire(&mk->sleepers) == 0)
        return;
    ahalf_add_full(&mk->bell, 1); /* pairs: marking.bell */
    gcrt_os_wake(&mk->bell, INT32_MAX);
}

/*
 * Sleeps until the bell rings, at most ns.  Who makes work public after the count went up
 * rings, and then the bell is no longer `seen`; work from before it waits for our timeout
 * or the coordinator's next look.
 */
static void
sleep_on_bell(struct marking *mk, unsigned seen, uint64_t ns)
{
    ahalf_add_full(&mk->sleepers, 1);
    gcrt_os_wait(&mk->bell, seen, ns); /* pairs: marking.bell */
    ahalf_add_full(&mk->sleepers, (unsigned)-1);
}

/* ---- when a worker may run ---- */

struct session {
    uint64_t start_ns, start_cpu; /* of this cycle, for this worker */
    uint64_t last_ns, last_cpu;
};

static void
session_begin(struct session *s)
{
    s->start_ns = s->last_ns = gcrt_os_now_ns();
    s->start_cpu = s->last_cpu = gcrt_os_thread_cpu_ns();
}

/* CPUs that nobody inside wants, as a number of workers that may use them. */
static unsigned
idle_cpus(const struct gc_heap *heap)
{
    unsigned inside = ahalf_load_relaxed(&heap->marking.inside);

    return heap->cpus > inside ? heap->cpus - inside : 0;
}

/* How long the worker has to pause to get back to its share; 0: it is within it. */
static uint64_t
over_share_ns(const struct worker *w, const struct session *s)
{
    uint64_t share = aword_load_relaxed(&w->share);
    uint64_t used = s->last_cpu - s->start_cpu, elapsed = s->last_ns - s->start_ns, due;

    if (share == 0)
        return PAUSE_NS;
    due = used * MILLION / share;
    return due > elapsed ? min_size(due - elapsed, 10 * PAUSE_NS) : 0;
}

/* Books the quantum; returns how long to pause now. */
static uint64_t
after_quantum(struct worker *w, struct session *s)
{
    struct marking *mk = &w->heap->marking;
    uint64_t ns = gcrt_os_now_ns(), cpu = gcrt_os_thread_cpu_ns();
    uint64_t wall = ns - s->last_ns, used = cpu - s->last_cpu, over;
    bool crowded = used < wall / 2;

    s->last_ns = ns;
    s->last_cpu = cpu;
    over = over_share_ns(w, s);
    aword_add_relaxed(over == 0 ? &mk->worker_ns : &mk->idle_ns, used);
    if (over == 0 || (w->index < idle_cpus(w->heap) && !crowded))
        return 0;
    return over;
}

/* ---- the thread ---- */

/* Scans for one quantum.  True if there may be more. */
static bool
mark_quantum(struct worker *w)
{
    struct gc_heap *heap = w->heap;
    uint64_t n = gcrt_mark_drain(&w->marker, QUANTUM_BYTES);

    aword_add_relaxed(&heap->marking.credit, n);
    if (ahalf_load_relaxed(&heap->marking.sleepers) != 0) {
        gcrt_workqueue_share(&heap->work, &w->marker.queue);
        if (!gcrt_work_is_empty(&heap->work))
            gcrt_workers_ring(heap);
    }
    return n >= QUANTUM_BYTES;
}

/* Marks while there is work and the worker may run; returns how long to pause. */
static uint64_t
mark_session(struct worker *w, struct session *s)
{
    struct gc_heap *heap = w->heap;
    uint64_t pause = 0;
    bool more;

    gcrt_marking_begin(heap);
    /*
     * Look again: marking may have closed since we were told.  The coordinator closes it,
     * then waits for zero activity; we count ourselves, then look (pairs: mark.open).
     */
    more = ahalf_load_acquire(&heap->marking.open) != 0;
    while (more && pause == 0 && !fork_is_coming(heap)) {
        more = mark_quantum(w);
        pause = after_quantum(w, s);
    }
    chaos_point(&heap->os, CHAOS_MARK_DRY);
    (void)gcrt_marker_flush(&w->marker);
    gcrt_marking_end(heap);
    return pause;
}

/* May this worker start a session now? */
static bool
may_run(const struct worker *w, const struct session *s)
{
    return over_share_ns(w, s) == 0 || w->index < idle_cpus(w->heap);
}

static void
mark_until_closed(struct worker *w)
{
    struct marking *mk = &w->heap->marking;
    struct session s;

    session_begin(&s);
    while (ahalf_load_acquire(&mk->open) && !ahalf_load_acquire(&mk->stop)) {
        unsigned seen = ahalf_load_acquire(&mk->bell);
        uint64_t pause = PAUSE_NS;

        s.last_ns = gcrt_os_now_ns();
        if (!gcrt_work_is_empty(&w->heap->work) && may_run(w, &s) && !fork_is_coming(w->heap))
            pause = mark_session(w, &s);
        if (pause != 0 || gcrt_work_is_empty(&w->heap->work))
            sleep_on_bell(mk, seen, pause != 0 ? pause : PAUSE_NS);
    }
}

static void *
worker_main(void *arg)
{
    struct worker *w = arg;
    struct marking *mk = &w->heap->marking;

    critical_set(); /* for good: a fork in a trace function is none of ours */
    for (;;) {
        unsigned seen = ahalf_load_acquire(&mk->bell); /* before stop: it rings after it */

        if (ahalf_load_acquire(&mk->stop))
            return NULL;
        if (ahalf_load_acquire(&mk->open)) /* pairs: mark.open */
            mark_until_closed(w);
        else
            sleep_on_bell(mk, seen, UINT64_MAX);
    }
}

/* ---- starting and stopping ---- */

bool
gcrt_workers_init(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;

    mk->workers = gcrt_persist_alloc(&heap->persist, mk->nworkers * sizeof(*mk->workers));
    mk->threads = gcrt_persist_alloc(&heap->persist, mk->nworkers * sizeof(*mk->threads));
    if (mk->workers == NULL || mk->threads == NULL)
        return false;
    for (uint32_t i = 0; i < mk->nworkers; i++) {
        mk->workers[i].heap = heap;
        mk->workers[i].index = i;
        mk->workers[i].marker.heap = heap;
        mk->workers[i].marker.queue.stack = 1 + i;
    }
    return true;
}

void
gcrt_workers_finish(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;

    ahalf_store_full(&mk->stop, 1);
    ahalf_add_full(&mk->bell, 1);
    gcrt_os_wake(&mk->bell, INT32_MAX);
    for (uint32_t i = 0; i < mk->nstarted; i++)
        gcrt_os_thread_join(mk->threads[i]);
    mk->nstarted = 0;
}

/* Guaranteed CPUs of worker i, in millionths. */
static uint64_t
share_of(const struct gc_heap *heap, const struct pacer_workers *shares, uint32_t i)
{
    double part = shares->fractional * heap->cpus;

    if (i < shares->dedicated)
        return MILLION;
    if (i > shares->dedicated)
        return 0;
    return part >= 1 ? MILLION : (uint64_t)(part * MILLION);
}

void
gcrt_workers_start(struct gc_heap *heap, const struct pacer_workers *shares)
{
    struct marking *mk = &heap->marking;

    for (uint32_t i = 0; i < mk->nworkers; i++)
        aword_store_relaxed(&mk->workers[i].share, share_of(heap, shares, i));
    while (mk->nstarted < mk->nworkers
            && gcrt_os_thread_start(&heap->os, &mk->threads[mk->nstarted], worker_main,
                    &mk->workers[mk->nstarted]))
        mk->nstarted++;
    ahalf_add_full(&mk->bell, 1); /* pairs: marking.bell */
    gcrt_os_wake(&mk->bell, INT32_MAX);
}
