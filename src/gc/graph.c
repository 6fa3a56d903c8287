/* SPDX-License-Identifier: MIT */
/*
 * A copy of the graph.
 *
 * Purpose: a heap snapshot is of one moment, but is written by the host's functions, which may
 * take locks that a held thread has; so what it says is copied while the mutators are held, and
 * written when they run again.
 * Place: metrics/heapsnapshot.c writes it; it calls search for what is reachable.
 * Invariants: nodes are in the order of addresses.  The search's table of parents becomes, when
 * the search is over, the table of numbers; how an object was come to waits in node.first.  An
 * ephemeron has an edge to its value exactly if its key is a node.
 * Concurrency: one look at the heap (look.h), every mutator held.
 * Cost: the mutators are held some 100 ns for each reachable object and 10 for each pointer; memory
 * beside the heap: 3 x its grown size at most, touched where objects are.
 */
#include "gc/graph.h"

#include "gc/handshake.h"
#include "gc/kind.h"
#include "gc/look.h"
#include "gc/search.h"

#include <string.h>

struct taking {
    struct look look; /* first */
    struct search search;
    struct graph *graph;
    gc_status status;
};

static struct mheap *
heap_of(const struct taking *t)
{
    return &t->search.walk.marker.heap->mheap;
}

/* ---- nodes ---- */

static void
number_objects(struct taking *t, struct mspan *s)
{
    const struct mheap *h = heap_of(t);
    const gc_type *type = kind_of(t->search.walk.marker.heap, s)->type;
    struct graph *g = t->graph;

    for (size_t i = 0; i < s->nelems; i++) {
        uintptr_t object = span_object(h, s, i);
        uint64_t *parent = &t->search.parent[(object - h->base) / WORD];
        enum search_from from = gcrt_search_from(&t->search, object);

        if (from == FROM_NOTHING) {
            if (*parent != 0)
                *parent = 0; /* ephemerons wait for it, in vain */
            continue;
        }
        g->nodes[g->n] = (struct graph_node){ .address = object, .type = type,
            .bytes = span_elem_bytes(s), .first = from };
        *parent = ++g->n;
    }
}

static void
number_all(struct taking *t)
{
    struct mheap *h = heap_of(t);
    size_t limit = aword_load_acquire(&h->limit) >> PAGE_SHIFT; /* pairs: heap.grow */

    for (size_t page = 0; page < limit; page++)
        if (span_state(&h->spans[page]) >= SPAN_SMALL)
            number_objects(t, &h->spans[page]);
}

/* ---- edges ---- */

/* Of the object that word points into; 0: none, or none that is reachable. */
static uint64_t
number_of(const struct taking *t, uintptr_t word)
{
    const struct mheap *h = heap_of(t);
    size_t index;
    struct mspan *s = gcrt_walk_find(h, word, &index);

    return s == NULL ? 0 : t->search.parent[(span_object(h, s, index) - h->base) / WORD];
}

/* Trace functions may say words twice: as much room again. */
static COLD bool
make_room(struct taking *t)
{
    struct graph *g = t->graph;
    size_t bytes = 2 * g->edges_bytes;
    struct graph_edge *edges = gcrt_os_map(&g->os, bytes);

    if (edges == NULL) {
        t->status = GC_ERR_NOMEM;
        return false;
    }
    memcpy(edges, g->edges, g->nedges * sizeof(*edges));
    gcrt_os_unmap(&g->os, g->edges, g->edges_bytes, g->edges_bytes);
    g->edges = edges;
    g->edges_bytes = bytes;
    return true;
}

/* An edge of the last node begun. */
static void
add_edge(struct taking *t, uintptr_t word, uint32_t offset)
{
    struct graph *g = t->graph;
    uint64_t number = number_of(t, word);

    if (number == 0)
        return;
    if (UNLIKELY((g->nedges + 1) * sizeof(*g->edges) > g->edges_bytes) && !make_room(t))
        return;
    g->edges[g->nedges++] = (struct graph_edge){ (uint32_t)number - 1, offset };
}

static void
take_edge(struct walk *w, uintptr_t word, uintptr_t slot)
{
    struct taking *t = container_of_(w, struct taking, search.walk);

    add_edge(t, word, slot == 0 ? GRAPH_TRACED : (uint32_t)((slot - w->object) / WORD));
}

