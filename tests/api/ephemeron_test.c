/* SPDX-License-Identifier: MIT */
/*
 * Ephemerons: a value lives exactly as long as ephemeron and key do.  All threads are precise,
 * so what is not in `roots` is not held, and one cycle is enough; each test runs with marking
 * concurrent, and with everybody stopped.
 */
#define CHAIN         100000
#define MODEKIT_ROOTS (CHAIN + 16)

#include "fatal.h"
#include "modekit.h"

static void
drop(size_t root)
{
    gc_write(&roots[root], NULL);
}

static void
pair(size_t root, size_t key, size_t value)
{
    gc_write(&roots[root], gc_ephemeron_new(roots[key], value == SIZE_MAX ? NULL : roots[value]));
}

static uint64_t
number_of(size_t ephemeron)
{
    const struct node *n = gc_ephemeron_value(roots[ephemeron]);

    return n == NULL ? 0 : n->number;
}

/* ---- life ---- */

IN_BOTH_MODES(ephemeron, a_value_lives_as_long_as_its_key, NULL)
{
    make(0, 1);
    make(1, 2);
    pair(2, 0, 1);
    drop(1);
    for (int i = 0; i < 3; i++) {
        gc_collect(NULL);
        cr_assert_eq(gc_ephemeron_key(roots[2]), roots[0]);
        cr_assert_eq(number_of(2), 2);
    }
    cr_assert_eq(t_heap_objects(NULL), 3);
    drop(0);
    gc_collect(NULL);
    cr_assert_null(gc_ephemeron_key(roots[2]));
    cr_assert_null(gc_ephemeron_value(roots[2]));
    cr_assert_eq(t_heap_objects(NULL), 1);
}

IN_BOTH_MODES(ephemeron, a_value_does_not_keep_its_key, NULL)
{
    make(0, 1);
    make(1, 2)->next = roots[0]; /* the value refers to the key */
    pair(2, 0, 1);
    drop(0);
    drop(1);
    gc_collect(NULL);
    cr_assert_null(gc_ephemeron_key(roots[2]));
    cr_assert_eq(t_heap_objects(NULL), 1);
}

IN_BOTH_MODES(ephemeron, an_ephemeron_dies_with_nobody_to_hold_it, NULL)
{
    make(0, 1);
    make(1, 2);
    pair(2, 0, 1);
    drop(1);
    drop(2);
    gc_collect(NULL);
    cr_assert_eq(t_heap_objects(NULL), 1);
}

IN_BOTH_MODES(ephemeron, a_value_may_be_the_key_or_the_ephemeron, NULL)
{
    make(0, 1);
    pair(1, 0, 0);
    pair(2, 0, 1);
    gc_ephemeron_set_value(roots[1], roots[2]);
    drop(2);
    gc_collect(NULL);
    cr_assert_eq(t_heap_objects(NULL), 3);
    drop(0);
    gc_collect(NULL);
    cr_assert_eq(t_heap_objects(NULL), 1);
}

IN_BOTH_MODES(ephemeron, a_value_may_be_no_object, NULL)
{
    static int outside;

    make(0, 1);
    pair(1, 0, SIZE_MAX);
    cr_assert_null(gc_ephemeron_value(roots[1]));
    gc_ephemeron_set_value(roots[1], &outside);
    gc_collect(NULL);
    cr_assert_eq(gc_ephemeron_value(roots[1]), &outside);
    gc_ephemeron_set_value(roots[1], (void *)(uintptr_t)13);
    gc_collect(NULL);
    cr_assert_eq(gc_ephemeron_value(roots[1]), (void *)(uintptr_t)13);
    drop(0);
    gc_collect(NULL);
    gc_ephemeron_set_value(roots[1], &outside); /* too late: nothing to be seen */
    cr_assert_null(gc_ephemeron_value(roots[1]));
}

