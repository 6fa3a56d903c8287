/* SPDX-License-Identifier: MIT */
/*
 * Purpose: single steps by the processor's trap flag.
 *
 * Concurrency: one thread at a time steps; the state is the process's.
 */

#define _GNU_SOURCE

#include "step.h"

#include "support.h"

#if defined(__x86_64__)

#include <string.h>
#include <ucontext.h>

#define STEPS_MAX 200000

unsigned long t_event_step, t_event_stride = 1;

static void (*at_step)(void);
static unsigned long steps, runs, total, moved;
static uintptr_t place[STEPS_MAX]; /* instruction by step, of the last run */

static void
on_trap(int signal, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;

    (void)signal;
    (void)info;
    T_CHECK(steps < STEPS_MAX, "it does not end");
    place[steps++] = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    at_step();
    moved += (uintptr_t)uc->uc_mcontext.gregs[REG_RIP] != place[steps - 1];
}

static void
install(void)
{
    struct sigaction act;

    memset(&act, 0, sizeof(act));
    act.sa_sigaction = on_trap;
    act.sa_flags = SA_SIGINFO;
    T_CHECK(sigaction(SIGTRAP, &act, NULL) == 0, "sigaction");
}

/* The red zone of a leaf function must not be overwritten. */
#define CHANGE_FLAGS(how)                                                              \
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\tpushfq\n\t" how "\n\tpopfq\n\t"        \
                     "leaq 128(%%rsp), %%rsp" ::: "memory", "cc")

void
t_step_stop(void)
{
    CHANGE_FLAGS("andq $~0x100, (%%rsp)");
}

void
t_step_through(void (*run)(void), void (*look)(void))
{
    if (runs++ == 0)
        install();
    at_step = look;
    steps = 0;
    CHANGE_FLAGS("orq $0x100, (%%rsp)");
    run();
    t_step_stop();
    T_CHECK(steps != 0, "the processor does not step");
    total += steps;
}

static void (*wanted_event)(void);

static void
at_event_step(void)
{
    if (steps == t_event_step)
        wanted_event();
}

static void
nothing(void)
{
}

/* Has the instruction of step i come more than once before? */
static int
is_known(const uintptr_t *places, unsigned long i)
{
    int n = 0;

    for (unsigned long k = 0; k < i && n < 2; k++)
        n += places[k] == places[i];
    return n == 2;
}

unsigned long
t_event_everywhere(void (*prepare)(void), void (*run)(void), void (*event)(void),
        void (*check)(void))
{
    static uintptr_t places[STEPS_MAX];
    unsigned long all, n = 1;

    prepare();
    t_step_through(run, nothing);
    all = t_event_step = steps;
    event(); /* after the last one */
    check();
    memcpy(places, place, all * sizeof(places[0]));
    wanted_event = event;
    for (unsigned long i = 0; i < all; i += t_event_stride) {
        if (is_known(places, i))
            continue;
        prepare();
        t_event_step = i + 1;
        t_step_through(run, at_event_step);
        check();
        n++;
    }
    return n;
}

static uintptr_t wanted_place;

static void
at_wanted_place(void)
{
    if (place[steps - 1] != wanted_place)
        return;
    wanted_place = 0;
    wanted_event();
}

void
t_event_at(void (*run)(void), uintptr_t function, void (*event)(void))
{
    wanted_place = function;
    wanted_event = event;
    t_step_through(run, at_wanted_place);
    T_CHECK(wanted_place == 0, "the function is not called");
}

unsigned long
t_step_runs(void)
{
    return runs;
}

unsigned long
t_step_total(void)
{
    return total;
}

unsigned long
t_step_moved(void)
{
    return moved;
}

#endif
