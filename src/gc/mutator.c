/* SPDX-License-Identifier: MIT */
/*
 * Mutators: attaching, detaching, blocking regions, and the Ps they hold.
 *
 * Purpose: know every thread that may hold heap pointers, and give each its allocation
 * cache.
 * Place: the api calls it; handshake walks the registry; it calls mcache.
 * Invariants: a mutator's barrier and colour are those of the last handshake published when
 * it attached, or of the last it answered.  An inside mutator has a P; an idle P's cache is
 * empty.
 * Concurrency: registry lock (RANK_REGISTRY) for membership and what newcomers inherit;
 * state words as mutator.h says; idle Ps under RANK_P.
 * Attaching and detaching threads are critical and may wait for the registry lock: the
 * collector never waits for a mutator while it holds that lock.
 * A blocking region changes only the record, so a fork need not wait for it (fork.c).
 * Cost: attach and detach a few microseconds; a blocking region two atomic operations.
 */
#include "gc/mutator.h"

#include "alloc/base/rcu.h"
#include "gc/assist.h"
#include "gc/barrier.h"
#include "gc/drive.h"
#include "gc/error.h"
#include "gc/handshake.h"
#include "gc/kind.h"
#include "gc/pool.h"
#include "gc/trace.h"

#include <string.h>

/* The one run table of threads that must not allocate: its key never matches. */
static const struct gc_impl_run no_runs[1];

#if !defined(GCRT_SIM) /* there each fiber has its own */
__thread struct gc_impl_thread gc_impl_self = { .runs = (struct gc_impl_run *)(uintptr_t)no_runs };
#endif

/* ---- Ps ---- */

static struct p *
pop_idle(struct gc_heap *heap)
{
    struct p *p;

    gcrt_lock_acquire(&heap->ps.lock);
    p = heap->ps.idle;
    if (p != NULL) {
        heap->ps.idle = p->next_idle;
        p->held = heap->ps.generation;
    }
    gcrt_lock_release(&heap->ps.lock);
    return p;
}

static void
publish_p(struct gc_heap *heap, struct p *p)
{
    gcrt_lock_acquire(&heap->ps.lock);
    p->held = heap->ps.generation;
    p->next_all = heap->ps.all;
    __atomic_store_n(&heap->ps.all, p, __ATOMIC_RELEASE); /* pairs: p.publish */
    __atomic_store_n(&heap->ps.count, heap->ps.count + 1, __ATOMIC_RELAXED);
    gcrt_lock_release(&heap->ps.lock);
}

struct p *
gcrt_p_acquire(struct gc_heap *heap)
{
    struct p *p = pop_idle(heap);

    if (p != NULL)
        return p;
    p = gcrt_persist_alloc(&heap->persist, sizeof(*p));
    if (p == NULL || !gcrt_mcache_init(&p->cache, &heap->mheap))
        return NULL;
    publish_p(heap, p);
    return p;
}

void
gcrt_p_release(struct gc_heap *heap, struct p *p)
{
    gcrt_pools_open(heap, p);
    p->cache.black = false;
    gcrt_lock_acquire(&heap->ps.lock);
    p->held = 0;
    p->next_idle = heap->ps.idle;
    heap->ps.idle = p;
    gcrt_lock_release(&heap->ps.lock);
}

void
gcrt_mutator_show_racks(struct gcrt_mutator *m)
{
    bool shown = m->self->barrier == 0 && m->block_depth == 0;

    m->self->racks = m->p->racks;
    m->self->nracks = shown ? m->p->nracks : 0;
}

void
gcrt_mutator_show_runs(struct gcrt_mutator *m)
{
    m->self->heap_inside = m->heap;
    if (UNLIKELY(m->heap->wbcheck != NULL))
        return; /* every allocation takes the slow path */
    m->self->runs = m->p->cache.table->runs;
    m->self->run_mask = m->p->cache.table->mask;
    gcrt_mutator_show_racks(m);
    gcrt_pool_show_hot(m);
}

