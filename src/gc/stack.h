/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_STACK_H
#define GCRT_GC_STACK_H

#include "gc/mutator.h"

/*
 * Collects every word of m's stack from sp up, and of its saved registers if it is outside,
 * that could point into the heap, as raw work.  Returns the bytes looked at.
 */
size_t gcrt_stack_collect(struct gcrt_mutator *m, uintptr_t sp);

/*
 * Calls fn(arg, sp) with all callee-saved registers in the stack above sp, and that frame
 * alive meanwhile.
 */
void gcrt_with_registers(void (*fn)(void *arg, uintptr_t sp), void *arg);

#endif
