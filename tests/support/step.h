/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_STEP_H
#define GCRT_TESTS_STEP_H

/*
 * Running a function one machine instruction at a time, x86-64 only.  What is called between
 * instructions runs in a SIGTRAP handler, on the thread and its stack; it may do what a
 * signal handler of the library may.
 */

#include <stdint.h>

#if defined(__x86_64__)

/* For a run that does not return: what ends a thread masks signals, and must not be stepped. */
void t_step_stop(void);
/* look() is called after each instruction of run(). */
void t_step_through(void (*run)(void), void (*look)(void));

/*
 * prepare(), run() and check() once for each instruction of run, with event() after it; an
 * instruction that comes again and again is taken twice.  Returns how many times.
 */
unsigned long t_event_everywhere(void (*prepare)(void), void (*run)(void), void (*event)(void),
        void (*check)(void));

/* run(), with event() when it first enters the function. */
void t_event_at(void (*run)(void), uintptr_t function, void (*event)(void));

/* The number of the instruction after which the event of this run came. */
extern unsigned long t_event_step;

/* For long runs: the event comes after every so many instructions only. */
extern unsigned long t_event_stride;

/* Sums, to say at the end. */
unsigned long t_step_runs(void);
unsigned long t_step_total(void);
/* How often what was called after an instruction had the thread go on elsewhere. */
unsigned long t_step_moved(void);

#endif

#endif
