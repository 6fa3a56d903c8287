/* SPDX-License-Identifier: MIT */
/*
 * The scavtrace line.
 *
 * Purpose: one line on memory that was given back, in the form that Go prints.
 * Place: the api layer calls it when the collector reports.
 * Invariants: the form is
 *     scav A KiB work (bg), B KiB work (eager), C KiB now, D% util (forced)
 * on one line, the last word only if it is true: A and B since the line before, C not backed
 * now, D the share of the backed pages that are in spans.
 * Concurrency: pure.  Cost: cold.
 */
#include "metrics/scavtrace.h"

#include <inttypes.h>
#include <stdio.h>

static unsigned
percent(uint64_t part, uint64_t whole)
{
    if (part >= whole)
        return whole == 0 ? 0 : 100;
    return (unsigned)((double)part / (double)whole * 100);
}

size_t
gcrt_scavtrace_format(char *buf, size_t n, const struct scavenge_report *r)
{
    int length = snprintf(buf, n,
            "scav %" PRIu64 " KiB work (bg), %" PRIu64 " KiB work (eager), %" PRIu64
            " KiB now, %u%% util%s",
            r->background >> 10, r->assist >> 10, r->released >> 10,
            percent(r->in_use, r->retained), r->forced ? " (forced)" : "");

    return (size_t)length;
}
