/* SPDX-License-Identifier: MIT */
/*
 * Purpose: signals that come in masses, late or never.  Threads that allocate, store, block,
 * detach and attach are hit by timers, 10,000 times a second each, with the collector's
 * signal and with one that has a host's handler; the process is stopped and continued in
 * the middle of cycles; a thread blocks the collector's signal for a while and the cycle
 * waits for it; four of five of the collector's signals are lost.  No object is lost or
 * altered, errno stays, every cycle ends.
 *
 * Place: public interface only.  The collector's way to the kernel, syscall(), is replaced
 * by a function here that can lose signals.
 *
 * Concurrency: each case is a forked child; one of its threads collects all the time.
 *
 * Arguments: ms=700 for each case; period_ns=100000 of each timer; hold_ms=300 of the blocked
 * thread, from 10500 on the library's warning must come too.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PLAYERS   3
#define CELLS     60
#define PERIOD_NS 100000

struct cell {
    struct cell *next;
    uint64_t value;
};

GC_TYPE(cell_type, struct cell, next);

static int stopping;       /* atomic */
static int losing;         /* atomic: signals of the collector get lost */
static uint64_t sent, lost; /* atomic */
static uint64_t handled;   /* atomic: by the host's handler */
static uint64_t steps;     /* atomic */

/* ---- the way to the kernel ---- */

typedef long syscall_fn(long number, ...);

