/* SPDX-License-Identifier: MIT */
/*
 * The metrics stream of the live page: server-sent events, one reading of all metrics each.
 *
 *     event: hello
 *     data: {"pid":N,"interval_ms":N,"shapes":[[bounds], ...],"metrics":[
 *            {"name":"/gc/heap/live:bytes","kind":"u64","counter":false,"help":"..."},
 *            {"name":"/gc/handshake/pause:seconds","kind":"hist","shape":0, ...}, ...]}
 *
 *     data: {"t":ms,"pause_max_ns":N,"v":[271800000, {"3":17,"9":1}, ...]}
 *
 * Values come in the order of hello's metrics, and a histogram as an object of its buckets
 * that are not empty.  So an event has some kilobytes, and the page can subtract two of them
 * and get the quantiles of the time between: gc_metrics_write_json would give those since the
 * start, which after an hour no longer move.  t is a monotonic clock.  An infinite bound is
 * null.
 *
 * Place.  debug.c calls it, from one thread per viewer.
 *
 * Concurrency.  A stream belongs to one thread, which need not be attached: reading metrics
 * stops nobody and takes no lock of the heap.
 *
 * Cost.  One gc_metrics_read and some ten microseconds of printing per event.
 */
#include "stream.h"

#include <gcrt/gcrt.h>

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct stream {
    const gc_metric_desc *desc;
    size_t n;
    gc_metric_sample *samples; /* n of them; histograms are owned */
};

static int
stream_init(struct stream *s)
{
    size_t i;

    s->desc = gc_metrics_all(&s->n);
    s->samples = calloc(s->n, sizeof(*s->samples));
    if (s->samples == NULL)
        return 0;
    for (i = 0; i < s->n; i++) {
        s->samples[i].name = s->desc[i].name;
        s->samples[i].kind = s->desc[i].kind;
        if (s->desc[i].kind != GC_METRIC_HISTOGRAM)
            continue;
        s->samples[i].value.hist = gc_histogram_create(s->desc[i].name);
        if (s->samples[i].value.hist == NULL)
            return 0;
    }
    return 1;
}

struct stream *
stream_create(void)
{
    struct stream *s = calloc(1, sizeof(*s));

    if (s == NULL || stream_init(s))
        return s;
    stream_destroy(s);
    return NULL;
}

void
stream_destroy(struct stream *s)
{
    size_t i;

    if (s == NULL)
        return;
    for (i = 0; s->samples != NULL && i < s->n; i++)
        if (s->desc[i].kind == GC_METRIC_HISTOGRAM)
            gc_histogram_free(s->samples[i].value.hist);
    free(s->samples);
    free(s);
}

/* ---- hello ---- */

static const gc_histogram *
hist_of(const struct stream *s, size_t i)
{
    return s->desc[i].kind == GC_METRIC_HISTOGRAM ? s->samples[i].value.hist : NULL;
}

static int
same_shape(const gc_histogram *a, const gc_histogram *b)
{
    return a->nbuckets == b->nbuckets
            && memcmp(a->bounds, b->bounds, (a->nbuckets + 1) * sizeof(a->bounds[0])) == 0;
}

/* The first metric with the same buckets. */
static size_t
shape_leader(const struct stream *s, size_t i)
{
    size_t j = 0;

    while (hist_of(s, j) == NULL || !same_shape(hist_of(s, j), hist_of(s, i)))
        j++;
    return j;
}

/* The number of the metric's shape among all, in the order of their leaders. */
static size_t
shape_number(const struct stream *s, size_t i)
{
    size_t leader = shape_leader(s, i);
    size_t number = 0;
    size_t j;

    for (j = 0; j < leader; j++)
        number += hist_of(s, j) != NULL && shape_leader(s, j) == j;
    return number;
}

static void
put_bounds(struct text *t, const gc_histogram *hist)
{
    size_t i;

    for (i = 0; i <= hist->nbuckets; i++) {
        text_printf(t, i == 0 ? "[" : ",");
        if (isfinite(hist->bounds[i]))
            text_printf(t, "%.9g", hist->bounds[i]);
        else
            text_printf(t, "null");
    }
    text_printf(t, "]");
}

static void
put_shapes(const struct stream *s, struct text *t)
{
    const char *comma = "";
    size_t i;

    for (i = 0; i < s->n; i++)
        if (hist_of(s, i) != NULL && shape_leader(s, i) == i) {
            text_printf(t, "%s", comma);
            put_bounds(t, hist_of(s, i));
            comma = ",";
        }
}

static const char *
kind_word(gc_metric_kind kind)
{
    return kind == GC_METRIC_HISTOGRAM ? "hist" : kind == GC_METRIC_F64 ? "f64" : "u64";
}

/* Names and sentences of metrics have no character that JSON would escape. */
static void
put_metric(const struct stream *s, size_t i, struct text *t)
{
    const gc_metric_desc *d = &s->desc[i];

    text_printf(t, "%s{\"name\":\"%s\",\"kind\":\"%s\",\"counter\":%s,", i == 0 ? "" : ",",
            d->name, kind_word(d->kind), d->cumulative ? "true" : "false");
    if (d->kind == GC_METRIC_HISTOGRAM)
        text_printf(t, "\"shape\":%zu,", shape_number(s, i));
    text_printf(t, "\"help\":\"%s\"}", d->description);
}

void
stream_hello(const struct stream *s, unsigned interval_ms, struct text *t)
{
    size_t i;

    text_printf(t,
            "event: hello\ndata: {\"pid\":%ld,\"version\":\"%s\",\"interval_ms\":%u,",
            (long)getpid(), GC_VERSION_STRING, interval_ms);
    text_printf(t, "\"shapes\":[");
    put_shapes(s, t);
    text_printf(t, "],\"metrics\":[");
    for (i = 0; i < s->n; i++)
        put_metric(s, i, t);
    text_printf(t, "]}\n\n");
}

/* ---- samples ---- */

static void
put_histogram(struct text *t, const gc_histogram *hist)
{
    const char *comma = "";
    size_t i;

    text_printf(t, "{");
    for (i = 0; i < hist->nbuckets; i++)
        if (hist->counts[i] != 0) {
            text_printf(t, "%s\"%zu\":%" PRIu64, comma, i, hist->counts[i]);
            comma = ",";
        }
    text_printf(t, "}");
}

static void
put_value(struct text *t, const gc_metric_sample *sample)
{
    switch (sample->kind) {
    case GC_METRIC_U64:
        text_printf(t, "%" PRIu64, sample->value.u64);
        return;
    case GC_METRIC_F64:
        text_printf(t, "%.9f", sample->value.f64);
        return;
    case GC_METRIC_HISTOGRAM:
        put_histogram(t, sample->value.hist);
        return;
    default:
        text_printf(t, "null");
    }
}

static uint64_t
clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int
stream_sample(struct stream *s, struct text *t)
{
    gc_stats st;
    size_t i;

    if (gc_metrics_read(NULL, s->samples, s->n) != GC_OK)
        return 0;
    gc_stats_read(NULL, &st);
    text_printf(t, "data: {\"t\":%" PRIu64 ",\"pause_max_ns\":%" PRIu64 ",\"v\":[",
            clock_ms(), st.pause_max_ns);
    for (i = 0; i < s->n; i++) {
        text_printf(t, i == 0 ? "" : ",");
        put_value(t, &s->samples[i]);
    }
    text_printf(t, "]}\n\n");
    return 1;
}
