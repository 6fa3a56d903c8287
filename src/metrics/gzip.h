/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_GZIP_H
#define GCRT_METRICS_GZIP_H

/* Bytes for a sink, compressed on their way (zlib). */

#include <gcrt/metrics.h>

#include <stdbool.h>
#include <zlib.h>

struct gzip {
    const gc_sink *sink;
    z_stream z;
    gc_status status; /* GC_OK until something failed; nothing is written from then on */
    unsigned char out[4096];
};

/* False without memory. */
bool gcrt_gzip_begin(struct gzip *g, const gc_sink *sink);
void gcrt_gzip_write(struct gzip *g, const void *bytes, size_t n);
/* The file's end, unless something failed; gives the memory back in any case. */
gc_status gcrt_gzip_end(struct gzip *g);

#endif
