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

/* ---- roots that are neither ranges nor handles ---- */

static void
ignore(void *arg)
{
    (void)arg;
}

static void
ignore_object(void *obj, void *arg)
{
    (void)obj;
    (void)arg;
}

static void
start_without_threads(void)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    opt.cleanup_threads = 0;
    cr_assert_eq(gc_init(&opt), GC_OK, "%s", gc_last_error());
}

Test(why, arguments_are_named)
{
    struct pair *a = NULL, *of_cleanup = NULL, *of_finalizer = NULL;
    uintptr_t at[2];
    char want[100];

    start_without_threads();
    GC_FRAME(a, of_cleanup, of_finalizer);
    a = gc_alloc(&pair_type);
    of_cleanup = gc_alloc(&pair_type);
    of_finalizer = gc_alloc(&pair_type);
    at[0] = ~(uintptr_t)of_cleanup;
    at[1] = ~(uintptr_t)of_finalizer;
    cr_assert_eq(gc_cleanup_add(a, ignore, of_cleanup, NULL), GC_OK);
    cr_assert_eq(gc_finalizer_set(a, ignore_object, of_finalizer), GC_OK);
    of_cleanup = of_finalizer = NULL;
    snprintf(want, sizeof(want), "the argument of a cleanup of %#lx\n", (unsigned long)a);
    expect_path((void *)~at[0], want, "struct pair at ");
    snprintf(want, sizeof(want), "the argument of a finalizer of %#lx\n", (unsigned long)a);
    expect_path((void *)~at[1], want, "struct pair at ");
    GC_FRAME_END;
    gc_shutdown();
}

Test(why, callbacks_that_are_due_are_named)
{
    struct pair *a = NULL;
    uintptr_t at;

    start_without_threads();
    GC_FRAME(a);
    a = gc_alloc(&pair_type);
    gc_write(&a->left, (struct pair *)gc_alloc(&pair_type));
    at = ~(uintptr_t)a->left;
    cr_assert_eq(gc_finalizer_set(a, ignore_object, NULL), GC_OK);
    a = NULL;
    gc_collect(NULL);
    expect_path((void *)~at, "a callback that is due\nstruct pair at ", "its word at +0\n");
    cr_expect_eq(gc_run_cleanups(NULL, 10), 1);
    GC_FRAME_END;
    gc_shutdown();
}

Test(why, items_of_pools_are_named)
{
    gc_pool_options opt = { .type = &pair_type, .name = "pairs" };
    struct pair *item[200];
    uintptr_t at[200];
    gc_pool *pool;
    char want[100];

    start_without_threads();
    pool = gc_pool_create(NULL, &opt);
    cr_assert_not_null(pool, "%s", gc_last_error());
    memset(item, 0, sizeof(item));
    GC_FRAME(item);
    for (int i = 0; i < 200; i++)
        item[i] = gc_pool_get(pool);
    for (int i = 0; i < 200; i++) {
        at[i] = ~(uintptr_t)item[i];
        gc_pool_put(pool, item[i]);
        item[i] = NULL;
    }
    snprintf(want, sizeof(want), "an item of a pool that thread %d keeps\n", (int)gettid());
    expect_path((void *)~at[0], want, "struct pair at ");
    snprintf(want, sizeof(want), "the pool pairs, %#lx\n", (unsigned long)pool);
    expect_path((void *)~at[199], want, "struct pair at ");
    gc_pool_destroy(pool);
    GC_FRAME_END;
    gc_shutdown();
}

/* ---- ephemerons ---- */

/* Nothing but the ephemeron holds the value. */
static gc_ephemeron *
pair_up(void *key, void *value, uintptr_t *at)
{
    *at = ~(uintptr_t)value;
    return gc_ephemeron_new(key, value);
}