/* Replaces the C library's for everybody in this program. */
long
syscall(long number, ...)
{
    static syscall_fn *next; /* the same for whoever comes first */
    long arg[6];
    va_list args;

    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        arg[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_tgkill
            && __atomic_add_fetch(&sent, 1, __ATOMIC_RELAXED) % 5 != 0
            && __atomic_load_n(&losing, __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
        return 0;
    }
    return next(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

/* ---- what the threads do ---- */

static int
is_over(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_RELAXED);
}

static __attribute__((noinline)) struct cell *
chain_build(uint64_t salt)
{
    struct cell *chain = NULL;

    for (uint64_t i = 0; i < CELLS; i++) {
        struct cell *cell = gc_alloc(&cell_type);

        cell->value = t_mix(salt + i);
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
        T_CHECK(cell->value == t_mix(salt + --i), "a cell holds 0x%llx",
                (unsigned long long)cell->value);
    T_CHECK(cell == NULL && i == 0, "a chain breaks at %llu", (unsigned long long)i);
}

static void
compute_with_errno(int mine)
{
    uint64_t x = 1;

    errno = mine;
    for (int i = 0; i < 30000; i++)
        x = t_mix(x);
    __asm__ volatile("" : : "r"(x));
    T_CHECK(errno == mine, "errno was %d and is %d", mine, errno);
}

static void
play(uint64_t salt)
{
    struct cell **slots = gc_alloc_array(&gc_pointer_type, 8);
    uint64_t salts[8] = { 0 };

    for (uint64_t n = 1; n % 64 != 0 && !is_over(); n++) {
        size_t at = n % 8;

        if (slots[at] != NULL)
            chain_check(slots[at], salts[at]);
        salts[at] = salt + n;
        gc_write(&slots[at], chain_build(salts[at]));
        compute_with_errno((int)(n % 100) + 1);
        if (n % 4 == 0)
            GC_BLOCKING t_sleep_us(50);
        __atomic_fetch_add(&steps, 1, __ATOMIC_RELAXED);
    }
    GC_KEEP_ALIVE(slots);
}

static timer_t
start_timer(int signal)
{
    long period = (long)t_arg("period_ns", PERIOD_NS);
    struct itimerspec every = { { 0, period }, { 0, period } };
    struct sigevent event;
    timer_t timer;

    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = signal;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid, 0L, 0L, 0L, 0L, 0L, 0L);
    T_CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create: %s",
            strerror(errno));
    T_CHECK(timer_settime(timer, 0, &every, NULL) == 0, "timer_settime");
    return timer;
}

static void *
player_main(void *arg)
{
    uint64_t salt = *(const uint64_t *)arg;
    timer_t ours = start_timer(SIGURG), host = start_timer(SIGPROF);

    while (!is_over()) {
        T_OK(gc_thread_attach(NULL));
        play(salt);
        gc_thread_detach();
    }
    (void)timer_delete(ours);
    (void)timer_delete(host);
    return NULL;
}

static void
on_prof(int signal)
{
    int saved = errno;

    errno = signal; /* the host's own affair */
    __atomic_fetch_add(&handled, 1, __ATOMIC_RELAXED);
    errno = saved;
}

static void *
cycles_main(void *arg)
{
    while (!is_over())
        gc_collect(arg);
    return NULL;
}

/* ---- cases ---- */

static void
storm(void *arg)
{
    uint64_t until, salts[PLAYERS];
    pthread_t players[PLAYERS], cycles;
    gc_options opt;

    t_hang_after(120);
    __atomic_store_n(&losing, arg != NULL, __ATOMIC_RELAXED);
    t_options(&opt);
    opt.grace_us = 0;
    T_OK(gc_init(&opt));
    T_CHECK(signal(SIGPROF, on_prof) != SIG_ERR, "signal");
    for (uint64_t i = 0; i < PLAYERS; i++) {
        salts[i] = t_seed() + i * 1000000;
        T_CHECK(pthread_create(&players[i], NULL, player_main, &salts[i]) == 0,
                "pthread_create");
    }
    T_CHECK(pthread_create(&cycles, NULL, cycles_main, gc_thread_heap()) == 0,
            "pthread_create");
    until = t_now_ms() + (uint64_t)t_arg("ms", 700);
    GC_BLOCKING {
        while (t_now_ms() < until || __atomic_load_n(&steps, __ATOMIC_RELAXED) < 200)
            t_sleep_us(10000);
        __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
        (void)pthread_join(cycles, NULL);
        for (int i = 0; i < PLAYERS; i++)
            (void)pthread_join(players[i], NULL);
    }
    t_verify(NULL);
    T_CHECK(t_cycles(NULL) > 0 && handled > 0, "no cycle, or no signal");
    T_CHECK(arg == NULL || lost > 0, "no signal was lost");
    (void)fprintf(stderr, "%llu steps, %llu cycles, %llu signals of the host handled, "
                  "%llu of the collector sent, %llu lost\n", (unsigned long long)steps,
            (unsigned long long)t_cycles(NULL), (unsigned long long)handled,
            (unsigned long long)sent, (unsigned long long)lost);
    gc_shutdown();
}

/* The parent's half: stops and continues the child until it has ended. */
static void
stopped(void)
{
    pid_t child = fork();
    unsigned stops = 0;
    uint64_t rng = t_seed();
    int status = 0;

    T_CHECK(child >= 0, "fork");
    if (child == 0) {
        storm(NULL);
        _exit(0);
    }
    for (;;) {
        t_sleep_us((unsigned)t_below(&rng, 20000));
        if (waitpid(child, &status, WNOHANG) == child)
            break;
        T_CHECK(kill(child, SIGSTOP) == 0, "kill");
        T_CHECK(waitpid(child, &status, WUNTRACED) == child, "waitpid");
        if (!WIFSTOPPED(status))
            break;
        stops++;
        t_sleep_us((unsigned)t_below(&rng, 10000));
        T_CHECK(kill(child, SIGCONT) == 0, "kill");
    }
    T_CHECK(status == 0, "wait status 0x%x", (unsigned)status);
    T_CHECK(stops > 1, "stopped %u times only", stops);
    t_note("stopped: passed, %u stops", stops);
}

static int collected; /* atomic */

static void *
collect_once(void *arg)
{
    gc_collect(arg);
    __atomic_store_n(&collected, 1, __ATOMIC_RELEASE);
    return NULL;
}

/*
 * This thread blocks the signal and does not poll: the cycle cannot end.  At its first poll
 * it goes on, and what only this stack held is alive.
 */
static void
blocked(void *arg)
{
    uint64_t until, x = 1;
    struct cell *chain;
    pthread_t thread;
    sigset_t urg;

    (void)arg;
    t_hang_after(120);
    T_OK(gc_init(NULL));
    chain = chain_build(77);
    sigemptyset(&urg);
    sigaddset(&urg, SIGURG);
    T_CHECK(pthread_sigmask(SIG_BLOCK, &urg, NULL) == 0, "pthread_sigmask");
    T_CHECK(pthread_create(&thread, NULL, collect_once, gc_thread_heap()) == 0,
            "pthread_create");
    until = t_now_ms() + (uint64_t)t_arg("hold_ms", 300);
    while (t_now_ms() < until)
        x = t_mix(x);
    __asm__ volatile("" : : "r"(x));
    T_CHECK(!__atomic_load_n(&collected, __ATOMIC_ACQUIRE), "a cycle without this thread");
    while (!__atomic_load_n(&collected, __ATOMIC_ACQUIRE))
        gc_safepoint();
    (void)pthread_join(thread, NULL);
    GC_KEEP_ALIVE(chain_build(1));
    chain_check(chain, 77);
    t_verify(NULL);
    gc_shutdown();
}

static void
run(const char *name, void (*fn)(void *), void *arg)
{
    char text[2048];
    int status = t_child(fn, arg, text, sizeof text);

    T_CHECK(status == 0, "%s: wait status 0x%x: %s", name, (unsigned)status, text);
    if (fn == blocked)
        T_CHECK(t_mentions(text, "does one block") == (t_arg("hold_ms", 300) >= 10500),
                "a warning that should not be there, or none: %s", text);
    t_note("%s: passed, %s", name, text);
}

int
main(int argc, char **argv)
{
    t_start("storm", argc, argv);
    run("storm", storm, NULL);
    run("storm with losses", storm, &losing);
    run("blocked", blocked, NULL);
    stopped();
    return 0;
}
