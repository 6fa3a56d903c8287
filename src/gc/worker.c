/* SPDX-License-Identifier: MIT */
/*
 * Background marking threads.
 *
 * Purpose: mark with a share of the CPUs, and with those that are idle.
 * Place: cycle starts them; they drain work through mark.
 * Invariants: a worker holds no work while it is not counted as active, and is not active
 * while the collector rests for a fork (fork.c; a session counts itself, then looks).
 * Concurrency: sleeping workers wait on marking->bell, which whoever makes work public
 * advances if somebody sleeps (pairs: marking.bell).  Sleeps while marking are bounded by
 * a few PAUSE_NS, so a ring that came too early costs milliseconds, not the cycle.
 * Cost: a look at two clocks per quantum of about 100 microseconds.
 *
 * The share.  All workers together have a guaranteed share of the CPUs: the pacer's 25 %, and
 * more while mutators pay for much of the marking, or threads that never assist leave it
 * to the workers.  It rises by a quarter of the way to options.worker_percent_max per
 * millisecond and falls by a sixteenth, and is remembered from one cycle to the next.  What is
 * done by the part above 25 %, or on idle CPUs, goes to what the workers owe, then to credit.
 * While the heap is above its goal the share is all of that: mutators wait then.
 *
 * Idle CPUs.  Beyond its share a worker may run on CPUs that nobody uses: as many workers
 * as there are CPUs less mutators inside.  Whether the host's other threads want the CPU only
 * the kernel knows, so in idle time a worker offers it every IDLE_NS or so: if the kernel
 * gives it to somebody, or had done so before, the idle time is over, for a time that doubles
 * from try to try, up to BACKOFF_MAX.  (A thread of the scheduler's idle class would be better
 * mannered, but it may hold grey objects when the host takes its CPU for seconds, and the
 * cycle would wait; unprivileged threads cannot leave that class again.)
 * Source: Go's dedicated, fractional and idle workers (mgcpacer.go), for threads that the
 * library does not schedule.
 */
#include "gc/worker.h"

#include "alloc/os/os.h"
#include "gc/copies.h"
#include "gc/limit.h"
#include "gc/mutator.h"
#include "gc/trace.h"

#define QUANTUM_BYTES ((uint64_t)256 << 10)
/* In idle time a quantum is between these, so that it takes about IDLE_NS. */
#define IDLE_MIN ((uint64_t)16 << 10)
#define IDLE_MAX QUANTUM_BYTES
#define IDLE_NS  ((uint64_t)50 * 1000)
#define PAUSE_NS      ((uint64_t)1000 * 1000)
#define MILLION       1000000u
/* An offered CPU was taken if it was away for so long. */
#define OFFER_LOST_NS ((uint64_t)20 * 1000)
#define BACKOFF_MIN   ((uint64_t)1000 * 1000)
#define BACKOFF_MAX   ((uint64_t)16 * 1000 * 1000)
/* The share changes so often, ... */
#define SHARE_NS   ((uint64_t)1000 * 1000)
#define SHARE_UP   4 /* ... by such a part of what is above the pacer's */
#define SHARE_DOWN 16
/* ... if mutators themselves do more than one such part of what they owe. */
#define CHARGED_PART 4

/* ---- activity ---- */

#define ONE_ACTIVATION ((uint64_t)1 << 32 | 1)

void
gcrt_marking_begin(struct gc_heap *heap)
{
    aword_add_full(&heap->marking.activity, ONE_ACTIVATION); /* full: before any pop */
}

/* Does a worker sleep that could mark, too?  To wake others costs a switch for nothing. */
static bool
wants_help(const struct gc_heap *heap)
{
    const struct marking *mk = &heap->marking;
    unsigned sleepers = ahalf_load_relaxed(&mk->sleepers);
    uint64_t percent = heap->cpus * aword_load_relaxed(&mk->share.percent);

    return sleepers != 0
        && mk->nworkers - sleepers < max_size(heap_idle_cpus(heap), (percent + 99) / 100);
}

