/* SPDX-License-Identifier: MIT */
/*
 * Purpose: heap profiles as a host writes them.
 *
 * Place: public interface only.  What the files say is checked by pprof_test.py, which runs
 * profile_dump.c and reads its files as pprof does.
 */

#define _GNU_SOURCE

#include "kit.h"

#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct sink {
    size_t calls, bytes, fail_at;
    unsigned char head[2];
};

static int
take(void *arg, const char *bytes, size_t n)
{
    struct sink *s = arg;

    cr_assert_gt(n, 0);
    cr_assert(s->fail_at == 0 || s->calls < s->fail_at, "called again after it refused");
    if (s->calls++ == 0 && n >= 2)
        memcpy(s->head, bytes, 2);
    s->bytes += n;
    return s->calls == s->fail_at;
}

static void
busy(void)
{
    (void)gc_set_profile_rate(NULL, 1);
    gc_collect(NULL);
    for (int i = 0; i < 3000; i++) /* large objects are of as many sizes */
        GC_KEEP_ALIVE(gc_alloc_bytes_uninit(40000 + 8 * (size_t)i));
}

Test(profile, a_file_is_gzip)
{
    struct sink s = { .calls = 0 };
    gc_sink sink = { take, &s };

    start();
    busy();
    cr_assert_eq(gc_profile_write_heap(NULL, &sink), GC_OK, "%s", gc_last_error());
    cr_expect(s.head[0] == 0x1f && s.head[1] == 0x8b && s.bytes > 100);
    s = (struct sink){ .calls = 0 };
    cr_assert_eq(gc_profile_write_allocs(NULL, NULL, &sink), GC_OK, "%s", gc_last_error());
    cr_expect(s.head[0] == 0x1f && s.head[1] == 0x8b && s.bytes > 1000);
    stop();
}

Test(profile, a_sink_that_refuses_is_not_called_again)
{
    struct sink s = { .calls = 0 };
    gc_sink sink = { take, &s };
    size_t calls;

    start();
    busy();
    cr_assert_eq(gc_profile_write_allocs(NULL, NULL, &sink), GC_OK);
    calls = s.calls;
    cr_assert_gt(calls, 5);
    for (size_t k = 1; k <= calls; k++) {
        s = (struct sink){ .fail_at = k };
        cr_expect_eq(gc_profile_write_allocs(NULL, NULL, &sink), GC_ERR_SINK);
        cr_expect_not_null(strstr(gc_last_error(), "gc_profile_write_allocs"), "%s",
                gc_last_error());
    }
    stop();
}

Test(profile, bad_arguments_are_named)
{
    struct sink s = { .calls = 0 };
    gc_sink sink = { take, &s }, none = { NULL, &s };
    gc_profile *since;
    gc_heap *other;

    cr_expect_eq(gc_profile_write_heap(NULL, &sink), GC_ERR_NOTFOUND);
    cr_expect_null(gc_profile_take(NULL));
    start();
    cr_expect_eq(gc_profile_write_heap(NULL, NULL), GC_ERR_INVAL);
    cr_expect_eq(gc_profile_write_heap(NULL, &none), GC_ERR_INVAL);
    cr_expect_eq(gc_profile_write_allocs(NULL, NULL, NULL), GC_ERR_INVAL);
    cr_assert_eq(gc_heap_create(NULL, &other), GC_OK);
    since = gc_profile_take(other);
    cr_assert_not_null(since);
    cr_expect_eq(gc_profile_write_allocs(NULL, since, &sink), GC_ERR_INVAL);
    cr_expect_not_null(strstr(gc_last_error(), "another heap"), "%s", gc_last_error());
    cr_expect_eq(s.calls, 0);
    gc_profile_free(since);
    gc_profile_free(NULL);
    cr_assert_eq(gc_heap_destroy(other), GC_OK);
    stop();
}

Test(profile, the_rate_is_the_options_until_it_is_set)
{
    gc_options opt;

    gc_options_default(&opt);
    cr_expect_eq(opt.profile_rate, 524288);
    opt.profile_rate = 12345;
    cr_assert_eq(gc_init(&opt), GC_OK);
    cr_expect_eq(gc_set_profile_rate(NULL, 0), 12345);
    cr_expect_eq(gc_set_profile_rate(NULL, 777), 0);
    cr_expect_eq(gc_set_profile_rate(NULL, 777), 777);
    gc_shutdown();
}

/* ---- a stack of new code, while somebody has the dynamic linker's lock ---- */

static struct {
    atomic_bool locked, allocates, unlock;
} linker;

static void
nap(void)
{
    (void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static int
keep_lock(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    (void)info;
    (void)bytes;
    (void)arg;
    linker.locked = true;
    while (!linker.unlock)
        nap();
    return 1;
}

static void *
linker_thread(void *unused)
{
    (void)dl_iterate_phdr(keep_lock, NULL);
    return unused;
}

/* Nobody has met this code before. */
static void *
new_thread(void *precise)
{
    cr_assert_eq(precise != NULL ? gc_thread_attach_precise(NULL) : gc_thread_attach(NULL), GC_OK);
    linker.allocates = true;
    GC_KEEP_ALIVE(gc_alloc_bytes(48));
    gc_thread_detach();
    return NULL;
}

/* The new thread waits for the lock; or, where a stack is taken without it, is through. */
static void
start_both(pthread_t thread[2], bool precise)
{
    (void)gc_set_profile_rate(NULL, 1);
    cr_assert_eq(pthread_create(&thread[0], NULL, linker_thread, NULL), 0);
    while (!linker.locked)
        nap();
    cr_assert_eq(pthread_create(&thread[1], NULL, new_thread, precise ? &linker : NULL), 0);
    while (!linker.allocates)
        nap();
    for (int i = 0; i < 30; i++)
        nap();
}

static void
join_both(const pthread_t thread[2])
{
    cr_assert_eq(pthread_join(thread[0], NULL), 0);
    cr_assert_eq(pthread_join(thread[1], NULL), 0);
}

static void
collect_meanwhile(gc_mode mode, bool precise)
{
    pthread_t thread[2];
    gc_options opt;

    gc_options_default(&opt);
    opt.mode = mode;
    T_OK(gc_init(&opt));
    start_both(thread, precise);
    gc_collect(NULL);
    linker.unlock = true;
    join_both(thread);
    stop();
}

Test(profile, who_waits_for_the_linker_holds_up_no_cycle)
{
    collect_meanwhile(GC_MODE_CONCURRENT, false);
}

Test(profile, nor_does_a_precise_thread)
{
    collect_meanwhile(GC_MODE_CONCURRENT, true);
}

Test(profile, nor_where_a_cycle_stops_threads)
{
    collect_meanwhile(GC_MODE_STW, false);
}

static void *
unlock_later(void *unused)
{
    for (int i = 0; i < 30; i++)
        nap();
    linker.unlock = true;
    return unused;
}

Test(profile, a_fork_waits_for_the_linker_whose_lock_its_child_needs)
{
    pthread_t thread[2], later;
    int status;
    pid_t child;

    start();
    start_both(thread, false);
    cr_assert_eq(pthread_create(&later, NULL, unlock_later, NULL), 0);
    child = fork();
    if (child == 0) {
        (void)alarm(60);
        (void)dl_iterate_phdr(keep_lock, NULL);
        GC_KEEP_ALIVE(gc_alloc_bytes(48));
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_assert_eq(pthread_join(later, NULL), 0);
    join_both(thread);
    stop();
}
