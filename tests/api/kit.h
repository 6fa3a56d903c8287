/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_API_KIT_H
#define GCRT_TESTS_API_KIT_H

/*
 * What the Criterion programs here share: a few types, a fresh default heap, and objects
 * whose life is in question.  Each program includes it once; nothing is exported.
 */

#include <criterion/criterion.h>

#include "heapkit.h"

#include <string.h>

struct pair {
    struct pair *left, *right;
};

struct wide { /* pointers beyond the 64 words of the mask, and unsorted on purpose */
    uint64_t head[100];
    struct pair *a;
    uint64_t gap;
    struct pair *b[3];
};

struct odd {
    uint64_t x;
    struct pair *p;
    uint64_t y;
};

struct bag {
    struct pair *first;
    uint64_t n;
    struct odd items[];
};

struct plain {
    uint64_t w[4];
};

GC_TYPE(pair_type, struct pair, left, right);
GC_TYPE(wide_type, struct wide, a, b);
GC_TYPE(odd_type, struct odd, p);
GC_TYPE_FLEX(bag_type, struct bag, items, odd_type, first);
GC_TYPE_NOSCAN(plain_type, struct plain);
GC_TYPE_CONSERVATIVE(loose_type, struct plain);

static inline void
start(void)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.debug_clobberfree = 1;
    T_OK(gc_init(&opt));
}

static inline void
stop(void)
{
    t_verify(NULL);
    gc_shutdown();
}

/* So that the compiler does not answer a question from an attribute. */
static inline void *
opaque(void *p)
{
    __asm__ volatile("" : "+r"(p));
    return p;
}

/* Objects whose life is in question are remembered hidden, with a byte that says who. */
static uintptr_t hidden[64] __attribute__((unused));

static __attribute__((noinline, unused)) void *
make(size_t i, size_t bytes)
{
    unsigned char *p = gc_alloc_bytes(bytes);

    memset(p, (int)(i + 1), bytes);
    hidden[i] = t_hide(p);
    return p;
}

static __attribute__((noinline, unused)) int
alive(size_t i, size_t bytes)
{
    const unsigned char *p = t_reveal(hidden[i]);

    if (gc_base(p) != p)
        return 0;
    for (size_t k = 0; k < bytes; k++)
        if (p[k] != i + 1)
            return 0;
    return 1;
}

#define BYTES 48

#endif
