/* SPDX-License-Identifier: MIT */
/*
 * The metrics layer: its table, the arithmetic of a snapshot, the texts made of one, and
 * what a real heap shows.
 *
 * The first parts run on snapshots and caches made by hand, so every expected number
 * is known; texts are compared with what stands here.  The last part uses the public
 * interface only.
 */
#include "metrics/export.h"
#include "metrics/metrics.h"
#include "metrics/stats.h"

#include "alloc/base/rand.h"

#include <gcrt/gcrt.h>

#include <criterion/criterion.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table ---- */

static const char *
skip_word(const char *c, const char *also)
{
    while ((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9')
            || (*c != '\0' && strchr(also, *c) != NULL))
        c++;
    return c;
}

/* /word/word...:unit, in lower case. */
static bool
is_metric_name(const char *name)
{
    const char *c = name;

    while (*c == '/') {
        const char *word = c + 1;

        c = skip_word(word, "-");
        if (c == word)
            return false;
    }
    return c != name && *c == ':' && c[1] != '\0' && *skip_word(c + 1, "-") == '\0';
}

Test(metrics, table_is_sorted_by_name_without_duplicates)
{
    size_t n;
    const gc_metric_desc *all = gc_metrics_all(&n);

    cr_assert_eq(n, gcrt_metrics_count);
    for (size_t i = 1; i < n; i++)
        cr_expect_lt(strcmp(all[i - 1].name, all[i].name), 0, "%s", all[i].name);
}

Test(metrics, names_and_descriptions_have_their_form)
{
    cr_expect_not(is_metric_name("gc/cycles:gc-cycles"));
    cr_expect_not(is_metric_name("/gc//cycles:gc-cycles"));
    cr_expect_not(is_metric_name("/gc/cycles"));
    for (size_t i = 0; i < gcrt_metrics_count; i++) {
        const gc_metric_desc *d = &gcrt_metrics_desc[i];

        cr_expect(is_metric_name(d->name), "%s", d->name);
        cr_expect_eq(d->description[strlen(d->description) - 1], '.', "%s", d->name);
        cr_expect_null(strpbrk(d->description, "\\\"\n"), "%s needs quoting", d->name);
    }
}

Test(metrics, every_name_is_found_and_no_other)
{
    for (size_t i = 0; i < gcrt_metrics_count; i++) {
        char name[128];
        size_t n = strlen(gcrt_metrics_desc[i].name);

        cr_expect_eq(gcrt_metrics_find(gcrt_metrics_desc[i].name), (int)i);
        memcpy(name, gcrt_metrics_desc[i].name, n + 1);
        name[n - 1]++;
        cr_expect_eq(gcrt_metrics_find(name), -1, "%s", name);
        name[n - 1] = '\0';
        cr_expect_eq(gcrt_metrics_find(name), -1, "%s", name);
    }
}

/* docs/observability.md, wherever the test was started. */
static char *
read_manual(void)
{
    const char *up = strstr(__FILE__, "tests/unit/");
    char path[1024];
    char *text = calloc(1, 1 << 20);
    FILE *f;

    snprintf(path, sizeof(path), "%.*sdocs/observability.md", (int)(up - __FILE__),
            __FILE__);
    f = fopen(path, "r");
    if (f == NULL)
        f = fopen("docs/observability.md", "r");
    cr_assert_not_null(f, "no %s", path);
    cr_assert_gt(fread(text, 1, (1 << 20) - 1, f), 0);
    fclose(f);
    return text;
}

Test(metrics, manual_lists_exactly_the_metrics_of_the_table)
{
    char *text = read_manual();
    size_t rows = 0;

    for (size_t i = 0; i < gcrt_metrics_count; i++) {
        const gc_metric_desc *d = &gcrt_metrics_desc[i];
        char row[512];

        snprintf(row, sizeof(row), "\n| `%s` | %s | %s |\n", d->name,
                d->kind == GC_METRIC_HISTOGRAM ? "histogram"
                        : d->cumulative        ? "counter"
                                               : "gauge",
                d->description);
        cr_expect_not_null(strstr(text, row), "the manual lacks:%s", row);
    }
    for (const char *c = text; (c = strstr(c, "\n| `/")) != NULL; c++)
        rows++;
    cr_expect_eq(rows, gcrt_metrics_count, "the manual has %zu rows", rows);
    free(text);
}

/* ---- the arithmetic of a snapshot ---- */

static struct timehist none, scans;

/* A heap's counters as a test wants them; nothing is derived yet. */
static struct snapshot
counted(void)
{
    struct snapshot s = { .pauses = &none, .assists = &none, .assists_cpu = &none,
        .assist_threads = &none, .throttle_waits = &none };

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
    s.gogc = UINT64_MAX;
    return s;
}

static struct snapshot
derived(void)
{
    static struct count_floor floor;
    struct snapshot s = counted();

    gcrt_snapshot_derive(&s, &floor, UINT64_C(60000000000));
    return s;
}

Test(metrics, sums_follow_from_the_counts)
{
    struct snapshot s = derived();

    cr_expect_eq(s.allocs_objects, 108);
    cr_expect_eq(s.frees_objects, 46);
    cr_expect_eq(s.objects, 62);
    cr_expect_eq(s.allocs_bytes, 3 * 40960 + 800 + 5 * 32768);
    cr_expect_eq(s.frees_bytes, 40960 + 320 + 5 * 32768);
    cr_expect_eq(s.cycles, 5);
    cr_expect_eq(s.scan_total, 1230);
    cr_expect_eq(s.gc_cpu_ns, 1800000035);
    cr_expect_eq(s.total_cpu_ns, UINT64_C(60000000000));
    cr_expect_eq(s.user_cpu_ns, s.total_cpu_ns - 1800000035);
}

Test(metrics, counts_that_come_out_low_stay_where_they_were)
{
    struct count_floor floor = { .user_ns = AWORD_INIT(0) };
    struct snapshot first = counted(), second = counted(), third = counted();

    gcrt_snapshot_derive(&first, &floor, UINT64_C(60000000000));
    second.allocs[1] = 70;
    second.frees[1] = third.frees[1] = 41;
    third.allocs[1] = 130;
    gcrt_snapshot_derive(&second, &floor, UINT64_C(60000000001));
    cr_expect_eq(second.allocs[1], 100);
    cr_expect_eq(second.allocs_objects, first.allocs_objects);
    cr_expect_eq(second.objects, first.objects - 1);
    gcrt_snapshot_derive(&third, &floor, UINT64_C(60000000002));
    cr_expect_eq(third.allocs[1], 130);
}

Test(metrics, more_frees_than_allocs_seen_count_as_allocs)
{
    struct count_floor floor = { .user_ns = AWORD_INIT(0) };
    struct snapshot s = counted();

    s.frees[1] = 120;
    s.large_free_bytes = 4 * 40960;
    gcrt_snapshot_derive(&s, &floor, 0);
    cr_expect_eq(s.allocs[1], 120);
    cr_expect_eq(s.objects, s.allocs_objects - s.frees_objects);
    cr_expect_geq(s.allocs_bytes, s.frees_bytes);
}

Test(metrics, cpu_times_that_arrive_late_never_move_the_rest_back)
{
    struct count_floor floor = { .user_ns = AWORD_INIT(0) };
    struct snapshot first = counted(), second = counted();

    gcrt_snapshot_derive(&first, &floor, UINT64_C(60000000000));
    second.worker_ns += UINT64_C(5000000000);
    gcrt_snapshot_derive(&second, &floor, UINT64_C(61000000000));
    cr_expect_eq(second.user_cpu_ns, first.user_cpu_ns);
    cr_expect_eq(second.total_cpu_ns, second.gc_cpu_ns + second.user_cpu_ns);
    cr_expect_gt(second.total_cpu_ns, first.total_cpu_ns);
}

Test(metrics, stats_are_the_same_numbers_under_go_names)
{
    struct snapshot s = derived();
    gc_stats stats;

    s.memory = (struct memory_classes){ .heap_objects = 100, .heap_unused = 20,
        .heap_free = 7, .heap_released = 5, .other = 3, .total = 135 };
    gcrt_stats_fill(&s, &stats);
    cr_expect_eq(stats.mallocs, 108 + 7);
    cr_expect_eq(stats.frees, 46 + 7);
    cr_expect_eq(stats.heap_inuse, 120);
    cr_expect_eq(stats.heap_idle, 12);
    cr_expect_eq(stats.heap_sys, 132);
    cr_expect_eq(stats.metadata_sys, 3);
    cr_expect_eq(stats.sys, 135);
    cr_expect_eq(stats.by_size[1].frees, 40);
    cr_expect_eq(stats.num_gc, 5);
    cr_expect_eq(stats.num_forced_gc, 2);
    cr_expect_float_eq(stats.gc_cpu_fraction, 1.500000035 / 60, 1e-12);
}

/* ---- caches made by hand ---- */

#define TABLE_ENTRIES 4

struct fake {
    gc_heap heap;
    struct p p[2];
    struct mcache_table table[2];
    struct gc_impl_run runs[2][TABLE_ENTRIES];
    struct mcache_cold cold[2][TABLE_ENTRIES];
    struct mcentral central;
};

/* Two Ps with one run of 24-byte slots each. */
static struct fake *
fake_make(void)
{
    struct fake *f = calloc(1, sizeof(*f));

    cr_assert_not_null(f);
    f->heap.cpus = 2;
    f->heap.mheap.npages_max = 1024;
    f->central.sizeclass = 3;
    f->heap.ps.all = &f->p[0];
    f->p[0].next_all = &f->p[1];
    for (int i = 0; i < 2; i++) {
        f->table[i] = (struct mcache_table){ TABLE_ENTRIES - 1, 1, f->runs[i], f->cold[i] };
        f->p[i].cache.table = &f->table[i];
        f->cold[i][0].central = &f->central;
        f->runs[i][0] = (struct gc_impl_run){ 64, (char *)4096, (char *)4096 + 240, 24 };
        aword_store_relaxed(&f->p[i].cache.slots[3], 50);
        aword_store_relaxed(&f->p[i].cache.runs_taken, 5);
    }
    return f;
}

Test(metrics, slots_in_the_rest_of_a_run_are_not_allocated)
{
    struct fake *f = fake_make();
    struct snapshot s;

    gcrt_snapshot_read(&f->heap, &s);
    cr_expect_eq(s.ps, 2);
    cr_expect_eq(s.allocs[3], 2 * (50 - 10));
    f->runs[0][0].next += 24 * 10;
    gcrt_snapshot_read(&f->heap, &s);
    cr_expect_eq(s.allocs[3], 50 + 40);
    free(f);
}

Test(metrics, run_caught_before_it_is_counted_takes_nothing_back)
{
    struct fake *f = fake_make();
    struct snapshot s;

    gcrt_snapshot_read(&f->heap, &s);
    f->runs[0][0].end += 24 * 30; /* shown, and not yet counted */
    gcrt_snapshot_read(&f->heap, &s);
    cr_expect_eq(s.allocs[3], 80);
    f->runs[0][0].end += 24 * 3000; /* more than there ever were */
    gcrt_snapshot_read(&f->heap, &s);
    cr_expect_eq(s.allocs[3], 80);
    aword_store_relaxed(&f->p[0].cache.slots[3], 50 + 3030);
    f->runs[0][0].next += 24;
    gcrt_snapshot_read(&f->heap, &s);
    cr_expect_eq(s.allocs[3], 81, "counted, and one slot used");
    free(f);
}

/* ---- texts ---- */

struct text {
    char *bytes;
    size_t used;
    size_t calls;
    size_t refuse; /* the call that fails, counted from 1; 0: none */
};

static int
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

static struct text
exported(exporter *export, const struct snapshot *s)
{
    struct text t = { .used = 0 };
    gc_sink sink = { keep, &t };

    cr_assert_eq(export(s, &sink), GC_OK);
    return t;
}

static struct snapshot
with_samples(void)
{
    struct snapshot s = derived();

    s.pause[ACTION_SCAN] = &scans;
    timehist_add(&scans, 1000);
    timehist_add(&scans, 1000);
    timehist_add(&scans, 70000);
    timehist_add(&scans, UINT64_C(20000000000));
    return s;
}

static void
expect_part(const struct text *t, const char *part)
{
    cr_expect_not_null(strstr(t->bytes, part), "missing:\n%s", part);
}

#define P        "gcrt_gc_handshake_pause_scan_seconds"
#define R(le, n) P "_bucket{le=\"" le "\"} " n "\n"
static const char scan_pauses[] =
    "# HELP " P " Single threads' pauses to scan their own stack and registers.\n"
    "# TYPE " P " histogram\n"
    R("0.000000511", "0") R("0.000001023", "2") R("0.000002047", "2") R("0.000004095", "2")
    R("0.000008191", "2") R("0.000016383", "2") R("0.000032767", "2") R("0.000065535", "2")
    R("0.000131071", "3") R("0.000262143", "3") R("0.000524287", "3") R("0.001048575", "3")
    R("0.002097151", "3") R("0.004194303", "3") R("0.008388607", "3") R("0.016777215", "3")
    R("0.033554431", "3") R("0.067108863", "3") R("0.134217727", "3") R("0.268435455", "3")
    R("0.536870911", "3") R("1.073741823", "3") R("2.147483647", "3") R("4.294967295", "3")
    R("8.589934591", "3") R("17.179869183", "3")
    R("+Inf", "4")
    P "_sum 20.000072\n"
    P "_count 4\n";

Test(metrics, prometheus_text_is_as_written_here)
{
    struct snapshot s = with_samples();
    struct text t = exported(gcrt_export_prometheus, &s);

    expect_part(&t, "# HELP gcrt_gc_heap_live_bytes "
                    "Bytes of heap that the last cycle marked.\n"
                    "# TYPE gcrt_gc_heap_live_bytes gauge\n"
                    "gcrt_gc_heap_live_bytes 4194304\n");
    expect_part(&t, "# TYPE gcrt_gc_cycles_total_gc_cycles_total counter\n"
                    "gcrt_gc_cycles_total_gc_cycles_total 5\n");
    expect_part(&t, "# TYPE gcrt_cpu_classes_gc_mark_assist_cpu_seconds_total counter\n"
                    "gcrt_cpu_classes_gc_mark_assist_cpu_seconds_total 1.5\n");
    expect_part(&t, "\ngcrt_cpu_classes_gc_total_cpu_seconds_total 1.800000035\n");
    expect_part(&t, "\ngcrt_gc_gogc_percent 18446744073709551615\n");
    expect_part(&t, scan_pauses);
    expect_part(&t, "\ngcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"8\"} 100\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"16\"} 100\n");
    expect_part(&t, "\ngcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"28672\"} 100\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"32768\"} 105\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"+Inf\"} 108\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_sum 287520\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_count 108\n");
    expect_part(&t, "\ngcrt_gc_heap_frees_by_size_bytes_sum 205120\n");
    free(t.bytes);
}

Test(metrics, prometheus_text_names_each_family_once)
{
    struct snapshot s = with_samples();
    struct text t = exported(gcrt_export_prometheus, &s);
    size_t types = 0;

    for (char *c = t.bytes; (c = strstr(c, "# TYPE ")) != NULL; c++) {
        char again[256];

        snprintf(again, sizeof(again), "%.*s", (int)(strchr(c + 7, ' ') - c) + 1, c);
        cr_expect_null(strstr(c + 1, again), "%s", again);
        types++;
    }
    cr_expect_eq(types, gcrt_metrics_count);
    free(t.bytes);
}

Test(metrics, json_is_as_written_here)
{
    struct snapshot s = with_samples();
    struct text t = exported(gcrt_export_json, &s);

    expect_part(&t, "{\"/cpu/classes/gc/coordinator:cpu-seconds\":0.000000006,\n");
    cr_expect_eq(t.bytes[0], '{');
    expect_part(&t, ",\n\"/gc/heap/live:bytes\":4194304,\n");
    expect_part(&t, ",\n\"/gc/handshake/pause/scan:seconds\":{\"count\":4,"
                    "\"p50\":0.000001024,\"p99\":21.47483648,\"p999\":21.47483648,"
                    "\"max\":20},\n");
    expect_part(&t, ",\n\"/gc/assist:seconds\":"
                    "{\"count\":0,\"p50\":0,\"p99\":0,\"p999\":0,\"max\":0},\n");
    expect_part(&t, ",\n\"/gc/heap/allocs-by-size:bytes\":"
                    "{\"count\":108,\"p50\":9,\"p99\":32769,\"p999\":32769,"
                    "\"max\":32769},\n");
    cr_expect_str_eq(strrchr(t.bytes, ','), ",\n\"/sched/ps:ps\":0}\n");
    free(t.bytes);
}

static void
expect_refusal(exporter *export, size_t refuse)
{
    struct snapshot s = derived();
    struct text t = { .refuse = refuse };
    gc_sink sink = { keep, &t };

    cr_expect_eq(export(&s, &sink), GC_ERR_SINK);
    cr_expect_eq(t.calls, refuse, "a sink that refused is left alone");
    free(t.bytes);
}

Test(metrics, sink_that_refuses_ends_the_text_with_its_status)
{
    struct snapshot s = derived();
    struct text whole = exported(gcrt_export_json, &s);

    expect_refusal(gcrt_export_prometheus, 1);
    expect_refusal(gcrt_export_prometheus, 20);
    expect_refusal(gcrt_export_json, 1);
    expect_refusal(gcrt_export_json, whole.calls);
    free(whole.bytes);
}

/* ---- a real heap ---- */

struct node {
    struct node *next;
    uint64_t data[2];
};
GC_TYPE(node_type, struct node, next);

static void
open_heap(void)
{
    gc_options opt;

    gc_options_default(&opt);
    cr_assert_eq(gc_init(&opt), GC_OK, "%s", gc_last_error());
}

static uint64_t
read_u64(const char *name)
{
    gc_metric_sample sample = { .name = name };

    cr_assert_eq(gc_metrics_read(NULL, &sample, 1), GC_OK);
    cr_assert_eq(sample.kind, GC_METRIC_U64, "%s", name);
    return sample.value.u64;
}

static void
allocate_nodes(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct node *volatile node = gc_alloc(&node_type);

        node->data[0] = i;
    }
}

