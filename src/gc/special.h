/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_SPECIAL_H
#define GCRT_GC_SPECIAL_H

/*
 * Specials: records tied to an object's life.
 *
 * A record is found by its object's address, as gc_base says it (for a tiny object the address
 * itself; its block's mark decides).  Records lie in metadata memory, so an object that has
 * none costs nothing, and neither has a place for them.  A shard of the table has all kinds
 * of the objects that hash to it, under one lock.
 *
 * What becomes of the records of objects that the cycle has not marked is decided once, after
 * DECIDED (weak.h) and before H5, in this order:
 *     1. weak references to them, and what else is weak, are emptied; the records are dropped;
 *     2. records CLEANUP of those that have no finalizer are handed to `ready`;
 *     3. records FINALIZER are handed to `ready`, and the objects marked: they live on, and
 *        what they point to has been marked as a root all along.
 * So an object with both is finalized first, and its cleanups wait until it dies again.
 */

#include "alloc/base/atomic.h"
#include "alloc/base/lock.h"
#include "gc/work.h"

struct gc_heap;
struct gcrt_mutator;

enum special_kind { SPECIAL_WEAK, SPECIAL_CLEANUP, SPECIAL_FINALIZER, SPECIAL_KINDS };

struct special {
    struct special *next; /* lock: the chain, or the owner's */
    uintptr_t object;     /* const while in the table */
    void *arg;            /* lock: WEAK: the gc_weak, held weakly; others: a root, exact */
};

/* A record CLEANUP or FINALIZER has so much room, the struct special first. */
#define SPECIAL_CALL_BYTES ((size_t)128)

#define SPECIAL_SHARDS 64

/* The 20th has 4 Mi buckets: 512 Mi records before chains become longer. */
#define CHAINS_SEGMENTS 20

struct special_chains {
    struct special **segments[CHAINS_SEGMENTS]; /* lock: buckets (chains.c) */
    struct special *free;     /* lock: records of the kind's size */
    uint32_t nbuckets;        /* lock */
    uint32_t mask;            /* lock: 2^k - 1, 2^k the least power of two >= nbuckets */
    uint32_t count;           /* lock: records in the table */
};

struct special_shard {
    struct lock lock;         /* RANK_SPECIAL */
    struct special_chains kinds[SPECIAL_KINDS];
} CACHE_ALIGNED;

struct specials {
    struct special_shard shards[SPECIAL_SHARDS];
    aword count[SPECIAL_KINDS];   /* atomic: records in the table */
    aword emptied;                /* atomic: weak references whose object died */
    aword decide_ns;              /* atomic: time of all decisions */
    struct special *watched;      /* coordinator, verify=1: records of weak references that this
                                     cycle emptied; arg: not NULL if there was a finalizer */
    /*
     * const; may be NULL: the record is dropped.  The coordinator hands over a record that has
     * left the table, under its shard's lock; it goes back by gcrt_special_free.
     */
    void (*ready)(struct gc_heap *heap, enum special_kind kind, struct special *record);
};

void gcrt_special_init(struct gc_heap *heap);
void gcrt_special_finish(struct gc_heap *heap);

/* ---- the table: attached threads, critical ---- */

/* The object that p points to or into, as gc_base says it; 0 if there is none in the heap. */
uintptr_t gcrt_special_object(struct gc_heap *heap, const void *p);

/* The shard of an object, locked. */
struct special_shard *gcrt_special_lock(struct gc_heap *heap, uintptr_t object);
void gcrt_special_unlock(struct special_shard *shard);

/* The first record of the kind for the object, or the next one after `record`; or NULL. */
struct special *gcrt_special_find_locked(
        struct special_shard *shard, enum special_kind kind, uintptr_t object);
struct special *gcrt_special_next_locked(const struct special *record);

/*
 * A new record, zero but for the header; NULL without memory.  The caller holds object and
 * arg, and shades what becomes a root: gcrt_special_add does all of it.
 */
struct special *gcrt_special_insert_locked(struct gc_heap *heap, struct special_shard *shard,
        enum special_kind kind, uintptr_t object, void *arg);
/* Takes the record out of the table; it is the caller's, until it frees it. */
void gcrt_special_unlink_locked(struct gc_heap *heap, struct special_shard *shard,
        enum special_kind kind, struct special *record);
/*
 * Takes any record out of the shard; NULL if it has none.  *at, 0 for the first call, says
 * where to go on under the same lock.
 */
struct special *gcrt_special_pop_locked(
        struct gc_heap *heap, struct special_shard *shard, enum special_kind kind, uint32_t *at);
void gcrt_special_free_locked(
        struct special_shard *shard, enum special_kind kind, struct special *record);

/*
 * The same, each in a lock of its own, with the barrier: while marking, the record's roots are
 * shaded when it comes and when it goes.  After add the caller may fill the record's rest in
 * the same critical section.
 */
struct special *gcrt_special_add(
        struct gcrt_mutator *m, enum special_kind kind, uintptr_t object, void *arg);
void gcrt_special_remove(struct gcrt_mutator *m, enum special_kind kind, struct special *record);

/* Gives back a record that is in no table.  Any thread that is attached and critical, or the
 * collector's. */
void gcrt_special_free(struct gc_heap *heap, enum special_kind kind, struct special *record);

/* ---- the coordinator ---- */

/*
 * Queues as roots: all args of CLEANUP and FINALIZER, and what objects with a finalizer point
 * to, but not these objects.  After H3 and before marking opens.  The bytes looked at.
 */
size_t gcrt_special_collect(struct gc_heap *heap);

/* Steps 1 and then 2 and 3 above.  Between them the other weak places are emptied. */
void gcrt_special_empty_weak(struct gc_heap *heap);
void gcrt_special_ready(struct gc_heap *heap);

/* Under verify=1: forgets what the last decision has emptied. */
void gcrt_special_unwatch(struct gc_heap *heap);

/* For the verifier, under the shard's lock: does looking for the record's object find it? */
bool gcrt_special_is_filed(
        struct gc_heap *heap, enum special_kind kind, const struct special *record);

/*
 * Calls fn for each record of the kind, under its shard's lock, which is let go now and then: a
 * record may come twice while others are added.  Any thread, critical.
 */
void gcrt_special_visit(struct gc_heap *heap, enum special_kind kind,
        void (*fn)(void *arg, const struct special *record), void *arg);

#endif
