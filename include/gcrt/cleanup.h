/* SPDX-License-Identifier: MIT */
#ifndef GCRT_CLEANUP_H
#define GCRT_CLEANUP_H

#include <gcrt/options.h>

GC_IMPL_BEGIN

/*
 * What shall happen when an object goes: cleanups, which never see it, and finalizers, which
 * do and may keep it.  docs/cleanups.md has all rules.
 *
 * They are called on threads of the heap's own, or, with opt.cleanup_threads 0, only in
 * gc_run_cleanups.  Such a thread is attached to the heap, inside, and blocks all signals but
 * the collector's.  A callback may call anything, gc_collect included; it may not end its
 * thread, detach it, or leave by longjmp or by an exception.
 *
 * Attached threads, inside, for all functions here.
 */
typedef void gc_cleanup_fn(void *arg);
typedef void gc_finalizer_fn(void *obj, void *arg);

/* Names one cleanup for good; a plain value, which keeps nothing alive.  All zero: none. */
typedef struct gc_cleanup {
    void *impl_record;
    uintptr_t impl_object;
    uint64_t impl_serial;
} gc_cleanup;

/*
 * Once the object that obj points to or into is unreachable, and weak references to it read
 * NULL, fn(arg) is called, once.  arg may be anything; if it points into the heap it is a root
 * until fn has returned.  An object may have many cleanups: of those that are due together the
 * one that was added last is begun first.  If the object has a finalizer they wait until it is
 * unreachable again after that.  ret, unless NULL, gets a name for gc_cleanup_cancel.
 *
 * GC_ERR_INVAL if obj is NULL or no object of the heap, fn is NULL, or arg points into obj,
 * which would keep it alive for ever; GC_ERR_NOMEM; GC_ERR_DETACHED.
 */
GC_API GC_MUST_CHECK gc_status gc_cleanup_add(
        void *obj, gc_cleanup_fn *fn, void *arg, gc_cleanup *ret);

/*
 * Takes a cleanup back.  1: it will not run.  0: it has begun, has run, has been taken back
 * before, or is none.  At any time, by any attached thread of its heap; fatal for another
 * heap's.
 */
GC_API int gc_cleanup_cancel(gc_cleanup cleanup);

/*
 * Once the object is unreachable, and weak references to it read NULL, fn(obj, arg) is called,
 * once; fn NULL: no more.  An object has one finalizer, and this replaces it.  What the object
 * points to is alive when fn runs, so of a finalizable object that points to another the first
 * is finalized first, the other in a later cycle; and one that can be reached from itself, or
 * from arg, is never finalized.  fn may make obj reachable again, and set a finalizer again;
 * else obj is collected by a later cycle.
 *
 * GC_ERR_INVAL if obj is NULL or not the start of an object of the heap, or if arg points into
 * obj; GC_ERR_NOMEM; GC_ERR_DETACHED.
 */
GC_API GC_MUST_CHECK gc_status gc_finalizer_set(void *obj, gc_finalizer_fn *fn, void *arg);

/*
 * Runs up to max callbacks that are due on the calling thread, in the order in which they
 * became due, and returns how many.  0, too, in a callback: they do not nest.  heap NULL: the
 * caller's; fatal if it is not the caller's.  With opt.cleanup_threads not 0 it helps the
 * heap's own threads.
 */
GC_API size_t gc_run_cleanups(gc_heap *heap, size_t max);

/*
 * For the end of a program that wants it: makes every finalizer due, reachable or not, and runs
 * what is due, then does the same with every cleanup; all of it on the calling thread, after
 * the callbacks that run already (it waits opt.cleanup_slow_ms for them at most) and the marking
 * that is under way.  Returns how many ran.  What is added meanwhile stays.  gc_shutdown and
 * gc_heap_destroy run none.  The program must be done with all objects that have one.  0 in a
 * callback.
 */
GC_API size_t gc_run_cleanups_all(gc_heap *heap);

GC_IMPL_END

#endif
