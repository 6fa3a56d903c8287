/* SPDX-License-Identifier: MIT */
#ifndef GCRT_INTERN_H
#define GCRT_INTERN_H

#include <gcrt/thread.h>

GC_IMPL_BEGIN

/*
 * Interning: equal bytes, one pointer.  A heap has one table of canonical copies.  While a
 * program holds the copy of some bytes (from its stack, its objects, a handle, ...), interning
 * equal bytes gives the same pointer, on any thread; so copies are compared by address.  The
 * table holds them weakly: a copy that nobody holds is collected, and its entry dropped; who
 * interns the bytes again gets a fresh copy.  Never do two copies of the same bytes live that
 * were both returned, but for one that a finalizer of its own has brought back.
 *
 * A copy is an object without pointers of at least 16 bytes, so aligned to 8 bytes, or to 16 from
 * 32 on; a 0 byte follows the n bytes.  It does not move and must not be changed.  (How the
 * Go package unique does it; here the pointer is the handle.)
 */

/* The longest that is interned: bytes are compared where no handshake is answered. */
#define GC_INTERN_MAX ((size_t)1 << 20)

/*
 * The canonical copy of n bytes; bytes may be NULL if n is 0, may lie anywhere, and must not
 * change during the call.  heap is the calling thread's, or NULL, which means it.  Attached
 * threads, inside.  A hit takes no lock, allocates nothing and never waits for the collector; a
 * miss allocates.  Fatal if n is above GC_INTERN_MAX, and without memory; the try form returns
 * NULL then, and gc_last_error() says why.
 */
GC_API GC_MUST_CHECK void *gc_intern(gc_heap *heap, const void *bytes, size_t n);
GC_API GC_MUST_CHECK void *gc_try_intern(gc_heap *heap, const void *bytes, size_t n);

/* The canonical copy if there is one, else NULL.  Allocates nothing. */
GC_API GC_MUST_CHECK void *gc_intern_find(gc_heap *heap, const void *bytes, size_t n);

/* gc_intern for a string, of the calling thread's heap; its 0 byte is not counted, and is there. */
GC_API GC_MUST_CHECK const char *gc_intern_str(const char *s);

GC_IMPL_END

#endif
