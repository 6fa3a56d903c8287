/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_H
#define GCRT_ALLOC_H

#include <gcrt/thread.h>
#include <gcrt/type.h>

GC_IMPL_BEGIN

/*
 * All functions here are for attached threads that are inside; from another thread they
 * are a fatal error.  Objects come zeroed (except _uninit) and aligned as Go's size
 * classes are: 8 bytes, 16 from 32 bytes on, and so on.  Out of memory goes to the heap's
 * oom handler; gc_try_ forms return NULL then, and gc_last_error() says why; the others do
 * not return.  A size that overflows is out of memory for gc_try_ forms and fatal for the
 * others.
 */

/* One object of the type.  Use the macro-like inline gc_alloc; this is its slow half. */
GC_API GC_RETURNS_OBJECT void *gc_impl_alloc(const gc_type *type);

/* n elements of the type, contiguous.  n may be 0. */
GC_API GC_RETURNS_OBJECT void *gc_alloc_array(const gc_type *elem, size_t n);

/* A GC_TYPE_FLEX object with n elements in its tail. */
GC_API GC_RETURNS_OBJECT void *gc_alloc_flex(const gc_type *type, size_t n);

/* n bytes that hold no pointers; the second form leaves them uninitialised. */
GC_API GC_RETURNS_OBJECT void *gc_alloc_bytes(size_t n);
GC_API GC_RETURNS_OBJECT void *gc_alloc_bytes_uninit(size_t n);

GC_API GC_MUST_CHECK void *gc_try_alloc(const gc_type *type);
GC_API GC_MUST_CHECK void *gc_try_alloc_array(const gc_type *elem, size_t n);
GC_API GC_MUST_CHECK void *gc_try_alloc_flex(const gc_type *type, size_t n);
GC_API GC_MUST_CHECK void *gc_try_alloc_bytes(size_t n);
GC_API GC_MUST_CHECK void *gc_try_alloc_bytes_uninit(size_t n);

/* A copy of the string on the heap, without pointers.  s must not be NULL. */
GC_API GC_RETURNS_OBJECT char *gc_strdup(const char *s);

/*
 * The usable bytes of the object that p points to or into, and its first byte.  0 and
 * NULL if p is no pointer into an object of the caller's heap.  Objects without pointers
 * below 16 bytes share blocks, and where one of them starts and ends is not known: for these
 * the answers are 1 and p.
 */
GC_API size_t gc_usable_size(const void *p);
GC_API void *gc_base(const void *p);

/*
 * One zeroed object of the type.  The fast path takes no lock and no atomic operation: it
 * bumps through a run of free slots that the thread's P owns.  `critical` keeps a
 * handshake's signal handler away between reading and advancing the run.
 */
GC_INLINE GC_MUST_CHECK void *
gc_alloc(const gc_type *type)
{
    struct gc_impl_run *run;
    char *p;

    gc_impl_self.critical = 1;
    __asm__ volatile("" ::: "memory");
    run = &gc_impl_self.runs[((uintptr_t)type >> 6) & gc_impl_self.run_mask];
    p = run->next;
    if (GC_LIKELY(run->key == (uintptr_t)type && p < run->end)) {
        __atomic_store_n(&run->next, p + run->size, __ATOMIC_RELAXED);
        __asm__ volatile("" ::: "memory");
        gc_impl_self.critical = 0;
        return p;
    }
    gc_impl_self.critical = 0;
    return gc_impl_alloc(type);
}

/* p counts as used here: for pointers that a compiler could hide or drop too early. */
#define GC_KEEP_ALIVE(p) __asm__ volatile("" : : "g"(p) : "memory")

GC_IMPL_END

#endif
