/* SPDX-License-Identifier: MIT */
#ifndef MEMLIMIT_SAMPLE_H
#define MEMLIMIT_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* One moment of a run.  Counters are since the run's start. */
struct sample {
    double seconds;
    uint64_t rss, mapped, goal; /* bytes; mapped and goal as the limit counts them */
    uint64_t operations, cycles;
    double gc_seconds;   /* CPU time of the collector, idle CPUs left out, and of waits for it */
    double busy_seconds; /* CPU time of the process, likewise */
};

#define SAMPLES_MAX 1200

struct run {
    int percent; /* the limit, of what the live set needs */
    int cap;     /* of the limiter, percent; 100: off */
    uint64_t limit;
    size_t n;
    struct sample samples[SAMPLES_MAX];
};

/* Between two samples, from < to. */
double sample_rate(const struct sample *from, const struct sample *to);  /* operations/second */
double sample_share(const struct sample *from, const struct sample *to); /* 0..1 */

#endif
