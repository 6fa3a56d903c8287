/* SPDX-License-Identifier: MIT */
/*
 * Purpose: threads that never call gcrt hold up no cycle, and what only they hold lives:
 * one in a pure compute loop, one that sits unbracketed in read(), one in
 * pthread_mutex_lock(), one whose only pointer lies in a vector register.  The loop's
 * result is right, read() returns what came, and no pointer is lost.
 *
 * Place: public interface only; shows promise "a thread that never polls is signalled".
 *
 * Concurrency: the main thread runs cycles until it has seen its number while all others
 * are silent; then it lets them go on and they check what they held.
 *
 * Arguments: cycles=25 and what t_options reads.  A cycle that waits for a silent thread
 * never ends: t_hang_after catches that.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct cell {
    struct cell *next;
    uint64_t value[5];
};

GC_TYPE(cell_type, struct cell, next);

#define CELLS 50
#define SALT  UINT64_C(0x5a17000000000000)

static int pipe_ends[2];
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static int ready, spinning = 1;

static __attribute__((noinline)) struct cell *
chain_build(uint64_t salt)
{
    struct cell *chain = NULL;

    for (uint64_t i = 0; i < CELLS; i++) {
        struct cell *cell = gc_alloc(&cell_type);

        for (int k = 0; k < 5; k++)
            cell->value[k] = salt ^ i;
        cell->next = chain;
        chain = cell;
    }
    return chain;
}

static __attribute__((noinline)) void
chain_check(const struct cell *cell, uint64_t salt, const char *who)
{
    uint64_t i = CELLS;

    for (; cell != NULL && i > 0; cell = cell->next) {
        i--;
        for (int k = 0; k < 5; k++)
            T_CHECK(cell->value[k] == (salt ^ i), "%s: cell %llu holds 0x%llx", who,
                    (unsigned long long)i, (unsigned long long)cell->value[k]);
    }
    T_CHECK(cell == NULL && i == 0, "%s: the chain is broken at %llu", who,
            (unsigned long long)i);
}

static void
say_ready(void)
{
    __atomic_fetch_add(&ready, 1, __ATOMIC_RELEASE);
}

static int
still_spinning(void)
{
    return __atomic_load_n(&spinning, __ATOMIC_RELAXED);
}

/* One unit of work whose result is known: integer and floating point state both. */
static __attribute__((noinline)) uint64_t
compute(uint64_t rounds)
{
    uint64_t x = 88172645463325252u, bits;
    double a = 1.0, b = 0.5, c = 0.25, d = 3.0;

    for (uint64_t i = 0; i < rounds; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        a = a * 0.999999 + (double)(x & 0xff);
        b = b * 0.5 + a;
        c = c + b / d;
        d = d + 1.0;
    }
    a = a + b + c + d;
    memcpy(&bits, &a, sizeof bits);
    return x ^ bits;
}

#define ROUNDS 200000

static uint64_t expected; /* const once threads run: compute(ROUNDS) on a quiet thread */
static uint64_t computed; /* units done; atomic: adds */

static void *
loop_main(void *arg)
{
    struct cell *chain;

    (void)arg;
    T_OK(gc_thread_attach(NULL));
    chain = chain_build(SALT);
    say_ready();
    while (still_spinning()) {
        uint64_t got = compute(ROUNDS);

        T_CHECK(got == expected, "the compute loop got 0x%llx, not 0x%llx: a signal has"
                " damaged its registers", (unsigned long long)got,
                (unsigned long long)expected);
        __atomic_fetch_add(&computed, 1, __ATOMIC_RELAXED);
    }
    chain_check(chain, SALT, "compute loop");
    return NULL;
}

static void *
read_main(void *arg)
{
    struct cell *chain;
    char byte = 0;
    ssize_t n;

    (void)arg;
    T_OK(gc_thread_attach(NULL));
    chain = chain_build(SALT + 1);
    t_wipe_stack();
    say_ready();
    n = read(pipe_ends[0], &byte, 1);
    T_CHECK(n == 1 && byte == 'x',
            "read returned %zd (errno %d): the signal must restart it", n,
            n < 0 ? errno : 0);
    chain_check(chain, SALT + 1, "read");
    return NULL;
}

