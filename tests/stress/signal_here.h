/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_STRESS_SIGNAL_HERE_H
#define GCRT_TESTS_STRESS_SIGNAL_HERE_H

/* A handshake's signal after any instruction, and what its answer has left behind. */

#include "asked.h"

#if defined(__x86_64__)

/* The signal of a handshake, here. */
static enum action asked;
static unsigned epoch_asked;
static int answered_here, state_here;
static unsigned long answers, refusals;

static inline void
signal_here(void)
{
    state_here = (int)ahalf_load_relaxed(&self()->state);
    epoch_asked = ask(asked);
    gcrt_handshake_signal(the_heap->handshake.signal);
    answered_here = ahalf_load_relaxed(&self()->answered) == epoch_asked;
    answers += (unsigned long)answered_here;
    refusals += (unsigned long)!answered_here;
    T_CHECK(!answered_here || state_here == MUTATOR_INSIDE,
            "a signal is answered while the record may be the collector's");
}

static inline void
check_answered_once(void)
{
    T_CHECK(gc_impl_self.critical == 0, "the section has ended");
    gc_safepoint();
    T_CHECK(ahalf_load_relaxed(&self()->answered) == epoch_asked, "it is answered in the end");
    T_CHECK(ahalf_load_relaxed(&the_heap->handshake.pending) == 0, "and once: %d are pending",
            (int)ahalf_load_relaxed(&the_heap->handshake.pending));
}

/* ---- what was found ---- */

/* How often the words handed to the collector have this one; none is left there. */
static inline size_t
take_raw(uintptr_t word)
{
    struct workbuf *b;
    size_t n = 0;

    while ((b = gcrt_work_pop_raw(&the_heap->work)) != NULL) {
        for (uint32_t i = 0; i < b->n; i++)
            n += b->slot[i] == word;
        gcrt_work_put_empty(&the_heap->work, b);
    }
    return n;
}

static inline int
is_marked(const void *p)
{
    struct mspan *s = mheap_span_of(&the_heap->mheap, (uintptr_t)p);

    return span_test(span_marks(s), span_object_index(&the_heap->mheap, s, (uintptr_t)p));
}

/* What an earlier scan has made black in p's span would hide what this one does not. */
static inline void
clear_marks(const void *p)
{
    struct mspan *s = mheap_span_of(&the_heap->mheap, (uintptr_t)p);

    for (size_t w = 0; w < span_words(s); w++)
        aword_store_relaxed(&span_marks(s)[w], 0);
}

#endif

#endif
