/* SPDX-License-Identifier: MIT */
/*
 * Registered stacks.
 *
 * Purpose: keep alive what lies on the stacks of fibers, whichever thread runs on them.
 * Place: the api's gc_stack functions are here; the cycle publishes parked stacks, workers
 * scan them through mark.c, and the words are collected by stack.c.
 *
 * Every stack is black or white in a cycle, as mutators are.  A mutator's number, m->cycle,
 * is that of the last cycle in which it was scanned; who parks a stack gives it its own
 * number.
 * - A black mutator runs on black stacks only: one that is older it scans before it resumes
 *   it. What lies on a black stack was seen, or read from a slot that the deletion barrier
 *   covers, or born black, as for the stacks of black mutators themselves (barrier.c).
 * - A white one may run on any.  H3 scans its current stack whatever number that has, for
 *   it may be one that a black mutator parked and that has held white pointers since.
 * - After H3 all mutators are black, and workers scan the parked stacks that are still
 *   white.  No stack becomes white from then on, so marking is complete only when all are
 *   black: their chunks are public work (I-ragged-done).
 * The numbers are compared, never reset.  Between two cycles all are the same, or, in a
 * forked child, below that of the next cycle.
 *
 * A thread's own stack, parked while the thread runs on others, can be resumed by that
 * thread alone, so it belongs to its mutator and is scanned in its H3 together with the
 * current one.
 *
 * The switch.  gc_stack_switch is called on the old stack, and the machine follows later.
 * In between the thread is on a stack that is not its current one, where the signal handler
 * does not answer (handshake.c).  Saved at the call: callee-saved registers, and a window
 * of the stack's top, because who called us may return before the machine's switch and
 * restore others from there. The host's switch may load registers after the stack pointer,
 * from memory that nobody scans (swapcontext does), so until the thread has called gcrt
 * from the new stack, its handler scans what was saved when that was parked as well
 * (m->landing).
 *
 * Invariants: I-own-snapshot, for stacks.  A record has one owner, by its state.
 * Concurrency: RANK_STACK for the set of stacks; a switch takes no lock.  A thread that
 * wants a stack while a worker reads it waits for that one stack, in a critical section:
 * workers wait for nobody.
 * Cost: a switch is a compare-and-swap, a release store and a copy of 300 bytes; a record
 * about 500 bytes; a scan that of its words, once a cycle.
 */
#include "gc/fiber.h"

#include "gc/barrier.h"
#include "gc/checkmark.h"
#include "gc/error.h"
#include "gc/handshake.h"
#include "gc/stack.h"

#define CHUNK_STACKS 64
#define STACK_ALIGN  16

/* An item of work: a chunk, and in its low bits the stack to go on with. */
#define ITEM_AT ((uintptr_t)CHUNK_STACKS - 1)

struct stack_chunk {
    struct stack_chunk *next; /* const */
    struct gc_stack stacks[CHUNK_STACKS];
};

/* ---- the set of stacks ---- */

void
gcrt_fibers_init(struct gc_heap *heap)
{
    gcrt_lock_init(&heap->fibers.lock, RANK_STACK);
}

void
gcrt_fibers_finish(struct gc_heap *heap)
{
    for (struct stack_chunk *c = heap->fibers.chunks; c != NULL; c = c->next)
        for (size_t i = 0; i < CHUNK_STACKS; i++)
            gcrt_own_drop_scopes(&c->stacks[i].scopes);
    gcrt_lock_finish(&heap->fibers.lock);
}

static bool
add_chunk_locked(struct gc_heap *heap)
{
    struct fibers *f = &heap->fibers;
    struct stack_chunk *c = gcrt_persist_alloc(&heap->persist, sizeof(*c));

    if (c == NULL)
        return false;
    for (size_t i = CHUNK_STACKS; i-- > 0;) {
        c->stacks[i].next = f->free;
        f->free = &c->stacks[i];
    }
    c->next = f->chunks;
    __atomic_store_n(&f->chunks, c, __ATOMIC_RELEASE); /* pairs: stack.publish */
    return true;
}

