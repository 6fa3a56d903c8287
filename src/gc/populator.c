/* SPDX-License-Identifier: MIT */
/*
 * The populator.
 *
 * Purpose: have the next huge page of a growing heap backed before anybody touches it.
 * Place: the coordinator starts the thread; allocation rings it (mheap.low); it calls
 * alloc/populate.
 *
 * Only a heap that is to have huge pages has the thread: one whose goal is beyond the
 * bytes from which on they are wished for.  Small pages are touched by those who need them.
 *
 * How much: one huge page at a time, while less than one is free and backed; nothing beyond
 * what the scavenger would keep (scavenger.retain), or the two would work against each other.
 * That is twice a huge page at most that the heap would not have had otherwise, and none above
 * its goal.  How fast: the system zeroes some GB/s, as much as two or three threads allocate.
 *
 * Invariants: nobody waits for it but who ends the heap, for one huge page at most.
 * Concurrency: it shares the heap's locks (alloc/populate.c) and atomic words.  `low` counts
 * rings, and is read before a look, so that a ring after the look ends the wait.  What asks for
 * a ring (tell_low) is set by that look, or by the coordinator after a look that found no room.
 * A fork takes the lock of alloc/populate, and the child's coordinator starts a new thread.
 * Cost: idle none; a futex call and a switch of threads for each huge page that the heap grows by.
 */
#include "gc/populator.h"

#include "alloc/populate.h"
#include "gc/mutator.h"
#include "gc/scavenger.h"
#include "gc/trace.h"

/* Bytes that the heap may have backed. */
static uint64_t
allowed(const struct gc_heap *heap)
{
    return aword_load_relaxed(&heap->scavenger.retain);
}

/* Has the heap huge pages, or will it in the next cycle? */
static bool
is_large(const struct gc_heap *heap)
{
    uint64_t bytes = allowed(heap);

    if (bytes == SCAVENGER_NONE)
        bytes = aword_load_relaxed(&heap->mheap.limit);
    return bytes > heap->mheap.huge_from;
}

static bool
is_over(const struct gc_heap *heap)
{
    return ahalf_load_acquire(&heap->populator.stop) != 0;
}

static enum populate
populate(struct gc_heap *heap)
{
    uint64_t since = trace_begin(heap);
    enum populate result = gcrt_populate(&heap->mheap, allowed(heap));

    if (result == POPULATE_DONE)
        TRACE(heap, populate, since, HUGE_BYTES, 0);
    return result;
}

/* Nothing is backed unless somebody who allocates has rung. */
static void *
populator_main(void *arg)
{
    struct gc_heap *heap = arg;
    unsigned seen = heap->populator.seen;
    enum populate last = POPULATE_ENOUGH;

    critical_set(); /* for good: a fork in the log function is none of ours */
    gcrt_os_thread_name("gcrt-populate");
    gcrt_trace_thread_begin();
    while (!is_over(heap) && last != POPULATE_REFUSED) {
        if (last != POPULATE_DONE)
            gcrt_os_wait(&heap->mheap.low, seen, UINT64_MAX);
        seen = ahalf_load_acquire(&heap->mheap.low);
        last = is_over(heap) ? last : populate(heap);
    }
    gcrt_trace_thread_end();
    return NULL;
}

/* ---- the coordinator ---- */

/* Whatever was in the way, more may be allowed now. */
static void
ask_to_be_told(struct mheap *h)
{
    gcrt_lock_acquire(&h->lock);
    h->tell_low = true;
    gcrt_lock_release(&h->lock);
}

/* Without a thread whoever allocates touches first. */
static void
start(struct gc_heap *heap)
{
    struct populator *p = &heap->populator;

    p->seen = ahalf_load_acquire(&heap->mheap.low);
    p->started = gcrt_os_thread_start(&heap->os, &p->thread, populator_main, heap);
}

void
gcrt_populator_swept(struct gc_heap *heap)
{
    if (!heap->populator.started && is_large(heap))
        start(heap);
    if (heap->populator.started)
        ask_to_be_told(&heap->mheap);
}

void
gcrt_populator_finish(struct gc_heap *heap)
{
    struct populator *p = &heap->populator;

    if (!p->started)
        return;
    ahalf_store_full(&p->stop, 1);
    ahalf_add_full(&heap->mheap.low, 1);
    gcrt_os_wake(&heap->mheap.low, 1);
    gcrt_os_thread_join(p->thread);
    p->started = false;
}
