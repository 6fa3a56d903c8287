/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OS_OS_H
#define GCRT_OS_OS_H

/*
 * The contract with the operating system.  The only place with mmap, madvise, futexes,
 * threads' signals and clocks.
 *
 * Memory goes through three states:
 *     none -> reserved   os_reserve      address space, no access
 *     reserved -> ready  os_commit       zeroed, readable and writable
 *     ready -> reserved  os_decommit     contents dropped; reads as zero when ready again
 *     ready -> ready     os_release      contents dropped; reads as zero, backed when touched
 * and os_unmap goes back to none.  os_map is reserve and commit in one, for metadata.
 *
 * struct os counts what one heap mapped and injects faults into it: with fail_at = N the
 * N-th call that can fail does fail, with fail_from = N that one and all later ones.
 * Functions that take a struct os are the calls that can fail.  The others cannot, have a
 * fall-back, or report to nobody.
 */

#include "alloc/base/atomic.h"
#include "alloc/base/check.h"

#include <pthread.h>
#include <signal.h>

/* Each is between two steps that must not be taken for one (docs/verification.md). */
#define CHAOS_PLACES(X)                                                                   \
    X(ALLOC_PUBLISH)  /* a large object is filed, not yet zeroed */                       \
    X(REFILL)         /* a run is taken, not yet published */                             \
    X(BARRIER_STORE)  /* between the barrier's test and the store */                      \
    X(BARRIER_FLUSH)  /* the buffer is full */                                            \
    X(ROOTS_READ)     /* a registered range has been read, and is held yet */             \
    X(MARK_PUSH)      /* between the mark bit and the push */                             \
    X(MARK_DRY)       /* a marker has found no more work */                               \
    X(ASSIST_BEGIN)   /* an assist has seen marking open, and is not counted yet */       \
    X(MARK_CLOSED)    /* marking is closed, the H5 round has not begun */                 \
    X(REQUEST)        /* a handshake is asked of one mutator, not yet of the next */      \
    X(ACTION_BEFORE)  /* a handshake is seen, not yet acted on */                         \
    X(ACTION_AFTER)   /* acted on, not yet acknowledged */                                \
    X(SIGNAL_ENTRY)   /* the handler has decided to act */                                \
    X(OUTSIDE_HELD)   /* the collector holds a thread that is outside */                  \
    X(BLOCK_ENTER)    /* roots are saved, the state is not yet outside */                 \
    X(BLOCK_LEAVE)    /* inside again, runs still hidden */                               \
    X(TERMINATE)      /* quiet was seen, the H4 round has not begun */                    \
    X(SWEEP_ADVANCE)  /* H5 is complete, sweepgen has not advanced */                     \
    X(SWEEP_CLAIM)    /* a span is claimed for sweeping */                                \
    X(SPAN_INIT)      /* a span is described, not yet published */                        \
    X(SPAN_FREE)      /* a span has ended, its pages have not */                          \
    X(ATTACH)         /* a record is ready, not yet in the registry */                    \
    X(DETACH)         /* the cache is flushed, the record still in the registry */        \
    X(CLEANUP_BEGIN)  /* a callback's job is taken, its record is not yet free */         \
    X(HANDLE_STORE)   /* a detached thread's store, under the registry lock */            \
    X(STACK_PARK)     /* a stack's contents are saved, it is not yet parked */            \
    X(STACK_READ)     /* a parked stack is about to be scanned, and nobody else's */      \
    X(WEAK_UPGRADE)   /* between the looks at a weak place, a mark and the decision */    \
    X(WEAK_DECIDED)   /* what is dead is decided, no weak place is emptied yet */         \
    X(POOL_TAKE)      /* a slot of a pool's ring is claimed, not yet read */

#define CHAOS_PLACE_(name) CHAOS_##name,
enum chaos_place { CHAOS_PLACES(CHAOS_PLACE_) CHAOS_PLACE_COUNT };
#undef CHAOS_PLACE_

