/* SPDX-License-Identifier: MIT */
#ifndef GCRT_PRECISE_H
#define GCRT_PRECISE_H

#include <gcrt/roots.h>
#include <gcrt/thread.h>
#include <gcrt/type.h>

GC_IMPL_BEGIN

/*
 * Precise threads: their stacks and registers are not looked at.  What keeps their objects
 * alive, beside the heap, handles and registered roots, they say themselves: frames of
 * locals, scopes of handles, callbacks.  All three belong to the thread, so they are
 * written with plain stores, and read only when the thread answers a handshake: in a
 * gcrt call, in gc_safepoint, or while it is in a blocking region.  A precise thread is never
 * interrupted by a signal, so one that computes for long must call gc_safepoint.
 *
 * The one rule: whatever a precise thread uses after a gcrt call, other than that call's
 * result, is held by one of these across the call.  The call's own arguments need no holder.
 */

/*
 * gc_thread_attach for a precise thread; its statuses.  With gc_options.precise_stacks every
 * thread of the heap is attached so.  The thread may run on any stack, and change stacks.
 */
GC_API GC_MUST_CHECK gc_status gc_thread_attach_precise(gc_heap *heap);

/* ---- frames ---- */

/*
 * GC_FRAME(a, b, c): from here to the end of the block these locals (1 to 24; pointers, or
 * arrays or structs of pointers, initialised) keep what they point to alive.  Leaving the block in
 * any way but longjmp ends the frame (by pthread_exit in C: if compiled with -fexceptions);
 * GC_FRAME_END ends it earlier.  One to a block.  Not in a blocking region.  Locals of a thread
 * that is not precise are found on its stack, and the frame says nothing.
 *
 *     struct node *list = NULL, *node = NULL;
 *     GC_FRAME(list, node);
 *     while ((node = read_node()) != NULL)
 *         list = cons(node, list);
 *     return list;
 */
#define GC_FRAME(...)                                                                       \
    const struct gc_impl_local gc_frame_locals_[]                                           \
            = { GC_IMPL_MAP(GC_IMPL_LOCAL, 0, __VA_ARGS__) };                               \
    struct gc_impl_frame gc_frame_ __attribute__((cleanup(gc_impl_frame_leave)))            \
            = { 0, gc_frame_locals_, sizeof(gc_frame_locals_) / sizeof(gc_frame_locals_[0]) }; \
    gc_impl_frame_enter(&gc_frame_)

#define GC_FRAME_END gc_impl_frame_leave(&gc_frame_)

struct gc_impl_local {
    void *start;
    size_t words;
};

struct gc_impl_frame {
    struct gc_impl_frame *prev;
    const struct gc_impl_local *locals; /* NULL: has been left */
    size_t n;
};

#define GC_IMPL_LOCAL(T, x)                                                                 \
    { (void *)(uintptr_t)&(x),                                                              \
            sizeof(x) / 8 + 0 * sizeof(char[sizeof(x) % 8 == 0 ? 1 : -1]) },

GC_INLINE void
gc_impl_frame_enter(struct gc_impl_frame *frame)
{
    frame->prev = gc_impl_self.frames;
    __asm__ volatile("" ::: "memory");
    gc_impl_self.frames = frame;
}

GC_INLINE void
gc_impl_frame_leave(struct gc_impl_frame *frame)
{
    if (frame->locals != 0)
        gc_impl_self.frames = frame->prev;
    __asm__ volatile("" ::: "memory"); /* before the compiler uses its place for others */
    frame->locals = 0;
}

/* The calling thread's innermost frame: save before setjmp, restore after longjmp. */
GC_INLINE struct gc_impl_frame *
gc_frames_save(void)
{
    return gc_impl_self.frames;
}

GC_INLINE void
gc_frames_restore(struct gc_impl_frame *saved)
{
    gc_impl_self.frames = saved;
}

/* ---- handle scopes ---- */

/*
 * A scope is for code that cannot name its locals beforehand.  gc_local gives obj a cell, which
 * is a root until the scope ends that was entered last; the cell may be read and written plainly.
 * Scopes nest and end in reverse order: anything else is fatal.  Attached threads, inside.
 */
typedef struct gc_scope {
    void *chunk; /* where cells were taken before */
    uint32_t used, depth;
} gc_scope;

GC_API void gc_scope_enter(gc_scope *scope);
GC_API void gc_scope_leave(gc_scope *scope);
/* NULL without memory, or outside of every scope. */
GC_API GC_MUST_CHECK void **gc_local(void *obj);
/* Ends the scope; obj gets a cell in the one around it.  NULL as above; the scope has ended. */
GC_API GC_MUST_CHECK void **gc_scope_escape(gc_scope *scope, void *obj);

/* ---- callbacks ---- */

/*
 * Reports roots that the calling thread owns, a VM's value stack, say: gc_trace and its
 * relatives for each.  It runs on that thread in a handshake, or on another one while
 * the thread is in a blocking region; of a thread that is not precise also in a signal
 * handler between any two instructions.  It takes no lock and calls nothing else of gcrt.
 */
typedef void gc_root_fn(gc_tracer *tracer, void *arg);

/* Until the thread detaches.  GC_ERR_INVAL, GC_ERR_DETACHED, GC_ERR_NOMEM.  Inside. */
GC_API GC_MUST_CHECK gc_status gc_root_callback(gc_root_fn *fn, void *arg);
/* The same fn and arg, newest first; fatal if there is none. */
GC_API void gc_root_callback_remove(gc_root_fn *fn, void *arg);

GC_IMPL_END

#endif