void
gcrt_mutator_hide_runs(struct gcrt_mutator *m)
{
    m->self->heap_inside = NULL;
    m->self->run_mask = 0;
    m->self->nracks = 0;
    m->self->hot_pool = &gcrt_no_pool;
    m->self->runs = (struct gc_impl_run *)(uintptr_t)no_runs;
}

/* ---- the registry ---- */

/* pthread key destructor: the thread ends while attached. */
static void
detach_at_exit(void *arg)
{
    struct gcrt_mutator *m = arg;

    if (m == NULL || gc_impl_self.mutator != m)
        return;
    if (gc_impl_self.critical || m->driving)
        gcrt_fatal("a thread was cancelled or ended inside a gcrt call; a host that uses "
                   "asynchronous cancellation must disable it there");
    if (m->is_runner)
        gcrt_fatal("a cleanup or another callback has ended its thread");
    gc_impl_self.frames = NULL; /* their part of the stack is given up */
    while (m->block_depth != 0)
        gc_block_leave();
    gcrt_mutator_detach(m);
}

bool
gcrt_registry_init(struct gc_heap *heap)
{
    struct registry *r = &heap->registry;

    if (!gcrt_os_key_create(&heap->os, &r->exit_key, detach_at_exit))
        return false;
    gcrt_lock_init(&r->lock, RANK_REGISTRY);
    gcrt_lock_init(&heap->ps.lock, RANK_P);
    CDS_INIT_LIST_HEAD(&r->mutators);
    CDS_INIT_LIST_HEAD(&r->orphans);
    heap->ps.generation = 1;
    return true;
}

void
gcrt_registry_finish(struct gc_heap *heap)
{
    CHECK(pthread_key_delete(heap->registry.exit_key) == 0);
    gcrt_lock_finish(&heap->registry.lock);
    gcrt_lock_finish(&heap->ps.lock);
}

static struct gcrt_mutator *
new_record(struct gc_heap *heap)
{
    struct registry *r = &heap->registry;
    struct gcrt_mutator *m;

    gcrt_lock_acquire(&r->lock);
    m = r->spare;
    if (m != NULL)
        r->spare = m->next;
    gcrt_lock_release(&r->lock);
    if (m != NULL)
        memset(m, 0, sizeof(*m));
    else if (gcrt_kinds_have_reader(heap)) /* more threads than ever before */
        m = gcrt_persist_alloc(&heap->persist, sizeof(*m));
    return m;
}

static void
drop_record(struct gc_heap *heap, struct gcrt_mutator *m)
{
    gcrt_lock_acquire(&heap->registry.lock);
    m->next = heap->registry.spare;
    heap->registry.spare = m;
    gcrt_lock_release(&heap->registry.lock);
}

/* ---- attach and detach ---- */

/*
 * The part of a record that needs no lock.  GC_OK, or what is missing.  liburcu gets to
 * know the thread here: in a critical section that could wait for a thread that forks.
 */
static gc_status
prepare(struct gc_heap *heap, struct gcrt_mutator *m, bool precise)
{
    uintptr_t lo, hi;
    int error;

    rcu_read_lock();
    rcu_read_unlock();
    m->heap = heap;
    m->self = &gc_impl_self;
    m->self->hot_n = 0;
    m->tid = gcrt_os_thread_id();
    m->marker.heap = heap;
    m->precise = precise;
    m->marker.brief = m->marker.leaves_traced = true;
    m->barrier_slots = heap->options.debug_tiny ? 2 : BARRIER_SLOTS;
    ahalf_store_relaxed(&m->state, MUTATOR_INSIDE);
    error = gcrt_os_stack_bounds(&heap->os, &lo, &hi);
    if (error != 0)
        return gcrt_error(GC_ERR_THREAD, "gc_thread_attach: the stack's bounds are unknown: %s",
                strerror(error));
    gcrt_fiber_begin(m, lo, hi);
    m->p = gcrt_p_acquire(heap);
    if (m->p == NULL)
        return gcrt_error(GC_ERR_NOMEM, "gc_thread_attach: no memory for a P");
    return GC_OK;
}

