/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OS_WINDOW_H
#define GCRT_OS_WINDOW_H

/*
 * Short pieces of code that a signal handler can leave from outside (I-critical).  A window
 * is a test, a jump out, and one instruction that relies on the test:
 *
 *     cmpl $constant, word        the constant is the last thing in it
 *     jne  out
 *     movq value, slot
 *
 * Leaving it is going on at `out`.  On x86-64 only, and not in the simulation: elsewhere there
 * are no windows, and these functions do nothing.
 */

#include "alloc/base/base.h"

/*
 * Where `out` is, if a thread that is interrupted at pc is in a window of this constant: at
 * its jump or behind it; else 0.  pc may be any number.
 */
uintptr_t gcrt_window_exit(uintptr_t pc, uint32_t constant);

/*
 * Has the calling thread leave each window of the constant that a signal has interrupted, as
 * far as the signal's frame lies in the stack between sp and hi.  For signal handlers, and
 * what they call; it does no harm elsewhere.  Async-signal-safe.
 */
void gcrt_window_leave(uintptr_t sp, uintptr_t hi, uint32_t constant);

#endif
