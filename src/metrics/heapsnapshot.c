/* SPDX-License-Identifier: MIT */
/*
 * Heap snapshots.
 *
 * Purpose: the object graph in the format of V8's heap snapshots, for viewers that can sum up
 * what each object keeps alive.
 * Place: behind gc_heap_snapshot_write; gc/graph.c has the copy.
 * Invariants: node 0 is the root of all; then one node for each kind of root, then the objects.
 * A node is NODE_FIELDS numbers, and edges name nodes by the index of the first of them.
 * Strings are the types' names, each once, in the order of their first object.
 * Concurrency: works on a copy; the sink is called with no lock held.
 * Cost: some 40 bytes of text an object and 15 an edge, at about 100 MB/s.
 *
 * Source: the format as V8's src/profiler/heap-snapshot-generator.cc writes it; there is no
 * other description.
 */
#include "metrics/heapsnapshot.h"

#include "gc/error.h"
#include "metrics/out.h"

#include <stdlib.h>

#define NODE_FIELDS 7
#define ROOT_NODES  (1 + GRAPH_ROOTS)

/* Indexes into the lists of types below. */
enum { NODE_OBJECT = 3, NODE_NATIVE = 8, NODE_SYNTHETIC = 9 };
enum { EDGE_ELEMENT = 1, EDGE_PROPERTY = 2 };

/* Strings before the types' names. */
static const char *const fixed[] = { "", "(gcrt roots)", "(globals)", "(handles)",
    "(cleanups)", "(due callbacks)", "(pools)", "(thread stacks)", "(traced)" };
enum { STRING_ROOT = 1, STRING_GLOBALS = 2, STRING_TRACED = STRING_GLOBALS + GRAPH_ROOTS,
    STRING_TYPES };

_Static_assert(ARRAY_LEN(fixed) == STRING_TYPES, "types' names come next");

struct writer {
    struct out out;
    const struct graph *graph;
    const gc_type **types; /* owned: hash table, by address; NULL: free */
    uint32_t *strings;     /* owned: beside it */
    size_t mask, ntypes;
};

/* ---- names ---- */

static size_t
slot_of(const struct writer *w, const gc_type *type)
{
    size_t i = ((uintptr_t)type >> 6) & w->mask;

    while (w->types[i] != NULL && w->types[i] != type)
        i = (i + 1) & w->mask;
    return i;
}

/* There are at most as many types as kinds (mheap.h). */
static bool
number_types(struct writer *w)
{
    w->mask = 4 * MHEAP_CENTRALS_MAX - 1;
    w->types = calloc(w->mask + 1, sizeof(*w->types));
    w->strings = calloc(w->mask + 1, sizeof(*w->strings));
    if (w->types == NULL || w->strings == NULL)
        return false;
    for (size_t i = 0; i < w->graph->n; i++) {
        size_t slot = slot_of(w, w->graph->nodes[i].type);

        if (w->types[slot] != NULL)
            continue;
        w->types[slot] = w->graph->nodes[i].type;
        w->strings[slot] = (uint32_t)(STRING_TYPES + w->ntypes++);
    }
    return true;
}

/* In the order of their numbers, which is that of their first objects. */
static void
put_strings(struct writer *w)
{
    size_t next = STRING_TYPES;

    out_text(&w->out, "\"strings\":[\"\"");
    for (size_t i = 1; i < ARRAY_LEN(fixed); i++) {
        out_char(&w->out, ',');
        out_string(&w->out, fixed[i]);
    }
    for (size_t i = 0; i < w->graph->n && next < STRING_TYPES + w->ntypes; i++) {
        const gc_type *type = w->graph->nodes[i].type;

        if (w->strings[slot_of(w, type)] != next)
            continue;
        out_text(&w->out, ",\n");
        out_string(&w->out, type->name);
        next++;
    }
    out_text(&w->out, "]");
}

/* ---- numbers ---- */

static void
put_numbers(struct out *o, bool first, const uint64_t *x, size_t n)
{
    out_text(o, first ? "\n" : ",\n");
    for (size_t i = 0; i < n; i++) {
        if (i != 0)
            out_char(o, ',');
        out_number(o, x[i]);
    }
}

static void
put_node(struct writer *w, bool first, unsigned kind, uint64_t name, uint64_t id, uint64_t bytes,
        uint64_t edges)
{
    uint64_t fields[NODE_FIELDS] = { kind, name, id, bytes, edges, 0, 0 };

    put_numbers(&w->out, first, fields, NODE_FIELDS);
}