static struct stack_chunk *
chunks_of(const struct gc_heap *heap)
{
    return __atomic_load_n(&heap->fibers.chunks, __ATOMIC_ACQUIRE); /* pairs: stack.publish */
}

/* An empty stack.  NULL with a status if there is no memory or it overlaps another. */
static struct gc_stack *
add_locked(struct gc_heap *heap, uintptr_t lo, uintptr_t hi, gc_status *status)
{
    struct fibers *f = &heap->fibers;
    struct gc_stack *s;

    *status = GC_ERR_NOMEM;
    if (f->free == NULL && !add_chunk_locked(heap))
        return NULL;
    s = f->free;
    s->extent = (struct extent){ .lo = lo, .hi = hi };
    *status = GC_ERR_INVAL;
    if (!gcrt_extent_add(&f->tree, &s->extent))
        return NULL;
    f->free = s->next;
    s->heap = heap;
    s->manners = STACK_UNUSED;
    aword_add_relaxed(&f->count, 1);
    *status = GC_OK;
    return s;
}

static void
remove_stack(struct gc_heap *heap, struct gc_stack *s)
{
    struct fibers *f = &heap->fibers;

    gcrt_lock_acquire(&f->lock);
    gcrt_extent_remove(&f->tree, &s->extent);
    s->heap = NULL;
    s->next = f->free;
    f->free = s;
    aword_add_relaxed(&f->count, (uint64_t)0 - 1);
    gcrt_lock_release(&f->lock);
}

void
gcrt_fibers_visit(struct gc_heap *heap, void (*fn)(void *arg, struct gc_stack *s), void *arg)
{
    for (struct stack_chunk *c = chunks_of(heap); c != NULL; c = c->next)
        for (size_t i = 0; i < CHUNK_STACKS; i++)
            if (ahalf_load_acquire(&c->stacks[i].state) == STACK_PARKED)
                fn(arg, &c->stacks[i]);
}

const struct gc_stack *
gcrt_fibers_find(struct gc_heap *heap, uintptr_t at)
{
    struct extent *e = gcrt_extent_find(heap->fibers.tree, at);

    if (e != NULL)
        return container_of_(e, struct gc_stack, extent);
    for (struct stack_chunk *c = chunks_of(heap); c != NULL; c = c->next)
        if (at - (uintptr_t)c < sizeof(*c))
            return &c->stacks[(at - (uintptr_t)c->stacks) / sizeof(c->stacks[0])];
    return NULL;
}

/* ---- owning one ---- */

static void
clear(struct gc_stack *s)
{
    s->sp = s->extent.hi;
    s->frames = NULL;
    s->nwindow = 0;
    for (size_t i = 0; i < STACK_REGISTERS; i++)
        s->regs[i] = 0;
}

/* Until somebody's scan of it is over. */
static void
wait_for_reader(struct gc_stack *s)
{
    (void)ahalf_cas_full(&s->state, STACK_READ, STACK_AWAITED); /* pairs: stack.state */
    gcrt_os_wait(&s->state, STACK_AWAITED, UINT64_MAX);
}

/*
 * Makes the caller its owner if it is nobody's, waiting while it is read.  Returns what it
 * was before; RUNNING, OWN or FREE: it is not ours.
 */
static enum stack_state
claim(struct gc_stack *s)
{
    for (;;) {
        enum stack_state state = (enum stack_state)ahalf_load_acquire(&s->state);

        switch (state) {
        case STACK_READ:
        case STACK_AWAITED:
            wait_for_reader(s);
            break;
        case STACK_EMPTY:
        case STACK_PARKED:
        case STACK_LOST:
            if (ahalf_cas_full(&s->state, state, STACK_RUNNING)) /* pairs: stack.state */
                return state;
            break;
        default:
            return state;
        }
    }
}

