/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_STACK_H
#define GCRT_GC_STACK_H

#include "gc/mutator.h"

/*
 * Collects m's own roots and, unless it is precise, every word of its stack from sp up, and of
 * its saved registers if it is outside, that could point into the heap, as raw work.  Returns
 * the bytes looked at.
 */
size_t gcrt_stack_collect(struct gcrt_mutator *m, uintptr_t sp);

/*
 * fn's sp lies so many bytes below the frame that holds the registers, which begin at most
 * STACK_SAVED bytes below it.
 */
#define STACK_SLACK 256
#if defined(__x86_64__)
# define STACK_SAVED 40 /* rbx, r12 to r15; rbp is the frame's first word */
#else
# define STACK_SAVED 0
#endif

/*
 * Calls fn(arg, sp) with all callee-saved registers in the stack above sp, and that frame
 * alive meanwhile.
 */
void gcrt_with_registers(void (*fn)(void *arg, uintptr_t sp), void *arg);

#endif
