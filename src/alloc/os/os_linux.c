/* SPDX-License-Identifier: MIT */
/*
 * The operating system, Linux.
 *
 * Purpose: implement os.h.
 * Place: called by alloc and gc; calls libc and the kernel only.
 * Invariants: reserved memory is PROT_NONE and counted in os->reserved; ready memory is
 * counted in os->committed too.  Every fallible call passes gcrt_os_fault exactly once.
 * Concurrency: stateless but for the counters, which are relaxed sums.
 * Cost: system calls; nothing here is on a fast path.
 */
#define _GNU_SOURCE
#include "alloc/os/os.h"

#include "alloc/base/rand.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- faults ---- */

bool
gcrt_os_fault(struct os *os)
{
    uint64_t n = aword_add_relaxed(&os->calls, 1) + 1;

    return UNLIKELY(n == os->fail_at || (os->fail_from != 0 && n >= os->fail_from));
}

const char *
gcrt_os_chaos_name(enum chaos_place place)
{
#define NAME(name) #name,
    static const char *const names[] = { CHAOS_PLACES(NAME) };
#undef NAME

    return names[place];
}

void
gcrt_os_chaos(struct os *os, enum chaos_place place)
{
    uint64_t state = os->chaos + aword_add_relaxed(&os->chaos_step, 1);
    uint64_t dice = rand_below(&state, 1000);

    aword_add_relaxed(&os->chaos_hits[place], 1);
    if (dice < 10)
        gcrt_os_sleep_ns(rand_below(&state, 200000));
    else if (dice < 100)
        gcrt_os_yield();
}

/* ---- memory ---- */

static void *
map_pages(size_t bytes, int protection)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *p = mmap(NULL, bytes, protection, flags, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

void *
gcrt_os_reserve(struct os *os, size_t bytes)
{
    void *p = gcrt_os_fault(os) ? NULL : map_pages(bytes, PROT_NONE);

    if (p != NULL)
        aword_add_relaxed(&os->reserved, bytes);
    return p;
}

bool
gcrt_os_commit(struct os *os, void *start, size_t bytes)
{
    if (gcrt_os_fault(os) || mprotect(start, bytes, PROT_READ | PROT_WRITE) != 0)
        return false;
    aword_add_relaxed(&os->committed, bytes);
    return true;
}

bool
gcrt_os_decommit(struct os *os, void *start, size_t bytes)
{
    if (gcrt_os_fault(os) || madvise(start, bytes, MADV_DONTNEED) != 0)
        return false;
    aword_add_relaxed(&os->committed, (uint64_t)0 - bytes);
    return true;
}

bool
gcrt_os_release(struct os *os, void *start, size_t bytes)
{
    return !gcrt_os_fault(os) && madvise(start, bytes, MADV_DONTNEED) == 0;
}

bool
gcrt_os_guard(struct os *os, void *start, size_t bytes)
{
    return !gcrt_os_fault(os) && mprotect(start, bytes, PROT_NONE) == 0;
}

bool
gcrt_os_unguard(void *start, size_t bytes)
{
    return mprotect(start, bytes, PROT_READ | PROT_WRITE) == 0;
}

void
gcrt_os_wish_huge(void *start, size_t bytes)
{
    int saved = errno;

    (void)madvise(start, bytes, MADV_HUGEPAGE);
    errno = saved;
}

bool
gcrt_os_wish_small(struct os *os, void *start, size_t bytes)
{
    if (gcrt_os_fault(os))
        return false;
    return madvise(start, bytes, MADV_NOHUGEPAGE) == 0 || errno == EINVAL; /* it has none */
}

#ifndef MADV_POPULATE_WRITE
# define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

bool
gcrt_os_populate(struct os *os, void *start, size_t bytes)
{
    return !gcrt_os_fault(os) && madvise(start, bytes, MADV_POPULATE_WRITE) == 0;
}

void *
gcrt_os_map(struct os *os, size_t bytes)
{
    void *p = gcrt_os_fault(os) ? NULL : map_pages(bytes, PROT_READ | PROT_WRITE);

    if (p != NULL) {
        aword_add_relaxed(&os->reserved, bytes);
        aword_add_relaxed(&os->committed, bytes);
    }
    return p;
}

void
gcrt_os_unmap(struct os *os, void *start, size_t reserved, size_t committed)
{
    if (gcrt_os_fault(os) || munmap(start, reserved) != 0) {
        (void)madvise(start, reserved, MADV_DONTNEED); /* needs no mapping more */
        aword_add_relaxed(&os->refused, reserved);
    }
    aword_add_relaxed(&os->reserved, (uint64_t)0 - reserved);
    aword_add_relaxed(&os->committed, (uint64_t)0 - committed);
}

bool
gcrt_os_is_mapped(const void *p)
{
    uintptr_t page = align_down((uintptr_t)p, gcrt_os_page_size());
    unsigned char resident;

    /* Any other error (EAGAIN) is the kernel's trouble, not the address's. */
    return mincore((void *)page, 1, &resident) == 0 || errno != ENOMEM;
}

size_t
gcrt_os_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

uint64_t
gcrt_os_ram_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);

    return pages < 0 ? 0 : (uint64_t)pages * gcrt_os_page_size();
}

