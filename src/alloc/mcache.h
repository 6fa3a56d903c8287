/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_MCACHE_H
#define GCRT_ALLOC_MCACHE_H

/*
 * A P's cache: per kind one span and a run of consecutive free slots of it.
 *
 * Allocation bumps through the run (gc_alloc, inline).  Taking a run zeroes it, makes it
 * black if the cycle says so, and moves the span's free index behind it, in this order, so
 * that a conservative hit on a slot of the run sees zeroes.
 *
 * A run counts as allocated, the unused rest of it too.  So that many Ps with many kinds do not
 * seem to have filled the heap, the first run after a flush is short, and each next one twice
 * as long: what is counted too much is less than what the P has allocated of the kind, and
 * RUN_BYTES_FIRST.
 *
 * The runs are an open-addressing hash table on the key that the inline path computes; a
 * type's entry is found at its home slot or by linear probing.  When half full the table is
 * replaced by one of twice the size; old tables stay readable, for statistics.
 *
 * Owner only, but for the collector acting on an outside mutator's behalf, and for
 * statistics, which read counters and runs racily.
 */

#include "alloc/mheap.h"
#include "alloc/sample.h"

#include <gcrt/alloc.h>

struct mcache_cold {
    struct mcentral *central;
    struct mspan *span; /* cached span, or NULL */
    size_t reach;       /* bytes of the next run, if the span has so many together */
};

struct mcache_table {
    uint32_t mask;
    uint32_t used;
    uint32_t missed; /* times that an entry was not at its home */
    struct gc_impl_run *runs;
    struct mcache_cold *cold;
};

struct mcache {
    struct mheap *heap;          /* const: borrowed */
    struct mcache_table *table;  /* owner writes; pairs: mcache.table */
    bool black;                  /* owner: runs are marked black when taken */
    unsigned black_gen;          /* owner: ... in spans cached at this sweepgen */
    uint64_t debt;               /* owner: bytes taken, not yet in heap->live */
    struct pagecache pages;      /* owner: pages for fresh spans */
    uintptr_t tiny, tiny_end;    /* owner: rest of the current tiny block */
    struct sampler sampler;      /* owner: what a profile looks at */

    /* counters: owner writes, statistics read */
    aword slots[NUM_CLASSES];    /* slots taken in runs, all kinds */
    aword tiny_allocs;           /* tiny objects, beyond the first of a block */
    aword refills, runs_taken;
    aword black_bytes;           /* bytes born marked since the last collect_black */
    aword scan_bytes;            /* bytes taken in runs of kinds with pointers */
    struct mcache *next;         /* lock: P; list of all, then idle list */
};

/* False without memory. */
bool gcrt_mcache_init(struct mcache *mc, struct mheap *h);

/* The entry where the inline path looks for the key, and where probing begins. */
static inline uint32_t
mcache_home(uintptr_t key, uint32_t mask)
{
    return (uint32_t)gc_impl_home(key, (unsigned)(key >> 56)) & mask;
}

/* Index of the key's entry, or -1. */
int gcrt_mcache_find(const struct mcache *mc, uintptr_t key);

static inline int
mcache_find(const struct mcache *mc, uintptr_t key)
{
    uint32_t home = mcache_home(key, mc->table->mask);

    return LIKELY(mc->table->runs[home].key == key) ? (int)home : gcrt_mcache_find(mc, key);
}

/* Makes an entry for the key, which has none; -1 without memory. */
int gcrt_mcache_add(struct mcache *mc, uintptr_t key, struct mcentral *c);
/*
 * The inline path has missed entry i although its run has slots left: another key lives where
 * it looks.  Now and then the table grows for that; false if it has moved.
 */
bool gcrt_mcache_missed(struct mcache *mc, int i);

/* The next run of entry i, whose run is used up.  Bytes taken, or 0 without memory. */
size_t gcrt_mcache_take_run(struct mcache *mc, int i);

/* Makes the sampler follow the heap's rate; before whatever hands bytes out. */
void gcrt_mcache_follow_rate(struct mcache *mc);

/*
 * What becomes of what is left of runs when their spans are given back.  A signal may have
 * interrupted gc_alloc when it had found a run's next slot, and was about to store what comes
 * behind it into `next`.  Then that slot stays allocated, as if gc_alloc had come before the
 * flush; if it was elsewhere the slot is garbage.  It may leave a run whose next is beyond its
 * end.
 */
enum mcache_runs {
    RUNS_FREE,        /* it is free again */
    RUNS_INTERRUPTED, /* it is free again, but for the first slot */
    RUNS_KEPT         /* it stays allocated, and dead */
};

/* Gives all spans and pages back. */
void gcrt_mcache_flush(struct mcache *mc, enum mcache_runs runs);

/* Marks what is left of every run and the tiny block; runs taken from now on are black. */
void gcrt_mcache_blacken(struct mcache *mc, unsigned sweepgen);

/* Moves the bytes taken since the last call into heap->live. */
void gcrt_mcache_settle(struct mcache *mc);

/* Slots of the class in unused rests of runs; racy, for statistics. */
void gcrt_mcache_unused(const struct mcache *mc, uint64_t per_class[NUM_CLASSES]);

/* Statistics read runs racily, so changes are whole words. */
static inline void
run_set(struct gc_impl_run *run, char *next, char *end)
{
    __atomic_store_n(&run->next, next, __ATOMIC_RELAXED);
    __atomic_store_n(&run->end, end, __ATOMIC_RELAXED);
}

/* Bytes left of the run. */
static inline size_t
run_left(const struct gc_impl_run *run)
{
    return run->next < run->end ? (size_t)(run->end - run->next) : 0;
}

/* Is it one of those whose runs are not zeroed: uninitialised objects without pointers? */
static inline bool
key_is_raw(uintptr_t key)
{
    return key >> 56 >= GC_IMPL_RAW;
}

#endif
