/* SPDX-License-Identifier: MIT */
/*
 * The runner.
 *
 * Purpose: call the host's functions for things that happened in the collector, where they
 * may do what they like: allocate, take locks, wait, collect.
 * Place: cleanup and pool post jobs; runtime.c and fork.c end and forget it; it calls the
 * host.
 *
 * Threads.  They are mutators like any other, so cycles do not wait for what a callback
 * does.  A thread that has begun a callback leaves another one behind that is idle, if the
 * OS has one; so somebody watches.  opt.cleanup_threads callbacks run at once; one that has
 * been running for LONG_NS counts no more, so the next job is delayed by no more than that,
 * until RUNNER_THREADS - 1 are stuck.  One that takes longer than opt.cleanup_slow_ms is
 * reported, once, while it runs.  Idle threads end after IDLE_NS.  If the OS refuses a
 * thread, jobs wait for those there are, for the next job posted, or for the end of the next
 * cycle.
 *
 * A list under a lock, not liburcu's wait-free queue.  Who posts does so once for an object
 * that had a record under a lock before; a callback costs more than the lock; jobs must be
 * visited while they wait, and taken back, which that queue cannot do; and neither the rank
 * check, nor TSan, nor the simulation sees into it.
 *
 * Roots.  A job's words are roots while it waits: visited under the lock some at a time, with
 * a cursor in the queue that stays where it is when the lock is let go of.  Who takes a job
 * has them in a frame of its own before it leaves the critical section, and shades them as
 * the old values of the roots that are gone; who posts one shades them as new ones.
 *
 * Invariants: a job is begun once.  idle = alive - active > 0 while a callback runs, unless
 * the OS or RUNNER_THREADS forbids.
 * Concurrency: all under RANK_RUNNER; waits are on bell and alive, with values read under
 * the lock.  An attached thread that takes the lock is critical.  Joining: a thread that ends
 * joins those that ended before it, so at most the last is left to join; never in a critical
 * section, for threads that end want liburcu's locks (fork.c).
 * fork: the child has the queue and no thread.  A callback that runs is the parent's; in the
 * child it is never finished nor begun again, but for one that forks itself.
 * Cost: posting and taking about 0.1 us; a burst of jobs starts two threads.
 */
#include "gc/runner.h"

#include "gc/barrier.h"
#include "gc/error.h"
#include "gc/mutator.h"
#include "gc/roots.h"

#include <stdio.h>

#define LONG_NS ((uint64_t)10 * 1000 * 1000)
#define IDLE_NS ((uint64_t)5 * 1000 * 1000 * 1000)
/* Jobs that are visited or posted under one hold of the lock. */
#define STEP_JOBS 512
#define NAME_MAX_  200

void
gcrt_runner_init(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;

    gcrt_lock_init(&r->lock, RANK_RUNNER);
    CDS_INIT_LIST_HEAD(&r->queue);
    CDS_INIT_LIST_HEAD(&r->cursor.node);
    for (size_t i = 0; i < RUNNER_THREADS; i++)
        r->threads[i].heap = heap;
}

static uint64_t
slow_ns(const struct gc_heap *heap)
{
    uint32_t ms = heap->options.cleanup_slow_ms;

    return ms == 0 ? UINT64_MAX : (uint64_t)ms * 1000 * 1000;
}

/* ---- what a slow one is called ---- */

/* A callback that was or is slow, for those who must say so outside the lock. */
struct late {
    const char *what; /* NULL: none */
    const void *host;
    uint64_t ns;
    bool over;
};

static void
name_function(const void *host, char name[NAME_MAX_])
{
    if (!gcrt_os_symbol(host, name, NAME_MAX_))
        (void)snprintf(name, NAME_MAX_, "%p", host);
}

static void
report(struct gc_heap *heap, const struct late *late)
{
    char line[NAME_MAX_ + 100], name[NAME_MAX_];
    int len;

    aword_add_relaxed(&heap->runner.slow, 1);
    name_function(late->host, name);
    len = snprintf(line, sizeof(line), "gcrt: slow %s: %s %s %llu ms", late->what, name,
            late->over ? "took" : "has been running for",
            (unsigned long long)(late->ns / 1000000));
    if (heap->options.log != NULL)
        heap->options.log(line, (size_t)len, heap->options.log_arg);
    else
        gcrt_warn("%s", line + 6);
}

