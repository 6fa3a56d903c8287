/* SPDX-License-Identifier: MIT */
#ifndef GCRT_WEAK_H
#define GCRT_WEAK_H

#include <gcrt/thread.h>

GC_IMPL_BEGIN

/*
 * A weak reference: an object of the heap that knows another one and does not keep it alive.
 * It lives as every object does, as long as something refers to it, and is dropped with all
 * that belongs to it.  Read only through gc_weak_get.
 */
typedef struct gc_weak {
    void *impl_target;
    struct gc_heap *impl_heap;
} gc_weak;

/*
 * The weak reference to the object that obj points to or into: the object's base, as gc_base
 * says it.  While one exists every call for the same object returns the same one, so weak
 * references are equal if and only if their objects are.  Tiny objects (gc_alloc_bytes below 8)
 * share blocks: a weak reference to one holds the address given, and lives as long as its
 * block.  NULL for NULL.  Fatal if obj points into no object of the caller's heap, and without
 * memory; the try form returns NULL then, and gc_last_error() says why.  Attached threads,
 * inside.
 */
GC_API GC_MUST_CHECK gc_weak *gc_weak_new(void *obj);
GC_API GC_MUST_CHECK gc_weak *gc_try_weak_new(void *obj);

GC_API void *gc_impl_weak_get(const gc_weak *weak);

/*
 * The object, or NULL once the collector has found that nothing else refers to it.  NULL for
 * good then, for all threads at once, and before any cleanup or finalizer of the object runs.
 * What is returned counts as any other pointer from that moment on.  NULL for NULL.  Attached
 * threads, inside; fatal for a weak reference of another heap.
 *
 * While no cycle is marking, three loads and no call.
 */
GC_INLINE GC_MUST_CHECK void *
gc_weak_get(const gc_weak *weak)
{
    void *obj;

    if (weak == NULL)
        return NULL;
    gc_impl_self.critical = 1;
    __asm__ volatile("" ::: "memory");
    if (GC_LIKELY(gc_impl_self.barrier == 0 && weak->impl_heap == gc_impl_self.heap_inside)) {
        obj = __atomic_load_n(&weak->impl_target, __ATOMIC_ACQUIRE);
        __asm__ volatile("" ::: "memory");
        gc_impl_self.critical = 0;
        return obj;
    }
    gc_impl_self.critical = 0;
    return gc_impl_weak_get(weak);
}

GC_IMPL_END

#endif
