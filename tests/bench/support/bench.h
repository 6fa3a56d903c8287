/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_H
#define GCRT_TESTS_BENCH_H

/*
 * What every benchmark program needs and no peer defines: clocks, arguments, one JSON line
 * of results, a histogram of durations, and a meter for the gaps between two iterations of
 * a loop.  Nothing here allocates after start-up, so no peer is disturbed by it.
 */

#include <stdint.h>
#include <stdio.h>

#define BENCH_INLINE   static inline __attribute__((always_inline, unused))
#define BENCH_NOINLINE __attribute__((noinline))

/* Everything reachable from p may have been read and written. */
#define BENCH_ESCAPE(p) __asm__ volatile("" : : "r"(p) : "memory")

#define BENCH_THREADS_MAX 64

/* What a peer tells about its heap; 0 where it does not know. */
struct bench_heap_stats {
    uint64_t cycles;     /* collections so far */
    uint64_t live_bytes; /* bytes in live objects, as the peer counts them */
    uint64_t sys_bytes;  /* bytes taken from the system */
};

uint64_t bench_now_ns(void); /* monotonic */
uint64_t bench_cpu_ns(void); /* user + system time of the whole process */

/* xorshift64*: state must not be 0. */
BENCH_INLINE uint64_t
bench_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

/* A number below n, from the upper bits. */
BENCH_INLINE uint64_t
bench_random_below(uint64_t *state, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)bench_random(state) * n) >> 64);
}

/* Overwrites what finished calls left on the stack below the caller's frame. */
void bench_clear_stack(void);

/*
 * Arguments are "name=value" words.  The value is a decimal number that may end in k, m or
 * g (powers of 1024).  An unknown name or a malformed value ends the program.
 */
struct bench_arg {
    const char *name;
    uint64_t value; /* default before, result after bench_args */
    const char *help;
};

void bench_args(int argc, char **argv, struct bench_arg *args, size_t nargs);
_Noreturn void bench_die(const char *what);
void bench_check(int holds, const char *what);

/* One flat JSON object on one line of standard output. */
void bench_json_begin(const char *program, const char *peer, const char *version);
void bench_json_u64(const char *name, uint64_t value);
void bench_json_f64(const char *name, double value);
void bench_json_text(const char *name, const char *value);
void bench_json_heap(const struct bench_heap_stats *stats);
void bench_json_end(void);

/* Durations in ns: eight buckets per power of two. */
#define BENCH_HIST_BUCKETS 496
struct bench_hist {
    uint64_t counts[BENCH_HIST_BUCKETS];
    uint64_t total, max;
};

void bench_hist_merge(struct bench_hist *into, const struct bench_hist *from);
/* Upper bound of the bucket in which the share q of the samples is reached; 0 if empty. */
uint64_t bench_hist_quantile(const struct bench_hist *hist, double q);
/* PREFIX_p50_ns, _p99_ns, _p999_ns, _p9999_ns, _max_ns, _samples. */
void bench_json_hist(const char *prefix, const struct bench_hist *hist);

BENCH_INLINE void
bench_hist_add(struct bench_hist *hist, uint64_t ns)
{
    unsigned top = 63u - (unsigned)__builtin_clzll(ns | 8);

    hist->counts[(top - 3) * 8 + (ns >> (top - 3))]++;
    hist->total++;
    if (ns > hist->max)
        hist->max = ns;
}

/*
 * Gaps between ticks of one thread.  The kernel, too, takes the CPU away from a thread; how
 * long the thread was ready to run but had to wait for a CPU is in the kernel's books
 * (/proc/thread-self/schedstat).  A long gap without that time is the thread's "own" gap:
 * stops, handlers, assists, page faults, waiting for locks.  Where the kernel keeps no such
 * books own gaps are whole gaps.
 */
struct bench_gaps {
    struct bench_hist all;
    uint64_t last; /* time of the last tick */
    uint64_t ticks;
    uint64_t own_max_ns;
    uint64_t over_100us, over_1ms;         /* all gaps longer than that */
    uint64_t own_over_100us, own_over_1ms; /* own gaps longer than that */
    uint64_t delay_ns;                     /* waited for a CPU, when last looked */
    int fd; /* of schedstat, or -1; open until the program ends */
};

void bench_gaps_start(struct bench_gaps *gaps);
/* ns in which this thread, so far, waited for a CPU; 0 where the kernel does not say. */
uint64_t bench_gaps_delay_ns(const struct bench_gaps *gaps);
void bench_gaps_slow(struct bench_gaps *gaps, uint64_t gap);
void bench_gaps_merge(struct bench_gaps *into, const struct bench_gaps *from);
void bench_json_gaps(const char *prefix, const struct bench_gaps *gaps);

/* Returns the time, so that a loop can also end by it. */
BENCH_INLINE uint64_t
bench_gaps_tick(struct bench_gaps *gaps)
{
    uint64_t now = bench_now_ns();
    uint64_t gap = now - gaps->last;

    bench_hist_add(&gaps->all, gap);
    if (__builtin_expect(gap > 50000 || (++gaps->ticks & 1023) == 0, 0)) {
        bench_gaps_slow(gaps, gap);
        return gaps->last;
    }
    gaps->last = now;
    return now;
}

#endif
