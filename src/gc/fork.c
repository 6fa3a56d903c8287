/* SPDX-License-Identifier: MIT */
/*
 * fork.
 *
 * Purpose: a child of fork has the same heaps as its parent, whole and usable; the parent
 * loses no more than the time of the fork.
 * Place: libc calls the three handlers; runtime.c lists the heaps; the coordinator of a
 * child calls the last part of this file.
 *
 * A child has the memory of its parent and one thread of it.  For this memory to be a heap,
 * nothing may be half done in it: no lock taken, no span between two sets, no buffer
 * in the hands of a thread that will not be there.  Three ways to get there:
 *
 * - Wait for the end of the cycle.  Simple, but marking a big heap takes seconds.
 * - Hold every mutator at a safepoint, as the verifier does.  That stops threads in signal
 *   handlers, wherever they were: in malloc, say, with its lock taken; and libc's fork,
 *   after our handler, waits for just that lock.
 * - Do as any library with locks does: close the door to what takes them.  This is ours.
 *
 * The gate is that door.  Everything that changes what threads share is done in a critical
 * section (I-critical), which begins in critical_enter.  Closing the gate makes new ones
 * wait there; then we wait for those under way, which are short.  Other threads run on: the
 * inline fast paths change one word of their own P, or a slot of the heap, and need no
 * gate: the child has that word from before or from after, as another thread would see it.
 * No thread waits for us but at the entry of a gcrt call, so a thread that computes, sits in
 * malloc, or blocks all signals, holds up nothing.  Attaching threads wait for the registry
 * lock; detached threads share only what is under locks, and we take all of those.
 *
 * A thread says that it is critical, then looks at the gate; we close the gate, then look
 * at the thread.  Between the two, each side needs a full barrier (fork.gate); ours makes
 * every thread pass one (gcrt_os_fence_threads), so that the other is free.
 *
 * The coordinator rests (fork.rest) wherever it waits, in the middle of a handshake too,
 * while the host's log function runs, and between the steps of its long work.  Workers end
 * their sessions.  The thread that forks is outside meanwhile, or the coordinator could be
 * waiting for it.
 *
 * In the child.  A cycle that was under way is abandoned; its phase decides how:
 *
 *   MARKS_PARTIAL  barrier off, allocation white, at once, for the one thread that is left;
 *                  its handshakes are answered by that.  Mark bits and queued work are rubbish,
 *                  which the next coordinator clears before its first cycle.  Meanwhile they
 *                  do no harm: only a sweep reads marks, and sweepgen has not advanced.
 *   MARKS_FINAL    marking was complete, so the marks are right and the sweep goes on: lazily
 *                  by whoever allocates, to its end by the next coordinator, after an H6.
 *   MARKS_NONE     nothing to do.
 *
 * All of it is some stores, so a child that execs pays little.  The coordinator starts with
 * the first request for a cycle, and workers with the first cycle.
 *
 * Threads left behind: their stacks are gone, and what only those held may die.  Their
 * records and Ps go to the next coordinator, which flushes the caches.  It keeps what is left
 * of their runs allocated: such a thread was running while the kernel copied, and objects in
 * its run may be referenced from memory that was copied later than the run.  Registered
 * ranges in their stacks are emptied at once, because libc reuses and unmaps those stacks.
 *
 * Heaps that another thread is making or destroying at that moment do not exist in the
 * child; their memory stays mapped there.  Nothing is prepared when fork is called from a
 * trace or log function, from a signal handler that has interrupted a gcrt call, or inside
 * on a foreign stack: such a child may only exec or _exit.
 *
 * Order.  Prepare handlers run in the reverse order of their registration, which is here
 * when the library is loaded: after those of the program and of the libraries that use this
 * one, whose locks must be taken before ours.
 *
 * liburcu.  Its locks are taken before the gate closes: a host's thread inside an RCU read
 * section may wait at the gate, and another in synchronize_rcu for it, with such a lock.
 * So no critical section may want these locks: threads register with liburcu when they attach.
 *
 * Concurrency: RANK_FORK, held from the first handler to the second.
 * Cost: in the parent one system call, a look at each thread, and no signal; allocation slow
 * paths wait as long as the kernel takes to copy page tables.  In the child some page faults.
 */