/* Until something of what keeps newcomers out has changed.  The lock is held, but for the wait. */
static void
wait_unlocked(struct gc_heap *heap)
{
    struct registry *r = &heap->registry;
    unsigned seen = ahalf_load_acquire(&heap->handshake.released);
    bool held = r->held, shut = ahalf_load_relaxed(&r->door) != DOOR_OPEN;

    if (shut)
        ahalf_store_relaxed(&r->door, DOOR_AWAITED);
    gcrt_lock_release(&r->lock);
    if (shut)
        gcrt_os_wait(&r->door, DOOR_AWAITED, UINT64_MAX);
    else if (held)
        gcrt_os_wait(&heap->handshake.released, seen, UINT64_MAX);
    else
        gcrt_os_yield();
    gcrt_lock_acquire(&r->lock);
}

/* Everybody is held, or the only thread runs a cycle, or a thread forks.  The lock is held. */
static bool
is_closed(const struct gc_heap *heap)
{
    const struct registry *r = &heap->registry;

    return r->held || ahalf_load_relaxed(&r->door) != DOOR_OPEN || fork_gate_is_closed(heap);
}

/* Joins the heap with the state that the last published handshake left. */
static void
enlist(struct gc_heap *heap, struct gcrt_mutator *m)
{
    struct registry *r = &heap->registry;
    unsigned epoch;

    gcrt_lock_acquire(&r->lock);
    while (is_closed(heap))
        wait_unlocked(heap);
    epoch = ahalf_load_relaxed(&heap->handshake.epoch);
    ahalf_store_relaxed(&m->request, epoch);
    ahalf_store_relaxed(&m->answered, epoch);
    barrier_set(m, r->barrier);
    m->cycle = r->cycle;
    __atomic_store_n(&m->self->poll, 0, __ATOMIC_RELAXED);
    if (r->black)
        gcrt_mcache_blacken(&m->p->cache, r->black_gen);
    r->count++;
    cds_list_add(&m->node, &r->mutators);
    gcrt_lock_release(&r->lock);
    ahalf_add_full(&heap->marking.inside, 1);
    aword_add_relaxed(&heap->counters.attaches, 1);
}

gc_status
gcrt_mutator_attach(struct gc_heap *heap, bool precise)
{
    struct gcrt_mutator *m;
    gc_status status;

    if (gc_impl_self.mutator != NULL)
        return gcrt_error(GC_ERR_ATTACHED, "gc_thread_attach: this thread is attached already");
    m = new_record(heap);
    if (m == NULL)
        return gcrt_error(GC_ERR_NOMEM, "gc_thread_attach: no memory for the thread's record");
    status = prepare(heap, m, precise);
    if (status != GC_OK) {
        drop_record(heap, m);
        return status;
    }
    if (!gcrt_os_key_set(&heap->os, heap->registry.exit_key, m)) {
        gcrt_p_release(heap, m->p);
        drop_record(heap, m);
        return gcrt_error(GC_ERR_NOMEM, "gc_thread_attach: no memory for thread-specific data");
    }
    critical_enter();
    chaos_point(&heap->os, CHAOS_ATTACH);
    enlist(heap, m);
    gcrt_mutator_show_runs(m);
    gc_impl_self.mutator = m;
    gcrt_trace_thread_begin();
    TRACE(heap, attach, 0, 0, 0);
    critical_leave();
    return GC_OK;
}

/* Leaves the registry; no handshake waits for m any more, and none will ask it. */
static void
delist(struct gcrt_mutator *m)
{
    struct registry *r = &m->heap->registry;

    gcrt_lock_acquire(&r->lock);
    while (ahalf_load_acquire(&m->request) != ahalf_load_relaxed(&m->answered)) {
        gcrt_lock_release(&r->lock); /* asked before the lock was ours */
        gcrt_handshake_answer(m);
        gcrt_lock_acquire(&r->lock);
    }
    gcrt_barrier_flush(m);
    gcrt_marker_flush(&m->marker);
    cds_list_del(&m->node);
    r->count--;
    m->next = r->spare;
    r->spare = m;
    gcrt_lock_release(&r->lock);
}

