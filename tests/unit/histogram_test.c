/* SPDX-License-Identifier: MIT */
/*
 * The two ways in which times are shown: histograms, and the gctrace line.
 *
 * Histograms run against a model that knows only the words of the layout: four buckets of
 * equal width per power of two from 2^9 to 2^48, four below 2^9, and one at either end.
 * Lines are compared with what stands here.
 */
#include "metrics/histogram.h"

#include "alloc/base/rand.h"
#include "metrics/gctrace.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the model ---- */

struct model {
    uint64_t lower[TIMEHIST_BUCKETS]; /* [0], the underflow bucket, unused */
    size_t n;
};

static struct model
model_make(void)
{
    struct model m = { .n = 1 };

    for (uint64_t quarter = 0; quarter < 4; quarter++)
        m.lower[m.n++] = quarter * 128;
    for (uint64_t from = 512; from < (uint64_t)1 << 48; from *= 2)
        for (uint64_t quarter = 0; quarter < 4; quarter++)
            m.lower[m.n++] = from + quarter * (from / 4);
    m.lower[m.n++] = (uint64_t)1 << 48;
    return m;
}

static size_t
model_bucket(const struct model *m, uint64_t ns)
{
    size_t i = m->n - 1;

    while (i > 1 && m->lower[i] > ns)
        i--;
    return i;
}

static int
by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* ---- durations ---- */

Test(histogram, bucket_bounds_are_the_models)
{
    struct model m = model_make();

    cr_assert_eq(m.n, TIMEHIST_BUCKETS);
    cr_assert_eq(gcrt_histogram_nbuckets(SOURCE_TIMES), TIMEHIST_BUCKETS);
    for (size_t i = 1; i < m.n; i++) {
        cr_expect_eq(timehist_lower_ns((unsigned)i), m.lower[i], "bucket %zu", i);
        cr_expect_eq(gcrt_histogram_bound(SOURCE_TIMES, i), m.lower[i], "bucket %zu", i);
    }
    cr_expect_eq(gcrt_histogram_bound(SOURCE_TIMES, m.n), HISTOGRAM_OPEN);
}

Test(histogram, every_power_of_two_and_its_neighbours_fall_where_the_model_says)
{
    struct model m = model_make();

    for (unsigned bit = 0; bit < 64; bit++)
        for (int d = -1; d <= 1; d++) {
            uint64_t ns = ((uint64_t)1 << bit) + (uint64_t)d;

            cr_expect_eq(timehist_bucket(ns), model_bucket(&m, ns), "2^%u%+d", bit, d);
        }
    cr_expect_eq(timehist_bucket(UINT64_MAX), TIMEHIST_BUCKETS - 1);
}

Test(histogram, every_bound_and_its_neighbours_fall_where_the_model_says)
{
    struct model m = model_make();

    for (size_t i = 2; i < m.n; i++) {
        cr_expect_eq(timehist_bucket(m.lower[i] - 1), i - 1, "below bound %zu", i);
        cr_expect_eq(timehist_bucket(m.lower[i]), i, "at bound %zu", i);
        cr_expect_eq(timehist_bucket(m.lower[i] + 1), i, "above bound %zu", i);
    }
}

Test(histogram, samples_are_counted_summed_and_the_highest_kept)
{
    static const uint64_t samples[] = { 0, 600, 600, 5000000, 7, (uint64_t)1 << 50 };
    struct model m = model_make();
    struct timehist h = { .total_ns = AWORD_INIT(0) };
    uint64_t counts[TIMEHIST_BUCKETS] = { 0 }, sum = 0;

    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        timehist_add(&h, samples[i]);
        counts[model_bucket(&m, samples[i])]++;
        sum += samples[i];
    }
    for (size_t i = 0; i < TIMEHIST_BUCKETS; i++)
        cr_expect_eq(aword_load_relaxed(&h.counts[i]), counts[i], "bucket %zu", i);
    cr_expect_eq(aword_load_relaxed(&h.total_ns), sum);
    cr_expect_eq(aword_load_relaxed(&h.max_ns), (uint64_t)1 << 50);
}

/* ---- what hosts get ---- */