Test(metrics, without_a_heap_there_is_nothing_to_read)
{
    gc_metric_sample sample = { .name = "/gc/heap/live:bytes" };
    struct text t = { .used = 0 };
    gc_sink sink = { keep, &t };
    gc_stats stats;

    memset(&stats, 0xff, sizeof(stats));
    gc_stats_read(NULL, &stats);
    cr_expect_eq(stats.sys, 0);
    cr_expect_eq(stats.num_gc, 0);
    cr_expect_eq(gc_metrics_read(NULL, &sample, 1), GC_ERR_NOTFOUND);
    cr_expect_neq(gc_last_error()[0], '\0');
    cr_expect_eq(gc_metrics_write_json(NULL, &sink), GC_ERR_NOTFOUND);
    cr_expect_eq(gc_metrics_write_prometheus(NULL, &sink), GC_ERR_NOTFOUND);
    cr_expect_eq(t.calls, 0);
}

Test(metrics, bad_arguments_are_refused_before_anything_is_read)
{
    gc_metric_sample samples[2] = { { .name = "/gc/heap/live:bytes" }, { .name = NULL } };
    gc_sink sink = { NULL, NULL };
    open_heap();
    samples[0].kind = GC_METRIC_F64;
    cr_expect_eq(gc_metrics_read(NULL, NULL, 1), GC_ERR_INVAL);
    cr_expect_eq(gc_metrics_read(NULL, samples, 2), GC_ERR_INVAL);
    cr_expect_eq(samples[0].kind, GC_METRIC_F64, "left as it was");
    cr_expect_eq(gc_metrics_write_json(NULL, NULL), GC_ERR_INVAL);
    cr_expect_eq(gc_metrics_write_prometheus(NULL, &sink), GC_ERR_INVAL);
    gc_shutdown();
}