/*
 * What lies on it goes away.  Another thread may have read it from there, and a black one
 * need not have it anywhere that was scanned.
 */
static void
give_up_contents(struct gcrt_mutator *m, struct gc_stack *s)
{
    uint64_t cycle = aword_load_relaxed(&m->heap->cycles.started);

    if (barrier_state(m->self) == BARRIER_OFF || aword_load_relaxed(&s->cycle) == cycle)
        return;
    gcrt_stack_collect_parked(m->heap, s);
    if (UNLIKELY(m->heap->checkmark != NULL))
        gcrt_checkmark_note_parked(m->heap, s);
}

/* A registered stack of the caller's heap, which is not critical yet. */
static struct gcrt_mutator *
check_stack(const char *caller, const struct gc_stack *s)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);

    if (UNLIKELY(s == NULL))
        gcrt_fatal("%s: stack is NULL", caller);
    if (UNLIKELY(s->heap != m->heap))
        gcrt_fatal("%s: stack %p is not registered with the thread's heap", caller,
                (const void *)s);
    return m;
}

static COLD _Noreturn void
refuse(const char *caller, const struct gc_stack *s, enum stack_state state)
{
    const char *why = "is not registered";

    if (state == STACK_RUNNING)
        why = s == gc_impl_self.mutator->current ? "is the thread's current one"
                                                 : "has a thread running on it";
    else if (state == STACK_OWN)
        why = "is a thread's own";
    else if (state == STACK_LOST)
        why = "had a thread running on it that did not survive fork";
    gcrt_fatal("%s: stack [%#lx, %#lx) %s", caller, (unsigned long)s->extent.lo,
            (unsigned long)s->extent.hi, why);
}

/* ---- registering ---- */

static const char *
complaint_about(const struct gc_heap *heap, uintptr_t lo, size_t bytes)
{
    const struct mheap *h = &heap->mheap;

    if (lo == 0)
        return "lo is NULL";
    if (lo % STACK_ALIGN != 0 || bytes % STACK_ALIGN != 0)
        return "its bounds are not multiples of 16";
    if (bytes < GC_STACK_MIN)
        return "it is smaller than GC_STACK_MIN";
    if (lo + bytes < lo)
        return "it wraps around the address space";
    if (mheap_contains(h, lo) || mheap_contains(h, lo + bytes - 1))
        return "it lies in the heap";
    return NULL;
}

