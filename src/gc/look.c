/* SPDX-License-Identifier: MIT */
/*
 * Looks.
 *
 * Purpose: let any thread have something done while no cycle runs: verifying, searching for a
 * path, copying the graph.
 * Place: the api asks; the coordinator, the only thread that may run handshakes, does it.
 * Invariants: a look is done once, whatever other requests come.
 * Concurrency: the queue is a stack of records that callers push with a compare-and-swap and the
 * coordinator takes whole; it is reversed, so first come is first served.  `done` is stored
 * after fn's results (pairs: look.done), and the record is its caller's again from then on: the
 * bell to wake him is the heap's.
 * Cost: cold.
 */
#include "gc/look.h"

#include "gc/cycle.h"

static void
push(struct gc_heap *heap, struct look *look)
{
    aword *top = &heap->cycles.looks;
    uint64_t old;

    do {
        old = aword_load_relaxed(top);
        look->next = (struct look *)(uintptr_t)old;
    } while (!aword_cas_full(top, old, (uintptr_t)look)); /* pairs: look.push */
}

bool
gcrt_look(struct gc_heap *heap, struct look *look)
{
    ahalf *bell = &heap->cycles.looked;

    if (!gcrt_cycle_can_run(heap))
        return false;
    ahalf_store_relaxed(&look->done, 0);
    push(heap, look);
    (void)gcrt_cycle_request(heap, CYCLE_LOOK);
    for (;;) {
        unsigned seen = ahalf_load_acquire(bell);

        if (ahalf_load_acquire(&look->done)) /* pairs: look.done */
            return true;
        gcrt_os_wait(bell, seen, UINT64_MAX);
    }
}

static struct look *
take_all(struct gc_heap *heap)
{
    aword *top = &heap->cycles.looks;
    struct look *newest, *oldest = NULL;
    uint64_t old;

    do
        old = aword_load_acquire(top); /* pairs: look.push */
    while (!aword_cas_full(top, old, 0));
    for (newest = (struct look *)(uintptr_t)old; newest != NULL;) {
        struct look *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void
gcrt_look_serve(struct gc_heap *heap)
{
    struct look *look = take_all(heap);

    while (look != NULL) {
        struct look *next = look->next;

        look->fn(heap, look);
        ahalf_store_release(&look->done, 1); /* pairs: look.done */
        ahalf_add_full(&heap->cycles.looked, 1);
        gcrt_os_wake(&heap->cycles.looked, INT32_MAX);
        look = next;
    }
}

void
gcrt_look_forget(struct gc_heap *heap)
{
    aword_store_relaxed(&heap->cycles.looks, 0);
}
