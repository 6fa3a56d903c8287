/* SPDX-License-Identifier: MIT */
/*
 * Soft handshakes.
 *
 * Purpose: have every mutator carry out an action, stopping none of them together.
 * Place: cycle runs them; mutators answer from gc_safepoint, from the end of every gcrt
 * call, or from the signal handler; actions does the work.
 * Invariants: a mutator answers each epoch once, at a place where it is not critical
 * (I-critical).  What newcomers inherit changes under the registry lock together with the
 * epoch, so a thread that attaches has either been asked or is born with the answer.
 * Concurrency: publishing writes action, then request (release), then poll; answering reads
 * request (acquire), acts, then stores answered (release) and counts pending down with a
 * full barrier (pairs: handshake.ask, handshake.answer); whoever is last then looks whether
 * the collector sleeps, which says so before it looks a last time (pairs: handshake.sleep).
 * The full barrier also drains the
 * mutator's store buffer, so stores it made with its old flags are visible to the collector.
 * The collector neither waits nor acts while it holds the registry lock, and holds one
 * mutator at a time.  While it waits it rests (fork.rest), and a fork may come in between.
 * Holding: who has answered stays where it is, on its own thread or, outside, in state
 * MUTATOR_HELD.  Two uses: the verifier's look, and GC_MODE_STW, where the hold begins with
 * the scan and lasts until marking is complete.  The first may come within the second.
 * Nobody rests meanwhile: some of those held are in signal handlers, and may have locks of
 * the host's, or libc's, which a thread that forks will want.
 * Cost: a mutator that polls answers within its next allocation slow path; a silent one
 * costs a signal after the grace time and, while its barrier is off (H1, H6), a look through its
 * stack for interrupted stores (window.c).
 */
#include "gc/handshake.h"

#include "alloc/os/window.h"
#include "gc/actions.h"
#include "gc/listen.h"
#include "gc/log.h"
#include "gc/pool.h"
#include "gc/stack.h"
#include "gc/trace.h"

#include <errno.h>
#include <stdio.h>

/* A silent thread is signalled again after so long, in case it was critical. */
#define RETRY_NS ((uint64_t)500 * 1000)
/*
 * With less stack than this below it the handler leaves the answer for later: a host may
 * survive its own stack's overflow (by siglongjmp), but not one in the middle of an action.
 */
#define HANDLER_ROOM 8192
/* Looking for answers before falling asleep: about what a switch of threads takes, ... */
#define LOOK_NS ((uint64_t)10 * 1000)
#define LOOKS   16 /* ... so often between looks at the clock */
/* A handshake that takes so long is reported, once. */
#define STALL_NS ((uint64_t)10 * 1000000000)

/* ---- answering ---- */

/* A pause: for how long the mutator did not get on. */
void
gcrt_handshake_count_pause(struct gcrt_mutator *m, enum action action, uint64_t ns)
{
    struct counters *c = &m->heap->counters;
    struct thread_account *a = &m->account;

    a->pauses++;
    a->pause_ns += ns;
    a->pause_max_ns = max_size(a->pause_max_ns, ns);
    listen_note_pause(m->heap, m->tid, ns);
    timehist_add(&c->pause[action], ns);
    timehist_add(&c->pauses, ns);
}

/* Carries the action out and says so; returns when it began.  own: on m's own thread. */
static uint64_t
act(struct gcrt_mutator *m, unsigned epoch, uintptr_t sp, bool own)
{
    struct gc_heap *heap = m->heap;
    enum action action = heap->handshake.action;
    uint64_t start = gcrt_os_now_ns(), ns;

    timehist_add(&heap->counters.reach, start - heap->handshake.asked_ns);
    chaos_point(&heap->os, CHAOS_ACTION_BEFORE);
    gcrt_action_run(m, action, sp);
    chaos_point(&heap->os, CHAOS_ACTION_AFTER);
    ns = gcrt_os_now_ns() - start;
    if (own) {
        aword_add_relaxed(&heap->counters.pause_ns, ns);
        if (!heap->handshake.holding)
            gcrt_handshake_count_pause(m, action, ns);
        TRACE(heap, answer, start, 0, action);
    } else {
        TRACE(heap, proxy, start, (unsigned)m->tid, action);
    }
    __atomic_store_n(&m->self->poll, 0, __ATOMIC_RELAXED);
    ahalf_store_release(&m->answered, epoch); /* pairs: handshake.answer */
    if (ahalf_add_full(&heap->handshake.pending, (unsigned)-1) == 1
            && ahalf_load_acquire(&heap->handshake.asleep)) /* pairs: handshake.sleep */
        gcrt_os_wake(&heap->handshake.pending, 1);
    return start;
}

