/* SPDX-License-Identifier: MIT */
/*
 * Purpose: metrics and statistics read at full speed against mutators and cycles.  What is
 * called cumulative never falls, sums hold within one reading, histograms only grow, and
 * the text formats come out whole.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: 2 mutators, 2 readers (one attached, one not), the main thread collects and
 * writes text.
 *
 * Arguments: seconds=3 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>
#include <string.h>

#define METRICS_MAX 256

static gc_heap *heap;
static int stopping;
static uint64_t readings;
static gc_metric_desc const *descs; /* const after main has asked */
static size_t ndescs;

static int
stop_wanted(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_RELAXED);
}

struct pair {
    struct pair *left, *right;
};

GC_TYPE(pair_type, struct pair, left, right);

static struct pair *
tree(int depth)
{
    struct pair *pair = gc_alloc(&pair_type);

    if (depth > 0) {
        gc_write(&pair->left, tree(depth - 1));
        gc_write(&pair->right, tree(depth - 1));
    }
    return pair;
}

static void *
mutator_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg;
    struct pair *kept = NULL;

    while (!stop_wanted()) {
        struct pair *fresh = tree((int)t_below(&rng, 10));

        if (t_below(&rng, 4) == 0)
            kept = fresh;
        GC_KEEP_ALIVE(gc_alloc_bytes(1 + t_below(&rng, 60)));
        if (t_below(&rng, 64) == 0)
            GC_KEEP_ALIVE(gc_alloc_bytes(33000 + t_below(&rng, 100000)));
        GC_KEEP_ALIVE(kept);
    }
    return NULL;
}

static uint64_t
histogram_total(const gc_histogram *hist)
{
    uint64_t total = 0;

    for (size_t i = 0; i < hist->nbuckets; i++)
        total += hist->counts[i];
    return total;
}

static double
value_of(const gc_metric_sample *sample)
{
    switch (sample->kind) {
    case GC_METRIC_U64:
        return (double)sample->value.u64;
    case GC_METRIC_F64:
        return sample->value.f64;
    default:
        return (double)histogram_total(sample->value.hist);
    }
}

static const gc_metric_sample *
sample_named(const gc_metric_sample *samples, const char *name)
{
    for (size_t i = 0; i < ndescs; i++)
        if (strcmp(samples[i].name, name) == 0)
            return &samples[i];
    return NULL;
}

/* total = sum of all other metrics that start with prefix. */
static void
check_sum(const gc_metric_sample *samples, const char *prefix, const char *total)
{
    const gc_metric_sample *whole = sample_named(samples, total);
    uint64_t sum = 0;

    T_CHECK(whole != NULL, "there is no %s", total);
    for (size_t i = 0; i < ndescs; i++)
        if (&samples[i] != whole && strncmp(samples[i].name, prefix, strlen(prefix)) == 0)
            sum += samples[i].value.u64;
    T_CHECK(sum == whole->value.u64, "%s is %llu, its parts %llu", total,
            (unsigned long long)whole->value.u64, (unsigned long long)sum);
}

static void
check_difference(const gc_metric_sample *samples, const char *plus, const char *minus,
        const char *result)
{
    const gc_metric_sample *a = sample_named(samples, plus);
    const gc_metric_sample *b = sample_named(samples, minus);
    const gc_metric_sample *c = sample_named(samples, result);

    T_CHECK(a != NULL && b != NULL && c != NULL, "%s is missing", result);
    T_CHECK(a->value.u64 - b->value.u64 == c->value.u64, "%s %llu - %s %llu != %s %llu",
            plus, (unsigned long long)a->value.u64, minus,
            (unsigned long long)b->value.u64, result, (unsigned long long)c->value.u64);
}

static void
samples_init(gc_metric_sample *samples)
{
    for (size_t i = 0; i < ndescs; i++) {
        samples[i].name = descs[i].name;
        if (descs[i].kind != GC_METRIC_HISTOGRAM)
            continue;
        samples[i].value.hist = gc_histogram_create(descs[i].name);
        T_CHECK(samples[i].value.hist != NULL, "gc_histogram_create(%s)", descs[i].name);
    }
}

static void
samples_finish(gc_metric_sample *samples)
{
    for (size_t i = 0; i < ndescs; i++)
        if (descs[i].kind == GC_METRIC_HISTOGRAM)
            gc_histogram_free(samples[i].value.hist);
}

static void
check_samples(const gc_metric_sample *samples, double *last)
{
    for (size_t i = 0; i < ndescs; i++) {
        double value;

        T_CHECK(samples[i].kind == descs[i].kind, "%s has kind %d, its description %d",
                descs[i].name, (int)samples[i].kind, (int)descs[i].kind);
        value = value_of(&samples[i]);
        T_CHECK(value >= 0, "%s is %g", descs[i].name, value);
        if (descs[i].cumulative)
            T_CHECK(value >= last[i], "%s is cumulative and fell from %g to %g",
                    descs[i].name, last[i], value);
        last[i] = value;
    }
    check_sum(samples, "/memory/classes/", "/memory/classes/total:bytes");
    check_sum(samples, "/gc/scan/", "/gc/scan/total:bytes");
    check_sum(samples, "/gc/cycles/", "/gc/cycles/total:gc-cycles");
    check_difference(samples, "/gc/heap/allocs:objects", "/gc/heap/frees:objects",
            "/gc/heap/objects:objects");
}

