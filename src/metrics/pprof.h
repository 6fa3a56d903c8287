/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_PPROF_H
#define GCRT_METRICS_PPROF_H

/* A heap profile as a pprof file. */

#include "gc/profile.h"

#include <gcrt/metrics.h>

struct pprof_request {
    const struct profile_copy *now;
    const struct profile_copy *since; /* NULL: the heap's start */
    uint64_t rate;                    /* bytes between samples */
    uint64_t time_ns;                 /* since the epoch */
    uint64_t duration_ns;             /* 0: not a window */
    bool by_allocs;                   /* show what was allocated, not what is in use */
};

/* GC_ERR_NOMEM, or GC_ERR_SINK as soon as the sink refuses. */
gc_status gcrt_pprof_write(const struct pprof_request *req, const gc_sink *sink);

#endif
