/* SPDX-License-Identifier: MIT */
/*
 * arena=1: who touches memory of an arena that was freed.
 *
 * Purpose: say so in one line, in place of a segmentation fault that says nothing.
 * Place: runtime makes heaps; drop guards the memory.
 * Invariants: a fault that is none of ours goes on as it would have without us.  The handler is the
 * process's, and stays, as that of handshakes does.
 * Concurrency: the handler runs on the thread that faulted, which may be anywhere in the host;
 * it reads the heap's descriptors, which stay, and ends the process.
 * Cost: none but the mode's.
 */
#include "gc/region.h"

/* The heap whose memory the calling thread most likely meant. */
static struct gc_heap *
heap_of_thread(void)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    return m != NULL ? m->heap : gcrt_heap_default();
}

static void
say_which(const struct gc_heap *heap, uintptr_t address)
{
    const struct mspan *s = mheap_span_of(&heap->mheap, address);
    const char *name;

    if (s == NULL || !span_is_dropped(s))
        return;
    name = s->alloc.large.owner_name;
    gcrt_fatal("access to %#lx in arena %llu%s%s%s, which was freed", (unsigned long)address,
            (unsigned long long)s->alloc.large.owner, name == NULL ? "" : " (",
            name == NULL ? "" : name, name == NULL ? "" : ")");
}

static void
on_fault(int signal, siginfo_t *info, void *context)
{
    struct gc_heap *heap = heap_of_thread();

    (void)signal, (void)context;
    if (heap != NULL && heap->regions.faults)
        say_which(heap, (uintptr_t)info->si_addr);
    gcrt_os_fault_goes_on(heap == NULL ? NULL : &heap->regions.other_faults);
}

bool
gcrt_region_init(struct gc_heap *heap)
{
    struct regions *r = &heap->regions;

    r->faults = heap->options.debug_arena != 0;
    return !r->faults || gcrt_os_on_fault(&heap->os, on_fault, &r->other_faults);
}
