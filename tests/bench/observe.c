/* SPDX-License-Identifier: MIT */
/*
 * What does it cost to be watched?
 *
 * One thread builds trees of 16-byte objects and does nothing else, under a stack of `frames`
 * callers: the most that one thread can allocate, so a bound for every other program.  A round
 * with an observer and one without take turns, `pairs` times, the first of a pair by turns, and
 * each pair gives one ratio of CPU times; the middle one is what the observer costs, and the
 * quartiles say how much of it is noise.
 *
 * observer: 0 the heap profile (at a small rate= a sample's own cost shows), 1 the flight
 * recorder, 2 nobody (the method's own error).
 */
#include "peers/gcrt.h"

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define DEPTH     8
#define PAIRS_MAX 100000

enum observer { PROFILE, RECORDER, NOBODY, NOBSERVERS };

struct node {
    struct node *left, *right;
};

GC_TYPE(node_type, struct node, left, right);

static double ratios[PAIRS_MAX];
static size_t profile_rate;

static uint64_t
thread_cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static BENCH_NOINLINE struct node *
build(unsigned depth)
{
    struct node *node = gc_alloc(&node_type);

    if (depth > 0) {
        gc_write(&node->left, build(depth - 1));
        gc_write(&node->right, build(depth - 1));
    }
    return node;
}

/* Calls itself so that the stack has the frames that a real caller would have. */
static BENCH_NOINLINE void
round_of_trees(uint64_t frames, uint64_t trees)
{
    if (frames > 0)
        round_of_trees(frames - 1, trees);
    else
        for (uint64_t i = 0; i < trees; i++)
            BENCH_ESCAPE(build(DEPTH));
    BENCH_ESCAPE(&frames); /* no tail call */
}

static void
watch(enum observer observer, bool on)
{
    static const gc_recorder_options defaults;

    if (observer == PROFILE)
        gc_set_profile_rate(NULL, on ? profile_rate : 0);
    else if (observer == RECORDER && on)
        bench_check(gc_recorder_start(NULL, &defaults) == GC_OK, "gc_recorder_start");
    else if (observer == RECORDER)
        gc_recorder_stop(NULL);
}

static uint64_t
timed_round(enum observer observer, bool on, uint64_t frames, uint64_t trees)
{
    uint64_t start;

    watch(observer, on);
    round_of_trees(frames, 1 + trees / 16); /* runs that were prepared for the other round end */
    start = thread_cpu_ns();
    round_of_trees(frames, trees);
    return thread_cpu_ns() - start;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"observer", PROFILE, "0 heap profile, 1 flight recorder, 2 nobody"},
            {"pairs", 201, "rounds with and without"},
            {"trees", 4000, "trees of 511 objects a round"},
            {"frames", 8, "callers above the trees"},
            {"rate", 512 << 10, "the heap profile's bytes between two samples"},
    };
    uint64_t plain_ns = 0, pairs, bytes;
    enum observer observer;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    if (args[0].value >= NOBSERVERS || args[1].value < 1 || args[1].value > PAIRS_MAX)
        bench_die("observer must be 0 to 2, pairs 1 to 100000");
    observer = (enum observer)args[0].value;
    pairs = args[1].value;
    profile_rate = args[4].value;
    bytes = args[2].value * ((2u << DEPTH) - 1) * sizeof(struct node);
    peer_init();
    for (uint64_t i = 0; i < pairs; i++) {
        uint64_t first = timed_round(observer, i % 2 == 0, args[3].value, args[2].value);
        uint64_t second = timed_round(observer, i % 2 != 0, args[3].value, args[2].value);

        plain_ns += i % 2 == 0 ? second : first;
        ratios[i] = i % 2 == 0 ? (double)first / (double)second : (double)second / (double)first;
    }
    qsort(ratios, pairs, sizeof ratios[0], by_size);
    bench_json_begin("observe", PEER_NAME, peer_version());
    bench_json_u64("observer", observer);
    bench_json_f64("gb_per_s", (double)(bytes * pairs) / (double)plain_ns);
    bench_json_f64("cost_percent", 100 * (ratios[pairs / 2] - 1));
    bench_json_f64("cost_percent_low", 100 * (ratios[pairs / 4] - 1));
    bench_json_f64("cost_percent_high", 100 * (ratios[pairs * 3 / 4] - 1));
    bench_json_end();
    peer_finish();
    return 0;
}