#include "gc/fork.h"

#include "alloc/os/window.h"
#include "gc/assist.h"
#include "gc/barrier.h"
#include "gc/crew.h"
#include "gc/cycle.h"
#include "gc/look.h"
#include "gc/mutator.h"
#include "gc/pace.h"
#include "gc/pool.h"
#include "gc/populator.h"
#include "gc/profile.h"
#include "gc/roots.h"
#include "gc/trace.h"
#include "gc/wbcheck.h"
#include "gc/weak.h"
#include "gc/worker.h"

/* There threads are fibers, and none forks; but the program around them may. */
#if defined(GCRT_SIM)
# define IS_SIMULATED true
#else
# define IS_SIMULATED false
#endif

/*
 * A sanitizer's malloc may not be made ready for fork (AddressSanitizer's, before LLVM 18).  Then
 * at least none of our own threads shall be in it.  libc's is, and nobody need wait for it.
 */
#if defined(SANITIZED)
# define IS_SANITIZED true
#else
# define IS_SANITIZED false
#endif

/* Yields of the waiting thread before it sleeps. */
#define EAGER_TRIES 50
#define NAP_NS      ((uint64_t)50 * 1000)
/* How long the wait for the coordinator goes without a look. */
#define LOOK_NS ((uint64_t)1000 * 1000)
/* Descriptors looked at between two rests. */
#define CLEAR_STEP ((size_t)1 << 14)

/* ---- the process's heaps ---- */

static struct {
    struct lock lock;           /* RANK_FORK */
    struct cds_list_head heaps; /* lock */
    sigset_t signals;           /* lock: of the thread that forks */
    bool ready;                 /* const once loaded */
} forks;

#define EACH_HEAP(heap) RCU_LIST_EACH(struct gc_heap, heap, &forks.heaps, in_process)

bool
gcrt_fork_is_ready(void)
{
    return forks.ready;
}

void
gcrt_fork_lock_heaps(void)
{
    gcrt_lock_acquire(&forks.lock);
}

void
gcrt_fork_unlock_heaps(void)
{
    gcrt_lock_release(&forks.lock);
}

void
gcrt_fork_add_heap(struct gc_heap *heap)
{
    gcrt_fork_lock_heaps();
    cds_list_add(&heap->in_process, &forks.heaps);
    gcrt_fork_unlock_heaps();
}

void
gcrt_fork_remove_heap_locked(struct gc_heap *heap)
{
    cds_list_del(&heap->in_process);
}

struct gc_heap *
gcrt_fork_heap_around(const void *p)
{
    struct gc_heap *heap, *found = NULL;

    gcrt_fork_lock_heaps();
    EACH_HEAP(heap)
        if (mheap_contains(&heap->mheap, (uintptr_t)p))
            found = heap;
    gcrt_fork_unlock_heaps();
    return found;
}

/* ---- the gate ---- */

void
gcrt_fork_pass_gate(struct gc_heap *heap)
{
    while (fork_gate_is_closed(heap)) {
        critical_clear();
        gcrt_os_wait(&heap->gate, 1, UINT64_MAX);
        critical_set();
    }
}

static void
open_gate(struct gc_heap *heap)
{
    ahalf_store_full(&heap->gate, 0); /* pairs: fork.gate */
    gcrt_os_wake(&heap->gate, INT32_MAX);
}

static void
take_a_break(unsigned tries)
{
    if (tries < EAGER_TRIES)
        gcrt_os_yield();
    else
        gcrt_os_sleep_ns(NAP_NS);
}

/*
 * Every attached thread but the caller, which is outside and not critical.  Or anybody with a lock
 * of the linker's or of an unwinder's, that the child would never get (profile.c).
 */
RACY_READER static bool
anybody_is_critical(struct gc_heap *heap)
{
    struct gcrt_mutator *m;
    bool found = false;

    gcrt_lock_acquire(&heap->registry.lock);
    RCU_LIST_EACH(struct gcrt_mutator, m, &heap->registry.mutators, node)
        if (__atomic_load_n(&m->self->critical, __ATOMIC_ACQUIRE) /* pairs: fork.gate */
                || ahalf_load_acquire(&m->unwinding)) {           /* pairs: fork.gate */
            found = true;
            break;
        }
    gcrt_lock_release(&heap->registry.lock);
    return found;
}

