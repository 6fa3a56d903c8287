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
 * GC_ERR_THREAD: in a forked child, if the OS has no thread for the collector; GC_ERR_BUSY: called
 * by a listener, on_limit or log on the collector's thread.  Any other thread.
 */
GC_API GC_MUST_CHECK gc_status gc_verify(gc_heap *heap);

/*
 * Why is the object alive that obj points to or into?  Writes a path to it, a line for each
 * step: a root (a registered range, a handle, a thread's stack), then each object on the way
 * with its type and the offset of the word that leads on.  Globals and handles are tried before
 * stacks, so a stack, the caller's own too, is named only if nothing else keeps the object.  Of
 * a long path the middle is left out.  Holds every attached thread while it searches the whole
 * heap.  GC_ERR_INVAL: no sink; GC_ERR_NOTFOUND: no heap, or obj is in no object, or nothing
 * leads to it; GC_ERR_NOMEM, GC_ERR_THREAD, GC_ERR_BUSY: as for gc_verify; GC_ERR_SINK: the sink
 * refused.  Any thread but the collector's.
 */
GC_API GC_MUST_CHECK gc_status gc_why_alive(gc_heap *heap, const void *obj, const gc_sink *sink);

/*
 * Writes the whole graph of reachable objects as a .heapsnapshot file, which the Memory tab of
 * Chrome's developer tools opens: types, sizes, pointers by their offsets, and what each object
 * keeps alive.  It is of one moment: every attached thread is held while the graph is copied, some
 * 100 ns an object, and runs again when the sink is called.  The copy takes up to
 * three times the heap's memory, from the system.  GC_ERR_INVAL: no sink; GC_ERR_NOTFOUND: no heap;
 * GC_ERR_NOMEM; GC_ERR_LIMIT: more than 2^32 objects or a heap of 32 GiB; GC_ERR_THREAD and
 * GC_ERR_BUSY: as for gc_verify; GC_ERR_SINK: the sink refused, and what it has got is no whole
 * file.  Any thread but the collector's.
 */
GC_API GC_MUST_CHECK gc_status gc_heap_snapshot_write(gc_heap *heap, const gc_sink *sink);

GC_IMPL_END

#endif
