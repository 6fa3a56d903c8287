/* SPDX-License-Identifier: MIT */
/*
 * Driving: a thread that allocates runs a small cycle itself.
 *
 * Purpose: a cycle of a small heap costs what it does, and not what waking threads does.
 * Place: malloc asks when the trigger is reached; it sits in the coordinator's seat (seat.h) and
 * calls cycle.
 * Invariants: nothing of the host's is called in a cycle that a thread drives, but what the thread
 * calls anyway when it answers a handshake or assists: the host may hold a lock.  So big objects
 * with a trace function are the coordinator's, and the rest of the cycle with them.  No thread is
 * started either, which would inherit what the host's thread is.
 * Concurrency: the thread goes outside, as into a blocking region, so it answers its own
 * handshakes as the coordinator answers for those who are outside: from the registers and the stack
 * that the region's beginning has saved.  Then it sits where the coordinator would.  A thread that
 * would attach meanwhile waits until the cycle is done, or left to the coordinator.
 * Cost: what the cycle does.  Nobody is woken or waited for, and the descriptors of the spans that
 * are swept are in the cache of the CPU that will use them next.
 *
 * When.  The thread is the only one attached: others' answers it would have to wait for.  The
 * last cycle took little CPU time, whatever for, and scanned little; and there is little to
 * sweep.  If there turns out to be more to mark than solo.c lets one thread do, the
 * coordinator goes on from there.  A heap with a memory limit, or whose host listens in any
 * way, has its cycles run by the coordinator.
 */
#include "gc/drive.h"

#include "gc/cycle.h"
#include "gc/limit.h"
#include "gc/listen.h"
#include "gc/pace.h"
#include "gc/seat.h"
#include "gc/solo.h"
#include "gc/stack.h"

/* A sweep takes some 5 us for each MiB in spans. */
#define DRIVE_BYTES ((uint64_t)16 << 20)
/* Registered roots may be more than they were in the last cycle. */
#define DRIVE_ROOTS ((uint64_t)128 << 10)
/* What the verifier and checkmark take of the thread's stack. */
#define DRIVE_STACK ((uintptr_t)32 << 10)
/* For so long the thread is held up. */
#define DRIVE_NS ((uint64_t)100 * 1000)

/* Will a cycle call nothing of the host's? */
static bool
host_is_quiet(const struct gc_heap *heap)
{
    return heap->on_cycle == NULL && heap->on_scavenge == NULL && heap->options.log == NULL
        && heap->options.on_limit == NULL && heap->wbcheck == NULL;
}

/* With tiny=1 or chaos=1 every other cycle is the coordinator's, so that tests have both. */
static bool
is_spared(const struct gc_heap *heap)
{
    return (heap->options.debug_tiny || heap->options.debug_chaos)
        && aword_load_relaxed(&heap->cycles.started) % 2 != 0;
}

void
gcrt_drive_init(struct gc_heap *heap)
{
    heap->cycles.drive_ns = DRIVE_NS;
}

void
gcrt_drive_learn(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;
    const struct marking *mk = &heap->marking;
    bool may = mk->nworkers != 0 && mk->nstarted == mk->nworkers && gcrt_solo_suffices(heap)
        && !heap_stops(heap) && host_is_quiet(heap) && !is_spared(heap);

    ahalf_store_relaxed(&c->drivable, may && gcrt_seat_cpu_ns(heap) <= c->drive_ns);
}

/* With chaos=1 a thread drives among others, too: one that is alone now may not be so for long. */
static bool
is_alone(const struct gc_heap *heap)
{
    const struct counters *n = &heap->counters;

    return aword_load_relaxed(&n->attaches) - aword_load_relaxed(&n->detaches) == 1
        || heap->options.debug_chaos != 0;
}

bool
gcrt_drive_may(const struct gcrt_mutator *m)
{
    const struct gc_heap *heap = m->heap;

    return ahalf_load_relaxed(&heap->cycles.drivable) != 0 && !m->never_assists && is_alone(heap)
        && ahalf_load_relaxed(&heap->tracing.nlisteners) == 0 && !gcrt_limit_is_set(heap)
        && aword_load_relaxed(&heap->roots.bytes) <= DRIVE_ROOTS
        && aword_load_relaxed(&heap->mheap.in_use) <= DRIVE_BYTES;
}

