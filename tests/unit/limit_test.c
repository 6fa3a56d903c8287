/* SPDX-License-Identifier: MIT */
/*
 * The memory limit: what the pacer makes of it, in numbers, and what a heap does at it.
 */
#include "gc/limit.h"

#include "gc/pace.h"

#include "bare.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gcrt/gcrt.h>

#define MIB ((uint64_t)1 << 20)

/* ---- the goal ---- */

static struct pacer
pacer_with(uint64_t heap_marked)
{
    struct pacer p;

    gcrt_pacer_init(&p, 100, 4 * MIB, 4);
    p.heap_marked = heap_marked;
    return p;
}

Test(limit, no_limit_no_goal)
{
    struct pacer p = pacer_with(10 * MIB);
    struct pacer_memory m = { .limit = PACER_NONE, .mapped = 20 * MIB };

    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), PACER_NONE);
}

Test(limit, goal_is_what_overhead_and_headroom_leave)
{
    struct pacer p = pacer_with(10 * MIB);
    struct pacer_memory m = { .limit = 1000 * MIB, .mapped = 300 * MIB, .free = 50 * MIB,
        .objects = 200 * MIB };

    /* 1000 - 50 of overhead, less 3 % */
    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), 950 * MIB - 950 * MIB / 100 * 3
                    - 950 * MIB % 100 * 3 / 100);
    m.external = 100 * MIB; /* counted by the goal as by the limit */
    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), 950 * MIB - 950 * MIB / 100 * 3
                    - 950 * MIB % 100 * 3 / 100);
    m.usable = 50 * MIB;
    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), 970 * MIB);
}

Test(limit, headroom_is_one_mib_at_least)
{
    struct pacer p = pacer_with(0);
    struct pacer_memory m = { .limit = 20 * MIB, .mapped = 4 * MIB, .objects = 2 * MIB };

    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), 17 * MIB);
    m.limit = 3 * MIB + MIB / 2; /* less is left than the headroom twice */
    m.mapped = 2 * MIB;
    m.objects = 0;
    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), MIB);
}

Test(limit, what_is_mapped_near_the_limit_and_beyond_counts_twice)
{
    struct pacer p = pacer_with(10 * MIB);
    struct pacer_memory m = { .limit = 640 * MIB, .mapped = 630 * MIB, .objects = 630 * MIB };
    uint64_t at = 640 * MIB - 640 * MIB / 100 * 3 - 640 * MIB % 100 * 3 / 100;

    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), at);
    m.mapped = m.objects = 640 * MIB; /* near begins at 630 */
    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), 630 * MIB - 630 * MIB / 100 * 3
                    - 630 * MIB % 100 * 3 / 100);
    m.external = 200 * MIB;
    cr_expect_lt(gcrt_pacer_goal_by_limit(&p, &m), 430 * MIB);
}

Test(limit, goal_is_never_below_what_is_marked)
{
    struct pacer p = pacer_with(100 * MIB);
    struct pacer_memory m = { .limit = 90 * MIB, .mapped = 120 * MIB, .objects = 100 * MIB };

    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), 100 * MIB);
    m.limit = 0;
    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), 100 * MIB);
    m = (struct pacer_memory){ .limit = 1, .mapped = UINT64_MAX, .external = UINT64_MAX,
        .free = UINT64_MAX, .objects = UINT64_MAX, .usable = UINT64_MAX };
    cr_expect_eq(gcrt_pacer_goal_by_limit(&p, &m), 100 * MIB);
}

Test(limit, the_stronger_of_gogc_and_limit_sets_goal_and_trigger)
{
    struct pacer p = pacer_with(100 * MIB);

    p.limit_goal = 150 * MIB;
    gcrt_pacer_commit(&p, 100 * MIB, true);
    cr_expect(gcrt_pacer_is_limited(&p));
    cr_expect_eq(gcrt_pacer_goal(&p), 150 * MIB);
    cr_expect(gcrt_pacer_trigger(&p) >= 100 * MIB && gcrt_pacer_trigger(&p) < 150 * MIB);
    p.limit_goal = 250 * MIB;
    gcrt_pacer_commit(&p, 100 * MIB, true);
    cr_expect_not(gcrt_pacer_is_limited(&p));
    cr_expect_eq(gcrt_pacer_goal(&p), 200 * MIB);
    gcrt_pacer_forget(&p, 40 * MIB);
    gcrt_pacer_commit(&p, 60 * MIB, true);
    cr_expect_eq(gcrt_pacer_goal(&p), 120 * MIB);
    gcrt_pacer_forget(&p, 100 * MIB);
    cr_expect_eq(p.heap_marked, 0);
}

