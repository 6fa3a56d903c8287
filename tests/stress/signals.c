/* SPDX-License-Identifier: MIT */
/*
 * Purpose: signals may come at any instruction.  A storm of the collector's own signal, sent
 * by somebody else and mostly for nothing, falls upon threads that allocate, write, copy and
 * traverse, while cycles run back to back; a host's SIGPROF handler runs on alternate stacks
 * all the while, and its SIGUSR1 handler on the threads' own, where ours may come on top of what
 * it has interrupted; one thread blocks the collector's signal for long times
 * and only polls; one never polls and watches its errno.  No object is lost or changed, no
 * cycle waits for ever, errno stays.
 *
 * Place: public interface only; shows promise "a host's signals and ours do not meet".
 *
 * Concurrency: each player has its own objects and is the only one to touch them.  The storm
 * and the collecting thread are not attached.  Players outlive the storm, which sends
 * signals to them by name.
 *
 * Arguments: seconds=4, and what t_options reads, with verify=1 and grace=0 unless said
 * otherwise.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/time.h>

#define PLAYERS   3 /* the last one blocks the collector's signal now and then */
#define SLOTS     64
#define CHAIN_MAX 40
#define DENSE     1000
#define ALT_BYTES ((size_t)64 << 10)

struct cell {
    struct cell *next;
    uint64_t value[3];
};

GC_TYPE(cell_type, struct cell, next);

/* What a slot of a heap array shall hold: a chain of `length` cells filled from `salt`. */
struct chain {
    uint64_t salt;
    uint64_t length; /* 0: NULL */
};

struct player {
    pthread_t thread;
    uint64_t rng;
    uint64_t steps, checked;
    uint64_t blocked_cycles; /* cycles completed while it blocked the signal */
    int blocks;              /* const: it does so */
    struct cell **array[2];  /* kept alive by the frame of play */
    struct chain shadow[2][SLOTS];
};

static struct player players[PLAYERS];
static pthread_t watcher;    /* of its errno */
static int ready, stopping;  /* atomic */
static uint64_t sent[2];     /* the storm's: ours, the host's */
static uint64_t handled;     /* atomic: host handlers that ran */
static uint64_t on_alternate; /* atomic: ... on an alternate stack */
static uint64_t errno_checks;

static int
is_over(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_RELAXED);
}

/* ---- the host's handlers ---- */

static __thread char *alternate;
static __thread stack_t old_stack; /* a sanitizer has one of its own */

/* Some microseconds of work; our signal may come on top of it. */
static void
host_handler(int signal)
{
    volatile uint64_t room[64];
    uint64_t x = (uint64_t)signal;
    char *here = (char *)(uintptr_t)&room[0];

    for (int round = 0; round < 100; round++)
        for (size_t i = 0; i < 64; i++)
            room[i] = x = t_mix(x + i);
    if (alternate != NULL && here >= alternate && here < alternate + ALT_BYTES)
        __atomic_fetch_add(&on_alternate, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&handled, 1, __ATOMIC_RELAXED);
}

static void
install_host_handlers(void)
{
    struct itimerval timer = { { 0, 500 }, { 0, 500 } };
    struct sigaction act;

    memset(&act, 0, sizeof act);
    act.sa_handler = host_handler;
    act.sa_flags = SA_ONSTACK | SA_RESTART;
    T_CHECK(sigaction(SIGPROF, &act, NULL) == 0, "sigaction");
    act.sa_flags = SA_RESTART;
    T_CHECK(sigaction(SIGUSR1, &act, NULL) == 0, "sigaction");
    T_CHECK(setitimer(ITIMER_PROF, &timer, NULL) == 0, "setitimer");
}

static void
stop_host_timer(void)
{
    struct itimerval timer = { { 0, 0 }, { 0, 0 } };

    T_CHECK(setitimer(ITIMER_PROF, &timer, NULL) == 0, "setitimer");
}

static void
use_alternate_stack(void)
{
    stack_t alt = { .ss_sp = malloc(ALT_BYTES), .ss_size = ALT_BYTES };

    T_CHECK(alt.ss_sp != NULL, "malloc");
    T_CHECK(sigaltstack(&alt, &old_stack) == 0, "sigaltstack");
    alternate = alt.ss_sp;
}

