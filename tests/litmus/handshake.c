/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the store-then-load cases of handshakes and of marking's end.
 *
 *   answer   a mutator stores with its old flags, then answers; when the collector has counted
 *            the answer it sees the store (handshake.answer)
 *   ask      who sees the new request sees the action that was written before it
 *            (handshake.ask)
 *   close    the coordinator closes marking, then looks who is active; a worker counts itself
 *            in, then looks whether marking is open: one of them sees the other (mark.open)
 *   sleep    a sleeper counts itself, then looks at the word; who changes the word then looks
 *            for sleepers: one sees the other
 *   state    who takes a mutator from OUTSIDE sees the registers that it left (mutator.state)
 *
 * Place: the operations of src/alloc/base/atomic.h in the order that handshake.c, worker.c
 * and mutator.c have.
 *
 * Concurrency: two threads.
 *
 * Controls, all of which x86 shows: `poll' (storing and polling alone order nothing: this is
 * why there are answers), and close, sleep with the full barrier taken away.
 */
#include "litmus.h"

static struct cell {
    ahalf first CACHE_ALIGNED;  /* request, open, state */
    ahalf second CACHE_ALIGNED; /* pending, activity, sleepers */
    uintptr_t slot CACHE_ALIGNED;
    unsigned r0, r1;
    uintptr_t seen;
} cells[LITMUS_CELLS];

enum { ASKED = 5, OPEN = 1, OUTSIDE = 2, HELD = 3 };

static void
reset(size_t i)
{
    cells[i] = (struct cell){ .r0 = 0 };
}

/* ---- answer, ask ---- */

static void
answer_mutator(size_t i)
{
    struct cell *c = &cells[i];

    slot_store_relaxed(&c->slot, 1);
    if (ahalf_load_acquire(&c->first) == ASKED) /* request */
        ahalf_add_full(&c->second, 1);          /* as act does with pending */
}

static void
answer_collector(size_t i)
{
    struct cell *c = &cells[i];

    ahalf_store_release(&c->first, ASKED); /* as publish does */
    c->r0 = ahalf_load_acquire(&c->second);
    c->seen = slot_load(&c->slot);
}

static bool
answer_bad(size_t i)
{
    return cells[i].r0 == 1 && cells[i].seen == 0;
}

static void
ask_collector(size_t i)
{
    slot_store_relaxed(&cells[i].slot, 1); /* hs->action */
    ahalf_store_release(&cells[i].first, ASKED);
}

static void
ask_mutator(size_t i)
{
    cells[i].r0 = ahalf_load_acquire(&cells[i].first) == ASKED;
    cells[i].seen = slot_load(&cells[i].slot);
}

/* ---- store, then load, on both sides ---- */

static void
close_reset(size_t i)
{
    reset(i);
    ahalf_store_relaxed(&cells[i].first, OPEN);
}

static void
close_coordinator(size_t i)
{
    ahalf_store_full(&cells[i].first, 0); /* as end_marking does */
    cells[i].r0 = ahalf_load_acquire(&cells[i].second);
}

static void
close_coordinator_weak(size_t i)
{
    ahalf_store_release(&cells[i].first, 0);
    cells[i].r0 = ahalf_load_acquire(&cells[i].second);
}

static void
close_worker(size_t i)
{
    ahalf_add_full(&cells[i].second, 1); /* as gcrt_marking_begin does */
    cells[i].r1 = ahalf_load_acquire(&cells[i].first);
}

static bool
close_bad(size_t i)
{
    return cells[i].r0 == 0 && cells[i].r1 == OPEN;
}

static void
sleep_sleeper(size_t i)
{
    ahalf_add_full(&cells[i].second, 1); /* as sleep_on_bell does */
    cells[i].r0 = ahalf_load_acquire(&cells[i].first);
}

static void
sleep_waker(size_t i)
{
    ahalf_add_full(&cells[i].first, 1);
    cells[i].r1 = ahalf_load_acquire(&cells[i].second);
}

static void
sleep_waker_weak(size_t i)
{
    ahalf_store_release(&cells[i].first, 1);
    cells[i].r1 = ahalf_load_acquire(&cells[i].second);
}

static bool
both_zero(size_t i)
{
    return cells[i].r0 == 0 && cells[i].r1 == 0;
}

static void
poll_mutator(size_t i)
{
    slot_store_relaxed(&cells[i].slot, 1);
    cells[i].r0 = ahalf_load_relaxed(&cells[i].first); /* the poll word */
}

static void
poll_collector(size_t i)
{
    ahalf_store_release(&cells[i].first, 1);
    cells[i].r1 = (unsigned)slot_load(&cells[i].slot);
}

/* ---- state ---- */

static void
state_mutator(size_t i)
{
    slot_store_relaxed(&cells[i].slot, 1); /* m->regs */
    ahalf_store_release(&cells[i].first, OUTSIDE);
}

static void
state_collector(size_t i)
{
    cells[i].r0 = ahalf_cas_full(&cells[i].first, OUTSIDE, HELD);
    cells[i].seen = slot_load(&cells[i].slot);
}

static const struct litmus tests[] = {
    { "answer", 2, false, reset, { answer_mutator, answer_collector }, answer_bad },
    { "ask", 2, false, reset, { ask_mutator, ask_collector }, answer_bad },
    { "close", 2, false, close_reset, { close_coordinator, close_worker }, close_bad },
    { "sleep", 2, false, reset, { sleep_sleeper, sleep_waker }, both_zero },
    { "state", 2, false, reset, { state_mutator, state_collector }, answer_bad },
    { "poll_alone", 2, true, reset, { poll_mutator, poll_collector }, both_zero },
    { "close_weak", 2, true, close_reset, { close_coordinator_weak, close_worker }, close_bad },
    { "sleep_weak", 2, true, reset, { sleep_sleeper, sleep_waker_weak }, both_zero },
};

int
main(int argc, char **argv)
{
    return litmus_main("litmus_handshake", argc, argv, tests, sizeof tests / sizeof tests[0]);
}