/* ---- mheap's bounds ---- */

static struct bare b;

/* 24 MiB of free pages with memory, which nothing larger fits into; the bounds are 28 MiB. */
static void
start_with_free_pages(void)
{
    struct mspan *first;

    bare_init(&b, (size_t)1 << 30);
    first = gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], 24 * MIB, bare_sweepgen(&b));
    cr_assert_not_null(gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], 8192, bare_sweepgen(&b)));
    gcrt_mheap_free(&b.heap, first);
    cr_assert_eq(mheap_backed(&b.heap), 24 * MIB + 8192);
    aword_store_relaxed(&b.heap.backed_soft, 28 * MIB);
}

Test(limit, free_pages_go_before_clean_ones_come)
{
    start_with_free_pages();
    cr_expect_not_null(
            gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], 26 * MIB, bare_sweepgen(&b)));
    cr_expect_leq(mheap_backed(&b.heap), 28 * MIB);
    cr_expect_geq(mheap_backed(&b.heap), 26 * MIB);
    cr_expect_not_null(gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], 8 * MIB, bare_sweepgen(&b)),
            "the soft bound does not refuse");
    bare_finish(&b);
}

Test(limit, the_hard_bound_refuses_and_loses_nothing)
{
    uint64_t in_use;

    start_with_free_pages();
    aword_store_relaxed(&b.heap.backed_hard, 28 * MIB);
    in_use = aword_load_relaxed(&b.heap.in_use);
    cr_expect_null(gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], 30 * MIB, bare_sweepgen(&b)));
    cr_expect_leq(mheap_backed(&b.heap), 28 * MIB);
    cr_expect_eq(aword_load_relaxed(&b.heap.in_use), in_use);
    cr_expect_not_null(
            gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], 26 * MIB, bare_sweepgen(&b)));
    cr_expect_leq(mheap_backed(&b.heap), 28 * MIB);
    bare_finish(&b);
}

/* Nobody has to set the bounds anew when the host reports bytes. */
Test(limit, external_bytes_count_at_once)
{
    start_with_free_pages();
    aword_store_relaxed(&b.heap.backed_hard, 28 * MIB);
    aword_store_relaxed(&b.heap.external, 8 * MIB);
    cr_expect_null(gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], 26 * MIB, bare_sweepgen(&b)));
    aword_store_relaxed(&b.heap.external, 0);
    cr_expect_not_null(
            gcrt_mheap_alloc_large(&b.heap, &b.noscan[0], 26 * MIB, bare_sweepgen(&b)));
    bare_finish(&b);
}

/* ---- a heap ---- */

static struct {
    gc_limit_report last;
    int calls;
    char line[256];
    int lines;
} seen;

static void
on_limit(gc_heap *heap, const gc_limit_report *report, void *arg)
{
    (void)heap;
    cr_assert_eq(arg, &seen);
    seen.last = *report;
    seen.calls++;
}

static void
on_line(const char *line, size_t len, void *arg)
{
    (void)arg;
    seen.lines++;
    memcpy(seen.line, line, len + 1 < sizeof(seen.line) ? len + 1 : sizeof(seen.line));
}

static gc_options
quiet(void)
{
    gc_options opt;

    memset(&seen, 0, sizeof(seen));
    gc_options_default(&opt);
    opt.reserve = (size_t)1 << 30;
    opt.periodic_ms = 0;
    opt.release_ms = 0;
    opt.log = on_line;
    opt.on_limit = on_limit;
    opt.on_limit_arg = &seen;
    return opt;
}

static struct gc_heap *
start(const gc_options *opt)
{
    cr_assert_eq(gc_init(opt), GC_OK, "%s", gc_last_error());
    return gc_thread_heap();
}

static uint64_t
metric(const char *name)
{
    gc_metric_sample s = { .name = name };

    cr_assert_eq(gc_metrics_read(NULL, &s, 1), GC_OK);
    cr_assert_eq(s.kind, GC_METRIC_U64, "%s", name);
    return s.value.u64;
}

