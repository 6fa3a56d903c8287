/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_SNAPSHOT_H
#define GCRT_METRICS_SNAPSHOT_H

/*
 * All numbers of one heap, read once.  Everything that is shown, by name, as text or as
 * gc_stats, comes out of one of these, so sums among the shown values hold exactly.
 *
 * In three blocks: what was counted, what was measured, and what follows from both.
 */

#include "gc/heap.h"
#include "gc/limit.h"
#include "gc/report.h"

#include <gcrt/pool.h>

/* Bytes of memory by what they serve; total is the sum of the others, by construction. */
struct memory_classes {
    uint64_t heap_free;     /* ready, in no span */
    uint64_t heap_objects;  /* reachable objects and dead ones not yet swept */
    uint64_t heap_released; /* ready, in no span, and without memory behind it */
    uint64_t heap_unused;   /* in spans, but in no object */
    uint64_t mcache_inuse;  /* Ps and their tables of runs */
    uint64_t mspan_inuse, mspan_free;
    uint64_t pages;         /* the page allocator's bitmaps, for what is grown */
    uint64_t workbufs;      /* mark work buffers ever used */
    uint64_t profile;       /* the heap profile's tables */
    uint64_t other;         /* the rest of what was made ready */
    uint64_t total;
};

struct snapshot {
    /* objects by class; [CLASS_LARGE] is the large ones */
    uint64_t allocs[NUM_CLASSES], frees[NUM_CLASSES];
    uint64_t unused[NUM_CLASSES]; /* slots of spans; derived: of them, in no object */
    uint64_t large_alloc_bytes, large_free_bytes;
    uint64_t tiny_allocs; /* tiny objects beyond the first of their block */
    uint64_t refills, runs_taken;
    uint64_t ps;

    uint64_t cycles_automatic, cycles_driven, cycles_forced, cycles_started;
    uint64_t gogc;        /* percent; UINT64_MAX: off */
    uint64_t limit_soft, limit_hard, limit_missed, external, limited_cycle;
    uint64_t heap_goal, heap_live, heap_min, heap_pacing, heap_trigger;
    uint64_t stacks, stacks_at_switch;
    uint64_t scan_heap, scan_stack, scan_globals;
    uint64_t last_gc_epoch_ns;
    uint64_t swept_spans, freed_spans;
    uint64_t mark_rounds; /* flush handshakes that found more work */
    uint64_t mark_wall_ns, mark_cpu_last, scanned;
    uint64_t cleanups, finalizers, decide_ns; /* records; time */
    uint64_t weak_live, weak_emptied, weak_cancelled;
    uint64_t handshakes, signals, signal_answers, proxy_answers, throttles;
    uint64_t left_to_workers; /* scan bytes */
    uint64_t worker_percent;  /* of all CPUs */
    uint64_t barrier_flushes, barrier_words;
    gc_pool_stats pools;
    uint64_t attaches, mutators, inside;
    uint64_t arenas_made, arenas_freed, arenas_deferred;
    uint64_t arena_made_bytes, arena_freed_bytes, arena_waiting;
    uint64_t ephemerons_filed, ephemerons_fired, ephemerons_broken;
    uint64_t intern_live, intern_dropped, weakmap_rebuilds;
    uint64_t cleanups_registered, cleanups_queued, cleanups_executed, cleanups_cancelled;
    uint64_t finalizers_registered, finalizers_queued, finalizers_executed;
    uint64_t callbacks_slow;
    uint64_t cpus;
    uint64_t address_space;

    /* CPU time */
    uint64_t profile_samples, profile_lost;
    uint64_t limited_ns, throttle_ns; /* the latter: waits, by the clock */
    uint64_t assist_ns, worker_ns, idle_ns, pause_ns, sweep_ns, coordinator_ns;
    uint64_t scavenge_assist_ns, scavenge_background_ns;
    uint64_t scavenge_assist, scavenge_background, scavenge_forced; /* bytes */
    uint64_t populate_bytes;
    uint64_t scavenge_goal;

    /* borrowed: read while they are shown, so each agrees with itself only */
    const struct timehist *pauses, *assists, *assists_cpu, *assist_threads, *throttle_waits;
    const struct timehist *reach;
    const struct timehist *pause[ACTION_COUNT];
    const struct timehist *latency[ACTION_COUNT];

    /* derived */
    uint64_t cycles;
    uint64_t allocs_objects, allocs_bytes, frees_objects, frees_bytes;
    uint64_t objects;
    uint64_t scan_total;
    uint64_t mark_rate; /* bytes per second of CPU time */
    uint64_t outside, idle_ps;
    uint64_t gc_cpu_ns, scavenge_ns, user_cpu_ns, total_cpu_ns;
    uint64_t scavenge_bytes;
    uint64_t mapped; /* memory.total less memory.heap_released */
    struct memory_classes memory;
};

/* Reads the heap.  Any thread; no lock, nobody waits. */
void gcrt_snapshot_read(struct gc_heap *heap, struct snapshot *ret);

/*
 * The parts of reading that are pure: sums from counts and times.  wall_cpu_ns is CPUs x
 * wall time since the heap's start.
 */
void gcrt_snapshot_derive(struct snapshot *s, struct count_floor *floor,
        uint64_t wall_cpu_ns);

/* objects: bytes of heap objects.  Racy inputs cost accuracy, never the sum. */
void gcrt_snapshot_divide(const struct memory_inputs *in, uint64_t objects,
        struct memory_classes *ret);

#endif
