/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_ROOTS_H
#define GCRT_GC_ROOTS_H

#include "gc/heap.h"

/* Words that are roots of the heap's own, in the order in which they are visited. */
enum root_kind {
    ROOT_RANGE,     /* of a registered range: the only kind that may point past an object's end */
    ROOT_HANDLE,
    ROOT_CLEANUP,   /* the argument of one, in a struct special */
    ROOT_FINALIZER, /* the same */
    ROOT_CALLBACK,  /* of one that waits to be called */
    ROOT_POOL,
    ROOT_KINDS
};

void gcrt_roots_init(struct gc_heap *heap);
void gcrt_roots_finish(struct gc_heap *heap);
/* Who collects roots: raw work, a buffer at a time. */
struct root_collector {
    struct gc_heap *heap;    /* const */
    struct workbuf *buffer;  /* owner; NULL at first */
    uintptr_t exact;         /* RAW_EXACT: one past the end of an object is none of it; or 0 */
    size_t bytes;            /* owner: looked at */
};

/* arg is a collector.  After H3. */
void gcrt_root_collect_word(void *arg, uintptr_t word);
/* Queues what has been collected. */
void gcrt_root_collect_end(struct root_collector *c);
/*
 * Queues every word of every range and handle as raw work; returns the bytes looked at.
 * After H3: from then on the deletion barrier covers what a root loses.
 */
size_t gcrt_roots_collect(struct gc_heap *heap);
/*
 * The stack [lo, hi) is gone: ranges that lie in it stay registered, but have no words any
 * more.  For fork, in the child.
 */
void gcrt_roots_empty_within_locked(struct gc_heap *heap, uintptr_t lo, uintptr_t hi);
/*
 * Calls fn for each root word and its address, kind after kind.  For the verifier, which walks
 * the lists itself.
 */
void gcrt_roots_visit(struct gc_heap *heap,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at, enum root_kind kind), void *arg);

#endif
