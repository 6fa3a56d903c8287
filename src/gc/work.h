/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_WORK_H
#define GCRT_GC_WORK_H

/*
 * Grey objects, in buffers of 255.
 *
 * Whoever marks fills private buffers; full ones go to a public stack, from which anyone
 * may take a whole buffer.  Each worker has a public stack of its own (stealing takes from
 * the others'); the mutators share stack 0.  A further stack holds raw buffers: words from
 * stacks, registers and barriers that may be pointers and still have to be resolved.  And one
 * holds what mutators must not scan because it may take long, one chunks of parked stacks, and one
 * what is scanned again when nothing else is left: late work, ephemerons whose keys may be marked
 * by then.  A marker fills a buffer of its own with these.
 *
 * Buffers come from one mapped pool, by number, and are recycled for the heap's life, so
 * the lock-free stacks may follow stale links (a tag in the top word prevents ABA).
 */

#include "alloc/base/atomic.h"
#include "alloc/os/os.h"

/* On a raw word: it means the object that it points into, not the one before. */
#define RAW_EXACT ((uintptr_t)1 << 63)

#define WORK_STACKS   65 /* mutators, and up to 64 workers */
#define WORKBUF_SLOTS 255

struct workbuf {
    ahalf next; /* atomic: number of the buffer below; 0: none */
    uint32_t n;
    uintptr_t slot[WORKBUF_SLOTS];
};

_Static_assert(sizeof(struct workbuf) == 2048, "buffers tile the pool");

struct workstack {
    aword top; /* atomic: number of the top buffer, tag above; pairs: workstack.top */
} CACHE_ALIGNED;

struct work {
    struct workbuf *pool; /* const: number i is pool[i]; 0 is unused */
    size_t pool_bytes;
    uint32_t slots;       /* const: entries used per buffer; fewer in tiny mode */
    uint32_t nstacks;     /* const: 1 + workers */
    aword used CACHE_ALIGNED; /* atomic: buffers ever taken from the pool */
    struct workstack free;
    struct workstack raw;
    struct workstack aside; /* for workers only */
    struct workstack parked; /* the same: chunks of parked stacks (fiber.c) */
    struct workstack late;   /* the same, once it is their turn */
    ahalf late_open;         /* atomic: it is, until the cycle ends */
    struct workstack full[WORK_STACKS];
};

/* A marker's private end of it.  Zeroed is valid and empty. */
struct workqueue {
    struct workbuf *cur, *spare; /* owner; cur is not NULL if spare is not */
    struct workbuf *late;        /* owner; NULL: none; not empty */
    uint32_t stack;              /* const: the public stack it fills */
};

bool gcrt_work_init(struct work *w, struct os *os, uint32_t nworkers, bool tiny);
void gcrt_work_finish(struct work *w, struct os *os);

/* An empty buffer.  Fatal when the pool is used up. */
struct workbuf *gcrt_work_take_empty(struct work *w);
void gcrt_work_put_empty(struct work *w, struct workbuf *b);

void gcrt_work_push_raw(struct work *w, struct workbuf *b);
struct workbuf *gcrt_work_pop_raw(struct work *w);

/* One object, which only a worker may take. */
void gcrt_work_push_aside(struct work *w, uintptr_t object);

/* One chunk of parked stacks to scan; then one that is there, or 0. */
void gcrt_work_push_parked(struct work *w, uintptr_t item);
uintptr_t gcrt_work_pop_parked(struct work *w);

/* No public buffer anywhere.  A snapshot; see worker.h for termination. */
bool gcrt_work_is_empty(const struct work *w);
/* Is there any that a worker could take?  Late work only if it is its turn. */
bool gcrt_work_is_in_reach(const struct work *w);
/* Nobody marks: late work's turn, if there is any. */
void gcrt_work_open_late(struct work *w);
/* A cycle begins or ends: not late work's turn. */
void gcrt_work_close_late(struct work *w);

/* Puts the queue's buffers on its public stack (empty ones back); true if any had work. */
bool gcrt_workqueue_publish(struct work *w, struct workqueue *q);
/* Gives half of a private buffer away if there is more than a few. */
void gcrt_workqueue_share(struct work *w, struct workqueue *q);
/* The slow half of workqueue_put. */
void gcrt_workqueue_put_slow(struct work *w, struct workqueue *q, uintptr_t object);
/* Another buffer with work as the current, empty one; false if none is in reach. */
bool gcrt_workqueue_refill(struct work *w, struct workqueue *q);
/* The same with what was put aside. */
bool gcrt_workqueue_refill_aside(struct work *w, struct workqueue *q);
/* The same with late work, the queue's own and others', if it is its turn. */
bool gcrt_workqueue_refill_late(struct work *w, struct workqueue *q);
/* Late work: the object is scanned again when nothing else is in reach. */
void gcrt_workqueue_put_late(struct work *w, struct workqueue *q, uintptr_t object);

static inline void
workqueue_put(struct work *w, struct workqueue *q, uintptr_t object)
{
    struct workbuf *b = q->cur;

    if (LIKELY(b != NULL && b->n < w->slots))
        b->slot[b->n++] = object;
    else
        gcrt_workqueue_put_slow(w, q, object);
}

#endif