Test(limit, mapped_is_the_sum_of_the_metrics_without_what_is_released)
{
    gc_options opt = quiet();
    struct gc_heap *heap = start(&opt);
    char *volatile keep = gc_alloc_bytes(10 << 20);

    cr_expect_eq(gcrt_limit_mapped(heap),
            metric("/memory/classes/total:bytes") - metric("/memory/classes/heap/released:bytes"));
    cr_expect_eq(metric("/memory/mapped:bytes"), gcrt_limit_mapped(heap));
    cr_expect_gt(gcrt_limit_mapped(heap), 10 * MIB);
    (void)keep;
    gc_shutdown();
}

Test(limit, set_returns_the_limit_before_and_negative_only_asks)
{
    gc_options opt = quiet();

    opt.memory_limit = 100 * (int64_t)MIB;
    start(&opt);
    cr_expect_eq(gc_set_memory_limit(NULL, -1), 100 * (int64_t)MIB);
    cr_expect_eq(gc_set_memory_limit(NULL, INT64_MIN), 100 * (int64_t)MIB);
    cr_expect_eq(gc_set_memory_limit(NULL, 200 * (int64_t)MIB), 100 * (int64_t)MIB);
    cr_expect_eq(metric("/gc/gomemlimit:bytes"), 200 * MIB);
    cr_expect_eq(gc_set_memory_limit(NULL, GC_MEMORY_LIMIT_OFF), 200 * (int64_t)MIB);
    cr_expect_eq(metric("/gc/gomemlimit:bytes"), UINT64_MAX);
    cr_expect_eq(gc_set_memory_limit(NULL, -1), GC_MEMORY_LIMIT_OFF);
    cr_expect_eq(seen.lines, 0, "%s", seen.line);
    gc_shutdown();
}

Test(limit, a_limit_below_what_is_mapped_is_said)
{
    gc_options opt = quiet();
    char number[32];

    opt.memory_limit = (int64_t)MIB;
    start(&opt);
    cr_expect_eq(seen.lines, metric("/memory/mapped:bytes") > MIB);
    seen.lines = 0;
    (void)gc_set_memory_limit(NULL, 12345);
    cr_expect_eq(seen.lines, 1);
    cr_expect_not_null(strstr(seen.line, "12345"), "%s", seen.line);
    snprintf(number, sizeof(number), "%llu",
            (unsigned long long)gcrt_limit_mapped(gc_thread_heap()));
    cr_expect_not_null(strstr(seen.line, number), "%s", seen.line);
    (void)gc_set_memory_limit(NULL, -1);
    cr_expect_eq(seen.lines, 1, "asking is not setting");
    gc_shutdown();
}

Test(limit, external_bytes_are_counted_and_never_negative)
{
    gc_options opt = quiet();
    struct gc_heap *heap = start(&opt);
    uint64_t live = gcrt_pace_live(heap);

    cr_expect_eq(gc_external_bytes(NULL, 1000), GC_OK);
    cr_expect_eq(gc_external_bytes(NULL, -400), GC_OK);
    cr_expect_eq(metric("/memory/external:bytes"), 600);
    cr_expect_eq(gcrt_pace_live(heap), live + 600);
    cr_expect_eq(gc_external_bytes(NULL, -601), GC_ERR_INVAL);
    cr_expect_not_null(strstr(gc_last_error(), "gc_external_bytes: 600"), "%s", gc_last_error());
    cr_expect_eq(gc_external_bytes(NULL, INT64_MIN), GC_ERR_INVAL);
    cr_expect_eq(gc_external_bytes(NULL, INT64_MAX), GC_ERR_INVAL);
    cr_expect_eq(metric("/memory/external:bytes"), 600);
    cr_expect_eq(gcrt_pace_live(heap), live + 600);
    cr_expect_eq(gc_external_bytes(NULL, -600), GC_OK);
    gc_shutdown();
}

