/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_PACERSIM_H
#define GCRT_TESTS_PACERSIM_H

/*
 * A fluid model of a program and its machine, which drives the pacer through whole cycles.
 *
 * What varies is a product of curves over the number of the cycle, times a plain program's
 * value (pacersim.c).  The machine has `procs` CPUs.  Workers get what gcrt_pacer_workers
 * asks for; mutators want `threads` CPUs and share what is left; workers use the rest if
 * `idle` allows.  A CPU that marks scans `scan` bytes a nanosecond, one that runs the program
 * allocates `alloc`.  While a cycle runs, the mutators owe the assist ratio's work for what
 * they allocate; what workers scan is credit for it, as in the library, and the ratio is
 * brought up to date once a millisecond.  Stacks are scanned by their threads and roots are
 * read by one thread before marking opens.  What is alive when a cycle starts survives it;
 * what is allocated during it is born black.  After it one thread sweeps, helped by the
 * others above the goal; the next cycle waits for that.  Nothing in the model knows how the
 * pacer decides, so bounds on its results are statements about the pacer.
 */

#include "gc/pacer.h"

#define SIM_CYCLES 128
#define KIB        ((uint64_t)1 << 10)
#define MIB        ((uint64_t)1 << 20)

enum shape { ONE, CONSTANT, RAMP, STEP, SAWTOOTH, BURST, NOISE, ALTERNATE };

/* One factor of an input. */
struct curve {
    enum shape shape;
    double from, to; /* values; NOISE: any value between */
    unsigned at;     /* cycle: RAMP's start, STEP's place, else the period */
    unsigned until;  /* RAMP's end */
};

#define CURVES 4
typedef struct curve curves[CURVES]; /* multiplied; unset ones are 1 */

/* All are factors of the plain program's values, but those marked, which are off if unset. */
struct program {
    const char *name;
    curves alloc, scan; /* bytes a nanosecond and CPU */
    curves live, stack, globals;
    curves scannable;   /* part of the heap's bytes that must be scanned */
    curves threads;     /* CPUs that the mutators want, as a part of all */
    curves gogc;        /* below 0: off */
    curves heap_min;
    curves assists;     /* most of a mutator's time that it gives to assists */
    curves limit;       /* unset: none; else the goal by a memory limit, in MiB */
    curves forced;      /* unset: 0; >= 1: a cycle is forced a third of the way */
    curves late;        /* unset: 0; MiB that are allocated at once when the trigger is near */
    curves jump;        /* unset: 0; MiB that are allocated at once while it marks */
    curves idle;        /* unset: 0; part of the idle CPUs that workers use */
};

/* What one cycle did. */
struct row {
    uint64_t marked_before, trigger, start, peak, marked;
    uint64_t goal; /* the pacer's, but by a limit: the larger of that and what lives */
    double live;
    double peak_ratio; /* peak / goal */
    double share;      /* of CPU time while marking: workers and assists */
    double assist;     /* ... assists alone */
    double burst;      /* the most that assists took at once, of the mutators' time */
    double overall;    /* marking's part of the CPU time since the last cycle, without idle */
};

struct sim {
    struct pacer p;
    const struct program *prog;
    unsigned procs;
    uint64_t seed;
    uint64_t heap;       /* now */
    uint64_t fresh_from; /* what is above it was allocated since heap_work was counted */
    struct row rows[SIM_CYCLES];
};

/* Fills rows[0 .. cycles). */
void pacersim_run(struct sim *s, const struct program *prog, unsigned procs, unsigned cycles,
        uint64_t seed);

/* Of a sound pacer, at any moment; fails the test otherwise. */
void pacersim_check(const struct pacer *p);
struct pacer_assist pacersim_revise(const struct pacer *p, const struct pacer_progress *now);

/* ---- results over rows [from, to) ---- */

struct summary {
    double goal;             /* mean, MiB */
    double start;            /* mean of start / goal */
    double least, peak;      /* extremes of peak / goal */
    double share, assist;    /* means */
    double share_max, burst_max;
    double overall;          /* mean */
    double swing;            /* (highest - lowest start) / mean start */
    unsigned turns;          /* reversals of the start with both legs above 1 % */
    unsigned settled;        /* first cycle from which starts are within 1 % of the last */
};

struct summary pacersim_summary(const struct sim *s, unsigned from, unsigned to);

#endif
