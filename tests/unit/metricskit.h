/* SPDX-License-Identifier: MIT */
#ifndef TEST_METRICSKIT_H
#define TEST_METRICSKIT_H

/* A snapshot made by hand, whose every number is known, and a sink that keeps a text. */

#include "metrics/export.h"
#include "metrics/metrics.h"

#include <gcrt/gcrt.h>

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct timehist none;

/* A heap's counters as a test wants them; nothing is derived yet. */
static inline struct snapshot
counted(void)
{
    struct snapshot s = { .pauses = &none, .assists = &none, .assists_cpu = &none,
        .assist_threads = &none, .throttle_waits = &none, .reach = &none };

    for (unsigned i = 0; i < ACTION_COUNT; i++)
        s.pause[i] = s.latency[i] = &none;
    s.allocs[CLASS_LARGE] = 3;
    s.frees[CLASS_LARGE] = 1;
    s.large_alloc_bytes = 3 * 40960;
    s.large_free_bytes = 40960;
    s.allocs[1] = 100; /* of 8 bytes */
    s.frees[1] = 40;
    s.allocs[67] = 5; /* of 32 KiB */
    s.frees[67] = 5;
    s.tiny_allocs = 7;
    s.cycles_automatic = 3;
    s.cycles_forced = 2;
    s.scan_heap = 1000;
    s.scan_stack = 200;
    s.scan_globals = 30;
    s.assist_ns = 1500000000;
    s.worker_ns = 20;
    s.idle_ns = 300000000;
    s.pause_ns = 4;
    s.sweep_ns = 5;
    s.coordinator_ns = 6;
    s.heap_live = 4194304;
    s.unused[1] = 1024; /* slots */
    s.unused[67] = 1;
    s.mark_cpu_last = 500000;
    s.attaches = 9;
    s.mutators = 5;
    s.inside = 2;
    s.ps = 7;
    s.gogc = UINT64_MAX;
    return s;
}

static inline struct snapshot
derived(void)
{
    static struct count_floor floor;
    struct snapshot s = counted();

    gcrt_snapshot_derive(&s, &floor, UINT64_C(60000000000));
    return s;
}

/* ---- texts ---- */

struct text {
    char *bytes;
    size_t used;
    size_t calls;
    size_t refuse; /* the call that fails, counted from 1; 0: none */
};

static inline int
keep(void *arg, const char *bytes, size_t n)
{
    struct text *t = arg;

    t->calls++;
    cr_assert_gt(n, 0);
    t->bytes = realloc(t->bytes, t->used + n + 1);
    memcpy(t->bytes + t->used, bytes, n);
    t->used += n;
    t->bytes[t->used] = '\0';
    return t->calls == t->refuse;
}

typedef gc_status exporter(const struct snapshot *, const gc_sink *);

static inline struct text
exported(exporter *export, const struct snapshot *s)
{
    struct text t = { .used = 0 };
    gc_sink sink = { keep, &t };

    cr_assert_eq(export(s, &sink), GC_OK);
    return t;
}

static inline void
expect_part(const struct text *t, const char *part)
{
    cr_expect_not_null(strstr(t->bytes, part), "missing:\n%s", part);
}

#endif
