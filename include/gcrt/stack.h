/* SPDX-License-Identifier: MIT */
#ifndef GCRT_STACK_H
#define GCRT_STACK_H

#include <gcrt/thread.h>

GC_IMPL_BEGIN

/*
 * Stacks of fibers, coroutines and generators.  The host makes them and owns their memory;
 * it switches between them with swapcontext, with a library's or with its own instructions.
 * gcrt has to know two things: where the stacks are, and, right before each switch, which
 * one the thread goes on with.
 *
 *     gc_stack_switch(to->stack);
 *     swapcontext(&from->context, &to->context);
 *
 * A stack that no thread runs on is *parked*: what lies on it keeps objects alive, what the
 * thread's GC_FRAMEs and scopes on it hold too.  Another thread may resume it.
 * docs/fibers.md has the rules that a host must keep, what they cost, and examples.
 */

typedef struct gc_stack gc_stack;

/* The smallest stack.  A thread that shall be reached by a signal wants 8 KiB free as well. */
#define GC_STACK_MIN 4096

/*
 * Registers [lo, lo + bytes) with the caller's heap as the memory of a stack that grows
 * down.  It is empty: nothing in it counts until a thread has switched to it, so what a
 * fiber starts with is handed over in a handle or a heap object, not on the stack that was
 * prepared for it. lo is a multiple of 16, bytes of 16 and at least GC_STACK_MIN.  The
 * memory stays mapped and readable until gc_stack_unregister.  Attached callers, inside.
 * GC_ERR_INVAL, also if it overlaps a registered stack or the heap; GC_ERR_DETACHED;
 * GC_ERR_NOMEM.
 */
GC_API GC_MUST_CHECK gc_status gc_stack_register(void *lo, size_t bytes, gc_stack **ret);

/*
 * The stack is none any more; what lies on it keeps nothing alive.  Waits while a collector
 * thread is reading it.  Fatal if a thread runs on it.  Attached callers, inside.
 */
GC_API void gc_stack_unregister(gc_stack *stack);

/*
 * The stack is empty again: for one whose function has returned, and that shall run
 * another.  As gc_stack_unregister followed by gc_stack_register, and cheaper.
 */
GC_API void gc_stack_reset(gc_stack *stack);

/*
 * The caller's stack is parked, and the calling thread will run on `to`, which is empty,
 * parked, or the thread's own.  Must be followed by the machine's switch to it, at once: in
 * between no heap object is touched and nothing of gcrt called.  Answers a pending
 * handshake before that.  May be called in a function that returns before the machine's
 * switch, if it and what calls it give up no more than 256 bytes of stack by then. Until
 * that switch is complete the stack that is left may not be resumed by another thread: that
 * order is the host's scheduler's to keep, as without gcrt. Fatal if another thread runs on
 * `to`, if `to` is the current stack, another thread's own or not registered, if the caller
 * is not on its current stack, and between precise threads and others.
 */
GC_API void gc_stack_switch(gc_stack *to);

/*
 * The stack that the calling thread runs on: that of the last gc_stack_switch, or else the
 * thread's own, which need not be registered, and which only this thread can switch back
 * to.  Valid until it is unregistered, one of a thread's own until the thread detaches.
 * Attached callers.
 */
GC_API gc_stack *gc_stack_current(void);

GC_IMPL_END

#endif
