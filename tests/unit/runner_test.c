/* SPDX-License-Identifier: MIT */
/*
 * The runner: who calls callbacks, when, and what happens when one does not return.
 */
#include "gc/runner.h"

#include "gc/crew.h"
#include "gc/fork.h"
#include "gc/mutator.h"
#include "heapkit.h"

#include <criterion/criterion.h>
#include <semaphore.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS 3000

/* A job that says in which place it ran. */
struct numbered {
    struct runner_job job;
    unsigned place;  /* 0: has not run */
    unsigned runs;
    void (*also)(struct gc_heap *heap);
};

static struct numbered jobs[JOBS];
static unsigned places;  /* atomic */
static unsigned begun;   /* atomic */
static sem_t gate;
static struct gc_heap *heap;

static unsigned
ran(void)
{
    return __atomic_load_n(&places, __ATOMIC_ACQUIRE);
}

static void
run_numbered(struct gc_heap *h, struct runner_job *job)
{
    struct numbered *n = container_of_(job, struct numbered, job);

    cr_assert_eq(h, heap);
    cr_assert_not_null(gc_impl_self.mutator);
    cr_assert_eq(gc_impl_self.mutator->block_depth, 0);
    cr_assert_eq(gc_impl_self.critical, 0);
    __atomic_add_fetch(&begun, 1, __ATOMIC_ACQ_REL);
    if (n->also != NULL)
        n->also(h);
    n->runs++;
    n->place = __atomic_add_fetch(&places, 1, __ATOMIC_ACQ_REL);
}

static void
post(unsigned i, void *word, void (*also)(struct gc_heap *))
{
    struct numbered *n = &jobs[i];

    n->also = also;
    n->job = (struct runner_job){ .fn = run_numbered, .words = { NULL, word }, .what = "test",
        .host = (const void *)(uintptr_t)getenv };
    critical_enter();
    gcrt_runner_post(heap, &n->job);
    critical_leave();
    gcrt_crew_look(heap); /* as the coordinator does */
}

static void
begin_with(const gc_options *opt)
{
    cr_assert_eq(gc_heap_create(opt, &heap), GC_OK, "%s", gc_last_error());
    cr_assert_eq(gc_thread_attach(heap), GC_OK, "%s", gc_last_error());
    cr_assert_eq(sem_init(&gate, 0, 0), 0);
}

static gc_options
options(uint32_t threads)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.cleanup_threads = threads;
    opt.debug_clobberfree = 1;
    return opt;
}

static void
begin(uint32_t threads)
{
    gc_options opt = options(threads);

    begin_with(&opt);
}

static void
end(void)
{
    gc_thread_detach();
    cr_expect_eq(gc_heap_destroy(heap), GC_OK, "%s", gc_last_error());
}

static void
wait_until(const unsigned *counter, unsigned n)
{
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < n)
        t_sleep_us(100);
}

static void
block(struct gc_heap *h)
{
    (void)h;
    while (sem_wait(&gate) != 0) {
    }
}

Test(runner, calls_each_once_in_their_order, .timeout = 60)
{
    begin(1);
    for (unsigned i = 0; i < JOBS; i++)
        post(i, NULL, NULL);
    wait_until(&places, JOBS);
    for (unsigned i = 0; i < JOBS; i++) {
        cr_assert_eq(jobs[i].runs, 1);
        cr_assert_eq(jobs[i].place, i + 1);
    }
    end();
}

Test(runner, without_threads_calls_when_it_is_told_to, .timeout = 60)
{
    begin(0);
    for (unsigned i = 0; i < 10; i++)
        post(i, NULL, NULL);
    gc_collect(heap);
    cr_expect_eq(ran(), 0);
    cr_expect_eq(gc_run_cleanups(NULL, 3), 3);
    cr_expect_eq(ran(), 3);
    cr_expect_eq(gc_run_cleanups(heap, SIZE_MAX), 7);
    cr_expect_eq(gc_run_cleanups(heap, SIZE_MAX), 0);
    cr_expect_eq(ran(), 10);
    cr_expect_eq(ahalf_load_relaxed(&heap->runner.alive), 0);
    end();
}

static size_t nested_runs;

static void
nest(struct gc_heap *h)
{
    nested_runs += gc_run_cleanups(h, 1);
    gc_collect(NULL);
}

Test(runner, callbacks_do_not_nest_but_collect, .timeout = 60)
{
    begin(0);
    post(0, NULL, nest);
    post(1, NULL, nest);
    cr_expect_eq(gc_run_cleanups(heap, 1), 1);
    cr_expect_eq(nested_runs, 0);
    cr_expect_eq(ran(), 1);
    cr_expect_eq(gc_run_cleanups(heap, 1), 1);
    end();
}

Test(runner, a_crew_that_is_held_begins_nothing, .timeout = 60)
{
    begin(1);
    post(0, NULL, NULL);
    wait_until(&places, 1);
    gcrt_crew_hold(heap);
    for (unsigned i = 1; i <= 100; i++)
        post(i, NULL, NULL);
    t_sleep_us(50000);
    cr_expect_eq(ran(), 1);
    gcrt_crew_release(heap);
    wait_until(&places, 101);
    end();
}

