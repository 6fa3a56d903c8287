/* SPDX-License-Identifier: MIT */
/*
 * Metrics: reading by any name, and the text forms of any numbers.
 *
 * Oracle: a strict reader of each form, written from the forms' own rules.  What it reads
 * must be the numbers of the snapshot: exact values, histograms whose buckets rise to their
 * count, quantiles as a naive search finds them.  A sink that refuses after some bytes gets
 * a prefix and is not called again.  gc_metrics_read must know a name exactly if it is in
 * the list that gc_metrics_all gives, and fill only what has the right shape.
 */
#include "heap.h"

#include <ctype.h>

#include "metrics/export.h"
#include "metrics/histogram.h"

#define TEXT_MAX ((size_t)256 << 10)
#define NANOS    1000000000u

static struct snapshot snapshot;
static struct timehist times[4];
static gc_heap *heap;

/* ---- a sink ---- */

struct page {
    char *bytes;
    size_t used, limit;
    bool refused;
};

static int
write_page(void *arg, const char *bytes, size_t n)
{
    struct page *page = arg;

    FUZZ_CHECK(!page->refused, "called again after it refused");
    FUZZ_CHECK(n > 0, "an empty write");
    if (n > page->limit - page->used) {
        page->refused = true;
        return -1;
    }
    memcpy(page->bytes + page->used, bytes, n);
    page->used += n;
    page->bytes[page->used] = '\0';
    return 0;
}

/* ---- reading text ---- */

static void
expect(const char **at, const char *text)
{
    size_t n = strlen(text);

    FUZZ_CHECK(strncmp(*at, text, n) == 0, "'%s' expected at: %.80s", text, *at);
    *at += n;
}

/* A decimal number in units of 1/scale; scale 1 means an integer. */
static unsigned __int128
decimal(const char **at, unsigned scale)
{
    const char *start = *at;
    unsigned __int128 value = 0;

    FUZZ_CHECK(isdigit((unsigned char)**at), "a digit expected at: %.80s", *at);
    for (; isdigit((unsigned char)**at); (*at)++)
        value = value * 10 + (unsigned)(**at - '0');
    FUZZ_CHECK(*start != '0' || *at == start + 1, "a leading zero at: %.80s", start);
    value *= scale;
    if (**at != '.')
        return value;
    FUZZ_CHECK(isdigit((unsigned char)*++*at), "a digit expected at: %.80s", start);
    for (; isdigit((unsigned char)**at); (*at)++) {
        scale /= 10;
        FUZZ_CHECK(scale > 0, "too many decimals at: %.80s", start);
        value += (unsigned)(**at - '0') * scale;
    }
    return value;
}

static void
expect_value(const char **at, enum metric_source source, uint64_t want)
{
    bool seconds = source == SOURCE_SECONDS || source == SOURCE_TIMES;
    const char *start = *at;

    FUZZ_CHECK(decimal(at, seconds ? NANOS : 1) == want, "%llu expected at: %.80s",
            (unsigned long long)want, start);
}

/* ---- what is true ---- */

static const struct timehist *
timehist_of(const struct metric *m)
{
    return *(const struct timehist *const *)(const void *)((const char *)&snapshot
            + m->offset);
}

static size_t
buckets_of(const struct metric *m)
{
    return m->source == SOURCE_TIMES ? TIMEHIST_BUCKETS : NUM_CLASSES;
}

/* The samples of bucket i, and in *bound what its values are below; the last has no bound. */
static uint64_t
bucket(const struct metric *m, size_t i, uint64_t *bound)
{
    bool last = i + 1 == buckets_of(m);
    uint64_t n;

    if (m->source == SOURCE_TIMES) {
        *bound = last ? UINT64_MAX : timehist_lower_ns((unsigned)i + 1);
        return aword_load_relaxed(&timehist_of(m)->counts[i]);
    }
    *bound = last ? UINT64_MAX : gcrt_class_bytes[i + 1] + (uint64_t)1;
    memcpy(&n, (const char *)&snapshot + m->offset + (last ? CLASS_LARGE : i + 1) * 8, 8);
    return n;
}

