/* SPDX-License-Identifier: MIT */
/*
 * The CPU limiter.
 *
 * Purpose: near a memory limit every bit of memory that is won costs more and more collecting,
 * until the program does nothing else.  The limiter says when to stop trying.
 * Place: limit.c feeds it and acts on it; it calls nobody.
 *
 * Of t ns of CPU time with a share s for the collector, and a cap c, the bucket gets
 *
 *     t (s - c) / (1 - c)
 *
 * which is t if the collector took all, 0 at the cap, and negative below it.  So a full bucket
 * takes one window of nothing but collecting on all CPUs, and since it was last empty the
 * collector has had c t + (1 - c) fill.  Who is told to stop does not stop at once, so a bucket
 * holds twice what fills it: what was taken beyond the cap is waited for later.  (With a
 * quarter more only, the share was 57 % at a cap of 50 % where other programs wanted the CPUs,
 * too.)
 *
 * Invariants: fill <= 2 capacity; limiting if and only if fill >= capacity, and never at a cap
 * of 100 %.  Nothing overflows: one update counts BUSY_MAX at most.
 * Concurrency: none here.
 * Cost: a division.
 * Source: Go's gcCPULimiter, whose cap is 50 %, whose window is one second, and whose bucket
 * forgets what does not fit into it.
 */
#include "gc/limiter.h"

#include "alloc/base/check.h"

#define BUSY_MAX ((uint64_t)1 << 56) /* two years */

void
gcrt_limiter_init(struct limiter *l, unsigned percent, uint64_t window_ns, unsigned cpus)
{
    *l = (struct limiter){ .percent = percent,
        .capacity = max_size(window_ns * (cpus == 0 ? 1 : cpus), 1) };
    ASSERT(percent > 0);
}

bool
gcrt_limiter_update(struct limiter *l, uint64_t gc_ns, uint64_t busy_ns)
{
    uint64_t busy = min_size(busy_ns, BUSY_MAX), gc = min_size(gc_ns, busy);
    uint64_t have = gc * 100, may = busy * l->percent, less;

    if (l->percent >= 100)
        return false;
    if (have >= may) {
        l->fill = min_size(l->fill + (have - may) / (100 - l->percent), 2 * l->capacity);
    } else {
        less = (may - have) / (100 - l->percent);
        l->fill = l->fill > less ? l->fill - less : 0;
    }
    l->limiting = l->fill >= l->capacity;
    return l->limiting;
}
