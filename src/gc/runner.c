/* SPDX-License-Identifier: MIT */
/*
 * The runner.
 *
 * Purpose: call the host's functions for things that happened in the collector, where they
 * may do what they like: allocate, take locks, wait, collect.
 * Place: cleanup and pool post jobs; crew's threads, and the host's in gc_run_cleanups, take
 * and call them.
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
 * Invariants: a job is begun once.
 * Concurrency: all under RANK_RUNNER.  An attached thread that takes the lock is critical.
 * fork: the child has the queue.  A callback that runs is the parent's; in the child it is never
 * finished nor begun again, but for one that forks itself.
 * Cost: posting and taking about 0.1 us.
 */
#include "gc/runner.h"

#include "gc/barrier.h"
#include "gc/crew.h"
#include "gc/log.h"
#include "gc/mutator.h"
#include "gc/roots.h"
#include "gc/trace.h"

#include <stdio.h>

/* Jobs that are visited or posted under one hold of the lock. */
#define STEP_JOBS 512

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

void
gcrt_runner_finish(struct gc_heap *heap)
{
    CHECK(crew_alive_locked(&heap->runner) == 0);
    gcrt_lock_finish(&heap->runner.lock);
}

uint64_t
gcrt_runner_slow_ns(const struct gc_heap *heap)
{
    uint32_t ms = heap->options.cleanup_slow_ms;

    return ms == 0 ? UINT64_MAX : (uint64_t)ms * 1000 * 1000;
}

/* ---- what a slow one is called ---- */

void
gcrt_runner_name(const void *host, char name[RUNNER_NAME_MAX])
{
    if (!gcrt_os_symbol(host, name, RUNNER_NAME_MAX))
        (void)snprintf(name, RUNNER_NAME_MAX, "%p", host);
}

void
gcrt_runner_report(struct gc_heap *heap, const struct runner_late *late)
{
    char name[RUNNER_NAME_MAX];

    aword_add_relaxed(&heap->runner.slow, 1);
    gcrt_runner_name(late->host, name);
    gcrt_log(heap, "slow %s: %s %s %llu ms", late->what, name,
            late->over ? "took" : "has been running for",
            (unsigned long long)(late->ns / 1000000));
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
void
gcrt_runner_shade(struct gcrt_mutator *m, void *const words[RUNNER_WORDS])
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

void
gcrt_runner_post(struct gc_heap *heap, struct runner_job *job)
{
    struct runner *r = &heap->runner;

    gcrt_runner_shade(gc_impl_self.mutator, job->words);
    gcrt_lock_acquire(&r->lock);
    append_locked(r, job);
    gcrt_crew_rouse_locked(heap);
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
        gcrt_crew_rouse_locked(heap);
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
        gcrt_runner_shade(gc_impl_self.mutator, job->words);
    return waited;
}

/* The job is the caller's; what it keeps alive is in words. */
struct runner_job *
gcrt_runner_take_locked(struct runner *r, void *words[RUNNER_WORDS])
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
void
gcrt_runner_call(struct gc_heap *heap, struct gcrt_mutator *m, struct runner_job *job)
{
    const char *what = job->what;
    const void *host = job->host;
    uint32_t scopes = m->own.scopes.depth;
    uint64_t start = trace_begin(heap);
    char name[RUNNER_NAME_MAX];

    m->in_callback = true;
    job->fn(heap, job);
    m->in_callback = false;
    TRACE(heap, callback, start, 0, 0);
    if (LIKELY(m->block_depth == 0 && m->own.scopes.depth == scopes))
        return;
    gcrt_runner_name(host, name);
    gcrt_fatal("%s function %s returns inside a %s", what, name,
            m->block_depth != 0 ? "blocking region" : "scope of gc_local");
}

/* ---- a thread of the host's ---- */

static struct runner_job *
take(struct gc_heap *heap, void *words[RUNNER_WORDS])
{
    struct runner_job *job;

    critical_enter();
    gcrt_lock_acquire(&heap->runner.lock);
    job = gcrt_runner_take_locked(&heap->runner, words);
    gcrt_lock_release(&heap->runner.lock);
    if (job != NULL)
        gcrt_runner_shade(gc_impl_self.mutator, words);
    critical_leave();
    return job;
}

/* False if there is no job. */
static bool
run_one(struct gc_heap *heap, struct gcrt_mutator *m, void *words[RUNNER_WORDS])
{
    struct runner_job *job = take(heap, words);
    uint64_t start = gcrt_os_now_ns();
    struct runner_late late;

    if (job == NULL)
        return false;
    late = (struct runner_late){ .what = job->what, .host = job->host, .over = true };
    gcrt_runner_call(heap, m, job);
    late.ns = gcrt_os_now_ns() - start;
    if (late.ns >= gcrt_runner_slow_ns(heap))
        gcrt_runner_report(heap, &late);
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
        gcrt_root_collect_end(&c); /* in a child the buffer would be nobody's */
        gcrt_fork_rest(heap);
        gcrt_lock_acquire(&r->lock);
    }
    cds_list_del_init(&r->cursor.node);
    gcrt_lock_release(&r->lock);
    return c.bytes;
}

void
gcrt_runner_visit(struct gc_heap *heap,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at), void *arg)
{
    struct runner *r = &heap->runner;
    struct runner_job *job;

    gcrt_lock_acquire(&r->lock);
    RCU_LIST_EACH(struct runner_job, job, &r->queue, node)
        for (size_t i = 0; i < RUNNER_WORDS; i++)
            fn(arg, (uintptr_t)job->words[i], (uintptr_t)&job->words[i]);
    gcrt_lock_release(&r->lock);
}
