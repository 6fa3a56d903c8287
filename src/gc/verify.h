/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_VERIFY_H
#define GCRT_GC_VERIFY_H

/* The heap verifier.  Coordinator only, but for one: it holds every mutator meanwhile. */

#include "gc/heap.h"

/* Where in a cycle it looks; each has its own set of allowed states. */
enum verify_edge {
    VERIFY_IDLE,     /* between cycles, the sweep complete */
    VERIFY_SCANNED,  /* after H3, before marking opens */
    VERIFY_MARKED,   /* marking complete, before H5 */
    VERIFY_CLOSED,   /* after H5, before sweepgen advances */
    VERIFY_SWEEPING, /* after H6, before the background sweep */
    VERIFY_EDGES
};

#define VERIFY_TEXT 256
#define VERIFY_PATH 2048

/*
 * Checks everything that holds at the edge.  GC_ERR_CORRUPT: the first complaint is in text,
 * and in path, which may be NULL, how a root leads there, if that makes sense.
 * GC_ERR_NOMEM: nothing was checked.
 */
gc_status gcrt_verify_now(struct gc_heap *heap, enum verify_edge edge, char text[VERIFY_TEXT],
        char path[VERIFY_PATH]);

/*
 * Has the coordinator check what holds at VERIFY_IDLE.  The caller is outside or not attached.
 * GC_ERR_THREAD without a coordinator.
 */
gc_status gcrt_verify_ask(struct gc_heap *heap, char text[VERIFY_TEXT]);

/* With verify=1 or 2: the same; a complaint is fatal. */
void gcrt_verify_at(struct gc_heap *heap, enum verify_edge edge);

#endif
