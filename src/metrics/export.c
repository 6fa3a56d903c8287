/* SPDX-License-Identifier: MIT */
/*
 * All metrics as text.
 *
 * Purpose: Prometheus' text format, OpenMetrics', and one JSON object.
 * Place: behind the public gc_metrics_write_ functions; walks the table of metrics.
 * Invariants: names derive mechanically from the metrics' names; numbers are printed from
 * integers (seconds from nanoseconds), so they are exact and no locale changes them;
 * nothing is allocated.
 *
 * Prometheus wants "at most" where our buckets say "below"; all values are integers, so the
 * bound less one is the same thing exactly.  Of a time histogram's 160 bounds only the
 * powers of two from 512 ns to 17 s are shown, always the same ones.
 *
 * OpenMetrics differs in little: a counter's family is called without its sample's _total,
 * each has a unit, which its name ends in, bounds are floating point, and the text has an end
 * that can be told.
 *
 * Concurrency: see snapshot.c.  A histogram's count is the sum of the buckets as they were
 * copied; the sum of a time histogram is read after that and may include a few more.
 * Cost: cold; Prometheus' text has about 750 lines.
 */
#include "metrics/export.h"

#include "gc/error.h"
#include "metrics/histogram.h"
#include "metrics/out.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_BITS_MIN 9  /* time bounds shown: 2^9 ns ... */
#define SHOWN_BITS_MAX 34 /* ... to 2^34 ns */

/* ---- values ---- */

/* Nanoseconds as seconds, all digits that count and no more. */
static void
put_seconds(struct out *o, uint64_t ns)
{
    char digits[32];
    int n = snprintf(digits, sizeof(digits), "%" PRIu64 ".%09" PRIu64, ns / 1000000000,
            ns % 1000000000);

    while (digits[n - 1] == '0')
        n--;
    if (digits[n - 1] == '.')
        n--;
    digits[n] = '\0';
    out_text(o, digits);
}

/* A value in the metric's own unit. */
static void
put_value(struct out *o, enum metric_source source, uint64_t x)
{
    if (source == SOURCE_SECONDS || source == SOURCE_TIMES)
        put_seconds(o, x);
    else
        out_number(o, x);
}

static gc_status
finish(struct out *o)
{
    out_flush(o);
    return o->failed ? gcrt_error(GC_ERR_SINK, "the sink refused bytes") : GC_OK;
}

/* ---- Prometheus and OpenMetrics ---- */

/* A text of which form. */
struct exposition {
    struct out out;
    bool open; /* OpenMetrics */
};

/* Letters, digits and "_" of a metric's name. */
static void
put_mangled(struct out *o, const char *name)
{
    for (; *name != '\0'; name++)
        out_char(o, *name == '/' || *name == ':' || *name == '-' ? '_' : *name);
}

/* The family's name and what a sample of it adds. */
static void
put_name(struct out *o, const gc_metric_desc *d, const char *suffix)
{
    out_text(o, "gcrt");
    put_mangled(o, d->name);
    out_text(o, suffix);
}

static const char *
type_name(const gc_metric_desc *d)
{
    if (!d->cumulative)
        return "gauge";
    return d->kind == GC_METRIC_HISTOGRAM ? "histogram" : "counter";
}

/* What a counter's samples add to the family's name. */
static const char *
sample_suffix(const gc_metric_desc *d)
{
    return d->cumulative && d->kind != GC_METRIC_HISTOGRAM ? "_total" : "";
}

/* Prometheus knows no families: there a counter is called as its sample is. */
static void
put_meta(struct exposition *e, const gc_metric_desc *d, const char *what)
{
    out_text(&e->out, "# ");
    out_text(&e->out, what);
    out_char(&e->out, ' ');
    put_name(&e->out, d, e->open ? "" : sample_suffix(d));
    out_char(&e->out, ' ');
}