static void
drop_alternate_stack(void)
{
    char *room = alternate;

    alternate = NULL;
    T_CHECK(sigaltstack(&old_stack, NULL) == 0, "sigaltstack");
    free(room);
}

/* ---- chains ---- */

static __attribute__((noinline)) struct cell *
chain_build(const struct chain *c)
{
    struct cell *chain = NULL;

    for (uint64_t i = 0; i < c->length; i++) {
        struct cell *cell = gc_alloc(&cell_type);

        for (uint64_t k = 0; k < 3; k++)
            cell->value[k] = t_mix(c->salt + i * 3 + k);
        gc_write(&cell->next, chain);
        chain = cell;
    }
    return chain;
}

static __attribute__((noinline)) void
chain_check(const struct cell *cell, const struct chain *c)
{
    uint64_t i = c->length;

    for (; cell != NULL && i > 0; cell = cell->next) {
        i--;
        for (uint64_t k = 0; k < 3; k++)
            T_CHECK(cell->value[k] == t_mix(c->salt + i * 3 + k),
                    "cell %llu of %llu holds 0x%llx", (unsigned long long)i,
                    (unsigned long long)c->length, (unsigned long long)cell->value[k]);
    }
    T_CHECK(cell == NULL && i == 0, "a chain of %llu breaks at %llu",
            (unsigned long long)c->length, (unsigned long long)i);
}

/* ---- what a player does ---- */

static void
step_replace(struct player *p)
{
    unsigned a = t_below(&p->rng, 2) != 0;
    size_t slot = t_below(&p->rng, SLOTS);
    struct chain *c = &p->shadow[a][slot];

    c->salt = t_rand(&p->rng);
    c->length = t_below(&p->rng, CHAIN_MAX);
    gc_write(&p->array[a][slot], chain_build(c));
}

static void
step_copy(struct player *p)
{
    unsigned a = t_below(&p->rng, 2) != 0;
    size_t n = 1 + t_below(&p->rng, SLOTS);
    size_t from = t_below(&p->rng, SLOTS - n + 1), to = t_below(&p->rng, SLOTS - n + 1);

    gc_copy(&gc_pointer_type, &p->array[a][to], &p->array[1 - a][from], n);
    memcpy(&p->shadow[a][to], &p->shadow[1 - a][from], n * sizeof(struct chain));
    n = 1 + t_below(&p->rng, SLOTS / 2);
    from = t_below(&p->rng, SLOTS - n + 1);
    to = t_below(&p->rng, SLOTS - n + 1);
    gc_move(&gc_pointer_type, &p->array[a][to], &p->array[a][from], n);
    memmove(&p->shadow[a][to], &p->shadow[a][from], n * sizeof(struct chain));
}

static void
step_clear(struct player *p)
{
    unsigned a = t_below(&p->rng, 2) != 0;
    size_t n = 1 + t_below(&p->rng, 8), from = t_below(&p->rng, SLOTS - n + 1);

    gc_clear(&gc_pointer_type, &p->array[a][from], n);
    memset(&p->shadow[a][from], 0, n * sizeof(struct chain));
}

/* Little but allocation: a signal that comes now comes inside gc_alloc. */
static __attribute__((noinline)) struct cell *
dense_build(uint64_t salt, uint64_t n)
{
    struct cell *chain = NULL;

    for (uint64_t i = 0; i < n; i++) {
        struct cell *cell = gc_alloc(&cell_type);

        cell->next = chain; /* nobody else knows the cell */
        cell->value[0] = salt + i;
        chain = cell;
    }
    return chain;
}

static void
step_dense(struct player *p)
{
    uint64_t salt = t_rand(&p->rng), i = DENSE;

    for (struct cell *cell = dense_build(salt, DENSE); cell != NULL; cell = cell->next) {
        i--;
        T_CHECK(cell->value[0] == salt + i, "cell %llu holds 0x%llx", (unsigned long long)i,
                (unsigned long long)cell->value[0]);
    }
    T_CHECK(i == 0, "the chain breaks at %llu", (unsigned long long)i);
}