Test(metrics, unknown_names_and_histograms_without_fitting_memory_read_as_bad)
{
    gc_metric_sample samples[4] = { { .name = "/gc/heap/alive:bytes" },
        { .name = "/gc/assist:seconds" }, { .name = "/gc/assist:seconds" },
        { .name = "/gc/gogc:percent" } };
    open_heap();
    for (int i = 0; i < 3; i++)
        samples[i].kind = GC_METRIC_U64;
    samples[1].value.hist = NULL;
    samples[2].value.hist = gc_histogram_create("/gc/heap/allocs-by-size:bytes");
    cr_assert_eq(gc_metrics_read(NULL, samples, 4), GC_OK);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(samples[i].kind, GC_METRIC_BAD, "sample %d", i);
    cr_expect_eq(samples[3].kind, GC_METRIC_U64);
    cr_expect_eq(samples[3].value.u64, 100, "the default");
    (void)gc_set_gogc(NULL, GC_GOGC_OFF);
    cr_expect_eq(read_u64("/gc/gogc:percent"), UINT64_MAX);
    gc_histogram_free(samples[2].value.hist);
    gc_shutdown();
}

Test(metrics, allocations_of_this_thread_are_counted_one_by_one)
{
    enum { N = 10000 };
    gc_stats before, after;
    unsigned c = class_of(sizeof(struct node));
    open_heap();
    gc_stats_read(NULL, &before);
    allocate_nodes(N);
    gc_stats_read(NULL, &after);
    cr_expect_eq(after.num_gc, before.num_gc, "240 kB start no cycle");
    cr_expect_eq(after.mallocs - before.mallocs, N);
    cr_expect_eq(after.by_size[c].size, sizeof(struct node));
    cr_expect_eq(after.by_size[c].mallocs - before.by_size[c].mallocs, N);
    cr_expect_eq(after.total_alloc - before.total_alloc, N * sizeof(struct node));
    cr_expect_eq(after.heap_objects - before.heap_objects, N);
    before = after;
    for (int i = 0; i < N; i++)
        GC_KEEP_ALIVE(gc_alloc_bytes(8));
    gc_stats_read(NULL, &after);
    cr_expect_eq(after.mallocs - before.mallocs, N, "tiny objects count too");
    before = after;
    for (int i = 0; i < 3; i++)
        GC_KEEP_ALIVE(gc_alloc_bytes(100000));
    gc_stats_read(NULL, &after);
    cr_expect_eq(after.by_size[0].mallocs - before.by_size[0].mallocs, 3);
    cr_expect_eq(after.total_alloc - before.total_alloc, 3 * 13 * PAGE_SIZE);
    gc_shutdown();
}