/*
 * The last one stops.  With no work left in reach this may be the end, for which the
 * coordinator waits; else a worker that sleeps goes on, if one may.  If none may, the one that
 * may first does when its pause is over, or the coordinator looks.
 */
static NOINLINE void
nobody_marks(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;

    if (gcrt_work_is_empty(&heap->work)) {
        ahalf_add_full(&mk->idle_bell, 1);
        gcrt_os_wake(&mk->idle_bell, 1);
        return;
    }
    if (!gcrt_work_is_in_reach(&heap->work))
        gcrt_work_open_late(&heap->work);
    if (wants_help(heap)) {
        gcrt_workers_ring(heap);
    }
}

void
gcrt_marking_end(struct gc_heap *heap)
{
    if ((uint32_t)aword_add_full(&heap->marking.activity, (uint64_t)0 - 1) == 1)
        nobody_marks(heap);
}

void
gcrt_marking_end_quietly(struct gc_heap *heap)
{
    aword_add_full(&heap->marking.activity, (uint64_t)0 - 1);
}

bool
gcrt_marking_is_quiet(struct gc_heap *heap)
{
    uint64_t before = aword_load_acquire(&heap->marking.activity);

    return (uint32_t)before == 0 && gcrt_work_is_empty(&heap->work)
        && aword_load_acquire(&heap->marking.activity) == before;
}

static void
wake_all(struct marking *mk)
{
    ahalf_add_full(&mk->bell, 1); /* pairs: marking.bell */
    gcrt_os_wake(&mk->bell, INT32_MAX);
}

