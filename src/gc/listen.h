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

/* A thread was held up for so long.  Any thread, any place. */
static inline void
listen_note_pause(struct gc_heap *heap, int tid, uint64_t ns)
{
    struct tracing *t = &heap->tracing;
    uint64_t bound = aword_load_relaxed(&t->pause_bound);

    if (LIKELY(bound == 0 || ns < bound || ns <= aword_load_relaxed(&t->pause_ns)))
        return;
    aword_store_relaxed(&t->pause_ns, ns); /* of two at once either is long */
    ahalf_store_release(&t->pause_tid, (unsigned)tid); /* pairs: listen.pause */
}

#endif