/* The gate is closed.  Assists are critical, so then only workers can be marking. */
static void
wait_for_critical_sections(struct gc_heap *heap)
{
    for (unsigned tries = 0; anybody_is_critical(heap); tries++)
        take_a_break(tries);
}

/* Sessions that begin from now on end at once, for the collector's threads shall rest. */
static void
wait_for_workers(struct gc_heap *heap)
{
    for (unsigned tries = 0; (uint32_t)aword_load_acquire(&heap->marking.activity) != 0; tries++)
        take_a_break(tries);
}

/* ---- the coordinator's rest ---- */

void
gcrt_fork_rest_begin(struct gc_heap *heap)
{
    ahalf_store_full(&heap->cycles.at_rest, 1); /* pairs: fork.rest */
    if (fork_is_coming(heap))
        gcrt_os_wake(&heap->cycles.at_rest, 1);
}

void
gcrt_fork_rest_end(struct gc_heap *heap)
{
    for (;;) {
        ahalf_store_full(&heap->cycles.at_rest, 0); /* pairs: fork.rest */
        if (!fork_is_coming(heap))
            return;
        gcrt_fork_rest_begin(heap);
        gcrt_os_wait(&heap->cycles.hold, 1, UINT64_MAX);
    }
}

void
gcrt_fork_rest_wait(struct gc_heap *heap, ahalf *word, unsigned seen, uint64_t ns)
{
    bool rest = !heap_is_stopped(heap);

    if (rest)
        gcrt_fork_rest_begin(heap);
    gcrt_os_wait(word, seen, ns);
    if (rest)
        gcrt_fork_rest_end(heap);
}

void
gcrt_fork_rest(struct gc_heap *heap)
{
    if (LIKELY(!fork_is_coming(heap)))
        return;
    gcrt_fork_rest_begin(heap);
    gcrt_fork_rest_end(heap);
}

static void
ask_for_rest(struct gc_heap *heap)
{
    ahalf_store_full(&heap->cycles.hold, 1); /* pairs: fork.rest */
}

static void
wait_for_rest(struct gc_heap *heap)
{
    while (!ahalf_load_acquire(&heap->cycles.at_rest)) /* pairs: fork.rest */
        gcrt_os_wait(&heap->cycles.at_rest, 0, LOOK_NS);
}

static void
end_rest(struct gc_heap *heap)
{
    ahalf_store_full(&heap->cycles.hold, 0); /* pairs: fork.rest */
    gcrt_os_wake(&heap->cycles.hold, 1);
    if (ahalf_load_acquire(&heap->marking.open)) /* pairs: mark.open */
        gcrt_workers_ring(heap);
}

/* ---- locks ---- */

/* Every lock of a heap, in the order of ranks; wbcheck's is behind them. */
static const struct {
    size_t at, n, stride;
} locks[] = {
    { offsetof(struct gc_heap, cycles.lock), 1, 0 },
    { offsetof(struct gc_heap, registry.lock), 1, 0 },
    { offsetof(struct gc_heap, specials.shards[0].lock), SPECIAL_SHARDS,
            sizeof(struct special_shard) },
    { offsetof(struct gc_heap, weakmaps.locks[0]), WEAKMAP_LOCKS, sizeof(struct lock) },
    { offsetof(struct gc_heap, roots.lock), 1, 0 },
    { offsetof(struct gc_heap, fibers.lock), 1, 0 },
    { offsetof(struct gc_heap, runner.lock), 1, 0 },
    { offsetof(struct gc_heap, pools.lock), 1, 0 },
    { offsetof(struct gc_heap, kinds.lock), 1, 0 },
    { offsetof(struct gc_heap, ps.lock), 1, 0 },
    { offsetof(struct gc_heap, profile.lock), 1, 0 },
    { offsetof(struct gc_heap, tracing.lock), 1, 0 },
    { offsetof(struct gc_heap, mheap.scavenging), 1, 0 },
    { offsetof(struct gc_heap, mheap.lock), 1, 0 },
    { offsetof(struct gc_heap, persist.lock), 1, 0 },
};

