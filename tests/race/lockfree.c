/* SPDX-License-Identifier: MIT */
/*
 * Purpose: lock-free structures on the heap, without hazard pointers, epochs or counted
 * pointers: Treiber's stack, and Michael and Scott's queue (PODC 1996).  No value may be lost
 * or come twice, and the queue keeps each producer's order, while cycles run all the time.
 * What a thread holds is neither reused (no ABA) nor reclaimed under its feet; and what the
 * atomic stores publish is seen whole, which ThreadSanitizer judges.
 *
 * Place: public interface only.
 *
 * Concurrency: every thread does both ends of both; one thread collects.
 *
 * Arguments: threads=4 ops=20000 rounds=2, or seconds= for a long run; what t_options reads.
 */
#include "heapkit.h"

#include <pthread.h>
#include <string.h>

#define THREADS_MAX 16
#define CHECK_WORD  UINT64_C(0x5ca1ab1e0ddba11)

struct cell {
    struct cell *next;
    uint64_t thread, serial, check;
};

GC_TYPE(cell_type, struct cell, next);

static struct {
    struct cell *top;
    struct cell *head, *tail; /* head's value has been taken */
} roots;                      /* registered */

static uint64_t nthreads, nops;
static unsigned char *popped[THREADS_MAX], *taken[THREADS_MAX]; /* by thread and serial */

static struct cell *
cell_new(uint64_t thread, uint64_t serial)
{
    struct cell *c = gc_alloc(&cell_type);

    c->thread = thread;
    c->serial = serial;
    c->check = CHECK_WORD ^ thread ^ serial;
    return c;
}

/* The cell's values are whole, and this is the first time that they come. */
static void
account(const struct cell *c, unsigned char *const *seen)
{
    T_CHECK(c->thread < nthreads && c->serial < nops
                    && c->check == (CHECK_WORD ^ c->thread ^ c->serial),
            "a cell holds thread %llu, serial %llu, check 0x%llx", (unsigned long long)c->thread,
            (unsigned long long)c->serial, (unsigned long long)c->check);
    T_CHECK(__atomic_exchange_n(&seen[c->thread][c->serial], 1, __ATOMIC_RELAXED) == 0,
            "thread %llu's %llu came twice", (unsigned long long)c->thread,
            (unsigned long long)c->serial);
}

static void
push(struct cell *c)
{
    struct cell *seen;

    do {
        seen = gc_read_acquire(&roots.top);
        gc_write(&c->next, seen);
    } while (!gc_cas(&roots.top, seen, c));
}

static struct cell *
pop(void)
{
    struct cell *seen;

    do
        seen = gc_read_acquire(&roots.top);
    while (seen != NULL && !gc_cas(&roots.top, seen, seen->next));
    return seen;
}

static void
put(struct cell *c)
{
    struct cell *tail, *next;

    do {
        tail = gc_read_acquire(&roots.tail);
        next = gc_read_acquire(&tail->next);
        if (next != NULL)
            (void)gc_cas(&roots.tail, tail, next);
    } while (next != NULL || !gc_cas(&tail->next, (struct cell *)NULL, c));
    (void)gc_cas(&roots.tail, tail, c);
}

static struct cell *
take(void)
{
    struct cell *head, *next;

    do {
        head = gc_read_acquire(&roots.head);
        next = gc_read_acquire(&head->next);
    } while (next != NULL && !gc_cas(&roots.head, head, next));
    return next;
}

/* What one thread takes from the queue has each producer's serials in rising order. */
static void
take_and_check(uint64_t *last)
{
    const struct cell *c = take();

    if (c == NULL)
        return;
    account(c, taken);
    T_CHECK(c->serial + 1 > last[c->thread], "thread %llu's %llu came after its %llu",
            (unsigned long long)c->thread, (unsigned long long)c->serial,
            (unsigned long long)last[c->thread] - 1);
    last[c->thread] = c->serial + 1;
}

