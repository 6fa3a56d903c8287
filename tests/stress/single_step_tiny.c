/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a handshake's signal after every instruction of an allocation of bytes that share a
 * block: I-critical of try_tiny.
 *
 * Place: internals of gcrt; x86-64 only, elsewhere it is skipped.
 *
 * Concurrency: one thread, and a collector that sleeps: handshakes are asked by hand.
 *
 * Arguments: none.
 */

#include "signal_here.h"

#include <string.h>

#include "gc/barrier.h"

#if defined(__x86_64__)

/* Bytes that were taken twice before, and the bytes of the piece. */
static const struct {
    const char *name;
    size_t before, bytes;
} cases[] = { { "the current block has room", 5, 3 }, { "a block becomes the current one", 7, 5 } };

static size_t at;
static char *piece;
static int taken_here; /* run_tiny was over when the signal came */

static void
prepare_tiny(void)
{
    if (self()->p->cache.black)
        ask_and_answer(ACTION_FLUSH_CACHE);
    if (gc_impl_self.barrier != BARRIER_OFF)
        ask_and_answer(ACTION_BARRIER_OFF);
    (void)take_raw(0);
    clear_marks(gc_alloc_bytes(4)); /* now there is a run */
    self()->p->cache.tiny = self()->p->cache.tiny_end = 0;
    GC_KEEP_ALIVE(gc_alloc_bytes(cases[at].before));
    GC_KEEP_ALIVE(gc_alloc_bytes(cases[at].before));
    piece = NULL;
    answered_here = 0;
}

static void
run_tiny(void)
{
    piece = gc_alloc_bytes(cases[at].bytes);
}

static void
signal_in_tiny(void)
{
    taken_here = piece != NULL;
    signal_here();
}

/* What the scan has not seen was born black, and whatever the block gives later is. */
static void
check_scanned(void)
{
    const struct mcache *mc = &self()->p->cache;

    if (answered_here && !taken_here)
        T_CHECK(take_raw((uintptr_t)piece) != 0 || is_marked(piece),
                "%s, step %lu: the scan has not seen the piece, and it is not black",
                cases[at].name, t_event_step);
    if (answered_here && mc->tiny != mc->tiny_end)
        T_CHECK(is_marked((const void *)mc->tiny), "%s, step %lu: the current block is white",
                cases[at].name, t_event_step);
    check_answered_once();
}

static void
check_flushed(void)
{
    size_t bytes = cases[at].bytes;
    char *next;

    check_answered_once();
    memset(piece, 1, bytes);
    for (int i = 0; i < 8; i++) {
        next = gc_alloc_bytes(5);
        T_CHECK(next + 5 <= piece || next >= piece + bytes, "%s, step %lu: pieces overlap",
                cases[at].name, t_event_step);
        T_CHECK(next[0] == 0 && next[4] == 0, "%s, step %lu: a piece is not zero",
                cases[at].name, t_event_step);
    }
}

/* Another key's run lies where that of the blocks should. */
static void
another_run(void)
{
    static char elsewhere[64];
    struct gc_impl_run run = { .key = (uintptr_t)elsewhere, .next = elsewhere,
        .end = elsewhere + sizeof(elsewhere), .size = TINY_BYTES };
    struct gc_impl_run *runs = gc_impl_self.runs;
    uint32_t mask = gc_impl_self.run_mask;

    prepare_tiny();
    self()->p->cache.tiny = self()->p->cache.tiny_end = 0; /* no room for the next piece */
    gc_impl_self.runs = &run;
    gc_impl_self.run_mask = 0;
    piece = gc_alloc_bytes(5);
    gc_impl_self.runs = runs;
    gc_impl_self.run_mask = mask;
    T_CHECK(run.next == elsewhere, "a piece of somebody else's run");
    T_CHECK(gc_base(piece) == piece, "a piece of the heap");
}

int
main(int argc, char **argv)
{
    gc_options opt;

    asked_options("single_step_tiny", argc, argv, &opt);
    asked_begin(&opt);
    for (at = 0; at < ARRAY_LEN(cases); at++) {
        answers = refusals = 0;
        asked = ACTION_FLUSH_CACHE;
        (void)t_event_everywhere(prepare_tiny, run_tiny, signal_here, check_flushed);
        asked = ACTION_SCAN;
        (void)t_event_everywhere(prepare_tiny, run_tiny, signal_in_tiny, check_scanned);
        T_CHECK(answers != 0 && refusals != 0, "%lu answers, %lu refusals", answers, refusals);
        prepare_tiny();
    }
    at = 0;
    another_run();
    return asked_end();
}

#else

int
main(void)
{
    return T_SKIP;
}

#endif
