/* SPDX-License-Identifier: MIT */
#ifndef GCRT_PROFILE_H
#define GCRT_PROFILE_H

#include <gcrt/metrics.h>

GC_IMPL_BEGIN

/*
 * Heap profiles in the format of pprof: which stacks allocate, and which allocated what is
 * alive.  Objects are sampled, one in so many bytes (profile_rate in gc_options), and what is
 * written is scaled up to all of them.  Read a profile with
 *
 *     go tool pprof -top PROGRAM FILE          (-sample_index=alloc_space and others)
 *
 * The file is compressed with gzip.  Sample types: alloc_objects, alloc_space, inuse_objects,
 * inuse_space.  Each sample has the labels `bytes`, an object's size, and `type`, the name of
 * its gc_type (of the first one, where a stack allocates several of one size).
 *
 * Writing stops nobody.  It takes memory from malloc, not from the heap, and calls the sink with
 * no lock held.  After a status other than GC_OK what the sink has got is no whole file.
 */

/* What was known at one moment: where a window of time begins. */
typedef struct gc_profile gc_profile;

/*
 * What is in use: allocated before the last complete cycle began, and alive at the end of
 * its marking.  What was allocated is counted up to the same moment.  Before the first cycle, all.
 * Any thread.  GC_ERR_INVAL: no sink; GC_ERR_NOTFOUND: no heap; GC_ERR_NOMEM; GC_ERR_SINK: the
 * sink refused, and is not called again.
 */
GC_API GC_MUST_CHECK gc_status gc_profile_write_heap(gc_heap *heap, const gc_sink *sink);

/*
 * What was allocated, up to now: since gc_profile_take gave `since`, or since the heap's start
 * if it is NULL.  Shown as alloc_space by default.  Statuses as above; since must come from the
 * same heap (GC_ERR_INVAL).
 */
GC_API GC_MUST_CHECK gc_status gc_profile_write_allocs(gc_heap *heap, const gc_profile *since,
        const gc_sink *sink);

/* To be given to gc_profile_free by the caller.  NULL: gc_last_error says why.  Any thread. */
GC_API GC_MUST_CHECK gc_profile *gc_profile_take(gc_heap *heap);
GC_API void gc_profile_free(gc_profile *profile);

/*
 * Sets the bytes between two samples on average, 1 for every object, 0 for none, and returns
 * what was set before.  Threads follow with their next few kilobytes.  Any thread.
 */
GC_API size_t gc_set_profile_rate(gc_heap *heap, size_t bytes);

GC_IMPL_END

#endif