void
gcrt_mutator_detach(struct gcrt_mutator *m)
{
    struct gc_heap *heap = m->heap;
    struct p *p = m->p;
    struct own_memory memory;

    gcrt_drive_not(m);
    critical_enter();
    gcrt_assist_end_cycle(m);
    pthread_setspecific(heap->registry.exit_key, NULL);
    gcrt_mutator_hide_runs(m);
    gcrt_pools_leave(m);
    /*
     * While marking, the rest of a run may carry marks, and handing such slots to a mutator
     * that is not black yet would make its objects black too early (I-own-snapshot).  All
     * spans go back before H6 can be complete without us, so the sweep finds them.
     */
    gcrt_mcache_flush(&p->cache, barrier_state(m->self) == BARRIER_OFF ? RUNS_FREE : RUNS_KEPT);
    ahalf_add_full(&heap->registry.leaving, 1);
    chaos_point(&heap->os, CHAOS_DETACH);
    gcrt_fiber_end(m);
    memory = gcrt_own_take(m);
    TRACE(heap, detach, 0, 0, 0);
    gcrt_trace_thread_end();
    delist(m); /* the record may be another thread's from here on */
    gcrt_p_release(heap, p);
    gc_impl_self.mutator = NULL;
    gc_impl_self.barrier = 0;
    gc_impl_self.store = 0;
    gc_impl_self.poll = 0;
    __asm__ volatile("" ::: "memory");
    gc_impl_self.critical = 0;
    ahalf_add_full(&heap->marking.inside, (unsigned)-1);
    aword_add_relaxed(&heap->counters.detaches, 1);
    ahalf_add_full(&heap->registry.leaving, (unsigned)-1); /* pairs: registry.left */
    gcrt_own_free(&memory);
}

struct gcrt_mutator *
gcrt_mutator_self(const char *caller)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    if (UNLIKELY(m == NULL))
        gcrt_fatal("%s: the calling thread is not attached to a heap", caller);
    if (UNLIKELY(m->block_depth != 0))
        gcrt_fatal("%s: called inside a blocking region", caller);
    return m;
}

void
gcrt_mutator_detach_self(const char *caller)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);

    if (m->in_callback)
        gcrt_fatal("%s: called in a cleanup or another callback", caller);
    gcrt_mutator_detach(m);
}

/* ---- blocking regions ---- */

/*
 * The entries are written in assembly: they must see the caller's callee-saved registers
 * before any prologue reuses them.  (glibc's setjmp mangles rbp and will not do.)
 */
void gcrt_block_enter_with(const uintptr_t *regs, uintptr_t sp) __attribute__((used));

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl gc_block_enter\n"
        ".type gc_block_enter, @function\n"
        "gc_block_enter:\n"
        ".cfi_startproc\n"
        "    subq $56, %rsp\n"
        ".cfi_adjust_cfa_offset 56\n"
        "    movq %rbx, 0(%rsp)\n"
        "    movq %rbp, 8(%rsp)\n"
        "    movq %r12, 16(%rsp)\n"
        "    movq %r13, 24(%rsp)\n"
        "    movq %r14, 32(%rsp)\n"
        "    movq %r15, 40(%rsp)\n"
        "    movq %rsp, %rdi\n"
        "    leaq 64(%rsp), %rsi\n"
        "    call gcrt_block_enter_with\n"
        "    addq $56, %rsp\n"
        ".cfi_adjust_cfa_offset -56\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size gc_block_enter, .-gc_block_enter\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl gc_block_enter\n"
        ".type gc_block_enter, %function\n"
        "gc_block_enter:\n"
        ".cfi_startproc\n"
        "    sub sp, sp, #112\n"
        ".cfi_adjust_cfa_offset 112\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    mov x0, sp\n"
        "    add x1, sp, #112\n"
        "    bl gcrt_block_enter_with\n"
        "    ldr x30, [sp, #88]\n"
        "    add sp, sp, #112\n"
        ".cfi_adjust_cfa_offset -112\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size gc_block_enter, .-gc_block_enter\n");
