/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what may happen between two instructions, at every instruction.  The program runs
 * a piece of the library with the processor's trap flag set and looks, or acts, after each
 * instruction: a handshake's signal arrives there, another marker sets a bit there, or what
 * other threads could see there is compared with what they may see.
 *
 * Place: internals of gcrt; x86-64 only, elsewhere it is skipped.  Stores become visible in
 * program order on x86, so each state between two instructions is one that others may see.
 *
 * Concurrency: one thread, and a collector that sleeps: handshakes are asked by hand.  A case
 * runs once to see its instructions, then once per instruction (and, in loops, for the second
 * time that it comes) with the event there.
 *
 * Arguments: none.
 */

#include "signal_here.h"

#include <limits.h>
#include <pthread.h>

#include "alloc/sweep.h"
#include "gc/barrier.h"

#if defined(__x86_64__)

/* ---- the heap ---- */

struct node {
    struct node *left, *right, *third;
    uint64_t plain;
};

GC_TYPE(node_type, struct node, left, right, third);

/* ---- I-critical: stores ---- */

static struct node *volatile object;
static struct node *old_value[3], *new_value[3], *source;
static int words;             /* that the store changes */
static int stored_here[3];    /* which were, when the signal came */

static struct node **
slot(int i)
{
    return &object->left + i;
}

static void
prepare_store(void)
{
    if (gc_impl_self.barrier != BARRIER_OFF)
        ask_and_answer(ACTION_BARRIER_OFF);
    for (int i = 0; i < 3; i++) {
        *slot(i) = old_value[i];
        (&source->left)[i] = new_value[i];
    }
    (void)take_raw(0);
    asked = ACTION_BARRIER_ON;
}

static void
signal_in_store(void)
{
    for (int i = 0; i < words; i++)
        stored_here[i] = *slot(i) != old_value[i];
    signal_here();
}

static size_t
count_buffered(const void *p)
{
    size_t n = 0;

    for (uint32_t i = 0; i < self()->nbarrier; i++)
        n += self()->barrier[i] == (uintptr_t)p;
    return n;
}

static const char *store_name;

/* What was stored after the answer must have been shaded, both halves. */
static void
check_store(void)
{
    for (int i = 0; i < words && answered_here; i++) {
        if (stored_here[i])
            continue;
        T_CHECK(count_buffered(old_value[i]) != 0,
                "%s, step %lu: the barrier was turned on before the store of word %d, but the "
                "old value is not shaded", store_name, t_event_step, i);
        T_CHECK(*slot(i) == NULL || count_buffered(new_value[i]) != 0,
                "%s, step %lu: the new value of word %d is not shaded", store_name, t_event_step,
                i);
    }
    check_answered_once();
}

/* No word is ever seen half old and half new. */
static void
whole_words(void)
{
    for (int i = 0; i < 3; i++)
        T_CHECK(*slot(i) == old_value[i] || *slot(i) == new_value[i] || *slot(i) == NULL,
                "%s: word %d is %p between two instructions", store_name, i,
                (void *)*slot(i));
}

static void run_write(void) { gc_write(slot(0), new_value[0]); }
static void run_write_slow(void) { gc_impl_write_slow(slot(0), new_value[0]); }
static void run_release(void) { gc_write_release(slot(0), new_value[0]); }
static void run_exchange(void) { (void)gc_exchange(slot(0), new_value[0]); }
static void run_cas(void) { (void)gc_cas(slot(0), old_value[0], new_value[0]); }
static void run_copy(void) { gc_copy(&gc_pointer_type, slot(0), &source->left, 3); }
static void run_clear(void) { gc_clear(&gc_pointer_type, slot(0), 3); }

/* How inline stores do it by a window, and by `critical`: single_step_window. */
static void
stores(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
        int words;
    } store[] = { { "gc_write", run_write, 1 }, { "gc_write, slow", run_write_slow, 1 },
        { "gc_write_release", run_release, 1 }, { "gc_exchange", run_exchange, 1 },
        { "gc_cas", run_cas, 1 }, { "gc_copy", run_copy, 3 }, { "gc_clear", run_clear, 3 } };

    for (size_t i = 0; i < ARRAY_LEN(store); i++) {
        store_name = store[i].name;
        words = store[i].words;
        answers = refusals = 0;
        (void)t_event_everywhere(prepare_store, store[i].run, signal_in_store, check_store);
        T_CHECK(answers != 0, "%s: no signal was answered", store_name);
        T_CHECK(refusals != 0 || (i == 0 && GC_IMPL_HAS_WINDOW), "%s: no signal was refused",
                store_name);
        prepare_store();
        t_step_through(store[i].run, whole_words);
    }
    prepare_store();
}

