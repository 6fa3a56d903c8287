/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_STRESS_ASKED_H
#define GCRT_TESTS_STRESS_ASKED_H

/*
 * What the single-step programs share: one thread in a heap whose collector sleeps,
 * handshakes that the program asks for itself, and the number of steps at the end.
 */

#include "heapkit.h"

#include "step.h"

#include "gc/actions.h"
#include "gc/handshake.h"

#if defined(__x86_64__)

static struct gc_heap *the_heap;

/* Begins the program.  The caller may change the options. */
static inline void
asked_options(const char *name, int argc, char **argv, gc_options *opt)
{
    t_start(name, argc, argv);
    t_hang_after(280);
    t_options(opt);
    opt->gogc = GC_GOGC_OFF;
    opt->periodic_ms = 0;
    opt->release_ms = 0;
    opt->profile_rate = 0; /* libunwind blocks signals: a trap would be the end */
    opt->threads = 1;
}

/* The calling thread is attached. */
static inline void
asked_begin(const gc_options *opt)
{
    T_OK(gc_heap_create(opt, &the_heap));
    T_OK(gc_thread_attach(the_heap));
}

static inline int
asked_end(void)
{
    gc_thread_detach();
    T_OK(gc_heap_destroy(the_heap));
    t_note("%lu runs of %lu instructions, the thread was moved %lu times", t_step_runs(),
            t_step_total(), t_step_moved());
    return 0;
}

static inline struct gcrt_mutator *
self(void)
{
    return gc_impl_self.mutator;
}

/* Asks the calling thread for an action, as the coordinator would, and goes on. */
static inline unsigned
ask(enum action action)
{
    struct handshake *hs = &the_heap->handshake;
    unsigned epoch = ahalf_load_relaxed(&hs->epoch) + 1;

    hs->action = action;
    the_heap->registry.black_gen = ahalf_load_relaxed(&the_heap->mheap.sweepgen);
    ahalf_store_relaxed(&hs->epoch, epoch);
    ahalf_store_relaxed(&hs->pending, 1);
    ahalf_store_release(&self()->request, epoch);
    gc_impl_self.poll = 1;
    return epoch;
}

static inline void
ask_and_answer(enum action action)
{
    unsigned epoch = ask(action);

    gc_safepoint();
    T_CHECK(ahalf_load_relaxed(&self()->answered) == epoch, "a poll answers");
}

#endif

#endif