#endif

/*
 * Keeps a copy of the stack's top.  The function that called gc_block_enter may return before
 * the region ends (a wrapper), or may give up its frame to call gc_block_leave last (a tail
 * call); then registers that it had saved for its callers are in no frame any more.  The copy
 * has them: nothing a thread holds while it is outside is newer.
 */
RACY_READER static void
copy_window(struct gcrt_mutator *m, uintptr_t sp)
{
    size_t there = (m->stack_hi - sp) / WORD;

    m->nwindow = (uint32_t)min_size(there, WINDOW_WORDS);
    for (uint32_t i = 0; i < m->nwindow; i++)
        m->window[i] = STACK_READ(sp + i * WORD);
}

void
gcrt_mutator_go_outside(struct gcrt_mutator *m)
{
    gcrt_mutator_hide_runs(m);
    m->self->store = 0;
    ahalf_add_full(&m->heap->marking.inside, (unsigned)-1);
    chaos_point(&m->heap->os, CHAOS_BLOCK_ENTER);
    ahalf_store_release(&m->state, MUTATOR_OUTSIDE); /* pairs: mutator.state */
    critical_clear(); /* a request that came meanwhile is the collector's to serve */
}

void
gcrt_block_enter_with(const uintptr_t *regs, uintptr_t sp)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    if (UNLIKELY(m == NULL))
        gcrt_fatal("gc_block_enter: the calling thread is not attached to a heap");
    if (m->block_depth != 0) {
        m->block_depth++;
        return;
    }
    if (UNLIKELY((sp < m->stack_lo || sp >= m->stack_hi) && !m->precise))
        gcrt_fatal("gc_block_enter: on a stack that is not the thread's own");
    gcrt_drive_not(m);
    critical_set();
    m->block_depth = 1;
    m->landing = false;
    for (size_t i = 0; i < CALLEE_SAVED; i++)
        m->regs[i] = regs[i];
    m->sp = sp;
    if (!m->precise)
        copy_window(m, sp);
    gcrt_mutator_go_outside(m);
}

/*
 * Takes the record back from the collector, waiting while it is held.  That it waits is part of
 * the state: to wake nobody is a system call, for each thread outside and each handshake.
 */
static void
go_inside(struct gcrt_mutator *m)
{
    while (!ahalf_cas_full(&m->state, MUTATOR_OUTSIDE, MUTATOR_INSIDE)) { /* mutator.state */
        (void)ahalf_cas_full(&m->state, MUTATOR_HELD, MUTATOR_AWAITED);
        gcrt_os_wait(&m->state, MUTATOR_AWAITED, UINT64_MAX);
    }
}

bool
gcrt_mutator_hold(struct gcrt_mutator *m)
{
    return ahalf_cas_full(&m->state, MUTATOR_OUTSIDE, MUTATOR_HELD); /* pairs: mutator.state */
}

void
gcrt_mutator_let_go(struct gcrt_mutator *m)
{
    if (ahalf_swap_full(&m->state, MUTATOR_OUTSIDE) == MUTATOR_AWAITED) /* mutator.state */
        gcrt_os_wake(&m->state, 1);
}

void
gc_block_leave(void)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    if (UNLIKELY(m == NULL))
        gcrt_fatal("gc_block_leave: the calling thread is not attached to a heap");
    if (UNLIKELY(m->block_depth == 0))
        gcrt_fatal("gc_block_leave: without gc_block_enter");
    if (m->block_depth != 1) {
        m->block_depth--;
        return;
    }
    critical_set();
    go_inside(m);
    m->block_depth = 0;
    mutator_show_store(m);
    chaos_point(&m->heap->os, CHAOS_BLOCK_LEAVE);
    ahalf_add_full(&m->heap->marking.inside, 1);
    gcrt_mutator_show_runs(m);
    critical_leave();
}