Test(limit, external_bytes_start_cycles_and_raise_the_goal)
{
    gc_options opt = quiet();
    struct gc_heap *heap = start(&opt);
    uint64_t cycles = metric("/gc/cycle/started:gc-cycles"), goal;

    cr_expect_eq(gc_external_bytes(NULL, 100 * (int64_t)MIB), GC_OK);
    while (metric("/gc/cycle/started:gc-cycles") == cycles)
        gc_safepoint();
    gc_collect(NULL);
    goal = metric("/gc/heap/goal:bytes");
    cr_expect_geq(goal, 200 * MIB);
    cr_expect_lt(goal, 210 * MIB);
    cr_expect_lt(metric("/gc/heap/live:bytes"), 10 * MIB, "not in the heap");
    cr_expect_eq(gc_external_bytes(NULL, -90 * (int64_t)MIB), GC_OK);
    cr_expect_lt(metric("/gc/heap/goal:bytes"), 30 * MIB, "and lowers it at once");
    cr_expect_lt(gcrt_pace_live(heap), 20 * MIB);
    cr_expect_eq(gc_external_bytes(NULL, -10 * (int64_t)MIB), GC_OK);
    gc_shutdown();
}

/* Garbage of this many bytes. */
static void
churn(uint64_t bytes, size_t size)
{
    for (uint64_t done = 0; done < bytes; done += size)
        *(volatile char *)gc_alloc_bytes(size) = 1;
}

Test(limit, garbage_stays_below_the_limit)
{
    gc_options opt = quiet();
    struct gc_heap *heap;

    opt.gogc = GC_GOGC_OFF;
    opt.memory_limit = 32 * (int64_t)MIB;
    heap = start(&opt);
    for (int i = 0; i < 40; i++) {
        churn(8 * MIB, 64 + 100 * (size_t)i);
        cr_expect_lt(gcrt_limit_mapped(heap), 34 * MIB, "round %d", i);
    }
    cr_expect_gt(metric("/gc/cycles/automatic:gc-cycles"), 5);
    cr_expect_eq(seen.calls, 0);
    gc_shutdown();
}

static ahalf held; /* 1: the coordinator shall wait before its sweep; 2: it waits */

static void
hold_before_sweep(gc_heap *heap, const gc_event *event, void *arg)
{
    (void)heap, (void)arg;
    if (event->kind != GC_EVENT_MARKED || ahalf_load_relaxed(&held) != 1)
        return;
    ahalf_store_relaxed(&held, 2);
    while (ahalf_load_relaxed(&held) == 2)
        gcrt_os_sleep_ns(100000);
}

/* A coordinator that gets no CPU: the dead have all pages that the limit leaves. */
Test(limit, allocation_sweeps_before_it_takes_fresh_pages)
{
    gc_options opt = quiet();
    struct gc_heap *heap;

    opt.gogc = GC_GOGC_OFF;
    opt.memory_limit = 32 * (int64_t)MIB;
    heap = start(&opt);
    cr_assert_eq(gc_listen(heap, hold_before_sweep, NULL), GC_OK);
    ahalf_store_relaxed(&held, 1);
    while (ahalf_load_relaxed(&held) != 2)
        churn(1000, 100);
    churn(8 * MIB, 300); /* half of the dead will do: who waited for a CPU has made black ones */
    cr_expect_lt(gcrt_limit_mapped(heap), 33 * MIB);
    for (int i = 0; i < 12; i++)
        *(volatile char *)gc_alloc_bytes(500000) = 1;
    cr_expect_lt(gcrt_limit_mapped(heap), 33 * MIB);
    ahalf_store_relaxed(&held, 0);
    gc_shutdown();
}

Test(limit, who_cannot_be_kept_is_told_once_a_cycle)
{
    gc_options opt = quiet();
    char *volatile keep;

    start(&opt);
    keep = gc_alloc_bytes(16 << 20);
    *keep = 1;
    (void)gc_set_memory_limit(NULL, 8 * (int64_t)MIB);
    gc_collect(NULL);
    gc_collect(NULL); /* what the first one tells comes after it is complete */
    cr_expect_geq(seen.calls, 1);
    cr_expect_eq(seen.last.limit, 8 * MIB);
    cr_expect_geq(seen.last.live, 16 * MIB);
    cr_expect_geq(seen.last.mapped, 16 * MIB);
    cr_expect_leq((uint64_t)seen.calls, metric("/gc/cycles/total:gc-cycles"));
    (void)gc_set_memory_limit(NULL, GC_MEMORY_LIMIT_OFF);
    gc_collect(NULL);
    gc_collect(NULL);
    seen.calls = 0;
    gc_collect(NULL);
    cr_expect_eq(seen.calls, 0);
    cr_expect_geq(metric("/memory/limit/missed:gc-cycles"), 1);
    gc_shutdown();
}