static void
put_header(struct exposition *e, const gc_metric_desc *d)
{
    put_meta(e, d, "HELP");
    out_text(&e->out, d->description);
    out_char(&e->out, '\n');
    put_meta(e, d, "TYPE");
    out_text(&e->out, type_name(d));
    out_char(&e->out, '\n');
    if (!e->open)
        return;
    put_meta(e, d, "UNIT");
    put_mangled(&e->out, d->unit);
    out_char(&e->out, '\n');
}

/* A bound in a label; OpenMetrics wants whole ones to look like floating point. */
static void
put_bound(struct exposition *e, enum metric_source source, uint64_t bound)
{
    put_value(&e->out, source, bound);
    if (e->open && source == SOURCE_SIZES)
        out_text(&e->out, ".0");
}

static void
end_sample(struct out *o, uint64_t count)
{
    out_number(o, count);
    out_char(o, '\n');
}

/* name_bucket{le="..."} count; le is HISTOGRAM_OPEN or the bound, exclusive. */
static void
put_bucket(struct exposition *e, const gc_metric_desc *d, enum metric_source source,
        uint64_t bound, uint64_t count)
{
    put_name(&e->out, d, "_bucket{le=\"");
    if (bound == HISTOGRAM_OPEN)
        out_text(&e->out, "+Inf");
    else
        put_bound(e, source, bound - 1);
    out_text(&e->out, "\"} ");
    end_sample(&e->out, count);
}

static bool
is_shown(enum metric_source source, uint64_t bound)
{
    return bound == HISTOGRAM_OPEN || source == SOURCE_SIZES
        || (bound >= (uint64_t)1 << SHOWN_BITS_MIN && bound <= (uint64_t)1 << SHOWN_BITS_MAX
                && (bound & (bound - 1)) == 0);
}

static uint64_t
sum_of(const struct metric *m, const struct snapshot *s)
{
    const void *field = (const char *)s + m->offset;

    if (m->source == SOURCE_TIMES)
        return aword_load_relaxed(&(*(const struct timehist *const *)field)->total_ns);
    return field == s->allocs ? s->allocs_bytes : s->frees_bytes;
}

static void
put_buckets(struct exposition *e, const gc_metric_desc *d, const struct metric *m,
        const struct snapshot *s)
{
    uint64_t counts[HISTOGRAM_BUCKETS_MAX], below = 0;

    gcrt_histogram_counts(m, s, counts);
    for (size_t i = 0; i < gcrt_histogram_nbuckets(m->source); i++) {
        uint64_t bound = gcrt_histogram_bound(m->source, i + 1);

        below += counts[i];
        if (is_shown(m->source, bound))
            put_bucket(e, d, m->source, bound, below);
    }
    put_name(&e->out, d, "_sum ");
    put_value(&e->out, m->source, sum_of(m, s));
    out_char(&e->out, '\n');
    put_name(&e->out, d, "_count ");
    end_sample(&e->out, below);
}

/*
 * Counts that go up and down are no histogram to either: name{size="..."} bytes, one sample
 * for each class of small objects.
 */
static void
put_classes(struct exposition *e, const gc_metric_desc *d, const struct metric *m,
        const struct snapshot *s)
{
    const uint64_t *by_class = (const uint64_t *)(const void *)((const char *)s + m->offset);

    for (size_t i = 1; i < NUM_CLASSES; i++) {
        put_name(&e->out, d, "{size=\"");
        out_number(&e->out, gcrt_class_bytes[i]);
        out_text(&e->out, "\"} ");
        end_sample(&e->out, by_class[i] * gcrt_class_bytes[i]);
    }
}

static void
put_metric(struct exposition *e, const gc_metric_desc *d, const struct metric *m,
        const struct snapshot *s)
{
    put_header(e, d);
    if (d->kind == GC_METRIC_HISTOGRAM) {
        (d->cumulative ? put_buckets : put_classes)(e, d, m, s);
        return;
    }
    put_name(&e->out, d, sample_suffix(d));
    out_char(&e->out, ' ');
    put_value(&e->out, m->source, metric_number(m, s));
    out_char(&e->out, '\n');
}

