/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_LIMIT_H
#define GCRT_GC_LIMIT_H

/* The memory limit: what counts, and what is done about it. */

#include "gc/heap.h"

/* What the heap and its metadata take of the OS, read together. */
struct memory_inputs {
    uint64_t grown, in_use, released; /* of the heap's own range */
    uint64_t pages, workbufs;         /* what is touched of two big mappings */
    uint64_t persist, mcaches;        /* mcaches lie in persist */
    uint64_t committed;               /* everything ready, those two mappings left out */
};

/* All but mcaches.  No lock; each input is right, but of its own moment. */
void gcrt_limit_read_memory(const struct gc_heap *heap, struct memory_inputs *in);

/*
 * Bytes that are mapped and backed by memory, heap and metadata: the sum of the metrics
 * /memory/classes without the released bytes.  What the limit counts, beside external bytes.
 */
uint64_t gcrt_limit_mapped(const struct gc_heap *heap);

/* From the options, before the heap is made. */
void gcrt_limit_init(struct gc_heap *heap);

/* A negative value only asks.  Returns the previous one.  Critical. */
int64_t gcrt_limit_set(struct gc_heap *heap, int64_t bytes);

/* GC_ERR_INVAL if the sum leaves [0, INT64_MAX].  Critical. */
gc_status gcrt_limit_external(struct gc_heap *heap, int64_t delta);

#endif
