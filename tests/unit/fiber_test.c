/* SPDX-License-Identifier: MIT */
/*
 * Registered stacks, switch by switch.  The test's thread never leaves its own stack: it plays
 * the host, which tells the library of switches, and moves stack memory and words by hand.
 */
#include "byhand.h"

#include "alloc/base/rand.h"
#include "gc/extent.h"
#include "gc/fiber.h"
#include "gc/stack.h"
#include "gc/verify.h"
#include "gc/worker.h"

#define STACK ((size_t)16384)

static char memory[3][STACK] __attribute__((aligned(4096)));
static gc_stack *stack[3];

/* The thread's current stack is a registered one in the library's books alone. */
static void
park_with(gc_stack *s, void *word)
{
    struct gcrt_mutator *m = self();
    uintptr_t *top = (uintptr_t *)(s->extent.hi - 64);

    memset((void *)s->extent.lo, 0, STACK);
    *top = (uintptr_t)word;
    s->sp = (uintptr_t)top;
    aword_store_relaxed(&s->cycle, m->cycle);
    s->manners = STACK_CONSERVATIVE;
    ahalf_store_release(&s->state, STACK_PARKED);
}

static void
begin(void)
{
    begin_by_hand();
    for (int i = 0; i < 3; i++)
        cr_assert_eq(gc_stack_register(memory[i], STACK, &stack[i]), GC_OK);
    aword_store_relaxed(&the_heap->cycles.started, 7);
}

TestSuite(fiber, .init = begin, .fini = end_by_hand);

static struct raw_words raw;

static void
scan_parked(void)
{
    struct marker mk = { .heap = the_heap };

    gcrt_fibers_publish(the_heap);
    cr_assert(!gcrt_work_is_empty(&the_heap->work));
    while (gcrt_fibers_mark(&mk) != 0)
        continue;
    cr_assert(gcrt_work_pop_parked(&the_heap->work) == 0);
}

Test(fiber, a_parked_stack_is_scanned_once_a_cycle)
{
    void *p = gc_alloc_bytes(64);

    park_with(stack[1], p);
    scan_parked();
    take_raw(&raw);
    cr_assert_geq(count_raw(&raw, p), 1);
    cr_assert_eq(aword_load_relaxed(&stack[1]->cycle), 7);
    cr_assert_eq(ahalf_load_relaxed(&stack[1]->state), STACK_PARKED);
    scan_parked();
    take_raw(&raw);
    cr_assert_eq(count_raw(&raw, p), 0, "scanned again in the same cycle");
    aword_store_relaxed(&the_heap->cycles.started, 8);
    scan_parked();
    take_raw(&raw);
    cr_assert_geq(count_raw(&raw, p), 1, "not scanned in the next cycle");
    use(p);
}

Test(fiber, only_what_is_in_use_is_read)
{
    void *p = gc_alloc_bytes(64);

    park_with(stack[0], NULL);
    *(void **)(void *)(memory[0] + 128) = p; /* below sp */
    scan_parked();
    take_raw(&raw);
    cr_assert_eq(count_raw(&raw, p), 0);
    cr_assert_eq(aword_load_relaxed(&the_heap->fibers.scanned), 64);
    use(p);
}

Test(fiber, the_saved_registers_and_window_count)
{
    void *p = gc_alloc_bytes(64), *q = gc_alloc_bytes(64);

    park_with(stack[0], NULL);
    stack[0]->regs[CALLEE_SAVED - 1] = (uintptr_t)p;
    stack[0]->window[2] = (uintptr_t)q;
    stack[0]->nwindow = 3;
    scan_parked();
    take_raw(&raw);
    cr_assert_geq(count_raw(&raw, p), 1);
    cr_assert_geq(count_raw(&raw, q), 1);
}

/* The complement of an object's address: the frames of a test have none that says where it is. */
static volatile uintptr_t hidden;

static NOINLINE void
make_hidden(void)
{
    hidden = ~(uintptr_t)gc_alloc_bytes(64);
}

static NOINLINE void
put_hidden(uintptr_t *where)
{
    *where = ~hidden;
}

static NOINLINE size_t
count_in_own_scan(void)
{
    gcrt_stack_collect(self(), (uintptr_t)__builtin_frame_address(0));
    take_raw(&raw);
    return count_raw(&raw, (const void *)~hidden);
}

/* The host's switch may load registers last, from memory that is not scanned. */
Test(fiber, what_was_saved_counts_until_the_switch_is_known_to_be_complete)
{
    struct gcrt_mutator *m = self();
    size_t before;

    make_hidden();
    take_raw(&raw);
    before = count_in_own_scan();
    put_hidden(&m->current->regs[0]);
    cr_assert_eq(count_in_own_scan(), before);
    m->landing = true;
    cr_assert_gt(count_in_own_scan(), before);
    m->current->regs[0] = 0;
    put_hidden(&m->current->window[1]);
    m->current->nwindow = 2;
    cr_assert_gt(count_in_own_scan(), before);
    gc_block_enter(); /* a call from the new stack */
    gc_block_leave();
    cr_assert_eq(count_in_own_scan(), before);
}

