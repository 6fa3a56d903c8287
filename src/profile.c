/* SPDX-License-Identifier: MIT */
/*
 * The public functions of the heap profile.
 *
 * Purpose: check arguments, take a copy of what is known, have it written.
 * Place: on top of gc/profile.c, which knows, and metrics/pprof.c, which writes.
 * Concurrency: none of its own.
 * Cost: a copy of all sites, 64 bytes each, and what the writer costs.
 */
#include "alloc/os/os.h"
#include "gc/error.h"
#include "metrics/pprof.h"

#include <gcrt/profile.h>

#include <stdlib.h>

struct gc_profile {
    const struct gc_heap *heap; /* to compare with, not to follow */
    uint64_t ns;                /* monotonic */
    struct profile_copy *copy;  /* owned */
};

static gc_status
check(const char *caller, const struct gc_heap *heap, const gc_sink *sink)
{
    if (sink == NULL || sink->write == NULL)
        return gcrt_error(GC_ERR_INVAL, "%s: no sink", caller);
    if (heap == NULL)
        return gcrt_error(GC_ERR_NOTFOUND, "%s: there is no such heap", caller);
    return GC_OK;
}

static gc_status
write_copy(const char *caller, struct gc_heap *heap, struct pprof_request *req, const gc_sink *sink)
{
    struct profile_copy *now = gcrt_profile_copy(heap, req->by_allocs);
    gc_status status = GC_ERR_NOMEM;

    if (now != NULL) {
        req->now = now;
        req->rate = aword_load_relaxed(&heap->mheap.sample_rate);
        req->time_ns = gcrt_os_epoch_ns();
        status = gcrt_pprof_write(req, sink);
        free(now);
    }
    if (status == GC_ERR_SINK)
        return gcrt_error(GC_ERR_SINK, "%s: the sink refused bytes", caller);
    return status == GC_OK ? GC_OK : gcrt_error(status, "%s: out of memory", caller);
}

gc_status
gc_profile_write_heap(gc_heap *heap, const gc_sink *sink)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);
    struct pprof_request req = { .by_allocs = false };
    gc_status status = check("gc_profile_write_heap", h, sink);

    return status != GC_OK ? status : write_copy("gc_profile_write_heap", h, &req, sink);
}

gc_status
gc_profile_write_allocs(gc_heap *heap, const gc_profile *since, const gc_sink *sink)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);
    struct pprof_request req = { .by_allocs = true };
    gc_status status = check("gc_profile_write_allocs", h, sink);

    if (status != GC_OK)
        return status;
    if (since != NULL && since->heap != h)
        return gcrt_error(GC_ERR_INVAL, "gc_profile_write_allocs: since is another heap's");
    if (since != NULL) {
        req.since = since->copy;
        req.duration_ns = gcrt_os_now_ns() - since->ns;
    }
    return write_copy("gc_profile_write_allocs", h, &req, sink);
}

gc_profile *
gc_profile_take(gc_heap *heap)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);
    gc_profile *profile;

    if (h == NULL) {
        (void)gcrt_error(GC_ERR_NOTFOUND, "gc_profile_take: there is no such heap");
        return NULL;
    }
    profile = calloc(1, sizeof(*profile));
    if (profile != NULL) {
        *profile = (gc_profile){ .heap = h, .ns = gcrt_os_now_ns(),
            .copy = gcrt_profile_copy(h, true) };
        if (profile->copy != NULL)
            return profile;
    }
    free(profile);
    (void)gcrt_error(GC_ERR_NOMEM, "gc_profile_take: out of memory");
    return NULL;
}

void
gc_profile_free(gc_profile *profile)
{
    if (profile != NULL)
        free(profile->copy);
    free(profile);
}

size_t
gc_set_profile_rate(gc_heap *heap, size_t bytes)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);

    if (h == NULL)
        gcrt_fatal("gc_set_profile_rate: there is no such heap");
    return (size_t)gcrt_profile_set_rate(h, bytes);
}
