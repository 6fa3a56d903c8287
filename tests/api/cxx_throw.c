/* SPDX-License-Identifier: MIT */
#include "cxx_throw.h"

/* Compiled with -fexceptions, so that an exception of fn's runs the frame's cleanup. */
void
call_in_frame(void (*fn)(void *), void *arg)
{
    void *object = gc_alloc_bytes(64);
    GC_FRAME(object);

    fn(arg);
    GC_KEEP_ALIVE(object);
}
