/* SPDX-License-Identifier: MIT */
/*
 * The replacer: a thread that makes garbage as a real service does, by updating its data.
 *
 * At a fixed rate it picks a record at random, makes the next version of it and puts it
 * into the index; the old record and its three parts become garbage as soon as no request
 * holds them.
 *
 * Place.  main.c starts and stops it.  It is the index's only writer after the load.
 *
 * Concurrency.  One thread, attached to the heap.  It waits in a condition variable, inside
 * a blocking bracket, and wakes every TICK_MS to do what has become due; the number due is
 * counted from the start, so the rate holds even when a tick comes late.  After a long halt
 * it catches up at most one second's work.
 */
#include "replacer.h"

#include <gcrt/gcrt.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TICK_MS 5

struct replacer {
    const struct service *svc; /* borrowed */
    uint64_t rate;             /* const: records a second */
    uint64_t done;             /* written by the thread, read by any, relaxed */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int stop; /* lock */
};

static uint64_t
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void
replace_one(const struct service *svc, uint64_t *random)
{
    struct record *old = index_get(svc->index, rng_below(random, svc->records));

    index_put(svc->index,
            record_make(svc->seed, old->key, old->version + 1, svc->payload_len));
}

/* Waits for the next tick; 1 when it is time to stop. */
static int
tick(struct replacer *r)
{
    struct timespec until;
    int stop;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    gc_block_enter();
    pthread_mutex_lock(&r->lock);
    if (!r->stop)
        pthread_cond_timedwait(&r->wake, &r->lock, &until);
    stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    gc_block_leave();
    return stop;
}

static void *
replacer_main(void *arg)
{
    struct replacer *r = arg;
    uint64_t random = mix64(r->svc->seed ^ 0x7265706c61636572u);
    uint64_t start = now_ns();
    uint64_t planned = 0; /* counts what was skipped after a halt, too */

    while (!tick(r)) {
        uint64_t due = (uint64_t)((double)(now_ns() - start) * 1e-9 * (double)r->rate);

        if (due - planned > r->rate)
            planned = due - r->rate;
        for (; planned < due; planned++) {
            replace_one(r->svc, &random);
            __atomic_store_n(&r->done, r->done + 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void
replacer_free(struct replacer *r)
{
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

struct replacer *
replacer_start(const struct service *svc, uint64_t rate)
{
    struct replacer *r = rate == 0 ? NULL : calloc(1, sizeof(*r));
    pthread_condattr_t attr;

    if (r == NULL) {
        if (rate != 0)
            fprintf(stderr, "lookup: no memory for the replacer\n");
        return NULL;
    }
    r->svc = svc;
    r->rate = rate;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (gc_pthread_create(&r->thread, NULL, replacer_main, r) != GC_OK) {
        fprintf(stderr, "lookup: cannot start the replacer: %s\n", gc_last_error());
        replacer_free(r);
        return NULL;
    }
    return r;
}

uint64_t
replacer_count(const struct replacer *r)
{
    return r == NULL ? 0 : __atomic_load_n(&r->done, __ATOMIC_RELAXED);
}

void
replacer_stop(struct replacer *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = 1;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    GC_BLOCKING {
        pthread_join(r->thread, NULL);
    }
    replacer_free(r);
}