gc_status
gc_stack_register(void *lo, size_t bytes, gc_stack **ret)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;
    const char *complaint;
    struct gc_stack *s;
    gc_status status;

    if (ret == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_stack_register: ret is NULL");
    if (m == NULL)
        return gcrt_error(GC_ERR_DETACHED, "gc_stack_register: the thread is not attached");
    (void)gcrt_mutator_self("gc_stack_register");
    complaint = complaint_about(m->heap, (uintptr_t)lo, bytes);
    if (complaint != NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_stack_register: %s", complaint);
    critical_enter();
    gcrt_lock_acquire(&m->heap->fibers.lock);
    s = add_locked(m->heap, (uintptr_t)lo, (uintptr_t)lo + bytes, &status);
    gcrt_lock_release(&m->heap->fibers.lock);
    if (s != NULL) {
        clear(s);
        ahalf_store_release(&s->state, STACK_EMPTY); /* pairs: stack.state */
    }
    critical_leave();
    if (status == GC_ERR_NOMEM)
        return gcrt_error(status, "gc_stack_register: no memory for a stack's record");
    if (status != GC_OK)
        return gcrt_error(status, "gc_stack_register: it overlaps a registered stack");
    *ret = s;
    return GC_OK;
}

/* The stack's contents are given up; it goes to the state next.  Its scopes are the caller's. */
static struct scopes
vacate(const char *caller, struct gc_stack *s, enum stack_state next)
{
    struct gcrt_mutator *m = check_stack(caller, s);
    enum stack_state was;
    struct scopes scopes;

    critical_enter();
    was = claim(s);
    if (UNLIKELY(was == STACK_RUNNING || was == STACK_OWN || was == STACK_FREE))
        refuse(caller, s, was);
    if (was == STACK_PARKED)
        give_up_contents(m, s);
    scopes = s->scopes;
    s->scopes = (struct scopes){ .used = 0 };
    s->manners = STACK_UNUSED;
    clear(s);
    ahalf_store_release(&s->state, next); /* pairs: stack.state */
    if (next == STACK_FREE)
        remove_stack(m->heap, s);
    critical_leave();
    return scopes;
}

void
gc_stack_unregister(gc_stack *stack)
{
    struct scopes scopes = vacate("gc_stack_unregister", stack, STACK_FREE);

    gcrt_own_drop_scopes(&scopes); /* not while critical: a held thread may have malloc's lock */
}

void
gc_stack_reset(gc_stack *stack)
{
    struct scopes scopes = vacate("gc_stack_reset", stack, STACK_EMPTY);

    gcrt_own_drop_scopes(&scopes);
}

/* ---- threads ---- */

void
gcrt_fiber_begin(struct gcrt_mutator *m, uintptr_t lo, uintptr_t hi)
{
    struct gc_stack *s = &m->native;

    s->heap = m->heap;
    s->extent = (struct extent){ .lo = lo, .hi = hi };
    s->manners = m->precise ? STACK_PRECISE : STACK_CONSERVATIVE;
    ahalf_store_relaxed(&s->state, STACK_OWN);
    clear(s);
    m->current = s;
    m->stack_lo = lo;
    m->stack_hi = hi;
}

const struct gc_stack *
gcrt_fiber_native(const struct gcrt_mutator *m)
{
    return m->current != &m->native ? &m->native : NULL;
}

/* The bounds stay: one more handshake may be answered from here. */
void
gcrt_fiber_end(struct gcrt_mutator *m)
{
    struct gc_stack *s = m->current;

    m->landing = false;
    if (s == &m->native) {
        m->native.heap = NULL;
        return;
    }
    m->current = &m->native;
    m->native.heap = NULL;
    m->self->frames = NULL; /* they lie on several stacks */
    clear(s);
    s->manners = STACK_UNUSED;
    ahalf_store_release(&s->state, STACK_EMPTY); /* pairs: stack.state */
}

void
gcrt_fiber_lose(struct gcrt_mutator *m)
{
    if (m->current == &m->native)
        return;
    clear(m->current);
    ahalf_store_relaxed(&m->current->state, STACK_LOST);
    m->current = &m->native;
}

gc_stack *
gc_stack_current(void)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;

    if (UNLIKELY(m == NULL))
        gcrt_fatal("gc_stack_current: the calling thread is not attached to a heap");
    return m->current;
}

/* ---- switching ---- */

/* m is black and the stack is not: it is scanned, and that is a pause of m's. */
static NOINLINE void
scan_before_running(struct gcrt_mutator *m, struct gc_stack *s)
{
    struct gc_heap *heap = m->heap;
    uint64_t start = gcrt_os_now_ns(), ns;
    size_t bytes;

    CHECK(barrier_state(m->self) == BARRIER_DELETION); /* else marking is not under way */
    chaos_point(&heap->os, CHAOS_STACK_READ);
    bytes = gcrt_stack_collect_parked(heap, s);
    if (UNLIKELY(heap->checkmark != NULL))
        gcrt_checkmark_note_parked(heap, s);
    aword_add_relaxed(&heap->marking.stack_work, bytes);
    aword_add_relaxed(&heap->fibers.scanned, bytes);
    aword_add_relaxed(&heap->fibers.at_switch, 1);
    ns = gcrt_os_now_ns() - start;
    aword_add_relaxed(&heap->counters.pause_ns, ns);
    gcrt_handshake_count_pause(m, ACTION_SCAN, ns);
}

