/* SPDX-License-Identifier: MIT */
/*
 * The harness shared by all benchmark programs and all peers.
 *
 * Purpose: clocks, arguments, one JSON line, histograms, gap meters.  Statistics over
 * several runs are not made here: the driver starts the programs in turn and does that.
 * Concurrency: a histogram or gap meter belongs to one thread until it is merged.
 * Cost: a tick is one clock_gettime and a few stores; one in 1024 also a pread.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t
bench_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t
bench_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void
bench_clear_stack(void)
{
    char dead[16384];

    memset(dead, 0, sizeof(dead));
    BENCH_ESCAPE(dead);
}

_Noreturn void
bench_die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(2);
}

void
bench_check(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "bench: wrong result: %s\n", what);
        exit(1);
    }
}

static uint64_t
parse_number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    if (*end == 'k')
        n <<= 10, end++;
    else if (*end == 'm')
        n <<= 20, end++;
    else if (*end == 'g')
        n <<= 30, end++;
    if (end == text || *end != '\0')
        bench_die("a value must be a number, with k, m or g behind it or nothing");
    return n;
}

static _Noreturn void
usage(const char *program, const struct bench_arg *args, size_t nargs)
{
    fprintf(stderr, "usage: %s [name=value ...]\n", program);
    for (size_t i = 0; i < nargs; i++)
        fprintf(stderr, "  %-10s %s (%" PRIu64 ")\n", args[i].name, args[i].help,
                args[i].value);
    exit(2);
}

static struct bench_arg *
find_arg(struct bench_arg *args, size_t nargs, const char *word)
{
    for (size_t i = 0; i < nargs; i++) {
        size_t len = strlen(args[i].name);

        if (strncmp(word, args[i].name, len) == 0 && word[len] == '=')
            return &args[i];
    }
    return NULL;
}

void
bench_args(int argc, char **argv, struct bench_arg *args, size_t nargs)
{
    for (int i = 1; i < argc; i++) {
        struct bench_arg *arg = find_arg(args, nargs, argv[i]);

        if (arg == NULL)
            usage(argv[0], args, nargs);
        arg->value = parse_number(argv[i] + strlen(arg->name) + 1);
    }
}

void
bench_json_begin(const char *program, const char *peer, const char *version)
{
    printf("{\"program\": \"%s\"", program);
    bench_json_text("peer", peer);
    bench_json_text("version", version);
}

void
bench_json_u64(const char *name, uint64_t value)
{
    printf(", \"%s\": %" PRIu64, name, value);
}

void
bench_json_f64(const char *name, double value)
{
    printf(", \"%s\": %.6g", name, value);
}

void
bench_json_text(const char *name, const char *value)
{
    printf(", \"%s\": \"%s\"", name, value);
}

void
bench_json_heap(const struct bench_heap_stats *stats)
{
    bench_json_u64("cycles", stats->cycles);
    bench_json_u64("heap_live_bytes", stats->live_bytes);
    bench_json_u64("heap_sys_bytes", stats->sys_bytes);
}

/* wait4's ru_maxrss would do if it did not also count the parent before exec. */
static uint64_t
peak_rss_kib(void)
{
    char text[4096];
    char *line;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    line = strstr(text, "VmHWM:");
    return line == NULL ? 0 : strtoull(line + strlen("VmHWM:"), NULL, 10);
}

void
bench_json_end(void)
{
    bench_json_u64("peak_rss_kib", peak_rss_kib());
    printf("}\n");
    fflush(stdout);
}

/* Inverse of bench_hist_add: the largest value that falls into the bucket. */
static uint64_t
bucket_upper(size_t i)
{
    size_t shift = i < 16 ? 0 : i / 8 - 1;

    return ((i - shift * 8 + 1) << shift) - 1;
}

void
bench_hist_merge(struct bench_hist *into, const struct bench_hist *from)
{
    for (size_t i = 0; i < BENCH_HIST_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->total += from->total;
    if (from->max > into->max)
        into->max = from->max;
}

uint64_t
bench_hist_quantile(const struct bench_hist *hist, double q)
{
    uint64_t want = (uint64_t)(q * (double)hist->total);
    uint64_t seen = 0;

    if (hist->total == 0)
        return 0;
    for (size_t i = 0; i < BENCH_HIST_BUCKETS; i++) {
        seen += hist->counts[i];
        if (seen > want || seen == hist->total)
            return bucket_upper(i) < hist->max ? bucket_upper(i) : hist->max;
    }
    return hist->max;
}

static void
json_prefixed(const char *prefix, const char *name, uint64_t value)
{
    printf(", \"%s_%s\": %" PRIu64, prefix, name, value);
}

void
bench_json_hist(const char *prefix, const struct bench_hist *hist)
{
    json_prefixed(prefix, "p50_ns", bench_hist_quantile(hist, 0.5));
    json_prefixed(prefix, "p99_ns", bench_hist_quantile(hist, 0.99));
    json_prefixed(prefix, "p999_ns", bench_hist_quantile(hist, 0.999));
    json_prefixed(prefix, "p9999_ns", bench_hist_quantile(hist, 0.9999));
    json_prefixed(prefix, "max_ns", hist->max);
    json_prefixed(prefix, "samples", hist->total);
}

/* The second number of schedstat. */
uint64_t
bench_gaps_delay_ns(const struct bench_gaps *gaps)
{
    char text[96];
    char *second;
    ssize_t n;

    if (gaps->fd < 0)
        return 0;
    do
        n = pread(gaps->fd, text, sizeof(text) - 1, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        bench_die("cannot read schedstat");
    text[n] = '\0';
    second = strchr(text, ' ');
    return second == NULL ? 0 : strtoull(second, NULL, 10);
}

void
bench_gaps_start(struct bench_gaps *gaps)
{
    memset(gaps, 0, sizeof(*gaps));
    gaps->fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    gaps->delay_ns = bench_gaps_delay_ns(gaps);
    gaps->last = bench_now_ns();
}

void
bench_gaps_slow(struct bench_gaps *gaps, uint64_t gap)
{
    uint64_t delay = bench_gaps_delay_ns(gaps);
    uint64_t waited = delay - gaps->delay_ns;
    uint64_t own = gap > waited ? gap - waited : 0;

    gaps->delay_ns = delay;
    gaps->over_100us += gap > 100000;
    gaps->over_1ms += gap > 1000000;
    gaps->own_over_100us += own > 100000;
    gaps->own_over_1ms += own > 1000000;
    if (own > gaps->own_max_ns)
        gaps->own_max_ns = own;
    gaps->last = bench_now_ns();
}

void
bench_gaps_merge(struct bench_gaps *into, const struct bench_gaps *from)
{
    bench_hist_merge(&into->all, &from->all);
    into->ticks += from->ticks;
    if (from->own_max_ns > into->own_max_ns)
        into->own_max_ns = from->own_max_ns;
    into->over_100us += from->over_100us;
    into->over_1ms += from->over_1ms;
    into->own_over_100us += from->own_over_100us;
    into->own_over_1ms += from->own_over_1ms;
}

void
bench_json_gaps(const char *prefix, const struct bench_gaps *gaps)
{
    bench_json_hist(prefix, &gaps->all);
    json_prefixed(prefix, "own_max_ns", gaps->own_max_ns);
    json_prefixed(prefix, "over_100us", gaps->over_100us);
    json_prefixed(prefix, "over_1ms", gaps->over_1ms);
    json_prefixed(prefix, "own_over_100us", gaps->own_over_100us);
    json_prefixed(prefix, "own_over_1ms", gaps->own_over_1ms);
}