bool
gcrt_os_is_privileged(void)
{
    return getauxval(AT_SECURE) != 0;
}

unsigned
gcrt_os_cpus(void)
{
    cpu_set_t set;
    long n;

    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    n = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than a cpu_set_t holds */
    return n < 1 ? 1 : (unsigned)n;
}

/* ---- time ---- */

static uint64_t
clock_ns(clockid_t clock)
{
    struct timespec t;

    CHECK(clock_gettime(clock, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t
gcrt_os_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t
gcrt_os_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t
gcrt_os_process_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t
gcrt_os_epoch_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

static struct timespec
to_timespec(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u),
        .tv_nsec = (long)(ns % 1000000000u) };
}

void
gcrt_os_wait(ahalf *word, unsigned seen, uint64_t timeout_ns)
{
    struct timespec limit = to_timespec(timeout_ns);
    int saved = errno;

    syscall(SYS_futex, &word->raw, FUTEX_WAIT_PRIVATE, seen,
            timeout_ns == UINT64_MAX ? NULL : &limit, NULL, 0);
    errno = saved;
}

void
gcrt_os_wake(ahalf *word, int nthreads)
{
    int saved = errno;

    syscall(SYS_futex, &word->raw, FUTEX_WAKE_PRIVATE, nthreads, NULL, NULL, 0);
    errno = saved;
}

/* To wait on a word that it cannot read is the one mistake that the kernel finds here. */
static bool
can_read_half(uintptr_t half)
{
    static const struct timespec at_once = { 0, 0 };
    int saved = errno;
    bool can = syscall(SYS_futex, half, FUTEX_WAIT_PRIVATE, 0x5eed1e55, &at_once, NULL, 0) == 0
        || errno != EFAULT;

    errno = saved;
    return can;
}

/* In a signal handler, too: it takes no lock (glibc 2.35). */
bool
gcrt_os_is_loaded(uintptr_t addr)
{
    struct dl_find_object object;

    return _dl_find_object((void *)addr, &object) == 0;
}

/*
 * process_vm_readv would look and copy at once, and end a process whose sandbox does not
 * know it.  So who unmaps this memory between our look and the copy ends the process: it is for
 * memory of loaded objects, and of the caller's own.
 */
RACY_READER bool
gcrt_os_peek(void *to, uintptr_t from, size_t n)
{
    const volatile uint8_t *there = (const volatile uint8_t *)from;
    uint8_t *here = to;

    CHECK(n - 1 < 16); /* looks at both ends will do */
    if (!can_read_half(align_down(from, 4)) || !can_read_half(align_down(from + n - 1, 4)))
        return false;
    for (size_t i = 0; i < n; i++)
        here[i] = there[i];
    return true;
}

void
gcrt_os_sleep_ns(uint64_t ns)
{
    struct timespec t = to_timespec(ns);

    /* Not the libc function: that is a cancellation point, and chaos sleeps while critical. */
    syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);
}

void
gcrt_os_yield(void)
{
    (void)sched_yield();
}

/* ---- threads ---- */