void
gcrt_workers_ring(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;

    if (ahalf_load_acquire(&mk->sleepers) == 0)
        return;
    wake_all(mk);
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

/* Of one cycle. */
struct session {
    uint64_t last_ns, last_cpu; /* when a quantum was booked last */
    uint64_t earned_ns;         /* up to here the share has been booked */
    int64_t spare_ns;           /* CPU time by the share, less CPU time used */
    uint64_t idle_from_ns;      /* no idle time before */
    uint64_t backoff_ns;        /* after the next loss of an idle CPU */
    uint64_t idle_bytes;        /* of a quantum in idle time */
    bool in_share;              /* the quantum under way began within the share */
};

static void
session_begin(struct session *s)
{
    *s = (struct session){ .backoff_ns = BACKOFF_MIN, .idle_bytes = IDLE_MIN };
    s->last_ns = s->earned_ns = gcrt_os_now_ns();
    s->last_cpu = gcrt_os_thread_cpu_ns();
}

/* Then mutators wait for the collector. */
static bool
is_over_goal(const struct gc_heap *heap)
{
    return mheap_live(&heap->mheap) > aword_load_relaxed(&heap->cycles.goal);
}

/* So does who has asked for the cycle; in both cases marking need not be polite. */
static bool
is_awaited(const struct gc_heap *heap)
{
    return ahalf_load_relaxed(&heap->marking.awaited) || is_over_goal(heap);
}

/* The share's time up to now; the CPU time since the last call is used. */
static uint64_t
book_time(const struct worker *w, struct session *s)
{
    uint64_t now = gcrt_os_now_ns(), cpu = gcrt_os_thread_cpu_ns(), used = cpu - s->last_cpu;

    s->spare_ns += (int64_t)((now - s->earned_ns) * aword_load_relaxed(&w->share) / MILLION);
    s->spare_ns -= (int64_t)used;
    s->earned_ns = s->last_ns = now;
    s->last_cpu = cpu;
    return used;
}

/* How long the worker has to pause to get back to its share. */
static uint64_t
over_share_ns(const struct worker *w, const struct session *s)
{
    uint64_t share = aword_load_relaxed(&w->share);

    if (share == 0 || s->spare_ns >= 0) /* the share may have changed since it was looked at */
        return PAUSE_NS;
    return min_size((uint64_t)-s->spare_ns * MILLION / share + 1, 10 * PAUSE_NS);
}

static bool
is_in_share(const struct worker *w, const struct session *s)
{
    return s->spare_ns >= 0 && aword_load_relaxed(&w->share) != 0;
}

/* May the worker use a CPU that seems to be idle? */
static bool
may_idle(const struct worker *w, const struct session *s)
{
    return w->index < heap_idle_cpus(w->heap)
        && (s->last_ns >= s->idle_from_ns || is_awaited(w->heap));
}

/* Somebody wants the CPU: try again later, and later still if that happens again. */
static void
back_off(struct session *s)
{
    s->idle_from_ns = s->last_ns + s->backoff_ns;
    s->backoff_ns = min_size(2 * s->backoff_ns, BACKOFF_MAX);
}

/* Lets anyone have the CPU who waits for it; true if nobody took it. */
static bool
offer_cpu(struct session *s)
{
    uint64_t start = s->last_ns;

    gcrt_os_yield();
    s->last_ns = gcrt_os_now_ns();
    return s->last_ns - start < OFFER_LOST_NS;
}

/* Bytes take as long as memory does, which is five times longer in one heap than in another. */
static void
adapt_quantum(struct session *s, uint64_t used_ns)
{
    if (used_ns < IDLE_NS / 2)
        s->idle_bytes = min_size(2 * s->idle_bytes, IDLE_MAX);
    else if (used_ns > 2 * IDLE_NS)
        s->idle_bytes = max_size(s->idle_bytes / 2, IDLE_MIN);
}

/* The part of n that the part of the share above the pacer's has done. */
static uint64_t
above(uint64_t n, uint64_t share, uint64_t base)
{
    return share > base ? n * (share - base) / share : 0;
}

/* Books the quantum; returns how long to pause now. */
static uint64_t
after_quantum(struct worker *w, struct session *s)
{
    struct marking *mk = &w->heap->marking;
    uint64_t share = aword_load_relaxed(&w->share), base = aword_load_relaxed(&w->base);
    uint64_t start = s->last_ns;
    uint64_t used = book_time(w, s);
    bool kept = used >= (s->last_ns - start) / 2;

    if (s->in_share) {
        aword_add_relaxed(&mk->worker_ns, used);
        aword_add_relaxed(&mk->extra_ns, above(used, share, base));
    } else {
        aword_add_relaxed(&mk->idle_ns, used);
        adapt_quantum(s, used);
    }
    if (is_in_share(w, s))
        return 0;
    if (may_idle(w, s)) {
        if (is_awaited(w->heap) || (kept && offer_cpu(s)))
            return 0;
        back_off(s);
    }
    return over_share_ns(w, s);
}

/* ---- the thread ---- */

void
gcrt_workers_pay(struct gc_heap *heap, uint64_t n, uint64_t extra)
{
    struct marking *mk = &heap->marking;
    uint64_t owed = aword_load_relaxed(&mk->owed), paid = min_size(owed, extra);

    while (paid != 0 && !aword_cas_full(&mk->owed, owed, owed - paid)) {
        owed = aword_load_relaxed(&mk->owed);
        paid = min_size(owed, extra);
    }
    aword_add_relaxed(&mk->credit, n - paid);
    aword_add_relaxed(&heap->counters.done_for_others, paid);
}

/* Scans for one quantum.  True if there may be more. */
static bool
mark_quantum(struct worker *w, struct session *s)
{
    struct gc_heap *heap = w->heap;
    uint64_t share = aword_load_relaxed(&w->share), base = aword_load_relaxed(&w->base);
    uint64_t budget, n;

    s->in_share = is_in_share(w, s);
    budget = s->in_share ? QUANTUM_BYTES : s->idle_bytes;
    n = gcrt_mark_drain(&w->marker, budget);
    gcrt_workers_pay(heap, n, s->in_share ? above(n, share, base) : n);
    if (wants_help(heap)) {
        gcrt_workqueue_share(&heap->work, &w->marker.queue);
        if (gcrt_work_is_in_reach(&heap->work))
            gcrt_workers_ring(heap);
    }
    return n >= budget;
}

/* Marks while there is work and the worker may run; returns how long to pause. */
static uint64_t
mark_session(struct worker *w, struct session *s)
{
    struct gc_heap *heap = w->heap;
    uint64_t pause = 0, start = trace_begin(heap), before = w->marker.scanned;
    bool more;

    gcrt_marking_begin(heap);
    /*
     * Look again: marking may have closed since we were told.  The coordinator closes it,
     * then waits for zero activity; we count ourselves, then look (pairs: mark.open).
     */
    more = ahalf_load_acquire(&heap->marking.open) != 0;
    while (more && pause == 0 && !fork_is_coming(heap)) {
        more = mark_quantum(w, s);
        pause = after_quantum(w, s);
    }
    chaos_point(&heap->os, CHAOS_MARK_DRY);
    TRACE(heap, mark, start, w->marker.scanned - before, 0);
    (void)gcrt_marker_flush(&w->marker);
    gcrt_marking_end(heap);
    return pause;
}

/* May this worker start a session now? */
static bool
may_run(const struct worker *w, const struct session *s)
{
    return is_in_share(w, s) || may_idle(w, s);
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

        (void)book_time(w, &s);
        if (gcrt_work_is_in_reach(&w->heap->work) && may_run(w, &s) && !fork_is_coming(w->heap))
            pause = mark_session(w, &s);
        if (pause != 0 || !gcrt_work_is_in_reach(&w->heap->work))
            sleep_on_bell(mk, seen, pause != 0 ? pause : PAUSE_NS);
    }
}

