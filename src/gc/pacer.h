/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_PACER_H
#define GCRT_GC_PACER_H

#include "alloc/base/base.h"

/*
 * When to start a cycle, and how much marking an allocating thread owes.
 *
 * Pure arithmetic on one struct: no clock, no lock, no atomic operation, no memory.  The
 * collector's coordinator is the only caller of the functions that change the struct; it
 * copies goal, trigger and assist ratio into shared words for everybody else.  Bytes are
 * bytes of heap or bytes scanned ("work"); times are CPU or wall nanoseconds as named.
 *
 * The order of calls, for each cycle:
 *
 *     start_cycle                      before the mutators begin to assist
 *     revise ...                       as often as the ratio shall be fresh
 *     end_cycle                        when marking is complete (or abandon_cycle)
 *     commit(heap_live, false)         at once: goal and trigger of the next cycle
 *     commit(heap_live, true)          may follow when the sweep is complete
 *
 * set_gogc and set_heap_min may come at any point between them.  docs/pacing.md explains
 * the formulas.
 */

#define PACER_NONE     UINT64_MAX /* a goal or trigger that is never reached */
#define PACER_GOGC_OFF (-1)       /* any negative value means off */
#define PACER_HISTORY  4

struct pacer {
    /* Settings. */
    int64_t gogc;            /* percent of growth between cycles; < 0: off */
    uint64_t heap_min;       /* lowest goal at GOGC 100; scales with GOGC */
    uint64_t limit_goal;     /* from a memory limit; PACER_NONE while there is none */
    double utilization_goal; /* share of the CPUs that background marking takes */
    unsigned procs;          /* CPUs that mutators and workers share, >= 1 */

    /* What the last complete cycle found. */
    uint64_t heap_marked;     /* bytes that survived, born-black bytes included */
    uint64_t last_heap_scan;  /* work in heap objects */
    uint64_t last_stack_scan; /* work in stacks and registers */
    uint64_t globals_scan;    /* bytes of global roots, as of the last cycle start */
    double cons_mark;         /* bytes allocated per byte scanned at equal CPU share */
    double cons_mark_history[PACER_HISTORY]; /* oldest first, as measured */

    /* What commit made of it. */
    uint64_t gogc_goal; /* the goal by GOGC alone; PACER_NONE: off */
    uint64_t runway;    /* bytes expected to be allocated while marking */
    uint64_t sweep_min; /* no trigger below this, so that sweeping gets room; 0: swept */

    /* The running cycle. */
    bool in_cycle;
    bool by_trigger;    /* it started because the heap had reached the trigger */
    uint64_t triggered; /* heap_live when it started */
    uint64_t room;      /* what may be allocated in it, however late it started */
};

/* heap_live etc. are snapshots of racy counters; they need not agree with each other. */
struct pacer_progress {
    uint64_t heap_live;  /* marked by the last cycle + allocated since */
    uint64_t heap_scan;  /* scannable bytes in the heap when the cycle started, at most */
    uint64_t stack_scan; /* stack bytes of this cycle */
    uint64_t work;       /* bytes scanned so far: heap + stacks + globals */
    uint64_t owed;       /* of what is left: bytes that only the workers are to scan */
};

/* The exchange rate between allocation and marking.  Both are finite and above 0. */
struct pacer_assist {
    double work_per_byte; /* bytes to scan per byte allocated */
    double bytes_per_work;
};

/* What a cycle cost and found. */
struct pacer_outcome {
    uint64_t heap_live;   /* when marking was complete */
    uint64_t heap_marked; /* bytes with a mark */
    uint64_t heap_work;   /* bytes scanned, by kind */
    uint64_t stack_work;
    uint64_t globals_work;
    uint64_t mark_ns;   /* wall time from start to the end of marking */
    uint64_t assist_ns; /* CPU time of assists, and of workers beyond utilization_goal */
    uint64_t idle_ns;   /* CPU time of marking on CPUs that nobody else wanted */
};

/* How to spend utilization_goal on worker threads. */
struct pacer_workers {
    unsigned dedicated; /* threads that mark without a break */
    double fractional;  /* share of each CPU's time for one more, 0: none needed */
};

/* What the next cycle will scan if it is like the last one. */
uint64_t gcrt_pacer_expected(const struct pacer *p);

/* procs 0 counts as 1.  No cycle is running and the heap is empty and swept. */
void gcrt_pacer_init(struct pacer *p, int64_t gogc, uint64_t heap_min, unsigned procs);

/* Changes GOGC (any negative value: off) and commits. */
void gcrt_pacer_set_gogc(struct pacer *p, int64_t gogc, uint64_t heap_live, bool swept);

/* Changes the lowest goal and commits. */
void gcrt_pacer_set_heap_min(struct pacer *p, uint64_t bytes, uint64_t heap_live, bool swept);

/* Recomputes goal and runway from the last cycle's findings and the settings. */
void gcrt_pacer_commit(struct pacer *p, uint64_t heap_live, bool swept);

/*
 * The heap size that the collector aims to have at the end of marking, and the size at
 * which a cycle shall start.  heap_marked <= trigger <= goal; PACER_NONE: never.
 */
uint64_t gcrt_pacer_goal(const struct pacer *p);
uint64_t gcrt_pacer_trigger(const struct pacer *p);

/* So near to a limit counts as being at it: half of the goal's headroom. */
static inline uint64_t
pacer_near(uint64_t limit)
{
    return limit - limit / 64;
}

/* What a memory limit is compared with, read together.  Bytes. */
struct pacer_memory {
    uint64_t limit;    /* PACER_NONE: off */
    uint64_t mapped;   /* of the heap and its metadata, backed by memory */
    uint64_t external; /* counted by heap_live, too */
    uint64_t free;     /* the part of mapped that is in no span */
    uint64_t objects;  /* the part of mapped that is slots of objects, dead ones included */
    uint64_t usable;   /* the part that is empty slots which objects are expected to find */
};

/*
 * The limit_goal that keeps mapped + external below the limit, PACER_NONE if it is off.  At
 * least heap_marked: less cannot be reached.
 */
uint64_t gcrt_pacer_goal_by_limit(const struct pacer *p, const struct pacer_memory *m);

/* What no collection and no scavenging can bring mapped + external below, as things are. */
uint64_t gcrt_pacer_least_memory(const struct pacer *p, const struct pacer_memory *m);

/* Is it the limit that sets the goal? */
bool gcrt_pacer_is_limited(const struct pacer *p);

/* Bytes counted by heap_marked are gone without a cycle. */
void gcrt_pacer_forget(struct pacer *p, uint64_t bytes);

/* procs may differ from cycle to cycle. */
void gcrt_pacer_start_cycle(struct pacer *p, uint64_t heap_live, uint64_t globals_scan,
        unsigned procs);
void gcrt_pacer_end_cycle(struct pacer *p, const struct pacer_outcome *out);

/* The running cycle ends without a result, if there is one: a child was forked meanwhile. */
void gcrt_pacer_abandon_cycle(struct pacer *p);

/* The assist ratio for this moment of the running cycle. */
struct pacer_assist gcrt_pacer_revise(const struct pacer *p,
        const struct pacer_progress *now);

struct pacer_workers gcrt_pacer_workers(const struct pacer *p);

#endif
