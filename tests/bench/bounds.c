/* SPDX-License-Identifier: MIT */
/*
 * What this machine's memory can do: the bounds of marking and of scaling, without a collector.
 *
 *     copy    memcpy of one half of the memory to the other: bytes read and written
 *     read    a sum over all of it: bytes read
 *     chase   each load's address comes from the load before: the time of one miss, as for a
 *             list in no order
 *     gather  loads at random places, prefetched 32 loads ahead: the time of a miss where
 *             others are under way, as for a graph
 *
 * One thread.  A collection that misses m times per object cannot take less than m times
 * gather_ns for each, and one that reads b bytes of it not less than b / read_gb_per_s.  Each
 * number is the best of `reps`, but the last two are means.
 */
#define _GNU_SOURCE /* madvise */

#include "support/bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LINE     8 /* words of a cache line */
#define ACCESSES ((uint64_t)1 << 22)
#define AHEAD    32

#define HUGE_PAGE ((size_t)2 << 20)

struct memory {
    uint64_t *words, n; /* whole huge pages */
};

/* A cycle through all lines in random order (Sattolo's shuffle): the first words link them. */
static void
make_cycle(const struct memory *m, uint64_t *seed)
{
    uint64_t lines = m->n / LINE;

    for (uint64_t i = 0; i < m->n; i++)
        m->words[i] = i;
    for (uint64_t i = lines - 1; i > 0; i--) {
        uint64_t j = bench_random_below(seed, i), old = m->words[i * LINE];

        m->words[i * LINE] = m->words[j * LINE];
        m->words[j * LINE] = old;
    }
}

static uint64_t
run_copy(const struct memory *m)
{
    memcpy(m->words, m->words + m->n / 2, m->n / 2 * sizeof(uint64_t));
    return m->words[0];
}

static uint64_t
run_read(const struct memory *m)
{
    uint64_t sum[4] = {0};

    for (uint64_t i = 0; i < m->n; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += m->words[i + (uint64_t)k];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

static uint64_t
run_chase(const struct memory *m)
{
    uint64_t at = 0;

    for (uint64_t i = 0; i < ACCESSES; i++)
        at = m->words[at];
    return at;
}

static uint64_t
run_gather(const struct memory *m)
{
    uint64_t places[AHEAD] = {0}, seed = 1, sum = 0, lines = m->n / LINE;

    for (uint64_t i = 0; i < ACCESSES; i++) {
        uint64_t *place = &places[i % AHEAD];

        sum += m->words[*place];
        *place = bench_random_below(&seed, lines) * LINE;
        __builtin_prefetch(&m->words[*place]);
    }
    return sum;
}

/* ---- one word for all ---- */

#define THREADS_MAX 256
#define ADDITIONS   ((uint64_t)1 << 24)

static uint64_t counter __attribute__((aligned(128)));
static pthread_barrier_t all_there;

static void *
add_to_counter(void *arg)
{
    (void)arg;
    pthread_barrier_wait(&all_there);
    for (uint64_t i = 0; i < ADDITIONS; i++)
        __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED);
    return NULL;
}

/* Of all repetitions together: the best one would be that in which they met least. */
static double
ns_per_addition(uint64_t nthreads, uint64_t reps)
{
    pthread_t threads[THREADS_MAX];
    uint64_t start = bench_now_ns();

    for (uint64_t r = 0; r < reps; r++) {
        if (pthread_barrier_init(&all_there, NULL, (unsigned)nthreads) != 0)
            bench_die("no barrier");
        for (uint64_t i = 0; i < nthreads; i++)
            if (pthread_create(&threads[i], NULL, add_to_counter, NULL) != 0)
                bench_die("no thread");
        for (uint64_t i = 0; i < nthreads; i++)
            pthread_join(threads[i], NULL);
        pthread_barrier_destroy(&all_there);
    }
    return (double)(bench_now_ns() - start) / (double)(reps * nthreads * ADDITIONS);
}

/* ---- the program ---- */

static uint64_t
best_ns(uint64_t (*run)(const struct memory *), const struct memory *m, uint64_t reps)
{
    uint64_t best = UINT64_MAX;

    for (uint64_t i = 0; i < reps; i++) {
        uint64_t start = bench_now_ns(), result = run(m), spent = bench_now_ns() - start;

        BENCH_ESCAPE(&result);
        best = spent < best ? spent : best;
    }
    return best;
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"bytes", 1 << 30, "bytes of memory"},
            {"reps", 5, "repetitions"},
            {"huge", 1, "1: ask for huge pages, as gcrt's heap does; 0: for none"},
            {"threads", 2, "threads that share a word"},
    };
    struct memory m;
    uint64_t seed = 1, reps;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    reps = args[1].value;
    m.n = args[0].value / HUGE_PAGE * (HUGE_PAGE / sizeof(uint64_t));
    m.words = aligned_alloc(HUGE_PAGE, m.n * sizeof(uint64_t));
    if (m.words == NULL || m.n == 0 || reps < 1)
        bench_die("bytes must be at least 2m, reps at least 1, and memory be there");
    if (args[3].value < 1 || args[3].value > THREADS_MAX)
        bench_die("threads must be 1 to 256");
    (void)madvise(m.words, m.n * sizeof(uint64_t),
            args[2].value != 0 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    make_cycle(&m, &seed);
    bench_json_begin("bounds", "machine", "1");
    bench_json_f64("chase_ns", (double)best_ns(run_chase, &m, reps) / (double)ACCESSES);
    bench_json_f64("gather_ns", (double)best_ns(run_gather, &m, reps) / (double)ACCESSES);
    bench_json_f64("read_gb_per_s", (double)m.n * 8 / (double)best_ns(run_read, &m, reps));
    bench_json_f64("copy_gb_per_s", (double)m.n * 8 / (double)best_ns(run_copy, &m, reps));
    bench_json_f64("alone_ns", ns_per_addition(1, reps));
    bench_json_f64("shared_ns", ns_per_addition(args[3].value, reps));
    bench_json_end();
    free(m.words);
    return 0;
}