Test(metrics, collections_are_counted_and_free_what_is_dead)
{
    enum { N = 10000 };

    open_heap();
    allocate_nodes(N);
    gc_collect(NULL);
    gc_collect(NULL);
    cr_expect_eq(read_u64("/gc/cycles/forced:gc-cycles"), 2);
    cr_expect_eq(read_u64("/gc/cycles/total:gc-cycles"), 2);
    cr_expect_gt(read_u64("/gc/heap/frees:objects"), N - 1000, "stale words keep few");
    cr_expect_lt(read_u64("/gc/heap/live:bytes"), 1000 * sizeof(struct node));
    cr_expect_gt(read_u64("/gc/handshake/total:handshakes"), 2 * 5, "H1 to H6, twice");
    cr_expect_gt(read_u64("/gc/scan/stack:bytes"), 0);
    gc_shutdown();
}

Test(metrics, pauses_show_up_in_histogram_and_stats_alike)
{
    gc_metric_sample sample = { .name = "/gc/handshake/pause:seconds" };
    uint64_t n;
    gc_stats stats;

    open_heap();
    sample.value.hist = gc_histogram_create(sample.name);
    cr_assert_not_null(sample.value.hist);
    do { /* a thread that waits for the collector has no pause: that acts for it */
        GC_KEEP_ALIVE(gc_alloc_bytes(4096));
        cr_assert_eq(gc_metrics_read(NULL, &sample, 1), GC_OK);
        cr_assert_eq(sample.kind, GC_METRIC_HISTOGRAM);
        n = 0;
        for (size_t i = 0; i < sample.value.hist->nbuckets; i++)
            n += sample.value.hist->counts[i];
    } while (n < 6);
    gc_stats_read(NULL, &stats);
    cr_expect_gt(stats.num_gc, 0);
    cr_expect_gt(stats.pause_total_ns, 0);
    cr_expect_leq(stats.pause_max_ns, stats.pause_total_ns);
    cr_expect_geq(1e9 * gc_histogram_quantile(sample.value.hist, 1),
            (double)stats.pause_max_ns);
    gc_histogram_free(sample.value.hist);
    gc_shutdown();
}

