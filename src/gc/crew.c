/* SPDX-License-Identifier: MIT */
/*
 * The crew: the runner's threads.
 *
 * Purpose: have every job called soon, whatever another callback does.
 * Place: the runner rouses it, the coordinator looks after it; runtime.c and fork.c end and
 * forget it; it takes jobs from the runner.
 *
 * Its threads are mutators like any other, so cycles do not wait for what a callback does.
 * opt.cleanup_threads callbacks run at once.  One that has been running for LONG_NS counts
 * no more, so the next job is delayed by no more than that, until RUNNER_THREADS - 1 are stuck.
 * A thread that begins a callback leaves another one behind that is idle, if the OS has
 * one; it watches: looks every LONG_NS who counts no more, and reports, once, a callback that
 * takes longer than opt.cleanup_slow_ms.  Idle threads end after IDLE_NS.  If the OS refuses a
 * thread, jobs wait for those there are, or for the next cycle.
 *
 * Invariants: idle = alive - active > 0 while a callback runs, unless the OS or RUNNER_THREADS
 * forbids.
 * Concurrency: all under the runner's lock; waits are on bell and alive, with values read
 * under it.  A thread gets its place, and counts, under it, and is started when its parent has
 * neither the lock nor is critical: libc's locks may be in the hands of a thread that is held
 * until everybody has answered.  So nobody starts one while the coordinator holds all: jobs
 * that it posts then are looked at when it lets go.  Joining: a thread that ends joins those
 * that ended before it, so at most the last is left to join; never in a critical section, for
 * threads that end want liburcu's locks (fork.c).
 * fork: the child has no thread but the one that forks in a callback, if it is one.
 * Cost: a burst of jobs starts two threads; while callbacks run one of them wakes 100 times a
 * second.
 */
#include "gc/crew.h"

#include "gc/error.h"
#include "gc/mutator.h"

#define LONG_NS ((uint64_t)10 * 1000 * 1000)
#define IDLE_NS ((uint64_t)5 * 1000 * 1000 * 1000)

/* ---- threads come and go ---- */

/* Who is attached is critical meanwhile. */
static void
lock_runner(struct runner *r)
{
    if (gc_impl_self.mutator != NULL)
        critical_enter();
    gcrt_lock_acquire(&r->lock);
}

static void
unlock_runner(struct runner *r)
{
    gcrt_lock_release(&r->lock);
    if (gc_impl_self.mutator != NULL)
        critical_leave();
}

static void *runner_main(void *arg);

static struct runner_thread *
free_place_locked(struct runner *r)
{
    for (size_t i = 0; i < RUNNER_THREADS; i++)
        if (r->threads[i].state == RUNNER_FREE)
            return &r->threads[i];
    return NULL;
}

/* Is the caller's nice level that of the host's threads? */
static bool
is_host(void)
{
    return gc_impl_self.mutator != NULL && !gc_impl_self.mutator->is_runner;
}

/* A place for a thread, which the caller starts; NULL: there is none. */
static struct runner_thread *
place_locked(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;
    struct runner_thread *t = free_place_locked(r);

    if (t == NULL)
        return NULL;
    t->add_nice = is_host();
    t->since = 0;
    t->state = RUNNER_ALIVE;
    ahalf_store_relaxed(&r->alive, crew_alive_locked(r) + 1);
    return t;
}

/* Not critical. */
static void
start(struct gc_heap *heap, struct runner_thread *t)
{
    struct runner *r = &heap->runner;
    pthread_t thread;

    if (t == NULL || gcrt_os_thread_start(&heap->os, &thread, runner_main, t))
        return;
    lock_runner(r);
    t->state = RUNNER_FREE;
    ahalf_store_full(&r->alive, crew_alive_locked(r) - 1);
    gcrt_os_wake(&r->alive, INT32_MAX); /* pairs: runner.end */
    unlock_runner(r);
}

/* Those that have ended are the caller's to join. */
static void
claim_ended_locked(struct runner *r, bool join[RUNNER_THREADS])
{
    for (size_t i = 0; i < RUNNER_THREADS; i++) {
        join[i] = r->threads[i].state == RUNNER_OVER;
        if (join[i])
            r->threads[i].state = RUNNER_JOINED;
    }
}

