/* SPDX-License-Identifier: MIT */
/*
 * What a mutator does in each handshake.
 *
 * Purpose: the steps H1 to H6 of a cycle, seen from one mutator.
 * Place: handshake runs them, on the mutator's thread or for it; they call stack, barrier,
 * mcache.
 * Invariants: I-own-snapshot: action_scan collects the stack, blackens the runs, and
 * changes barrier and colour in one action.  I-no-late-mark: action_barrier_off drops the
 * buffer, whose words are all marked by then.
 * Concurrency: the caller owns the mutator; no gcrt lock is held by its thread.
 * Cost: action_scan is the pause: the stack's words plus the cached runs' bitmaps.
 * action_flush_cache returns the cached spans, some 50 ns each.
 */
#include "gc/actions.h"

#include "gc/assist.h"
#include "gc/barrier.h"
#include "gc/checkmark.h"
#include "gc/pool.h"
#include "gc/stack.h"
#include "gc/trace.h"

/* H1.  Newborns stay white until the own scan. */
static void
action_barrier_on(struct gcrt_mutator *m)
{
    uint64_t start = trace_begin(m->heap);

    m->credit = 0;
    gcrt_pools_turn(m);
    TRACE(m->heap, pools, start, 0, 0);
    barrier_set(m, BARRIER_HYBRID);
}

/* H3. */
static void
action_scan(struct gcrt_mutator *m, uintptr_t sp)
{
    if (heap_stops(m->heap))
        gcrt_pools_turn(m); /* it is the first handshake, too */
    aword_add_relaxed(&m->heap->marking.stack_work, gcrt_stack_collect(m, sp));
    m->cycle = aword_load_relaxed(&m->heap->cycles.started);
    if (UNLIKELY(m->heap->checkmark != NULL))
        gcrt_checkmark_note_stack(m, sp);
    if (m->p != NULL)
        gcrt_mcache_blacken(&m->p->cache, m->heap->registry.black_gen);
    if (heap_stops(m->heap))
        m->sp = sp; /* m stays; nobody stores before marking is complete */
    else
        barrier_set(m, BARRIER_DELETION);
}

/*
 * H4.  Says whether anything grey was still private to m (I-ragged-done).  Words in the buffer
 * that are marked already are nobody's: a program that stores without a break has some in every
 * round, and the cycle would go on until a round finds none by chance.  If one was not, or if a
 * thread that has answered already came before us, who marked it has said so (gcrt_mark_shaded).
 */
static void
action_flush(struct gcrt_mutator *m)
{
    bool had;

    gcrt_barrier_flush(m);
    had = gcrt_marker_flush(&m->marker);
    if (had)
        ahalf_store_release(&m->heap->handshake.flushed, 1);
}

/* H5. */
static void
action_barrier_off(struct gcrt_mutator *m)
{
    m->nbarrier = 0; /* marking is complete: whatever is buffered is marked */
    (void)gcrt_marker_flush(&m->marker);
    if (m->p != NULL)
        gcrt_pools_open(m->heap, m->p);
    barrier_set(m, BARRIER_OFF);
}

/* H6. */
static void
action_flush_cache(struct gcrt_mutator *m)
{
    gcrt_assist_end_cycle(m);
    if (m->p == NULL)
        return;
    gcrt_mcache_flush(&m->p->cache, m->interrupted || m->forking ? RUNS_INTERRUPTED : RUNS_FREE);
    m->p->cache.black = false;
}

void
gcrt_action_run(struct gcrt_mutator *m, enum action action, uintptr_t sp)
{
    switch (action) {
    case ACTION_BARRIER_ON:
        action_barrier_on(m);
        break;
    case ACTION_SCAN:
        action_scan(m, sp);
        break;
    case ACTION_FLUSH:
        action_flush(m);
        break;
    case ACTION_BARRIER_OFF:
        action_barrier_off(m);
        break;
    case ACTION_FLUSH_CACHE:
        action_flush_cache(m);
        break;
    case ACTION_SETTLE: /* answering is all */
        break;
    case ACTION_HOLD:
        m->sp = sp; /* whoever holds m may look at its stack */
        break;
    case ACTION_NONE:
    case ACTION_COUNT:
        UNREACHABLE();
    }
}

const char *
gcrt_action_name(enum action action)
{
    static const char *const names[ACTION_COUNT] = {
        [ACTION_NONE] = "none",
        [ACTION_BARRIER_ON] = "barrier_on",
        [ACTION_SETTLE] = "settle",
        [ACTION_SCAN] = "scan",
        [ACTION_FLUSH] = "flush",
        [ACTION_BARRIER_OFF] = "barrier_off",
        [ACTION_FLUSH_CACHE] = "flush_cache",
        [ACTION_HOLD] = "hold",
    };

    return names[action];
}