Test(why, a_value_is_kept_by_its_key)
{
    struct pair *key = NULL;
    char want[200];
    uintptr_t value;

    start_precise();
    GC_FRAME(key);
    key = gc_alloc(&pair_type);
    gc_write(&key->left, (void *)pair_up(key, gc_alloc(&pair_type), &value));
    gc_write(&global, key);
    snprintf(want, sizeof(want), "its word at +8 (value, whose key lives)\nstruct pair at %#lx\n",
            (unsigned long)~value);
    expect_path((void *)~value, "a root range, word at ", want);
    gc_collect(NULL);
    expect_path((void *)~value, "a root range, word at ", want);
    gc_write(&global, NULL);
    GC_FRAME_END;
    gc_shutdown();
}

/* Reached last to first, or first to last: either way each key but one is another's value. */
Test(why, ephemerons_are_followed_in_any_order)
{
    enum { LINKS = 100 };
    void **all = NULL, **keys = NULL;
    uintptr_t value[LINKS];

    for (int up = 0; up < 2; up++) {
        start_precise();
        GC_FRAME(all, keys);
        all = gc_alloc_array(&gc_pointer_type, LINKS);
        keys = gc_alloc_array(&gc_pointer_type, LINKS + 1);
        for (int i = 0; i <= LINKS; i++)
            gc_write(&keys[i], gc_alloc(&pair_type));
        for (int i = 0; i < LINKS; i++)
            gc_write(&all[up ? i : LINKS - 1 - i],
                    (void *)pair_up(keys[i], keys[i + 1], &value[i]));
        gc_write(&global, keys[0]);
        keys = NULL;
        gc_collect(NULL);
        for (int i = 0; i < LINKS; i += 33)
            expect_path((void *)~value[i], "the stack of thread ", "(value, whose key lives)\n");
        gc_write(&global, NULL);
        GC_FRAME_END;
        gc_shutdown();
    }
}

Test(why, a_value_without_its_key_is_not_found)
{
    struct text t = { .n = 0 };
    gc_sink sink = { take, &t };
    gc_ephemeron *e = NULL;
    uintptr_t value;

    start_precise();
    GC_FRAME(e);
    e = pair_up(gc_alloc(&pair_type), gc_alloc(&pair_type), &value);
    expect_path(e, "the stack of thread ", "gc_ephemeron at ");
    cr_expect_eq(gc_why_alive(NULL, (void *)~value, &sink), GC_ERR_NOTFOUND, "%s", t.bytes);
    GC_FRAME_END;
    gc_shutdown();
}

Test(why, a_value_of_a_weak_map_is_kept)
{
    struct pair *key = NULL;
    gc_weak_map *map = NULL;
    uintptr_t value;

    start_precise();
    GC_FRAME(key, map);
    key = gc_alloc(&pair_type);
    map = gc_weak_map_new(0);
    value = ~(uintptr_t)gc_alloc(&pair_type);
    gc_weak_map_set(map, key, (void *)~value);
    gc_collect(NULL);
    expect_path((void *)~value, "the stack of thread ", "(value, whose key lives)\n");
    GC_FRAME_END;
    gc_shutdown();
}

/* ---- names ---- */

Test(why, the_object_is_named_last_however_long_the_names)
{
    static char name[300];
    const gc_field field = { 0, sizeof(void *) };
    gc_type_spec spec = { .name = name, .size = 16, .form = GC_FORM_FIELDS, .fields = &field,
        .nfields = 1 };
    void **a = NULL, **last = NULL;
    const gc_type *type;
    char want[100];

    memset(name, 'v', sizeof(name) - 1);
    start_precise();
    GC_FRAME(a, last);
    cr_assert_eq(gc_type_create(NULL, &spec, &type), GC_OK, "%s", gc_last_error());
    for (int i = 0; i < 20; i++) {
        a = gc_alloc(type);
        last = last == NULL ? a : last;
        gc_write(a, global);
        gc_write(&global, (void *)a);
    }
    snprintf(want, sizeof(want), "vvv... at %#lx\n", (unsigned long)last);
    expect_path(last, "a root range, word at ", want);
    gc_write(&global, NULL);
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
