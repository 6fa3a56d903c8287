/* SPDX-License-Identifier: MIT */
/*
 * The gctrace line.
 *
 * Purpose: one line per cycle in the form that Go prints, so that its readers and their
 * scripts work.
 * Place: the api layer calls it when the coordinator reports a cycle.
 * Invariants: the form is
 *     gc N @Ts P%: a+b+c ms clock, d+e/f/g+h ms cpu, A->B->C MB, G MB goal, S MB stacks,
 *     M MB globals, n P (forced)
 * on one line, the last word only if it is true.  docs/observability.md explains each
 * field: where Go shows stops of the world, these are our handshakes.
 * Concurrency: pure.  Cost: cold, once per cycle.
 */
#include "metrics/gctrace.h"

#include <inttypes.h>
#include <stdio.h>

#define MS_TEXT 32

/* Tens of milliseconds whole, less with two digits that count, never finer than 1 us. */
static void
format_ms(char text[MS_TEXT], uint64_t ns)
{
    uint64_t us = ns / 1000;

    if (us == 0)
        snprintf(text, MS_TEXT, "0");
    else if (us < 100)
        snprintf(text, MS_TEXT, "0.%03" PRIu64, us);
    else if (us < 1000)
        snprintf(text, MS_TEXT, "0.%02" PRIu64, us / 10);
    else if (us < 10000)
        snprintf(text, MS_TEXT, "%" PRIu64 ".%" PRIu64, us / 1000, us / 100 % 10);
    else
        snprintf(text, MS_TEXT, "%" PRIu64, us / 1000);
}

/* Both are sums of clocks that do not agree to the nanosecond, so part may be the larger. */
static unsigned
percent(uint64_t part, uint64_t whole)
{
    if (part >= whole)
        return whole == 0 ? 0 : 100;
    return (unsigned)((double)part / (double)whole * 100);
}

static uint64_t
mib(uint64_t bytes)
{
    return bytes >> 20;
}

size_t
gcrt_gctrace_format(char *buf, size_t n, const struct cycle_report *c)
{
    const uint64_t times[] = { c->start_wall_ns, c->mark_wall_ns, c->end_wall_ns,
        c->start_cpu_ns, c->assist_ns, c->dedicated_ns, c->idle_ns, c->end_cpu_ns };
    char ms[ARRAY_LEN(times)][MS_TEXT];
    uint64_t start_ms = c->since_start_ns / 1000000;
    int length;

    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        format_ms(ms[i], times[i]);
    length = snprintf(buf, n,
            "gc %" PRIu64 " @%" PRIu64 ".%03" PRIu64 "s %u%%: %s+%s+%s ms clock, "
            "%s+%s/%s/%s+%s ms cpu, %" PRIu64 "->%" PRIu64 "->%" PRIu64 " MB, "
            "%" PRIu64 " MB goal, %" PRIu64 " MB stacks, %" PRIu64 " MB globals, "
            "%" PRIu64 " P%s",
            c->cycle, start_ms / 1000, start_ms % 1000,
            percent(c->gc_cpu_ns, c->total_cpu_ns), ms[0], ms[1], ms[2], ms[3], ms[4],
            ms[5], ms[6], ms[7], mib(c->heap_start), mib(c->heap_end), mib(c->heap_live),
            mib(c->goal), mib(c->stacks), mib(c->globals), c->nps,
            c->forced ? " (forced)" : "");
    return (size_t)length;
}