static void *
lock_main(void *arg)
{
    struct cell *chain;

    (void)arg;
    T_OK(gc_thread_attach(NULL));
    chain = chain_build(SALT + 2);
    t_wipe_stack();
    say_ready();
    (void)pthread_mutex_lock(&gate);
    (void)pthread_mutex_unlock(&gate);
    chain_check(chain, SALT + 2, "pthread_mutex_lock");
    return NULL;
}

/* Only the last cell's end is pointed at, from deep below: an interior pointer. */
static void *
interior_main(void *arg)
{
    char *inside;

    (void)arg;
    T_OK(gc_thread_attach(NULL));
    inside = (char *)chain_build(SALT + 3) + sizeof(struct cell) - 1;
    __asm__ volatile("" : "+r"(inside));
    t_wipe_stack();
    say_ready();
    while (still_spinning())
        ;
    __asm__ volatile("" : "+r"(inside));
    chain_check((struct cell *)(void *)(inside + 1 - sizeof(struct cell)), SALT + 3,
            "interior");
    return NULL;
}

#if defined(__x86_64__)
static __attribute__((noinline)) uintptr_t
chain_build_hidden(uint64_t salt)
{
    return t_hide(chain_build(salt));
}

/* The pointer exists in xmm15 alone while the loop runs. */
static __attribute__((noinline)) uintptr_t
hold_in_vector_register(uintptr_t hidden)
{
    __asm__ volatile("notq %0\n\t"
                     "movq %0, %%xmm15\n\t"
                     "xorq %0, %0\n\t"
                     "1: pause\n\t"
                     "cmpl $0, %1\n\t"
                     "jne 1b\n\t"
                     "movq %%xmm15, %0\n\t"
                     "pxor %%xmm15, %%xmm15\n\t"
                     "notq %0"
                     : "+r"(hidden)
                     : "m"(spinning)
                     : "xmm15", "cc", "memory");
    return hidden;
}

static void *
vector_main(void *arg)
{
    uintptr_t hidden;

    (void)arg;
    T_OK(gc_thread_attach(NULL));
    hidden = chain_build_hidden(SALT + 4);
    t_wipe_stack();
    t_wipe_registers();
    say_ready();
    hidden = hold_in_vector_register(hidden);
    chain_check(t_reveal(hidden), SALT + 4, "vector register");
    return NULL;
}
#endif

static void *(*const mains[])(void *) = {
    loop_main,
    read_main,
    lock_main,
    interior_main,
#if defined(__x86_64__)
    vector_main,
#endif
};
#define THREADS (sizeof mains / sizeof mains[0])

/* Garbage between cycles takes the place of whatever was lost. */
static void
cycles_while_silent(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        gc_collect(NULL);
        for (int k = 0; k < 20; k++)
            GC_KEEP_ALIVE(chain_build(i));
    }
}

int
main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    uint64_t cycles;
    gc_options opt;

    t_start("silent", argc, argv);
    t_hang_after(300);
    cycles = (uint64_t)t_arg("cycles", 25);
    t_options(&opt);
    expected = compute(ROUNDS);
    T_CHECK(pipe(pipe_ends) == 0, "pipe");
    T_OK(gc_init(&opt));
    (void)pthread_mutex_lock(&gate);
    for (size_t i = 0; i < THREADS; i++)
        T_CHECK(pthread_create(&threads[i], NULL, mains[i], NULL) == 0, "pthread_create");
    while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < (int)THREADS)
        t_sleep_us(1000);
    t_sleep_us(50000);
    cycles_while_silent(cycles);
    T_CHECK(t_cycles(NULL) >= cycles, "%llu cycles only",
            (unsigned long long)t_cycles(NULL));
    __atomic_store_n(&spinning, 0, __ATOMIC_RELAXED);
    T_CHECK(write(pipe_ends[1], "x", 1) == 1, "write");
    (void)pthread_mutex_unlock(&gate);
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    t_verify(NULL);
    t_note("cycles=%llu while %zu threads were silent, %llu units computed",
            (unsigned long long)t_cycles(NULL), THREADS, (unsigned long long)computed);
    gc_shutdown();
    return 0;
}
