/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_SIM_H
#define GCRT_BASE_SIM_H

/*
 * The simulation's end of the sync layer.
 *
 * tests/sim compiles the library's own sources with -DGCRT_SIM -include this file, and brings
 * its own lock.h and os.h implementations.  There every thread is a fiber of one OS thread,
 * and a seeded scheduler may run another fiber before each operation on a shared word: those
 * of atomic.h, the compiler's builtins that public inline functions use, and the marker's
 * reads of objects.  Nothing here is part of the library.
 *
 * The budget counts down to the scheduler's next look, so a point that does not switch costs
 * one decrement.
 */

#include <stdint.h>

/* Before the builtins get their points: libatomic_ops is made of them. */
#include <atomic_ops.h>

extern int64_t gcrt_sim_budget;
void gcrt_sim_switch(void);

static inline void
sim_point(void)
{
    if (__builtin_expect(--gcrt_sim_budget < 0, 0))
        gcrt_sim_switch();
}

#define __atomic_load_n(p, order)     (sim_point(), __atomic_load_n(p, order))
#define __atomic_store_n(p, x, order) (sim_point(), __atomic_store_n(p, x, order))
#define __atomic_compare_exchange_n(p, old, x, weak, yes, no) \
    (sim_point(), __atomic_compare_exchange_n(p, old, x, weak, yes, no))

/* Its inline stores are seen by the scheduler. */
#define GC_NO_STORE_WINDOW 1

/* One set of hot words per fiber: thread.h declares the pointer, the scheduler sets it. */
#define gc_impl_self (*gcrt_sim_self)

#endif
