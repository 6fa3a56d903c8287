/* SPDX-License-Identifier: MIT */
/*
 * A blocking region that a callback has interrupted goes on with the record that it had: the
 * registers, the stack's top and its copy, whatever regions the callback had of its own.
 */
#include "byhand.h"

#include <gcrt/thread.h>

/* What a thread's record says while it is outside. */
struct outside {
    uintptr_t sp, regs[SAVED_REGISTERS], window[WINDOW_WORDS];
    uint32_t nwindow, depth;
};

static void
note(struct outside *o)
{
    memset(o, 0, sizeof(*o));
    o->sp = self()->sp;
    memcpy(o->regs, self()->regs, sizeof(o->regs));
    o->nwindow = self()->nwindow;
    memcpy(o->window, self()->window, o->nwindow * sizeof(o->window[0]));
    o->depth = self()->block_depth;
}

/* Deeper on the stack, and with a region of its own, which writes the record anew. */
static NOINLINE void
call_back(const struct outside *before)
{
    volatile uintptr_t frame[2 * WINDOW_WORDS];
    gc_callback cb;

    for (size_t i = 0; i < ARRAY_LEN(frame); i++)
        frame[i] = 0x5555;
    cr_assert_eq(gc_callback_enter(NULL, &cb), GC_OK);
    cr_expect_eq(self()->block_depth, 0);
    gc_block_enter();
    cr_assert_lt(self()->sp, before->sp);
    gc_block_leave();
    gc_callback_leave(&cb);
    cr_expect_eq(frame[0], 0x5555);
}

Test(callback, the_region_that_it_interrupts_has_its_record_back)
{
    static struct outside before, after;

    begin_by_hand();
    gc_block_enter();
    gc_block_enter();
    note(&before);
    cr_assert_neq(before.sp, 0);
    cr_assert_gt(before.nwindow, 0);
    call_back(&before);
    note(&after);
    cr_expect_eq(memcmp(&before, &after, sizeof(before)), 0);
    cr_expect_eq(ahalf_load_acquire(&self()->state), MUTATOR_OUTSIDE);
    gc_block_leave();
    gc_block_leave();
    end_by_hand();
}
