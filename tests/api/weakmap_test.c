/* SPDX-License-Identifier: MIT */
/*
 * Weak maps: against a model of plain arrays, through growth, removal and death.  Threads are
 * precise, so what is not in `roots` is not held.
 */
#define KEYS          4000
#define MODEKIT_ROOTS (KEYS + 16)
#define MAP           ((gc_weak_map *)roots[KEYS])
#define TEMP          KEYS + 1

#include "fatal.h"
#include "modekit.h"

#include <pthread.h>

static void
make_map(void)
{
    gc_write(&roots[KEYS], gc_weak_map_new(0));
}

/* An entry for key i whose value has the number, and refers back to the key. */
static void
put(size_t i, uint64_t number)
{
    gc_write(&make(TEMP, number)->next, roots[i]);
    gc_weak_map_set(MAP, roots[i], roots[TEMP]);
    gc_write(&roots[TEMP], NULL);
}

static uint64_t
get(size_t i)
{
    const struct node *n = gc_weak_map_get(MAP, roots[i]);

    return n == NULL ? 0 : n->number;
}

/* The entries that an iteration sees; their values' numbers go into *sum. */
static size_t
count_entries(uint64_t *sum)
{
    size_t cursor = 0, n = 0;
    void *key, *value;

    for (*sum = 0; gc_weak_map_next(MAP, &cursor, &key, &value); n++) {
        cr_assert_eq(((struct node *)value)->next, key);
        *sum += ((struct node *)value)->number;
    }
    return n;
}

IN_BOTH_MODES(weakmap, what_is_put_is_found_until_it_is_removed, make_map)
{
    uint64_t sum;

    for (size_t i = 0; i < KEYS; i++) {
        make(i, i);
        cr_assert_null(gc_weak_map_get(MAP, roots[i]));
        put(i, i + 1);
        cr_assert_eq(get(i), i + 1);
    }
    for (size_t i = 0; i < KEYS; i += 2)
        put(i, i + 2);
    gc_collect(NULL);
    for (size_t i = 0; i < KEYS; i++)
        cr_assert_eq(get(i), i % 2 == 0 ? i + 2 : i + 1);
    cr_assert_eq(gc_weak_map_size(MAP), KEYS);
    for (size_t i = 0; i < KEYS; i += 3)
        cr_assert(gc_weak_map_remove(MAP, roots[i]));
    for (size_t i = 0; i < KEYS; i++)
        cr_assert_eq(get(i), i % 3 == 0 ? 0 : i % 2 == 0 ? i + 2 : i + 1);
    cr_assert_not(gc_weak_map_remove(MAP, roots[0]));
    cr_assert_eq(count_entries(&sum), KEYS - (KEYS + 2) / 3);
    cr_assert_eq(gc_weak_map_size(MAP), KEYS - (KEYS + 2) / 3);
    cr_assert_null(gc_weak_map_get(MAP, NULL));
    cr_assert_null(gc_weak_map_get(MAP, &sum));
}

IN_BOTH_MODES(weakmap, entries_die_with_their_keys_and_with_the_map, make_map)
{
    uint64_t sum;

    for (size_t i = 0; i < KEYS; i++) {
        make(i, i);
        put(i, i + 1);
    }
    for (size_t i = 0; i < KEYS; i++)
        if (i % 10 != 0)
            gc_write(&roots[i], NULL);
    gc_collect(NULL);
    cr_assert_eq(count_entries(&sum), KEYS / 10);
    for (size_t i = 0; i < KEYS; i += 10)
        cr_assert_eq(get(i), i + 1);
    gc_write(&roots[KEYS], NULL);
    gc_collect(NULL);
    cr_assert_eq(t_heap_objects(NULL), KEYS / 10);
}

/* Each key lives for 100 others. */
IN_BOTH_MODES(weakmap, a_map_through_which_much_passes_stays_small, make_map)
{
    uint64_t passed = 200000, before;

    before = t_heap_objects(NULL);
    for (uint64_t i = 0; i < passed; i++) {
        make(i % 100, i);
        put(i % 100, i + 1);
        if (i % 5000 == 0)
            gc_collect(NULL);
    }
    gc_collect(NULL);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(get(i), passed - 100 + i + 1);
    gc_collect(NULL);
    /* 5100 entries live between two cycles: twice as many slots are the most that it needs */
    cr_assert_lt(gc_usable_size(*(void **)roots[KEYS]), 3 * 16384 * 8);
    cr_assert_lt(t_heap_objects(NULL) - before, 3 * 16384);
}

/* Each key at a place of its own, so that the table fills up once more. */
IN_BOTH_MODES(weakmap, a_map_that_has_lost_all_becomes_small, make_map)
{
    for (size_t i = 0; i < KEYS; i++) {
        make(i, i);
        put(i, i + 1);
    }
    cr_assert_gt(gc_usable_size(*(void **)roots[KEYS]), KEYS * sizeof(void *));
    for (size_t i = 0; i < KEYS; i++)
        cr_assert(gc_weak_map_remove(MAP, roots[i]));
    for (size_t i = 0; i < 3 * KEYS; i++) {
        struct node *key = make(KEYS + 2, i);

        gc_write(&key->next, roots[i % KEYS]);
        gc_write(&roots[i % KEYS], key);
        put(i % KEYS, i);
        cr_assert(gc_weak_map_remove(MAP, roots[i % KEYS]));
    }
    cr_assert_lt(gc_usable_size(*(void **)roots[KEYS]), KEYS * sizeof(void *) / 4);
}

