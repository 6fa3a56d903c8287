/* SPDX-License-Identifier: MIT */
#ifndef GCRT_DEBUG_H
#define GCRT_DEBUG_H

#include <gcrt/metrics.h>

GC_IMPL_BEGIN

/*
 * Walks the whole heap and checks the equations of spans, their bitmaps and sweepgens, who
 * holds each span and page, and the counters.  Holds every attached thread meanwhile: for
 * tests and for suspicion, not for production traffic.  GC_ERR_CORRUPT names the first broken
 * invariant in gc_last_error(); GC_ERR_NOMEM: there was no memory to check with;
 * GC_ERR_THREAD: in a forked child, if the OS has no thread for the collector.  Any thread.
 */
GC_API GC_MUST_CHECK gc_status gc_verify(gc_heap *heap);

/*
 * Why is the object alive that obj points to or into?  Writes a path to it, a line for each
 * step: a root (a registered range, a handle, a thread's stack), then each object on the way
 * with its type and the offset of the word that leads on.  Globals and handles are tried before
 * stacks, so a stack, the caller's own too, is named only if nothing else keeps the object.  Of
 * a long path the middle is left out.  Holds every attached thread while it searches the whole
 * heap.  GC_ERR_INVAL: no sink; GC_ERR_NOTFOUND: no heap, or obj is in no object, or nothing
 * leads to it; GC_ERR_NOMEM, GC_ERR_THREAD: as for gc_verify; GC_ERR_SINK: the sink refused.
 * Any thread.
 */
GC_API GC_MUST_CHECK gc_status gc_why_alive(gc_heap *heap, const void *obj, const gc_sink *sink);

GC_IMPL_END

#endif
