/* SPDX-License-Identifier: MIT */
/*
 * The populator.
 *
 * Purpose: have the next huge page of a growing heap backed before anybody touches it.
 * Place: a thread, which the coordinator starts after the first ring; allocation rings
 * (mheap.low); it calls alloc/populate.
 *
 * Only a heap that has huge pages has the thread: allocation rings when the heap has grown
 * to the size from which on they are wished for.  Small pages are touched by those who need them.
 *
 * How much: one huge page at a time, while less than one is free and backed; nothing beyond
 * what the scavenger would keep (scavenger.retain), or the two would work against each other.
 * That is twice a huge page at most that the heap would not have had otherwise, and none above
 * its goal.  How fast: the system zeroes some GB/s, as much as two or three threads allocate.
 *
 * Invariants: who ends the heap waits for it, and who meets a memory limit, for one huge page at
 * most.
 * Concurrency: it shares the heap's locks (alloc/populate.c) and atomic words.  `low` counts
 * rings, and is read before a look, so that a ring after the look ends the wait.  What asks for
 * a ring (tell_low) is set by that look; after one that found no room, by growth and by the
 * coordinator.  What gc_free_os_memory gives back stays away until an allocation rings.
 * A fork takes the lock of alloc/populate; the child's next ring starts a new thread.
 * Cost: idle none; a futex call and a switch of threads for each huge page that the heap grows by.
 */
#include "gc/populator.h"

#include "alloc/populate.h"
#include "gc/cycle.h"
#include "gc/mutator.h"
#include "gc/trace.h"

/* populator.state */
enum { NONE, ASKED, STARTED };

/* Bytes that the heap may have backed; before its first cycle nobody knows. */
static uint64_t
allowed(const struct gc_heap *heap)
{
    uint64_t retain = aword_load_relaxed(&heap->scavenger.retain);

    return retain == 0 ? UINT64_MAX : retain;
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

/* Looks after each ring, and goes on while there is something to do. */
static void *
populator_main(void *arg)
{
    struct gc_heap *heap = arg;
    ahalf *low = &heap->mheap.low;
    enum populate last = POPULATE_DONE;

    critical_set(); /* for good: a fork in the log function is none of ours */
    gcrt_os_thread_begin("gcrt-populate");
    gcrt_os_thread_nice(heap->options.nice);
    gcrt_trace_thread_begin();
    while (!is_over(heap) && last != POPULATE_REFUSED) {
        unsigned seen = ahalf_load_acquire(low);

        last = populate(heap);
        if (last != POPULATE_DONE && !is_over(heap))
            gcrt_os_wait(low, seen, UINT64_MAX);
    }
    gcrt_trace_thread_end();
    return NULL;
}

/* ---- others ---- */

/*
 * Without a thread whoever allocates touches first, and the next ring tries again.  The ring comes
 * from a critical section, where nobody may wait for libc: a thread that is held may have its lock.
 */
void
gcrt_populator_rung(struct mheap *h)
{
    struct gc_heap *heap = container_of_(h, struct gc_heap, mheap);

    if (ahalf_cas_full(&heap->populator.state, NONE, ASKED)
            && !gcrt_cycle_request(heap, CYCLE_POPULATE))
        ahalf_store_release(&heap->populator.state, NONE);
}

void
gcrt_populator_start(struct gc_heap *heap)
{
    struct populator *p = &heap->populator;
    bool ok;

    if (ahalf_load_acquire(&p->state) != ASKED)
        return;
    ok = gcrt_os_thread_start(&heap->os, &p->thread, populator_main, heap);
    ahalf_store_release(&p->state, ok ? STARTED : NONE); /* pairs: populator.start */
}

/* Whatever was in the way, more may be allowed now. */
void
gcrt_populator_swept(struct gc_heap *heap)
{
    gcrt_lock_acquire(&heap->mheap.lock);
    heap->mheap.tell_low = true;
    gcrt_lock_release(&heap->mheap.lock);
}

void
gcrt_populator_forget(struct gc_heap *heap)
{
    ahalf_store_relaxed(&heap->populator.state, NONE);
    heap->mheap.tell_low = true;
}

/* Nobody allocates any more, and who did has detached since. */
void
gcrt_populator_finish(struct gc_heap *heap)
{
    struct populator *p = &heap->populator;

    if (ahalf_load_acquire(&p->state) != STARTED) /* pairs: populator.start */
        return;
    ahalf_store_full(&p->stop, 1);
    ahalf_add_full(&heap->mheap.low, 1);
    gcrt_os_wake(&heap->mheap.low, 1);
    gcrt_os_thread_join(p->thread);
}
