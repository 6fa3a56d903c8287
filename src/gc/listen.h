/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_LISTEN_H
#define GCRT_GC_LISTEN_H

/* Who is told of cycles and of long pauses. */

#include "gc/heap.h"

/* False if there are too many. */
bool gcrt_listen_add(struct gc_heap *heap, gc_listener_fn *fn, void *arg);
/* False if there is none such.  Waits for a call under way; the caller is outside. */
bool gcrt_listen_remove(struct gc_heap *heap, gc_listener_fn *fn, void *arg);

/* Pauses up to now are not to be told: nobody listened, or they were another process's. */
void gcrt_listen_forget_pause(struct gc_heap *heap);

/* The coordinator, while no mutator is held: first of long pauses, then of this. */
void gcrt_listen_tell(struct gc_heap *heap, gc_event_kind kind, uint64_t duration_ns);

/*
 * A pause and whose it was are one word: nanoseconds, of which 42 bits are more than an hour,
 * above the thread's number, which Linux keeps below 2^22.
 */
#define LISTEN_TID_BITS 22
#define LISTEN_NS_MAX   (((uint64_t)1 << (64 - LISTEN_TID_BITS)) - 1)

/* A thread was held up for so long.  Any thread, any place. */
static inline void
listen_note_pause(struct gc_heap *heap, int tid, uint64_t ns)
{
    struct tracing *t = &heap->tracing;
    uint64_t bound = aword_load_relaxed(&t->pause_bound), pause, longest;

    if (LIKELY(bound == 0 || ns < bound))
        return;
    pause = min_size(ns, LISTEN_NS_MAX) << LISTEN_TID_BITS | (unsigned)tid;
    do
        longest = aword_load_relaxed(&t->pause);
    while (longest < pause && !aword_cas_full(&t->pause, longest, pause));
}

#endif