/* Makes m the owner of a stack that it will run on. */
static void
take(struct gcrt_mutator *m, struct gc_stack *to)
{
    uint32_t manners = m->precise ? STACK_PRECISE : STACK_CONSERVATIVE;
    enum stack_state was;

    if (to == &m->native) {
        if (UNLIKELY(m->current == to))
            refuse("gc_stack_switch", to, STACK_RUNNING);
        return;
    }
    was = claim(to);
    if (UNLIKELY(was != STACK_PARKED && was != STACK_EMPTY))
        refuse("gc_stack_switch", to, was);
    if (UNLIKELY(to->manners != manners && to->manners != STACK_UNUSED))
        gcrt_fatal("gc_stack_switch: stack [%#lx, %#lx) is %s, the thread is not",
                (unsigned long)to->extent.lo, (unsigned long)to->extent.hi,
                to->manners == STACK_PRECISE ? "a precise thread's" : "one to be scanned");
    to->manners = manners;
    if (was == STACK_PARKED && aword_load_relaxed(&to->cycle) < m->cycle)
        scan_before_running(m, to);
}

RACY_READER static void
copy_window(struct gc_stack *s, uintptr_t sp)
{
    size_t there = (s->extent.hi - sp) / WORD;

    s->nwindow = (uint32_t)min_size(there, STACK_WINDOW);
    for (uint32_t i = 0; i < s->nwindow; i++)
        s->window[i] = STACK_READ(sp + i * WORD);
}

static void
park(struct gcrt_mutator *m, const uintptr_t *regs, uintptr_t sp)
{
    struct gc_stack *s = m->current;

    s->sp = sp;
    s->frames = m->self->frames;
    s->scopes = m->own.scopes;
    if (!m->precise) {
        for (size_t i = 0; i < CALLEE_SAVED; i++)
            s->regs[i] = regs[i];
        copy_window(s, sp);
    }
    if (s == &m->native)
        return;
    CHECK(ahalf_load_relaxed(&s->state) == STACK_RUNNING);
    aword_store_relaxed(&s->cycle, m->cycle);
    chaos_point(&m->heap->os, CHAOS_STACK_PARK);
    ahalf_store_release(&s->state, STACK_PARKED); /* pairs: stack.state */
}

static void
adopt(struct gcrt_mutator *m, struct gc_stack *to)
{
    m->current = to;
    m->stack_lo = to->extent.lo;
    m->stack_hi = to->extent.hi;
    m->landing = true;
    m->self->frames = to->frames;
    m->own.scopes = to->scopes;
    to->frames = NULL;
    to->scopes = (struct scopes){ .used = 0 };
}

/* The entry, in assembly, sees the caller's registers before any prologue reuses them. */
void gcrt_stack_switch_with(struct gc_stack *to, const uintptr_t *regs, uintptr_t sp)
        __attribute__((used));

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl gc_stack_switch\n"
        ".type gc_stack_switch, @function\n"
        "gc_stack_switch:\n"
        ".cfi_startproc\n"
        "    subq $56, %rsp\n"
        ".cfi_adjust_cfa_offset 56\n"
        "    movq %rbx, 0(%rsp)\n"
        "    movq %rbp, 8(%rsp)\n"
        "    movq %r12, 16(%rsp)\n"
        "    movq %r13, 24(%rsp)\n"
        "    movq %r14, 32(%rsp)\n"
        "    movq %r15, 40(%rsp)\n"
        "    movq %rsp, %rsi\n"
        "    leaq 64(%rsp), %rdx\n"
        "    call gcrt_stack_switch_with\n"
        "    addq $56, %rsp\n"
        ".cfi_adjust_cfa_offset -56\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size gc_stack_switch, .-gc_stack_switch\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl gc_stack_switch\n"
        ".type gc_stack_switch, %function\n"
        "gc_stack_switch:\n"
        ".cfi_startproc\n"
        "    sub sp, sp, #112\n"
        ".cfi_adjust_cfa_offset 112\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    mov x1, sp\n"
        "    add x2, sp, #112\n"
        "    bl gcrt_stack_switch_with\n"
        "    ldr x30, [sp, #88]\n"
        "    add sp, sp, #112\n"
        ".cfi_adjust_cfa_offset -112\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size gc_stack_switch, .-gc_stack_switch\n");