static void *
worker_main(void *arg)
{
    struct worker *w = arg;
    struct marking *mk = &w->heap->marking;

    critical_set(); /* for good: a fork in a trace function is none of ours */
    gcrt_os_thread_begin("gcrt-mark");
    gcrt_trace_thread_begin();
    for (;;) {
        unsigned seen = ahalf_load_acquire(&mk->bell); /* before stop: it rings after it */

        if (ahalf_load_acquire(&mk->stop))
            break;
        if (ahalf_load_acquire(&mk->open)) /* pairs: mark.open */
            mark_until_closed(w);
        else
            sleep_on_bell(mk, seen, UINT64_MAX);
    }
    gcrt_trace_thread_end();
    return NULL;
}

/* ---- starting and stopping ---- */

bool
gcrt_workers_init(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;

    mk->workers = gcrt_persist_alloc(&heap->persist, (mk->nworkers + 1) * sizeof(*mk->workers));
    mk->threads = gcrt_persist_alloc(&heap->persist, mk->nworkers * sizeof(*mk->threads));
    if (mk->workers == NULL || mk->threads == NULL)
        return false;
    for (uint32_t i = 0; i <= mk->nworkers; i++) {
        mk->workers[i].heap = heap;
        mk->workers[i].index = i;
        mk->workers[i].marker.heap = heap;
        mk->workers[i].marker.queue.stack = i < mk->nworkers ? 1 + i : 0;
        mk->workers[i].marker.copies = gcrt_copies_make(&heap->persist);
        if (mk->workers[i].marker.copies == NULL)
            return false;
    }
    return true;
}

void
gcrt_workers_finish(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;

    ahalf_store_full(&mk->stop, 1);
    wake_all(mk);
    for (uint32_t i = 0; i < mk->nstarted; i++)
        gcrt_os_thread_join(mk->threads[i]);
    mk->nstarted = 0;
}

/* ---- the share ---- */

/* The part of all workers' share that is worker i's: a thread is one CPU at most. */
static uint64_t
share_of(uint64_t share, uint32_t i)
{
    uint64_t before = (uint64_t)i * MILLION;

    return share <= before ? 0 : min_size(share - before, MILLION);
}