/* Little but gc_write: each slot's old value lives in a register while it is overwritten. */
static void
step_shuffle(struct player *p)
{
    for (int round = 0; round < 4; round++)
        for (unsigned i = 0; i < SLOTS; i++) {
            size_t j = t_below(&p->rng, SLOTS);
            struct cell *cell = p->array[0][i];
            struct chain c = p->shadow[0][i];

            gc_write(&p->array[0][i], p->array[1][j]);
            gc_write(&p->array[1][j], cell);
            p->shadow[0][i] = p->shadow[1][j];
            p->shadow[1][j] = c;
        }
}

static void
step_check(struct player *p)
{
    unsigned a = t_below(&p->rng, 2) != 0;

    for (size_t slot = 0; slot < SLOTS; slot++)
        chain_check(p->array[a][slot], &p->shadow[a][slot]);
    p->checked += SLOTS;
}

/* A short sleep, outside: signals come while we are in the kernel or just leaving it. */
static void
step_sleep(void)
{
    GC_BLOCKING {
        t_sleep_us(20);
    }
}

static void
step(struct player *p)
{
    uint64_t dice = t_below(&p->rng, 100);

    if (dice < 30)
        step_replace(p);
    else if (dice < 40)
        step_copy(p);
    else if (dice < 42)
        step_clear(p);
    else if (dice < 80)
        step_dense(p);
    else if (dice < 90)
        step_shuffle(p);
    else if (dice < 98)
        step_check(p);
    else
        step_sleep();
    gc_safepoint();
    p->steps++;
}

/* Blocks the collector's signal until three more cycles are complete without it. */
static void
step_while_blocked(struct player *p)
{
    uint64_t before = t_cycles(NULL), now = before;
    sigset_t set, old;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGURG);
    T_CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0, "pthread_sigmask");
    while (!is_over() && now < before + 3) {
        for (int i = 0; i < 20; i++)
            step(p);
        now = t_cycles(NULL);
    }
    T_CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0, "pthread_sigmask");
    p->blocked_cycles += now - before;
}

static void
say_ready(void)
{
    __atomic_fetch_add(&ready, 1, __ATOMIC_RELEASE);
}

/* The two arrays are kept alive by this frame alone. */
static void
play(struct player *p)
{
    struct cell **one = gc_alloc_array(&gc_pointer_type, SLOTS);
    struct cell **two = gc_alloc_array(&gc_pointer_type, SLOTS);

    p->array[0] = one;
    p->array[1] = two;
    say_ready();
    while (!is_over()) {
        for (int i = 0; i < 100 && !is_over(); i++)
            step(p);
        if (p->blocks)
            step_while_blocked(p);
    }
    for (int i = 0; i < 4; i++)
        step_check(p);
    GC_KEEP_ALIVE(one);
    GC_KEEP_ALIVE(two);
}

static void
wait_for_end_of_storm(void)
{
    while (__atomic_load_n(&stopping, __ATOMIC_ACQUIRE) != 2)
        t_sleep_us(1000);
}

static void *
player_main(void *arg)
{
    use_alternate_stack();
    T_OK(gc_thread_attach(NULL));
    play(arg);
    gc_thread_detach();
    wait_for_end_of_storm();
    drop_alternate_stack();
    return NULL;
}

/* Never polls, so it answers in the handler, always; its errno is nobody else's. */
static void *
watcher_main(void *arg)
{
    struct chain c = { 17, 1000 };
    struct cell *chain;

    (void)arg;
    use_alternate_stack();
    T_OK(gc_thread_attach(NULL));
    chain = chain_build(&c);
    say_ready();
    for (uint64_t round = 1; !is_over(); round++) {
        uint64_t x = round;
        int mine = (int)(round % 4000) + 1;

        errno = mine;
        for (uint64_t i = 0; i < 2000; i++)
            x = t_mix(x + i);
        __asm__ volatile("" : : "r"(x));
        T_CHECK(errno == mine, "errno was %d and is %d", mine, errno);
        errno_checks++;
    }
    chain_check(chain, &c);
    gc_thread_detach();
    wait_for_end_of_storm();
    drop_alternate_stack();
    return NULL;
}

/* ---- the storm, and cycles ---- */

static void
pause_ns(uint64_t ns)
{
    uint64_t until = t_now_ns() + ns;

    while (t_now_ns() < until)
        continue;
}

