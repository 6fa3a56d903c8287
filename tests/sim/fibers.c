/* SPDX-License-Identifier: MIT */
/*
 * Purpose: run fibers one at a time, switching where a seed says.
 * Place: alloc/base/sim.h calls it at every operation on a shared word, sim_os.c and
 * sim_lock.c where a thread would wait.
 * Invariants: a fiber that waits is not run before it is woken or its deadline is there;
 * time moves by a fixed amount per point, and jumps to the next deadline when everybody
 * waits.  If nobody has a deadline then, that is a deadlock, and a failure.
 * A signal's handler runs on its fiber's stack when that fiber runs next, at whatever point
 * it was: this is where a real signal would find it, at the granularity of shared words.
 * Concurrency: one OS thread.
 * Cost: a point that does not switch is a decrement; a switch some 10 ns and a scan of the
 * fibers.
 *
 * Policies after "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs"
 * (Burckhardt et al., ASPLOS 2010) for priorities; uniform and victim are our own.
 */
#define _GNU_SOURCE

#include "fibers.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STACKS_BASE   0x150000000000u /* fixed, so that a run's addresses are its own */
#define TRACE_LINES   512
#define SLICE_LONG    4000

int64_t gcrt_sim_budget = INT64_MAX;
__thread struct gc_impl_thread *gcrt_sim_self __attribute__((tls_model("initial-exec")));

struct trace_line {
    const char *what;
    uint64_t step, a, b;
    unsigned fiber;
};

static struct {
    struct fiber fibers[FIBERS_MAX];
    unsigned nfibers, current;
    bool running;
    unsigned frozen; /* depth */
    void *home; /* the stack pointer that sched_run goes on with */
    uint64_t rng, now, slice, steps, step_max, step_ns;
    enum policy policy;
    uint64_t mean;
    unsigned victim;
    uint64_t change_at; /* step of the next change of priorities or victim */
    void (*handler)(int);
    int signal;
    struct gc_impl_thread outside; /* hot words while no fiber runs */
    struct gc_impl_run no_run;
    struct sched_stats stats;
    struct trace_line trace[TRACE_LINES];
    uint64_t ntrace;
} sim;

/* ---- switching ---- */

void sched_swap(void **save, void *load);
void sched_enter(void);

/* Callee-saved registers go to the fiber's own stack, where its scan finds them. */
__asm__(".text\n"
        ".globl sched_swap\n"
        ".type sched_swap, @function\n"
        "sched_swap:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size sched_swap, .-sched_swap\n"
        ".globl sched_enter\n"
        ".type sched_enter, @function\n"
        "sched_enter:\n" /* a fiber's first return address */
        "    call sched_main\n"
        "    ud2\n"
        ".size sched_enter, .-sched_enter\n");

struct fiber *
sched_self(void)
{
    return &sim.fibers[sim.current];
}

unsigned
sched_id(const struct fiber *f)
{
    return (unsigned)(f - sim.fibers);
}

struct fiber *
sched_fiber(unsigned id)
{
    return id < sim.nfibers ? &sim.fibers[id] : NULL;
}

uint64_t
sched_dice(uint64_t n)
{
    return rand_below(&sim.rng, n);
}

/* ---- time ---- */

/* Books the points passed since the last look. */
static void
settle_steps(void)
{
    uint64_t passed = sim.slice - (uint64_t)gcrt_sim_budget;

    sim.slice = (uint64_t)gcrt_sim_budget;
    sim.steps += passed;
    sim.now += passed * sim.step_ns;
    sched_self()->steps += passed;
}

uint64_t
sched_now(void)
{
    if (sim.running)
        settle_steps();
    return sim.now;
}

/* ---- choosing ---- */

static bool
can_run(struct fiber *f)
{
    if (f->wait == WAIT_OVER)
        return false;
    if (f->wait != WAIT_NOTHING && f->deadline <= sim.now) {
        f->wait = WAIT_NOTHING;
        f->object = NULL; /* timed out */
    }
    return f->wait == WAIT_NOTHING;
}

static unsigned
runnable(unsigned *ret)
{
    unsigned n = 0;

    for (unsigned i = 0; i < sim.nfibers; i++)
        if (can_run(&sim.fibers[i]))
            ret[n++] = i;
    return n;
}

/* Everybody waits: on to the next deadline. */
static void
jump(void)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < sim.nfibers; i++)
        if (sim.fibers[i].wait != WAIT_OVER && sim.fibers[i].deadline < next)
            next = sim.fibers[i].deadline;
    if (next == UINT64_MAX)
        sched_fail("deadlock: every thread waits, none with a timeout");
    sim.now = next > sim.now ? next : sim.now;
    sim.stats.jumps++;
}

static void
change_course(void)
{
    if (sim.policy == POLICY_PRIORITY) {
        sched_self()->priority = (unsigned)sched_dice(1000);
        sim.change_at = sim.steps + 1 + sched_dice(20000);
    } else {
        /* The coordinator, fiber 1, half of the time: handshakes that take long. */
        sim.victim = sched_dice(2) ? 1 : (unsigned)sched_dice(sim.nfibers);
        sim.change_at = sim.steps + 1 + sched_dice(4000);
    }
}

