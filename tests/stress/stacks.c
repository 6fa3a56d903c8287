/* SPDX-License-Identifier: MIT */
/*
 * Purpose: stacks at their limits.  A thread that recurses into its guard page gets SIGSEGV
 * in the host's handler on an alternate stack, stays there while cycles run and signals
 * come, and leaves by siglongjmp: the collector waits for it and loses nothing.  A stack
 * that is used for three quarters is scanned to its end.  Threads with the smallest stacks
 * allocate and are signalled.
 *
 * Place: public interface only.
 *
 * Concurrency: one thread collects all the time; the others are the cases.
 *
 * Arguments: overflows=15 and what t_options reads, with grace=0 unless said otherwise.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
# define SANITIZED 1 /* larger frames, and a SIGSEGV handler of its own */
#else
# define SANITIZED 0
#endif

struct cell {
    struct cell *next;
    uint64_t value;
};

GC_TYPE(cell_type, struct cell, next);

#define CELLS     200
#define ALT_BYTES ((size_t)64 << 10)

static int stopping; /* atomic */

static __attribute__((noinline)) struct cell *
chain_build(uint64_t salt)
{
    struct cell *chain = NULL;

    for (uint64_t i = 0; i < CELLS; i++) {
        struct cell *cell = gc_alloc(&cell_type);

        cell->value = salt + i;
        gc_write(&cell->next, chain);
        chain = cell;
    }
    return chain;
}

static __attribute__((noinline)) void
chain_check(const struct cell *cell, uint64_t salt)
{
    uint64_t i = CELLS;

    for (; cell != NULL && i > 0; cell = cell->next)
        T_CHECK(cell->value == salt + --i, "a cell holds 0x%llx",
                (unsigned long long)cell->value);
    T_CHECK(cell == NULL && i == 0, "a chain breaks at %llu", (unsigned long long)i);
}

static void *
cycles_main(void *arg)
{
    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED))
        gc_collect(arg);
    return NULL;
}

/* Starts a heap with a thread that collects, and ends it. */
static pthread_t
start_cycles(void)
{
    pthread_t thread;
    gc_options opt;

    t_hang_after(120);
    t_options(&opt);
    opt.grace_us = (uint32_t)t_arg("grace", 0);
    T_OK(gc_init(&opt));
    T_CHECK(pthread_create(&thread, NULL, cycles_main, gc_thread_heap()) == 0,
            "pthread_create");
    return thread;
}

static void
end_cycles(pthread_t thread)
{
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    GC_BLOCKING (void)pthread_join(thread, NULL);
    t_verify(NULL);
    gc_shutdown();
}

/* ---- overflow ---- */

static __thread sigjmp_buf way_out;
static unsigned caught; /* by the overflowing thread only */

/* On the alternate stack: some milliseconds in which the collector's signal comes. */
static void
on_segv(int signal)
{
    uint64_t until = t_now_ns() + 5000000, x = (uint64_t)signal;

    while (t_now_ns() < until)
        x = t_mix(x);
    __asm__ volatile("" : : "r"(x));
    caught++;
    siglongjmp(way_out, 1);
}

static volatile uint64_t enough = UINT64_MAX; /* no stack is so deep */

static __attribute__((noinline)) uint64_t
recurse_for_ever(uint64_t n)
{
    volatile uint64_t room[32];

    room[n % 32] = n;
    return n == enough ? 0 : recurse_for_ever(n + 1) + room[(n + 1) % 32];
}

static __attribute__((noinline)) void
overflow_once(void)
{
    if (sigsetjmp(way_out, 1) == 0)
        GC_KEEP_ALIVE((void *)(uintptr_t)recurse_for_ever(0));
}

static void *
overflow_main(void *arg)
{
    stack_t alt = { .ss_sp = malloc(ALT_BYTES), .ss_size = ALT_BYTES }, old;
    struct cell *chain;

    T_CHECK(alt.ss_sp != NULL && sigaltstack(&alt, &old) == 0, "sigaltstack");
    T_OK(gc_thread_attach(NULL));
    chain = chain_build(99);
    for (int64_t i = t_arg("overflows", 15); i > 0; i--) {
        overflow_once();
        GC_KEEP_ALIVE(chain_build((uint64_t)i));
        chain_check(chain, 99);
    }
    gc_thread_detach();
    (void)sigaltstack(&old, NULL);
    free(alt.ss_sp);
    return arg;
}

static void
overflow(void *arg)
{
    struct sigaction act;
    pthread_t thread, cycles = start_cycles();
    uint64_t before = t_cycles(NULL);

    (void)arg;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_segv;
    act.sa_flags = SA_ONSTACK;
    T_CHECK(sigaction(SIGSEGV, &act, NULL) == 0, "sigaction");
    T_CHECK(pthread_create(&thread, NULL, overflow_main, NULL) == 0, "pthread_create");
    GC_BLOCKING (void)pthread_join(thread, NULL);
    T_CHECK(caught == (unsigned)t_arg("overflows", 15), "%u overflows were caught", caught);
    T_CHECK(t_cycles(NULL) > before, "no cycle meanwhile");
    end_cycles(cycles);
}