/* ---- threads come and go ---- */

static void *runner_main(void *arg);

static uint32_t
alive_locked(const struct runner *r)
{
    return ahalf_load_relaxed(&r->alive);
}

static void
ring_locked(struct runner *r, int nthreads)
{
    ahalf_add_full(&r->bell, 1);
    gcrt_os_wake(&r->bell, nthreads);
}

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

static void
start_locked(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;
    struct runner_thread *t = free_place_locked(r);

    if (t == NULL)
        return;
    t->add_nice = is_host();
    t->since = 0;
    if (!gcrt_os_thread_start(&heap->os, &t->thread, runner_main, t))
        return;
    t->state = RUNNER_ALIVE;
    ahalf_store_relaxed(&r->alive, alive_locked(r) + 1);
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
    ahalf_store_full(&r->alive, alive_locked(r) - 1);
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

/* ---- jobs ---- */

static struct runner_job *
first_locked(struct runner *r)
{
    struct runner_job *job;

    RCU_LIST_EACH(struct runner_job, job, &r->queue, node)
        if (job->fn != NULL)
            return job;
    return NULL;
}

static void
unlink_locked(struct runner *r, struct runner_job *job)
{
    cds_list_del(&job->node);
    job->waiting = false;
    aword_store_relaxed(&r->waiting, aword_load_relaxed(&r->waiting) - 1);
}

/* What the job's words come to, or stop to, keep alive.  Not under the lock. */
static void
shade(struct gcrt_mutator *m, void *const words[RUNNER_WORDS])
{
    if (m != NULL && barrier_state(m->self) != BARRIER_OFF)
        gcrt_barrier_shade_range(m, words, RUNNER_WORDS * sizeof(words[0]));
}

static void
append_locked(struct runner *r, struct runner_job *job)
{
    CHECK(!job->waiting);
    job->waiting = true;
    cds_list_add_tail(&job->node, &r->queue);
    aword_store_relaxed(&r->waiting, aword_load_relaxed(&r->waiting) + 1);
}

/* There are jobs, and perhaps too few threads. */
static void
rouse_locked(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;
    uint32_t serving = heap->options.cleanup_threads;

    if (serving == 0 || r->stop)
        return;
    if (alive_locked(r) == r->active)
        start_locked(heap);
    else if (r->active < serving)
        ring_locked(r, 1);
}

void
gcrt_runner_post(struct gc_heap *heap, struct runner_job *job)
{
    struct runner *r = &heap->runner;

    shade(gc_impl_self.mutator, job->words);
    gcrt_lock_acquire(&r->lock);
    append_locked(r, job);
    rouse_locked(heap);
    gcrt_lock_release(&r->lock);
}

void
gcrt_runner_post_all(struct gc_heap *heap, struct cds_list_head *jobs)
{
    struct runner *r = &heap->runner;

    while (!cds_list_empty(jobs)) {
        gcrt_lock_acquire(&r->lock);
        for (size_t i = 0; i < STEP_JOBS && !cds_list_empty(jobs); i++) {
            struct runner_job *job = container_of_(jobs->next, struct runner_job, node);

            cds_list_del(&job->node);
            append_locked(r, job);
        }
        rouse_locked(heap);
        gcrt_lock_release(&r->lock);
    }
}

bool
gcrt_runner_cancel(struct gc_heap *heap, struct runner_job *job)
{
    struct runner *r = &heap->runner;
    bool waited;

    gcrt_lock_acquire(&r->lock);
    waited = job->waiting;
    if (waited)
        unlink_locked(r, job);
    gcrt_lock_release(&r->lock);
    if (waited)
        shade(gc_impl_self.mutator, job->words);
    return waited;
}

/* The job is the caller's; what it keeps alive is in words. */
static struct runner_job *
take_locked(struct runner *r, void *words[RUNNER_WORDS])
{
    struct runner_job *job = first_locked(r);

    if (job == NULL)
        return NULL;
    unlink_locked(r, job);
    for (size_t i = 0; i < RUNNER_WORDS; i++)
        words[i] = job->words[i];
    return job;
}

/* Calls the host, which must leave the thread as it found it. */
static void
call(struct gc_heap *heap, struct gcrt_mutator *m, struct runner_job *job)
{
    const char *what = job->what;
    const void *host = job->host;
    uint32_t scopes = m->own.depth;
    char name[NAME_MAX_];

    m->in_callback = true;
    job->fn(heap, job);
    m->in_callback = false;
    if (LIKELY(m->block_depth == 0 && m->own.depth == scopes))
        return;
    name_function(host, name);
    gcrt_fatal("%s function %s returns inside a %s", what, name,
            m->block_depth != 0 ? "blocking region" : "scope of gc_local");
}

/* ---- a thread ---- */

/* What a thread does next. */
struct next {
    struct runner_job *job; /* call it; or */
    struct late late;       /* say so; or */
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

    return aword_load_relaxed(&r->waiting) != 0 && r->active < RUNNER_THREADS - 1
        && (r->active < serving || brisk_locked(r, now) < serving);
}

static void
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
    idle = alive_locked(r) - r->active;
    if (idle == 0)
        start_locked(heap);
    else if (r->dozing == idle)
        ring_locked(r, 1);
}

