/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_RUNNER_H
#define GCRT_GC_RUNNER_H

/*
 * The runner: host callbacks that somebody has to call, and the threads that call them.
 *
 * A job lies in a record of whoever posts it.  Its words are roots from when it is posted
 * until its function has returned.
 */

#include "alloc/base/atomic.h"
#include "alloc/base/lock.h"
#include "alloc/base/rcu.h"

struct gc_heap;
struct gcrt_mutator;

#define RUNNER_WORDS   2
/* Callbacks at once, slow ones included, and one thread that watches them. */
#define RUNNER_THREADS 32
/* The largest opt.cleanup_threads. */
#define RUNNER_SERVING_MAX 16

struct runner_job {
    struct cds_list_head node; /* runner: while it waits */
    /*
     * Calls the host.  The job is the function's from its first line on: it may be freed, or
     * posted again.  In the function the thread is attached, inside and not critical.
     */
    void (*fn)(struct gc_heap *heap, struct runner_job *job);
    void *words[RUNNER_WORDS]; /* const while posted: roots, each exact; or NULL */
    const char *what;          /* const: "cleanup": what the host calls it */
    const void *host;          /* const: the host's function, to be named if it is slow */
    bool waiting;              /* lock: it is in the queue */
};

enum runner_state {
    RUNNER_FREE, /* no thread */
    RUNNER_ALIVE,
    RUNNER_OVER, /* ends by itself; who wants its place, or the heap's end, joins it */
    RUNNER_JOINED
};

/* A thread of the runner's. */
struct runner_thread {
    struct gc_heap *heap;    /* const */
    enum runner_state state; /* lock */
    pthread_t thread;        /* the thread's own; read when it is over */
    bool add_nice;           /* const: its parent is no thread of the collector's */
    bool reported;           /* lock: its callback has been called slow */
    uint64_t since;          /* lock: when its callback began; 0: it is idle */
    const char *what;        /* lock: and which that is */
    const void *host;        /* lock */
};

struct runner {
    struct lock lock;           /* RANK_RUNNER */
    struct cds_list_head queue; /* lock: first come, first served */
    struct runner_job cursor;   /* lock: of who visits the queue; fn is NULL */
    aword waiting;              /* lock; read racily: jobs in the queue */
    ahalf bell;                 /* futex; lock: something has changed for the idle */
    ahalf alive;                /* futex; lock: threads */
    uint32_t active;            /* lock: threads with a callback */
    uint32_t dozing;            /* lock: idle threads that do not watch */
    bool stop;                  /* lock: nothing more is begun; threads end */
    bool held;                  /* lock: they begin nothing; somebody runs all by himself */
    struct runner_thread threads[RUNNER_THREADS]; /* lock */
    aword slow;                 /* atomic: callbacks that took longer than cleanup_slow_ms */
};

void gcrt_runner_init(struct gc_heap *heap);

/*
 * The job runs once, soon: on a thread of the runner's, or in gc_run_cleanups.  If there is no
 * such thread, gcrt_crew_look starts one, as the coordinator does when it holds nobody.  The caller
 * is a thread of the collector's, or attached and critical.  It may hold locks up to
 * RANK_RUNNER.
 */
void gcrt_runner_post(struct gc_heap *heap, struct runner_job *job);
/* The coordinator: all of the list, in its order; their words have been marked. */
void gcrt_runner_post_all(struct gc_heap *heap, struct cds_list_head *jobs);
/*
 * Takes a job back: true if it will not run.  False if it has begun, or is not posted.  The
 * caller is attached and critical, and knows that the job's record still exists.
 */
bool gcrt_runner_cancel(struct gc_heap *heap, struct runner_job *job);
/* Calls up to max callbacks on the calling thread; how many.  Attached, inside. */
size_t gcrt_runner_run(struct gc_heap *heap, size_t max);

/* ---- the coordinator ---- */

/* The words of all waiting jobs: queues them as raw work; the bytes looked at.  After H3. */
size_t gcrt_runner_collect(struct gc_heap *heap);
/* For the verifier: calls fn for each word and its address. */
void gcrt_runner_visit(struct gc_heap *heap,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at), void *arg);

/* ---- whoever takes jobs ---- */

#define RUNNER_NAME_MAX 200

/* A callback that was or is slow, for those who must say so outside the lock. */
struct runner_late {
    const char *what; /* NULL: none */
    const void *host;
    uint64_t ns;
    bool over;
};

/* The first job is the caller's, and in words what it keeps alive; NULL if none waits. */
struct runner_job *gcrt_runner_take_locked(struct runner *r, void *words[RUNNER_WORDS]);
/*
 * The words come, or go, as roots.  Before the critical section ends in which that happens, and
 * not under the lock.  m NULL: a thread of the collector's, which has marked them.
 */
void gcrt_runner_shade(struct gcrt_mutator *m, void *const words[RUNNER_WORDS]);
/* Calls the host, which must leave the thread as it found it. */
void gcrt_runner_call(struct gc_heap *heap, struct gcrt_mutator *m, struct runner_job *job);
/* Nanoseconds; UINT64_MAX for never. */
uint64_t gcrt_runner_slow_ns(const struct gc_heap *heap);
void gcrt_runner_report(struct gc_heap *heap, const struct runner_late *late);
void gcrt_runner_name(const void *host, char name[RUNNER_NAME_MAX]);

/* ---- the end ---- */

/* No thread is left.  Waiting jobs are forgotten. */
void gcrt_runner_finish(struct gc_heap *heap);

#endif