int
gcrt_os_thread_create(struct os *os, pthread_t *ret, const pthread_attr_t *attr,
        void *(*run)(void *), void *arg)
{
    return gcrt_os_fault(os) ? EAGAIN : pthread_create(ret, attr, run, arg);
}

/* Between two looks whether a thread has begun, which takes some 50 us. */
#define BEGIN_NAP_NS ((uint64_t)20 * 1000)
/* Longer than any store stays in a processor's buffer, by orders of magnitude. */
#define DRAIN_NS ((uint64_t)10 * 1000 * 1000)

static bool
membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

/*
 * The system call must be asked for once per process; doing that at the first use, and again
 * in a forked child, needs no state of ours.  Where a sandbox forbids it, or before Linux
 * 4.3, time does the work.
 */
void
gcrt_os_fence_threads(void)
{
    int saved = errno;

    if (!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)
            && !(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
                    && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
            && !membarrier(MEMBARRIER_CMD_GLOBAL))
        gcrt_os_sleep_ns(DRAIN_NS);
    errno = saved;
}

/*
 * Of all heaps: how many threads were started, or are about to be, and have not begun.  Closed,
 * none are added; then what a child copies is just this bit.
 */
static ahalf starts;
#define STARTS_CLOSED 0x80000000u

static void
enter_start(void)
{
    unsigned seen = ahalf_load_acquire(&starts);

    while ((seen & STARTS_CLOSED) != 0 || !ahalf_cas_full(&starts, seen, seen + 1)) {
        if ((seen & STARTS_CLOSED) != 0)
            gcrt_os_wait(&starts, seen, UINT64_MAX);
        seen = ahalf_load_acquire(&starts); /* pairs: threads.begun */
    }
}

static void
leave_start(void)
{
    ahalf_add_full(&starts, (unsigned)-1); /* pairs: threads.begun */
}

bool
gcrt_os_thread_start(struct os *os, pthread_t *ret, void *(*run)(void *), void *arg)
{
    sigset_t saved;
    int error;

    enter_start();
    gcrt_os_signals_block(&saved);
    error = gcrt_os_thread_create(os, ret, NULL, run, arg);
    gcrt_os_signals_restore(&saved);
    if (error != 0)
        leave_start();
    return error == 0;
}

void
gcrt_os_thread_begin(const char *name)
{
    (void)pthread_setname_np(pthread_self(), name);
    leave_start();
}

void
gcrt_os_starts_close(void)
{
    ahalf_add_full(&starts, STARTS_CLOSED);
    while (ahalf_load_acquire(&starts) != STARTS_CLOSED) /* pairs: threads.begun */
        gcrt_os_sleep_ns(BEGIN_NAP_NS);
}

void
gcrt_os_starts_open(void)
{
    ahalf_add_full(&starts, STARTS_CLOSED); /* clears the bit; pairs: threads.begun */
    gcrt_os_wake(&starts, INT32_MAX);
}

/* To Linux who 0 is the calling thread. */
static int
set_nice(int level)
{
    return setpriority(PRIO_PROCESS, 0, level) == 0 ? 0 : errno;
}

void
gcrt_os_thread_nice(int add)
{
    if (add != 0)
        (void)set_nice(getpriority(PRIO_PROCESS, 0) + add);
}

bool
gcrt_os_thread_name_of(int tid, char name[OS_THREAD_NAME])
{
    char path[48];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, name, OS_THREAD_NAME);
    (void)close(fd);
    if (n <= 0)
        return false;
    name[n - 1] = '\0'; /* the line's end */
    return true;
}

unsigned
gcrt_os_process_id(void)
{
    return (unsigned)getpid();
}

/* Tries it on the calling thread; the way back, to a higher level, is open to all. */
int
gcrt_os_nice_refusal(struct os *os, int add)
{
    int level = getpriority(PRIO_PROCESS, 0), error;

    if (add >= 0)
        return 0;
    error = gcrt_os_fault(os) ? EACCES : set_nice(level + add);
    if (error == 0)
        CHECK(set_nice(level) == 0);
    return error;
}

pthread_t
gcrt_os_thread_self(void)
{
    return pthread_self();
}

