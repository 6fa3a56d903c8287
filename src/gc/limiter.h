/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_LIMITER_H
#define GCRT_GC_LIMITER_H

#include "alloc/base/base.h"

/*
 * The CPU limiter: has the collector taken more of the CPU time than it may?
 *
 * Pure arithmetic on one struct: no clock, no lock, no atomic operation.  A bucket of CPU
 * nanoseconds fills while the collector's share is above the cap and drains while it is
 * below; the collector is limited while the bucket is full, or fuller.
 */
struct limiter {
    /* Settings. */
    unsigned percent;  /* the cap, 1..; 100 or more: never limited */
    uint64_t capacity; /* CPU ns: so much of nothing but collecting fills it */
    /* State. */
    uint64_t fill; /* 0..2 capacity */
    bool limiting; /* the bucket is full */
};

/* cpus 0 counts as 1.  The bucket is empty. */
void gcrt_limiter_init(struct limiter *l, unsigned percent, uint64_t window_ns, unsigned cpus);

/*
 * Since the last call, busy_ns of CPU time were used, gc_ns of them by or for the collector
 * (more than all counts as all).  Returns limiting.
 */
bool gcrt_limiter_update(struct limiter *l, uint64_t gc_ns, uint64_t busy_ns);

#endif
