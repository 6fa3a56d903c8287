/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_FUZZ_HEAP_H
#define GCRT_TESTS_FUZZ_HEAP_H

/*
 * What targets with a whole heap share.
 *
 * To say exactly what a collection must free, no stale pointer may lie where stacks are
 * scanned.  So whatever touches objects runs by deep(), tens of KiB further down the stack
 * than collections are started from, and what a target remembers between such calls is
 * hidden (t_hide).
 */

#include <gcrt/gcrt.h>

#include "fuzz.h"
#include "support.h"

/* A small, quickly made heap that overwrites what it frees and collects when told to. */
static inline void
small_heap(gc_options *opt)
{
    gc_options_default(opt);
    opt->reserve = (size_t)256 << 20;
    opt->threads = 1;
    opt->periodic_ms = 0;
    opt->release_ms = 0; /* a run is a function of its input */
    opt->debug_clobberfree = 1;
}

/* fn(arg), with its frames far below those of its caller. */
__attribute__((noinline, unused, no_sanitize("address"))) static void
deep(void (*fn)(void *arg), void *arg)
{
    volatile char *room = __builtin_alloca(64 << 10);

    room[0] = 0;
    fn(arg);
    room[0] = 1; /* or the call could become a jump that gives the room up */
    t_wipe_registers();
}

#endif