static void *
worker_main(void *arg)
{
    uint64_t me = (uint64_t)(uintptr_t)arg, last[THREADS_MAX] = { 0 };
    const struct cell *c;

    for (uint64_t i = 0; i < nops; i++) {
        push(cell_new(me, i));
        put(cell_new(me, i));
        if ((i / 8) % 2 == 1) { /* now and then they grow */
            for (int k = 0; k < 2; k++)
                if ((c = pop()) != NULL)
                    account(c, popped);
            take_and_check(last);
            take_and_check(last);
        }
    }
    return NULL;
}

static void
begin_round(void)
{
    struct cell *dummy = gc_alloc(&cell_type);

    gc_write(&roots.head, dummy);
    gc_write(&roots.tail, dummy);
    for (uint64_t t = 0; t < nthreads; t++) {
        memset(popped[t], 0, nops);
        memset(taken[t], 0, nops);
    }
}

static void
end_round(void)
{
    uint64_t last[THREADS_MAX] = { 0 };
    const struct cell *c;

    while ((c = pop()) != NULL)
        account(c, popped);
    while (gc_read_acquire(&roots.head->next) != NULL)
        take_and_check(last);
    for (uint64_t t = 0; t < nthreads; t++)
        for (uint64_t i = 0; i < nops; i++)
            T_CHECK(popped[t][i] == 1 && taken[t][i] == 1, "thread %llu's %llu was lost",
                    (unsigned long long)t, (unsigned long long)i);
}

static int running;

static void *
collector_main(void *unused)
{
    (void)unused;
    while (__atomic_load_n(&running, __ATOMIC_ACQUIRE))
        gc_collect(NULL);
    return NULL;
}

static void
play_round(void)
{
    pthread_t threads[THREADS_MAX], collector;

    begin_round();
    __atomic_store_n(&running, 1, __ATOMIC_RELEASE);
    T_OK(gc_pthread_create(&collector, NULL, collector_main, NULL));
    for (uint64_t t = 0; t < nthreads; t++)
        T_OK(gc_pthread_create(&threads[t], NULL, worker_main, (void *)(uintptr_t)t));
    GC_BLOCKING
    {
        for (uint64_t t = 0; t < nthreads; t++)
            (void)pthread_join(threads[t], NULL);
        __atomic_store_n(&running, 0, __ATOMIC_RELEASE);
        (void)pthread_join(collector, NULL);
    }
    end_round();
}

int
main(int argc, char **argv)
{
    uint64_t until, rounds, done = 0;
    gc_options opt;

    t_start("lockfree", argc, argv);
    t_hang_after(600 + (unsigned)t_arg("seconds", 0));
    t_options(&opt);
    nthreads = (uint64_t)t_arg("threads", 4);
    nops = (uint64_t)t_arg("ops", 20000);
    rounds = (uint64_t)t_arg("rounds", 2);
    T_CHECK(nthreads >= 1 && nthreads <= THREADS_MAX, "threads= is 1 to %d", THREADS_MAX);
    for (uint64_t t = 0; t < nthreads; t++) {
        popped[t] = malloc(nops);
        taken[t] = malloc(nops);
        T_CHECK(popped[t] != NULL && taken[t] != NULL, "no memory for the books");
    }
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(&roots, sizeof roots));
    until = t_now_ms() + (uint64_t)t_arg("seconds", 0) * 1000;
    do
        play_round();
    while (++done < rounds || t_now_ms() < until);
    t_verify(NULL);
    t_note("%llu rounds of %llu threads and %llu values each; cycles=%llu",
            (unsigned long long)done, (unsigned long long)nthreads, (unsigned long long)nops,
            (unsigned long long)t_cycles(NULL));
    gc_root_remove(&roots);
    gc_shutdown();
    for (uint64_t t = 0; t < nthreads; t++) {
        free(popped[t]);
        free(taken[t]);
    }
    return 0;
}