/* ---- the hard limit ---- */

static int
let_go(gc_heap *heap, size_t bytes, void *arg)
{
    char **kept = arg;
    int more = *kept != NULL;

    (void)heap;
    (void)bytes;
    *kept = NULL;
    seen.calls += 100;
    return more;
}

Test(limit, the_hard_limit_is_out_of_memory)
{
    gc_options opt = quiet();
    struct gc_heap *heap;
    void **more;
    char *p;
    static char *kept[64]; /* root */
    static void **list;    /* root */
    int n = 0;

    opt.memory_limit_hard = 32 * (int64_t)MIB;
    heap = start(&opt);
    cr_assert_eq(gc_root_add(kept, sizeof(kept)), GC_OK);
    cr_assert_eq(gc_root_add(&list, sizeof(list)), GC_OK);
    while (n < 64 && (p = gc_try_alloc_bytes(1 << 20)) != NULL)
        gc_write(&kept[n++], memset(p, 1, 1 << 20));
    cr_expect(n > 20 && n < 32, "%d", n);
    cr_expect_leq(gcrt_limit_mapped(heap), 32 * MIB);
    cr_expect_not_null(strstr(gc_last_error(), "hard memory limit of 33554432"), "%s",
            gc_last_error());
    while (n < 1 << 20 && (more = gc_try_alloc_array(&gc_pointer_type, 12)) != NULL) {
        more[0] = list; /* nobody has it yet */
        gc_write(&list, more);
        n++;
    }
    cr_expect_lt(n, 1 << 20, "small ones end, too");
    cr_expect_leq(gcrt_limit_mapped(heap), 32 * MIB);
    for (int i = 0; i < 64; i++)
        gc_write(&kept[i], NULL);
    gc_collect(NULL);
    cr_expect_not_null(gc_try_alloc_bytes(4 << 20), "%s", gc_last_error());
    gc_shutdown();
}

Test(limit, descriptors_of_a_large_object_count_towards_the_hard_limit)
{
    gc_options opt = quiet();
    struct gc_heap *heap;
    size_t bytes = 256 * MIB;

    opt.memory_limit_hard = 256 * (int64_t)MIB;
    heap = start(&opt);
    while (gc_try_alloc_bytes_uninit(bytes) == NULL)
        bytes -= MIB / 4;
    cr_expect_gt(bytes, 240 * MIB);
    cr_expect_leq(gcrt_limit_mapped(heap), 256 * MIB);
    gc_shutdown();
}

Test(limit, external_bytes_count_towards_the_hard_limit)
{
    gc_options opt = quiet();

    opt.memory_limit_hard = 64 * (int64_t)MIB;
    start(&opt);
    cr_expect_not_null(gc_try_alloc_bytes(20 << 20));
    cr_expect_eq(gc_external_bytes(NULL, 60 * (int64_t)MIB), GC_OK);
    cr_expect_null(gc_try_alloc_bytes(8 << 20));
    cr_expect_not_null(strstr(gc_last_error(), "62914560 external"), "%s", gc_last_error());
    cr_expect_eq(gc_external_bytes(NULL, -60 * (int64_t)MIB), GC_OK);
    cr_expect_not_null(gc_try_alloc_bytes(8 << 20), "%s", gc_last_error());
    gc_shutdown();
}

/* Its stack is precise: one that is scanned may keep what the host lets go of. */
Test(limit, the_host_may_let_go_at_the_hard_limit)
{
    static char *kept;
    char *big;
    gc_options opt = quiet();

    opt.memory_limit_hard = 32 * (int64_t)MIB;
    opt.oom = let_go;
    opt.oom_arg = &kept;
    opt.precise_stacks = 1;
    start(&opt);
    cr_assert_eq(gc_root_add(&kept, sizeof(kept)), GC_OK);
    gc_write(&kept, gc_alloc_bytes(24 << 20));
    big = gc_alloc_bytes(20 << 20);
    cr_expect_not_null(big);
    cr_expect_geq(seen.calls, 100);
    gc_shutdown();
}
