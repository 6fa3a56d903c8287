/* SPDX-License-Identifier: MIT */
/*
 * Listeners.
 *
 * Purpose: tell the host of cycles and of long pauses while they are news.
 * Place: cycle tells, between its steps; handshake and assist note pauses.
 * Invariants: the host's functions are called by the coordinator alone, with no lock held, and
 * while no mutator is held: one that is held may have a lock that the function wants.
 * Concurrency: the list is copied under its lock, so a function may be called once more while
 * it is taken out; who takes it out waits for that.  `telling` is odd during the calls.
 * Cost: nobody listens: a load a step.
 */
#include "gc/listen.h"

#include "gc/cycle.h"
#include "gc/fork.h"
#include "gc/mutator.h"

#include <string.h>

#define NAP_NS ((uint64_t)50 * 1000)

void
gcrt_listen_forget_pause(struct gc_heap *heap)
{
    aword_store_relaxed(&heap->tracing.pause, 0);
}

bool
gcrt_listen_add(struct gc_heap *heap, gc_listener_fn *fn, void *arg)
{
    struct tracing *t = &heap->tracing;
    unsigned n;

    critical_enter();
    gcrt_lock_acquire(&t->lock);
    n = ahalf_load_relaxed(&t->nlisteners);
    if (n == 0)
        gcrt_listen_forget_pause(heap);
    if (n < LISTENERS) {
        t->listeners[n] = (struct listener){ fn, arg };
        ahalf_store_relaxed(&t->nlisteners, n + 1);
    }
    gcrt_lock_release(&t->lock);
    critical_leave();
    return n < LISTENERS;
}

static bool
take_out_locked(struct tracing *t, gc_listener_fn *fn, const void *arg)
{
    unsigned n = ahalf_load_relaxed(&t->nlisteners);

    for (unsigned i = 0; i < n; i++) {
        if (t->listeners[i].fn != fn || t->listeners[i].arg != arg)
            continue;
        memmove(&t->listeners[i], &t->listeners[i + 1], (n - 1 - i) * sizeof(t->listeners[0]));
        ahalf_store_relaxed(&t->nlisteners, n - 1);
        return true;
    }
    return false;
}

bool
gcrt_listen_remove(struct gc_heap *heap, gc_listener_fn *fn, void *arg)
{
    struct tracing *t = &heap->tracing;
    unsigned telling;
    bool found;

    critical_enter();
    gcrt_lock_acquire(&t->lock);
    found = take_out_locked(t, fn, arg);
    gcrt_lock_release(&t->lock);
    critical_leave();
    telling = ahalf_load_acquire(&t->telling); /* pairs: listen.telling */
    if (telling % 2 == 0 || gcrt_cycle_is_coordinator(heap))
        return found;
    while (ahalf_load_acquire(&t->telling) == telling)
        gcrt_os_sleep_ns(NAP_NS);
    return found;
}

/* ---- the coordinator ---- */

static void
call_all(struct gc_heap *heap, const gc_event *event)
{
    struct tracing *t = &heap->tracing;
    struct listener listeners[LISTENERS];
    unsigned n;

    ahalf_add_full(&t->telling, 1); /* full: before the list is read; pairs: listen.telling */
    gcrt_lock_acquire(&t->lock);
    n = ahalf_load_relaxed(&t->nlisteners);
    memcpy(listeners, t->listeners, n * sizeof(listeners[0]));
    gcrt_lock_release(&t->lock);
    gcrt_fork_rest_begin(heap); /* a function may wait for a lock that a thread has which forks */
    for (unsigned i = 0; i < n; i++)
        listeners[i].fn(heap, event, listeners[i].arg);
    gcrt_fork_rest_end(heap);
    ahalf_add_full(&t->telling, 1);
}

static void
tell_of_pause(struct gc_heap *heap, gc_event event)
{
    aword *word = &heap->tracing.pause;
    uint64_t pause;

    do
        pause = aword_load_relaxed(word);
    while (!aword_cas_full(word, pause, 0));
    event.kind = GC_EVENT_PAUSE;
    event.thread = (int)(pause & (((uint64_t)1 << LISTEN_TID_BITS) - 1));
    event.duration_ns = pause >> LISTEN_TID_BITS;
    call_all(heap, &event);
}

void
gcrt_listen_tell(struct gc_heap *heap, gc_event_kind kind, uint64_t duration_ns)
{
    struct tracing *t = &heap->tracing;
    gc_event event = { .kind = kind, .cycle = aword_load_relaxed(&heap->cycles.started),
        .time_ns = gcrt_os_now_ns(), .duration_ns = duration_ns,
        .heap_bytes = mheap_live(&heap->mheap),
        .live_bytes = aword_load_relaxed(&heap->counters.marked_last) };

    if (ahalf_load_relaxed(&t->nlisteners) == 0 || heap->cycles.driven)
        return; /* who begins to listen meanwhile hears of what the coordinator does */
    if (aword_load_relaxed(&t->pause) != 0)
        tell_of_pause(heap, event);
    call_all(heap, &event);
}
