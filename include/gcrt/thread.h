/* SPDX-License-Identifier: MIT */
#ifndef GCRT_THREAD_H
#define GCRT_THREAD_H

#include <gcrt/options.h>

#include <pthread.h>

GC_IMPL_BEGIN

/*
 * A thread must be attached to a heap to allocate from it or to hold pointers into it.
 * While attached it is either inside (running managed code) or outside (in a blocking
 * region, where it must not touch heap objects).  Brackets are never needed for safety:
 * an attached thread that sits in read() or computes for minutes is reached by a signal.
 * They spare it that signal.
 */

/*
 * Attaches the calling thread (heap NULL: the default heap).  GC_ERR_ATTACHED if it is
 * attached already, to this heap or another; GC_ERR_INVAL without a heap; GC_ERR_NOMEM;
 * GC_ERR_THREAD if the thread's stack bounds cannot be learnt.  A thread that exits while
 * attached is detached by itself.
 */
GC_API GC_MUST_CHECK gc_status gc_thread_attach(gc_heap *heap);

/* Detaches the caller; its stack no longer keeps objects alive.  Fatal if detached. */
GC_API void gc_thread_detach(void);

/*
 * on 0: from here on the calling thread never marks for the collector and never waits because
 * the heap is above its goal; other values: it does, as every thread does when it attaches.
 * For threads that must answer within microseconds whatever others allocate.  What it
 * allocates is paid by marking threads, which may then take up to worker_percent_max of the
 * CPUs, and beyond that by the threads that do assist.  If all that is not enough the heap
 * outgrows its goal, by what such threads allocate meanwhile.  Handshakes, and a full heap,
 * concern it as any other.  Returns what was set before, 1 or 0.  Attached callers, in a
 * blocking region too; fatal if detached.
 */
GC_API int gc_thread_set_assist(int on);

/* The heap that the calling thread is attached to, or NULL. */
GC_API gc_heap *gc_thread_heap(void);

/*
 * pthread_create for a thread that is attached to the caller's heap while start runs.  arg
 * may point into the heap: it is a root until the new thread has taken it.  Returns as
 * pthread_create does, mapped: GC_ERR_THREAD (EAGAIN, EPERM), GC_ERR_INVAL,
 * GC_ERR_DETACHED if the caller is not attached, GC_ERR_NOMEM.
 */
GC_API GC_MUST_CHECK gc_status gc_pthread_create(pthread_t *ret, const pthread_attr_t *attr,
        void *(*start)(void *), void *arg);

/*
 * Brackets for code that may block and touches no heap object.  They nest.  Entering copies
 * the registers and the top 1 KiB of the stack; leaving waits only while the collector is
 * scanning this very stack.  Both may stand in wrapper functions or callbacks, as long as
 * these and what calls them give up no more than that 1 KiB of stack before the region ends.
 */
GC_API void gc_block_enter(void);
GC_API void gc_block_leave(void);

/* GC_BLOCKING { n = read(fd, buf, len); }   no return, goto or break out of the block. */
#define GC_BLOCKING                                                                    \
    for (int gc_once_ = (gc_block_enter(), 1); gc_once_; gc_once_ = (gc_block_leave(), 0))

/*
 * A callback's bracket, for code that foreign libraries call on threads that the host did not
 * make, or does not know where from.  From gc_callback_enter to gc_callback_leave the thread
 * is attached and inside, whatever it was before:
 *
 *     detached                 it is attached, and detached again: about a microsecond
 *     in a blocking region     the region is interrupted, and goes on as it was
 *     attached and inside      nothing happens: so brackets nest, for some nanoseconds
 *
 * cb is the caller's, on its stack.  heap NULL: the thread's heap, else the default one.
 * GC_ERR_ATTACHED if the thread is attached to another heap; else as gc_thread_attach, and
 * then there is nothing to leave.  A thread that ends inside the bracket is detached as any
 * other.  The pointers that the callback gets to see are not kept alive after it: what it
 * returns to foreign code needs a handle.
 */
typedef struct gc_callback {
    uintptr_t impl[148];
} gc_callback;

GC_API GC_MUST_CHECK gc_status gc_callback_enter(gc_heap *heap, gc_callback *cb);
/* On the same thread, inside; brackets end in reverse order.  Fatal without gc_callback_enter. */
GC_API void gc_callback_leave(gc_callback *cb);

/* ---- the calling thread's hot words: reserved, layout may change in any release ---- */

struct gc_type;
struct gc_impl_frame;
struct gc_impl_rack;
struct gc_pool;

struct gc_impl_run {
    uintptr_t key;  /* the type's address; array classes in the top byte */
    char *next;     /* first free slot of the run */
    char *end;      /* end of the run */
    uintptr_t size; /* slot bytes */
};

#define GC_IMPL_HOT_ITEMS 64  /* of a pool, kept by a thread itself */
#define GC_IMPL_HOT_UNIT  256 /* one get in hot_n */

/* Stands in the code of each inline store; the signal handler looks for it there (barrier.h). */
#define GC_IMPL_STORE_OPEN 0x4b1d5ec7

struct gc_impl_thread {
    volatile uint32_t critical; /* owner: non-zero where no handshake may run here */
    volatile uint32_t barrier;  /* 0 off, 1 shade old and new, 2 shade old; +4 wbcheck */
    volatile uint32_t poll;     /* non-zero: a handshake wants an answer */
    uint32_t run_mask;          /* runs has run_mask + 1 entries */
    struct gc_impl_run *runs;   /* hash table of allocation runs, never NULL */
    struct gcrt_mutator *mutator; /* NULL while detached */
    struct gc_impl_frame *frames; /* innermost GC_FRAME; precise.h */
    struct gc_heap *heap_inside; /* NULL while detached or outside */
    struct gc_impl_rack **racks; /* by pool; pool.h */
    uint32_t nracks;             /* 0 outside, and while its barrier is on */
    volatile uint32_t store;     /* GC_IMPL_STORE_OPEN inside, while its barrier is off; else 0 */
    void *trace;                 /* the ring of its events; NULL: none, and it gets none */
    const struct gc_pool *volatile hot_pool; /* whose items hot_items are; or one for nobody */
    volatile uint64_t hot_n;     /* gets << 8 | hot_items' height */
    void *volatile hot_items[1 + GC_IMPL_HOT_ITEMS]; /* roots of the thread's own; [0]: NULL */
};

GC_API extern __thread struct gc_impl_thread gc_impl_self
        __attribute__((tls_model("initial-exec")));

/* Answers the pending handshake. */
GC_API void gc_impl_poll(void);

/*
 * A place where the calling thread may answer a handshake.  One load and a branch that is
 * not taken.  Optional: allocation polls too, and a thread that never polls is signalled.
 */
GC_INLINE void
gc_safepoint(void)
{
    if (GC_UNLIKELY(__atomic_load_n(&gc_impl_self.poll, __ATOMIC_RELAXED)))
        gc_impl_poll();
}

GC_IMPL_END

#endif
