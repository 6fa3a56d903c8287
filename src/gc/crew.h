/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_CREW_H
#define GCRT_GC_CREW_H

/* The crew: the threads that take jobs from the runner. */

#include "gc/heap.h"

static inline uint32_t
crew_alive_locked(const struct runner *r)
{
    return ahalf_load_relaxed(&r->alive);
}

/* Wakes up to so many idle threads, which will see what has changed. */
static inline void
crew_ring_locked(struct runner *r, int nthreads)
{
    ahalf_add_full(&r->bell, 1);
    gcrt_os_wake(&r->bell, nthreads);
}

/* There are jobs: wakes an idle thread, if there is one.  Whoever may take the runner's lock. */
void gcrt_crew_rouse_locked(struct gc_heap *heap);
/*
 * If jobs wait, the same, or starts a thread.  The coordinator while it holds nobody, or a thread
 * that is not critical; has no lock.
 */
void gcrt_crew_look(struct gc_heap *heap);
/* Is there anything for it to look at? */
bool gcrt_crew_is_wanted(const struct gc_heap *heap);

/*
 * From hold to release the crew begins nothing.  What it runs when it is held is waited for,
 * for cleanup_slow_ms.  Attached, inside.
 */
void gcrt_crew_hold(struct gc_heap *heap);
void gcrt_crew_release(struct gc_heap *heap);

/*
 * Nothing more is begun, and all threads have ended.  False, and the error says which, if a
 * callback has been running for longer than cleanup_slow_ms.  The caller is not attached to
 * the heap.
 */
bool gcrt_crew_stop(struct gc_heap *heap, const char *caller);
/* The heap lives on after all. */
void gcrt_crew_resume(struct gc_heap *heap);
/* In a forked child: no thread but the caller's, if self is one.  Waiting jobs wait on. */
void gcrt_crew_forget(struct gc_heap *heap, const struct gcrt_mutator *self);

#endif