/* ---- deep ---- */

#define DEEP_STACK ((size_t)8 << 20)
#define DEEP_USE   ((size_t)6 << 20)

static char *deep_top; /* of the deep thread only */
static uint64_t deep_frames, deep_cycles;

/* Each frame alone holds a chain; at the bottom some cycles pass. */
static __attribute__((noinline)) void
go_down(uint64_t n)
{
    volatile uint64_t room[256];
    struct cell *cell = n % 8 == 0 ? gc_alloc(&cell_type) : NULL;

    room[n % 256] = n;
    if (cell != NULL)
        cell->value = t_mix(n);
    if ((size_t)(deep_top - (char *)(uintptr_t)&room[0]) < DEEP_USE) {
        go_down(n + 1);
    } else {
        uint64_t start = t_cycles(NULL);

        deep_frames = n;
        while (t_cycles(NULL) < start + 3)
            GC_KEEP_ALIVE(chain_build(n)); /* takes the place of what was lost */
        deep_cycles = t_cycles(NULL) - start;
    }
    T_CHECK(room[n % 256] == n, "a frame is altered");
    T_CHECK(cell == NULL || cell->value == t_mix(n), "frame %llu has lost its cell",
            (unsigned long long)n);
}

static void *
deep_main(void *arg)
{
    char here;

    deep_top = &here;
    T_OK(gc_thread_attach(NULL));
    go_down(1);
    gc_thread_detach();
    return arg;
}

static void
deep(void *arg)
{
    pthread_t thread, cycles = start_cycles();
    pthread_attr_t attr;

    (void)arg;
    T_CHECK(pthread_attr_init(&attr) == 0
                    && pthread_attr_setstacksize(&attr, DEEP_STACK) == 0,
            "attributes");
    T_CHECK(pthread_create(&thread, &attr, deep_main, NULL) == 0, "pthread_create");
    GC_BLOCKING (void)pthread_join(thread, NULL);
    T_CHECK(deep_frames > 1000 && deep_cycles >= 3, "%llu frames, %llu cycles",
            (unsigned long long)deep_frames, (unsigned long long)deep_cycles);
    (void)fprintf(stderr, "%llu frames", (unsigned long long)deep_frames);
    end_cycles(cycles);
}

/* ---- tiny ---- */

static void *
tiny_main(void *arg)
{
    uint64_t until = t_now_ns() + 100000000, x = 1, rounds = 0;
    struct cell *chain;

    T_OK(gc_thread_attach(NULL));
    chain = chain_build(5);
    while (t_now_ns() < until) {
        GC_KEEP_ALIVE(chain_build(rounds++));
        for (int i = 0; i < 20000; i++) /* silent: signals come */
            x = t_mix(x);
        chain_check(chain, 5);
    }
    __asm__ volatile("" : : "r"(x));
    T_CHECK(gc_try_alloc_bytes(1 << 20) != NULL, "%s", gc_last_error());
    GC_BLOCKING t_sleep_us(1000);
    gc_thread_detach();
    return arg;
}

static void
tiny(void *arg)
{
    pthread_t thread, cycles = start_cycles();
    pthread_attr_t attr;

    T_CHECK(pthread_attr_init(&attr) == 0
                    && pthread_attr_setstacksize(&attr, *(const size_t *)arg) == 0,
            "attributes");
    T_CHECK(pthread_create(&thread, &attr, tiny_main, NULL) == 0, "pthread_create");
    GC_BLOCKING (void)pthread_join(thread, NULL);
    end_cycles(cycles);
}

static void
run(const char *name, void (*fn)(void *), void *arg)
{
    char text[2048];
    int status = t_child(fn, arg, text, sizeof text);

    T_CHECK(status == 0, "%s: wait status 0x%x: %s", name, (unsigned)status, text);
    t_note("%s: passed %s", name, text);
}

int
main(int argc, char **argv)
{
    size_t sizes[3] = { (size_t)sysconf(_SC_THREAD_STACK_MIN), 32 << 10, 64 << 10 };
    char label[64];

    t_start("stacks", argc, argv);
    if (!SANITIZED)
        run("overflow", overflow, NULL);
    run("deep", deep, NULL);
    for (size_t i = 0; i < 3 && !SANITIZED; i++) {
        (void)snprintf(label, sizeof label, "a stack of %zu KiB", sizes[i] >> 10);
        run(label, tiny, &sizes[i]);
    }
    return 0;
}
