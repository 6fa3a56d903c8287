/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_STACK_H
#define GCRT_GC_STACK_H

#include "gc/mutator.h"

/*
 * Collects m's own roots and, unless it is precise, every word of its stack from sp up, and
 * of its saved registers if it is outside, that could point into the heap, as raw work.
 * Returns the bytes looked at.
 */
size_t gcrt_stack_collect(struct gcrt_mutator *m, uintptr_t sp);

/*
 * The same for a stack that nobody runs on: registers, window, the part in use, frames and
 * scopes.  The caller owns it, or reads it (fiber.h).
 */
size_t gcrt_stack_collect_parked(struct gc_heap *heap, const struct gc_stack *s);

/*
 * The lowest address in use of the stack that m runs on, at most sp: on a stack to which
 * the machine's switch is not complete yet, that is where it was parked.
 */
static inline uintptr_t
stack_lowest(const struct gcrt_mutator *m, uintptr_t sp)
{
    uintptr_t parked = m->landing ? m->current->sp : sp;

    return align_down(parked < sp ? parked : sp, WORD);
}

/*
 * The frames of a parked stack.  Those of one that is scanned say nothing that it does not, and
 * may be no more than its bytes: pthread_exit gives up C functions without leaving their frames.
 */
static inline const struct gc_impl_frame *
stack_frames(const struct gc_stack *s)
{
    return s->manners == STACK_PRECISE ? s->frames : NULL;
}

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

/* Clears what marking has left on the dead part of the caller's stack. */
void gcrt_stack_wipe(void);

#endif
