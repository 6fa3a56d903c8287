/* SPDX-License-Identifier: MIT */
/*
 * Purpose: both unwinders tell the same stack.
 *
 * Place: tests alloc/os/unwind.c; what a profile makes of stacks is api/profile's.
 */
#define _GNU_SOURCE

#include "alloc/os/unwind.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEPTH 40
#define MOST  256

struct stacks {
    uintptr_t ours[MOST], theirs[MOST];
    unsigned nours, ntheirs;
};

/* Both are taken by one function, so the stacks differ in their first word or two alone. */
static __attribute__((noinline)) void
look(struct stacks *s, unsigned most)
{
    s->nours = gcrt_os_backtrace(s->ours, most, 0, 0); /* no known stack: a whole unwinder */
    s->ntheirs = (unsigned)backtrace((void **)s->theirs, (int)most);
}

/* The compiler can make no loop of it. */
static __attribute__((noinline)) unsigned
go_down(struct stacks *s, unsigned depth, unsigned most)
{
    volatile unsigned char frame[48] = { 0 };

    if (depth == 0)
        look(s, most);
    else
        frame[depth % sizeof frame] = (unsigned char)go_down(s, depth - 1, most);
    return frame[0] + depth;
}

/* Counted from the outermost frame, the stacks are equal up to the function that took them. */
static void
expect_equal(const struct stacks *s)
{
    unsigned n = s->nours < s->ntheirs ? s->nours : s->ntheirs;

    cr_assert_gt(n, DEPTH);
    for (unsigned i = 1; i + 2 <= n; i++)
        cr_assert_eq(s->ours[s->nours - i], s->theirs[s->ntheirs - i], "frame %u of %u", i, n);
}

static void *
on_a_thread(void *arg)
{
    struct stacks s;

    (void)arg;
    (void)go_down(&s, DEPTH, MOST);
    expect_equal(&s);
    return NULL;
}

Test(unwind, libunwind_is_taken_where_it_is)
{
    bool there = false;

#ifdef GCRT_LIBUNWIND
    there = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL) != NULL;
#endif
    cr_expect(!gcrt_os_backtrace_is_fast());
    gcrt_os_backtrace_warm_up();
    cr_expect_eq(gcrt_os_backtrace_is_fast(), there);
}

Test(unwind, the_host_keeps_its_own_unwinder)
{
    void *before = dlsym(RTLD_DEFAULT, "backtrace");

    gcrt_os_backtrace_warm_up();
    cr_expect_eq(dlsym(RTLD_DEFAULT, "backtrace"), before);
    cr_expect_null(dlsym(RTLD_DEFAULT, "unw_backtrace"));
}

Test(unwind, stacks_are_those_of_glibc)
{
    struct stacks s;
    pthread_t threads[4];

    gcrt_os_backtrace_warm_up();
    for (int i = 0; i < 3; i++) { /* what an unwinder has learned does not change its answer */
        (void)go_down(&s, DEPTH, MOST);
        expect_equal(&s);
    }
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, on_a_thread, NULL), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
}

Test(unwind, a_deep_stack_is_cut)
{
    struct stacks s = { .nours = 0 };

    gcrt_os_backtrace_warm_up();
    s.ours[16] = 1;
    (void)go_down(&s, DEPTH, 16);
    cr_expect_eq(s.nours, 16);
    cr_expect_eq(s.ours[16], 1, "nothing is written behind the end");
}

Test(unwind, a_child_of_fork_unwinds)
{
    struct stacks s;
    int status = -1;
    pid_t child;

    gcrt_os_backtrace_warm_up();
    (void)go_down(&s, DEPTH, MOST);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        (void)go_down(&s, DEPTH, MOST);
        _exit(s.nours > DEPTH ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
