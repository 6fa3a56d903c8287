/* SPDX-License-Identifier: MIT */
#ifndef GCRT_SIM_FIBERS_H
#define GCRT_SIM_FIBERS_H

/*
 * The simulation's machine: fibers, a scheduler that a seed drives, virtual time.
 *
 * Every thread of the library and of the simulated host is a fiber of one OS thread, so a
 * run is a pure function of its seeds.  Fibers switch at sim_point() (alloc/base/sim.h) and
 * where they wait; nothing else runs between two points.
 */

#include "alloc/base/atomic.h"
#include "alloc/base/rand.h"

#include <gcrt/thread.h>

#define FIBERS_MAX 48
#define FIBER_STACK ((size_t)128 << 10)

/* What a fiber waits for. */
enum wait { WAIT_NOTHING, WAIT_WORD, WAIT_LOCK, WAIT_FIBER, WAIT_TIME, WAIT_OVER };

struct fiber {
    void *sp;                   /* while it does not run */
    char *stack;                /* FIBER_STACK bytes */
    struct gc_impl_thread words; /* its gc_impl_self */
    void *(*run)(void *);
    void *arg;
    enum wait wait;
    const void *object;         /* what it waits for: the word, the lock, the fiber */
    uint64_t deadline;          /* ns; UINT64_MAX: none */
    uint64_t steps;             /* points passed: its CPU time */
    uint64_t ranks;             /* locks held, by rank */
    unsigned signalled;         /* a signal is pending */
    unsigned handling;          /* its handler runs */
    unsigned priority;
    bool joined;                /* over, and nobody knows it any more: another may have its place */
};

/* How the scheduler chooses; drawn from the seed, one for a whole run. */
enum policy {
    POLICY_UNIFORM, /* slices of random length, anybody next */
    POLICY_PRIORITY, /* the highest priority runs; priorities change at few random steps */
    POLICY_VICTIM,  /* as uniform, but one fiber at a time hardly ever runs */
    POLICIES
};

struct sched_stats {
    uint64_t runs, steps, switches, signals, handled, jumps;
};

/*
 * Runs main(arg) as the first fiber until it returns; all fibers that it started must have
 * ended by then.  schedule seeds every choice; step_max ends a run that does not end.
 */
void sched_run(uint64_t schedule, uint64_t step_max, void *(*main)(void *), void *arg);

/* ---- for the simulated os and locks ---- */

struct fiber *sched_self(void);
unsigned sched_id(const struct fiber *f);
struct fiber *sched_fiber(unsigned id);
struct fiber *sched_start(void *(*run)(void *), void *arg);
/* Blocks the caller; true if it was woken, false if the deadline has passed. */
bool sched_wait(enum wait why, const void *object, uint64_t deadline);
/* Wakes up to n fibers that wait for the object. */
void sched_wake(enum wait why, const void *object, unsigned n);
/* Gives way to the others. */
void sched_yield_now(void);
uint64_t sched_now(void);
void sched_set_handler(void (*handler)(int), int signal);
void sched_signal(struct fiber *f);
/* A choice that belongs to the schedule, uniform in [0, n). */
uint64_t sched_dice(uint64_t n);

/* ---- for the oracle ---- */

/* Between these two no other fiber runs. */
void sched_freeze(void);
void sched_thaw(void);
const struct sched_stats *sched_statistics(void);
/* A line for the trace that a failure prints; what is kept, not copied. */
void sched_note(const char *what, uint64_t a, uint64_t b);
/* Its last lines. */
void sched_print_trace(uint64_t lines);
/* Ends the process: what went wrong, the trace. */
_Noreturn void sched_fail(const char *format, ...) PRINTF(1, 2);

#endif