/* How much of the CPUs marking threads may take at most, whoever would have to assist. */
static uint64_t
share_max(const struct gc_heap *heap)
{
    uint64_t most = (uint64_t)heap->cpus * heap->options.worker_percent_max * (MILLION / 100);

    if (limit_is_given_up(heap))
        return 0; /* the limiter's cap comes first */
    return min_size(most, (uint64_t)heap->marking.nworkers * MILLION);
}

/* What is left of that above the pacer's share. */
static uint64_t
room(const struct gc_heap *heap)
{
    uint64_t most = share_max(heap), base = heap->marking.share.base;

    return most > base ? most - base : 0;
}

static void
publish_share(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;
    uint64_t share = mk->share.base + mk->share.extra;

    for (uint32_t i = 0; i < mk->nworkers; i++)
        aword_store_relaxed(&mk->workers[i].share, share_of(share, i));
    aword_store_relaxed(&mk->share.percent, share / (heap->cpus * (MILLION / 100)));
}

static void
revise_share(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;
    struct worker_share *sh = &mk->share;
    uint64_t most = room(heap);
    uint64_t charged = aword_load_relaxed(&mk->charged), taken = aword_load_relaxed(&mk->taken);
    bool owing = aword_load_relaxed(&mk->owed) != 0;

    aword_add_relaxed(&mk->charged, (uint64_t)0 - charged);
    aword_add_relaxed(&mk->taken, (uint64_t)0 - taken);
    if (is_over_goal(heap))
        sh->extra = most;
    else if (owing || charged > (charged + taken) / CHARGED_PART)
        sh->extra = min_size(sh->extra + most / SHARE_UP + 1, most);
    else
        sh->extra -= min_size(sh->extra, most / SHARE_DOWN + 1);
    sh->full = owing && sh->extra == most;
    publish_share(heap);
}

void
gcrt_workers_revise(struct gc_heap *heap)
{
    struct worker_share *sh = &heap->marking.share;
    uint64_t now = gcrt_os_now_ns();

    if (now - sh->revised_ns < SHARE_NS)
        return;
    sh->revised_ns = now;
    revise_share(heap);
}

void
gcrt_workers_forgive(struct gc_heap *heap, uint64_t left)
{
    aword *owed = &heap->marking.owed;
    uint64_t n = aword_load_relaxed(owed);

    while (n > left && !aword_cas_full(owed, n, left))
        n = aword_load_relaxed(owed);
}

uint64_t
gcrt_workers_owe(const struct gc_heap *heap)
{
    const struct marking *mk = &heap->marking;

    return mk->share.full ? 0 : aword_load_relaxed(&mk->owed);
}

/* ---- a cycle ---- */

static void
set_base(struct gc_heap *heap, const struct pacer_workers *shares)
{
    struct marking *mk = &heap->marking;
    struct worker_share *sh = &mk->share;

    sh->base = (uint64_t)((shares->dedicated + shares->fractional * heap->cpus) * MILLION);
    sh->extra = min_size(sh->extra, room(heap));
    sh->full = false;
    for (uint32_t i = 0; i < mk->nworkers; i++)
        aword_store_relaxed(&mk->workers[i].base, share_of(sh->base, i));
    publish_share(heap);
}

void
gcrt_workers_start(struct gc_heap *heap, const struct pacer_workers *shares)
{
    struct marking *mk = &heap->marking;

    set_base(heap, shares);
    mk->share.revised_ns = gcrt_os_now_ns();
    if (mk->solo == 0)
        wake_all(mk);
}

void
gcrt_workers_make(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;

    while (mk->nstarted < mk->nworkers
            && gcrt_os_thread_start(&heap->os, &mk->threads[mk->nstarted], worker_main,
                    &mk->workers[mk->nstarted]))
        mk->nstarted++;
}
