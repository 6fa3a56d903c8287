/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_UNIT_SEED_H
#define GCRT_TESTS_UNIT_SEED_H

/* Random tests run the same each time, unless GCRT_SEED says otherwise. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Printed, so that a failure can be repeated. */
static inline uint64_t
seed_of(const char *test)
{
    const char *given = getenv("GCRT_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 0x67637274u;

    fprintf(stderr, "%s: GCRT_SEED=%" PRIu64 "\n", test, seed);
    return seed;
}

#endif
