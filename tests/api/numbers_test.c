/* SPDX-License-Identifier: MIT */
/*
 * Purpose: statistics, metrics, text formats and the cycle log tell what happened.
 *
 * Place: public interface only.  race/readers.c asks the same under load.
 */

#define _GNU_SOURCE

#include "kit.h"

/* ---- numbers ---- */

Test(stats, allocation_and_collection_move_them)
{
    gc_stats a, b, c;

    start();
    t_collect_twice(NULL);
    gc_stats_read(NULL, &a);
    for (int i = 0; i < 1000; i++)
        (void)make(0, 1000);
    (void)make(0, 100000);
    gc_stats_read(NULL, &b);
    cr_assert(b.mallocs - a.mallocs == 1001, "%llu mallocs",
            (unsigned long long)(b.mallocs - a.mallocs));
    cr_assert(b.total_alloc - a.total_alloc >= 1100000, "total_alloc");
    cr_assert(b.heap_alloc - a.heap_alloc >= 1100000, "heap_alloc");
    cr_assert(b.heap_objects - a.heap_objects == 1001, "heap_objects");
    cr_assert(b.by_size[0].mallocs - a.by_size[0].mallocs == 1, "large objects");
    cr_assert(b.heap_sys == b.heap_idle + b.heap_inuse && b.heap_inuse >= b.heap_alloc);
    cr_assert(b.sys >= b.heap_sys && b.metadata_sys > 0 && b.next_gc > 0);
    t_collect_twice(NULL);
    gc_stats_read(NULL, &c);
    cr_assert(c.frees - b.frees >= 999, "%llu frees",
            (unsigned long long)(c.frees - b.frees));
    cr_assert(c.heap_alloc < a.heap_alloc + 200000, "the heap did not shrink");
    cr_assert(c.num_gc >= b.num_gc + 2);
    cr_assert(c.mallocs - c.frees == c.heap_objects);
    stop();
}

Test(stats, by_size_sums_to_the_totals)
{
    uint64_t mallocs = 0, frees = 0;
    gc_stats stats;

    start();
    for (size_t bytes = 16; bytes < 50000; bytes += 99)
        GC_KEEP_ALIVE(gc_alloc_bytes(bytes));
    gc_collect(NULL);
    gc_stats_read(NULL, &stats);
    for (size_t i = 0; i < GC_STATS_CLASSES; i++) {
        mallocs += stats.by_size[i].mallocs;
        frees += stats.by_size[i].frees;
        cr_assert(i < 2 || stats.by_size[i].size > stats.by_size[i - 1].size);
    }
    cr_assert(mallocs == stats.mallocs, "%llu and %llu", (unsigned long long)mallocs,
            (unsigned long long)stats.mallocs);
    cr_assert(frees == stats.frees, "%llu and %llu", (unsigned long long)frees,
            (unsigned long long)stats.frees);
    stop();
}

Test(metrics, all_are_sorted_described_and_readable)
{
    size_t n = 0;
    const gc_metric_desc *all = gc_metrics_all(&n);

    start();
    cr_assert(n > 10, "%zu metrics", n);
    for (size_t i = 0; i < n; i++) {
        gc_metric_sample sample = { .name = all[i].name };

        cr_assert(all[i].name[0] == '/' && strchr(all[i].name, ':') != NULL, "%s",
                all[i].name);
        cr_assert(strlen(all[i].description) > 10, "%s has no description", all[i].name);
        cr_assert(i == 0 || strcmp(all[i - 1].name, all[i].name) < 0, "%s is not sorted",
                all[i].name);
        if (all[i].kind == GC_METRIC_HISTOGRAM) {
            T_OK(gc_metrics_read(NULL, &sample, 1));
            cr_assert(sample.kind == GC_METRIC_BAD, "%s without memory", all[i].name);
            sample.value.hist = gc_histogram_create(all[i].name);
            cr_assert(sample.value.hist != NULL);
        }
        T_OK(gc_metrics_read(NULL, &sample, 1));
        cr_assert(sample.kind == all[i].kind, "%s", all[i].name);
        if (all[i].kind == GC_METRIC_HISTOGRAM)
            gc_histogram_free(sample.value.hist);
    }
    stop();
}

Test(metrics, quantiles_follow_the_buckets)
{
    uint64_t counts[4] = { 0, 10, 80, 10 };
    const double bounds[5] = { 0, 1, 2, 4, 8 };
    gc_histogram hist = { .nbuckets = 4, .counts = counts, .bounds = bounds };
    gc_histogram none = { .nbuckets = 4, .counts = (uint64_t[4]){ 0 }, .bounds = bounds };

    cr_assert(gc_histogram_quantile(&hist, 0.5) > 2 - 1e-9
            && gc_histogram_quantile(&hist, 0.5) <= 4);
    cr_assert(gc_histogram_quantile(&hist, 0.05) <= 2);
    cr_assert(gc_histogram_quantile(&hist, 0.95) > 4 - 1e-9);
    cr_assert(gc_histogram_quantile(&hist, 1.0) <= 8);
    cr_assert(gc_histogram_quantile(&hist, 0.0) <= gc_histogram_quantile(&hist, 1.0));
    cr_assert(!(gc_histogram_quantile(&none, 0.5) > 8));
}