/* Everybody shall stay where they are. */
static void
wait_for_release(struct gc_heap *heap, unsigned epoch)
{
    unsigned released;

    while ((released = ahalf_load_acquire(&heap->handshake.released)) != epoch)
        gcrt_os_wait(&heap->handshake.released, released, UINT64_MAX);
}

static void
answer_with_sp(void *arg, uintptr_t sp)
{
    struct gcrt_mutator *m = arg;
    struct gc_heap *heap = m->heap;
    unsigned epoch = ahalf_load_acquire(&m->request); /* pairs: handshake.ask */
    enum action action = heap->handshake.action;
    bool hold = heap->handshake.holding;
    uint64_t start;

    if (epoch == ahalf_load_relaxed(&m->answered))
        return;
    if (UNLIKELY((sp < m->stack_lo || sp >= m->stack_hi) && !m->precise))
        gcrt_fatal("a thread answers a handshake on a stack that is not its own");
    start = act(m, epoch, sp, true);
    if (LIKELY(!hold))
        return;
    wait_for_release(heap, epoch);
    gcrt_handshake_count_pause(m, action, gcrt_os_now_ns() - start);
}

void
gcrt_handshake_answer(struct gcrt_mutator *m)
{
    if (ahalf_load_acquire(&m->request) != ahalf_load_relaxed(&m->answered))
        gcrt_with_registers(answer_with_sp, m);
}

/*
 * Answers, and counts that, as a critical section.  While another thread forks that must
 * wait; the thread itself need not: it is asked again.
 */
static bool
answer_unless_forking(struct gcrt_mutator *m, bool in_handler)
{
    bool open;

    critical_set();
    open = !fork_gate_is_closed(m->heap);
    if (open) {
        if (in_handler)
            aword_add_relaxed(&m->heap->counters.signal_answers, 1);
        else
            m->landing = false; /* a call from the stack that it has switched to */
        m->interrupted = in_handler;
        gcrt_handshake_answer(m);
        m->interrupted = false;
    }
    critical_clear();
    return open;
}

void
gc_impl_poll(void)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    while (m != NULL && m->block_depth == 0
            && __atomic_load_n(&gc_impl_self.poll, __ATOMIC_RELAXED) != 0)
        if (!answer_unless_forking(m, false))
            return;
}

/*
 * On the silent thread itself.  The interrupted registers, vector ones included, lie in the
 * kernel's signal frame, above our own frame on the same stack; the red zone lies above it
 * too.  On a stack that is not the thread's current one (a host's alternate signal stack, or the
 * old one after gc_stack_switch) the answer must wait.
 *
 * If it was between an inline store's test and the store it goes on in the store's slow half
 * (I-critical), whatever is asked, and whether or not it is answered now: to test again does no
 * harm.  With the store word 0 no test has passed since it became so, and whoever made it 0 has
 * seen to those before.
 */
void
gcrt_handshake_signal(int signal)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
    int saved = errno, cancel;

    (void)signal;
    if (m == NULL || m->precise || gc_impl_self.critical || m->block_depth != 0
            || __atomic_load_n(&gc_impl_self.poll, __ATOMIC_RELAXED) == 0)
        return;
    if (gcrt_pools_busy(m))
        return;
    if (sp < m->stack_lo + HANDLER_ROOM || sp >= m->stack_hi)
        return;
    cancel = gcrt_os_cancel_defer();
    if (gc_impl_self.store != 0)
        gcrt_window_leave(sp, m->stack_hi, GC_IMPL_STORE_OPEN);
    chaos_point(&m->heap->os, CHAOS_SIGNAL_ENTRY);
    (void)answer_unless_forking(m, true);
    errno = saved;
    gcrt_os_cancel_restore(cancel);
}

/* ---- asking ---- */

/* What a thread that attaches from now on is born with. */
static void
set_inheritance_locked(struct gc_heap *heap, enum action action)
{
    struct registry *r = &heap->registry;

    switch (action) {
    case ACTION_BARRIER_ON:
        r->barrier = 1;
        r->marking = true;
        break;
    case ACTION_SCAN:
        r->barrier = heap_stops(heap) ? 0 : 2;
        r->cycle = aword_load_relaxed(&heap->cycles.started);
        r->marking = true; /* for threads that nobody holds: store_detached */
        r->black = true;
        r->black_gen = ahalf_load_relaxed(&heap->mheap.sweepgen);
        break;
    case ACTION_BARRIER_OFF:
        r->barrier = 0;
        r->marking = false;
        break;
    case ACTION_FLUSH_CACHE:
        r->black = false;
        break;
    default:
        break;
    }
}

