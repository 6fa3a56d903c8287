/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_HOLD_H
#define GCRT_TESTS_HOLD_H

/*
 * Holds a cycle where a test or a benchmark wants it, with the public interface (and the hot
 * words that thread.h shows): a second thread answers no handshake but in its turns, which the
 * caller gives until both stand as wanted; a third asks for collections until then.
 *
 *     HOLD_HYBRID    the caller has the barrier on, no stack has been scanned: the second
 *                    thread has not answered H1
 *     HOLD_DELETION  all stacks have been scanned, marking is open and cannot end: H4 waits
 *                    for both
 *
 * Not for GC_MODE_STW, which has no barrier.  Header only; nothing is exported.
 */

#include <gcrt/gcrt.h>

#include <sched.h>
#include <signal.h>
#include <stdlib.h>

enum hold_at { HOLD_IDLE, HOLD_HYBRID, HOLD_DELETION, HOLD_STATES };

static struct {
    enum hold_at at;
    int caught, turn; /* atomic; turn: 0 the caller's, 1 the holder's, 2 over */
    struct gc_impl_thread *other; /* the holder's words */
    pthread_t holder, collector;
} hold;

/* 0, 1 or 2, as the states above; the bit of wbcheck left out. */
static inline uint32_t
hold_state(const struct gc_impl_thread *t)
{
    return t->barrier & 3;
}

static inline int
hold_is_there(void)
{
    const struct gc_impl_thread *me = &gc_impl_self, *other = hold.other;

    if (hold.at == HOLD_HYBRID)
        return hold_state(me) == 1 && hold_state(other) == 0;
    return hold_state(me) == 2 && me->poll && hold_state(other) == 2 && other->poll;
}

static void *
hold_main(void *unused)
{
    int turn;

    hold.other = &gc_impl_self;
    __atomic_store_n(&hold.turn, 0, __ATOMIC_RELEASE);
    while ((turn = __atomic_load_n(&hold.turn, __ATOMIC_ACQUIRE)) != 2)
        if (turn == 1) {
            gc_safepoint();
            __atomic_store_n(&hold.turn, 0, __ATOMIC_RELEASE);
        } else {
            sched_yield();
        }
    return unused;
}

static void *
hold_collect(void *unused)
{
    while (!__atomic_load_n(&hold.caught, __ATOMIC_ACQUIRE))
        gc_collect(NULL);
    return unused;
}

static inline void
hold_thread(pthread_t *thread, void *(*fn)(void *))
{
    if (gc_pthread_create(thread, NULL, fn, NULL) != GC_OK)
        abort();
}

/*
 * One poll of the caller and, unless that was enough, one of the holder.  H4 is asked of one
 * after the other, so if the caller has been asked, the holder may be about to.
 */
static inline int
hold_step(void)
{
    gc_safepoint();
    for (int i = 0; i < 50 && hold_state(&gc_impl_self) == 2 && gc_impl_self.poll; i++) {
        if (hold_is_there())
            return 1;
        sched_yield();
    }
    if (hold_is_there())
        return 1;
    __atomic_store_n(&hold.turn, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&hold.turn, __ATOMIC_ACQUIRE) != 0)
        sched_yield();
    return hold_is_there();
}

/* From here on the caller's barrier is in the wanted state. */
static inline void
hold_begin(enum hold_at at)
{
    sigset_t all, before;

    hold.at = at;
    if (at == HOLD_IDLE)
        return;
    hold.caught = 0;
    hold.turn = 1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    hold_thread(&hold.holder, hold_main);
    hold_thread(&hold.collector, hold_collect);
    while (__atomic_load_n(&hold.turn, __ATOMIC_ACQUIRE) != 0)
        sched_yield();
    while (!hold_step())
        continue;
    __atomic_store_n(&hold.caught, 1, __ATOMIC_RELEASE);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The cycle goes on, and is over when this returns. */
static inline void
hold_end(void)
{
    if (hold.at == HOLD_IDLE)
        return;
    __atomic_store_n(&hold.turn, 2, __ATOMIC_RELEASE);
    GC_BLOCKING
    {
        (void)pthread_join(hold.holder, NULL);
        (void)pthread_join(hold.collector, NULL);
    }
}

#endif