Test(histogram, create_gives_memory_to_histograms_only)
{
    size_t n, histograms = 0;
    const gc_metric_desc *all = gc_metrics_all(&n);

    for (size_t i = 0; i < n; i++) {
        gc_histogram *hist = gc_histogram_create(all[i].name);

        cr_expect_eq(hist != NULL, all[i].kind == GC_METRIC_HISTOGRAM, "%s", all[i].name);
        histograms += hist != NULL;
        gc_histogram_free(hist);
    }
    cr_expect_geq(histograms, 10);
    cr_expect_null(gc_histogram_create("/gc/no/such:seconds"));
    cr_expect_null(gc_histogram_create(NULL));
    gc_histogram_free(NULL);
}

Test(histogram, bounds_of_times_are_seconds_from_minus_to_plus_infinity)
{
    gc_histogram *h = gc_histogram_create("/gc/handshake/pause:seconds");
    struct model m = model_make();

    cr_assert_not_null(h);
    cr_assert_eq(h->nbuckets, TIMEHIST_BUCKETS);
    cr_expect(isinf(h->bounds[0]) && h->bounds[0] < 0);
    for (size_t i = 1; i < h->nbuckets; i++) {
        cr_expect_eq(h->bounds[i], (double)m.lower[i] / 1e9, "bound %zu", i);
        cr_expect_lt(h->bounds[i - 1], h->bounds[i], "bound %zu", i);
    }
    cr_expect(isinf(h->bounds[h->nbuckets]) && h->bounds[h->nbuckets] > 0);
    gc_histogram_free(h);
}

Test(histogram, bounds_of_sizes_are_one_above_each_size_class)
{
    gc_histogram *h = gc_histogram_create("/gc/heap/allocs-by-size:bytes");

    cr_assert_not_null(h);
    cr_assert_eq(h->nbuckets, NUM_CLASSES);
    cr_expect_eq(h->bounds[0], 1.0);
    for (unsigned c = 1; c < NUM_CLASSES; c++)
        cr_expect_eq(h->bounds[c], gcrt_class_bytes[c] + 1.0, "class %u", c);
    cr_expect(isinf(h->bounds[NUM_CLASSES]));
    gc_histogram_free(h);
}

Test(histogram, each_class_is_counted_in_the_bucket_that_holds_its_size)
{
    const struct metric *m = &gcrt_metrics_table[gcrt_metrics_find(
            "/gc/heap/frees-by-size:bytes")];
    static struct snapshot s;
    uint64_t counts[HISTOGRAM_BUCKETS_MAX];

    for (unsigned c = 0; c < NUM_CLASSES; c++)
        s.frees[c] = 1000 + c;
    gcrt_histogram_counts(m, &s, counts);
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        size_t i = 0;

        while (gcrt_histogram_bound(SOURCE_SIZES, i + 1) <= gcrt_class_bytes[c])
            i++;
        cr_expect_eq(counts[i], 1000 + c, "class %u", c);
    }
    cr_expect_eq(counts[NUM_CLASSES - 1], 1000, "the large objects come last");
}

/* ---- quantiles ---- */

Test(histogram, quantile_is_the_upper_bound_of_the_samples_bucket)
{
    gc_histogram *h = gc_histogram_create("/gc/assist:seconds");

    cr_assert_not_null(h);
    cr_expect_eq(gc_histogram_quantile(h, 0.5), 0.0, "no samples");
    h->counts[timehist_bucket(1000)] = 98;
    h->counts[timehist_bucket(1000000)] = 1;
    h->counts[timehist_bucket(1000000000)] = 1;
    cr_expect_eq(gc_histogram_quantile(h, 0), 1024e-9);
    cr_expect_eq(gc_histogram_quantile(h, 0.98), 1024e-9);
    cr_expect_eq(gc_histogram_quantile(h, 0.981), (double)(1 << 20) / 1e9);
    cr_expect_eq(gc_histogram_quantile(h, 0.99), (double)(1 << 20) / 1e9);
    cr_expect_eq(gc_histogram_quantile(h, 0.999), (double)(1 << 30) / 1e9);
    cr_expect_eq(gc_histogram_quantile(h, 1), (double)(1 << 30) / 1e9);
    cr_expect_eq(gc_histogram_quantile(h, -1), gc_histogram_quantile(h, 0));
    cr_expect_eq(gc_histogram_quantile(h, 2), gc_histogram_quantile(h, 1));
    h->counts[TIMEHIST_BUCKETS - 1] = 1;
    cr_expect_eq(gc_histogram_quantile(h, 1), (double)((uint64_t)1 << 48) / 1e9,
            "the open bucket has no upper bound: its lower one");
    cr_expect_eq(gc_histogram_quantile(NULL, 0.5), 0.0);
    gc_histogram_free(h);
}

