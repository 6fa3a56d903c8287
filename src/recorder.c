/* SPDX-License-Identifier: MIT */
/*
 * The public functions of the flight recorder and of listeners.
 *
 * Purpose: check arguments, pass on.
 * Place: on top of gc/trace, gc/listen and their writer.
 * Invariants: an attached caller is outside where it may wait.
 * Concurrency: none of its own.
 * Cost: cold.
 */
#include <gcrt/listen.h>
#include <gcrt/recorder.h>

#include "gc/error.h"
#include "gc/listen.h"
#include "gc/mutator.h"
#include "metrics/chrometrace.h"

#include <stdlib.h>

gc_status
gc_recorder_start(gc_heap *heap, const gc_recorder_options *opt)
{
    static const gc_recorder_options zero;
    struct gc_heap *h = gcrt_heap_resolve(heap);

    if (h == NULL)
        return gcrt_error(GC_ERR_NOTFOUND, "gc_recorder_start: there is no such heap");
    if (opt == NULL)
        opt = &zero;
    if (gcrt_trace_start(h, opt->ring_bytes) != GC_OK)
        return gcrt_error(GC_ERR_NOMEM, "gc_recorder_start: no address space for the rings");
    gcrt_listen_forget_pause(h);
    aword_store_relaxed(&h->tracing.pause_bound, opt->pause_ns);
    return GC_OK;
}

void
gc_recorder_stop(gc_heap *heap)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);

    if (h == NULL)
        gcrt_fatal("gc_recorder_stop: there is no such heap");
    aword_store_relaxed(&h->tracing.pause_bound, 0);
    gcrt_listen_forget_pause(h);
    gcrt_trace_stop(h);
}

gc_status
gc_recorder_write(gc_heap *heap, uint64_t last_ns, const gc_sink *sink)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);
    uint64_t now = gcrt_os_now_ns(), from = last_ns == 0 || last_ns > now ? 0 : now - last_ns;
    struct trace_event *events;
    gc_status status;
    size_t n;

    if (sink == NULL || sink->write == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_recorder_write: no sink");
    if (h == NULL)
        return gcrt_error(GC_ERR_NOTFOUND, "gc_recorder_write: there is no such heap");
    if (gcrt_trace_read(h, from, &events, &n) != GC_OK)
        return gcrt_error(GC_ERR_NOMEM, "gc_recorder_write: no memory for a copy of the events");
    status = gcrt_chrometrace_write(h, events, n, from, sink);
    free(events);
    return status == GC_OK ? GC_OK
        : gcrt_error(status, "gc_recorder_write: the sink refused bytes");
}

gc_status
gc_listen(gc_heap *heap, gc_listener_fn *fn, void *arg)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);

    if (fn == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_listen: fn is NULL");
    if (h == NULL)
        return gcrt_error(GC_ERR_NOTFOUND, "gc_listen: there is no such heap");
    if (!gcrt_listen_add(h, fn, arg))
        return gcrt_error(GC_ERR_LIMIT, "gc_listen: %d listeners are all there can be", LISTENERS);
    return GC_OK;
}

void
gc_unlisten(gc_heap *heap, gc_listener_fn *fn, void *arg)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);
    bool attached = gc_impl_self.mutator != NULL, found;

    if (h == NULL)
        gcrt_fatal("gc_unlisten: there is no such heap");
    if (attached)
        gc_block_enter();
    found = gcrt_listen_remove(h, fn, arg);
    if (attached)
        gc_block_leave();
    if (!found)
        gcrt_fatal("gc_unlisten: there is no such listener");
}
