/* SPDX-License-Identifier: MIT */
/*
 * The metrics layer: its table, the arithmetic of a snapshot, and what a real heap shows.
 *
 * The first parts run on snapshots and caches made by hand, so every expected number
 * is known.  export_test.c has the texts.
 */
#include "metricskit.h"

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
        cr_expect_str_eq(d->unit, strchr(d->name, ':') + 1);
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

/* docs/NAME, wherever the test was started. */
static char *
read_manual(const char *name)
{
    const char *up = strstr(__FILE__, "tests/unit/");
    char path[1024];
    char *text = calloc(1, 1 << 20);
    FILE *f;

    snprintf(path, sizeof(path), "%.*sdocs/%s", (int)(up - __FILE__), __FILE__, name);
    f = fopen(path, "r");
    if (f == NULL)
        f = fopen(strstr(path, "docs/"), "r");
    cr_assert_not_null(f, "no %s", path);
    cr_assert_gt(fread(text, 1, (1 << 20) - 1, f), 0);
    fclose(f);
    return text;
}

Test(metrics, manual_lists_exactly_the_metrics_of_the_table)
{
    char *text = read_manual("observability.md");
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

/* What stands in `...` and has the form of a metric's name. */
static size_t
expect_known_names(const char *manual)
{
    char *text = read_manual(manual), *end;
    size_t n = 0;

    for (char *c = text; (c = strstr(c, "`/")) != NULL; c = end + 1) {
        end = strchr(c + 1, '`');
        cr_assert_not_null(end, "%s: an open quotation", manual);
        *end = '\0';
        if (!is_metric_name(c + 1) || strcmp(c + 1, "/path/of/words:unit") == 0)
            continue;
        cr_expect_geq(gcrt_metrics_find(c + 1), 0, "%s names %s", manual, c + 1);
        n++;
    }
    free(text);
    return n;
}

Test(metrics, manuals_name_no_metric_that_there_is_not)
{
    cr_expect_gt(expect_known_names("observability.md"), gcrt_metrics_count);
    cr_expect_gt(expect_known_names("pacing.md"), 10);
    cr_expect_gt(expect_known_names("debugging.md") + expect_known_names("memory-limit.md")
            + expect_known_names("memory-return.md"), 0);
}

/* ---- the arithmetic of a snapshot ---- */

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
    cr_expect_eq(s.mark_rate, 2460000, "1230 bytes in half a millisecond");
    cr_expect_eq(s.unused[1], 1024 - 60);
    cr_expect_eq(s.unused[67], 1);
    cr_expect_eq(s.outside, 3);
    cr_expect_eq(s.idle_ps, 2);
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

Test(metrics, numbers_of_different_moments_give_way_to_each_other)
{
    struct count_floor floor = { .user_ns = AWORD_INIT(0) };
    struct snapshot s = counted();

    s.unused[1] = 59; /* less slots than objects */
    s.inside = 6;
    s.ps = 4;
    s.mark_cpu_last = 0;
    gcrt_snapshot_derive(&s, &floor, 0);
    cr_expect_eq(s.unused[1], 0);
    cr_expect_eq(s.inside, 5);
    cr_expect_eq(s.outside, 0);
    cr_expect_eq(s.idle_ps, 0);
    cr_expect_eq(s.mark_rate, 0, "no cycle yet");
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
        f->table[i] = (struct mcache_table){ .mask = TABLE_ENTRIES - 1, .used = 1,
            .runs = f->runs[i], .cold = f->cold[i] };
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
    cr_expect_eq(gc_metrics_write_openmetrics(NULL, &sink), GC_ERR_NOTFOUND);
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
    cr_expect_eq(gc_metrics_write_openmetrics(NULL, &sink), GC_ERR_INVAL);
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
        GC_KEEP_ALIVE(gc_alloc_bytes(4));
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

static void
ignore_line(const char *line, size_t len, void *arg)
{
    (void)line;
    (void)len;
    (void)arg;
}

Test(metrics, pauses_show_up_in_histogram_and_stats_alike)
{
    gc_metric_sample sample = { .name = "/gc/handshake/pause:seconds" };
    uint64_t n;
    gc_stats stats;
    gc_options opt;

    gc_options_default(&opt);
    opt.log = ignore_line; /* so that the thread runs no cycle itself */
    cr_assert_eq(gc_init(&opt), GC_OK, "%s", gc_last_error());
    sample.value.hist = gc_histogram_create(sample.name);
    cr_assert_not_null(sample.value.hist);
    do { /* a thread that waits for the collector has no pause: that acts for it */
        GC_KEEP_ALIVE(gc_alloc_bytes(4096));
        gc_stats_read(NULL, &stats); /* first: another pause may come in between */
        cr_assert_eq(gc_metrics_read(NULL, &sample, 1), GC_OK);
        cr_assert_eq(sample.kind, GC_METRIC_HISTOGRAM);
        n = 0;
        for (size_t i = 0; i < sample.value.hist->nbuckets; i++)
            n += sample.value.hist->counts[i];
    } while (n < 6 || stats.num_gc == 0);

    cr_expect_gt(stats.pause_total_ns, 0);
    cr_expect_leq(stats.pause_max_ns, stats.pause_total_ns);
    cr_expect_geq(1e9 * gc_histogram_quantile(sample.value.hist, 1),
            (double)stats.pause_max_ns);
    gc_histogram_free(sample.value.hist);
    gc_shutdown();
}

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

static uint64_t
samples_of(const char *name, gc_histogram *hist)
{
    gc_metric_sample sample = { .name = name };
    uint64_t n = 0;

    sample.value.hist = hist;
    cr_assert_eq(gc_metrics_read(NULL, &sample, 1), GC_OK);
    cr_assert_eq(sample.kind, GC_METRIC_HISTOGRAM, "%s", name);
    for (size_t i = 0; i < hist->nbuckets; i++)
        n += hist->counts[i];
    return n;
}

static void
expect_to_be_reached(gc_options opt)
{
    gc_histogram *hist = gc_histogram_create("/gc/handshake/reach:seconds");
    uint64_t reached, handshakes;

    cr_assert_eq(gc_init(&opt), GC_OK, "%s", gc_last_error());
    gc_collect(NULL);
    reached = samples_of("/gc/handshake/reach:seconds", hist);
    handshakes = read_u64("/gc/handshake/total:handshakes");
    cr_expect_eq(reached, handshakes, "one thread: %" PRIu64 " of %" PRIu64, reached, handshakes);
    cr_expect_gt(reached, 0);
    cr_expect_lt(gc_histogram_quantile(hist, 1), 600.0, "since the request, not since the start");
    gc_histogram_free(hist);
    gc_shutdown();
}

Test(metrics, each_thread_is_reached_once_per_handshake)
{
    gc_options opt;

    gc_options_default(&opt);
    expect_to_be_reached(opt);
    opt.precise_stacks = 1;
    expect_to_be_reached(opt);
    opt.mode = GC_MODE_STW;
    expect_to_be_reached(opt);
    opt.precise_stacks = 0;
    expect_to_be_reached(opt);
}

static void
allocate_list(size_t n)
{
    static struct node *list;

    cr_assert_eq(gc_root_add(&list, sizeof list), GC_OK);
    for (size_t i = 0; i < n; i++) {
        struct node *volatile node = gc_alloc(&node_type);

        gc_write(&node->next, list);
        gc_write(&list, node);
    }
}

Test(metrics, what_cycles_scanned_adds_up_and_has_a_rate)
{
    uint64_t first;

    open_heap();
    cr_expect_eq(read_u64("/gc/mark/rate:bytes-per-cpu-second"), 0);
    (void)gc_set_gogc(NULL, GC_GOGC_OFF);
    allocate_list(200000);
    gc_collect(NULL);
    first = read_u64("/gc/mark/scanned:bytes");
    cr_expect_eq(first, read_u64("/gc/scan/total:bytes"));
    gc_collect(NULL);
    cr_expect_eq(read_u64("/gc/mark/scanned:bytes"), first + read_u64("/gc/scan/total:bytes"));
    cr_expect_gt(read_u64("/gc/mark/rate:bytes-per-cpu-second"), 0);
    gc_shutdown();
}

/* What spans have besides objects: free slots, and ends that fit none. */
Test(metrics, free_slots_by_size_are_what_is_unused)
{
    const char *name = "/gc/heap/unused-by-size:bytes";
    gc_histogram *hist = gc_histogram_create(name);
    unsigned class = class_of(sizeof(struct node));
    uint64_t ends = 0, bytes = 0, before;
    struct mheap *h;

    open_heap();
    h = &gcrt_heap_default()->mheap;
    allocate_nodes(1);
    GC_KEEP_ALIVE(gc_alloc_bytes(3000));
    (void)samples_of(name, hist);
    before = hist->counts[class - 1];
    cr_expect_eq(before + 1, gcrt_class_nelems[class], "one span with one object");
    allocate_nodes(10);
    (void)samples_of(name, hist);
    cr_expect_eq(hist->counts[class - 1], before - 10);
    for (unsigned i = 1; i < NUM_CLASSES; i++) {
        uint64_t slots = (uint64_t)gcrt_class_nelems[i] * gcrt_class_bytes[i];

        bytes += hist->counts[i - 1] * gcrt_class_bytes[i];
        ends += aword_load_relaxed(&h->small_spans[i])
            * (((uint64_t)gcrt_class_pages[i] << PAGE_SHIFT) - slots);
    }
    cr_expect_gt(ends, 0);
    cr_expect_eq(read_u64("/memory/classes/heap/unused:bytes"), bytes + ends);
    gc_histogram_free(hist);
    gc_shutdown();
}

Test(metrics, caches_of_threads_that_left_are_idle)
{
    pthread_t thread;

    open_heap();
    cr_expect_eq(read_u64("/sched/ps/idle:ps"), 0);
    cr_expect_eq(read_u64("/sched/mutators/inside:threads"), 1);
    stop_allocating = 1;
    cr_assert_eq(gc_pthread_create(&thread, NULL, churn, NULL), GC_OK);
    GC_BLOCKING {
        pthread_join(thread, NULL);
        cr_expect_eq(read_u64("/sched/mutators/outside:threads"), 1);
    }
    cr_expect_eq(read_u64("/sched/ps/idle:ps"), 1);
    cr_expect_eq(read_u64("/sched/ps:ps"), 2);
    gc_shutdown();
}

Test(metrics, profile_has_its_memory_and_the_scavenger_its_goal)
{
    uint64_t before;
    gc_options opt;

    gc_options_default(&opt);
    opt.profile_rate = 1;
    cr_assert_eq(gc_init(&opt), GC_OK);
    before = read_u64("/memory/classes/profiling/buckets:bytes");
    allocate_nodes(1000);
    cr_expect_geq(read_u64("/memory/classes/profiling/buckets:bytes"), before + 1000 * 8);
    (void)gc_set_gogc(NULL, GC_GOGC_OFF);
    do /* the goal is set after the sweep, when gc_collect may have returned */
        gc_collect(NULL);
    while (read_u64("/gc/scavenge/goal:bytes") != UINT64_MAX);
    (void)gc_set_gogc(NULL, 100);
    do
        gc_collect(NULL);
    while (read_u64("/gc/scavenge/goal:bytes") == UINT64_MAX);
    cr_expect_geq(read_u64("/gc/scavenge/goal:bytes"), read_u64("/gc/heap/min:bytes"));
    gc_shutdown();
}

/* ---- reading while others work ---- */

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
    cr_assert_eq(value_of(now, "/sched/mutators:threads"),
            value_of(now, "/sched/mutators/inside:threads")
                    + value_of(now, "/sched/mutators/outside:threads"));
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