/* ---- I-critical: stores that fill an empty field ---- */

static void
prepare_fill(void)
{
    prepare_store();
    ask_and_answer(ACTION_BARRIER_ON);
    ask_and_answer(ACTION_SCAN);
    clear_marks(old_value[0]);
    (void)take_raw(0);
    *slot(0) = NULL;
}

/* The end of this cycle, and the beginning of the next one: new values are shaded again. */
static void
signals_in_fill(void)
{
    stored_here[0] = *slot(0) != NULL;
    asked = ACTION_BARRIER_OFF;
    signal_here();
    if (!answered_here)
        return;
    asked = ACTION_BARRIER_ON;
    signal_here();
}

static void
check_fill(void)
{
    T_CHECK(*slot(0) == new_value[0], "step %lu: the field is not filled", t_event_step);
    T_CHECK(!answered_here || stored_here[0] || count_buffered(new_value[0]) != 0,
            "step %lu: the barrier was turned on before the store, but the new value is not shaded",
            t_event_step);
    check_answered_once();
}

static void
fills(void)
{
    answers = refusals = 0;
    (void)t_event_everywhere(prepare_fill, run_write, signals_in_fill, check_fill);
    (void)t_event_everywhere(prepare_fill, run_write_slow, signals_in_fill, check_fill);
    T_CHECK(answers != 0 && refusals != 0, "%lu answers, %lu refusals", answers, refusals);
    prepare_store();
}

/* ---- allocation, which answers anywhere ---- */

static struct node *allocated, *next_allocated;
static int allocated_here; /* run_alloc was over when the signal came */

static void
prepare_alloc(void)
{
    if (self()->p->cache.black)
        ask_and_answer(ACTION_FLUSH_CACHE);
    if (gc_impl_self.barrier != BARRIER_OFF)
        ask_and_answer(ACTION_BARRIER_OFF);
    (void)take_raw(0);
    clear_marks(gc_alloc(&node_type)); /* now there is a run */
    allocated = NULL;
    answered_here = 0;
}

static void
run_alloc(void)
{
    allocated = gc_alloc(&node_type);
}

static void
check_alloc(void)
{
    check_answered_once();
    T_CHECK(gc_base(allocated) == allocated, "step %lu: the object's slot is free", t_event_step);
    next_allocated = gc_alloc(&node_type);
    T_CHECK(next_allocated != allocated, "step %lu: two objects in one slot", t_event_step);
}

static void
signal_in_alloc(void)
{
    allocated_here = allocated != NULL;
    signal_here();
}

static void
check_scanned_alloc(void)
{
    uintptr_t word = (uintptr_t)allocated;

    if (answered_here && !allocated_here) /* afterwards nobody needs to hold it */
        T_CHECK(take_raw(word) != 0 || is_marked(allocated),
                "step %lu: the scan has not seen the new object, and it is not black",
                t_event_step);
    check_answered_once();
}

/* The run is black, and its span waits for the sweep, which the flush does. */
static void
prepare_stale_alloc(void)
{
    struct mheap *h = &the_heap->mheap;

    prepare_alloc();
    while (gcrt_sweep_some(h, UINT_MAX) != 0)
        continue;
    ask_and_answer(ACTION_SCAN);
    (void)take_raw(0);
    clear_marks(gc_alloc(&node_type));
    gcrt_mcache_blacken(&self()->p->cache, the_heap->registry.black_gen);
    ask_and_answer(ACTION_BARRIER_OFF);
    ahalf_store_full(&h->sweepgen, ahalf_load_relaxed(&h->sweepgen) + 2);
    allocated = NULL;
    answered_here = 0;
}

/* A thread may lose its CPU in the middle of it from a cycle's end to the next one's scan. */
static void
signals_in_alloc(void)
{
    allocated_here = allocated != NULL;
    asked = ACTION_FLUSH_CACHE;
    signal_here();
    T_CHECK(answered_here, "inline allocation keeps no handshake away");
    asked = ACTION_SCAN;
    signal_here();
}