_Static_assert(ARRAY_LEN(locks) == RANK_PERSIST - RANK_FORK, "each rank has its lock here");

static struct lock *
lock_at(struct gc_heap *heap, size_t i, size_t j)
{
    return (struct lock *)(void *)((char *)heap + locks[i].at + j * locks[i].stride);
}

static void
take_locks(struct gc_heap *heap)
{
    for (size_t i = 0; i < ARRAY_LEN(locks); i++)
        for (size_t j = 0; j < locks[i].n; j++)
            gcrt_lock_before_fork(lock_at(heap, i, j));
    if (heap->wbcheck != NULL)
        gcrt_lock_before_fork(gcrt_wbcheck_lock(heap));
}

static void
free_locks(struct gc_heap *heap, bool child)
{
    if (heap->wbcheck != NULL)
        gcrt_lock_after_fork(gcrt_wbcheck_lock(heap), child);
    for (size_t i = ARRAY_LEN(locks); i-- > 0;)
        for (size_t j = locks[i].n; j-- > 0;)
            gcrt_lock_after_fork(lock_at(heap, i, j), child);
}

/* ---- the child's heap ---- */

static struct gcrt_mutator *
self_in(const struct gc_heap *heap)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    return m != NULL && m->heap == heap ? m : NULL;
}

/* There is no coordinator, worker, scavenger or populator, and nobody waits for them. */
static void
forget_collector(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;
    struct marking *mk = &heap->marking;

    heap->scavenger.started = false;
    ahalf_store_relaxed(&heap->scavenger.running, 0);
    gcrt_populator_forget(heap);
    ahalf_store_relaxed(&c->running, 0);
    ahalf_store_relaxed(&c->tid, 0);
    ahalf_store_relaxed(&c->seat, 0);
    ahalf_store_relaxed(&c->drivable, 0);
    c->driven = false;
    ahalf_store_relaxed(&c->at_rest, 1);
    ahalf_store_relaxed(&c->hold, 0);
    ahalf_store_relaxed(&c->wanted, 0);
    ahalf_store_relaxed(&c->swept, (unsigned)aword_load_relaxed(&c->started));
    mk->nstarted = 0;
    ahalf_store_relaxed(&mk->open, 0);
    ahalf_store_relaxed(&mk->sleepers, 0);
    ahalf_store_relaxed(&mk->inside, 0); /* we are outside */
    aword_store_relaxed(&mk->activity, 0);
    gcrt_assist_set_ratio(heap, 0, 0);
    gcrt_weak_end(heap);
    gcrt_crew_forget(heap, self_in(heap));
    gcrt_look_forget(heap);
    gcrt_trace_forget(heap);
    heap->specials.watched = NULL;
    gcrt_pools_forget(heap);
}

/* The buffers are of no use: there is no cycle. */
static void
drop_work(struct gcrt_mutator *m)
{
    struct work *w = &m->heap->work;
    struct workqueue *q = &m->marker.queue;

    if (q->cur != NULL)
        gcrt_work_put_empty(w, q->cur);
    if (q->spare != NULL)
        gcrt_work_put_empty(w, q->spare);
    q->cur = q->spare = NULL;
    m->marker.nbatch = 0;
    m->marker.marked = m->marker.scanned = 0;
    m->nbarrier = 0;
}

/* As if it had just attached, between cycles. */
static void
renew_self(struct gcrt_mutator *m)
{
    unsigned epoch = ahalf_load_relaxed(&m->heap->handshake.epoch);

    m->tid = gcrt_os_thread_id();
    ahalf_store_relaxed(&m->request, epoch);
    ahalf_store_relaxed(&m->answered, epoch);
    __atomic_store_n(&m->self->poll, 0, __ATOMIC_RELAXED);
    gcrt_pools_open_locked(m->heap, m->p);
    barrier_set(m, BARRIER_OFF);
    drop_work(m);
    m->cycle = 0;
    m->credit = 0;
    m->over_goal = 0;
    m->due = false;
    m->p->cache.black = false;
    m->p->held = m->heap->ps.generation;
}

