/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_FIBER_H
#define GCRT_GC_FIBER_H

/*
 * Registered stacks: what a host's fibers run on.
 *
 * state:
 *     FREE     the record is nobody's
 *     OWN      of a thread's own stack, part of its mutator, whose thread alone touches it
 *     EMPTY    nothing on it counts
 *     RUNNING  one mutator's current stack; its thread owns the record
 *     PARKED   nobody's: what lies on it from sp up, the registers and the window hold roots
 *     READ     PARKED, and somebody is scanning it
 *     AWAITED  READ, and a thread waits for the end of that
 *     LOST     it ran on a thread that a forked child does not have
 * All changes but RUNNING -> PARKED, a release store, and the scan's end are
 * compare-and-swaps (pairs: stack.state).  So the record always has at most one owner.
 *
 * cycle is the newest one in which what lies on the stack was seen: the number of the scan
 * of whoever parked it, or of its own.  A parked stack whose cycle is older than the last
 * one that a mutator was scanned in must be scanned before that mutator runs on it.
 */

#include "gc/extent.h"
#include "gc/heap.h"
#include "gc/own.h"

#include <gcrt/stack.h>

struct gcrt_mutator;
struct marker;

enum stack_state {
    STACK_FREE,
    STACK_OWN,
    STACK_EMPTY,
    STACK_RUNNING,
    STACK_PARKED,
    STACK_READ,
    STACK_AWAITED,
    STACK_LOST
};

/* Which threads have run on it: it may hold pointers where precise ones keep none. */
enum stack_manners { STACK_UNUSED, STACK_CONSERVATIVE, STACK_PRECISE };

#define STACK_REGISTERS 12 /* callee-saved ones; fewer are used on x86-64 */
#define STACK_WINDOW    32 /* words: what may be given up between the call and the switch */

struct gc_stack {
    ahalf state;              /* futex: above */
    uint32_t manners;         /* owner, as all that is not said to be another's */
    aword cycle;              /* atomic: owner, or who reads, writes */
    struct gc_heap *heap;     /* const while registered; else NULL */
    struct extent extent;     /* const, but the links: lock */
    struct gc_stack *next;    /* lock: free records */
    uintptr_t sp;             /* while parked: lowest address in use */
    struct gc_impl_frame *frames;
    struct scopes scopes;
    uint32_t nwindow;
    uintptr_t regs[STACK_REGISTERS];
    uintptr_t window[STACK_WINDOW];
};

void gcrt_fibers_init(struct gc_heap *heap);
void gcrt_fibers_finish(struct gc_heap *heap);

/* m attaches: its own stack is [lo, hi), and the current one. */
void gcrt_fiber_begin(struct gcrt_mutator *m, uintptr_t lo, uintptr_t hi);
/* m detaches, on its own thread: the stack that it runs on has nothing on it any more. */
void gcrt_fiber_end(struct gcrt_mutator *m);
/* The same for an m that a forked child does not have. */
void gcrt_fiber_lose(struct gcrt_mutator *m);

/* The stack that is parked while m runs on another; NULL: it runs on its own. */
const struct gc_stack *gcrt_fiber_native(const struct gcrt_mutator *m);

/*
 * After H3: queues every chunk of stacks for workers, which scan those parked and not seen
 * in this cycle.  They count as public work until that is done.
 */
void gcrt_fibers_publish(struct gc_heap *heap);
/* Scans some of them; a measure of the work done, 0 if there was none.  A worker's marker. */
uint32_t gcrt_fibers_mark(struct marker *mk);

/* Calls fn for each parked stack.  All mutators are held. */
void gcrt_fibers_visit(struct gc_heap *heap, void (*fn)(void *arg, struct gc_stack *s), void *arg);
/* The registered stack that the address lies in, or whose record it lies in.  The same. */
const struct gc_stack *gcrt_fibers_find(struct gc_heap *heap, uintptr_t at);

#endif