static void
check_stats(gc_stats *last)
{
    gc_stats is;

    gc_stats_read(heap, &is);
    T_CHECK(is.total_alloc >= last->total_alloc, "total_alloc fell");
    T_CHECK(is.mallocs >= last->mallocs, "mallocs fell");
    T_CHECK(is.frees >= last->frees, "frees fell");
    T_CHECK(is.num_gc >= last->num_gc, "num_gc fell");
    T_CHECK(is.num_forced_gc <= is.num_gc + 1, "more forced cycles than cycles");
    T_CHECK(is.pause_total_ns >= last->pause_total_ns, "pause_total_ns fell");
    T_CHECK(is.mallocs >= is.frees, "%llu frees of %llu mallocs",
            (unsigned long long)is.frees, (unsigned long long)is.mallocs);
    T_CHECK(is.alloc == is.heap_alloc, "alloc and heap_alloc differ");
    T_CHECK(is.heap_sys == is.heap_idle + is.heap_inuse,
            "heap_sys %llu != idle %llu + %llu", (unsigned long long)is.heap_sys,
            (unsigned long long)is.heap_idle, (unsigned long long)is.heap_inuse);
    T_CHECK(is.heap_released <= is.heap_idle, "released is more than idle");
    T_CHECK(is.sys >= is.heap_sys, "sys is less than heap_sys");
    T_CHECK(is.gc_cpu_fraction >= 0 && is.gc_cpu_fraction <= 1, "gc_cpu_fraction is %g",
            is.gc_cpu_fraction);
    *last = is;
}

static void *
reader_main(void *arg)
{
    gc_metric_sample samples[METRICS_MAX];
    double last[METRICS_MAX] = { 0 };
    gc_stats stats;
    uint64_t n = 0;

    (void)arg;
    memset(&stats, 0, sizeof stats);
    memset(samples, 0, sizeof samples);
    samples_init(samples);
    for (; !stop_wanted(); n++) {
        T_OK(gc_metrics_read(heap, samples, ndescs));
        check_samples(samples, last);
        check_stats(&stats);
    }
    samples_finish(samples);
    __atomic_fetch_add(&readings, n, __ATOMIC_RELAXED);
    return NULL;
}

struct text {
    char last;
    size_t bytes;
};

static int
sink_count(void *arg, const char *bytes, size_t n)
{
    struct text *text = arg;

    if (n > 0) {
        text->last = bytes[n - 1];
        text->bytes += n;
    }
    return 0;
}

static void
write_texts(void)
{
    struct text text = { 0, 0 };
    gc_sink sink = { sink_count, &text };

    T_OK(gc_metrics_write_prometheus(heap, &sink));
    T_CHECK(text.bytes > 100 && text.last == '\n',
            "Prometheus text ends in 0x%02x after %zu"
            " bytes",
            (unsigned)text.last, text.bytes);
    text.bytes = 0;
    T_OK(gc_metrics_write_openmetrics(heap, &sink));
    T_CHECK(text.bytes > 100 && text.last == '\n',
            "OpenMetrics text ends in 0x%02x after %zu bytes", (unsigned)text.last, text.bytes);
    text.bytes = 0;
    T_OK(gc_metrics_write_json(heap, &sink));
    T_CHECK(text.bytes > 100 && (text.last == '\n' || text.last == '}'),
            "JSON ends in 0x%02x after %zu bytes", (unsigned)text.last, text.bytes);
}

int
main(int argc, char **argv)
{
    pthread_t threads[4];
    uint64_t until;
    gc_options opt;

    t_start("readers", argc, argv);
    t_hang_after(400);
    t_options(&opt);
    T_OK(gc_init(&opt));
    heap = gc_thread_heap();
    descs = gc_metrics_all(&ndescs);
    T_CHECK(ndescs > 0 && ndescs <= METRICS_MAX, "%zu metrics", ndescs);
    T_OK(gc_pthread_create(&threads[0], NULL, mutator_main, (void *)(uintptr_t)1));
    T_OK(gc_pthread_create(&threads[1], NULL, mutator_main, (void *)(uintptr_t)2));
    T_OK(gc_pthread_create(&threads[2], NULL, reader_main, NULL));
    T_CHECK(pthread_create(&threads[3], NULL, reader_main, NULL) == 0, "pthread_create");
    until = t_now_ms() + (uint64_t)t_arg("seconds", 3) * 1000;
    while (t_now_ms() < until) {
        gc_collect(NULL);
        write_texts();
    }
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    t_join(threads, 4);
    t_verify(NULL);
    t_note("metrics=%zu readings=%llu cycles=%llu", ndescs, (unsigned long long)readings,
            (unsigned long long)t_cycles(NULL));
    gc_shutdown();
    return 0;
}
