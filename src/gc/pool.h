/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_POOL_H
#define GCRT_GC_POOL_H

/*
 * Pools: what the collector, attaching threads and statistics see of them.
 *
 * A pool has a part for each P that has used it; a part belongs to whoever owns the P.  It
 * has the generation that is in use, the victims of the last turn, and, of pools with a drop
 * function, what the runner shall drop.  Records of pools and parts are never freed; a
 * pool that is destroyed leaves its record, index and parts to the next one.
 */

#include "gc/poolrack.h"
#include "gc/poolring.h"
#include "gc/runner.h"

#include <gcrt/pool.h>

struct pool_part {
    struct gc_impl_rack rack;    /* owner; root words */
    void *victims[RACK_ITEMS + GC_IMPL_HOT_ITEMS]; /* owner; root words */
    uint32_t nvictims;           /* owner */
    uint32_t cap;                /* lock: slots of the rack that are used */
    uint32_t hot_cap;            /* lock: items that the P's thread may keep itself */
    bool shut;                   /* owner: the rack is closed, so that the thread calls */
    struct pool_ring *ring;      /* owner writes; a root word; pairs: pool.rings */
    struct pool_ring *victim_ring; /* the same */
    struct pool_part *next;      /* const once published: of the pool */
    /* atomic: owner adds */
    aword hot_hits, shared_hits, stolen, victim_hits, misses, refused, dropped;
    struct pool_ring *waiting_ring; /* lock: what waits for drop; a root word */
};

enum pool_state { POOL_FREE, POOL_LIVE, POOL_ENDING, POOL_ENDED };

struct pool {
    struct gc_pool pub;          /* const once made */
    uint32_t cap;                /* const while live: slots of a rack */
    uint32_t hot_cap;            /* ... and of what a thread keeps itself */
    uint32_t keepers;            /* lock: threads that keep items of it themselves */
    struct gc_heap *heap;        /* const */
    struct pool *next;           /* const once published: of the heap */
    struct pool *next_free;      /* lock */
    struct pool_part *parts;     /* lock: added; pairs: pool.parts */
    gc_pool_options options;     /* const while live */
    aword item_bytes;            /* atomic: what an item takes of the heap */
    uint64_t max;                /* const while live: items */
    aword state;                 /* atomic: enum pool_state; lock: writing */
    aword shared;                /* atomic: items in rings, those of victims included */
    aword reserved;              /* atomic: items that racks may hold; lock: adding */
    gc_pool_stats base;          /* lock: sums of the parts when the pool was created */
    struct runner_job job;       /* runner */
    bool posted;                 /* lock: the runner has been given the job, or shall be */
    ahalf dropping;              /* futex: the runner is in a drop function */
    struct gcrt_mutator *dropper; /* lock: its thread */
};

void gcrt_pools_init(struct gc_heap *heap);
void gcrt_pools_finish(struct gc_heap *heap);

/* ---- the turn: generations move on (poolturn.c) ---- */

/* The coordinator, before H1 and after it is complete (or stop-the-world's one handshake). */
void gcrt_pools_turn_begin(struct gc_heap *heap);
void gcrt_pools_turn_end(struct gc_heap *heap);
/* Of the parts of m's P; in its answer to that handshake, its barrier still off. */
void gcrt_pools_turn(struct gcrt_mutator *m);
/* The racks of the P, which is m's or idle, may be used inline again. */
void gcrt_pools_open(struct gc_heap *heap, struct p *p);
void gcrt_pools_open_locked(struct gc_heap *heap, struct p *p);
/* In a signal handler: is the thread in the middle of an inline get or put? */
bool gcrt_pools_busy(const struct gcrt_mutator *m);
/* Memory is short: the next turn lets go of everything. */
void gcrt_pools_shed(struct gc_heap *heap);

/* Every root word of every pool; for some it is 0. */
void gcrt_pools_visit(struct gc_heap *heap, void (*fn)(void *arg, uintptr_t word, uintptr_t at),
        void *arg);

/* The one in whose parts a root word lies at that address, until it has ended; or NULL. */
const struct pool *gcrt_pools_find(struct gc_heap *heap, uintptr_t at);

/* Sums over all pools, those that were destroyed included; items and bytes: held now. */
void gcrt_pools_stats(struct gc_heap *heap, gc_pool_stats *ret);

/* In a forked child: the runner's threads are gone. */
void gcrt_pools_forget(struct gc_heap *heap);

/* Adds up the parts' counters. */
void gcrt_pool_sum(const struct pool *pool, gc_pool_stats *ret);

/* ---- what threads keep themselves (poolhot.c); the caller owns m, and is critical ---- */

/* A pool that is nobody's: what a thread's hot words name while its items are shut. */
extern const struct gc_pool gcrt_no_pool;

bool gcrt_pool_is_hot(const struct gcrt_mutator *m, const struct pool *pool);
/* The thread's hot words say whether its items may be used. */
void gcrt_pool_show_hot(struct gcrt_mutator *m);
/* How many gets there were is told to the part. */
void gcrt_pool_tell_hot(struct gcrt_mutator *m);
/* How many items there are, and how many gets the part does not know of.  Any thread: racy. */
uint64_t gcrt_pool_hot_sum(const struct gcrt_mutator *m, uint64_t *told_not);
/* If it can, the thread keeps items of the pool from now on.  Does it?  The thread itself. */
bool gcrt_pool_become_hot(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part);
/* One of them, or 0; there is no room.  The thread itself, after that was true. */
uintptr_t gcrt_pool_hot_get(struct gcrt_mutator *m, const struct pool_part *part);
bool gcrt_pool_hot_put(struct gcrt_mutator *m, uintptr_t item);
/* They join the rest of the pool, and it is the thread's no more.  The thread itself. */
void gcrt_pools_leave(struct gcrt_mutator *m);
void gcrt_pool_leave_locked(struct gcrt_mutator *m);
/* The same, but they are gone: a child of fork's, for a thread that it does not have. */
void gcrt_pools_lose(struct gcrt_mutator *m);
/* A cycle begins.  The thread may be at any instruction of a get or put. */
void gcrt_pool_turn_hot_locked(struct gcrt_mutator *m, bool all);

/* An item of its own joins the rest, anywhere; or the victims.  If there is room. */
void gcrt_pool_hand_over(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part,
        uintptr_t item);
void gcrt_pool_add_victim(struct gcrt_mutator *m, struct pool_part *part, uintptr_t item);
/* The record of a pool that has ended may be another one's: nobody keeps items of it. */
void gcrt_pool_free_locked(struct pool *pool);

/* Sets the rack's limit. */
void gcrt_pool_open_rack(const struct pool *pool, struct pool_part *part);

/* The P's part of the pool, or NULL.  The caller owns the P. */
struct pool_part *gcrt_pool_part(const struct p *p, const struct pool *pool);

/* A pool that can be used, or a fatal line that names the caller. */
struct pool *gcrt_pool_check(gc_pool *pool, const char *caller);
/* The thread's mutator, attached to the pool's heap and inside, or a fatal line. */
struct gcrt_mutator *gcrt_pool_self(const struct pool *pool, const char *caller);

#endif