static void
check_both_alloc(void)
{
    T_CHECK(gc_base(allocated) == allocated, "step %lu: the object's slot is free", t_event_step);
    check_scanned_alloc();
    next_allocated = gc_alloc(&node_type);
    T_CHECK(next_allocated != allocated, "step %lu: two objects in one slot", t_event_step);
}

static void
allocation(void)
{
    answers = refusals = 0;
    asked = ACTION_FLUSH_CACHE;
    (void)t_event_everywhere(prepare_alloc, run_alloc, signal_here, check_alloc);
    (void)t_event_everywhere(prepare_stale_alloc, run_alloc, signal_here, check_alloc);
    T_CHECK(answers != 0 && refusals == 0, "%lu answers, %lu refusals", answers, refusals);
    asked = ACTION_SCAN;
    (void)t_event_everywhere(prepare_alloc, run_alloc, signal_in_alloc, check_scanned_alloc);
    (void)t_event_everywhere(prepare_alloc, run_alloc, signals_in_alloc, check_both_alloc);
    (void)t_event_everywhere(prepare_stale_alloc, run_alloc, signals_in_alloc, check_both_alloc);
    prepare_alloc();
}

/* ---- answering, leaving, blocking ---- */

static void
prepare_poll(void)
{
    prepare_store();
    epoch_asked = ask(ACTION_BARRIER_ON);
}

static void
run_poll(void)
{
    gc_safepoint();
}

/* The signal of a handshake that the thread knows of already. */
static void
signal_again(void)
{
    gcrt_handshake_signal(the_heap->handshake.signal);
}

static void
acknowledged_after_action(void)
{
    if (ahalf_load_relaxed(&the_heap->handshake.pending) == 0
            || ahalf_load_relaxed(&self()->answered) == epoch_asked)
        T_CHECK(gc_impl_self.barrier == BARRIER_HYBRID, "answered before it was done");
}

static void
answering(void)
{
    prepare_poll();
    t_step_through(run_poll, acknowledged_after_action);
    (void)t_event_everywhere(prepare_poll, run_poll, signal_again, check_answered_once);
    prepare_store();
}

static void
run_block(void)
{
    gc_block_enter();
    gc_block_leave();
}

static void
blocking(void)
{
    answers = refusals = 0;
    asked = ACTION_BARRIER_ON;
    (void)t_event_everywhere(prepare_store, run_block, signal_here, check_answered_once);
    T_CHECK(answers != 0 && refusals != 0, "%lu answers, %lu refusals", answers, refusals);
    prepare_store();
}

/* ---- being answered for ---- */

static void
prepare_outside(void)
{
    prepare_store();
    gc_block_enter();
}

static void
run_handshake(void)
{
    gcrt_handshake_run(the_heap, ACTION_SETTLE);
}

/* The thread comes inside, answers there, and goes outside again. */
static void
answer_meanwhile(void)
{
    if (ahalf_load_relaxed(&self()->state) != MUTATOR_OUTSIDE)
        return;
    gc_block_leave();
    gc_block_enter();
}

static void
check_outside(void)
{
    gc_block_leave();
    T_CHECK(ahalf_load_relaxed(&the_heap->handshake.pending) == 0, "answered twice");
}

static void
answered_for(void)
{
    t_event_stride = 3; /* what must not be interrupted is longer */
    (void)t_event_everywhere(prepare_outside, run_handshake, answer_meanwhile, check_outside);
    t_event_stride = 1;
}

/* ---- cancellation in the handler ---- */

static void
run_handler(void)
{
    gcrt_handshake_signal(the_heap->handshake.signal);
}

static int cancelled;

static void
cancel_in_section(void)
{
    if (!gc_impl_self.critical || cancelled)
        return;
    cancelled = 1;
    pthread_cancel(pthread_self());
}

static void
stop_stepping(void *unused)
{
    (void)unused;
    t_step_stop();
}

static void *
be_cancelled(void *arg)
{
    int type;

    T_OK(gc_thread_attach(the_heap));
    (void)ask(ACTION_SETTLE);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type); /* as in read() */
    pthread_cleanup_push(stop_stepping, NULL);
    t_step_through(run_handler, cancel_in_section);
    pthread_cleanup_pop(1);
    return arg;
}