IN_BOTH_MODES(ephemeron, a_key_may_be_inside_large_or_tiny, NULL)
{
    char *big = gc_alloc_array(&gc_pointer_type, 100000), *tiny;

    gc_write(&roots[0], big);
    tiny = gc_alloc_bytes(3);
    gc_write(&roots[1], tiny);
    make(2, 7);
    gc_write(&roots[3], gc_ephemeron_new((char *)roots[0] + 4096, roots[2]));
    gc_write(&roots[4], gc_ephemeron_new(roots[1], roots[2]));
    drop(2);
    gc_collect(NULL);
    cr_assert_eq(gc_ephemeron_key(roots[3]), (char *)roots[0] + 4096);
    cr_assert_eq(gc_ephemeron_key(roots[4]), roots[1]);
    drop(0);
    gc_collect(NULL);
    cr_assert_null(gc_ephemeron_key(roots[3]));
    cr_assert_eq(number_of(4), 7);
    drop(1);
    gc_collect(NULL);
    cr_assert_null(gc_ephemeron_key(roots[4]));
    cr_assert_eq(t_heap_objects(NULL), 2);
}

IN_BOTH_MODES(ephemeron, many_ephemerons_may_have_one_key, NULL)
{
    make(0, 1);
    for (size_t i = 0; i < 1000; i++) {
        make(1, i + 1);
        pair(2 + i, 0, 1);
    }
    drop(1);
    gc_collect(NULL);
    for (size_t i = 0; i < 1000; i++)
        cr_assert_eq(number_of(2 + i), i + 1);
    drop(0);
    gc_collect(NULL);
    cr_assert_eq(t_heap_objects(NULL), 1000);
}

/* ---- chains ---- */

/* Marked in one of the two orders, each ephemeron is filed before its key is found. */
IN_BOTH_MODES(ephemeron, a_chain_is_followed_in_any_order, NULL)
{
    for (int backwards = 0; backwards < 2; backwards++) {
        size_t n = 0;

        memset(roots, 0, sizeof(roots));
        gc_collect(NULL);
        make(CHAIN + 1, 1);
        make(CHAIN + 2, 1);
        for (size_t i = 0; i < CHAIN; i++) { /* the value of each is the key of the next */
            struct node *next = make(CHAIN + 3, i + 2);
            gc_ephemeron *e = gc_ephemeron_new(i == 0 ? roots[CHAIN + 1] : roots[CHAIN + 2], next);

            gc_write(&roots[backwards ? CHAIN - 1 - i : i], e);
            gc_write(&roots[CHAIN + 2], roots[CHAIN + 3]);
        }
        drop(CHAIN + 2);
        drop(CHAIN + 3);
        gc_collect(NULL);
        cr_assert_eq(((struct node *)roots[CHAIN + 1])->number, 1);
        for (size_t i = 0; i < CHAIN; i++)
            n += number_of(backwards ? CHAIN - 1 - i : i) == i + 2;
        cr_assert_eq(n, CHAIN);
        drop(CHAIN + 1);
        gc_collect(NULL);
        cr_assert_eq(t_heap_objects(NULL), CHAIN);
    }
}

/* ---- misuse ---- */

static void
new_for(void *key)
{
    GC_KEEP_ALIVE(gc_ephemeron_new(key, NULL));
}

static void
key_of(void *p)
{
    GC_KEEP_ALIVE(gc_ephemeron_key(p));
}

static void
value_of(void *p)
{
    GC_KEEP_ALIVE(gc_ephemeron_value(p));
}

static void
set_value_of(void *p)
{
    gc_ephemeron_set_value(p, NULL);
}

Test(ephemeron, bad_keys_and_bad_ephemerons_are_named)
{
    int local = 0;

    begin_in_mode(GC_MODE_CONCURRENT, NULL);
    make(0, 1);
    expect_fatal(new_for, NULL, "gc_ephemeron_new|no object");
    expect_fatal(new_for, &local, "gc_ephemeron_new|no object");
    expect_fatal(new_for, (void *)(uintptr_t)7, "gc_ephemeron_new|0x7|no object");
    expect_fatal(key_of, NULL, "gc_ephemeron_key|no ephemeron");
    expect_fatal(value_of, roots[0], "gc_ephemeron_value|no ephemeron");
    expect_fatal(set_value_of, &local, "gc_ephemeron_set_value|no ephemeron");
    cr_assert_null(gc_try_ephemeron_new(&local, NULL));
    cr_assert(strstr(gc_last_error(), "no object") != NULL, "%s", gc_last_error());
    end_of_mode();
}