static bool
is_due(const struct gc_heap *heap)
{
    return gcrt_pace_live(heap) >= aword_load_relaxed(&heap->cycles.trigger);
}

/* A thread may have little stack: without the debug modes that need more, there is enough. */
static bool
has_stack(const struct gcrt_mutator *m)
{
    const struct gc_options *opt = &m->heap->options;
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);

    return (!opt->debug_verify && !opt->debug_checkmark)
        || (sp >= m->stack_lo + DRIVE_STACK && sp < m->stack_hi);
}

/*
 * Keeps newcomers out: the thread may hold a lock of the host's that one of them waits for, and so
 * must not wait for their answers.  False if there is another thread.
 */
static bool
shut_out_others(struct gc_heap *heap)
{
    struct registry *r = &heap->registry;
    bool alone;

    gcrt_lock_acquire(&r->lock);
    alone = r->count == 1;
    ahalf_store_relaxed(&r->door, alone ? DOOR_SHUT : DOOR_OPEN);
    gcrt_lock_release(&r->lock);
    return alone || heap->options.debug_chaos != 0;
}

static void
let_others_in(struct gc_heap *heap)
{
    struct registry *r = &heap->registry;
    bool awaited;

    gcrt_lock_acquire(&r->lock);
    awaited = ahalf_load_relaxed(&r->door) == DOOR_AWAITED;
    ahalf_store_relaxed(&r->door, DOOR_OPEN);
    gcrt_lock_release(&r->lock);
    if (awaited)
        gcrt_os_wake(&r->door, INT32_MAX);
}

/*
 * In the seat.  What else is wanted the coordinator has been woken for; it will run a cycle.
 * False if there was nothing to do.
 */
static bool
run(struct gcrt_mutator *m)
{
    struct gc_heap *heap = m->heap;

    if (!is_due(heap) || ahalf_load_acquire(&heap->cycles.wanted) != 0 || !shut_out_others(heap))
        return false;
    aword_add_relaxed(&heap->counters.cycles_driven, 1);
    heap->cycles.driven = true;
    if (!gcrt_cycle_run(heap, false))
        gcrt_cycle_request(heap, CYCLE_GO_ON);
    heap->cycles.driven = false;
    let_others_in(heap);
    m->over_goal = 0; /* nothing is to be waited for */
    return true;
}

/* A cycle that a thread runs is an assist to it. */
static void
account(struct gcrt_mutator *m, uint64_t ns, uint64_t cpu_ns)
{
    struct thread_account *a = &m->account;

    a->assists++;
    a->assist_ns += cpu_ns;
    a->assist_max_ns = max_size(a->assist_max_ns, cpu_ns);
    timehist_add(&m->heap->counters.assist, ns);
    timehist_add(&m->heap->counters.assist_cpu, cpu_ns);
    listen_note_pause(m->heap, m->tid, ns);
}

void
gcrt_drive_not(struct gcrt_mutator *m)
{
    if (LIKELY(!m->due))
        return;
    m->due = false;
    gcrt_cycle_request(m->heap, CYCLE_BY_PACER);
}

void
gcrt_drive(struct gcrt_mutator *m)
{
    struct gc_heap *heap = m->heap;
    uint64_t start = gcrt_os_now_ns(), cpu;

    m->due = false;
    m->driving = true;
    gc_block_enter();
    if (gcrt_drive_may(m) && has_stack(m) && gcrt_seat_take(heap)) {
        bool ran = run(m);

        cpu = gcrt_seat_leave(heap);
        gcrt_stack_wipe();
        if (ran)
            account(m, gcrt_os_now_ns() - start, cpu);
    }
    gc_block_leave();
    m->driving = false;
    if (is_due(heap))
        gcrt_cycle_request(heap, CYCLE_BY_PACER);
}
