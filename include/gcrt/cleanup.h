/* SPDX-License-Identifier: MIT */
#ifndef GCRT_CLEANUP_H
#define GCRT_CLEANUP_H

#include <gcrt/options.h>

GC_IMPL_BEGIN

/*
 * Callbacks of the host's run on threads of the heap's own, or, with opt.cleanup_threads 0,
 * only in gc_run_cleanups.  Such a thread is attached to the heap, is inside, and blocks all
 * signals but the collector's.  A callback may call anything, gc_collect included; it may not
 * end its thread, detach it, or leave by longjmp or by an exception.
 */

/*
 * Runs up to max callbacks that are due on the calling thread, in the order in which they
 * became due, and returns how many.  0, too, in a callback: they do not nest.  heap NULL: the
 * caller's.  With opt.cleanup_threads not 0 it helps the heap's own threads.  Fatal unless the
 * caller is attached to the heap and inside.
 */
GC_API size_t gc_run_cleanups(gc_heap *heap, size_t max);

GC_IMPL_END

#endif
