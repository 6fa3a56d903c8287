/* SPDX-License-Identifier: MIT */
/*
 * The coordinator's steps, without its thread: its files are part of this program, and what they
 * ask of others is answered by a script.  So the moments can be chosen at which others
 * mark, answer, sweep and ask.
 */
#include "byhand.h"

#include "alloc/sweep.h"
#include "gc/assist.h"
#include "gc/cycle.h"
#include "gc/pace.h"
#include "gc/roots.h"
#include "gc/verify.h"
#include "gc/weak.h"
#include "gc/worker.h"

static void scripted_handshake(struct gc_heap *h, enum action action);
static bool scripted_quiet(struct gc_heap *h);
static void scripted_yield(void);
static void scripted_wait(ahalf *word, unsigned seen, uint64_t ns);
static bool scripted_cas(ahalf *word, unsigned old, unsigned new_);
static void scripted_request(const ahalf *word);

/* A look at a word, before which somebody may have changed it. */
static inline unsigned
looked_at(const ahalf *word)
{
    unsigned x = ahalf_load_acquire(word);

    scripted_request(word);
    return x;
}

static void *
no_coordinator(void *arg)
{
    return arg;
}

#define gcrt_handshake_run    scripted_handshake
#define gcrt_marking_is_quiet scripted_quiet
#define gcrt_os_yield         scripted_yield
#define gcrt_os_wait          scripted_wait
#define ahalf_load_acquire    looked_at
#define ahalf_cas_full        scripted_cas
#define gcrt_os_thread_start(os, ret, run, arg) \
    ((void)(run), gcrt_os_thread_start((os), (ret), no_coordinator, (arg)))
#include "gc/cycle.c"
#include "gc/coordinator.c"
#undef gcrt_handshake_run
#undef gcrt_marking_is_quiet
#undef gcrt_os_yield
#undef gcrt_os_wait
#undef ahalf_load_acquire
#undef ahalf_cas_full
#undef gcrt_os_thread_start

static bool
scripted_cas(ahalf *word, unsigned old, unsigned new_)
{
    return ahalf_cas_full(word, old, new_);
}

/* ---- the end of marking ---- */

#define ROUNDS_MAX 50

static struct {
    unsigned rounds;        /* of H4 so far */
    unsigned looks;         /* after the last H4 */
    unsigned flush_in;      /* the round in which a mutator's flush is not empty */
    unsigned marker_in;     /* the round after which a marker stops just before a look */
    unsigned work_in;       /* the round that makes work public */
    bool busy;              /* there is work, always */
    bool ending;            /* the scripts of the steps after it count */
} script;

static bool
scripted_quiet(struct gc_heap *h)
{
    if (script.busy)
        return false;
    script.looks++;
    if (script.rounds != 0 && script.looks == 1) {
        /* A marker says that it marked, then counts itself out, and only then we look. */
        if (script.rounds == script.marker_in)
            ahalf_store_full(&h->handshake.flushed, 1);
        if (script.rounds == script.work_in)
            return false;
    }
    return true;
}

static void
script_flush(struct gc_heap *h)
{
    cr_assert_lt(script.rounds, ROUNDS_MAX, "marking does not end");
    cr_expect_eq(ahalf_load_acquire(&h->weak.word), WEAK_CLOSING, "H4 comes after CLOSING");
    script.rounds++;
    script.looks = 0;
    if (script.rounds == script.flush_in)
        ahalf_store_full(&h->handshake.flushed, 1);
}

static unsigned
rounds_with(unsigned flush_in, unsigned marker_in, unsigned work_in)
{
    struct cycle cy = { .heap = the_heap };

    memset(&script, 0, sizeof(script));
    script.flush_in = flush_in;
    script.marker_in = marker_in;
    script.work_in = work_in;
    cr_expect(mark_to_the_end(&cy));
    return script.rounds;
}

Test(cycle, marking_ends_with_the_first_round_that_finds_nothing)
{
    begin_by_hand();
    cr_expect_eq(rounds_with(0, 0, 0), 1, "nothing at all");
    cr_expect_eq(rounds_with(1, 0, 0), 2, "a flush that was not empty");
    cr_expect_eq(rounds_with(2, 0, 0), 1, "which never came");
    cr_expect_eq(rounds_with(0, 1, 0), 2, "a marker that stops just before the look");
    cr_expect_eq(rounds_with(1, 2, 0), 3);
    cr_expect_eq(rounds_with(0, 0, 1), 2, "work that is still there after the round");
    cr_expect_eq(rounds_with(1, 2, 3), 4);
    ahalf_store_full(&the_heap->handshake.flushed, 1);
    cr_expect_eq(rounds_with(0, 0, 0), 1, "what an earlier round left does not count");
    end_by_hand();
}

Test(cycle, who_drives_leaves_the_rest_when_it_has_done_its_part)
{
    struct cycle cy = { .heap = NULL };

    begin_by_hand();
    cy.heap = the_heap;
    memset(&script, 0, sizeof(script));
    script.busy = true;
    the_heap->cycles.driven = true;
    the_heap->marking.solo = 0;
    cr_expect_not(mark_to_the_end(&cy));
    cr_expect_eq(script.rounds, 0);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->weak.word), WEAK_IDLE, "no round has begun");
    script.busy = false;
    cr_expect(mark_to_the_end(&cy), "nothing is left");
    the_heap->cycles.driven = false;
    end_by_hand();
}

