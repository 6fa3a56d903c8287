/* SPDX-License-Identifier: MIT */
/*
 * Brackets around callbacks.
 *
 * Purpose: code that others call is attached and inside, whatever its thread was before.
 * Place: the api; it attaches, detaches, and interrupts blocking regions, as mutator.c does.
 *
 * A foreign thread is attached for the callback only, and not kept for the next one.  Keeping
 * it would save most of a microsecond; but a thread that is attached and elsewhere has to be
 * answered for six times a cycle, keeps a P, and keeps the heap from ending, for as long as
 * some library keeps a pool of threads.
 *
 * A blocking region that is interrupted goes on with the roots that it had: registers and the
 * stack's top as they were when it was entered.  What lies between its frame and the callback's
 * is the foreign code's, which gives up those frames before the region ends, perhaps after
 * restoring from them registers that it had saved for the region's function; so the record
 * must not describe the stack as the callback leaves it.  The copy is in the bracket meanwhile,
 * because the callback may have regions of its own.
 *
 * Concurrency: the thread's own, but for the last step, which publishes the record
 * (mutator.state).
 * Cost: nested some nanoseconds, in a region about a hundred, else as attach and detach.
 */
#include "gc/error.h"
#include "gc/heap.h"
#include "gc/mutator.h"

#include <gcrt/thread.h>

#include <string.h>

enum callback_kind {
    CALLBACK_INSIDE = 0x6362314e, /* there is nothing to undo */
    CALLBACK_REGION,              /* a blocking region was interrupted */
    CALLBACK_ATTACHED             /* the thread was detached */
};

/* What gc_callback is. */
struct callback {
    enum callback_kind kind;
    uint32_t block_depth;
    struct gcrt_mutator *mutator; /* whose bracket it is */
    uintptr_t sp;
    uintptr_t regs[SAVED_REGISTERS];
    uint32_t nwindow;
    uintptr_t window[WINDOW_WORDS];
};

_Static_assert(sizeof(struct callback) <= sizeof(gc_callback), "gc_callback has room for it");

static void
interrupt_region(struct gcrt_mutator *m, struct callback *cb)
{
    cb->kind = CALLBACK_REGION;
    cb->block_depth = m->block_depth;
    cb->sp = m->sp;
    memcpy(cb->regs, m->regs, sizeof(cb->regs));
    cb->nwindow = m->nwindow;
    memcpy(cb->window, m->window, m->nwindow * sizeof(m->window[0]));
    m->block_depth = 1;
    gc_block_leave();
}

/* Only from here on nothing of the callback's own is held any more. */
static void
resume_region(struct gcrt_mutator *m, const struct callback *cb)
{
    critical_set();
    m->block_depth = cb->block_depth;
    m->sp = cb->sp;
    memcpy(m->regs, cb->regs, sizeof(cb->regs));
    m->nwindow = cb->nwindow;
    memcpy(m->window, cb->window, cb->nwindow * sizeof(cb->window[0]));
    gcrt_mutator_go_outside(m);
}

gc_status
gc_callback_enter(gc_heap *heap, gc_callback *bracket)
{
    struct callback *cb = (struct callback *)(void *)bracket;
    struct gcrt_mutator *m = gc_impl_self.mutator;

    if (cb == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_callback_enter: cb is NULL");
    if (m == NULL) {
        struct gc_heap *h = gcrt_heap_resolve(heap);
        gc_status status;

        if (h == NULL)
            return gcrt_error(GC_ERR_INVAL, "gc_callback_enter: there is no such heap");
        status = gcrt_mutator_attach(h, h->options.precise_stacks != 0);
        if (status != GC_OK)
            return status;
        cb->kind = CALLBACK_ATTACHED;
    } else if (heap != NULL && heap != m->heap) {
        return gcrt_error(GC_ERR_ATTACHED, "gc_callback_enter: this thread is attached to "
                "another heap");
    } else if (m->block_depth != 0) {
        interrupt_region(m, cb);
    } else {
        cb->kind = CALLBACK_INSIDE;
    }
    cb->mutator = gc_impl_self.mutator;
    return GC_OK;
}

void
gc_callback_leave(gc_callback *bracket)
{
    struct callback *cb = (struct callback *)(void *)bracket;
    struct gcrt_mutator *m = gcrt_mutator_self("gc_callback_leave");
    enum callback_kind kind = cb == NULL ? (enum callback_kind)0 : cb->kind;

    if (UNLIKELY(kind < CALLBACK_INSIDE || kind > CALLBACK_ATTACHED || cb->mutator != m))
        gcrt_fatal("gc_callback_leave: without gc_callback_enter on this thread");
    cb->kind = (enum callback_kind)0;
    if (kind == CALLBACK_ATTACHED)
        gcrt_mutator_detach(m);
    else if (kind == CALLBACK_REGION)
        resume_region(m, cb);
}