struct os {
    aword calls;        /* atomic: fallible calls so far */
    uint64_t fail_at;   /* const: 0, or the number of the call that fails */
    uint64_t fail_from; /* const: 0, or the number of the first call of those that fail */
    uint64_t chaos;     /* const: 0, or the seed of chaos points */
    aword chaos_step;   /* atomic: chaos points passed */
    aword chaos_hits[CHAOS_PLACE_COUNT]; /* atomic: and each of them */
    aword reserved;     /* atomic: bytes of address space */
    aword committed;    /* atomic: bytes made ready and not decommitted or unmapped */
    aword refused;      /* atomic: bytes of address space that could not be unmapped */
};

/*
 * Places where a test wants the scheduler to be mean.  With a seed, sometimes yields or
 * sleeps; without, one load and a branch.  Each place counts how often it was passed, so that
 * a test can tell that it has been everywhere.
 */
void gcrt_os_chaos(struct os *os, enum chaos_place place);
const char *gcrt_os_chaos_name(enum chaos_place place);

static inline void
chaos_point(struct os *os, enum chaos_place place)
{
    if (UNLIKELY(os->chaos != 0))
        gcrt_os_chaos(os, place);
}

/*
 * Counts one fallible call; true if a fault is injected there.  For what can fail in other
 * libraries; the functions below ask for themselves.
 */
bool gcrt_os_fault(struct os *os);

/* All return NULL or false on failure and have then changed nothing. */
void *gcrt_os_reserve(struct os *os, size_t bytes);
bool gcrt_os_commit(struct os *os, void *start, size_t bytes);
bool gcrt_os_decommit(struct os *os, void *start, size_t bytes);
bool gcrt_os_release(struct os *os, void *start, size_t bytes);
void *gcrt_os_map(struct os *os, size_t bytes);
/* Ready memory that nobody may touch, and back; its contents stay. */
bool gcrt_os_guard(struct os *os, void *start, size_t bytes);
bool gcrt_os_unguard(void *start, size_t bytes);
/* Ready memory may be backed by huge pages.  A wish: nobody is told if it is not granted. */
void gcrt_os_wish_huge(void *start, size_t bytes);
/* Small ones only, so that what is released stays so.  False: that needs a mapping too many. */
bool gcrt_os_wish_small(struct os *os, void *start, size_t bytes);
/* Backs ready memory now that the first touch of each page would back. */
bool gcrt_os_populate(struct os *os, void *start, size_t bytes);
/*
 * May be refused too: to take a piece out of a mapping that the kernel has merged with its
 * neighbour needs one mapping more.  Then the contents are dropped, and the address space
 * stays and counts as refused.
 */
void gcrt_os_unmap(struct os *os, void *start, size_t reserved, size_t committed);

/* Is the address in memory that the process has mapped?  A system call. */
bool gcrt_os_is_mapped(const void *p);

/* Does addr lie in the program or a library that is loaded?  Async-signal-safe. */
bool gcrt_os_is_loaded(uintptr_t addr);
/*
 * Copies n bytes, at most 16, of the process's own memory; false if it cannot be read.  Nobody
 * unmaps it meanwhile.  Async-signal-safe.
 */
bool gcrt_os_peek(void *to, uintptr_t from, size_t n);

size_t gcrt_os_page_size(void);
/* 0 if it is not known. */
uint64_t gcrt_os_ram_bytes(void);
/* CPUs that the process may run on, at least 1. */
unsigned gcrt_os_cpus(void);
/* Set-user-ID, set-group-ID, capabilities of its file, or as a security module says. */
bool gcrt_os_is_privileged(void);

/* Monotonic, CPU time of the calling thread and of all, and of the epoch, all in nanoseconds. */
uint64_t gcrt_os_now_ns(void);
uint64_t gcrt_os_thread_cpu_ns(void);
uint64_t gcrt_os_process_cpu_ns(void);
uint64_t gcrt_os_epoch_ns(void);

/* Sleeps while *word == seen, at most timeout_ns (UINT64_MAX: for ever); may wake early. */
void gcrt_os_wait(ahalf *word, unsigned seen, uint64_t timeout_ns);
void gcrt_os_wake(ahalf *word, int nthreads);
void gcrt_os_sleep_ns(uint64_t ns);
void gcrt_os_yield(void);

/* pthread_create: 0 or an errno. */
int gcrt_os_thread_create(struct os *os, pthread_t *ret, const pthread_attr_t *attr,
        void *(*run)(void *), void *arg);