static unsigned
choose(const unsigned *can, unsigned n)
{
    unsigned best = can[sched_dice(n)];

    if (sim.steps >= sim.change_at)
        change_course();
    if (sim.policy == POLICY_VICTIM && best == sim.victim && sched_dice(64) != 0)
        best = can[sched_dice(n)];
    if (sim.policy == POLICY_PRIORITY)
        for (unsigned i = 0; i < n; i++)
            if (sim.fibers[can[i]].priority > sim.fibers[best].priority)
                best = can[i];
    return best;
}

static uint64_t
slice_length(void)
{
    if (sim.policy == POLICY_PRIORITY)
        return 1 + sched_dice(SLICE_LONG);
    return sched_dice(2 * sim.mean);
}

/* ---- running ---- */

/* On the fiber that runs again: is there a signal for it?  Sometimes one comes early. */
static void
take_signal(void)
{
    struct fiber *f = sched_self();
    bool early = f->words.poll != 0 && sched_dice(16) == 0;

    if (f->handling || sim.handler == NULL || !(f->signalled || early))
        return;
    f->signalled = 0;
    f->handling = 1;
    sim.stats.handled++;
    sim.handler(sim.signal);
    f->handling = 0;
}

static void
resume(unsigned next)
{
    unsigned last = sim.current;

    gcrt_sim_budget = (int64_t)slice_length();
    sim.slice = (uint64_t)gcrt_sim_budget;
    if (next == last)
        return;
    sim.stats.switches++;
    sim.current = next;
    gcrt_sim_self = &sim.fibers[next].words;
    sched_swap(&sim.fibers[last].sp, sim.fibers[next].sp);
}

static void
reschedule(void)
{
    unsigned can[FIBERS_MAX], n;

    if (sim.steps > sim.step_max)
        sched_fail("no end after %llu steps", (unsigned long long)sim.steps);
    while ((n = runnable(can)) == 0)
        jump();
    resume(choose(can, n));
    take_signal();
}

void
gcrt_sim_switch(void)
{
    if (!sim.running || sim.frozen) {
        gcrt_sim_budget = INT64_MAX;
        return;
    }
    settle_steps();
    reschedule();
}

bool
sched_wait(enum wait why, const void *object, uint64_t deadline)
{
    struct fiber *f = sched_self();

    settle_steps();
    f->wait = why;
    f->object = object;
    f->deadline = deadline;
    reschedule();
    f->deadline = UINT64_MAX;
    return f->object != NULL;
}

void
sched_wake(enum wait why, const void *object, unsigned n)
{
    unsigned first = (unsigned)sched_dice(sim.nfibers);

    for (unsigned i = 0; i < sim.nfibers && n > 0; i++) {
        struct fiber *f = &sim.fibers[(first + i) % sim.nfibers];

        if (f->wait == why && f->object == object) {
            f->wait = WAIT_NOTHING;
            n--;
        }
    }
}

/* A thread that spins lets time pass for those who sleep, or it would spin for millions. */
void
sched_yield_now(void)
{
    unsigned can[FIBERS_MAX];

    settle_steps();
    sched_self()->priority = 0;
    if (runnable(can) == 1)
        sim.now += 10000;
    reschedule();
}

void
sched_set_handler(void (*handler)(int), int signal)
{
    sim.handler = handler;
    sim.signal = signal;
}

void
sched_signal(struct fiber *f)
{
    sim.stats.signals++;
    f->signalled = 1;
    if (f->wait == WAIT_WORD || f->wait == WAIT_TIME)
        f->wait = WAIT_NOTHING; /* interrupted */
}

void
sched_freeze(void)
{
    if (sim.frozen++ == 0)
        settle_steps();
}

void
sched_thaw(void)
{
    if (--sim.frozen == 0)
        gcrt_sim_budget = (int64_t)sim.slice; /* what the oracle looked at costs no time */
}

/* ---- a fiber's life ---- */

void sched_main(void) __attribute__((used, noreturn));

void
sched_main(void)
{
    struct fiber *f = sched_self();

    f->run(f->arg);
    f->wait = WAIT_OVER;
    sched_wake(WAIT_FIBER, f, FIBERS_MAX);
    if (f == &sim.fibers[0]) {
        sim.running = false;
        sched_swap(&f->sp, sim.home);
    }
    settle_steps();
    reschedule();
    abort();
}

/* One that has been joined, or one more. */
static struct fiber *
unused_fiber(void)
{
    for (unsigned i = 0; i < sim.nfibers; i++)
        if (sim.fibers[i].joined) {
            memset(sim.fibers[i].stack, 0, FIBER_STACK);
            return &sim.fibers[i];
        }
    if (sim.nfibers == FIBERS_MAX)
        sched_fail("more than %d fibers", FIBERS_MAX);
    return &sim.fibers[sim.nfibers++];
}

