/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_GRAPH_H
#define GCRT_GC_GRAPH_H

/* A copy of the object graph, taken between two cycles with all mutators held. */

#include "gc/heap.h"

/* A root is named by the first of these that leads to the object. */
enum graph_root {
    GRAPH_GLOBALS,
    GRAPH_HANDLES,
    GRAPH_CLEANUPS,  /* arguments of cleanups and finalizers */
    GRAPH_CALLBACKS, /* that wait to be called */
    GRAPH_POOLS,
    GRAPH_STACKS,
    GRAPH_ROOTS
};

struct graph_node {
    uintptr_t address;
    const gc_type *type;
    uint64_t bytes;
    uint64_t first; /* its edges begin here in edges; they end where the next node's begin */
};

struct graph_edge {
    uint32_t to;    /* a node */
    uint32_t word;  /* offset in the object in words; GRAPH_TRACED: a trace function said so */
};

#define GRAPH_TRACED UINT32_MAX

/* All reachable objects, by address. */
struct graph {
    struct os os;              /* its memory: not in the heap's books */
    size_t n, nedges;
    size_t nodes_bytes, edges_bytes;
    struct graph_node *nodes;  /* n, and one to end the last one's edges; owned */
    struct graph_edge *edges;  /* owned; first those from roots, then by node */
    size_t roots[GRAPH_ROOTS]; /* how many edges come from each, in this order */
};

/*
 * GC_ERR_NOMEM; GC_ERR_LIMIT: more than 2^32 objects, or one of 32 GiB; GC_ERR_THREAD without a
 * coordinator.  The caller is outside or not attached.
 */
gc_status gcrt_graph_take(struct gc_heap *heap, struct graph *graph);
void gcrt_graph_drop(struct graph *graph);

#endif