static bool
is_late_locked(const struct gc_heap *heap, struct runner_thread *t, uint64_t now,
        struct late *late)
{
    if (t->since == 0 || t->reported || now - t->since < slow_ns(heap))
        return false;
    t->reported = true;
    *late = (struct late){ .what = t->what, .host = t->host, .ns = now - t->since };
    return true;
}

static bool
find_late_locked(struct gc_heap *heap, uint64_t now, struct late *late)
{
    for (size_t i = 0; i < RUNNER_THREADS; i++)
        if (is_late_locked(heap, &heap->runner.threads[i], now, late))
            return true;
    return false;
}

/* The callback that the thread has called, if it has, is over. */
static void
finish_locked(struct gc_heap *heap, struct runner_thread *t, uint64_t now, struct late *late)
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
    return now >= idle_until && (r->active == 0 || alive_locked(r) - r->active > 1);
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
        n->job = take_locked(r, words);
        begin_locked(heap, t, n->job, now);
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
        shade(gc_impl_self.mutator, words);
    critical_leave();
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
report_outside(struct gc_heap *heap, const struct late *late)
{
    gc_block_enter();
    report(heap, late);
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
            call(heap, gc_impl_self.mutator, n->job);
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

    gcrt_os_thread_name("gcrt-cleanup");
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

/* ---- a thread of the host's ---- */

static struct runner_job *
take(struct gc_heap *heap, void *words[RUNNER_WORDS])
{
    struct runner_job *job;

    critical_enter();
    gcrt_lock_acquire(&heap->runner.lock);
    job = take_locked(&heap->runner, words);
    gcrt_lock_release(&heap->runner.lock);
    if (job != NULL)
        shade(gc_impl_self.mutator, words);
    critical_leave();
    return job;
}

/* False if there is no job. */
static bool
run_one(struct gc_heap *heap, struct gcrt_mutator *m, void *words[RUNNER_WORDS])
{
    struct runner_job *job = take(heap, words);
    uint64_t start = gcrt_os_now_ns();
    struct late late;

    if (job == NULL)
        return false;
    late = (struct late){ .what = job->what, .host = job->host, .over = true };
    call(heap, m, job);
    late.ns = gcrt_os_now_ns() - start;
    if (late.ns >= slow_ns(heap))
        report(heap, &late);
    return true;
}

size_t
gcrt_runner_run(struct gc_heap *heap, size_t max)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;
    void *words[RUNNER_WORDS] = { NULL };
    size_t n = 0;
    GC_FRAME(words);

    if (m->in_callback)
        return 0; /* callbacks do not nest */
    while (n < max && aword_load_relaxed(&heap->runner.waiting) != 0
            && run_one(heap, m, words))
        n++;
    return n;
}

/* ---- the coordinator ---- */

