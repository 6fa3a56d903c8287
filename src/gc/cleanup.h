/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_CLEANUP_H
#define GCRT_GC_CLEANUP_H

/*
 * Cleanups and finalizers: specials that become jobs of the runner's when their object dies.
 */

#include "alloc/base/atomic.h"
#include "alloc/base/rcu.h"

struct gc_heap;

/* Of cleanups, or of finalizers. */
struct cleanup_counts {
    aword queued;    /* atomic: that have become due */
    aword executed;  /* atomic: that have returned */
};

struct cleanups {
    aword serial;                /* atomic: of the newest cleanup */
    aword cancelled;             /* atomic: cleanups that were taken back, due or not */
    struct cds_list_head ready;  /* coordinator: jobs of one decision */
    struct cleanup_counts cleanup, finalizer;
};

void gcrt_cleanups_init(struct gc_heap *heap);

/* The coordinator, when all dead objects are decided: their callbacks are due. */
void gcrt_cleanups_due(struct gc_heap *heap);

/* gc_run_cleanups_all. */
size_t gcrt_cleanups_run_all(struct gc_heap *heap);

#endif