struct text {
    char bytes[1 << 18];
    size_t used;
    size_t limit; /* refuse after so many bytes; 0: never */
};

static struct text text;

static int
sink_keep(void *arg, const char *bytes, size_t n)
{
    struct text *t = arg;

    cr_assert(t->used + n < sizeof t->bytes, "text too long");
    memcpy(t->bytes + t->used, bytes, n);
    t->used += n;
    t->bytes[t->used] = '\0';
    return t->limit != 0 && t->used > t->limit;
}

Test(metrics, text_formats_are_written_and_refusals_are_reported)
{
    gc_sink sink = { sink_keep, &text };
    int depth = 0;

    start();
    gc_collect(NULL);
    T_OK(gc_metrics_write_prometheus(NULL, &sink));
    cr_assert(
            strstr(text.bytes, "# TYPE ") != NULL && strstr(text.bytes, "# HELP ") != NULL);
    cr_assert(text.bytes[text.used - 1] == '\n');
    text.used = 0;
    T_OK(gc_metrics_write_openmetrics(NULL, &sink));
    cr_assert(strcmp(text.bytes + text.used - 6, "# EOF\n") == 0);
    text.used = 0;
    T_OK(gc_metrics_write_json(NULL, &sink));
    for (size_t i = 0; i < text.used; i++)
        depth += text.bytes[i] == '{' ? 1 : text.bytes[i] == '}' ? -1 : 0;
    cr_assert(text.bytes[0] == '{' && depth == 0, "unbalanced JSON");
    text.limit = 100;
    text.used = 0;
    cr_assert(gc_metrics_write_json(NULL, &sink) == GC_ERR_SINK);
    text.used = 0;
    cr_assert(gc_metrics_write_prometheus(NULL, &sink) == GC_ERR_SINK);
    text.used = 0;
    cr_assert(gc_metrics_write_openmetrics(NULL, &sink) == GC_ERR_SINK);
    cr_assert(strstr(text.bytes, "# EOF") == NULL, "a torn text claims to be whole");
    stop();
}

/* The heap that is measured is not used to tell of it. */
Test(metrics, texts_allocate_nothing)
{
    gc_sink sink = { sink_keep, &text };
    gc_status (*const write[])(gc_heap *, const gc_sink *) = { gc_metrics_write_prometheus,
        gc_metrics_write_openmetrics, gc_metrics_write_json };
    gc_stats before, after;

    start();
    gc_stats_read(NULL, &before);
    for (size_t i = 0; i < 3; i++) {
        text.used = 0;
        T_OK(write[i](NULL, &sink));
    }
    gc_stats_read(NULL, &after);
    cr_assert(after.mallocs == before.mallocs && after.total_alloc == before.total_alloc);
    cr_assert(after.sys == before.sys);
    stop();
}

static char lines[4096];

static void
keep_line(const char *line, size_t len, void *arg)
{
    cr_assert(arg == lines && strlen(line) >= len && memchr(line, '\n', len) == NULL);
    (void)strncat(lines, line, sizeof lines - strlen(lines) - 1);
}

Test(options, the_log_receives_a_line_for_each_traced_cycle)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.debug_gctrace = 1;
    opt.log = keep_line;
    opt.log_arg = lines;
    T_OK(gc_init(&opt));
    gc_collect(NULL);
    gc_shutdown();
    cr_assert(strstr(lines, "gc 1") != NULL, "%s", lines);
    cr_assert(strstr(lines, "pacer: ") == NULL, "%s", lines);
}

Test(options, the_pacers_line_goes_before_the_gctrace_line)
{
    gc_options opt;
    const char *pacer, *cycle;

    gc_options_default(&opt);
    opt.debug_gctrace = opt.debug_gcpacertrace = 1;
    opt.log = keep_line;
    opt.log_arg = lines;
    T_OK(gc_init(&opt));
    gc_collect(NULL);
    gc_shutdown();
    pacer = strstr(lines, "pacer: gc 1: plan ");
    cycle = strstr(lines, "gc 1 @");
    cr_assert(pacer != NULL && cycle != NULL && pacer < cycle, "%s", lines);
}

Test(options, the_pacers_line_comes_alone_too)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.debug_gcpacertrace = 1;
    opt.log = keep_line;
    opt.log_arg = lines;
    T_OK(gc_init(&opt));
    gc_collect(NULL);
    gc_shutdown();
    cr_assert(strstr(lines, "pacer: gc 1: plan ") == lines, "%s", lines);
    cr_assert(strstr(lines, "gc 1 @") == NULL, "%s", lines);
}
