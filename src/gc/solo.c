/* SPDX-License-Identifier: MIT */
/*
 * Solo marking.
 *
 * Purpose: mark a little on the coordinator's own thread, which is awake, and wake no worker.
 * Place: cycle calls it before it waits for the workers; it drains work through mark, as they do.
 * Invariants: the coordinator counts itself as active and holds no work afterwards, like a
 * worker (worker.h); so how marking ends is the same with and without it.
 * Concurrency: all of it is the coordinator's.  While it marks here it runs no handshake, and
 * workers that somebody rings for come and help.
 * Cost: where little is alive a cycle's marking takes microseconds; a worker that is woken for it,
 * and then wakes the coordinator, tens of them.  In the worst case, a heap that has grown from
 * nothing within a cycle, marking is SOLO_BYTES later on all CPUs.
 *
 * When.  If the last cycle scanned at most SOLO_LAST bytes, roots included, as then this one will
 * hardly scan more than SOLO_BYTES.  Whatever is left after those is the workers'.  Without any
 * worker, for the system had no thread, the coordinator marks all there is.
 *
 * Its time is booked as a worker's within its share, and not as the coordinator's.
 */
#include "gc/solo.h"

#include "alloc/os/os.h"
#include "gc/fork.h"
#include "gc/trace.h"
#include "gc/worker.h"

#define SOLO_LAST  ((uint64_t)128 << 10)
#define SOLO_BYTES ((uint64_t)256 << 10)
#define SOLO_TINY  ((uint64_t)256) /* with tiny=1 or chaos=1, so that small tests have workers */
#define SOLO_STEP  ((uint64_t)1 << 20) /* at a time: then the assist ratio is brought up to date */
#define SOLO_LEAST ((uint64_t)1 << 10) /* what a turn counts for, however little there is */

bool
gcrt_solo_suffices(const struct gc_heap *heap)
{
    const struct counters *n = &heap->counters;

    return aword_load_relaxed(&n->heap_work_last) + aword_load_relaxed(&n->stack_work_last)
            + aword_load_relaxed(&n->globals_last) <= SOLO_LAST;
}

static uint64_t
part_of_one_cycle(const struct gc_heap *heap)
{
    if (heap->marking.nstarted == 0)
        return UINT64_MAX;
    if (!gcrt_solo_suffices(heap))
        return 0;
    return heap->options.debug_tiny || heap->options.debug_chaos ? SOLO_TINY : SOLO_BYTES;
}

void
gcrt_solo_begin(struct gc_heap *heap)
{
    heap->marking.solo = part_of_one_cycle(heap);
}

static uint64_t
mark_some(struct gc_heap *heap, uint64_t budget)
{
    struct marker *mk = &heap->marking.workers[heap->marking.nworkers].marker;
    uint64_t start = trace_begin(heap), before = mk->scanned, n;

    mk->leaves_traced = heap->cycles.driven;
    gcrt_marking_begin(heap);
    n = gcrt_mark_drain(mk, budget);
    gcrt_workers_pay(heap, n, 0);
    chaos_point(&heap->os, CHAOS_MARK_DRY);
    TRACE(heap, mark, start, mk->scanned - before, 0);
    (void)gcrt_marker_flush(mk);
    gcrt_marking_end_quietly(heap);
    return n;
}

void
gcrt_solo_mark(struct gc_heap *heap)
{
    struct marking *mk = &heap->marking;
    uint64_t cpu, n;

    if (mk->solo == 0)
        return;
    cpu = gcrt_os_thread_cpu_ns();
    n = mark_some(heap, min_size(mk->solo, SOLO_STEP));
    if (n == 0 && heap->cycles.driven)
        mk->solo = 0; /* what is left a thread that drives does not reach */
    else if (mk->solo != UINT64_MAX)
        mk->solo -= min_size(mk->solo, max_size(n, SOLO_LEAST));
    cpu = gcrt_os_thread_cpu_ns() - cpu;
    aword_add_relaxed(&mk->worker_ns, cpu);
    heap->cycles.cpu_base -= cpu;
    gcrt_fork_rest(heap);
}
