/* SPDX-License-Identifier: MIT */
/*
 * Purpose: gc_why_alive names what keeps an object.
 *
 * Place: public interface only.  Threads are precise, so that only what a test says holds.
 */

#define _GNU_SOURCE

#include "kit.h"

static struct pair *global;

struct text {
    size_t n;
    char bytes[4096];
};

static int
take(void *arg, const char *bytes, size_t n)
{
    struct text *t = arg;

    cr_assert_lt(t->n + n, sizeof(t->bytes));
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    return 0;
}

static int
refuse(void *arg, const char *bytes, size_t n)
{
    (void)arg;
    (void)bytes;
    (void)n;
    return 1;
}

static void
start_precise(void)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    cr_assert_eq(gc_init(&opt), GC_OK, "%s", gc_last_error());
    cr_assert_eq(gc_root_add(&global, sizeof(global)), GC_OK);
}

static void
expect_path(const void *obj, const char *first, const char *last)
{
    struct text t = { .n = 0 };
    gc_sink sink = { take, &t };

    cr_assert_eq(gc_why_alive(NULL, obj, &sink), GC_OK, "%s", gc_last_error());
    cr_expect(strncmp(t.bytes, first, strlen(first)) == 0, "%s", t.bytes);
    cr_expect_not_null(strstr(t.bytes, last), "%s", t.bytes);
}

Test(why, a_path_has_each_step)
{
    struct pair *a = NULL, *b = NULL;
    char want[200];

    start_precise();
    GC_FRAME(a, b);
    a = gc_alloc(&pair_type);
    b = gc_alloc(&pair_type);
    gc_write(&a->right, b);
    gc_write(&global, a);
    snprintf(want, sizeof(want),
            "struct pair at %#lx, its word at +8\nstruct pair at %#lx\n", (unsigned long)a,
            (unsigned long)b);
    expect_path(b, "a root range, word at ", want); /* not: a stack */
    expect_path((char *)b + 9, "a root range, word at ", want);
    gc_write(&global, NULL);
    GC_FRAME_END;
    gc_shutdown();
}

Test(why, handles_and_locals_are_named)
{
    struct pair *a = NULL;
    gc_handle *handle;

    start_precise();
    GC_FRAME(a);
    a = gc_alloc(&pair_type);
    expect_path(a, "the stack of thread ", "struct pair at ");
    handle = gc_handle_new(a);
    expect_path(a, "a handle, ", "struct pair at ");
    gc_handle_free(handle);
    GC_FRAME_END;
    gc_shutdown();
}

Test(why, what_nothing_keeps_is_not_found)
{
    struct text t = { .n = 0 };
    gc_sink sink = { take, &t };
    uintptr_t lost;
    int local = 0;

    start_precise();
    lost = (uintptr_t)gc_alloc(&pair_type);
    cr_expect_eq(gc_why_alive(NULL, (void *)lost, &sink), GC_ERR_NOTFOUND);
    cr_expect_not_null(strstr(gc_last_error(), "no root leads"), "%s", gc_last_error());
    cr_expect_eq(gc_why_alive(NULL, &local, &sink), GC_ERR_NOTFOUND);
    cr_expect_not_null(strstr(gc_last_error(), "in no object"), "%s", gc_last_error());
    cr_expect_eq(gc_why_alive(NULL, NULL, &sink), GC_ERR_NOTFOUND);
    cr_expect_eq(t.n, 0);
    gc_shutdown();
}

Test(why, bad_arguments_are_named)
{
    gc_sink none = { NULL, NULL }, no = { refuse, NULL };
    struct pair *a = NULL;

    cr_expect_eq(gc_why_alive(NULL, &a, &no), GC_ERR_NOTFOUND);
    start_precise();
    GC_FRAME(a);
    a = gc_alloc(&pair_type);
    cr_expect_eq(gc_why_alive(NULL, a, NULL), GC_ERR_INVAL);
    cr_expect_eq(gc_why_alive(NULL, a, &none), GC_ERR_INVAL);
    cr_expect_eq(gc_why_alive(NULL, a, &no), GC_ERR_SINK);
    GC_FRAME_END;
    gc_shutdown();
}

/* ---- many at once ---- */

static void *
ask(void *arg)
{
    struct text t;
    gc_sink sink = { take, &t };

    for (int i = 0; i < 50; i++) {
        t.n = 0;
        cr_assert_eq(gc_why_alive(NULL, arg, &sink), GC_OK, "%s", gc_last_error());
        cr_assert_eq(gc_verify(NULL), GC_OK, "%s", gc_last_error());
    }
    return NULL;
}

Test(why, threads_may_ask_at_once_while_cycles_run)
{
    pthread_t threads[4];

    start_precise();
    gc_write(&global, (struct pair *)gc_alloc(&pair_type));
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, ask, global), 0);
    for (int i = 0; i < 20; i++)
        gc_collect(NULL);
    gc_block_enter();
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    gc_block_leave();
    gc_shutdown();
}