/*
 * The samples that are at most le, counted on from bucket *i, which is moved up.  The last
 * bucket counted must end just there, or nobody could say how many they are.
 */
static uint64_t
count_up_to(const struct metric *m, uint64_t le, size_t *i)
{
    uint64_t n = 0, bound, end = 0;

    for (; *i < buckets_of(m); (*i)++) {
        uint64_t here = bucket(m, *i, &bound);

        if (bound > 0 && bound - 1 > le)
            break;
        n += here;
        end = bound;
    }
    FUZZ_CHECK(end - 1 == le || le == UINT64_MAX, "no bucket ends at %llu",
            (unsigned long long)le);
    return n;
}

static uint64_t
total_of(const struct metric *m)
{
    size_t i = 0;

    return count_up_to(m, UINT64_MAX, &i);
}

/*
 * The bound below which the share lies: the lowest one that enough samples are below.  Sizes below
 * it are that of its class at most.
 */
static uint64_t
quantile(const struct metric *m, unsigned permille)
{
    uint64_t total = total_of(m), below = 0, bound = 0;
    unsigned __int128 want = ((unsigned __int128)total * permille + 999) / 1000;

    for (size_t i = 0; total > 0 && i + 1 < buckets_of(m); i++) {
        below += bucket(m, i, &bound);
        if (below >= want)
            return m->source == SOURCE_SIZES ? bound - 1 : bound;
    }
    return bound; /* of all but the open bucket, if none is enough: its lower bound */
}

static uint64_t
sum_of(const gc_metric_desc *d, const struct metric *m)
{
    if (m->source == SOURCE_TIMES)
        return aword_load_relaxed(&timehist_of(m)->total_ns);
    return strstr(d->name, "allocs") != NULL ? snapshot.allocs_bytes : snapshot.frees_bytes;
}

static uint64_t
number_of(const struct metric *m)
{
    uint64_t x;

    memcpy(&x, (const char *)&snapshot + m->offset, sizeof(x));
    return x;
}

/* ---- Prometheus ---- */

