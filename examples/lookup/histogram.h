/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_HISTOGRAM_H
#define LOOKUP_HISTOGRAM_H

#include <stdint.h>

/* 128 steps an octave: a value is off by less than 1/128 of itself. */
#define HISTOGRAM_BITS  7
#define HISTOGRAM_SLOTS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

/* All zero is an empty histogram. */
struct histogram {
    uint64_t total;
    uint64_t max; /* exact */
    uint64_t counts[HISTOGRAM_SLOTS];
};

void histogram_add(struct histogram *h, uint64_t value);

/*
 * The smallest bound such that a share q (0 to 1) of the values is not above it, less than
 * 1 % too high and never above the maximum.  0 if the histogram is empty.
 */
uint64_t histogram_quantile(const struct histogram *h, double q);

#endif