Test(fiber, who_parks_gives_its_own_number)
{
    gc_stack *home = gc_stack_current();
    struct gcrt_mutator *m = self();

    m->cycle = 6;
    cr_assert_eq(home->state.raw, STACK_OWN);
    gc_stack_switch(stack[0]);
    cr_assert_eq(m->current, stack[0]);
    cr_assert_eq(m->stack_lo, (uintptr_t)memory[0]);
    cr_assert_eq(ahalf_load_relaxed(&stack[0]->state), STACK_RUNNING);
    cr_assert_eq(gcrt_fiber_native(m), home);
    m->stack_lo = home->extent.lo; /* the thread has not moved; the library must not notice */
    m->stack_hi = home->extent.hi;
    m->current->extent.hi = home->extent.hi;
    gc_stack_switch(home);
    m->native.extent = home->extent;
    stack[0]->extent.hi = (uintptr_t)memory[0] + STACK;
    cr_assert_eq(ahalf_load_relaxed(&stack[0]->state), STACK_PARKED);
    cr_assert_eq(aword_load_relaxed(&stack[0]->cycle), 6);
    cr_assert_null(gcrt_fiber_native(m));
    gc_stack_unregister(stack[0]);
    cr_assert_eq(gc_stack_register(memory[0], STACK, &stack[0]), GC_OK);
}

/* A thread that has been scanned resumes a stack that has not. */
Test(fiber, a_black_thread_scans_before_it_runs)
{
    gc_stack *home = gc_stack_current();
    void *p = gc_alloc_bytes(64);

    park_with(stack[2], p);
    handshake(ACTION_BARRIER_ON);
    handshake(ACTION_SETTLE);
    handshake(ACTION_SCAN);
    take_raw(&raw);
    cr_assert_eq(self()->cycle, 7);
    gc_stack_switch(stack[2]);
    take_raw(&raw);
    cr_assert_geq(count_raw(&raw, p), 1);
    cr_assert_eq(aword_load_relaxed(&the_heap->fibers.at_switch), 1);
    self()->stack_lo = home->extent.lo;
    self()->stack_hi = home->extent.hi;
    stack[2]->extent.hi = home->extent.hi;
    gc_stack_switch(home);
    stack[2]->extent.hi = (uintptr_t)memory[2] + STACK;
    cr_assert_eq(aword_load_relaxed(&stack[2]->cycle), 7);
    stack[2]->sp = stack[2]->extent.hi;
    use(p);
}

/* What an unscanned stack held is shaded when it goes. */
Test(fiber, contents_are_shaded_when_given_up)
{
    void *p = gc_alloc_bytes(64), *q = gc_alloc_bytes(64);

    park_with(stack[0], p);
    park_with(stack[1], q);
    handshake(ACTION_BARRIER_ON);
    take_raw(&raw);
    gc_stack_reset(stack[0]);
    gc_stack_unregister(stack[1]);
    take_raw(&raw);
    cr_assert_geq(count_raw(&raw, p), 1);
    cr_assert_geq(count_raw(&raw, q), 1);
    cr_assert_eq(ahalf_load_relaxed(&stack[0]->state), STACK_EMPTY);
    handshake(ACTION_BARRIER_OFF);
    park_with(stack[0], p);
    gc_stack_reset(stack[0]);
    take_raw(&raw);
    cr_assert_eq(count_raw(&raw, p), 0, "shaded while nothing marks");
}

Test(fiber, the_verifier_finds_a_stack_that_was_left_out)
{
    char text[VERIFY_TEXT];

    park_with(stack[0], NULL);
    handshake(ACTION_BARRIER_ON);
    handshake(ACTION_SETTLE);
    handshake(ACTION_SCAN);
    take_raw(&raw);
    gc_block_enter();
    cr_assert_eq(gcrt_verify_now(the_heap, VERIFY_MARKED, text, NULL), GC_ERR_CORRUPT);
    gc_block_leave();
    cr_assert(strstr(text, "[stack.seen]") != NULL, "%s", text);
    handshake(ACTION_BARRIER_OFF);
}

/* ---- extents ---- */

#define EXTENTS 400

/* Against a table: which of a line's cells are taken. */
Test(extents, add_remove_and_find_agree_with_a_table)
{
    static struct extent e[EXTENTS];
    static bool in[EXTENTS];
    static int owner[1000];
    struct extent *root = NULL;
    uint64_t rng = 20260;

    for (int i = 0; i < 1000; i++)
        owner[i] = -1;
    for (int step = 0; step < 20000; step++) {
        int i = (int)rand_below(&rng, EXTENTS);
        uintptr_t lo = rand_below(&rng, 990), hi = lo + 1 + rand_below(&rng, 9);
        bool is_free = true;
        struct extent *found;

        if (in[i]) {
            gcrt_extent_remove(&root, &e[i]);
            for (uintptr_t a = e[i].lo; a < e[i].hi; a++)
                owner[a] = -1;
            in[i] = false;
        } else {
            for (uintptr_t a = lo; a < hi; a++)
                is_free &= owner[a] < 0;
            e[i] = (struct extent){ .lo = lo, .hi = hi };
            in[i] = gcrt_extent_add(&root, &e[i]);
            cr_assert_eq(in[i], is_free);
            for (uintptr_t a = lo; in[i] && a < hi; a++)
                owner[a] = i;
        }
        found = gcrt_extent_find(root, lo);
        cr_assert_eq(found, owner[lo] < 0 ? NULL : &e[owner[lo]]);
    }
}