static void
prometheus_name(const gc_metric_desc *d, const char *suffix, char name[128])
{
    snprintf(name, 128, "gcrt%s%s", d->name, suffix);
    for (char *c = name; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
}

static void
read_histogram(const char **at, const gc_metric_desc *d, const struct metric *m,
        const char *name, bool open_metrics)
{
    char head[160];
    uint64_t below = 0, bound = 0;
    bool first = true, open = false;
    size_t next = 0;

    snprintf(head, sizeof(head), "%s_bucket{le=\"", name);
    while (strncmp(*at, head, strlen(head)) == 0) {
        uint64_t le = UINT64_MAX, n;

        FUZZ_CHECK(!open, "a bucket after the last: %.80s", *at);
        *at += strlen(head);
        if (strncmp(*at, "+Inf", 4) == 0) {
            open = true;
            *at += 4;
        } else {
            le = (uint64_t)decimal(
                    at, m->source == SOURCE_TIMES ? NANOS : open_metrics ? 10 : 1);
            if (open_metrics && m->source == SOURCE_SIZES) {
                FUZZ_CHECK(strncmp(*at - 2, ".0", 2) == 0, "no floating point: %.80s", *at);
                le /= 10;
            }
            FUZZ_CHECK(first || le > bound, "bounds do not rise: %.80s", *at);
        }
        expect(at, "\"} ");
        n = (uint64_t)decimal(at, 1);
        expect(at, "\n");
        below += count_up_to(m, le, &next);
        FUZZ_CHECK(n == below, "%s: %llu up to %llu, not %llu", name, (unsigned long long)n,
                (unsigned long long)le, (unsigned long long)below);
        bound = le;
        first = false;
    }
    FUZZ_CHECK(open, "%s has no last bucket", name);
    expect(at, name);
    expect(at, "_sum ");
    expect_value(at, m->source, sum_of(d, m));
    expect(at, "\n");
    expect(at, name);
    expect(at, "_count ");
    expect_value(at, SOURCE_U64, below);
    expect(at, "\n");
}

/* Gauges by size class: bytes of so many slots. */
static void
read_classes(const char **at, const struct metric *m, const char *name)
{
    for (size_t i = 0; i + 1 < NUM_CLASSES; i++) {
        uint64_t bound, n = bucket(m, i, &bound);

        expect(at, name);
        expect(at, "{size=\"");
        expect_value(at, SOURCE_U64, bound - 1);
        expect(at, "\"} ");
        expect_value(at, SOURCE_U64, n * (bound - 1));
        expect(at, "\n");
    }
}

static void
expect_meta(const char **at, const char *what, const char *name, const char *text)
{
    expect(at, "# ");
    expect(at, what);
    expect(at, " ");
    expect(at, name);
    expect(at, " ");
    expect(at, text);
    expect(at, "\n");
}

static void
read_family(const char **at, const gc_metric_desc *d, const struct metric *m, bool open_metrics)
{
    bool histogram = d->kind == GC_METRIC_HISTOGRAM;
    const char *total = d->cumulative && !histogram ? "_total" : "";
    char family[128], name[128], unit[64];

    prometheus_name(d, open_metrics ? "" : total, family);
    prometheus_name(d, total, name);
    expect_meta(at, "HELP", family, d->description);
    expect_meta(at, "TYPE", family,
            !d->cumulative ? "gauge" : histogram ? "histogram" : "counter");
    snprintf(unit, sizeof(unit), "%s", strchr(d->name, ':') + 1);
    for (char *c = unit; *c != '\0'; c++)
        *c = *c == '-' ? '_' : *c;
    if (open_metrics)
        expect_meta(at, "UNIT", family, unit);
    if (histogram && d->cumulative) {
        read_histogram(at, d, m, name, open_metrics);
    } else if (histogram) {
        read_classes(at, m, name);
    } else {
        expect(at, name);
        expect(at, " ");
        expect_value(at, m->source, number_of(m));
        expect(at, "\n");
    }
}

static void
read_prometheus(const char *at)
{
    for (size_t i = 0; i < gcrt_metrics_count; i++)
        read_family(&at, &gcrt_metrics_desc[i], &gcrt_metrics_table[i], false);
    FUZZ_CHECK(*at == '\0', "something follows: %.80s", at);
}

static void
read_openmetrics(const char *at)
{
    for (size_t i = 0; i < gcrt_metrics_count; i++)
        read_family(&at, &gcrt_metrics_desc[i], &gcrt_metrics_table[i], true);
    expect(&at, "# EOF\n");
    FUZZ_CHECK(*at == '\0', "something follows: %.80s", at);
}

/* ---- JSON ---- */

static void
blanks(const char **at)
{
    *at += strspn(*at, " \t\r\n");
}

static void
member(const char **at, const char *name, bool first)
{
    blanks(at);
    expect(at, first ? "{" : ",");
    blanks(at);
    expect(at, "\"");
    expect(at, name);
    expect(at, "\"");
    blanks(at);
    expect(at, ":");
    blanks(at);
}

static void
read_summary(const char **at, const struct metric *m)
{
    uint64_t max = m->source == SOURCE_TIMES ? aword_load_relaxed(&timehist_of(m)->max_ns)
                                             : quantile(m, 1000);

    member(at, "count", true);
    expect_value(at, SOURCE_U64, total_of(m));
    member(at, "p50", false);
    expect_value(at, m->source, quantile(m, 500));
    member(at, "p99", false);
    expect_value(at, m->source, quantile(m, 990));
    member(at, "p999", false);
    expect_value(at, m->source, quantile(m, 999));
    member(at, "max", false);
    expect_value(at, m->source, max);
    blanks(at);
    expect(at, "}");
}

static void
read_json(const char *at)
{
    for (size_t i = 0; i < gcrt_metrics_count; i++) {
        const struct metric *m = &gcrt_metrics_table[i];

        member(&at, gcrt_metrics_desc[i].name, i == 0);
        if (gcrt_metrics_desc[i].kind == GC_METRIC_HISTOGRAM)
            read_summary(&at, m);
        else
            expect_value(&at, m->source, number_of(m));
    }
    blanks(&at);
    expect(&at, "}");
    blanks(&at);
    FUZZ_CHECK(*at == '\0', "something follows: %.80s", at);
}

/* ---- any snapshot ---- */

/* Counts stay so low that their sum is no overflow; all else may be anything. */
static void
take_snapshot(struct input *in)
{
    uint64_t *words = (uint64_t *)(void *)&snapshot;
    size_t pointers = offsetof(struct snapshot, pauses) / 8;
    size_t derived = offsetof(struct snapshot, cycles) / 8;

    for (size_t i = 0; i < sizeof(snapshot) / 8; i++)
        words[i] = i >= pointers && i < derived ? 0 : take_number(in);
    for (size_t i = 0; i < NUM_CLASSES; i++) {
        snapshot.allocs[i] >>= 16;
        snapshot.frees[i] >>= 16;
        snapshot.unused[i] >>= 16;
    }
    memset(times, 0, sizeof(times));
    for (size_t n = take8(in); n > 0 && more(in); n--) {
        struct timehist *h = &times[take_below(in, COUNT_OF(times))];

        timehist_add(h, take_number(in));
        aword_store_relaxed(
                &h->counts[take_below(in, TIMEHIST_BUCKETS)], take_number(in) >> 16);
    }
    snapshot.pauses = &times[0];
    snapshot.assists = &times[1];
    snapshot.assists_cpu = &times[2];
    snapshot.assist_threads = &times[3];
    snapshot.throttle_waits = &times[0];
    snapshot.reach = &times[1];
    for (size_t i = 0; i < ACTION_COUNT; i++) {
        snapshot.pause[i] = &times[2 + i % 2];
        snapshot.latency[i] = &times[i % 4];
    }
}

static void
write_both_ways(struct input *in,
        gc_status (*write)(const struct snapshot *, const gc_sink *),
        void (*read)(const char *))
{
    static char whole[TEXT_MAX + 1], part[TEXT_MAX + 1];
    struct page all = {.bytes = whole, .limit = TEXT_MAX};
    struct page some = {.bytes = part};
    const gc_sink to_all = {write_page, &all}, to_some = {write_page, &some};
    gc_status status = write(&snapshot, &to_all);

    FUZZ_CHECK(status == GC_OK && strlen(whole) == all.used, "status %d", (int)status);
    read(whole);
    some.limit = take32(in) % (all.used + 2);
    status = write(&snapshot, &to_some);
    FUZZ_CHECK(status == (some.limit < all.used ? GC_ERR_SINK : GC_OK), "status %d",
            (int)status);
    FUZZ_CHECK(some.refused == (status != GC_OK), "refused");
    FUZZ_CHECK(memcmp(part, whole, some.used) == 0, "no prefix");
}

/* ---- reading by name ---- */

/* A known name, one that is a little off, or any bytes. */
static void
take_name(struct input *in, char name[64])
{
    unsigned shape = take8(in);

    snprintf(name, 64, "%s", gcrt_metrics_desc[take_below(in, gcrt_metrics_count)].name);
    if (shape % 4 == 0)
        name[take_below(in, strlen(name))] = (char)take8(in);
    if (shape % 16 == 1)
        for (size_t i = 0; i < 63; i++)
            name[i] = (char)take8(in);
}

static const gc_metric_desc *
find(const char *name)
{
    size_t n;
    const gc_metric_desc *all = gc_metrics_all(&n);

    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    return NULL;
}

static void
check_sample(const gc_metric_sample *sample, const gc_histogram *given)
{
    const gc_metric_desc *d = find(sample->name);
    gc_histogram *shape = gc_histogram_create(sample->name);
    gc_metric_kind want = d == NULL ? GC_METRIC_BAD : d->kind;

    FUZZ_CHECK((shape != NULL) == (want == GC_METRIC_HISTOGRAM), "%s", sample->name);
    if (want == GC_METRIC_HISTOGRAM
            && (given == NULL || given->nbuckets != shape->nbuckets))
        want = GC_METRIC_BAD;
    FUZZ_CHECK(sample->kind == want, "%s reads as %d", sample->name, (int)sample->kind);
    if (want == GC_METRIC_F64)
        FUZZ_CHECK(sample->value.f64 >= 0, "%s is %g", sample->name, sample->value.f64);
    gc_histogram_free(shape);
}

static void
read_by_name(struct input *in)
{
    enum {
        MOST = 6
    };
    gc_metric_sample samples[MOST], again[MOST];
    gc_histogram *given[MOST] = {NULL};
    char names[MOST][64];
    size_t n = take_below(in, MOST + 1);

    for (size_t i = 0; i < n; i++) {
        char other[64];

        take_name(in, names[i]);
        take_name(in, other);
        given[i] = gc_histogram_create(take8(in) % 4 == 0 ? other : names[i]);
        samples[i] =
                (gc_metric_sample){.name = names[i], .kind = (gc_metric_kind)take8(in)};
        samples[i].value.hist = given[i];
    }
    memcpy(again, samples, sizeof(again));
    FUZZ_CHECK(gc_metrics_read(heap, samples, n) == GC_OK, "%s", gc_last_error());
    FUZZ_CHECK(gc_metrics_read(heap, again, n) == GC_OK, "%s", gc_last_error());
    for (size_t i = 0; i < n; i++) {
        const gc_metric_desc *d = find(names[i]);

        check_sample(&samples[i], given[i]);
        if (d != NULL && d->cumulative && samples[i].kind == GC_METRIC_U64)
            FUZZ_CHECK(
                    again[i].value.u64 >= samples[i].value.u64, "%s went back", names[i]);
        if (d != NULL && d->cumulative && samples[i].kind == GC_METRIC_F64)
            FUZZ_CHECK(
                    again[i].value.f64 >= samples[i].value.f64, "%s went back", names[i]);
    }
    if (n > 0) {
        samples[n - 1].name = NULL;
        FUZZ_CHECK(
                gc_metrics_read(heap, samples, n) == GC_ERR_INVAL, "read without a name");
        FUZZ_CHECK(gc_metrics_read(heap, NULL, n) == GC_ERR_INVAL, "read without samples");
    }
    for (size_t i = 0; i < n; i++)
        gc_histogram_free(given[i]);
}

static void
finish(void)
{
    FUZZ_CHECK(gc_heap_destroy(heap) == GC_OK, "%s", gc_last_error());
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    unsigned what;

    if (heap == NULL) {
        gc_options opt;

        small_heap(&opt);
        FUZZ_CHECK(gc_heap_create(&opt, &heap) == GC_OK, "%s", gc_last_error());
        atexit(finish);
    }
    what = take8(&in) % 4;
    if (what == 0) {
        read_by_name(&in);
        return 0;
    }
    take_snapshot(&in);
    if (what == 1)
        write_both_ways(&in, gcrt_export_prometheus, read_prometheus);
    else if (what == 2)
        write_both_ways(&in, gcrt_export_json, read_json);
    else
        write_both_ways(&in, gcrt_export_openmetrics, read_openmetrics);
    return 0;
}