static bool
has_number(struct walk *w, uintptr_t key)
{
    return number_of(container_of_(w, struct taking, search.walk), key) != 0;
}

/* How the search came to the object says which root, if any, leads to it. */
static void
take_roots(struct taking *t)
{
    static const enum graph_root root_of[] = { [FROM_ROOT + ROOT_RANGE] = GRAPH_GLOBALS,
        [FROM_ROOT + ROOT_HANDLE] = GRAPH_HANDLES, [FROM_ROOT + ROOT_CLEANUP] = GRAPH_CLEANUPS,
        [FROM_ROOT + ROOT_FINALIZER] = GRAPH_CLEANUPS,
        [FROM_ROOT + ROOT_CALLBACK] = GRAPH_CALLBACKS, [FROM_ROOT + ROOT_POOL] = GRAPH_POOLS,
        [FROM_HOT] = GRAPH_POOLS, [FROM_STACK] = GRAPH_STACKS };
    struct graph *g = t->graph;

    for (unsigned r = 0; r < GRAPH_ROOTS; r++)
        for (size_t i = 0; i < g->n; i++) {
            unsigned from = (unsigned)g->nodes[i].first;

            if (from <= FROM_TRACE || root_of[from] != r)
                continue;
            g->edges[g->nedges++] = (struct graph_edge){ (uint32_t)i, 0 };
            g->roots[r]++;
        }
}

static void
take_edges(struct taking *t)
{
    struct graph *g = t->graph;

    t->search.walk.edge = take_edge;
    t->search.walk.key_lives = has_number;
    for (size_t i = 0; i < g->n && t->status == GC_OK; i++) {
        size_t index;
        struct mspan *s = gcrt_walk_find(heap_of(t), g->nodes[i].address, &index);

        g->nodes[i].first = g->nedges;
        gcrt_walk_object(&t->search.walk, s, index);
    }
    g->nodes[g->n].first = g->nedges;
}

/* ---- all of it ---- */

/* Every object, and every word, is an edge's end at most once each, but for trace functions. */
static bool
map_graph(struct taking *t)
{
    struct graph *g = t->graph;

    g->nodes_bytes = (t->search.objects + 1) * sizeof(*g->nodes);
    g->edges_bytes = (t->search.objects + t->search.bytes / WORD) * sizeof(*g->edges);
    g->nodes = gcrt_os_map(&g->os, g->nodes_bytes);
    g->edges = gcrt_os_map(&g->os, g->edges_bytes);
    return g->nodes != NULL && g->edges != NULL;
}

static void
copy_graph(struct taking *t, struct gc_heap *heap)
{
    t->status = GC_ERR_NOMEM;
    if (!gcrt_search_init(&t->search, heap))
        return;
    gcrt_search_pairs(&t->search);
    gcrt_search_roots(&t->search);
    gcrt_search_drain(&t->search);
    gcrt_search_stacks(&t->search);
    gcrt_search_drain(&t->search);
    if (t->search.objects >= UINT32_MAX || t->search.bytes / WORD >= GRAPH_TRACED) {
        t->status = GC_ERR_LIMIT;
    } else if (map_graph(t)) {
        t->status = GC_OK;
        number_all(t);
        take_roots(t);
        take_edges(t);
    }
    gcrt_search_finish(&t->search);
}

static void
look(struct gc_heap *heap, struct look *l)
{
    gcrt_hold_all(heap);
    copy_graph(container_of_(l, struct taking, look), heap);
    gcrt_release_all(heap);
}

gc_status
gcrt_graph_take(struct gc_heap *heap, struct graph *graph)
{
    struct taking t = { .look.fn = look, .graph = graph };

    *graph = (struct graph){ .n = 0 };
    if (!gcrt_look(heap, &t.look))
        t.status = GC_ERR_THREAD;
    if (t.status != GC_OK)
        gcrt_graph_drop(graph);
    return t.status;
}

void
gcrt_graph_drop(struct graph *graph)
{
    if (graph->nodes != NULL)
        gcrt_os_unmap(&graph->os, graph->nodes, graph->nodes_bytes, graph->nodes_bytes);
    if (graph->edges != NULL)
        gcrt_os_unmap(&graph->os, graph->edges, graph->edges_bytes, graph->edges_bytes);
    graph->nodes = NULL;
    graph->edges = NULL;
}
