/* SPDX-License-Identifier: MIT */
/*
 * Ranked mutexes over pthread mutexes.
 *
 * Purpose: mutual exclusion for cold paths, with an order that cannot deadlock.
 * Place: used by every layer above; calls nothing but pthread.
 * Concurrency: debug builds keep the ranks that a thread holds in one thread-local word
 * (bit r: rank r), which makes the order check one comparison.  Release builds keep none.
 * Cost: an uncontended pair is about 20 ns; no fast path of the library takes one.
 */
#include "alloc/base/lock.h"

#if GCRT_DEBUG
static __thread unsigned held_ranks;
#else
enum { held_ranks = 0 };
#endif

static void
note_acquired(const struct lock *lock)
{
#if GCRT_DEBUG
    CHECK(held_ranks < (1u << lock->rank)); /* only lower ranks are held */
    held_ranks |= 1u << lock->rank;
#else
    (void)lock;
#endif
}

static void
note_released(const struct lock *lock)
{
#if GCRT_DEBUG
    CHECK((held_ranks >> lock->rank) & 1);
    held_ranks &= ~(1u << lock->rank);
#else
    (void)lock;
#endif
}

void
gcrt_lock_init(struct lock *lock, enum lock_rank rank)
{
    /* By assignment and not by pthread_mutex_init, which POSIX allows to fail. */
    lock->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    lock->rank = rank;
}

void
gcrt_lock_finish(struct lock *lock)
{
    CHECK(pthread_mutex_destroy(&lock->mutex) == 0);
}

void
gcrt_lock_acquire(struct lock *lock)
{
    CHECK(pthread_mutex_lock(&lock->mutex) == 0);
    note_acquired(lock);
}

void
gcrt_lock_release(struct lock *lock)
{
    note_released(lock);
    CHECK(pthread_mutex_unlock(&lock->mutex) == 0);
}

void
gcrt_lock_before_fork(struct lock *lock)
{
    CHECK(pthread_mutex_lock(&lock->mutex) == 0);
}

void
gcrt_lock_after_fork(struct lock *lock, bool child)
{
    if (child)
        gcrt_lock_init(lock, lock->rank);
    else
        CHECK(pthread_mutex_unlock(&lock->mutex) == 0);
}

void
gcrt_lock_assert_held(const struct lock *lock)
{
    ASSERT((held_ranks >> lock->rank) & 1);
    (void)lock;
}
