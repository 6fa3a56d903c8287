/* SPDX-License-Identifier: MIT */
/*
 * Purpose: heap profiles as a host writes them.
 *
 * Place: public interface only.  What the files say is checked by pprof_test.py, which runs
 * profile_dump.c and reads its files as pprof does.
 */

#define _GNU_SOURCE

#include "kit.h"

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
