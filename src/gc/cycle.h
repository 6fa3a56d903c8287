/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_CYCLE_H
#define GCRT_GC_CYCLE_H

/* The cycle: its steps, the coordinator that runs them, and those who ask for one. */

#include "gc/heap.h"
#include "gc/report.h"

/* Bits of cycles->wanted. */
enum {
    CYCLE_BY_PACER = 1, /* the heap has reached its trigger */
    CYCLE_FORCED = 2,   /* somebody waits for it */
    CYCLE_LOOK = 4,     /* somebody wants to look at the heap between cycles (look.h) */
    CYCLE_SHUT_DOWN = 8,
    CYCLE_STRESS = 16, /* stress=N counted down */
    CYCLE_INTERN_GROW = 32, /* the table of interned bytes is short of buckets */
    CYCLE_REGION = 64,  /* much address space of freed arenas waits for a cycle */
    CYCLE_POPULATE = 128, /* the heap has huge pages now, and no populator */
    CYCLE_GO_ON = 256,    /* who has begun a cycle leaves the rest of it */
    CYCLE_THREADS = 512   /* the runner or the scavenger may want a thread */
};

/* ---- whoever sits in the coordinator's seat (seat.h): cycle.c ---- */

/* A cycle from its beginning to its end.  False: up to where it is to be gone on with. */
bool gcrt_cycle_run(struct gc_heap *heap, bool forced);
/* The rest of it; false again only while the caller drives. */
bool gcrt_cycle_go_on(struct gc_heap *heap);
/*
 * In a forked child: the parent's cycle is brought to an end (fork.c).  If this process
 * forks in the meantime, its child begins again.
 */
void gcrt_cycle_finish_inherited(struct gc_heap *heap);

/* ---- the coordinator: coordinator.c ---- */

/* Starts the coordinator.  False if the OS has no thread. */
bool gcrt_cycles_init(struct gc_heap *heap);
/* Ends a running cycle, and the coordinator. */
void gcrt_cycles_finish(struct gc_heap *heap);

/*
 * Asks for a cycle; returns at once.  Any thread, critical or not.  False if there is no
 * coordinator, in a forked child, and the OS has no thread for one.
 */
bool gcrt_cycle_request(struct gc_heap *heap, unsigned why);
/* stress=N: counts slow paths down to a request. */
void gcrt_cycle_stress(struct gc_heap *heap);

/*
 * Returns when a cycle that started after the call is complete with its sweep.  An attached
 * caller is outside meanwhile.  Fatal on the coordinator.
 */
void gcrt_cycle_collect(struct gc_heap *heap);
/* And gives all free memory back to the OS; returns the bytes. */
size_t gcrt_cycle_collect_and_free(struct gc_heap *heap);
/* Is the caller the coordinator, which can wait for no cycle: in a function of the host's? */
bool gcrt_cycle_is_coordinator(const struct gc_heap *heap);
/* Is there a coordinator?  One is made if there is none; false if the OS refuses. */
bool gcrt_cycle_can_run(struct gc_heap *heap);

#endif
