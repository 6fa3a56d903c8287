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

/*
 * gc_alloc, gc_alloc_array and gc_alloc_bytes are inline, below; these are their slow halves.
 * Bindings for other languages call the gc_try_ forms.
 */
GC_API GC_RETURNS_OBJECT void *gc_impl_alloc(const gc_type *type);
GC_API GC_RETURNS_OBJECT void *gc_impl_alloc_array(const gc_type *elem, size_t n);
GC_API GC_RETURNS_OBJECT void *gc_impl_alloc_bytes(size_t n);
GC_API GC_RETURNS_OBJECT void *gc_impl_alloc_bytes_uninit(size_t n);

/* A GC_TYPE_FLEX object with n elements in its tail. */
GC_API GC_RETURNS_OBJECT void *gc_alloc_flex(const gc_type *type, size_t n);

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
 * below 8 bytes share blocks, and where one of them starts and ends is not known: for these
 * the answers are 1 and p.
 */
GC_API size_t gc_usable_size(const void *p);
GC_API void *gc_base(const void *p);

/* ---- the inline halves ---- */

/*
 * What runs of the calling thread's P are found by.  A single object's key is its type's
 * address; for arrays the size class is in the top byte, and for bytes that need not be zeroed
 * the class and GC_IMPL_RAW.
 */
#define GC_IMPL_RAW        0x88u
#define GC_IMPL_INLINE_MIN 8u   /* smaller ones without pointers share blocks */
#define GC_IMPL_INLINE_MAX 1024u

/* The size class of n bytes is number (n + 7) / 8, up to GC_IMPL_INLINE_MAX. */
GC_API extern const uint8_t gc_impl_class_of_8[GC_IMPL_INLINE_MAX / 8 + 1];

/* Where a key of that tag is looked for first. */
GC_INLINE uintptr_t
gc_impl_home(uintptr_t address, unsigned tag)
{
    return (address >> 6) + tag * 11u;
}

/*
 * The next slot of the key's run, or NULL.  No lock, no atomic operation, and no word that keeps
 * a handshake's signal handler away: it bumps through a run of free slots that the thread's P
 * owns, and the handler may come between any two instructions.  If it takes the run away it makes
 * the end NULL, and leaves us the slot that we may have found already (src/alloc/mcache.h); so
 * `next` is read before `end`.
 */
GC_INLINE void *
gc_impl_bump(const gc_type *type, unsigned tag)
{
    uintptr_t key = (uintptr_t)type | (uintptr_t)tag << 56;
    struct gc_impl_run *run;
    char *p;

    __asm__ volatile("" ::: "memory");
    run = &gc_impl_self.runs[gc_impl_home((uintptr_t)type, tag) & gc_impl_self.run_mask];
    p = run->next;
    __asm__ volatile("" ::: "memory");
    if (GC_LIKELY(run->key == key && p < run->end)) {
        __atomic_store_n(&run->next, p + run->size, __ATOMIC_RELAXED);
        __asm__ volatile("" ::: "memory"); /* a handler that comes now finds it taken, and empty */
        if (p == 0)
            __builtin_unreachable();
        return p;
    }
    return 0;
}

/* The same for an array of so many bytes; raw is 0 or GC_IMPL_RAW. */
GC_INLINE void *
gc_impl_bump_array(const gc_type *elem, size_t bytes, unsigned raw)
{
    if (GC_UNLIKELY(bytes - GC_IMPL_INLINE_MIN > GC_IMPL_INLINE_MAX - GC_IMPL_INLINE_MIN))
        return 0;
    return gc_impl_bump(elem, gc_impl_class_of_8[(bytes + 7) / 8] + raw);
}

/* One zeroed object of the type. */
GC_INLINE GC_MUST_CHECK void *
gc_alloc(const gc_type *type)
{
    void *p = gc_impl_bump(type, 0);

    return GC_LIKELY(p != 0) ? p : gc_impl_alloc(type);
}

/* n elements of the type, contiguous and zeroed.  n may be 0. */
GC_INLINE GC_MUST_CHECK void *
gc_alloc_array(const gc_type *elem, size_t n)
{
    void *p = 0;

    if (GC_LIKELY(elem != 0 && elem->form <= GC_FORM_CONSERVATIVE && n <= GC_IMPL_INLINE_MAX))
        p = gc_impl_bump_array(elem->form == GC_FORM_NOSCAN ? &gc_byte_type : elem,
                n * elem->size, 0);
    return GC_LIKELY(p != 0) ? p : gc_impl_alloc_array(elem, n);
}

/* n bytes that hold no pointers; the second form leaves them uninitialised. */
GC_INLINE GC_MUST_CHECK void *
gc_alloc_bytes(size_t n)
{
    void *p = gc_impl_bump_array(&gc_byte_type, n, 0);

    return GC_LIKELY(p != 0) ? p : gc_impl_alloc_bytes(n);
}

GC_INLINE GC_MUST_CHECK void *
gc_alloc_bytes_uninit(size_t n)
{
    void *p = gc_impl_bump_array(&gc_byte_type, n, GC_IMPL_RAW);

    return GC_LIKELY(p != 0) ? p : gc_impl_alloc_bytes_uninit(n);
}

/* p counts as used here: for pointers that a compiler could hide or drop too early. */
#define GC_KEEP_ALIVE(p) __asm__ volatile("" : : "g"(p) : "memory")

GC_IMPL_END

#endif
