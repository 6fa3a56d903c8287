/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_STORES_H
#define GCRT_TESTS_STORES_H

/* The inline stores, compiled in several ways (stores.c, meson.build). */

#include <gcrt/gcrt.h>

struct stores {
    const char *form;
    int windows; /* the signal handler leaves them; else they say that they are critical */
    void (*pointer)(void **slot, void *value);
    void (*element)(void **slots, size_t i, void *value);
    void (*null)(void **slot);
    void (*word)(const gc_decode *decode, uint64_t *slot, uint64_t word);
};

extern const struct stores stores_plain, stores_unoptimised, stores_fast, stores_intel,
        stores_flagged, stores_shared;

#endif
