/* SPDX-License-Identifier: MIT */
/*
 * A sink that compresses.
 *
 * Purpose: pprof files are gzip files.
 * Place: between pprof.c and the host's sink; zlib does the work.
 * Invariants: the trailer, without which no reader takes the file for whole, is written only
 * if everything before it was.
 * Concurrency: the caller's.
 * Cost: zlib's 256 KiB while it runs.
 */
#include "metrics/gzip.h"

#include <string.h>

#define GZIP_FORMAT (15 + 16) /* the largest window, and gzip's header and trailer */

bool
gcrt_gzip_begin(struct gzip *g, const gc_sink *sink)
{
    memset(g, 0, sizeof(*g));
    g->sink = sink;
    return deflateInit2(&g->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_FORMAT, 8,
                   Z_DEFAULT_STRATEGY) == Z_OK;
}

/* What deflate makes of the input, up to the end of it or, with Z_FINISH, of the file. */
static void
pump(struct gzip *g, int flush)
{
    int state = Z_OK;

    do {
        size_t n;

        g->z.next_out = g->out;
        g->z.avail_out = sizeof(g->out);
        state = deflate(&g->z, flush);
        n = sizeof(g->out) - g->z.avail_out;
        if (n > 0 && g->sink->write(g->sink->arg, (const char *)g->out, n) != 0)
            g->status = GC_ERR_SINK;
    } while (g->status == GC_OK
            && (flush == Z_FINISH ? state != Z_STREAM_END : g->z.avail_out == 0));
}

void
gcrt_gzip_write(struct gzip *g, const void *bytes, size_t n)
{
    if (g->status != GC_OK)
        return;
    g->z.next_in = (z_const Bytef *)(uintptr_t)bytes;
    g->z.avail_in = (uInt)n;
    pump(g, Z_NO_FLUSH);
}

gc_status
gcrt_gzip_end(struct gzip *g)
{
    if (g->status == GC_OK)
        pump(g, Z_FINISH);
    (void)deflateEnd(&g->z);
    return g->status;
}
