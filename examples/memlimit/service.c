/* SPDX-License-Identifier: MIT */
/*
 * A service whose live set is constant and whose every operation makes garbage.
 *
 * A map of entries, each with a body of 16 to 1023 bytes.  An operation reads some entries at
 * random and replaces one.  Each thread replaces entries of its own, and all read all.
 *
 * The memory limit is a percentage of what the full map needs: all that is mapped when it has
 * been filled and collected, but for free pages.
 */
#define _GNU_SOURCE
#include "service.h"

#include <gcrt/gcrt.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BODY_MIN   16
#define BODY_MAX   1023
#define INTERVAL_S 0.1

struct entry {
    uint64_t key;
    unsigned char *body;
};
GC_TYPE(entry_type, struct entry, body);

static struct entry **map; /* root */
static size_t entries;

struct worker {
    pthread_t thread;
    const struct service_options *opt;
    uint64_t random;
    unsigned index;
    atomic_uint_fast64_t operations;
    uint64_t sum; /* so that reads are not optimized away */
};

static atomic_int stop;

static double
seconds_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t
next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- operations ---- */

static void
replace(size_t i, uint64_t random)
{
    struct entry *e = gc_alloc(&entry_type);
    size_t n = BODY_MIN + random % (BODY_MAX - BODY_MIN + 1);

    e->key = random;
    e->body = gc_alloc_bytes(n);
    e->body[n - 1] = (unsigned char)random;
    gc_write(&map[i], e);
}

static void *
work(void *arg)
{
    struct worker *w = arg;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t random = next_random(&w->random);
        size_t mine = random / 4 % (entries / w->opt->threads);

        for (unsigned i = 0; i < w->opt->reads; i++) {
            struct entry *e = map[next_random(&w->random) % entries];

            w->sum += e->body[BODY_MIN - 1] + e->key;
        }
        replace(mine * w->opt->threads + w->index, random);
        atomic_fetch_add_explicit(&w->operations, 1, memory_order_relaxed);
    }
    return NULL;
}

static void
fill(uint64_t live_bytes)
{
    uint64_t random = 88172645463325252u;

    entries = live_bytes / (sizeof(struct entry) + (BODY_MIN + BODY_MAX) / 2);
    gc_write(&map, gc_alloc_array(&gc_pointer_type, entries));
    for (size_t i = 0; i < entries; i++)
        replace(i, next_random(&random));
}

/* ---- looking ---- */

enum { TOTAL, RELEASED, FREE, GOAL, CYCLES, GC, IDLE, WAITS, NMETRICS };

static void
look(gc_metric_sample m[NMETRICS])
{
    static const char *const names[NMETRICS] = {
        [TOTAL] = "/memory/classes/total:bytes",
        [RELEASED] = "/memory/classes/heap/released:bytes",
        [FREE] = "/memory/classes/heap/free:bytes",
        [GOAL] = "/gc/heap/goal:bytes",
        [CYCLES] = "/gc/cycles/total:gc-cycles",
        [GC] = "/cpu/classes/gc/total:cpu-seconds",
        [IDLE] = "/cpu/classes/gc/mark/idle:cpu-seconds",
        [WAITS] = "/gc/assist/throttled:seconds",
    };

    for (int i = 0; i < NMETRICS; i++)
        m[i].name = names[i];
    if (gc_metrics_read(NULL, m, NMETRICS) != GC_OK)
        fprintf(stderr, "memlimit: %s\n", gc_last_error());
}

static uint64_t
rss_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void
say(double seconds, uint64_t operations)
{
    gc_metric_sample m[NMETRICS];
    double idle, waits;

    look(m);
    idle = m[IDLE].value.f64;
    waits = m[WAITS].value.f64;
    printf("%.3f %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %.6f %.6f\n",
            seconds, rss_bytes(), m[TOTAL].value.u64 - m[RELEASED].value.u64,
            m[GOAL].value.u64, operations, m[CYCLES].value.u64,
            m[GC].value.f64 - idle + waits,
            seconds_of(CLOCK_PROCESS_CPUTIME_ID) - idle + waits);
}

/* ---- the run ---- */

static void
sample_until_end(const struct service_options *opt, struct worker *workers)
{
    double start = seconds_of(CLOCK_MONOTONIC), now = start;

    for (int i = 0; now - start < opt->seconds; i++) {
        uint64_t operations = 0;
        double left = start + i * INTERVAL_S - now;

        if (left > 0)
            usleep((useconds_t)(left * 1e6));
        for (unsigned w = 0; w < opt->threads; w++)
            operations += atomic_load(&workers[w].operations);
        now = seconds_of(CLOCK_MONOTONIC);
        say(now - start, operations);
    }
}

static int
serve(const struct service_options *opt)
{
    struct worker workers[64] = {{0}};
    unsigned n = 0;

    for (; n < opt->threads; n++) {
        workers[n].opt = opt;
        workers[n].index = n;
        workers[n].random = 0x9e3779b97f4a7c15u * (n + 1);
        if (gc_pthread_create(&workers[n].thread, NULL, work, &workers[n]) != GC_OK)
            break;
    }
    gc_block_enter();
    if (n == opt->threads)
        sample_until_end(opt, workers);
    atomic_store(&stop, 1);
    for (unsigned i = 0; i < n; i++)
        pthread_join(workers[i].thread, NULL);
    gc_block_leave();
    if (n < opt->threads)
        fprintf(stderr, "memlimit: %s\n", gc_last_error());
    return n == opt->threads ? 0 : 1;
}

/* What the map needs: no collection can do with less. */
static uint64_t
needed(void)
{
    gc_metric_sample m[NMETRICS];

    gc_collect(NULL);
    look(m);
    return m[TOTAL].value.u64 - m[RELEASED].value.u64 - m[FREE].value.u64;
}

int
service_run(const struct service_options *opt)
{
    gc_options options;
    uint64_t limit;
    int status;

    if (gc_options_from_env(&options) != GC_OK) {
        fprintf(stderr, "memlimit: %s\n", gc_last_error());
        return 1;
    }
    options.limiter_percent = (uint32_t)opt->cap;
    options.gogc = GC_GOGC_OFF; /* filling makes no garbage */
    if (gc_init(&options) != GC_OK || gc_root_add(&map, sizeof(map)) != GC_OK) {
        fprintf(stderr, "memlimit: %s\n", gc_last_error());
        return 1;
    }
    fill(opt->live_bytes);
    limit = needed() / 100 * (uint64_t)opt->percent;
    (void)gc_set_memory_limit(NULL, (int64_t)limit);
    (void)gc_set_gogc(NULL, 100);
    printf("limit %" PRIu64 "\n", limit);
    status = serve(opt);
    gc_root_remove(&map);
    gc_shutdown();
    return status;
}
