/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_UNIT_BARE_H
#define GCRT_TESTS_UNIT_BARE_H

/*
 * A heap without a collector: os, persist and mheap, as src/runtime.c puts them together,
 * and centrals of every class.  One per test process, so it is static in each test.
 */

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seed.h"

#include "alloc/base/rand.h"
#include "alloc/mcache.h"
#include "alloc/mheap.h"
#include "alloc/sweep.h"

struct bare {
    struct os os;
    struct persist persist;
    struct mheap heap;
    struct mcentral scan[NUM_CLASSES];   /* index: size class */
    struct mcentral noscan[NUM_CLASSES];
};

static inline void
bare_register(struct bare *b, struct mcentral *c, unsigned sizeclass, bool noscan)
{
    c->sizeclass = (uint8_t)sizeclass;
    c->noscan = noscan;
    cr_assert(gcrt_mheap_register(&b->heap, c));
}

static inline void
bare_init(struct bare *b, size_t reserve)
{
    gcrt_persist_init(&b->persist, &b->os);
    cr_assert(gcrt_mheap_init(&b->heap, &b->os, &b->persist, reserve));
    for (unsigned c = 0; c < NUM_CLASSES; c++) {
        bare_register(b, &b->scan[c], c, false);
        bare_register(b, &b->noscan[c], c, true);
    }
}

/* Everything goes back to the OS, whatever spans there are. */
static inline void
bare_finish(struct bare *b)
{
    gcrt_mheap_finish(&b->heap);
    gcrt_persist_finish(&b->persist);
    cr_assert_eq(aword_load_relaxed(&b->os.reserved), 0);
    cr_assert_eq(aword_load_relaxed(&b->os.committed), 0);
}

static inline unsigned
bare_sweepgen(const struct bare *b)
{
    return ahalf_load_relaxed(&b->heap.sweepgen);
}

/* What the coordinator does between H5 and H6. */
static inline void
bare_advance(struct bare *b)
{
    ahalf_store_full(&b->heap.sweepgen, bare_sweepgen(b) + 2); /* pairs: sweepgen.advance */
}

/* A fresh small span that nobody caches and that is in no set. */
static inline struct mspan *
bare_small(struct bare *b, struct mcentral *c)
{
    struct pagecache pages = { 0, 0, 0 };
    struct mspan *s = gcrt_mheap_alloc_small(&b->heap, c, bare_sweepgen(b), &pages);

    cr_assert_not_null(s);
    gcrt_mheap_flush_cache(&b->heap, &pages);
    return s;
}

static inline bool
bit_of(const aword *bits, size_t i)
{
    return span_test(bits, i);
}

static inline void
set_bit(aword *bits, size_t i, bool value)
{
    uint64_t word = aword_load_relaxed(&bits[i / 64]), bit = (uint64_t)1 << (i % 64);

    aword_store_relaxed(&bits[i / 64], value ? word | bit : word & ~bit);
}

/* Takes every span out of the set and counts them; fn looks at each. */
static inline size_t
drain_set(struct bare *b, struct spanset *set, void (*fn)(struct bare *, struct mspan *))
{
    struct mspan *s;
    size_t n = 0;

    for (; (s = gcrt_spanset_pop(set, b->heap.spans)) != NULL; n++)
        if (fn != NULL)
            fn(b, s);
    return n;
}

#endif
