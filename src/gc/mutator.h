/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_MUTATOR_H
#define GCRT_GC_MUTATOR_H

/*
 * A mutator: one attached thread's state for one heap.
 *
 * state:
 *     INSIDE   runs managed code; only its own thread acts on the record
 *     OUTSIDE  in a blocking region; regs, window and its stack from sp up hold its roots
 *     HELD     the collector acts for it; the thread waits if it wants to leave
 * INSIDE -> OUTSIDE is a release store by the thread, OUTSIDE -> HELD and OUTSIDE -> INSIDE
 * compare-and-swaps, HELD -> OUTSIDE a release store by the collector (pairs:
 * mutator.state).  So the record always has exactly one owner.
 */

#include "gc/fiber.h"
#include "gc/fork.h"
#include "gc/heap.h"
#include "gc/mark.h"
#include "gc/own.h"

#include <gcrt/thread.h>

/* Awaited: held, and its thread sleeps until it is let go.  From held on nobody else moves it. */
enum mutator_state { MUTATOR_INSIDE = 1, MUTATOR_OUTSIDE, MUTATOR_HELD, MUTATOR_AWAITED };

#define BARRIER_SLOTS    512
#define SAVED_REGISTERS  12
#define WINDOW_WORDS     128

/* What the thread has spent on the collector since it attached (gc_thread_stats). */
struct thread_account {
    uint64_t bytes;           /* of runs and large objects taken */
    uint64_t assists, assist_ns, assist_max_ns; /* CPU time */
    uint64_t cycle_assist_ns; /* of assist_ns: since the last cycle's end */
    uint64_t waits, wait_ns;  /* above the goal */
    uint64_t pauses, pause_ns, pause_max_ns; /* handshakes answered by itself */
};

/* The items that the thread keeps itself (poolhot.c). */
struct hot {
    struct pool *pool;      /* whose; NULL: nobody's.  A record that this keeps */
    bool open;              /* inline gets and puts find them */
    uint64_t told;          /* gets as far as the pool's part knows */
};

struct gcrt_mutator {
    struct gc_impl_thread *self; /* const while attached: the thread's hot words */
    struct gc_heap *heap;        /* const */
    struct p *p;                 /* const while attached */
    ahalf state;                 /* atomic: above */
    ahalf request;               /* atomic: newest handshake asked of it; pairs: handshake.ask */
    ahalf answered;              /* atomic: newest one answered; pairs: handshake.answer */
    int tid;                     /* const while attached */
    uint32_t block_depth;        /* owner: nested blocking regions */
    bool precise;                /* const while attached: its stack is not scanned */
    bool is_runner;              /* const: a thread of the runner's */
    bool in_callback;            /* owner: runs a cleanup or another callback of the runner's */
    uint32_t barrier_slots;      /* const: BARRIER_SLOTS, 2 in tiny mode */

    struct gc_stack native;       /* owner: the thread's own stack */
    struct gc_stack *current;     /* owner: the stack it runs on */
    uintptr_t stack_lo, stack_hi; /* owner: of that */
    uint64_t cycle;               /* owner: the last one in which it was scanned */
    bool landing;                 /* owner: the machine's switch to it may not be complete */
    uintptr_t sp;                 /* owner: lowest live stack address while outside */
    uintptr_t regs[SAVED_REGISTERS]; /* owner: callee-saved registers while outside */
    uint32_t nwindow;             /* owner: words in window */
    uintptr_t window[WINDOW_WORDS]; /* owner: the stack from sp up when it went outside */

    uint32_t nbarrier;            /* owner: words in the barrier buffer */
    uintptr_t barrier[BARRIER_SLOTS];
    struct marker marker;         /* owner */
    struct own own;               /* owner: roots of its own */
    struct hot hot;               /* owner: what self->hot_items is */
    bool interrupted;             /* owner: its signal handler answers */
    bool forking;                 /* owner: in fork, perhaps in a handler of the host's */
    ahalf unwinding;              /* owner: may have the linker's lock.  pairs: fork.gate */
    uint64_t over_goal;           /* owner: bytes of the last run, if taken above the goal */
    bool due;                     /* owner: a cycle is, and it may run it (drive.h) */
    bool driving;                 /* owner: it does */
    bool never_assists;           /* owner: nor waits above the goal */
    uint32_t nephemerons;         /* owner: made */
    int64_t credit;               /* owner: bytes it may allocate before it must assist */
    struct thread_account account; /* owner */