struct fiber *
sched_start(void *(*run)(void *), void *arg)
{
    struct fiber *f = unused_fiber();
    char *stack = f->stack;
    void **top;

    memset(f, 0, sizeof *f);
    f->stack = stack;
    f->run = run;
    f->arg = arg;
    f->deadline = UINT64_MAX;
    f->priority = (unsigned)sched_dice(1000);
    f->words.runs = &sim.no_run;
    /* sched_swap pops six registers, then returns into sched_enter, whose call aligns. */
    top = (void **)(void *)(stack + FIBER_STACK - 64);
    top[0] = NULL;
    *--top = (void *)(uintptr_t)sched_enter;
    for (int i = 0; i < 6; i++)
        *--top = NULL;
    f->sp = top;
    return f;
}

static void
map_stacks(void)
{
    char *stacks = mmap((void *)STACKS_BASE, FIBERS_MAX * FIBER_STACK, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);

    if (stacks == MAP_FAILED)
        sched_fail("no memory for stacks");
    for (unsigned i = 0; i < FIBERS_MAX; i++)
        sim.fibers[i].stack = stacks + i * FIBER_STACK;
}

/* What earlier runs left on the stacks must not be found by this one. */
static void
clear_stacks(void)
{
    for (unsigned i = 0; i < sim.nfibers; i++)
        if (madvise(sim.fibers[i].stack, FIBER_STACK, MADV_DONTNEED) != 0)
            sched_fail("madvise");
}

static void
draw_policy(void)
{
    static const uint64_t means[] = { 1, 3, 12, 50, 300 };
    static const uint64_t step_ns[] = { 1, 20, 300, 3000 };

    sim.policy = (enum policy)sched_dice(POLICIES);
    sim.mean = means[sched_dice(ARRAY_LEN(means))];
    sim.step_ns = step_ns[sched_dice(ARRAY_LEN(step_ns))];
    sim.change_at = 0;
}

void
sched_run(uint64_t schedule, uint64_t step_max, void *(*main)(void *), void *arg)
{
    if (sim.fibers[0].stack == NULL)
        map_stacks();
    clear_stacks();
    sim.nfibers = 0;
    sim.rng = schedule;
    sim.now = 1000000000;
    sim.steps = 0;
    sim.step_max = step_max;
    sim.ntrace = 0;
    draw_policy();
    (void)sched_start(main, arg);
    sim.current = 0;
    sim.outside = (struct gc_impl_thread){ .runs = &sim.no_run };
    gcrt_sim_self = &sim.fibers[0].words;
    gcrt_sim_budget = (int64_t)slice_length();
    sim.slice = (uint64_t)gcrt_sim_budget;
    sim.running = true;
    sched_swap(&sim.home, sim.fibers[0].sp);
    gcrt_sim_self = &sim.outside;
    gcrt_sim_budget = INT64_MAX;
    for (unsigned i = 0; i < sim.nfibers; i++)
        if (sim.fibers[i].wait != WAIT_OVER)
            sched_fail("thread %u was left behind", i);
    sim.stats.steps += sim.steps;
    sim.stats.runs++;
}

/* ---- reports ---- */

const struct sched_stats *
sched_statistics(void)
{
    return &sim.stats;
}

void
sched_note(const char *what, uint64_t a, uint64_t b)
{
    struct trace_line *t = &sim.trace[sim.ntrace++ % TRACE_LINES];

    (void)sched_now();
    *t = (struct trace_line){ what, sim.steps, a, b, sim.current };
}

void
sched_print_trace(uint64_t lines)
{
    uint64_t n = lines < TRACE_LINES ? lines : TRACE_LINES;
    uint64_t first = sim.ntrace > n ? sim.ntrace - n : 0;

    for (uint64_t i = first; i < sim.ntrace; i++) {
        const struct trace_line *t = &sim.trace[i % TRACE_LINES];

        fprintf(stderr, "  step %8llu thread %2u %s %llu %llu\n", (unsigned long long)t->step,
                t->fiber, t->what, (unsigned long long)t->a, (unsigned long long)t->b);
    }
}

/* Who waits for what. */
static void
print_fibers(void)
{
    static const char *const names[] = { "runs", "word", "lock", "thread", "time", "over" };

    for (unsigned i = 0; i < sim.nfibers; i++) {
        const struct fiber *f = &sim.fibers[i];

        fprintf(stderr, "  thread %u: %s %p, until %llu (now %llu), %llu steps, critical %u\n",
                i, names[f->wait], f->object, (unsigned long long)f->deadline,
                (unsigned long long)sim.now, (unsigned long long)f->steps, f->words.critical);
    }
}

void
sched_fail(const char *format, ...)
{
    va_list args;

    sim.running = false;
    fprintf(stderr, "sim: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, " (step %llu, thread %u)\n", (unsigned long long)sim.steps, sim.current);
    print_fibers();
    abort();
}