/* ---- reading while others work ---- */

static int stop_allocating;

static void *
churn(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&stop_allocating, __ATOMIC_RELAXED)) {
        allocate_nodes(1000);
        GC_KEEP_ALIVE(gc_alloc_bytes(50000));
    }
    return NULL;
}

/* All metrics that are numbers, read together. */
static void
read_all(gc_metric_sample *samples)
{
    for (size_t i = 0; i < gcrt_metrics_count; i++)
        samples[i] = (gc_metric_sample){ .name = gcrt_metrics_desc[i].name };
    cr_assert_eq(gc_metrics_read(NULL, samples, gcrt_metrics_count), GC_OK);
}

static uint64_t
value_of(const gc_metric_sample *samples, const char *name)
{
    int i = gcrt_metrics_find(name);

    cr_assert_geq(i, 0, "%s", name);
    return samples[i].value.u64;
}

static void
expect_sums(const gc_metric_sample *now)
{
    uint64_t memory = 0;

    for (size_t i = 0; i < gcrt_metrics_count; i++)
        if (strncmp(now[i].name, "/memory/classes/", 16) == 0)
            memory += now[i].value.u64;
    cr_assert_eq(memory, 2 * value_of(now, "/memory/classes/total:bytes"));
    cr_assert_eq(value_of(now, "/gc/heap/objects:objects"),
            value_of(now, "/gc/heap/allocs:objects")
                    - value_of(now, "/gc/heap/frees:objects"));
    cr_assert_eq(value_of(now, "/memory/classes/heap/objects:bytes"),
            value_of(now, "/gc/heap/allocs:bytes") - value_of(now, "/gc/heap/frees:bytes"));
}

