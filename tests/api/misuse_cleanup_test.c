/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what a cleanup must not do, and who must not run or take back one, ends in one fatal
 * line that names the mistake.
 */
#include "fatal.h"

#include <pthread.h>

struct pair {
    struct pair *left, *right;
};

GC_TYPE(pair_type, struct pair, left, right);

static void
start(void)
{
    gc_options opt;

    gc_options_default(&opt);
    T_OK(gc_init(&opt));
}

static void
start_unaided(void)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.cleanup_threads = 0;
    opt.precise_stacks = 1;
    T_OK(gc_init(&opt));
}

/* Runs on this thread, in gc_run_cleanups. */
static void
in_a_cleanup(gc_cleanup_fn *fn)
{
    start_unaided();
    T_OK(gc_cleanup_add(gc_alloc(&pair_type), fn, NULL, NULL));
    gc_collect(NULL);
    cr_assert_eq(gc_run_cleanups(NULL, 9), 1);
}

static void
detach_in_cleanup(void *arg)
{
    (void)arg;
    gc_thread_detach();
}

FATAL(detach_in_a_cleanup, "gc_thread_detach: called in a cleanup")
{
    in_a_cleanup(detach_in_cleanup);
}

static void
shut_down_in_cleanup(void *arg)
{
    (void)arg;
    gc_shutdown();
}

FATAL(shutdown_in_a_cleanup, "gc_shutdown: called in a cleanup")
{
    in_a_cleanup(shut_down_in_cleanup);
}

static void
stay_outside(void *arg)
{
    (void)arg;
    gc_block_enter();
}

FATAL(cleanup_that_stays_outside, "returns inside a blocking region")
{
    in_a_cleanup(stay_outside);
}

static void
leave_scope_open(void *arg)
{
    static gc_scope scope;

    (void)arg;
    gc_scope_enter(&scope);
}

FATAL(cleanup_that_leaves_a_scope_open, "returns inside a scope")
{
    in_a_cleanup(leave_scope_open);
}

static void
end_thread(void *arg)
{
    (void)arg;
    pthread_exit(NULL);
}

FATAL(cleanup_that_ends_its_thread, "has ended its thread")
{
    gc_options opt;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    T_OK(gc_init(&opt));
    T_OK(gc_cleanup_add(gc_alloc(&pair_type), end_thread, NULL, NULL));
    gc_collect(NULL);
    GC_BLOCKING { (void)pause(); }
}

FATAL(run_cleanups_detached, "gc_run_cleanups|attach")
{
    (void)gc_run_cleanups(NULL, 1);
}

FATAL(run_cleanups_of_another_heap, "gc_run_cleanups|not attached to this heap")
{
    gc_heap *heap = NULL;

    T_OK(gc_heap_create(NULL, &heap));
    start();
    (void)gc_run_cleanups(heap, 1);
}

FATAL(cancel_of_another_heaps_cleanup, "gc_cleanup_cancel|another heap")
{
    gc_cleanup name;
    gc_heap *heap = NULL;

    T_OK(gc_heap_create(NULL, &heap));
    T_OK(gc_thread_attach(heap));
    T_OK(gc_cleanup_add(gc_alloc(&pair_type), stay_outside, NULL, &name));
    gc_thread_detach();
    start();
    (void)gc_cleanup_cancel(name);
}
