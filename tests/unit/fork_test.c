/* SPDX-License-Identifier: MIT */
/*
 * Threads of the library that fork finds before their first step.  Everything else of fork is
 * tested from outside, in tests/stress/fork.c and tests/api.
 */
#include "heapkit.h"

#include "alloc/os/os.h"

#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

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

Test(fork, waits_for_threads_that_have_not_begun)
{
    struct os os = { 0 };
    gc_options opt;
    pthread_t thread;

    gc_options_default(&opt);
    T_OK(gc_init(&opt));
    cr_assert(gcrt_os_thread_start(&os, &thread, slow_to_begin, NULL));
    cr_expect_eq(fork_and_look(), 0);
    gcrt_os_thread_join(thread);
    gc_shutdown();
}

/* The one that could not be started is not waited for. */
Test(fork, does_not_wait_for_a_thread_that_was_refused, .timeout = 60)
{
    struct os os = { .fail_at = 1 };
    gc_options opt;
    pthread_t thread;

    gc_options_default(&opt);
    T_OK(gc_init(&opt));
    cr_expect_not(gcrt_os_thread_start(&os, &thread, slow_to_begin, NULL));
    began = 1;
    cr_expect_eq(fork_and_look(), 0);
    gc_shutdown();
}