void
gcrt_os_thread_join(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
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

int
gcrt_os_thread_id(void)
{
    return (int)syscall(SYS_gettid);
}

int
gcrt_os_cancel_defer(void)
{
    int type;

    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type) == 0);
    return type;
}

void
gcrt_os_cancel_restore(int type)
{
    CHECK(pthread_setcanceltype(type, NULL) == 0);
}

int
gcrt_os_stack_bounds(struct os *os, uintptr_t *lo, uintptr_t *hi)
{
    pthread_attr_t attr;
    void *start = NULL;
    size_t bytes = 0;
    int error;

    /* For the first thread of a process it reads /proc/self/maps. */
    error = gcrt_os_fault(os) ? ENOMEM : pthread_getattr_np(pthread_self(), &attr);
    if (error != 0)
        return error;
    error = pthread_attr_getstack(&attr, &start, &bytes);
    pthread_attr_destroy(&attr);
    *lo = (uintptr_t)start;
    *hi = (uintptr_t)start + bytes;
    return error;
}

/* ---- signals ---- */

int
gcrt_os_signal_install(struct os *os, int signal, void (*handler)(int))
{
    struct sigaction old, act = { .sa_handler = handler, .sa_flags = SA_RESTART };

    if (gcrt_os_fault(os))
        return EINVAL;
    if (sigaction(signal, NULL, &old) != 0)
        return errno;
    if (!(old.sa_flags & SA_SIGINFO) && old.sa_handler == handler)
        return 0;
    if ((old.sa_flags & SA_SIGINFO) || (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN))
        return EBUSY;
    sigfillset(&act.sa_mask); /* no host handler runs on top of ours */
    return sigaction(signal, &act, NULL) == 0 ? 0 : errno;
}

bool
gcrt_os_on_fault(struct os *os, void (*handler)(int, siginfo_t *, void *), struct sigaction *old)
{
    struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    sigemptyset(&act.sa_mask);
    if (gcrt_os_fault(os) || sigaction(SIGSEGV, &act, old) != 0)
        return false;
    if ((old->sa_flags & SA_SIGINFO) && old->sa_sigaction == handler)
        *old = (struct sigaction){ .sa_handler = SIG_DFL };
    return true;
}

void
gcrt_os_fault_goes_on(const struct sigaction *old)
{
    static const struct sigaction by_default = { .sa_handler = SIG_DFL };

    (void)sigaction(SIGSEGV, old == NULL ? &by_default : old, NULL);
}

bool
gcrt_os_signal_is_handled(int signal, void (*handler)(int))
{
    struct sigaction act;

    return sigaction(signal, NULL, &act) == 0 && !(act.sa_flags & SA_SIGINFO)
        && act.sa_handler == handler;
}

int
gcrt_os_signal_default(void)
{
    return SIGURG;
}

bool
gcrt_os_signal_send(int tid, int signal)
{
    return syscall(SYS_tgkill, getpid(), tid, signal) == 0;
}

void
gcrt_os_signals_block(sigset_t *saved)
{
    sigset_t all;

    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, saved) == 0);
}

void
gcrt_os_signals_restore(const sigset_t *saved)
{
    CHECK(pthread_sigmask(SIG_SETMASK, saved, NULL) == 0);
}

void
gcrt_os_signal_unblock(int signal)
{
    sigset_t one;

    CHECK(sigemptyset(&one) == 0 && sigaddset(&one, signal) == 0);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &one, NULL) == 0);
}

/* ---- names ---- */

/* A symbol is known by name only if the file exports it. */
bool
gcrt_os_symbol(const void *address, char *text, size_t n)
{
    Dl_info info;
    const char *file;
    int used;

    if (dladdr(address, &info) == 0 || info.dli_fname == NULL)
        return false;
    file = strrchr(info.dli_fname, '/');
    used = snprintf(text, n, "%s+%#lx", file == NULL ? info.dli_fname : file + 1,
            (unsigned long)((uintptr_t)address - (uintptr_t)info.dli_fbase));
    if (info.dli_sname != NULL && used > 0 && (size_t)used < n)
        (void)snprintf(text + used, n - (size_t)used, " (%s+%#lx)", info.dli_sname,
                (unsigned long)((uintptr_t)address - (uintptr_t)info.dli_saddr));
    return true;
}
