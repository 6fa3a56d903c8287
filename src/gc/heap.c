/* SPDX-License-Identifier: MIT */
/*
 * Which heap is meant.
 *
 * Purpose: resolve the gc_heap argument of public functions.
 * Place: api, metrics and kind ask; runtime.c sets the default heap.
 * Invariants: the default heap's pointer is, beside fork's list of heaps, the process's one
 * mutable global.
 * Concurrency: gc_init and gc_shutdown, which set it, are the host's to order, as main's
 * first and last steps.
 * Cost: two loads.
 */
#include "gc/heap.h"

#include "gc/mutator.h"

static struct gc_heap *gcrt_default_heap;

struct gc_heap *
gcrt_heap_default(void)
{
    return gcrt_default_heap;
}

void
gcrt_heap_set_default(struct gc_heap *heap)
{
    gcrt_default_heap = heap;
}

struct gc_heap *
gcrt_heap_resolve(struct gc_heap *heap)
{
    if (heap != NULL)
        return heap->magic == GC_HEAP_MAGIC ? heap : NULL;
    if (gc_impl_self.mutator != NULL)
        return gc_impl_self.mutator->heap;
    return gcrt_default_heap;
}
