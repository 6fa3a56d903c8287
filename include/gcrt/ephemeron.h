/* SPDX-License-Identifier: MIT */
#ifndef GCRT_EPHEMERON_H
#define GCRT_EPHEMERON_H

#include <gcrt/thread.h>

GC_IMPL_BEGIN

/*
 * An ephemeron: a pair of which the value is held only as long as the key lives, and the key
 * not at all.  The value is reachable if the ephemeron is and the key is by another way than
 * through this value, so a value may refer to its own key.  When the collector has found that
 * the key is dead, the ephemeron is broken: key and value are NULL for good, for all threads
 * at once, before any cleanup or finalizer of the key runs.  (Hayes, "Ephemerons: a new
 * finalization mechanism", OOPSLA 1997.)
 *
 * An ephemeron is an object of the heap, and lives as every other.  Its key never changes.
 */
typedef struct gc_ephemeron gc_ephemeron;

/*
 * A new pair.  key points to or into an object of the calling thread's heap, whose life counts;
 * fatal if it does not (NULL, foreign memory, tagged numbers).  value is any pointer or NULL.
 * Fatal without memory; the try form returns NULL then, or for a bad key, and gc_last_error()
 * says why.  Attached threads, inside.
 */
GC_API GC_MUST_CHECK gc_ephemeron *gc_ephemeron_new(void *key, void *value);
GC_API GC_MUST_CHECK gc_ephemeron *gc_try_ephemeron_new(void *key, void *value);

/*
 * Key and value, or NULL once the key is dead.  What is returned counts as any other pointer from
 * that moment on.  Attached threads of the ephemeron's heap, inside; fatal for what is no
 * ephemeron of that heap.
 */
GC_API GC_MUST_CHECK void *gc_ephemeron_key(const gc_ephemeron *ephemeron);
GC_API GC_MUST_CHECK void *gc_ephemeron_value(const gc_ephemeron *ephemeron);

/*
 * Another value, with the write barrier and release order; gc_ephemeron_value acquires.  Does
 * nothing that could be seen if the key is dead.  The same callers.
 */
GC_API void gc_ephemeron_set_value(gc_ephemeron *ephemeron, void *value);

GC_IMPL_END

#endif