/* Everybody but the caller becomes an orphan; newcomers are born between cycles. */
static void
leave_behind(struct gc_heap *heap)
{
    struct registry *r = &heap->registry;
    struct gcrt_mutator *self = self_in(heap), *m;

    if (self != NULL)
        cds_list_del(&self->node);
    cds_list_splice(&r->mutators, &r->orphans);
    CDS_INIT_LIST_HEAD(&r->mutators);
    r->count = self != NULL;
    r->barrier = 0;
    r->cycle = 0;
    r->black = r->held = r->marking = false;
    ahalf_store_relaxed(&r->door, DOOR_OPEN);
    ahalf_store_relaxed(&r->leaving, 0);
    aword_store_relaxed(&heap->counters.detaches,
            aword_load_relaxed(&heap->counters.attaches) - r->count);
    RCU_LIST_EACH(struct gcrt_mutator, m, &r->orphans, node) {
        const struct extent *own = &m->native.extent;

        gcrt_fiber_lose(m);
        if (heap->roots.ranges == NULL)
            continue;
        gcrt_roots_empty_within_locked(heap, own->lo, own->hi);
        gcrt_wbcheck_empty_within_locked(heap, own->lo, own->hi);
    }
    heap->ps.generation++;
    if (self == NULL)
        return;
    cds_list_add(&self->node, &r->mutators);
    renew_self(self);
}

/* Goal and trigger as if the cycle under way had not been. */
static void
abandon_cycle(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;
    bool swept = ahalf_load_relaxed(&c->marks) != MARKS_FINAL;

    gcrt_pacer_abandon_cycle(&c->pacer);
    gcrt_pacer_commit(&c->pacer, gcrt_pace_live(heap), swept);
    gcrt_pace_publish_locked(heap);
    ahalf_store_relaxed(&c->phase, swept ? PHASE_IDLE : PHASE_SWEEPING);
}

static void
become_child(struct gc_heap *heap)
{
    forget_collector(heap);
    leave_behind(heap);
    abandon_cycle(heap);
    gcrt_profile_abandoned_locked(heap);
    free_locks(heap, true);
    open_gate(heap);
}

/* ---- handlers ---- */

/*
 * May this fork be prepared?  The answer does not change between the handlers.  Threads of
 * the collector are always critical.  A thread inside must be able to go outside, which
 * it is not on a foreign stack.
 */
static bool
is_prepared(void)
{
    const struct gcrt_mutator *m = gc_impl_self.mutator;
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);

    if (gc_impl_self.critical
            || (m != NULL && (m->driving || gcrt_pools_busy(m)
                    || ahalf_load_relaxed(&m->unwinding))))
        return false;
    return m == NULL || m->precise || (sp >= m->stack_lo && sp < m->stack_hi);
}

/*
 * A handler of the host's that forks may have interrupted an inline allocation, whose slot stays
 * its own whoever answers for the thread meanwhile (forking), or an inline store.  While we are
 * outside its thread's barrier may be turned on, so it must test again.  A precise thread on
 * a stack that we do not know must not fork there (docs/process.md).
 */
static void
leave_windows(void)
{
    const struct gcrt_mutator *m = gc_impl_self.mutator;
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);

    if (gc_impl_self.store != 0 && sp >= m->stack_lo && sp < m->stack_hi)
        gcrt_window_leave(sp, m->stack_hi, GC_IMPL_STORE_OPEN);
}

static void
hold_all_heaps(void)
{
    struct gc_heap *heap;

    EACH_HEAP(heap)
        ask_for_rest(heap);
    EACH_HEAP(heap)
        wait_for_rest(heap);
    urcu_bp_before_fork();
    EACH_HEAP(heap)
        ahalf_store_full(&heap->gate, 1); /* pairs: fork.gate */
    gcrt_os_fence_threads();
    EACH_HEAP(heap) {
        wait_for_critical_sections(heap);
        wait_for_workers(heap);
    }
    EACH_HEAP(heap)
        take_locks(heap);
}

