/* SPDX-License-Identifier: MIT */
/*
 * gc_stats: Go's MemStats.
 *
 * Purpose: the handful of numbers that most hosts want, in one struct.
 * Place: behind the public gc_stats_read; the same snapshot as the metrics.
 * Invariants: alloc = total_alloc - bytes freed; heap_objects = mallocs - frees; heap_sys =
 * heap_idle + heap_inuse; sys = heap_sys + metadata_sys.  docs/observability.md names the
 * metric of each field.
 * Concurrency and cost: one snapshot.
 */
#include "metrics/stats.h"

#include "gc/mutator.h"

#include <string.h>

_Static_assert(GC_STATS_CLASSES == NUM_CLASSES, "by_size has a row per class");

static void
fill_objects(const struct snapshot *s, gc_stats *ret)
{
    ret->total_alloc = s->allocs_bytes;
    ret->alloc = ret->heap_alloc = s->memory.heap_objects;
    ret->mallocs = s->allocs_objects + s->tiny_allocs;
    ret->frees = s->frees_objects + s->tiny_allocs;
    ret->heap_objects = s->objects;
    for (unsigned i = 0; i < NUM_CLASSES; i++) {
        ret->by_size[i].size = gcrt_class_bytes[i];
        ret->by_size[i].mallocs = s->allocs[i];
        ret->by_size[i].frees = s->frees[i];
    }
}

static void
fill_memory(const struct memory_classes *m, gc_stats *ret)
{
    ret->sys = m->total;
    ret->heap_inuse = m->heap_objects + m->heap_unused;
    ret->heap_idle = m->heap_free + m->heap_released;
    ret->heap_released = m->heap_released;
    ret->heap_sys = ret->heap_inuse + ret->heap_idle;
    ret->metadata_sys = m->total - ret->heap_sys;
}

static void
fill_cycles(const struct snapshot *s, gc_stats *ret)
{
    uint64_t busy = s->gc_cpu_ns - s->idle_ns;

    ret->next_gc = s->heap_goal;
    ret->last_gc_ns = s->last_gc_epoch_ns;
    ret->stack_inuse = s->scan_stack;
    ret->num_gc = s->cycles;
    ret->num_forced_gc = s->cycles_forced;
    ret->pause_max_ns = aword_load_acquire(&s->pauses->max_ns); /* pairs: timehist.max */
    ret->pause_total_ns = aword_load_relaxed(&s->pauses->total_ns);
    if (s->total_cpu_ns > 0)
        ret->gc_cpu_fraction = (double)busy / (double)s->total_cpu_ns;
}

void
gcrt_stats_fill(const struct snapshot *s, gc_stats *ret)
{
    memset(ret, 0, sizeof(*ret));
    fill_objects(s, ret);
    fill_memory(&s->memory, ret);
    fill_cycles(s, ret);
}

void
gc_stats_read(gc_heap *heap, gc_stats *ret)
{
    struct snapshot s;

    memset(ret, 0, sizeof(*ret));
    heap = gcrt_heap_resolve(heap);
    if (heap == NULL)
        return;
    gcrt_snapshot_read(heap, &s);
    gcrt_stats_fill(&s, ret);
}

void
gc_thread_stats_read(gc_thread_stats *ret)
{
    const struct gcrt_mutator *m = gc_impl_self.mutator;

    memset(ret, 0, sizeof(*ret));
    if (m == NULL)
        return;
    *ret = (gc_thread_stats){ .total_alloc = m->account.bytes, .assists = m->account.assists,
        .assist_ns = m->account.assist_ns, .assist_max_ns = m->account.assist_max_ns,
        .waits = m->account.waits, .wait_ns = m->account.wait_ns, .pauses = m->account.pauses,
        .pause_ns = m->account.pause_ns, .pause_max_ns = m->account.pause_max_ns };
}
