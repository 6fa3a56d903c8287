/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_UNIT_POOLKIT_H
#define GCRT_TESTS_UNIT_POOLKIT_H

/* The thread that a pool's test works with, and its barrier. */

#include "gc/barrier.h"
#include "gc/pool.h"
#include "gc/poolring.h"

static struct gcrt_mutator *m; /* behind the headers, whose arguments it would shadow */

static inline bool
is_shaded(const void *item)
{
    for (uint32_t i = 0; i < m->nbarrier; i++)
        if (m->barrier[i] == (uintptr_t)item)
            return true;
    return false;
}

static inline void
set_barrier(uint32_t state)
{
    critical_enter();
    barrier_set(m, state);
    m->nbarrier = 0;
    critical_leave();
}

#endif