static void *
just_cancel(void *arg)
{
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return arg;
}

/* A thread that is cancelled while its handler works ends when the handler is done. */
static void
cancelling(void)
{
    static void *(*const start[])(void *) = { just_cancel, be_cancelled };

    gc_thread_detach();
    for (size_t i = 0; i < ARRAY_LEN(start); i++) { /* the first loads what unwinds */
        pthread_t thread;
        void *result;

        T_CHECK(pthread_create(&thread, NULL, start[i], NULL) == 0, "pthread_create");
        T_CHECK(pthread_join(thread, &result) == 0, "pthread_join");
        T_CHECK(result == PTHREAD_CANCELED, "it was cancelled");
    }
    T_CHECK(cancelled, "it was cancelled in the handler");
    T_CHECK(the_heap->registry.count == 0 && ahalf_load_relaxed(&the_heap->handshake.pending) == 0,
            "it has answered and left");
    T_OK(gc_thread_attach(the_heap));
}

static struct gcrt_mutator *leaving;

static void
empty_when_gone(void)
{
    if (the_heap->registry.count == 0)
        T_CHECK(leaving->nbarrier == 0 && leaving->marker.queue.cur == NULL,
                "a thread that is gone from the registry holds grey words");
}

static void
detaching(void)
{
    prepare_store();
    ask_and_answer(ACTION_BARRIER_ON);
    ahalf_store_full(&the_heap->marking.open, 1);
    gc_write(slot(0), new_value[0]);
    leaving = self();
    T_CHECK(leaving->nbarrier != 0, "there is something to flush");
    t_step_through(gc_thread_detach, empty_when_gone);
    ahalf_store_full(&the_heap->marking.open, 0);
    T_OK(gc_thread_attach(the_heap));
}

/* ---- I-own-snapshot: every register and the red zone ---- */

static uintptr_t hidden; /* the inverted pointer */
static int found;

/* Letters: the 64-bit register, and how its lower half is called. */
#define HOLD(name, reg, low)                                                           \
    static __attribute__((noinline)) void name(void)                                   \
    {                                                                                  \
        __asm__ volatile("movq %0, %%" reg "\n\tnotq %%" reg "\n\tnop\n\tnop\n\t"      \
                         "xorl %%" low ", %%" low : : "m"(hidden) : reg, "cc");         \
    }
HOLD(hold_rax, "rax", "eax")
HOLD(hold_rbx, "rbx", "ebx")
HOLD(hold_rcx, "rcx", "ecx")
HOLD(hold_rdx, "rdx", "edx")
HOLD(hold_rsi, "rsi", "esi")
HOLD(hold_rdi, "rdi", "edi")
HOLD(hold_r8, "r8", "r8d")
HOLD(hold_r9, "r9", "r9d")
HOLD(hold_r10, "r10", "r10d")
HOLD(hold_r11, "r11", "r11d")
HOLD(hold_r12, "r12", "r12d")
HOLD(hold_r13, "r13", "r13d")
HOLD(hold_r14, "r14", "r14d")
HOLD(hold_r15, "r15", "r15d")

static __attribute__((noinline)) void
hold_in_red_zone(void)
{
    __asm__ volatile("movq %0, %%rax\n\tnotq %%rax\n\tmovq %%rax, -120(%%rsp)\n\t"
                     "xorl %%eax, %%eax\n\tnop\n\tnop\n\tmovq %%rax, -120(%%rsp)"
                     : : "m"(hidden) : "rax", "memory", "cc");
}

static __attribute__((noinline)) void
hold_in_vector(void)
{
    __asm__ volatile("movq %0, %%rax\n\tnotq %%rax\n\tmovq %%rax, %%xmm7\n\t"
                     "xorl %%eax, %%eax\n\tnop\n\tnop\n\tpxor %%xmm7, %%xmm7"
                     : : "m"(hidden) : "rax", "xmm7", "cc");
}