static unsigned
publish(struct gc_heap *heap, enum action action, bool holding)
{
    struct registry *r = &heap->registry;
    struct handshake *hs = &heap->handshake;
    struct gcrt_mutator *m;
    unsigned epoch;

    gcrt_lock_acquire(&r->lock);
    hs->action = action;
    hs->holding = r->held = holding;
    hs->asked_ns = gcrt_os_now_ns();
    epoch = ahalf_load_relaxed(&hs->epoch) + 1;
    ahalf_store_relaxed(&hs->epoch, epoch);
    ahalf_store_relaxed(&hs->pending, r->count);
    set_inheritance_locked(heap, action);
    RCU_LIST_EACH(struct gcrt_mutator, m, &r->mutators, node) {
        ahalf_store_release(&m->request, epoch); /* pairs: handshake.ask */
        __atomic_store_n(&m->self->poll, 1, __ATOMIC_RELAXED);
        chaos_point(&heap->os, CHAOS_REQUEST);
    }
    gcrt_lock_release(&r->lock);
    return epoch;
}

/*
 * Answers for m, if it is outside.  The registry is let go meanwhile, so that threads attach
 * and detach while a stack is scanned; m cannot leave it, being held, and is still in it when
 * the lock is ours again.
 */
static void
answer_for_locked(struct gcrt_mutator *m, unsigned epoch)
{
    struct gc_heap *heap = m->heap;

    if (!gcrt_mutator_hold(m))
        return;
    gcrt_lock_release(&heap->registry.lock);
    chaos_point(&heap->os, CHAOS_OUTSIDE_HELD);
    if (ahalf_load_relaxed(&m->answered) != epoch) {
        aword_add_relaxed(&heap->counters.proxy_answers, 1);
        act(m, epoch, m->sp, false);
    }
    gcrt_lock_acquire(&heap->registry.lock);
    if (heap->handshake.holding)
        return; /* stays held */
    gcrt_mutator_let_go(m);
}

static void
send_nudge(struct gcrt_mutator *m)
{
    aword_add_relaxed(&m->heap->counters.signals, 1);
    (void)gcrt_os_signal_send(m->tid, m->heap->handshake.signal);
    TRACE(m->heap, signal, 0, (unsigned)m->tid, 0);
}

static void
serve_outside(struct gc_heap *heap, unsigned epoch)
{
    struct registry *r = &heap->registry;
    struct gcrt_mutator *m;

    gcrt_lock_acquire(&r->lock);
    RCU_LIST_EACH(struct gcrt_mutator, m, &r->mutators, node)
        if (ahalf_load_acquire(&m->answered) != epoch) /* pairs: handshake.answer */
            answer_for_locked(m, epoch);
    gcrt_lock_release(&r->lock);
}

static void
nudge_silent(struct gc_heap *heap, unsigned epoch)
{
    struct registry *r = &heap->registry;
    struct gcrt_mutator *m;

    gcrt_lock_acquire(&r->lock);
    RCU_LIST_EACH(struct gcrt_mutator, m, &r->mutators, node)
        if (!m->precise && ahalf_load_acquire(&m->answered) != epoch) /* handshake.answer */
            send_nudge(m);
    gcrt_lock_release(&r->lock);
}

/*
 * Whoever polls answers within microseconds, sooner than this thread would be asleep, and to wake
 * it would cost the other one more than the answer does.  So look for a while, but not on a CPU
 * that the other one may be waiting for.
 */
static bool
answers_come_soon(struct gc_heap *heap)
{
    uint64_t until = gcrt_os_now_ns() + LOOK_NS;

    if (heap_idle_cpus(heap) == 0)
        return false;
    do {
        for (unsigned i = 0; i < LOOKS; i++) {
            if (ahalf_load_acquire(&heap->handshake.pending) == 0) /* pairs: handshake.answer */
                return true;
            cpu_relax();
        }
    } while (gcrt_os_now_ns() < until);
    return false;
}

/*
 * A fork may come in the middle of a handshake, so a thread that is slow to answer does not
 * hold it up.
 */
static void
wait_for_answers(struct gc_heap *heap, uint64_t ns)
{
    struct handshake *hs = &heap->handshake;
    unsigned pending;

    if (answers_come_soon(heap))
        return;
    ahalf_store_full(&hs->asleep, 1);            /* pairs: handshake.sleep */
    pending = ahalf_load_acquire(&hs->pending);
    if (pending != 0 && hs->holding)
        gcrt_os_wait(&hs->pending, pending, ns);
    else if (pending != 0)
        gcrt_fork_rest_wait(heap, &hs->pending, pending, ns);
    ahalf_store_relaxed(&hs->asleep, 0);
}