static void
expect_no_step_back(const gc_metric_sample *before, const gc_metric_sample *now)
{
    for (size_t i = 0; i < gcrt_metrics_count; i++) {
        if (!gcrt_metrics_desc[i].cumulative)
            continue;
        if (now[i].kind == GC_METRIC_U64)
            cr_assert_geq(now[i].value.u64, before[i].value.u64, "%s", now[i].name);
        else if (now[i].kind == GC_METRIC_F64)
            cr_assert_geq(now[i].value.f64, before[i].value.f64, "%s", now[i].name);
    }
}

Test(metrics, counters_never_go_back_and_sums_hold_while_threads_allocate)
{
    static gc_metric_sample before[160], now[160];
    pthread_t threads[3];

    cr_assert_leq(gcrt_metrics_count, ARRAY_LEN(now));
    open_heap();
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        cr_assert_eq(gc_pthread_create(&threads[i], NULL, churn, NULL), GC_OK);
    read_all(before);
    for (int i = 0; i < 20000 && value_of(before, "/gc/cycles/total:gc-cycles") < 20; i++) {
        read_all(now);
        expect_sums(now);
        expect_no_step_back(before, now);
        memcpy(before, now, sizeof(now));
    }
    cr_expect_geq(value_of(now, "/sched/mutators:threads"), 2);
    __atomic_store_n(&stop_allocating, 1, __ATOMIC_RELAXED);
    GC_BLOCKING {
        for (size_t i = 0; i < ARRAY_LEN(threads); i++)
            pthread_join(threads[i], NULL);
    }
    cr_expect_eq(read_u64("/sched/mutators:threads"), 1);
    cr_expect_eq(read_u64("/sched/mutators-attached:threads"), 4);
    gc_shutdown();
}

Test(metrics, texts_of_a_real_heap_are_complete)
{
    struct text t = { .used = 0 };
    gc_sink sink = { keep, &t };

    open_heap();
    gc_collect(NULL);
    cr_expect_eq(gc_metrics_write_prometheus(NULL, &sink), GC_OK);
    expect_part(&t, "\ngcrt_gc_cycles_forced_gc_cycles_total 1\n");
    expect_part(&t, "\n# TYPE gcrt_sched_ps_ps gauge\n");
    t.used = 0;
    cr_expect_eq(gc_metrics_write_json(NULL, &sink), GC_OK);
    expect_part(&t, ",\n\"/gc/cycles/forced:gc-cycles\":1,\n");
    free(t.bytes);
    gc_shutdown();
}