/* A callee-saved register across a call; the stack is aligned for it. */
#define HOLD_CALL(name, reg, call)                                                     \
    static __attribute__((noinline)) void name(void)                                   \
    {                                                                                  \
        __asm__ volatile("movq %%rsp, %%rax\n\tsubq $144, %%rsp\n\tandq $-16, %%rsp\n\t"  \
                         "pushq %%rax\n\tpushq %%rax\n\tmovq %0, %%" reg "\n\t"        \
                         "notq %%" reg "\n\t" call "\n\txorl %%eax, %%eax\n\t"         \
                         "movq %%rax, %%" reg "\n\taddq $8, %%rsp\n\tpopq %%rsp"         \
                         : : "m"(hidden) : reg, "rax", "rcx", "rdx", "rsi", "rdi",      \
                         "r8", "r9", "r10", "r11", "memory", "cc");                    \
    }
#define POLL(reg) HOLD_CALL(poll_##reg, #reg, "call gc_impl_poll")
#define SAVE(reg) \
    HOLD_CALL(save_##reg, #reg, "leaq note_stack(%%rip), %%rdi\n\tcall gcrt_with_registers")

#define NOTED 64
static uintptr_t noted[NOTED]; /* what a scan would begin with */

/* For gcrt_with_registers: saves no register by itself. */
void note_stack(void *arg, uintptr_t sp);

__attribute__((used)) void
note_stack(void *arg, uintptr_t sp)
{
    (void)arg;
    for (size_t i = 0; i < NOTED; i++)
        noted[i] = RACY_READ(sp + i * WORD);
}

POLL(rbx)
POLL(r12)
POLL(r13)
POLL(r14)
POLL(r15)
SAVE(rbx)
SAVE(r12)
SAVE(r13)
SAVE(r14)
SAVE(r15)

static void
scan_here(void)
{
    asked = ACTION_SCAN;
    signal_here();
    found |= take_raw(~hidden) != 0;
}

static void
prepare_hold(void)
{
    t_wipe_stack();
    prepare_store();
}

/* When it has returned, no register that calls keep has the pointer. */
static __attribute__((noinline)) void
make_hidden(void)
{
    hidden = t_hide(gc_alloc(&node_type));
}

static void
hold_nothing(void)
{
}

static void
registers(void)
{
    static void (*const hold[])(void) = { hold_rax, hold_rbx, hold_rcx, hold_rdx, hold_rsi,
        hold_rdi, hold_r8, hold_r9, hold_r10, hold_r11, hold_r12, hold_r13, hold_r14, hold_r15,
        hold_in_red_zone, hold_in_vector };
    static void (*const poll[])(void) = { poll_rbx, poll_r12, poll_r13, poll_r14, poll_r15 };
    static void (*const save[])(void) = { save_rbx, save_r12, save_r13, save_r14, save_r15 };

    make_hidden();
    t_wipe_registers();
    found = 0;
    (void)t_event_everywhere(prepare_hold, hold_nothing, scan_here, check_answered_once);
    T_CHECK(!found, "something else than the registers holds it");
    for (size_t i = 0; i < ARRAY_LEN(hold); i++) {
        found = 0;
        (void)t_event_everywhere(prepare_hold, hold[i], scan_here, check_answered_once);
        T_CHECK(found, "no scan sees what register %zu holds", i);
    }
    for (size_t i = 0; i < ARRAY_LEN(poll); i++) {
        prepare_hold();
        (void)ask(ACTION_SCAN);
        poll[i]();
        T_CHECK(take_raw(~hidden) != 0, "no scan sees callee-saved register %zu", i);
    }
    prepare_store();
    for (size_t i = 0; i < ARRAY_LEN(save); i++) {
        t_wipe_stack();
        save[i]();
        found = 0;
        for (size_t k = 0; k < NOTED; k++)
            found |= noted[k] == ~hidden;
        T_CHECK(found, "callee-saved register %zu is not on the stack for a scan", i);
    }
}

int
main(int argc, char **argv)
{
    gc_options opt;

    asked_options("single_step", argc, argv, &opt);
    asked_begin(&opt);
    object = gc_alloc(&node_type);
    source = gc_alloc(&node_type);
    for (int i = 0; i < 3; i++) {
        old_value[i] = gc_alloc(&node_type);
        new_value[i] = gc_alloc(&node_type);
    }
    stores();
    fills();
    allocation();
    answering();
    blocking();
    answered_for();
    detaching();
    registers();
    cancelling();
    return asked_end();
}

#else

int
main(void)
{
    return T_SKIP;
}

#endif
