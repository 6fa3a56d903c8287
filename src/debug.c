/* SPDX-License-Identifier: MIT */
/*
 * The public functions that look at a whole heap.
 *
 * Purpose: check arguments, have the coordinator look (gc/look.h), pass on what it saw.
 * Place: on top of verify, why, graph and its writer.
 * Invariants: an attached caller is outside while it waits, or it would be waited for.  Sinks
 * are called when nobody is held any more.
 * Concurrency: none of its own.
 * Cost: cold.
 */
#include "gc/cycle.h"
#include "gc/error.h"
#include "gc/graph.h"
#include "gc/mutator.h"
#include "gc/verify.h"
#include "gc/why.h"
#include "metrics/heapsnapshot.h"

#include <gcrt/debug.h>

#include <string.h>

/* Does nothing for a thread that is not attached. */
static bool
step_outside(void)
{
    bool attached = gc_impl_self.mutator != NULL;

    if (attached)
        gc_block_enter();
    return attached;
}

static void
step_inside(bool attached)
{
    if (attached)
        gc_block_leave();
}

/* Listeners, on_limit and log run on the thread that would have to look. */
static gc_status
check_caller(const struct gc_heap *heap, const char *name)
{
    if (!gcrt_cycle_is_coordinator(heap))
        return GC_OK;
    return gcrt_error(GC_ERR_BUSY, "%s: called by a listener, on_limit or log, on the collector's "
            "thread", name);
}

gc_status
gc_verify(gc_heap *heap)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);
    char text[VERIFY_TEXT];
    bool inside;
    gc_status status;

    if (h == NULL)
        return gcrt_error(GC_ERR_NOTFOUND, "gc_verify: there is no such heap");
    if (check_caller(h, "gc_verify") != GC_OK)
        return GC_ERR_BUSY;
    inside = step_outside();
    status = gcrt_verify_ask(h, text);
    step_inside(inside);
    if (status == GC_ERR_THREAD)
        return gcrt_error(status, "gc_verify: the OS has no thread for the collector");
    return status == GC_OK ? GC_OK : gcrt_error(status, "%s", text);
}

/* The path goes to the sink; anything else becomes the last error. */
static gc_status
tell_why(gc_status status, const char *text, const gc_sink *sink)
{
    switch (status) {
    case GC_OK:
        if (sink->write(sink->arg, text, strlen(text)) == 0)
            return GC_OK;
        return gcrt_error(GC_ERR_SINK, "gc_why_alive: the sink refused bytes");
    case GC_ERR_NOTFOUND:
        return gcrt_error(status, "gc_why_alive: %s", text);
    case GC_ERR_NOMEM:
        return gcrt_error(status, "gc_why_alive: no memory to search with");
    default:
        return gcrt_error(status, "gc_why_alive: the OS has no thread for the collector");
    }
}

gc_status
gc_why_alive(gc_heap *heap, const void *obj, const gc_sink *sink)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);
    char text[PATH_TEXT];
    bool inside;
    gc_status status;

    if (sink == NULL || sink->write == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_why_alive: no sink");
    if (h == NULL)
        return gcrt_error(GC_ERR_NOTFOUND, "gc_why_alive: there is no such heap");
    if (check_caller(h, "gc_why_alive") != GC_OK)
        return GC_ERR_BUSY;
    inside = step_outside();
    status = gcrt_why_alive(h, obj, text);
    step_inside(inside);
    return tell_why(status, text, sink);
}

static gc_status
tell_snapshot(gc_status status)
{
    static const char *const why[GC_STATUS_COUNT] = {
        [GC_ERR_NOMEM] = "no memory for a copy of the graph",
        [GC_ERR_LIMIT] = "the heap is too large for the format",
        [GC_ERR_THREAD] = "the OS has no thread for the collector",
        [GC_ERR_SINK] = "the sink refused bytes",
    };

    return status == GC_OK ? GC_OK
        : gcrt_error(status, "gc_heap_snapshot_write: %s", why[status]);
}

gc_status
gc_heap_snapshot_write(gc_heap *heap, const gc_sink *sink)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);
    struct graph graph;
    gc_status status;
    bool inside;

    if (sink == NULL || sink->write == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_heap_snapshot_write: no sink");
    if (h == NULL)
        return gcrt_error(GC_ERR_NOTFOUND, "gc_heap_snapshot_write: there is no such heap");
    if (check_caller(h, "gc_heap_snapshot_write") != GC_OK)
        return GC_ERR_BUSY;
    inside = step_outside();
    status = gcrt_graph_take(h, &graph);
    step_inside(inside);
    if (status == GC_OK) {
        status = gcrt_heapsnapshot_write(&graph, sink);
        gcrt_graph_drop(&graph);
    }
    return tell_snapshot(status);
}