/* ---- words are roots ---- */

static NOINLINE void
post_objects(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t *p = gc_alloc_bytes(64);

        *p = i;
        post(i, p, NULL);
    }
}

Test(runner, words_are_alive_while_the_job_waits, .timeout = 60)
{
    begin(0);
    post_objects(JOBS);
    t_collect_twice(heap);
    for (unsigned i = 0; i < JOBS; i++) {
        cr_assert_eq(gc_base(jobs[i].job.words[1]), jobs[i].job.words[1]);
        cr_assert_eq(*(uint64_t *)jobs[i].job.words[1], i);
    }
    cr_expect_eq(gc_run_cleanups(heap, JOBS / 2), JOBS / 2);
    t_collect_twice(heap);
    for (unsigned i = JOBS / 2; i < JOBS; i++)
        cr_assert_eq(*(uint64_t *)jobs[i].job.words[1], i);
    for (unsigned i = 1; i < JOBS / 2; i++)
        cr_assert_null(gc_base(jobs[i].job.words[1]), "%u", i);
    end();
}

Test(runner, a_job_taken_back_does_not_run, .timeout = 60)
{
    bool first, second;

    begin(0);
    for (unsigned i = 0; i < 3; i++)
        post(i, NULL, NULL);
    critical_enter();
    first = gcrt_runner_cancel(heap, &jobs[1].job);
    second = gcrt_runner_cancel(heap, &jobs[1].job);
    critical_leave();
    cr_expect(first);
    cr_expect_not(second);
    cr_expect_eq(gc_run_cleanups(heap, SIZE_MAX), 2);
    cr_expect_eq(jobs[1].runs, 0);
    critical_enter();
    first = gcrt_runner_cancel(heap, &jobs[0].job);
    critical_leave();
    cr_expect_not(first);
    end();
}

/* ---- slow ones ---- */

Test(runner, one_that_blocks_delays_nobody, .timeout = 60)
{
    begin(1);
    post(0, NULL, block);
    for (unsigned i = 1; i < 100; i++)
        post(i, NULL, NULL);
    wait_until(&places, 99);
    cr_expect_eq(jobs[0].runs, 0);
    cr_expect_eq(sem_post(&gate), 0);
    wait_until(&places, 100);
    end();
}

/* One thread is left to watch, so this many can be stuck; the next must wait. */
Test(runner, as_many_as_there_are_places_may_be_stuck, .timeout = 60)
{
    const unsigned stuck = RUNNER_THREADS - 1;

    begin(1);
    for (unsigned i = 0; i < stuck; i++)
        post(i, NULL, block);
    wait_until(&begun, stuck);
    post(stuck, NULL, NULL);
    t_sleep_us(50000);
    cr_expect_eq(ran(), 0);
    cr_expect_eq(sem_post(&gate), 0);
    wait_until(&places, 2);
    for (unsigned i = 1; i < stuck; i++)
        cr_expect_eq(sem_post(&gate), 0);
    wait_until(&places, stuck + 1);
    end();
}

static char said[512];
static unsigned lines;

static void
note_line(const char *line, size_t len, void *arg)
{
    (void)arg;
    snprintf(said, sizeof(said), "%.*s", (int)len, line);
    __atomic_add_fetch(&lines, 1, __ATOMIC_RELEASE);
}

Test(runner, a_slow_one_is_reported_once_while_it_runs, .timeout = 60)
{
    gc_options opt = options(1);

    opt.cleanup_slow_ms = 30;
    opt.log = note_line;
    begin_with(&opt);
    post(0, NULL, block);
    wait_until(&lines, 1);
    cr_expect_not_null(strstr(said, "gcrt: slow test: "), "%s", said);
    cr_expect_not_null(strstr(said, "getenv"), "%s", said);
    cr_expect_not_null(strstr(said, " has been running for "), "%s", said);
    t_sleep_us(100000);
    cr_expect_eq(sem_post(&gate), 0);
    wait_until(&places, 1);
    end();
    cr_expect_eq(lines, 1);
}

static void
dawdle(struct gc_heap *h)
{
    (void)h;
    t_sleep_us(60000);
}

Test(runner, a_slow_one_of_the_hosts_own_thread_is_reported_after_it, .timeout = 60)
{
    gc_options opt = options(0);

    opt.cleanup_slow_ms = 30;
    opt.log = note_line;
    begin_with(&opt);
    post(0, NULL, dawdle);
    cr_expect_eq(gc_run_cleanups(heap, 1), 1);
    cr_expect_eq(lines, 1);
    cr_expect_not_null(strstr(said, " took "), "%s", said);
    cr_expect_eq(aword_load_relaxed(&heap->runner.slow), 1);
    end();
}

static unsigned spin_on;

static void
spin(struct gc_heap *h)
{
    (void)h;
    while (__atomic_load_n(&spin_on, __ATOMIC_RELAXED) != 0)
        __asm__ volatile("");
}

