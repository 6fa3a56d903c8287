/* SPDX-License-Identifier: MIT */
#ifndef GCRT_DEBUG_H
#define GCRT_DEBUG_H

#include <gcrt/options.h>

GC_IMPL_BEGIN

/*
 * Walks the whole heap and checks the equations of spans, their bitmaps and sweepgens, who
 * holds each span and page, and the counters.  Holds every attached thread meanwhile: for
 * tests and for suspicion, not for production traffic.  GC_ERR_CORRUPT names the first broken
 * invariant in gc_last_error(); GC_ERR_NOMEM: there was no memory to check with;
 * GC_ERR_THREAD: in a forked child, if the OS has no thread for the collector.  Any thread.
 */
GC_API GC_MUST_CHECK gc_status gc_verify(gc_heap *heap);

GC_IMPL_END

#endif
