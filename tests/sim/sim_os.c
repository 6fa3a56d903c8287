/* SPDX-License-Identifier: MIT */
/*
 * The operating system of the simulation: os.h for fibers.
 *
 * Purpose: memory at fixed addresses, threads, waits and signals through the scheduler,
 * virtual clocks.
 * Place: instead of alloc/os/os_linux.c.
 * Invariants: a run sees the same addresses and the same zeroes whatever ran before it.
 * Memory that is not committed cannot be told from memory that is (nothing is protected):
 * the real os is tested for that elsewhere.
 * Cost: a bump allocator; a reset drops the pages that a run has touched.
 */
#define _GNU_SOURCE

#include "sim_os.h"

#include "alloc/base/lock.h"
#include "alloc/os/unwind.h"
#include "fibers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_BASE  0x160000000000u
#define ARENA_BYTES ((size_t)8 << 30)

static struct {
    char *base;
    size_t used;
    uint64_t mapped; /* bytes of all mappings that have not been undone */
    unsigned cpus;
    enum chaos_place favourites[2]; /* the chaos places where a run likes to stop */
} arena;

void
sim_os_reset(unsigned cpus, const enum chaos_place *favourites)
{
    if (arena.base == NULL) {
        arena.base = mmap((void *)ARENA_BASE, ARENA_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
        if (arena.base == MAP_FAILED)
            sched_fail("no memory for the arena");
    }
    CHECK(madvise(arena.base, arena.used, MADV_DONTNEED) == 0);
    arena.used = 0;
    arena.mapped = 0;
    arena.cpus = cpus;
    arena.favourites[0] = favourites[0];
    arena.favourites[1] = favourites[1];
}

uint64_t
sim_os_mapped(void)
{
    return arena.mapped;
}

/* ---- faults ---- */

bool
gcrt_os_fault(struct os *os)
{
    uint64_t n = aword_add_relaxed(&os->calls, 1) + 1;

    return n == os->fail_at || (os->fail_from != 0 && n >= os->fail_from);
}

const char *
gcrt_os_chaos_name(enum chaos_place place)
{
#define NAME(name) #name,
    static const char *const names[] = { CHAOS_PLACES(NAME) };
#undef NAME

    return names[place];
}

static uint64_t chaos_hits[CHAOS_PLACE_COUNT];

uint64_t
sim_os_chaos_hits(enum chaos_place place)
{
    return chaos_hits[place];
}

/*
 * At a named place others run more often than elsewhere.  At its favourite ones a run often
 * stops for long: long enough for others to go through whole handshakes.
 */
void
gcrt_os_chaos(struct os *os, enum chaos_place place)
{
    bool liked = place == arena.favourites[0] || place == arena.favourites[1];
    uint64_t dice = sched_dice(64), park = liked ? 24 : 1;

    chaos_hits[place]++;
    if (dice < park)
        (void)sched_wait(WAIT_TIME, os, sched_now() + sched_dice(1000) * sched_dice(1000));
    else if (dice < 32)
        sched_yield_now();
}

/* ---- stacks ---- */

/* Any will do, as long as a run's are those of the run before. */
unsigned
gcrt_os_backtrace(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi)
{
    (void)lo;
    (void)hi;
    pcs[0] = (uintptr_t)&gcrt_os_backtrace + sched_dice(5);
    return n < 1 ? n : 1;
}

/* Every other stack has something new. */
unsigned
gcrt_os_backtrace_known(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi, uintptr_t *unknown)
{
    *unknown = sched_dice(2);
    return sched_dice(2) == 0 ? 0 : gcrt_os_backtrace(pcs, n, lo, hi);
}

void
gcrt_os_backtrace_learn(uintptr_t unknown)
{
    (void)unknown;
}

void
gcrt_os_backtrace_warm_up(void)
{
}

void
gcrt_os_each_module(void (*fn)(void *arg, const struct os_module *module), void *arg)
{
    (void)fn;
    (void)arg;
}

/* ---- memory ---- */

static void *
take(size_t bytes)
{
    char *p = arena.base + arena.used;

    bytes = align_up(bytes, PAGE_SIZE);
    if (bytes > ARENA_BYTES - arena.used)
        return NULL;
    arena.used += bytes;
    arena.mapped += bytes;
    return p;
}

void *
gcrt_os_reserve(struct os *os, size_t bytes)
{
    void *p = gcrt_os_fault(os) ? NULL : take(bytes);

    if (p != NULL)
        aword_add_relaxed(&os->reserved, bytes);
    return p;
}

bool
gcrt_os_commit(struct os *os, void *start, size_t bytes)
{
    (void)start;
    if (gcrt_os_fault(os))
        return false;
    aword_add_relaxed(&os->committed, bytes);
    return true;
}

bool
gcrt_os_decommit(struct os *os, void *start, size_t bytes)
{
    if (gcrt_os_fault(os))
        return false;
    memset(start, 0, bytes);
    aword_add_relaxed(&os->committed, (uint64_t)0 - bytes);
    return true;
}

bool
gcrt_os_release(struct os *os, void *start, size_t bytes)
{
    CHECK((sched_self()->ranks >> RANK_HEAP & 1) == 0); /* allocation does not wait for this */
    sim_point();
    if (gcrt_os_fault(os))
        return false;
    memset(start, 0, bytes);
    return true;
}

bool
gcrt_os_guard(struct os *os, void *start, size_t bytes)
{
    (void)start, (void)bytes;
    return !gcrt_os_fault(os);
}

bool
gcrt_os_unguard(void *start, size_t bytes)
{
    (void)start, (void)bytes;
    return true;
}

void
gcrt_os_wish_huge(void *start, size_t bytes)
{
    (void)start, (void)bytes;
}

bool
gcrt_os_populate(struct os *os, void *start, size_t bytes)
{
    (void)start, (void)bytes;
    CHECK((sched_self()->ranks >> RANK_HEAP & 1) == 0); /* allocation does not wait for this */
    sim_point();
    return !gcrt_os_fault(os);
}

bool
gcrt_os_wish_small(struct os *os, void *start, size_t bytes)
{
    (void)start, (void)bytes;
    return !gcrt_os_fault(os);
}

void *
gcrt_os_map(struct os *os, size_t bytes)
{
    void *p = gcrt_os_fault(os) ? NULL : take(bytes);

    if (p != NULL) {
        aword_add_relaxed(&os->reserved, bytes);
        aword_add_relaxed(&os->committed, bytes);
    }
    return p;
}

void
gcrt_os_unmap(struct os *os, void *start, size_t reserved, size_t committed)
{
    (void)start;
    arena.mapped -= align_up(reserved, PAGE_SIZE);
    aword_add_relaxed(&os->reserved, (uint64_t)0 - reserved);
    aword_add_relaxed(&os->committed, (uint64_t)0 - committed);
}

bool
gcrt_os_is_mapped(const void *p)
{
    uintptr_t at = (uintptr_t)p - (uintptr_t)arena.base;

    return at < arena.used || at >= ARENA_BYTES; /* what lies elsewhere is the program's */
}

size_t
gcrt_os_page_size(void)
{
    return 4096;
}

uint64_t
gcrt_os_ram_bytes(void)
{
    return (uint64_t)1 << 30;
}

bool
gcrt_os_is_privileged(void)
{
    return false;
}

unsigned
gcrt_os_cpus(void)
{
    return arena.cpus;
}

/* ---- time and waiting ---- */

uint64_t
gcrt_os_now_ns(void)
{
    return sched_now();
}

uint64_t
gcrt_os_thread_cpu_ns(void)
{
    (void)sched_now();
    return sched_self()->steps * 20;
}

/* As if all fibers had one CPU. */
uint64_t
gcrt_os_process_cpu_ns(void)
{
    return sched_now();
}

uint64_t
gcrt_os_epoch_ns(void)
{
    return sched_now();
}

static uint64_t
deadline_in(uint64_t ns)
{
    uint64_t now = sched_now();

    return ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
}

void
gcrt_os_wait(ahalf *word, unsigned seen, uint64_t timeout_ns)
{
    if (ahalf_load_relaxed(word) != seen || sched_dice(64) == 0)
        return;
    (void)sched_wait(WAIT_WORD, word, deadline_in(timeout_ns));
}

void
gcrt_os_wake(ahalf *word, int nthreads)
{
    sim_point();
    sched_wake(WAIT_WORD, word, (unsigned)nthreads);
}

void
gcrt_os_sleep_ns(uint64_t ns)
{
    (void)sched_wait(WAIT_TIME, &arena, deadline_in(ns));
}

void
gcrt_os_yield(void)
{
    sched_yield_now();
}

/* ---- threads ---- */

int
gcrt_os_thread_create(struct os *os, pthread_t *ret, const pthread_attr_t *attr,
        void *(*run)(void *), void *arg)
{
    (void)attr;
    if (gcrt_os_fault(os))
        return EAGAIN;
    *ret = (pthread_t)sched_id(sched_start(run, arg));
    sim_point();
    return 0;
}

bool
gcrt_os_thread_start(struct os *os, pthread_t *ret, void *(*run)(void *), void *arg)
{
    return gcrt_os_thread_create(os, ret, NULL, run, arg) == 0;
}

void
gcrt_os_thread_nice(int add)
{
    (void)add;
}

void
gcrt_os_thread_begin(const char *name)
{
    (void)name;
}

void
gcrt_os_starts_close(void)
{
}

void
gcrt_os_starts_open(void)
{
}

bool
gcrt_os_thread_name_of(int tid, char name[OS_THREAD_NAME])
{
    snprintf(name, OS_THREAD_NAME, "fiber %d", tid);
    return true;
}

unsigned
gcrt_os_process_id(void)
{
    return 1;
}

int
gcrt_os_nice_refusal(struct os *os, int add)
{
    (void)os, (void)add;
    return 0;
}

bool
gcrt_os_key_create(struct os *os, pthread_key_t *ret, void (*destroy)(void *))
{
    return !gcrt_os_fault(os) && pthread_key_create(ret, destroy) == 0;
}

bool
gcrt_os_key_set(struct os *os, pthread_key_t key, const void *value)
{
    return !gcrt_os_fault(os) && pthread_setspecific(key, value) == 0;
}

pthread_t
gcrt_os_thread_self(void)
{
    return (pthread_t)sched_id(sched_self());
}

void
gcrt_os_thread_join(pthread_t thread)
{
    struct fiber *f = sched_fiber((unsigned)thread);

    while (f->wait != WAIT_OVER)
        (void)sched_wait(WAIT_FIBER, f, UINT64_MAX);
    f->joined = true;
}

int
gcrt_os_thread_id(void)
{
    return (int)sched_id(sched_self()) + 1;
}

void
gcrt_os_fence_threads(void)
{
    sim_point();
}

void
gcrt_os_signals_block(sigset_t *saved)
{
    (void)saved;
}

void
gcrt_os_signals_restore(const sigset_t *saved)
{
    (void)saved;
}

void
gcrt_os_signal_unblock(int signal)
{
    (void)signal;
}

int
gcrt_os_cancel_defer(void)
{
    return 0;
}

void
gcrt_os_cancel_restore(int type)
{
    (void)type;
}

int
gcrt_os_stack_bounds(struct os *os, uintptr_t *lo, uintptr_t *hi)
{
    if (gcrt_os_fault(os))
        return ENOMEM;
    *lo = (uintptr_t)sched_self()->stack;
    *hi = *lo + FIBER_STACK;
    return 0;
}

/* ---- signals ---- */

int
gcrt_os_signal_install(struct os *os, int signal, void (*handler)(int))
{
    if (gcrt_os_fault(os))
        return EINVAL;
    sched_set_handler(handler, signal);
    return 0;
}

bool
gcrt_os_signal_is_handled(int signal, void (*handler)(int))
{
    (void)signal, (void)handler;
    return true;
}

bool
gcrt_os_on_fault(struct os *os, void (*handler)(int, siginfo_t *, void *), struct sigaction *old)
{
    (void)handler, (void)old;
    return !gcrt_os_fault(os);
}

void
gcrt_os_fault_goes_on(const struct sigaction *old)
{
    (void)old;
}

int
gcrt_os_signal_default(void)
{
    return SIGURG;
}

bool
gcrt_os_signal_send(int tid, int signal)
{
    struct fiber *f = sched_fiber((unsigned)tid - 1);

    (void)signal;
    if (f == NULL || f->wait == WAIT_OVER)
        return false;
    sched_signal(f);
    return true;
}

bool
gcrt_os_symbol(const void *address, char *text, size_t n)
{
    (void)address, (void)text, (void)n;
    return false;
}