/* The first thread that has not answered: its number, as gdb and /proc have it. */
static int
silent_thread(struct gc_heap *heap, unsigned epoch)
{
    struct registry *r = &heap->registry;
    struct gcrt_mutator *m;
    int tid = 0;

    gcrt_lock_acquire(&r->lock);
    RCU_LIST_EACH(struct gcrt_mutator, m, &r->mutators, node)
        if (tid == 0 && ahalf_load_acquire(&m->answered) != epoch) /* handshake.answer */
            tid = m->tid;
    gcrt_lock_release(&r->lock);
    return tid;
}

/* A thread that is held may have a lock that the host's log wants: then it is not called. */
static void
report_stall(struct gc_heap *heap, unsigned epoch, unsigned pending)
{
    int signal = heap->handshake.signal, tid = silent_thread(heap, epoch), len;
    char line[256];

    if (!gcrt_os_signal_is_handled(signal, gcrt_handshake_signal))
        len = snprintf(line, sizeof(line), "gcrt: %u threads have not answered a handshake for "
                "10 s: the handler of signal %d is not gcrt's any more", pending, signal);
    else
        len = snprintf(line, sizeof(line), "gcrt: %u threads have not answered a handshake for "
                "10 s, the first is %d; does it block signal %d, or is it a precise one that calls "
                "nothing?", pending, tid, signal);
    if (heap->handshake.holding)
        gcrt_say(line);
    else
        gcrt_log_line(heap, line, (size_t)len);
}

static void
handshake(struct gc_heap *heap, enum action action, bool holding)
{
    struct handshake *hs = &heap->handshake;
    uint64_t start = gcrt_os_now_ns(), wait = hs->grace_ns;
    unsigned epoch = publish(heap, action, holding), pending;
    bool nudge = false, reported = false;

    aword_add_relaxed(&heap->counters.handshakes, 1);
    for (;;) {
        serve_outside(heap, epoch);
        if (nudge)
            nudge_silent(heap, epoch);
        pending = ahalf_load_acquire(&hs->pending); /* pairs: handshake.answer */
        if (pending == 0)
            break;
        wait_for_answers(heap, wait);
        nudge = gcrt_os_now_ns() - start >= hs->grace_ns;
        wait = RETRY_NS;
        if (UNLIKELY(!reported && gcrt_os_now_ns() - start >= STALL_NS)) {
            reported = true;
            report_stall(heap, epoch, pending);
        }
    }
    timehist_add(&heap->counters.latency[action], gcrt_os_now_ns() - start);
    TRACE(heap, handshake, start, 0, action);
}

void
gcrt_handshake_run(struct gc_heap *heap, enum action action)
{
    handshake(heap, action, false);
}

/* ---- holding everybody ---- */

static void
release_all_locked(struct gc_heap *heap)
{
    struct gcrt_mutator *m;

    RCU_LIST_EACH(struct gcrt_mutator, m, &heap->registry.mutators, node)
        if (ahalf_load_acquire(&m->state) >= MUTATOR_HELD) /* pairs: mutator.state */
            gcrt_mutator_let_go(m);
    heap->registry.held = false;
}

/* pairs: wait_for_release, wait_unlocked */
static void
announce_release(struct gc_heap *heap)
{
    ahalf_store_full(&heap->handshake.released, ahalf_load_relaxed(&heap->handshake.epoch));
    gcrt_os_wake(&heap->handshake.released, INT32_MAX);
}

void
gcrt_hold_all(struct gc_heap *heap)
{
    if (!heap_is_stopped(heap))
        handshake(heap, ACTION_HOLD, true);
    gcrt_lock_acquire(&heap->registry.lock);
}

void
gcrt_release_all(struct gc_heap *heap)
{
    bool stopped = heap_is_stopped(heap);

    if (!stopped)
        release_all_locked(heap);
    gcrt_lock_release(&heap->registry.lock);
    if (!stopped)
        announce_release(heap);
}

void
gcrt_stop_all(struct gc_heap *heap)
{
    handshake(heap, ACTION_SCAN, true);
    ahalf_store_full(&heap->handshake.stopped, 1);
}

void
gcrt_resume_all(struct gc_heap *heap)
{
    ahalf_store_full(&heap->handshake.stopped, 0);
    gcrt_lock_acquire(&heap->registry.lock);
    heap->registry.marking = false;
    release_all_locked(heap);
    gcrt_lock_release(&heap->registry.lock);
    announce_release(heap);
}
