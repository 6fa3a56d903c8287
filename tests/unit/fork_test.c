/* SPDX-License-Identifier: MIT */
/*
 * Threads of the library before their first step, of which fork waits for those that a sanitizer's
 * malloc may have; a slot that gc_alloc has found when a handler of the host's forks; a pool of
 * which a thread kept items that the child does not have.  Everything else of fork is tested from
 * outside, in tests/stress/fork.c and tests/api.
 */
#include "byhand.h"
#include "heapkit.h"

#include "alloc/os/os.h"
#include "gc/pool.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static struct os os;
static int began; /* atomic */

/* What libc or a sanitizer does before a thread comes to its own code, made long. */
static void *
slow_to_begin(void *arg)
{
    (void)arg;
    t_sleep_us(50 * 1000);
    __atomic_store_n(&began, 1, __ATOMIC_SEQ_CST);
    gcrt_os_thread_begin("slow");
    return NULL;
}

Test(fork, closing_waits_for_threads_that_have_not_begun)
{
    pthread_t thread;

    cr_assert(gcrt_os_thread_start(&os, &thread, slow_to_begin, NULL));
    gcrt_os_starts_close();
    cr_expect_eq(__atomic_load_n(&began, __ATOMIC_SEQ_CST), 1);
    gcrt_os_starts_open();
    gcrt_os_thread_join(thread);
}

Test(fork, closing_does_not_wait_for_a_thread_that_was_refused)
{
    pthread_t thread;

    os.fail_at = 1;
    cr_expect_not(gcrt_os_thread_start(&os, &thread, slow_to_begin, NULL));
    gcrt_os_starts_close();
    gcrt_os_starts_open();
}

/* ---- threads that start all the time ---- */

#define ROUNDS 300

static int over;      /* atomic */
static int beginning; /* atomic: threads that run and have not begun */

static void *
begin_soon(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&beginning, 1, __ATOMIC_SEQ_CST);
    t_sleep_us(20);
    __atomic_sub_fetch(&beginning, 1, __ATOMIC_SEQ_CST);
    gcrt_os_thread_begin("soon");
    return NULL;
}

static void *
start_many(void *arg)
{
    pthread_t thread;

    while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) {
        cr_assert(gcrt_os_thread_start(&os, &thread, begin_soon, NULL));
        gcrt_os_thread_join(thread);
    }
    return arg;
}

Test(fork, nobody_begins_while_starts_are_closed)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, start_many, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        gcrt_os_starts_close();
        for (int k = 0; k < 3; k++) {
            cr_assert_eq(__atomic_load_n(&beginning, __ATOMIC_SEQ_CST), 0, "round %d", i);
            t_sleep_us(50);
        }
        gcrt_os_starts_open();
        t_sleep_us(50);
    }
    __atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
}

/* ---- fork does so where it must ---- */

/* ---- in the middle of an allocation ---- */

struct node {
    struct node *next;
};

GC_TYPE(node_type, struct node, next);

static int looks, was_forking;

static void
look_at_fork(void)
{
    looks++;
    was_forking += self() != NULL && self()->forking;
}

/* Before the library's own constructor, so that it runs after the library's handler. */
static void __attribute__((constructor(101)))
register_look(void)
{
    (void)pthread_atfork(look_at_fork, NULL, NULL);
}

Test(fork, says_so_while_others_may_answer_for_the_thread)
{
    pid_t pid;
    int status = -1;

    begin_by_hand();
    pid = fork();
    if (pid == 0)
        _exit(self()->forking);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    cr_expect_eq(looks, was_forking);
    cr_expect_gt(looks, 0);
    cr_expect_not(self()->forking);
    end_by_hand();
}

Test(fork, keeps_the_slot_that_an_allocation_has_found)
{
    struct node *node, *found;

    begin_by_hand();
    node = gc_alloc(&node_type);
    found = node + 1; /* the next of its run */
    self()->forking = true;
    handshake(ACTION_FLUSH_CACHE);
    self()->forking = false;
    for (int i = 0; i < 100; i++)
        cr_expect_neq(gc_alloc(&node_type), found, "it is handed out twice");
    end_by_hand();
}

/* ---- a thread that the child does not have ---- */

static gc_pool *shared_pool;
static int keeps, may_end; /* atomic */

static void *
keep_items(void *unused)
{
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    for (int i = 0; i < 8; i++)
        gc_pool_put(shared_pool, gc_pool_get(shared_pool));
    __atomic_store_n(&keeps, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&may_end, __ATOMIC_SEQ_CST))
        t_sleep_us(100);
    gc_thread_detach();
    return unused;
}

/* The child's exit status: may the pool's record be another's? */
static int
end_pool_in_child(const gc_pool_options *opt)
{
    const struct pool *pool = (const struct pool *)shared_pool;
    bool kept = pool->keepers == 1;

    gc_collect(the_heap); /* starts the coordinator, which looks who is left behind */
    gc_pool_destroy(shared_pool);
    return kept && gc_pool_create(the_heap, opt) == shared_pool && pool->keepers == 0 ? 0 : 1;
}

Test(fork, forgets_what_other_threads_kept_of_a_pool)
{
    const gc_pool_options opt = { .type = &node_type };
    pthread_t thread;
    int status = -1;
    pid_t pid;

    begin_by_hand();
    shared_pool = gc_pool_create(the_heap, &opt);
    cr_assert_eq(pthread_create(&thread, NULL, keep_items, NULL), 0);
    while (!__atomic_load_n(&keeps, __ATOMIC_SEQ_CST))
        t_sleep_us(100);
    pid = fork();
    if (pid == 0)
        _exit(end_pool_in_child(&opt));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    __atomic_store_n(&may_end, 1, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    gc_pool_destroy(shared_pool);
    end_by_hand();
}

#if defined(SANITIZED)
/* The child's exit status: was the thread past its beginning when memory was copied? */
static int
fork_and_look(void)
{
    int status = -1;
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(__atomic_load_n(&began, __ATOMIC_SEQ_CST) ? 0 : 1);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

Test(fork, waits_under_a_sanitizer)
{
    gc_options opt;
    pthread_t thread;

    gc_options_default(&opt);
    T_OK(gc_init(&opt));
    cr_assert(gcrt_os_thread_start(&os, &thread, slow_to_begin, NULL));
    cr_expect_eq(fork_and_look(), 0);
    gcrt_os_thread_join(thread);
    cr_assert(gcrt_os_thread_start(&os, &thread, begin_soon, NULL), "starts are closed still");
    gcrt_os_thread_join(thread);
    gc_shutdown();
}
#endif
