/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ROOTS_H
#define GCRT_ROOTS_H

#include <gcrt/options.h>

GC_IMPL_BEGIN

/*
 * Registers bytes bytes at start (word-aligned, > 0) as roots of the caller's heap: each
 * word that points into the heap keeps its object alive.  What it holds at the call is NULL or
 * points to live objects, no leftovers; stores to it go through gc_write.  GC_ERR_INVAL for a
 * misaligned, empty, wrapping or overlapping range, GC_ERR_DETACHED, GC_ERR_NOMEM.  Attached
 * threads only.
 */
GC_API GC_MUST_CHECK gc_status gc_root_add(void *start, size_t bytes);

/* Unregisters the range that starts at start.  Fatal if there is none. */
GC_API void gc_root_remove(void *start);

/*
 * A handle is a root cell that lives outside the heap: for pointers kept in malloc'ed
 * memory, in other libraries, or by threads that are not attached.
 */
typedef struct gc_handle gc_handle;

/* A handle to obj (may be NULL), or NULL when memory is out.  Attached threads, inside. */
GC_API GC_MUST_CHECK gc_handle *gc_handle_new(void *obj);
/*
 * What the handle holds, which may be NULL.  Any thread; but only an attached one that is inside
 * keeps alive what it gets, by having it on its stack.  A detached one may hand the
 * pointer on, and look at the object, only while something else keeps that alive: when
 * another thread sets the handle meanwhile, it may be gone.
 */
GC_API void *gc_handle_get(const gc_handle *handle);
/* The handle holds obj, which may be NULL, from now on.  Any thread; obj is alive. */
GC_API void gc_handle_set(gc_handle *handle, void *obj);
/* NULL is ignored; freeing twice is fatal. */
GC_API void gc_handle_free(gc_handle *handle);

GC_IMPL_END

#endif