Test(runner, one_that_computes_does_not_hold_up_a_cycle, .timeout = 60)
{
    begin(1);
    spin_on = 1;
    post(0, NULL, spin);
    wait_until(&begun, 1);
    gc_collect(heap); /* the thread is signalled */
    cr_expect_eq(ran(), 0);
    __atomic_store_n(&spin_on, 0, __ATOMIC_RELAXED);
    wait_until(&places, 1);
    end();
}

/* ---- the end ---- */

Test(runner, the_end_waits_for_what_runs_and_forgets_what_waits, .timeout = 60)
{
    begin(1);
    post(0, NULL, dawdle);
    post(1, NULL, NULL);
    wait_until(&begun, 1);
    end();
    cr_expect_eq(jobs[0].runs, 1);
    cr_expect_leq(jobs[1].runs, 1);
}

Test(runner, a_stuck_one_makes_the_heap_busy, .timeout = 60)
{
    gc_options opt = options(1);

    opt.cleanup_slow_ms = 20;
    opt.log = note_line;
    begin_with(&opt);
    post(0, NULL, block);
    wait_until(&begun, 1);
    gc_thread_detach();
    cr_expect_eq(gc_heap_destroy(heap), GC_ERR_BUSY);
    cr_expect_not_null(strstr(gc_last_error(), "getenv"), "%s", gc_last_error());
    cr_expect_eq(gc_thread_attach(heap), GC_OK); /* it is as it was */
    post(1, NULL, NULL);
    wait_until(&places, 1);
    cr_expect_eq(sem_post(&gate), 0);
    wait_until(&places, 2);
    end();
}

/* ---- faults ---- */

Test(runner, a_thread_that_is_refused_is_asked_for_again, .timeout = 60)
{
    begin(1);
    heap->os.fail_from = 1;
    post(0, NULL, NULL);
    t_sleep_us(20000);
    cr_expect_eq(ran(), 0);
    heap->os.fail_from = 0;
    gc_collect(heap);
    wait_until(&places, 1);
    end();
}

Test(runner, a_thread_that_cannot_attach_ends, .timeout = 60)
{
    begin(1);
    heap->os.fail_from = aword_load_relaxed(&heap->os.calls) + 2; /* the first is the thread */
    post(0, NULL, NULL);
    while (ahalf_load_acquire(&heap->runner.alive) != 0)
        t_sleep_us(100);
    cr_expect_eq(ran(), 0);
    heap->os.fail_from = 0;
    post(1, NULL, NULL);
    wait_until(&places, 2);
    end();
}

/* ---- fork ---- */

static int
child_of(void (*child)(void))
{
    pid_t pid = fork();
    int status;

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        child();
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* Waiting ones wait on; the one that runs is the parent's. */
static void
run_in_child(void)
{
    if (gc_run_cleanups(heap, 1) != 1 || jobs[1].runs != 1 || jobs[0].runs != 0)
        _exit(1);
    gc_collect(heap); /* starts a thread */
    wait_until(&places, 2);
    if (jobs[2].runs != 1 || jobs[0].runs != 0)
        _exit(2);
    gc_thread_detach();
    if (gc_heap_destroy(heap) != GC_OK)
        _exit(3);
}

Test(runner, a_child_has_what_waits_and_not_what_runs, .timeout = 60)
{
    gc_options opt = options(1);

    begin_with(&opt);
    post(0, NULL, block);
    wait_until(&begun, 1);
    gcrt_lock_acquire(&heap->runner.lock);
    heap->runner.stop = true; /* nothing more is begun before the fork */
    gcrt_lock_release(&heap->runner.lock);
    post(1, NULL, NULL);
    post(2, NULL, NULL);
    cr_expect_eq(child_of(run_in_child), 0);
    gcrt_crew_resume(heap);
    cr_expect_eq(sem_post(&gate), 0);
    wait_until(&places, 3);
    end();
}

static void
leave_child(struct gc_heap *h)
{
    _exit(h->runner.active == 1 ? 7 : 8);
}

static int fork_status;

static void
fork_and_go_on(struct gc_heap *h)
{
    pid_t pid = fork();

    if (pid == 0) {
        gc_collect(h);
        post(1, NULL, leave_child);
        return; /* and the thread goes on to serve, in the child */
    }
    cr_assert_eq(waitpid(pid, &fork_status, 0), pid);
}

/*
 * Meanwhile the crew starts a thread that watches.  Under AddressSanitizer that may hold a lock of
 * its malloc, which gcc's does not take before a fork, and the child waits for it for ever.
 */
#if defined(__SANITIZE_ADDRESS__)
# define NO_MALLOC_OVER_FORK true
#else
# define NO_MALLOC_OVER_FORK false
#endif

Test(runner, a_callback_may_fork, .timeout = 60, .disabled = NO_MALLOC_OVER_FORK)
{
    begin(1);
    post(0, NULL, fork_and_go_on);
    wait_until(&places, 1);
    cr_expect(WIFEXITED(fork_status) && WEXITSTATUS(fork_status) == 7, "%d", fork_status);
    end();
}