/*
 * Every other thread of the process passes a full barrier: what this thread stored before is
 * visible to what they do next, and what they did before is visible to it.
 */
void gcrt_os_fence_threads(void);

/*
 * A joinable thread with all signals blocked, which calls gcrt_os_thread_begin first of all, with
 * the name that tools show, at most 15 characters.  False if the OS refuses.
 */
bool gcrt_os_thread_start(struct os *os, pthread_t *ret, void *(*run)(void *), void *arg);
void gcrt_os_thread_begin(const char *name);
/*
 * For fork: from close to open no thread is between its start and its begin, where it may be in a
 * sanitizer's malloc, whose locks a child would find taken for ever.  Who wants to start one
 * waits.  Both by one thread at a time; in the child open is to be called too.
 */
void gcrt_os_starts_close(void);
void gcrt_os_starts_open(void);
/* Adds to the calling thread's nice level, within what the system allows. */
void gcrt_os_thread_nice(int add);
/* What tools show of any thread of the process; false if there is none such. */
#define OS_THREAD_NAME 16
bool gcrt_os_thread_name_of(int tid, char name[OS_THREAD_NAME]);
unsigned gcrt_os_process_id(void);
/* May threads of this process add so much?  0 or an errno. */
int gcrt_os_nice_refusal(struct os *os, int add);
/* The calling thread, as it was called by who started it. */
pthread_t gcrt_os_thread_self(void);
/* Waits for its end. */
void gcrt_os_thread_join(pthread_t thread);
int gcrt_os_thread_id(void);
/* Thread-specific data: false if there is no key, or no memory for the value. */
bool gcrt_os_key_create(struct os *os, pthread_key_t *ret, void (*destroy)(void *));
bool gcrt_os_key_set(struct os *os, pthread_key_t key, const void *value);
/*
 * For signal handlers: glibc's cancellation points run with asynchronous cancellation, so a
 * handler that interrupts one could be cancelled in its middle.  Returns what to restore;
 * restoring may not return, if the thread has been cancelled meanwhile.  (Disabling
 * cancellation is not enough: a cancellation already under way looks at the type only.)
 */
int gcrt_os_cancel_defer(void);
void gcrt_os_cancel_restore(int type);
/* Bounds of the calling thread's stack: [*lo, *hi).  0 or an errno. */
int gcrt_os_stack_bounds(struct os *os, uintptr_t *lo, uintptr_t *hi);

/* Process-wide.  0, EBUSY if somebody else's handler is there already, or another errno. */
int gcrt_os_signal_install(struct os *os, int signal, void (*handler)(int));
/*
 * What the process does when it touches memory that it must not: handler runs first, on the
 * thread that did it, with the address.  *old is what was there before; nothing if that was
 * handler.  False if the system refuses.
 */
bool gcrt_os_on_fault(struct os *os, void (*handler)(int, siginfo_t *, void *),
        struct sigaction *old);
/* For the end of such a handler: the access is tried again, and is whatever old makes of it. */
void gcrt_os_fault_goes_on(const struct sigaction *old);
/* Is this still the handler? */
bool gcrt_os_signal_is_handled(int signal, void (*handler)(int));
int gcrt_os_signal_default(void);
/* Does it say that something is wrong?  (Those that cannot be handled the system refuses.) */
static inline bool
gcrt_os_signal_is_fault(int signal)
{
    switch (signal) {
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
    case SIGABRT:
    case SIGTRAP:
    case SIGSYS:
        return true;
    default:
        return false;
    }
}
/* True if a signal was sent to the thread of this process. */
bool gcrt_os_signal_send(int tid, int signal);
/* All signals of the calling thread, and back. */
void gcrt_os_signals_block(sigset_t *saved);
void gcrt_os_signals_restore(const sigset_t *saved);
/* One signal of the calling thread, which has blocked all. */
void gcrt_os_signal_unblock(int signal);

/*
 * Writes where an address of code or static data lies, "file+0x1234 (symbol+0x12)".  False
 * if it is in no loaded file.
 */
bool gcrt_os_symbol(const void *address, char *text, size_t n);

#endif