/* Older entries are found, removed and put again while the newest make the table grow. */
IN_BOTH_MODES(weakmap, old_entries_are_there_while_the_table_is_replaced, make_map)
{
    for (size_t i = 0; i < KEYS; i++) {
        size_t older = i * 7919 % (i + 1);

        make(i, i);
        put(i, i + 1);
        cr_assert_eq(get(older), older + 1, "%zu of %zu", older, i);
        older = older * 31 % (i + 1);
        cr_assert(gc_weak_map_remove(MAP, roots[older]), "%zu of %zu", older, i);
        cr_assert_eq(get(older), 0, "%zu of %zu", older, i);
        put(older, older + 1);
    }
    cr_assert_eq(gc_weak_map_size(MAP), KEYS);
}

IN_BOTH_MODES(weakmap, an_iteration_leaves_none_out_while_the_table_is_rebuilt, make_map)
{
    static bool seen[KEYS];
    size_t cursor = 0, made = 500;
    void *key, *value;

    for (size_t i = 0; i < 500; i++) {
        make(i, i);
        put(i, i);
    }
    memset(seen, 0, sizeof(seen));
    while (gc_weak_map_next(MAP, &cursor, &key, &value)) {
        seen[((struct node *)key)->number] = true;
        for (int n = 0; n < 3 && made < KEYS; n++, made++) {
            make(made, made);
            put(made, made);
        }
    }
    for (size_t i = 0; i < 500; i++)
        cr_assert(seen[i], "%zu", i);
}

static volatile bool growing;

/* What lives all the time is seen in every pass, whatever another thread does to the tables. */
static void *
grow_and_shrink(void *arg)
{
    T_OK(gc_thread_attach_precise(NULL));
    for (int round = 0; round < 6; round++) {
        for (size_t i = 500; i < KEYS; i++) {
            make(i, i);
            put(i, i);
        }
        for (size_t i = 500; i < KEYS; i++)
            cr_assert(gc_weak_map_remove(MAP, roots[i]));
    }
    growing = false;
    gc_thread_detach();
    return arg;
}

IN_BOTH_MODES(weakmap, an_iteration_leaves_none_out_while_a_thread_rebuilds_the_table, make_map)
{
    static bool seen[KEYS];
    pthread_t thread;
    int passes = 0;

    for (size_t i = 0; i < 500; i++) {
        make(i, i);
        put(i, i);
    }
    growing = true;
    cr_assert_eq(pthread_create(&thread, NULL, grow_and_shrink, NULL), 0);
    for (bool last = false; !last; passes++) {
        size_t cursor = 0;
        void *key, *value;

        last = !growing;
        memset(seen, 0, sizeof(seen));
        while (gc_weak_map_next(MAP, &cursor, &key, &value))
            seen[((struct node *)value)->number] = true;
        for (size_t i = 0; i < 500; i++)
            cr_assert(seen[i], "%zu in pass %d", i, passes);
    }
    GC_BLOCKING { pthread_join(thread, NULL); }
}

/* ---- threads ---- */

#define THREADS 3
#define ROUNDS  4000

static void *
write_and_read(void *arg)
{
    size_t me = (size_t)(uintptr_t)arg;

    T_OK(gc_thread_attach_precise(NULL));
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t i = round % 97;
        struct node *n = gc_weak_map_get(MAP, roots[i]);

        cr_assert(n == NULL || n->next == roots[i]);
        if (round % THREADS == me) {
            struct node *value = gc_alloc(&node_type);

            value->next = roots[i];
            gc_weak_map_set(MAP, roots[i], value);
        } else if (round % 31 == me) {
            (void)gc_weak_map_remove(MAP, roots[i]);
        }
        if (round % 1000 == 999 && me == 0)
            gc_collect(NULL);
    }
    gc_thread_detach();
    return NULL;
}

IN_BOTH_MODES(weakmap, threads_may_share_a_map, make_map)
{
    pthread_t threads[THREADS];
    uint64_t sum;

    for (size_t i = 0; i < 97; i++)
        make(i, i);
    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_and_read, (void *)i), 0);
    gc_block_enter();
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    gc_block_leave();
    cr_assert_eq(gc_weak_map_size(MAP), count_entries(&sum));
}

/* ---- misuse ---- */

static void
get_of(void *p)
{
    GC_KEEP_ALIVE(gc_weak_map_get(p, p));
}

static void
set_key(void *key)
{
    gc_weak_map_set(MAP, key, MAP);
}

static void
set_null(void *key)
{
    gc_weak_map_set(MAP, key, NULL);
}

static void
next_of_nothing(void *p)
{
    (void)gc_weak_map_next(p, NULL, NULL, NULL);
}

Test(weakmap, misuse_is_named)
{
    int local = 0;

    begin_in_mode(GC_MODE_CONCURRENT, make_map);
    make(0, 1);
    expect_fatal(get_of, NULL, "gc_weak_map_get|no weak map");
    expect_fatal(get_of, roots[0], "gc_weak_map_get|no weak map");
    expect_fatal(set_key, NULL, "gc_weak_map_set|key|no object");
    expect_fatal(set_key, &local, "gc_weak_map_set|key|no object");
    expect_fatal(set_null, roots[0], "gc_weak_map_set|value is NULL");
    expect_fatal(next_of_nothing, MAP, "gc_weak_map_next|NULL");
    cr_assert_null(gc_try_weak_map_new(SIZE_MAX));
    cr_assert_eq(gc_try_weak_map_set(MAP, &local, roots[0]), GC_ERR_INVAL);
    cr_assert_not_null(strstr(gc_last_error(), "gc_try_weak_map_set: key"), "%s", gc_last_error());
    cr_assert_eq(gc_try_weak_map_set(MAP, roots[0], NULL), GC_ERR_INVAL);
    cr_assert_not_null(strstr(gc_last_error(), "value is NULL"), "%s", gc_last_error());
    cr_assert_eq(gc_weak_map_size(MAP), 0, "unchanged");
    end_of_mode();
}
