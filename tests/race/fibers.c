/* SPDX-License-Identifier: MIT */
/*
 * Purpose: threads that resume one another's fibers while cycles scan them, and one that
 * registers, resets and unregisters stacks, at full speed.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: 3 threads take fibers from a queue under a lock; one collects; one has stacks
 * of its own.  No function calls gcrt's inline parts after a switch to another thread
 * (docs/fibers.md, rule 7): ThreadSanitizer's instructions take thread-local addresses early.
 *
 * Arguments: seconds=3 assembly=0|1 and what t_options reads.
 */
#define _GNU_SOURCE

#include "coro.h"
#include "heapkit.h"

#include <pthread.h>
#include <sched.h>

#define FIBERS   12
#define THREADS  3
#define STACK    ((size_t)64 << 10)
#define NOINLINE __attribute__((noinline))

struct cell {
    struct cell *next;
    uint64_t number;
};

GC_TYPE(cell_type, struct cell, next);

struct fiber {
    struct coro coro;
    struct coro *carrier;
    uint64_t rounds;
};

static struct fiber fibers[FIBERS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fiber *queue[FIBERS]; /* lock */
static size_t nqueue;               /* lock */
static int stopping;                /* atomic */
static uint64_t switches;           /* atomic: adds */

static NOINLINE struct cell *
cons(uint64_t number, struct cell *next)
{
    struct cell *c = gc_alloc(&cell_type);

    c->next = next;
    c->number = number;
    return c;
}

static NOINLINE void
check(const struct cell *c, uint64_t n)
{
    for (; c != NULL; c = c->next, n--)
        T_CHECK(c->number == n, "cell %llu is altered", (unsigned long long)n);
    T_CHECK(n == 0, "%llu cells are gone", (unsigned long long)n);
}

static NOINLINE void
yield(struct fiber *f)
{
    coro_transfer(&f->coro, f->carrier);
}

static NOINLINE int
stop_wanted(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_ACQUIRE);
}

static void
fiber_main(void *arg)
{
    struct fiber *f = arg;

    while (!stop_wanted()) {
        struct cell *volatile list = NULL;

        for (uint64_t n = 1; n <= 20; n++) {
            list = cons(n, list);
            yield(f);
        }
        check(list, 20);
        f->rounds++;
    }
}

static NOINLINE struct fiber *
take_first(void)
{
    struct fiber *f = NULL;

    pthread_mutex_lock(&lock);
    if (nqueue != 0) {
        f = queue[0];
        nqueue--;
        for (size_t i = 0; i < nqueue; i++)
            queue[i] = queue[i + 1];
    }
    pthread_mutex_unlock(&lock);
    return f;
}

static NOINLINE void
put_last(struct fiber *f)
{
    pthread_mutex_lock(&lock);
    queue[nqueue++] = f;
    pthread_mutex_unlock(&lock);
}

static void *
carrier_main(void *arg)
{
    struct coro home;
    struct fiber *f;

    (void)arg;
    coro_adopt(&home, fibers[0].coro.how);
    while ((f = take_first()) != NULL || !stop_wanted()) {
        if (f == NULL) {
            (void)sched_yield();
            continue;
        }
        f->carrier = f->coro.end = &home;
        coro_transfer(&home, &f->coro);
        __atomic_fetch_add(&switches, 1, __ATOMIC_RELAXED);
        if (!f->coro.over)
            put_last(f);
    }
    coro_forget(&home);
    return NULL;
}

static void
nothing(void *arg)
{
    (void)arg;
}

/* Stacks that come and go while workers walk over the others. */
static void *
registrar_main(void *arg)
{
    char *memory = coro_map(4, STACK);
    struct coro home, c[4];

    (void)arg;
    T_CHECK(memory != NULL, "no memory");
    coro_adopt(&home, fibers[0].coro.how);
    while (!stop_wanted()) {
        for (size_t i = 0; i < 4; i++) {
            coro_make(&c[i], home.how, memory + i * STACK, STACK, nothing, NULL);
            c[i].end = &home;
            coro_transfer(&home, &c[i]);
            coro_again(&c[i], nothing, NULL);
        }
        for (size_t i = 0; i < 4; i++)
            coro_drop(&c[i]);
    }
    coro_forget(&home);
    coro_unmap(memory, 4, STACK);
    return NULL;
}

static void *
collector_main(void *arg)
{
    (void)arg;
    while (!stop_wanted())
        gc_collect(NULL);
    return NULL;
}

int
main(int argc, char **argv)
{
    gc_options opt;
    pthread_t threads[THREADS + 2];
    char *memory = coro_map(FIBERS, STACK);
    uint64_t rounds = 0;

    t_start("fibers", argc, argv);
    t_hang_after(600);
    t_options(&opt);
    T_OK(gc_init(&opt));
    T_CHECK(memory != NULL, "no memory");
    for (size_t i = 0; i < FIBERS; i++) {
        coro_make(&fibers[i].coro, t_arg("assembly", 0) ? CORO_ASSEMBLY : CORO_UCONTEXT,
                memory + i * STACK, STACK, fiber_main, &fibers[i]);
        queue[nqueue++] = &fibers[i];
    }
    for (size_t i = 0; i < THREADS; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, carrier_main, NULL));
    T_OK(gc_pthread_create(&threads[THREADS], NULL, registrar_main, NULL));
    T_OK(gc_pthread_create(&threads[THREADS + 1], NULL, collector_main, NULL));
    GC_BLOCKING {
        t_sleep_us((unsigned)t_arg("seconds", 3) * 1000000);
        __atomic_store_n(&stopping, 1, __ATOMIC_RELEASE);
        for (size_t i = 0; i < THREADS + 2; i++)
            pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < FIBERS; i++) {
        rounds += fibers[i].rounds;
        coro_drop(&fibers[i].coro);
    }
    t_verify(NULL);
    coro_unmap(memory, FIBERS, STACK);
    t_note("switches=%llu rounds=%llu cycles=%llu", (unsigned long long)switches,
            (unsigned long long)rounds, (unsigned long long)t_cycles(NULL));
    gc_shutdown();
    return 0;
}
