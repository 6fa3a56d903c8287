/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OS_UNWIND_H
#define GCRT_OS_UNWIND_H

/* Stacks of callers, and the files that code lies in. */

#include "alloc/base/base.h"

/*
 * The calling thread's return addresses, innermost first, at most n; returns how many.
 * [lo, hi) is the stack that it runs on, where that is known: then it is quicker; else 0, 0.
 * Allocates nothing once gcrt_os_backtrace_warm_up has been called in the process.  May wait for
 * the linker's lock, or the unwinder's own, which a thread that is held may have.
 */
unsigned gcrt_os_backtrace(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi);
/*
 * The same without any lock; 0: the stack has unusual frames, or one that was not met before, and
 * then *unknown is what gcrt_os_backtrace_learn shall be told.  That waits as gcrt_os_backtrace
 * does, which does not meet the frames of this call's own callers.
 */
unsigned gcrt_os_backtrace_known(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi,
        uintptr_t *unknown);
void gcrt_os_backtrace_learn(uintptr_t unknown);
void gcrt_os_backtrace_warm_up(void);
/* Are unusual stacks taken by libunwind, which is fast?  Known after gcrt_os_backtrace_warm_up. */
bool gcrt_os_backtrace_is_fast(void);

/* A stretch of code in memory: bytes [start, limit) are those of path from offset on. */
struct os_module {
    uint64_t start, limit, offset;
    const char *path;         /* borrowed for the call; "" if it is not known */
    const uint8_t *build_id;  /* borrowed; NULL: none */
    size_t build_id_bytes;
};

/* Calls fn for each, the program itself first. */
void gcrt_os_each_module(void (*fn)(void *arg, const struct os_module *module), void *arg);

#endif