static gc_status
expose(struct exposition *e, const struct snapshot *s)
{
    for (size_t i = 0; i < gcrt_metrics_count && !e->out.failed; i++)
        put_metric(e, &gcrt_metrics_desc[i], &gcrt_metrics_table[i], s);
    if (e->open)
        out_text(&e->out, "# EOF\n");
    return finish(&e->out);
}

gc_status
gcrt_export_prometheus(const struct snapshot *s, const gc_sink *sink)
{
    struct exposition e = { .out.sink = sink };

    return expose(&e, s);
}

gc_status
gcrt_export_openmetrics(const struct snapshot *s, const gc_sink *sink)
{
    struct exposition e = { .out.sink = sink, .open = true };

    return expose(&e, s);
}

/* ---- JSON ---- */

/* The exact maximum of times; of sizes the bound of the highest class in use. */
static uint64_t
max_of(const struct metric *m, const struct snapshot *s, const uint64_t *counts)
{
    const void *field = (const char *)s + m->offset;

    if (m->source == SOURCE_TIMES)
        return aword_load_relaxed(&(*(const struct timehist *const *)field)->max_ns);
    return gcrt_histogram_quantile(m->source, counts, 1000);
}

static void
put_member(struct out *o, const char *name, enum metric_source source, uint64_t x)
{
    out_text(o, name);
    put_value(o, source, x);
}

static void
put_summary(struct out *o, const struct metric *m, const struct snapshot *s)
{
    uint64_t counts[HISTOGRAM_BUCKETS_MAX], n = 0;

    gcrt_histogram_counts(m, s, counts);
    for (size_t i = 0; i < gcrt_histogram_nbuckets(m->source); i++)
        n += counts[i];
    put_member(o, "{\"count\":", SOURCE_U64, n);
    put_member(o, ",\"p50\":", m->source, gcrt_histogram_quantile(m->source, counts, 500));
    put_member(o, ",\"p99\":", m->source, gcrt_histogram_quantile(m->source, counts, 990));
    put_member(o, ",\"p999\":", m->source, gcrt_histogram_quantile(m->source, counts, 999));
    put_member(o, ",\"max\":", m->source, max_of(m, s, counts));
    out_char(o, '}');
}

gc_status
gcrt_export_json(const struct snapshot *s, const gc_sink *sink)
{
    struct out o = { .sink = sink };

    for (size_t i = 0; i < gcrt_metrics_count && !o.failed; i++) {
        const struct metric *m = &gcrt_metrics_table[i];

        out_text(&o, i == 0 ? "{\"" : ",\n\"");
        out_text(&o, gcrt_metrics_desc[i].name);
        out_text(&o, "\":");
        if (gcrt_metrics_desc[i].kind == GC_METRIC_HISTOGRAM)
            put_summary(&o, m, s);
        else
            put_value(&o, m->source, metric_number(m, s));
    }
    out_text(&o, "}\n");
    return finish(&o);
}

/* ---- public ---- */

static gc_status
write_text(gc_heap *heap, const gc_sink *sink,
        gc_status (*write)(const struct snapshot *, const gc_sink *))
{
    struct snapshot s;

    if (sink == NULL || sink->write == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_metrics_write: there is no sink");
    heap = gcrt_heap_resolve(heap);
    if (heap == NULL)
        return gcrt_metrics_no_heap();
    gcrt_snapshot_read(heap, &s);
    return write(&s, sink);
}

gc_status
gc_metrics_write_prometheus(gc_heap *heap, const gc_sink *sink)
{
    return write_text(heap, sink, gcrt_export_prometheus);
}

gc_status
gc_metrics_write_openmetrics(gc_heap *heap, const gc_sink *sink)
{
    return write_text(heap, sink, gcrt_export_openmetrics);
}

gc_status
gc_metrics_write_json(gc_heap *heap, const gc_sink *sink)
{
    return write_text(heap, sink, gcrt_export_json);
}