/* ---- H5 and H6 ---- */

static unsigned sweepgen_before;
static unsigned late; /* yields until the last worker has found out */

static void
push_word(struct workstack *unused)
{
    struct workbuf *b = gcrt_work_take_empty(&the_heap->work);

    (void)unused;
    b->slot[0] = the_heap->mheap.base;
    b->n = 1;
    gcrt_work_push_raw(&the_heap->work, b);
}

static void
scripted_handshake(struct gc_heap *h, enum action action)
{
    unsigned sweepgen = ahalf_load_relaxed(&h->mheap.sweepgen);

    if (action == ACTION_FLUSH)
        script_flush(h);
    if (!script.ending)
        return;
    switch (action) {
    case ACTION_BARRIER_OFF:
        cr_expect_eq(ahalf_load_relaxed(&h->marking.open), 0, "marking closes before H5");
        cr_expect_eq(sweepgen, sweepgen_before, "no span may be swept before H5");
        push_word(NULL); /* a barrier's buffer that was full just now */
        break;
    case ACTION_FLUSH_CACHE:
        cr_expect_eq(sweepgen, sweepgen_before + 2, "H6 comes after sweepgen has advanced");
        cr_expect_eq(late, 0, "the last worker has stopped");
        cr_expect(gcrt_work_is_empty(&h->work), "no word is left for the next cycle");
        break;
    default:
        cr_expect_fail("handshake %d", (int)action);
    }
}

static void
scripted_yield(void)
{
    cr_expect_eq(ahalf_load_relaxed(&the_heap->mheap.sweepgen), sweepgen_before,
            "somebody may still mark");
    if (late == 0 || --late != 0)
        return;
    aword_add_full(&the_heap->marking.activity, (uint64_t)0 - 1);
    ahalf_store_full(&the_heap->mheap.sweepers, 0);
}

Test(cycle, nothing_is_swept_and_nothing_left_until_marking_is_over_for_all)
{
    struct cycle cy = { .black_start = 2000 };

    begin_by_hand();
    cy.heap = the_heap;
    memset(&script, 0, sizeof(script));
    script.ending = true;
    late = 3;
    sweepgen_before = ahalf_load_relaxed(&the_heap->mheap.sweepgen);
    ahalf_store_full(&the_heap->marking.open, 1);
    aword_add_full(&the_heap->marking.activity, (uint64_t)1 << 32 | 1);
    aword_store_relaxed(&the_heap->mheap.live, 1000000);
    aword_store_relaxed(&the_heap->marking.marked_bytes, 300000);
    aword_store_relaxed(&self()->p->cache.black_bytes, 5000);
    end_marking(&cy);
    cr_expect_eq(gcrt_pace_live(the_heap), 303000, "what was marked, and what was born black");
    cr_expect_eq(cy.report.heap_live, 303000);
    cr_expect_eq(cy.report.heap_end, 1000000);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->mheap.sweepgen), sweepgen_before + 2);
    end_by_hand();
}

Test(cycle, the_sweep_is_complete_when_the_last_sweeper_has_ended)
{
    begin_by_hand();
    late = 3;
    sweepgen_before = ahalf_load_relaxed(&the_heap->mheap.sweepgen);
    aword_add_full(&the_heap->marking.activity, 1); /* scripted_yield takes it back */
    ahalf_store_full(&the_heap->mheap.sweepers, 1);
    finish_sweep(the_heap);
    cr_expect_eq(late, 0);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->mheap.sweepers), 0);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->cycles.phase), PHASE_IDLE);
    end_by_hand();
}

/* ---- those who ask ---- */

static unsigned waits;

static void
scripted_wait(ahalf *word, unsigned seen, uint64_t ns)
{
    (void)seen;
    (void)ns;
    waits++;
    if (word == &the_heap->cycles.swept)
        ahalf_add_full(word, 1);
}

Test(cycle, who_collects_waits_for_a_cycle_that_begins_after_the_call)
{
    begin_by_hand();
    aword_store_relaxed(&the_heap->cycles.started, 5);
    ahalf_store_relaxed(&the_heap->cycles.swept, 4); /* the fifth is under way */
    waits = 0;
    gc_collect(the_heap);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->cycles.swept), 6);
    cr_expect_eq(waits, 2);
    cr_expect(ahalf_load_relaxed(&the_heap->cycles.wanted) & CYCLE_FORCED);
    end_by_hand();
}

static bool asks;

static void
scripted_request(const ahalf *word)
{
    if (!asks || word != &the_heap->cycles.wanted)
        return;
    asks = false;
    gcrt_cycle_request(the_heap, CYCLE_LOOK);
}

Test(cycle, no_request_is_lost_while_others_are_taken)
{
    unsigned taken;

    begin_by_hand();
    gcrt_cycle_request(the_heap, CYCLE_FORCED);
    asks = true;
    taken = take_requests(&the_heap->cycles);
    cr_expect_not(asks, "somebody asked meanwhile");
    taken |= ahalf_load_relaxed(&the_heap->cycles.wanted);
    cr_expect_eq(taken, CYCLE_FORCED | CYCLE_LOOK);
    end_by_hand();
}
