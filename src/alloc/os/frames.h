/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OS_FRAMES_H
#define GCRT_OS_FRAMES_H

/* A walk up the stack of frames that compilers usually make. */

#include "alloc/base/base.h"

/*
 * The return addresses on the calling thread's stack, which is [lo, hi), innermost first, at
 * most n; returns how many, or 0 where it meets anything unusual, or is not on that stack.
 * may_ask: for a frame that was not met before it takes the linker's lock; else that is unusual.
 */
unsigned gcrt_frames_walk(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi, bool may_ask);

#endif