/* Ids are odd, as those of V8's objects are; addresses, so that snapshots can be compared. */
static void
put_nodes(struct writer *w)
{
    const struct graph *g = w->graph;

    out_text(&w->out, "\"nodes\":[");
    put_node(w, true, NODE_SYNTHETIC, STRING_ROOT, 1, 0, GRAPH_ROOTS);
    for (unsigned r = 0; r < GRAPH_ROOTS; r++)
        put_node(w, false, NODE_SYNTHETIC, STRING_GLOBALS + r, 3 + 2 * r, 0, g->roots[r]);
    for (size_t i = 0; i < g->n && !w->out.failed; i++) {
        const struct graph_node *node = &g->nodes[i];

        put_node(w, false, NODE_OBJECT, w->strings[slot_of(w, node->type)], node->address | 1,
                node->bytes, node[1].first - node->first);
    }
    out_text(&w->out, "],\n");
}

static void
put_edge(struct writer *w, bool first, unsigned kind, uint64_t name, uint64_t node)
{
    uint64_t fields[3] = { kind, name, node * NODE_FIELDS };

    put_numbers(&w->out, first, fields, 3);
}

static void
put_edges(struct writer *w)
{
    const struct graph *g = w->graph;
    size_t from_roots = 0;

    for (unsigned r = 0; r < GRAPH_ROOTS; r++)
        from_roots += g->roots[r];
    out_text(&w->out, "\"edges\":[");
    for (unsigned r = 0; r < GRAPH_ROOTS; r++)
        put_edge(w, r == 0, EDGE_ELEMENT, r, 1 + r);
    for (size_t i = 0; i < g->nedges && !w->out.failed; i++) {
        const struct graph_edge *e = &g->edges[i];

        if (e->word == GRAPH_TRACED)
            put_edge(w, false, EDGE_PROPERTY, STRING_TRACED, ROOT_NODES + (uint64_t)e->to);
        else
            put_edge(w, false, EDGE_ELEMENT, i < from_roots ? i : (uint64_t)e->word * WORD,
                    ROOT_NODES + (uint64_t)e->to);
    }
    out_text(&w->out, "],\n");
}

/* ---- all of it ---- */

static void
put_head(struct writer *w)
{
    const struct graph *g = w->graph;

    out_text(&w->out,
            "{\"snapshot\":{\"meta\":{\"node_fields\":[\"type\",\"name\",\"id\",\"self_size\","
            "\"edge_count\",\"trace_node_id\",\"detachedness\"],\"node_types\":[[\"hidden\","
            "\"array\",\"string\",\"object\",\"code\",\"closure\",\"regexp\",\"number\","
            "\"native\",\"synthetic\",\"concatenated string\",\"sliced string\",\"symbol\","
            "\"bigint\",\"object shape\"],\"string\",\"number\",\"number\",\"number\",\"number\","
            "\"number\"],\"edge_fields\":[\"type\",\"name_or_index\",\"to_node\"],"
            "\"edge_types\":[[\"context\",\"element\",\"property\",\"internal\",\"hidden\","
            "\"shortcut\",\"weak\"],\"string_or_number\",\"node\"],\"trace_function_info_fields\":"
            "[\"function_id\",\"name\",\"script_name\",\"script_id\",\"line\",\"column\"],"
            "\"trace_node_fields\":[\"id\",\"function_info_index\",\"count\",\"size\","
            "\"children\"],\"sample_fields\":[\"timestamp_us\",\"last_assigned_id\"],"
            "\"location_fields\":[\"object_index\",\"script_id\",\"line\",\"column\"]},"
            "\"node_count\":");
    out_number(&w->out, g->n + ROOT_NODES);
    out_text(&w->out, ",\"edge_count\":");
    out_number(&w->out, g->nedges + GRAPH_ROOTS);
    out_text(&w->out, ",\"trace_function_count\":0},\n");
}

gc_status
gcrt_heapsnapshot_write(const struct graph *graph, const gc_sink *sink)
{
    struct writer w = { .out.sink = sink, .graph = graph };
    gc_status status = GC_ERR_NOMEM;

    if (number_types(&w)) {
        put_head(&w);
        put_nodes(&w);
        put_edges(&w);
        out_text(&w.out, "\"trace_function_infos\":[],\"trace_tree\":[],\"samples\":[],"
                         "\"locations\":[],\n");
        put_strings(&w);
        out_text(&w.out, "}\n");
        out_flush(&w.out);
        status = w.out.failed ? GC_ERR_SINK : GC_OK;
    }
    free(w.types);
    free(w.strings);
    return status;
}
