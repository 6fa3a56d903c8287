/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_ASSIST_H
#define GCRT_GC_ASSIST_H

/* Mark assist: who allocates while the collector marks pays in marking. */

#include "gc/mutator.h"

/* The slow half: m owes. */
void gcrt_assist(struct gcrt_mutator *m);

static inline void
gcrt_assist_if_owed(struct gcrt_mutator *m)
{
    if (UNLIKELY(m->credit < 0 && aword_load_relaxed(&m->heap->marking.work_per_byte) != 0))
        gcrt_assist(m);
}

/* m has marked for this cycle what it will: its time becomes a sample. */
void gcrt_assist_end_cycle(struct gcrt_mutator *m);

/*
 * The heap is above its goal and m wants more: helps to sweep, or gives its CPU to the
 * collector for a moment.  m is inside and not critical.
 */
void gcrt_throttle(struct gcrt_mutator *m);

/* Sets the exchange rate; 0 ends assisting. */
void gcrt_assist_set_ratio(struct gc_heap *heap, double work_per_byte, double bytes_per_work);

#endif
