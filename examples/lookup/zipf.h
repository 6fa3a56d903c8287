/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_ZIPF_H
#define LOOKUP_ZIPF_H

#include <stdint.h>

/* Draws ranks 1..n with probability proportional to rank^-s. */
struct zipf {
    double s;
    uint64_t n;
    double h_first; /* H(1.5) - 1 */
    double h_last;  /* H(n + 0.5) */
    double sure;    /* a distance within which no test is needed */
};

/* s > 0, s != 1; n >= 1. */
void zipf_init(struct zipf *z, double s, uint64_t n);

/* The next rank; *random is a generator for rng_next. */
uint64_t zipf_draw(const struct zipf *z, uint64_t *random);

/* A bijection of 0..n-1, n <= 2^32, that puts neighbouring ranks far apart. */
struct scramble {
    uint64_t n, step, offset;
};

void scramble_init(struct scramble *sc, uint64_t n, uint64_t seed);
uint64_t scramble_key(const struct scramble *sc, uint64_t rank);

#endif