/* Bursts of 10 ms, 10 to 50 us apart; between them others have the CPU. */
static void *
storm_main(void *arg)
{
    uint64_t rng = t_seed() ^ 0x73746f726d;

    (void)arg;
    while (!is_over()) {
        uint64_t end = t_now_ns() + 10 * 1000 * 1000;

        while (t_now_ns() < end) {
            uint64_t dice = t_below(&rng, PLAYERS + 1), host = t_below(&rng, 8) == 0;
            pthread_t target = dice == PLAYERS ? watcher : players[dice].thread;

            T_CHECK(pthread_kill(target, host ? SIGUSR1 : SIGURG) == 0, "pthread_kill");
            sent[host]++;
            pause_ns(10000 + t_below(&rng, 40000));
        }
        t_sleep_us(2000);
    }
    return NULL;
}

static void *
cycles_main(void *arg)
{
    gc_heap *heap = arg;

    while (!is_over())
        gc_collect(heap);
    return NULL;
}

static uint64_t
signal_answers(void)
{
    gc_metric_sample sample = { .name = "/gc/handshake/signal-answers:answers" };

    T_OK(gc_metrics_read(NULL, &sample, 1));
    T_CHECK(sample.kind == GC_METRIC_U64, "no such metric");
    return sample.value.u64;
}

/* ---- main ---- */

static void
start_players(void)
{
    uint64_t rng = t_seed();

    for (int i = 0; i < PLAYERS; i++) {
        players[i].rng = t_rand(&rng);
        players[i].blocks = i == PLAYERS - 1;
        T_CHECK(pthread_create(&players[i].thread, NULL, player_main, &players[i]) == 0,
                "pthread_create");
    }
    T_CHECK(pthread_create(&watcher, NULL, watcher_main, NULL) == 0, "pthread_create");
    while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < PLAYERS + 1)
        t_sleep_us(1000);
}

static void
run_storm(unsigned ms)
{
    pthread_t storm, cycles;

    T_CHECK(pthread_create(&storm, NULL, storm_main, NULL) == 0, "pthread_create");
    T_CHECK(pthread_create(&cycles, NULL, cycles_main, gc_thread_heap()) == 0,
            "pthread_create");
    GC_BLOCKING {
        t_sleep_us(ms * 1000);
        __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
        (void)pthread_join(storm, NULL);
        (void)pthread_join(cycles, NULL);
        stop_host_timer();
        __atomic_store_n(&stopping, 2, __ATOMIC_RELEASE);
        for (int i = 0; i < PLAYERS; i++)
            (void)pthread_join(players[i].thread, NULL);
        (void)pthread_join(watcher, NULL);
    }
}

/* Each part did happen; otherwise the run has shown nothing. */
static void
check_that_it_happened(void)
{
    for (int i = 0; i < PLAYERS; i++)
        T_CHECK(players[i].checked >= SLOTS, "player %d has checked nothing", i);
    T_CHECK(players[PLAYERS - 1].blocked_cycles > 0, "no cycle while the signal was blocked");
    T_CHECK(signal_answers() > 0, "no handshake was answered in the handler");
    T_CHECK(on_alternate > 0 && handled > on_alternate,
            "%llu host handlers, %llu on alternate stacks", (unsigned long long)handled,
            (unsigned long long)on_alternate);
    T_CHECK(errno_checks > 0, "errno was never looked at");
}

int
main(int argc, char **argv)
{
    gc_options opt;
    unsigned seconds;

    t_start("signals", argc, argv);
    t_hang_after(240);
    seconds = (unsigned)t_arg("seconds", 4);
    t_options(&opt);
    opt.debug_verify = (int)t_arg("verify", 1);
    opt.grace_us = (uint32_t)t_arg("grace", 0); /* so that most answer in the handler */
    T_OK(gc_init(&opt));
    install_host_handlers();
    start_players();
    run_storm(seconds * 1000);
    t_verify(NULL);
    check_that_it_happened();
    t_note("cycles=%llu (%llu with the signal blocked), signals sent=%llu host's=%llu "
           "handled=%llu on alternate stacks=%llu, answers in handlers=%llu, "
           "errno checks=%llu",
            (unsigned long long)t_cycles(NULL),
            (unsigned long long)players[PLAYERS - 1].blocked_cycles,
            (unsigned long long)sent[0], (unsigned long long)sent[1],
            (unsigned long long)handled, (unsigned long long)on_alternate,
            (unsigned long long)signal_answers(), (unsigned long long)errno_checks);
    gc_shutdown();
    return 0;
}
