/* SPDX-License-Identifier: MIT */
/*
 * The server's own account: what serving cost, and what the collector did meanwhile.
 *
 * Place.  main.c takes a mark when the index is loaded and writes the account when it
 * stops, so that loading does not count as serving.  The report program prints it for
 * people.
 *
 * Reading.  Counts and CPU seconds are differences since the mark.  The worst pause is
 * since the start of the process, since a maximum has no difference.  Live, goal and RSS
 * are values of the moment, the peak is the kernel's VmHWM.
 */
#include "stats.h"

#include <gcrt/gcrt.h>

#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double
seconds(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec * 1e-6;
}

static double
metric_f64(const char *name)
{
    gc_metric_sample sample = {name, GC_METRIC_BAD, {0}};

    if (gc_metrics_read(NULL, &sample, 1) != GC_OK || sample.kind != GC_METRIC_F64)
        return 0;
    return sample.value.f64;
}

static uint64_t
metric_u64(const char *name)
{
    gc_metric_sample sample = {name, GC_METRIC_BAD, {0}};

    if (gc_metrics_read(NULL, &sample, 1) != GC_OK || sample.kind != GC_METRIC_U64)
        return 0;
    return sample.value.u64;
}

void
stats_mark(struct stats_mark *ret)
{
    struct timespec now;
    struct rusage usage;
    gc_stats st;

    clock_gettime(CLOCK_MONOTONIC, &now);
    getrusage(RUSAGE_SELF, &usage);
    gc_stats_read(NULL, &st);
    ret->wall_s = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    ret->cpu_s = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    ret->gc_cpu_s = metric_f64("/cpu/classes/gc/total:cpu-seconds");
    ret->cycles = st.num_gc;
    ret->alloc_bytes = st.total_alloc;
}

/* The value of a "Name:   123 kB" line of the kernel's, in bytes; 0 if there is none. */
static uint64_t
status_bytes(const char *name)
{
    FILE *f = fopen("/proc/self/status", "r");
    size_t n = strlen(name);
    uint64_t kib = 0;
    char line[256];

    if (f == NULL)
        return 0;
    while (fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, name, n) == 0 && sscanf(line + n, ": %" SCNu64, &kib) == 1)
            break;
    fclose(f);
    return kib * 1024;
}

static void
put(FILE *out, const char *name, uint64_t value)
{
    fprintf(out, "%s %" PRIu64 "\n", name, value);
}

void
stats_write(FILE *out, const struct stats_mark *since, const struct counters *count,
        uint64_t replaced)
{
    struct stats_mark now;
    gc_stats st;

    stats_mark(&now);
    gc_stats_read(NULL, &st);
    fprintf(out, "serve_s %.6f\n", now.wall_s - since->wall_s);
    fprintf(out, "cpu_s %.6f\n", now.cpu_s - since->cpu_s);
    fprintf(out, "gc_cpu_s %.6f\n", now.gc_cpu_s - since->gc_cpu_s);
    put(out, "gc_cycles", now.cycles - since->cycles);
    put(out, "gc_cycles_loading", since->cycles);
    put(out, "alloc_bytes", now.alloc_bytes - since->alloc_bytes);
    put(out, "pause_max_ns", st.pause_max_ns);
    put(out, "heap_live_bytes", metric_u64("/gc/heap/live:bytes"));
    put(out, "heap_alloc_bytes", st.heap_alloc);
    put(out, "heap_goal_bytes", st.next_gc);
    put(out, "heap_objects", st.heap_objects);
    put(out, "metadata_bytes", st.metadata_sys);
    put(out, "rss_bytes", status_bytes("VmRSS"));
    put(out, "rss_peak_bytes", status_bytes("VmHWM"));
    put(out, "requests", count->requests);
    put(out, "responses_2xx", count->status_2xx);
    put(out, "responses_4xx", count->status_4xx);
    put(out, "responses_5xx", count->status_5xx);
    put(out, "damaged", count->damaged);
    put(out, "timed_out", count->timed_out);
    put(out, "replaced", replaced);
}
