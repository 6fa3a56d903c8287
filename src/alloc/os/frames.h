/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OS_FRAMES_H
#define GCRT_OS_FRAMES_H

/* A walk up the stack of frames that compilers usually make. */

#include "alloc/base/base.h"

/*
 * The return addresses on the calling thread's stack, which is [lo, hi), innermost first, at
 * most n; returns how many, or 0 where it meets anything unusual, or is not on that stack.
 * unknown: NULL: for a frame that was not met before it takes the linker's lock.  Else that frame
 * is unusual, and *unknown is what to learn about it, or 0.
 */
unsigned gcrt_frames_walk(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi,
        uintptr_t *unknown);
/* Takes the linker's lock. */
void gcrt_frames_learn(uintptr_t at);

#endif