static void
end_locked(struct runner *r, struct runner_thread *t, bool join[RUNNER_THREADS])
{
    claim_ended_locked(r, join);
    t->state = RUNNER_OVER;
    ahalf_store_full(&r->alive, crew_alive_locked(r) - 1);
    gcrt_os_wake(&r->alive, INT32_MAX); /* pairs: runner.end */
}

static void
join_all(struct runner *r, const bool join[RUNNER_THREADS])
{
    for (size_t i = 0; i < RUNNER_THREADS; i++) {
        if (!join[i])
            continue;
        gcrt_os_thread_join(r->threads[i].thread);
        gcrt_lock_acquire(&r->lock);
        r->threads[i].state = RUNNER_FREE;
        gcrt_lock_release(&r->lock);
    }
}

static bool
may_serve_locked(const struct gc_heap *heap)
{
    const struct runner *r = &heap->runner;

    return heap->options.cleanup_threads != 0 && !r->stop && !r->held;
}

void
gcrt_crew_rouse_locked(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;

    if (may_serve_locked(heap) && crew_alive_locked(r) > r->active
            && r->active < heap->options.cleanup_threads)
        crew_ring_locked(r, 1);
}

bool
gcrt_crew_is_wanted(const struct gc_heap *heap)
{
    return heap->options.cleanup_threads != 0 && aword_load_relaxed(&heap->runner.waiting) != 0;
}

void
gcrt_crew_look(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;
    struct runner_thread *t = NULL;

    if (!gcrt_crew_is_wanted(heap))
        return;
    lock_runner(r);
    if (may_serve_locked(heap) && crew_alive_locked(r) == r->active)
        t = place_locked(heap);
    gcrt_crew_rouse_locked(heap);
    unlock_runner(r);
    start(heap, t);
}

/* ---- a thread ---- */

/* What a thread does next. */
struct next {
    struct runner_job *job; /* call it; or */
    struct runner_thread *start; /* start this one before; or NULL */
    struct runner_late late;       /* say so; or */
    bool end;               /* end; or */
    uint64_t wait_ns;       /* wait */
    unsigned seen;          /* for the bell */
    bool dozes;
    bool join[RUNNER_THREADS];
};

/* How many callbacks run that may make others wait. */
static uint32_t
brisk_locked(const struct runner *r, uint64_t now)
{
    uint32_t n = 0;

    for (size_t i = 0; i < RUNNER_THREADS; i++)
        n += r->threads[i].since != 0 && now - r->threads[i].since < LONG_NS;
    return n;
}

static bool
may_begin_locked(const struct gc_heap *heap, uint64_t now)
{
    const struct runner *r = &heap->runner;
    uint32_t serving = heap->options.cleanup_threads;

    return aword_load_relaxed(&r->waiting) != 0 && !r->held && r->active < RUNNER_THREADS - 1
        && (r->active < serving || brisk_locked(r, now) < serving);
}

/* Returns the place of another one that is to be started, or NULL. */
static struct runner_thread *
begin_locked(struct gc_heap *heap, struct runner_thread *t, const struct runner_job *job,
        uint64_t now)
{
    struct runner *r = &heap->runner;
    uint32_t idle;

    t->since = max_size(now, 1);
    t->what = job->what;
    t->host = job->host;
    t->reported = false;
    r->active++;
    idle = crew_alive_locked(r) - r->active;
    if (idle == 0)
        return place_locked(heap);
    if (r->dozing == idle)
        crew_ring_locked(r, 1);
    return NULL;
}

static bool
is_late_locked(const struct gc_heap *heap, struct runner_thread *t, uint64_t now,
        struct runner_late *late)
{
    if (t->since == 0 || t->reported || now - t->since < gcrt_runner_slow_ns(heap))
        return false;
    t->reported = true;
    *late = (struct runner_late){ .what = t->what, .host = t->host, .ns = now - t->since };
    return true;
}

static bool
find_late_locked(struct gc_heap *heap, uint64_t now, struct runner_late *late)
{
    for (size_t i = 0; i < RUNNER_THREADS; i++)
        if (is_late_locked(heap, &heap->runner.threads[i], now, late))
            return true;
    return false;
}

/* The callback that the thread has called, if it has, is over. */
static void
finish_locked(struct gc_heap *heap, struct runner_thread *t, uint64_t now, struct runner_late *late)
{
    if (t->since == 0)
        return;
    late->over = is_late_locked(heap, t, now, late);
    t->since = 0;
    heap->runner.active--;
}

