/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what threads share beside the heap itself, looked at after every instruction: a ring
 * of the flight recorder while its owner writes, the table of interned bytes when two threads
 * add the same ones at once, the record of a cleanup that begins to run.
 *
 * Place: internals of gcrt; x86-64 only, elsewhere it is skipped.  Stores become visible in
 * program order on x86, so each state between two instructions is one that others may see.
 *
 * Concurrency: one thread, and a collector that sleeps.
 *
 * Arguments: none.
 */

#include "asked.h"

#include <stdlib.h>

#include "gc/malloc.h"
#include "gc/special.h"
#include "gc/trace.h"

#if defined(__x86_64__)

/* ---- events ---- */

#define RING 4096

static uint64_t number; /* of the next event; all that it has follows from it */

static void
run_event(void)
{
    TRACE(the_heap, large, number + 1, number, (uint32_t)number);
    number++;
}

/* The handler may allocate: what is stepped through is never inside of malloc. */
static void
all_are_whole(void)
{
    struct trace_event *events;
    size_t n;

    T_OK(gcrt_trace_read(the_heap, 0, &events, &n));
    for (size_t i = 0; i < n; i++)
        T_CHECK(events[i].kind != TRACE_large
                        || (events[i].start_ns == events[i].a + 1 && events[i].b == events[i].a),
                "an event has the numbers of two: %llu, %llu and %llu",
                (unsigned long long)events[i].start_ns, (unsigned long long)events[i].a,
                (unsigned long long)events[i].b);
    free(events);
}

/* The ring is full, so that each event is written over an older one. */
static void
recording(void)
{
    T_OK(gcrt_trace_start(the_heap, RING));
    while (number < RING / 8)
        run_event();
    t_step_through(run_event, all_are_whole);
    gcrt_trace_stop(the_heap);
}

/* ---- interned bytes ---- */

static const char *ours, *theirs;

static void
run_intern(void)
{
    ours = gc_intern(the_heap, "a name of more than sixteen bytes", 33);
}

static void
intern_too(void)
{
    theirs = gc_intern(the_heap, "a name of more than sixteen bytes", 33);
}

/* Another thread adds them after we have not found them. */
static void
interning(void)
{
    GC_KEEP_ALIVE(gc_intern(the_heap, "the first one makes the table", 29));
    t_event_at(run_intern, (uintptr_t)gcrt_malloc, intern_too);
    T_CHECK(ours == theirs, "equal bytes have two copies");
    T_CHECK(aword_load_relaxed(&the_heap->interning.count) == 2, "two names count as %llu",
            (unsigned long long)aword_load_relaxed(&the_heap->interning.count));
}

/* ---- cleanups ---- */

static struct special *first_free[SPECIAL_SHARDS];
static void *wanted, *given;

static struct special **
free_records(size_t shard)
{
    return &the_heap->specials.shards[shard].kinds[SPECIAL_CLEANUP].free;
}

static void
take_arg(void *arg)
{
    given = arg;
}

static __attribute__((noinline)) void
die_with_cleanup(void)
{
    T_OK(gc_cleanup_add(gc_alloc_bytes(100), take_arg, wanted, NULL));
}

static void
run_cleanup(void)
{
    (void)gc_run_cleanups(the_heap, 1);
}

/* A record that has become free may be another thread's at once. */
static void
use_free_record(void)
{
    for (size_t i = 0; i < SPECIAL_SHARDS; i++)
        if (*free_records(i) != first_free[i])
            (*free_records(i))->arg = &given;
}

static void
cleanups(void)
{
    wanted = gc_alloc_bytes(100);
    die_with_cleanup();
    t_collect_twice(the_heap);
    for (size_t i = 0; i < SPECIAL_SHARDS; i++)
        first_free[i] = *free_records(i);
    t_step_through(run_cleanup, use_free_record);
    T_CHECK(given != NULL, "a cleanup has not run");
    T_CHECK(given == wanted, "a cleanup gets another one's argument");
}

int
main(int argc, char **argv)
{
    gc_options opt;

    asked_options("single_step_tables", argc, argv, &opt);
    opt.cleanup_threads = 0;
    asked_begin(&opt);
    recording();
    interning();
    cleanups();
    return asked_end();
}

#else

int
main(void)
{
    return T_SKIP;
}

#endif
