/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_FORK_H
#define GCRT_GC_FORK_H

/*
 * fork: what every heap does before it, and in the child after it.
 *
 * The gate: while a thread forks, no other thread begins a critical section, and none is in
 * one.  The rest: the coordinator stands at a place where it holds no lock and has nothing
 * half done, and no worker marks.  fork.c says why this is enough.
 */

#include "gc/heap.h"

/* ---- the process's heaps ---- */

/* False if the handlers could not be registered when the library was loaded. */
bool gcrt_fork_is_ready(void);
/* No fork happens, and no heap comes or goes, in between.  The caller is not critical. */
void gcrt_fork_lock_heaps(void);
void gcrt_fork_unlock_heaps(void);
/* The heap is complete; it is carried over into children from now on. */
void gcrt_fork_add_heap(struct gc_heap *heap);
/* The heap ends: a child that is forked from now on has none of it but the memory. */
void gcrt_fork_remove_heap_locked(struct gc_heap *heap);

/* The heap whose memory p points into, or NULL.  The caller is not critical. */
struct gc_heap *gcrt_fork_heap_around(const void *p);

/* ---- the gate ---- */

static inline bool
fork_gate_is_closed(const struct gc_heap *heap)
{
    return ahalf_load_acquire(&heap->gate) != 0; /* pairs: fork.gate */
}

/* The calling thread, which has just become critical, is so still, and the gate is open. */
void gcrt_fork_pass_gate(struct gc_heap *heap);

/* ---- the coordinator's rest ---- */

/*
 * Between begin and end the coordinator, and nobody else, may be caught by a fork for as
 * long as that takes.  It holds no lock, touches nothing of the heap, and what it has begun
 * may be abandoned in the child.
 */
void gcrt_fork_rest_begin(struct gc_heap *heap);
void gcrt_fork_rest_end(struct gc_heap *heap);
/* gcrt_os_wait, resting. */
void gcrt_fork_rest_wait(struct gc_heap *heap, ahalf *word, unsigned seen, uint64_t ns);
/* A rest of no length: for long work, between its steps. */
void gcrt_fork_rest(struct gc_heap *heap);

/* Shall the collector's threads rest? */
static inline bool
fork_is_coming(const struct gc_heap *heap)
{
    return ahalf_load_acquire(&heap->cycles.hold) != 0 /* pairs: fork.rest */
        && !heap_is_stopped(heap); /* then it waits */
}

/* ---- in the child, on its coordinator, before anything else ---- */

/* Records and Ps of threads that were left behind are free for others. */
void gcrt_fork_drop_orphans(struct gc_heap *heap);
/* No span has a mark any more.  No mutator sets one meanwhile, and nothing is unswept. */
void gcrt_fork_clear_marks(struct gc_heap *heap);

#endif