#endif

void
gcrt_stack_switch_with(struct gc_stack *to, const uintptr_t *regs, uintptr_t sp)
{
    struct gcrt_mutator *m = check_stack("gc_stack_switch", to);

    if (UNLIKELY((sp < m->stack_lo || sp >= m->stack_hi) && !m->precise))
        gcrt_fatal("gc_stack_switch: the thread is not on its current stack");
    gc_safepoint();
    critical_enter();
    take(m, to);
    park(m, regs, sp);
    adopt(m, to);
    critical_clear(); /* no poll: the thread is not on its current stack any more */
}

/* ---- scanning ---- */

void
gcrt_fibers_publish(struct gc_heap *heap)
{
    for (struct stack_chunk *c = chunks_of(heap); c != NULL; c = c->next)
        gcrt_work_push_parked(&heap->work, (uintptr_t)c);
    aword_store_relaxed(&heap->fibers.scanned_last,
            aword_load_relaxed(&heap->fibers.scanned));
    aword_store_relaxed(&heap->fibers.scanned, 0);
}

/* Whoever waits for it can have it. */
static void
end_reading(struct gc_stack *s)
{
    if (LIKELY(ahalf_cas_full(&s->state, STACK_READ, STACK_PARKED))) /* pairs: stack.state */
        return;
    ahalf_store_full(&s->state, STACK_PARKED);
    gcrt_os_wake(&s->state, INT32_MAX);
}

/* The bytes looked at; 0 if it is not parked, or was seen in this cycle. */
static size_t
scan_parked(struct gc_heap *heap, struct gc_stack *s, uint64_t cycle)
{
    size_t bytes = 0;

    if (ahalf_load_acquire(&s->state) != STACK_PARKED || aword_load_relaxed(&s->cycle) == cycle)
        return 0;
    if (!ahalf_cas_full(&s->state, STACK_PARKED, STACK_READ)) /* pairs: stack.state */
        return 0; /* it runs: then it was scanned by who took it, or is empty */
    if (aword_load_relaxed(&s->cycle) != cycle) {
        chaos_point(&heap->os, CHAOS_STACK_READ);
        bytes = gcrt_stack_collect_parked(heap, s);
        aword_store_relaxed(&s->cycle, cycle);
    }
    end_reading(s);
    return bytes;
}

uint32_t
gcrt_fibers_mark(struct marker *mk)
{
    struct gc_heap *heap = mk->heap;
    uintptr_t item = gcrt_work_pop_parked(&heap->work);
    uint64_t cycle = aword_load_relaxed(&heap->cycles.started);
    struct stack_chunk *c = (struct stack_chunk *)(item & ~ITEM_AT);
    size_t at = item & ITEM_AT, bytes = 0;

    if (item == 0)
        return 0;
    while (at < CHUNK_STACKS && bytes < PIECE_BYTES)
        bytes += scan_parked(heap, &c->stacks[at++], cycle);
    if (at < CHUNK_STACKS)
        gcrt_work_push_parked(&heap->work, (uintptr_t)c | at);
    aword_add_relaxed(&heap->marking.stack_work, bytes);
    aword_add_relaxed(&heap->fibers.scanned, bytes);
    return 1 + (uint32_t)min_size(bytes / WORD_EFFORT, PIECE_BYTES);
}
