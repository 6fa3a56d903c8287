/* SPDX-License-Identifier: MIT */
#ifndef GCRT_RUNTIME_H
#define GCRT_RUNTIME_H

#include <gcrt/options.h>

GC_IMPL_BEGIN

/*
 * In every function that takes a gc_heap, NULL means the calling thread's heap, else the
 * process's default heap, which gc_init makes.
 */

/*
 * Makes the default heap and attaches the caller.  opt NULL: gc_options_from_env.
 * GC_ERR_BUSY if there is a default heap already.
 */
GC_API GC_MUST_CHECK gc_status gc_init(const gc_options *opt);

/*
 * Detaches the caller if it is attached to the default heap, and destroys that heap.  A
 * fatal error if other threads are still attached to it.  No-op without a default heap.
 */
GC_API void gc_shutdown(void);

/*
 * Makes one more heap, independent of all others; nobody is attached to it yet.  Its
 * objects and another heap's must not point at each other, except through handles.
 */
GC_API GC_MUST_CHECK gc_status gc_heap_create(const gc_options *opt, gc_heap **ret);

/*
 * Ends a heap with all its objects, threads and memory.  GC_ERR_BUSY while threads are
 * attached to it, GC_ERR_INVAL for NULL or a thing that is no heap.  GC_ERR_NOMEM: the heap
 * has ended, but the system, at its limit of mappings, has kept some of its address space
 * mapped (without contents).
 */
GC_API GC_MUST_CHECK gc_status gc_heap_destroy(gc_heap *heap);

/*
 * A full collection that starts after the call, complete with its sweep.  Blocks the
 * caller, nobody else: the world is never stopped.  Any thread; an attached caller counts
 * as blocked meanwhile and its stack is scanned like any other.
 */
GC_API void gc_collect(gc_heap *heap);

/*
 * Collects as gc_collect does, then gives all memory back to the system that is free now, at
 * once and on the caller's time; returns the bytes.  What is in use stays, so a heap whose
 * objects lie apart keeps more than they take.  The heap gives memory back by itself, too
 * (release_ms in gc_options): this is for hosts that know that it is not needed for long.
 */
GC_API size_t gc_free_os_memory(gc_heap *heap);

/*
 * Sets the heap's growth in percent of the live heap before the next cycle completes;
 * GC_GOGC_OFF for none.  Returns the previous value.  Values below -1 count as off.
 */
GC_API int64_t gc_set_gogc(gc_heap *heap, int64_t percent);

/*
 * Sets the lowest goal that the heap has at GOGC 100, in bytes; it scales with GOGC.  A
 * program that may use so much anyway is collected less often while little is alive.
 * Returns the previous value.
 */
GC_API size_t gc_set_heap_min(gc_heap *heap, size_t bytes);

/*
 * Sets the memory limit in bytes, GC_MEMORY_LIMIT_OFF for none, and returns the previous one.
 * A negative value only asks.  The limit counts what the heap has mapped, without what it has
 * given back to the system, and the external bytes.  It is soft: collections come as often as
 * it takes, but not so often that they take more than the limiter's share of the CPUs
 * (docs/memory-limit.md).  A limit below what is mapped is a warning, and is kept as soon as
 * it can be.  Any thread.
 */
GC_API int64_t gc_set_memory_limit(gc_heap *heap, int64_t bytes);

/*
 * Memory that the host holds outside of the heap and that lives as long as objects in it:
 * delta bytes more, or fewer if it is negative.  Counts as allocated for the next cycle's
 * start, and towards the memory limit.  GC_ERR_INVAL, and nothing changes, if the sum would be
 * negative or above INT64_MAX.  Any thread; an atomic operation or two.
 */
GC_API gc_status gc_external_bytes(gc_heap *heap, int64_t delta);

GC_IMPL_END

#endif