/* Has it waited for long enough, and is not the one that watches? */
static bool
may_end_locked(const struct runner *r, uint64_t now, uint64_t idle_until)
{
    return now >= idle_until && (r->active == 0 || crew_alive_locked(r) - r->active > 1);
}

static void
choose_locked(struct gc_heap *heap, struct runner_thread *t, uint64_t idle_until,
        void *words[RUNNER_WORDS], struct next *n)
{
    struct runner *r = &heap->runner;
    uint64_t now = gcrt_os_now_ns();

    finish_locked(heap, t, now, &n->late);
    if (n->late.what != NULL)
        return;
    n->end = r->stop;
    if (!n->end && may_begin_locked(heap, now)) {
        n->job = gcrt_runner_take_locked(r, words);
        n->start = begin_locked(heap, t, n->job, now);
        return;
    }
    if (find_late_locked(heap, now, &n->late))
        return;
    n->end = n->end || may_end_locked(r, now, idle_until);
    if (n->end) {
        end_locked(r, t, n->join);
        return;
    }
    n->seen = ahalf_load_relaxed(&r->bell);
    n->dozes = r->active == 0;
    r->dozing += n->dozes;
    n->wait_ns = n->dozes ? idle_until - now : LONG_NS;
}

static void
choose(struct gc_heap *heap, struct runner_thread *t, uint64_t idle_until,
        void *words[RUNNER_WORDS], struct next *n)
{
    *n = (struct next){ .job = NULL };
    for (size_t i = 0; i < RUNNER_WORDS; i++)
        words[i] = NULL;
    critical_enter();
    gcrt_lock_acquire(&heap->runner.lock);
    choose_locked(heap, t, idle_until, words, n);
    gcrt_lock_release(&heap->runner.lock);
    if (n->job != NULL)
        gcrt_runner_shade(gc_impl_self.mutator, words);
    critical_leave();
    start(heap, n->start);
}

/* Outside, so a cycle need not ask a thread that sleeps. */
static void
wait_for_bell(struct runner *r, const struct next *n)
{
    gc_block_enter();
    gcrt_os_wait(&r->bell, n->seen, n->wait_ns);
    gc_block_leave();
    if (!n->dozes)
        return;
    critical_enter();
    gcrt_lock_acquire(&r->lock);
    r->dozing--;
    gcrt_lock_release(&r->lock);
    critical_leave();
}

/* The host's function may wait for anything. */
static void
report_outside(struct gc_heap *heap, const struct runner_late *late)
{
    gc_block_enter();
    gcrt_runner_report(heap, late);
    gc_block_leave();
}

static void
serve(struct gc_heap *heap, struct runner_thread *t, struct next *n)
{
    void *words[RUNNER_WORDS] = { NULL };
    uint64_t idle_until = gcrt_os_now_ns() + IDLE_NS;
    GC_FRAME(words);

    for (;;) {
        choose(heap, t, idle_until, words, n);
        if (n->end)
            return;
        if (n->job != NULL) {
            gcrt_runner_call(heap, gc_impl_self.mutator, n->job);
            idle_until = gcrt_os_now_ns() + IDLE_NS;
        } else if (n->late.what != NULL) {
            report_outside(heap, &n->late);
        } else {
            wait_for_bell(&heap->runner, n);
        }
    }
}

static void
give_up(struct runner *r, struct runner_thread *t, struct next *n)
{
    gcrt_lock_acquire(&r->lock);
    end_locked(r, t, n->join);
    gcrt_lock_release(&r->lock);
}

/* Only the signal of handshakes is for it. */
static void *
runner_main(void *arg)
{
    struct runner_thread *t = arg;
    struct gc_heap *heap = t->heap;
    struct next n;

    t->thread = gcrt_os_thread_self();
    gcrt_os_thread_begin("gcrt-cleanup");
    if (t->add_nice)
        gcrt_os_thread_nice(heap->options.nice);
    if (gcrt_mutator_attach(heap, heap_is_exact(heap)) == GC_OK) {
        gc_impl_self.mutator->is_runner = true;
        gcrt_os_signal_unblock(heap->handshake.signal);
        serve(heap, t, &n);
        gcrt_mutator_detach(gc_impl_self.mutator);
    } else {
        give_up(&heap->runner, t, &n);
    }
    join_all(&heap->runner, n.join);
    return NULL;
}

