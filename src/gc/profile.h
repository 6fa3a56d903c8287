/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_PROFILE_H
#define GCRT_GC_PROFILE_H

/* The heap profile: who allocates, and who allocated what is alive. */

#include "gc/heap.h"

struct gcrt_mutator;

#define PROFILE_DEPTH 128

/* Objects that one site allocated, estimated from the samples; weights are summed. */
struct profile_sums {
    double allocs, frees; /* objects */
};

/* One site: the same stack, the same size. */
struct profile_site {
    const gc_type *type;     /* borrowed: a type outlives its objects; of the first sample */
    uint64_t bytes;          /* of an object */
    struct profile_sums sums;
    unsigned npcs;
    const uintptr_t *pcs;    /* innermost first; return addresses */
};

bool gcrt_profile_init(struct gc_heap *heap);
void gcrt_profile_finish(struct gc_heap *heap);

/*
 * The object at p, which m has just been given, is a sample; `from` is where the host called
 * the library.  The caller holds p, is inside and not critical.  Without memory the sample is
 * lost, and counted.
 */
void gcrt_profile_sample(struct gcrt_mutator *m, const void *p, const gc_type *type,
        const void *from);

/* The coordinator: marking is complete, and no mark bit has been cleared yet. */
void gcrt_profile_marked(struct gc_heap *heap);

/* A child of fork's, where no cycle runs any more.  RANK_PROFILE held. */
void gcrt_profile_abandoned_locked(struct gc_heap *heap);

/* Bytes between samples on average, 1: all objects, 0: off.  Returns the previous value. */
uint64_t gcrt_profile_set_rate(struct gc_heap *heap, uint64_t rate);

/* 1 - e^-x for x >= 0: the chance that an object of x times the rate's bytes is a sample. */
double gcrt_profile_chance(double x);

/*
 * A copy of all sites and what is known of them, malloc'ed in one block; NULL without memory.
 * all: allocations that no cycle has looked at are counted, too (for what was allocated; for
 * what is in use they would count as alive, and do until a first cycle has looked).
 */
struct profile_copy {
    size_t n;
    struct profile_site sites[];
};
struct profile_copy *gcrt_profile_copy(struct gc_heap *heap, bool all);

#endif
