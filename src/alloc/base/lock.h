/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_LOCK_H
#define GCRT_BASE_LOCK_H

/*
 * Ranked mutexes.  A thread takes locks in rising rank only; -Dverify=true builds check
 * that, and that a lock is held where its data is touched.  The order is the enum's.
 *
 * A lock may be taken in a handshake's signal handler: handlers act only where the
 * interrupted thread is outside every gcrt call, so it holds none of these.
 */

#include "alloc/base/check.h"

#include <pthread.h>

enum lock_rank {
    RANK_FORK = 1,  /* the process's list of heaps; held while a thread forks */
    RANK_CYCLE,     /* requests for cycles, waiters */
    RANK_REGISTRY,  /* mutators, barrier state as published */
    RANK_SPECIAL,   /* records tied to objects, and the weak places beside them */
    RANK_WEAKMAP,   /* writers of weak maps */
    RANK_ROOTS,     /* global ranges, handle chunks */
    RANK_STACK,     /* registered stacks */
    RANK_RUNNER,    /* callbacks that wait, and the threads that call them */
    RANK_POOLS,     /* pools and their parts; a P's turn */
    RANK_KIND,      /* kind and type registry */
    RANK_P,         /* idle Ps */
    RANK_PROFILE,   /* sampled objects */
    RANK_TRACE,     /* tracing on and off, listeners */
    RANK_SCAVENGE,  /* giving memory back to the OS */
    RANK_HEAP,      /* pages */
    RANK_PERSIST,   /* metadata bump allocator */
    RANK_WBCHECK    /* wbcheck=1: stores together with their shadow */
};

struct lock {
    pthread_mutex_t mutex;
    enum lock_rank rank;
};

void gcrt_lock_init(struct lock *lock, enum lock_rank rank);
void gcrt_lock_finish(struct lock *lock);
void gcrt_lock_acquire(struct lock *lock);
void gcrt_lock_release(struct lock *lock);
/* Debug builds: the calling thread holds it.  Release builds: nothing. */
void gcrt_lock_assert_held(const struct lock *lock);

/*
 * For the thread that forks, which takes the locks of all heaps, each heap's in rising rank,
 * and the order of ranks does not tell heaps apart: these are not counted.  In the child a
 * lock is made anew, free: its owner there is the forking thread, under another number.
 */
void gcrt_lock_before_fork(struct lock *lock);
void gcrt_lock_after_fork(struct lock *lock, bool child);

#endif