/* ---- somebody does it himself ---- */

static bool
is_active(struct runner *r)
{
    bool active;

    gcrt_lock_acquire(&r->lock);
    active = r->active != 0;
    gcrt_lock_release(&r->lock);
    return active;
}

static void
set_held(struct gc_heap *heap, bool held)
{
    struct runner *r = &heap->runner;

    lock_runner(r);
    r->held = held;
    unlock_runner(r);
    if (!held)
        gcrt_crew_look(heap);
}

void
gcrt_crew_hold(struct gc_heap *heap)
{
    uint64_t start = gcrt_os_now_ns();

    set_held(heap, true);
    gc_block_enter();
    while (is_active(&heap->runner) && gcrt_os_now_ns() - start < gcrt_runner_slow_ns(heap))
        gcrt_os_sleep_ns(LONG_NS / 10);
    gc_block_leave();
}

void
gcrt_crew_release(struct gc_heap *heap)
{
    set_held(heap, false);
}

/* ---- the end ---- */

/* Waits until all threads have ended; false when the time is up and a callback runs. */
static bool
wait_for_end(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;
    uint64_t start = gcrt_os_now_ns(), limit = gcrt_runner_slow_ns(heap);
    unsigned alive;

    while ((alive = ahalf_load_acquire(&r->alive)) != 0) { /* pairs: runner.end */
        if (gcrt_os_now_ns() - start >= limit && is_active(r))
            return false;
        gcrt_os_wait(&r->alive, alive, LONG_NS);
    }
    return true;
}

/* All threads have ended; who was joining another is joined here. */
static void
join_rest(struct runner *r)
{
    bool join[RUNNER_THREADS];

    gcrt_lock_acquire(&r->lock);
    claim_ended_locked(r, join);
    gcrt_lock_release(&r->lock);
    join_all(r, join);
}

static void
complain(struct gc_heap *heap, const char *caller)
{
    struct runner *r = &heap->runner;
    struct runner_late late = { .what = NULL };
    char name[RUNNER_NAME_MAX];

    gcrt_lock_acquire(&r->lock);
    for (size_t i = 0; i < RUNNER_THREADS && late.what == NULL; i++)
        if (r->threads[i].since != 0)
            late = (struct runner_late){ .what = r->threads[i].what, .host = r->threads[i].host,
                .ns = gcrt_os_now_ns() - r->threads[i].since };
    gcrt_lock_release(&r->lock);
    if (late.what == NULL)
        late = (struct runner_late){ .what = "cleanup" };
    gcrt_runner_name(late.host, name);
    (void)gcrt_error(GC_ERR_BUSY, "%s: %s function %s has been running for %llu ms", caller,
            late.what, name, (unsigned long long)(late.ns / 1000000));
}

bool
gcrt_crew_stop(struct gc_heap *heap, const char *caller)
{
    struct runner *r = &heap->runner;

    gcrt_lock_acquire(&r->lock);
    r->stop = true;
    crew_ring_locked(r, INT32_MAX);
    gcrt_lock_release(&r->lock);
    if (!wait_for_end(heap)) {
        complain(heap, caller);
        gcrt_crew_resume(heap);
        return false;
    }
    join_rest(r);
    return true;
}

void
gcrt_crew_resume(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;

    gcrt_lock_acquire(&r->lock);
    r->stop = false;
    gcrt_lock_release(&r->lock);
    gcrt_crew_look(heap);
}

void
gcrt_crew_forget(struct gc_heap *heap, const struct gcrt_mutator *self)
{
    struct runner *r = &heap->runner;
    bool one = self != NULL && self->is_runner;

    for (size_t i = 0; i < RUNNER_THREADS; i++) {
        struct runner_thread *t = &r->threads[i];

        if (one && t->state == RUNNER_ALIVE && pthread_equal(t->thread, pthread_self()))
            continue;
        t->state = RUNNER_FREE;
        t->since = 0;
    }
    cds_list_del_init(&r->cursor.node);
    ahalf_store_relaxed(&r->alive, one);
    r->active = one;
    r->dozing = 0;
    r->stop = r->held = false;
}