static size_t
collect_some_locked(struct runner *r, struct root_collector *c)
{
    struct cds_list_head *cursor = &r->cursor.node, *next;
    size_t n = 0;

    for (; n < STEP_JOBS && (next = cursor->next) != &r->queue; n++) {
        const struct runner_job *job = container_of_(next, struct runner_job, node);

        for (size_t i = 0; i < RUNNER_WORDS; i++)
            gcrt_root_collect_word(c, (uintptr_t)job->words[i]);
        cds_list_del(cursor);
        cds_list_add(cursor, next);
    }
    return n;
}

size_t
gcrt_runner_collect(struct gc_heap *heap)
{
    struct root_collector c = { .heap = heap, .exact = RAW_EXACT };
    struct runner *r = &heap->runner;
    size_t n = STEP_JOBS;

    if (aword_load_relaxed(&r->waiting) == 0)
        return 0; /* who posts from here on shades */
    gcrt_lock_acquire(&r->lock);
    cds_list_add(&r->cursor.node, &r->queue);
    while (n == STEP_JOBS) {
        n = collect_some_locked(r, &c);
        gcrt_lock_release(&r->lock);
        gcrt_fork_rest(heap);
        gcrt_lock_acquire(&r->lock);
    }
    cds_list_del_init(&r->cursor.node);
    gcrt_lock_release(&r->lock);
    gcrt_root_collect_end(&c);
    return c.bytes;
}

void
gcrt_runner_visit(struct gc_heap *heap,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at, bool is_handle), void *arg)
{
    struct runner *r = &heap->runner;
    struct runner_job *job;

    gcrt_lock_acquire(&r->lock);
    RCU_LIST_EACH(struct runner_job, job, &r->queue, node)
        for (size_t i = 0; i < RUNNER_WORDS; i++)
            fn(arg, (uintptr_t)job->words[i], (uintptr_t)&job->words[i], true);
    gcrt_lock_release(&r->lock);
}

void
gcrt_runner_look(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;

    if (aword_load_relaxed(&r->waiting) == 0)
        return;
    gcrt_lock_acquire(&r->lock);
    rouse_locked(heap);
    gcrt_lock_release(&r->lock);
}

/* ---- the end ---- */

static bool
is_active(struct runner *r)
{
    bool active;

    gcrt_lock_acquire(&r->lock);
    active = r->active != 0;
    gcrt_lock_release(&r->lock);
    return active;
}

/* Waits until all threads have ended; false when the time is up and a callback runs. */
static bool
wait_for_end(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;
    uint64_t start = gcrt_os_now_ns(), limit = slow_ns(heap);
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
    struct late late = { .what = NULL };
    char name[NAME_MAX_];

    gcrt_lock_acquire(&r->lock);
    for (size_t i = 0; i < RUNNER_THREADS && late.what == NULL; i++)
        if (r->threads[i].since != 0)
            late = (struct late){ .what = r->threads[i].what, .host = r->threads[i].host,
                .ns = gcrt_os_now_ns() - r->threads[i].since };
    gcrt_lock_release(&r->lock);
    if (late.what == NULL)
        late = (struct late){ .what = "cleanup" };
    name_function(late.host, name);
    (void)gcrt_error(GC_ERR_BUSY, "%s: %s function %s has been running for %llu ms", caller,
            late.what, name, (unsigned long long)(late.ns / 1000000));
}

bool
gcrt_runner_stop(struct gc_heap *heap, const char *caller)
{
    struct runner *r = &heap->runner;

    gcrt_lock_acquire(&r->lock);
    r->stop = true;
    ring_locked(r, INT32_MAX);
    gcrt_lock_release(&r->lock);
    if (!wait_for_end(heap)) {
        complain(heap, caller);
        gcrt_runner_resume(heap);
        return false;
    }
    join_rest(r);
    return true;
}

void
gcrt_runner_resume(struct gc_heap *heap)
{
    struct runner *r = &heap->runner;

    gcrt_lock_acquire(&r->lock);
    r->stop = false;
    gcrt_lock_release(&r->lock);
    gcrt_runner_look(heap);
}

void
gcrt_runner_finish(struct gc_heap *heap)
{
    CHECK(alive_locked(&heap->runner) == 0);
    gcrt_lock_finish(&heap->runner.lock);
}

void
gcrt_runner_forget(struct gc_heap *heap, const struct gcrt_mutator *self)
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
    r->stop = false;
}
