/* SPDX-License-Identifier: MIT */
/*
 * Ranked locks of the simulation: lock.h for fibers.
 *
 * Purpose: make a waiting thread wait in the scheduler, and check ranks per fiber always.
 * Place: instead of alloc/base/lock.c.
 * Invariants: all fibers share an OS thread, so a plain mutex that is locked cannot be
 * locked by any of them, which is all that is asked of it here.
 */
#include "alloc/base/lock.h"

#include "fibers.h"

void
gcrt_lock_init(struct lock *lock, enum lock_rank rank)
{
    CHECK(pthread_mutex_init(&lock->mutex, NULL) == 0);
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
    struct fiber *f = sched_self();

    CHECK(f->ranks < (UINT64_C(1) << lock->rank)); /* rising ranks only */
    sim_point();
    while (pthread_mutex_trylock(&lock->mutex) != 0)
        (void)sched_wait(WAIT_LOCK, lock, UINT64_MAX);
    f->ranks |= UINT64_C(1) << lock->rank;
}

void
gcrt_lock_release(struct lock *lock)
{
    sched_self()->ranks &= ~(UINT64_C(1) << lock->rank);
    CHECK(pthread_mutex_unlock(&lock->mutex) == 0);
    sched_wake(WAIT_LOCK, lock, FIBERS_MAX);
    sim_point();
}

/* No simulated thread forks. */
void
gcrt_lock_before_fork(struct lock *lock)
{
    gcrt_lock_acquire(lock);
}

void
gcrt_lock_after_fork(struct lock *lock, bool child)
{
    (void)child;
    gcrt_lock_release(lock);
}

void
gcrt_lock_assert_held(const struct lock *lock)
{
    CHECK((sched_self()->ranks >> lock->rank) & 1);
}