static void
before_fork(void)
{
    sigset_t signals;

    if (!is_prepared())
        return;
    leave_windows();
    if (gc_impl_self.mutator != NULL) {
        gc_impl_self.mutator->forking = true;
        gc_block_enter();
    }
    gcrt_os_signals_block(&signals); /* a handler that forks would wait for itself */
    gcrt_lock_before_fork(&forks.lock);
    forks.signals = signals;
    if (!cds_list_empty(&forks.heaps))
        hold_all_heaps();
    if (IS_SANITIZED)
        gcrt_os_starts_close(); /* last: who waits there has none of what we wait for */
}

/* The end of both: the thread goes on where it called fork. */
static void
go_on(bool child)
{
    sigset_t signals = forks.signals;

    if (IS_SANITIZED)
        gcrt_os_starts_open();
    gcrt_lock_after_fork(&forks.lock, child);
    gcrt_os_signals_restore(&signals);
    if (gc_impl_self.mutator != NULL) {
        gc_block_leave();
        gc_impl_self.mutator->forking = false;
    }
}

static void
after_fork_in_parent(void)
{
    struct gc_heap *heap;

    if (!is_prepared())
        return;
    EACH_HEAP(heap) {
        free_locks(heap, false);
        open_gate(heap);
        end_rest(heap);
    }
    if (!cds_list_empty(&forks.heaps))
        urcu_bp_after_fork_parent();
    go_on(false);
}

static void
after_fork_in_child(void)
{
    struct gc_heap *heap;

    if (!is_prepared())
        return;
    if (!cds_list_empty(&forks.heaps))
        urcu_bp_after_fork_child();
    EACH_HEAP(heap)
        become_child(heap);
    go_on(true);
}

static void __attribute__((constructor))
register_handlers(void)
{
    gcrt_lock_init(&forks.lock, RANK_FORK);
    CDS_INIT_LIST_HEAD(&forks.heaps);
    forks.ready = IS_SIMULATED
        || pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

/* ---- what the child's coordinator does first ---- */

static void
drop_records(struct gc_heap *heap)
{
    struct registry *r = &heap->registry;

    gcrt_lock_acquire(&r->lock);
    while (!cds_list_empty(&r->orphans)) {
        struct gcrt_mutator *m = container_of_(r->orphans.next, struct gcrt_mutator, node);
        struct own_memory memory = gcrt_own_take(m);

        cds_list_del(&m->node);
        drop_work(m);
        gcrt_pools_lose(m);
        gcrt_own_free(&memory);
        m->next = r->spare;
        r->spare = m;
    }
    gcrt_lock_release(&r->lock);
}

/* Was it held, or on its way to or from a thread, when its process was forked from? */
static bool
is_orphan(struct gc_heap *heap, const struct p *p)
{
    bool orphan;

    gcrt_lock_acquire(&heap->ps.lock);
    orphan = p->held != 0 && p->held != heap->ps.generation;
    gcrt_lock_release(&heap->ps.lock);
    return orphan;
}

void
gcrt_fork_drop_orphans(struct gc_heap *heap)
{
    struct p *p = __atomic_load_n(&heap->ps.all, __ATOMIC_ACQUIRE); /* pairs: p.publish */

    drop_records(heap);
    for (; p != NULL; p = p->next_all)
        if (is_orphan(heap, p)) {
            gcrt_mcache_flush(&p->cache, RUNS_KEPT);
            gcrt_p_release(heap, p);
        }
}

/* Pages are not written to without need: most are shared with the parent. */
static void
clear_span(struct mspan *s)
{
    aword *marks = span_marks(s);

    for (size_t w = 0; w < span_words(s); w++)
        if (aword_load_relaxed(&marks[w]) != 0)
            aword_store_relaxed(&marks[w], 0);
}

/* A span that is made meanwhile is made without marks. */
void
gcrt_fork_clear_marks(struct gc_heap *heap)
{
    struct mheap *h = &heap->mheap;
    size_t limit = aword_load_acquire(&h->limit) >> PAGE_SHIFT; /* pairs: heap.grow */

    for (size_t page = 0; page < limit; page++) {
        if (page % CLEAR_STEP == 0)
            gcrt_fork_rest(heap);
        if (span_state(&h->spans[page]) >= SPAN_SMALL)
            clear_span(&h->spans[page]);
    }
}