/* A time between 1 ns and 2^50 ns, small ones as likely as big ones. */
static uint64_t
any_time(uint64_t *rng)
{
    return rand_next(rng) >> (14 + rand_below(rng, 50));
}

Test(histogram, quantiles_agree_with_sorting_the_samples)
{
    enum { SAMPLES = 997 };
    gc_histogram *h = gc_histogram_create("/gc/assist:seconds");
    struct model m = model_make();
    uint64_t samples[SAMPLES], rng = 1;

    cr_assert_not_null(h);
    for (size_t i = 0; i < SAMPLES; i++) {
        samples[i] = any_time(&rng);
        h->counts[model_bucket(&m, samples[i])]++;
    }
    qsort(samples, SAMPLES, sizeof(samples[0]), by_value);
    for (unsigned permille = 1; permille <= 1000; permille++) {
        size_t rank = (permille * (size_t)SAMPLES + 999) / 1000;
        size_t bucket = model_bucket(&m, samples[rank - 1]);
        size_t bound = bucket + 1 < m.n ? bucket + 1 : bucket;

        cr_expect_eq(gc_histogram_quantile(h, permille / 1000.0), h->bounds[bound],
                "%u permille", permille);
        cr_expect_eq(gcrt_histogram_quantile(SOURCE_TIMES, h->counts, permille),
                m.lower[bound], "%u permille", permille);
    }
    gc_histogram_free(h);
}

/* ---- the gctrace line ---- */

static void
expect_line(const struct cycle_report *c, const char *line)
{
    char buf[GCTRACE_LINE_MAX];
    size_t n = gcrt_gctrace_format(buf, sizeof(buf), c);

    cr_expect_str_eq(buf, line);
    cr_expect_eq(n, strlen(line));
}

Test(gctrace, line_is_as_go_prints_it)
{
    static const struct cycle_report c = { .cycle = 12, .since_start_ns = 3456789012,
        .nps = 8, .gc_cpu_ns = 299, .total_cpu_ns = 10000, .start_wall_ns = 18999,
        .mark_wall_ns = 1149999, .end_wall_ns = 58001, .start_cpu_ns = 280000,
        .assist_ns = 0, .dedicated_ns = 12345678, .idle_ns = 9999999, .end_cpu_ns = 934567,
        .heap_start = 4 << 20, .heap_end = (6 << 20) - 1, .heap_live = 1 << 20,
        .goal = 5 << 20, .stacks = 1048575, .globals = 2097152 };

    expect_line(&c, "gc 12 @3.456s 2%: 0.018+1.1+0.058 ms clock, "
                    "0.28+0/12/9.9+0.93 ms cpu, 4->5->1 MB, 5 MB goal, "
                    "0 MB stacks, 2 MB globals, 8 P");
}

Test(gctrace, forced_first_cycle_with_nothing_measured_is_all_zeroes)
{
    static const struct cycle_report c = { .cycle = 1, .forced = 1, .nps = 1,
        .since_start_ns = 1000000 };

    expect_line(&c, "gc 1 @0.001s 0%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 0->0->0 MB, "
                    "0 MB goal, 0 MB stacks, 0 MB globals, 1 P (forced)");
}

Test(gctrace, times_have_two_digits_that_count)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } want[] = { { 999, "0" }, { 1000, "0.001" }, { 99999, "0.099" }, { 100000, "0.10" },
        { 999999, "0.99" }, { 1000000, "1.0" }, { 9999999, "9.9" }, { 10000000, "10" },
        { 1234567890, "1234" } };

    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct cycle_report c = { .start_wall_ns = want[i].ns };
        char line[GCTRACE_LINE_MAX], text[32] = "";

        gcrt_gctrace_format(line, sizeof(line), &c);
        cr_expect_eq(sscanf(line, "gc 0 @0.000s 0%%: %31[^+]", text), 1);
        cr_expect_str_eq(text, want[i].text, "%" PRIu64 " ns", want[i].ns);
    }
}