    struct cds_list_head node;    /* registry */
    struct gcrt_mutator *next;    /* lock: registry; spare list */
};

/* What registry.door is. */
enum { DOOR_OPEN, DOOR_SHUT, DOOR_AWAITED };

bool gcrt_registry_init(struct gc_heap *heap);
void gcrt_registry_finish(struct gc_heap *heap);

gc_status gcrt_mutator_attach(struct gc_heap *heap, bool precise);
/* The calling thread's mutator, which is inside, leaves its heap. */
void gcrt_mutator_detach(struct gcrt_mutator *m);
/* The calling thread's; fatal with the caller's name if it must not. */
void gcrt_mutator_detach_self(const char *caller);

/*
 * The last step into a blocking region, by a thread that is critical and whose record says
 * where its roots are; it is critical no more.
 */
void gcrt_mutator_go_outside(struct gcrt_mutator *m);

/* Keeps m outside, if it is outside and nobody else does: true.  A thread of the collector's. */
bool gcrt_mutator_hold(struct gcrt_mutator *m);
/* Ends that, by who did it. */
void gcrt_mutator_let_go(struct gcrt_mutator *m);

#if defined(__x86_64__)
# define CALLEE_SAVED 6
#elif defined(__aarch64__)
# define CALLEE_SAVED 12
#else
# error "blocking regions and stack switches are not written for this processor"
#endif

_Static_assert(CALLEE_SAVED <= SAVED_REGISTERS && CALLEE_SAVED <= STACK_REGISTERS,
        "room for every callee-saved register");

/* A P for a mutator, empty; NULL without memory. */
struct p *gcrt_p_acquire(struct gc_heap *heap);
/* Makes the P idle; its cache must be flushed. */
void gcrt_p_release(struct gc_heap *heap, struct p *p);

/* The thread is inside, or its mcache's table changed: what inline functions see. */
void gcrt_mutator_show_runs(struct gcrt_mutator *m);
/* What gc_write sees: may the thread store and do nothing else? */
static inline uint32_t
mutator_store_word(const struct gcrt_mutator *m)
{
    return m->self->barrier == 0 && m->block_depth == 0 ? GC_IMPL_STORE_OPEN : 0;
}

/* After the thread's barrier changed, or it went outside or inside. */
static inline void
mutator_show_store(struct gcrt_mutator *m)
{
    __atomic_store_n(&m->self->store, mutator_store_word(m), __ATOMIC_RELAXED);
}

/* After the P's table of racks changed, or the thread's barrier: what gc_pool_get sees. */
void gcrt_mutator_show_racks(struct gcrt_mutator *m);
/* Makes the inline allocator, gc_weak_get and gc_pool_get take the slow path. */
void gcrt_mutator_hide_runs(struct gcrt_mutator *m);

/* The calling thread's mutator, which must be attached and inside: a fatal line otherwise. */
struct gcrt_mutator *gcrt_mutator_self(const char *caller);

/*
 * ---- critical sections: no handshake runs on this thread in between (I-critical) ----
 *
 * No fork either: what other threads can see is changed in critical sections only, or under
 * a lock.  They do not nest, and the caller of critical_enter holds no lock.
 */

static inline void
critical_set(void)
{
    gc_impl_self.critical = 1;
    __asm__ volatile("" ::: "memory");
}

static inline void
critical_clear(void)
{
    __asm__ volatile("" ::: "memory");
    gc_impl_self.critical = 0;
}

static inline void
critical_enter(void)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    critical_set();
    if (m != NULL && UNLIKELY(fork_gate_is_closed(m->heap)))
        gcrt_fork_pass_gate(m->heap);
}

static inline void
critical_leave(void)
{
    critical_clear();
    gc_safepoint();
}

#endif
