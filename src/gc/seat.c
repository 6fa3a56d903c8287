/* SPDX-License-Identifier: MIT */
/*
 * The coordinator's seat.
 *
 * Purpose: let more than one thread act as the coordinator, one after the other.
 * Place: the coordinator takes it for what it is asked, drive for a cycle.
 * Invariants: who sits is resting only where the coordinator would (fork.rest), and with nobody in
 * the seat a fork finds it at rest.  coordinator_ns goes on as if one clock had counted it.
 * Concurrency: the seat is taken by a full compare-and-swap and left by a full store, so what
 * one sitter wrote the next one reads (pairs: coordinator.seat).  Nobody waits for the seat
 * itself.  The coordinator, finding it taken, sleeps on its bell, which is rung by whoever
 * leaves the seat while something is wanted.  So either it finds the seat left, or who leaves
 * finds what is wanted (request.pml).
 * Cost: two looks at the thread's CPU clock.
 */
#include "gc/seat.h"

#include "gc/fork.h"

bool
gcrt_seat_take(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;

    if (!ahalf_cas_full(&c->seat, 0, 1)) /* pairs: coordinator.seat */
        return false;
    gcrt_fork_rest_end(heap);
    c->cpu_sat = gcrt_os_thread_cpu_ns();
    c->cpu_base -= c->cpu_sat;
    return true;
}

uint64_t
gcrt_seat_cpu_ns(const struct gc_heap *heap)
{
    return gcrt_os_thread_cpu_ns() - heap->cycles.cpu_sat;
}

uint64_t
gcrt_seat_leave(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;
    uint64_t cpu = gcrt_os_thread_cpu_ns(), sat = cpu - c->cpu_sat;

    c->cpu_base += cpu;
    gcrt_fork_rest_begin(heap);
    ahalf_store_full(&c->seat, 0); /* pairs: coordinator.seat */
    if (ahalf_load_acquire(&c->wanted) != 0) {
        ahalf_add_full(&c->bell, 1);
        gcrt_os_wake(&c->bell, 1);
    }
    return sat;
}
