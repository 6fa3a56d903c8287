/* SPDX-License-Identifier: MIT */
/*
 * Purpose: pools as docs/pools.md says: what get gives, how long an item stays, bounds,
 * reset and drop, statistics, buffers, and the lines that misuse ends in.
 *
 * Place: public interface only.
 */

#define _GNU_SOURCE

#include <criterion/criterion.h>

#include "fatal.h"
#include "heapkit.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct item {
    struct item *link;
    long value;
};

GC_TYPE(item_type, struct item, link);

static long made, was_reset, was_dropped, drops_in_order;
static pthread_t dropper;

static void *
count_made(void *arg)
{
    struct item *item = gc_alloc(&item_type);

    item->value = *(long *)arg;
    made++;
    return item;
}

static void
count_reset(void *item, void *arg)
{
    (void)arg;
    ((struct item *)item)->value = -1;
    was_reset++;
}

static void
count_dropped(void *item, void *arg)
{
    (void)arg;
    drops_in_order += ((struct item *)item)->link != NULL;
    __atomic_add_fetch(&was_dropped, 1, __ATOMIC_SEQ_CST);
    dropper = pthread_self();
}

static void
begin(gc_options *opt)
{
    opt->debug_clobberfree = 1;
    opt->periodic_ms = 0;
    T_OK(gc_init(opt));
}

static void
start(void)
{
    gc_options opt;

    gc_options_default(&opt);
    begin(&opt);
}

static gc_pool *
create(const gc_pool_options *opt)
{
    gc_pool *pool = gc_pool_create(NULL, opt);

    cr_assert_not_null(pool, "%s", gc_last_error());
    return pool;
}

static gc_pool *
plain_pool(void)
{
    return create(&(gc_pool_options){ .name = "plain", .type = &item_type });
}

static gc_pool_stats
stats_of(const gc_pool *pool)
{
    gc_pool_stats s;

    gc_pool_get_stats(pool, &s);
    return s;
}

/* So many items, with values from 0 on; none of them stays in a register here. */
static __attribute__((noinline)) void
fill(gc_pool *pool, long n)
{
    for (long i = 0; i < n; i++) {
        struct item *item = gc_alloc(&item_type);

        item->value = i;
        item->link = item;
        gc_pool_put(pool, item);
    }
}

/* Takes until there is nothing; how many there were.  The pool's items are from fill. */
static __attribute__((noinline)) long
drain(gc_pool *pool)
{
    for (long n = 0;; n++) {
        struct item *item = gc_pool_get(pool);

        if (item->link == NULL)
            return n;
        cr_assert_eq(item->link, item, "an item has lost its content");
    }
}

Test(pool, get_makes_a_zeroed_item_when_there_is_none)
{
    gc_pool *pool;
    struct item *item;

    start();
    pool = plain_pool();
    item = gc_pool_get(pool);
    cr_assert_not_null(item);
    cr_expect(item->link == NULL && item->value == 0);
    cr_expect_eq(stats_of(pool).misses, 1);
    gc_pool_destroy(pool);
    gc_shutdown();
}

Test(pool, what_was_put_comes_back_as_it_was)
{
    gc_pool *pool;
    struct item *a, *b, *first, *second;

    start();
    pool = plain_pool();
    a = gc_pool_get(pool);
    b = gc_pool_get(pool);
    a->value = 1;
    b->value = 2;
    gc_pool_put(pool, a);
    gc_pool_put(pool, b);
    first = gc_pool_get(pool);
    second = gc_pool_get(pool);
    cr_expect((first == a && second == b) || (first == b && second == a));
    cr_expect(a->value == 1 && b->value == 2);
    cr_expect_eq(stats_of(pool).hits, 2);
    gc_pool_destroy(pool);
    gc_shutdown();
}

Test(pool, null_is_not_put)
{
    gc_pool *pool;

    start();
    pool = plain_pool();
    gc_pool_put(pool, NULL);
    cr_expect_eq(stats_of(pool).items, 0);
    cr_expect_not_null(gc_pool_get(pool));
    gc_pool_destroy(pool);
    gc_shutdown();
}

Test(pool, many_more_than_a_rack_come_back_each_once)
{
    gc_pool *pool;

    start();
    gc_set_gogc(NULL, GC_GOGC_OFF);
    pool = plain_pool();
    fill(pool, 5000);
    cr_expect_eq(stats_of(pool).items, 5000);
    cr_expect_eq(stats_of(pool).bytes, 5000 * sizeof(struct item));
    cr_expect_eq(drain(pool), 5000);
    cr_expect_eq(stats_of(pool).items, 0);
    cr_expect_eq(stats_of(pool).hits + stats_of(pool).shared_hits, 5000);
    gc_pool_destroy(pool);
    gc_shutdown();
}

/* ---- cycles ---- */

static void
check_lives(int mode)
{
    gc_options opt;
    gc_pool *pool;

    gc_options_default(&opt);
    if (mode == 1)
        opt.mode = GC_MODE_STW;
    opt.precise_stacks = mode == 2;
    opt.debug_wbcheck = mode == 3;
    opt.debug_checkmark = 1;
    opt.debug_verify = 2;
    begin(&opt);
    gc_set_gogc(NULL, GC_GOGC_OFF);
    pool = plain_pool();
    fill(pool, 1000);
    gc_collect(NULL); /* they are victims now */
    cr_expect_eq(stats_of(pool).items, 1000);
    cr_expect_eq(drain(pool), 1000, "the first cycle has cost items");
    cr_expect_gt(stats_of(pool).victim_hits, 0);
    fill(pool, 1000);
    gc_collect(NULL);
    gc_collect(NULL);
    cr_expect_eq(stats_of(pool).items, 0);
    cr_expect_eq(stats_of(pool).dropped, 1000);
    cr_expect_eq(drain(pool), 0);
    t_collect_twice(NULL);
    /* A stale word may hold a few; a rack or ring that is scanned too long would hold most. */
    cr_expect_lt(t_heap_objects(NULL), 100);
    gc_pool_destroy(pool);
    t_verify(NULL);
    gc_shutdown();
}

Test(pool, items_live_through_one_cycle_and_not_two)
{
    check_lives(0);
}

Test(pool, so_they_do_without_barriers)
{
    check_lives(1);
}

Test(pool, so_they_do_with_precise_threads)
{
    check_lives(2);
}

Test(pool, so_they_do_under_wbcheck)
{
    check_lives(3);
}

/* ---- threads ---- */

static void *
put_some(void *arg)
{
    fill(arg, 600);
    return NULL;
}

Test(pool, a_thread_takes_what_another_one_put_and_left)
{
    gc_pool *pool;
    pthread_t thread;

    start();
    gc_set_gogc(NULL, GC_GOGC_OFF);
    pool = plain_pool();
    gc_pool_put(pool, gc_pool_get(pool)); /* this thread's P has a part */
    GC_KEEP_ALIVE(gc_pool_get(pool));
    T_OK(gc_pthread_create(&thread, NULL, put_some, pool));
    GC_BLOCKING { pthread_join(thread, NULL); }
    cr_expect_geq(drain(pool), 600 - GC_IMPL_RACK_SLOTS); /* all but its own rack */
    cr_expect_gt(stats_of(pool).stolen, 0);
    gc_pool_destroy(pool);
    gc_shutdown();
}

/* The P of a thread that is gone turns, too. */
Test(pool, what_a_thread_left_behind_is_gone_after_two_cycles)
{
    gc_pool *pool;
    pthread_t thread;

    start();
    pool = plain_pool();
    T_OK(gc_pthread_create(&thread, NULL, put_some, pool));
    GC_BLOCKING { pthread_join(thread, NULL); }
    cr_expect_gt(stats_of(pool).items, 0);
    gc_collect(NULL);
    gc_collect(NULL);
    cr_expect_eq(stats_of(pool).items, 0);
    gc_pool_destroy(pool);
    gc_shutdown();
}

Test(pool, a_forked_child_has_the_items)
{
    gc_pool *pool;
    pid_t pid;
    int status = -1;

    start();
    gc_set_gogc(NULL, GC_GOGC_OFF);
    pool = plain_pool();
    fill(pool, 300);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        long n = drain(pool);

        fill(pool, 100);
        gc_collect(NULL);
        gc_collect(NULL);
        _exit(n == 300 && stats_of(pool).items == 0 ? 0 : 1);
    }
    GC_BLOCKING { waitpid(pid, &status, 0); }
    cr_expect_eq(status, 0);
    cr_expect_eq(drain(pool), 300);
    gc_pool_destroy(pool);
    gc_shutdown();
}

/* ---- the host's functions ---- */

Test(pool, make_and_reset_are_called_and_get_their_argument)
{
    long tag = 42;
    gc_pool *pool;
    struct item *item;

    start();
    pool = create(&(gc_pool_options){ .type = &item_type, .make = count_made,
            .reset = count_reset, .arg = &tag });
    item = gc_pool_get(pool);
    cr_expect(made == 1 && item->value == 42);
    gc_pool_put(pool, item);
    cr_expect(was_reset == 1 && item->value == -1);
    cr_expect_eq(gc_pool_get(pool), item);
    cr_expect_eq(made, 1);
    gc_pool_destroy(pool);
    gc_shutdown();
}

static void
check_drops(uint32_t threads)
{
    gc_options opt;
    gc_pool *pool;

    gc_options_default(&opt);
    opt.cleanup_threads = threads;
    begin(&opt);
    pool = create(&(gc_pool_options){ .type = &item_type, .drop = count_dropped });
    fill(pool, 100);
    gc_collect(NULL);
    cr_expect_eq(__atomic_load_n(&was_dropped, __ATOMIC_SEQ_CST), 0);
    gc_collect(NULL);
    while (__atomic_load_n(&was_dropped, __ATOMIC_SEQ_CST) < 100) {
        if (threads == 0)
            cr_assert_gt(gc_run_cleanups(NULL, 10), 0);
        else
            t_sleep_us(100);
    }
    cr_expect_eq(pthread_equal(dropper, pthread_self()) != 0, threads == 0);
    fill(pool, 50);
    gc_pool_destroy(pool);
    cr_expect_eq(was_dropped, 150);
    cr_expect(pthread_equal(dropper, pthread_self()));
    cr_expect_eq(drops_in_order, 150, "an item was dead when it was dropped");
    gc_shutdown();
}

Test(pool, drop_runs_on_a_thread_of_the_library, .timeout = 60)
{
    check_drops(1);
}

Test(pool, drop_runs_where_the_host_says, .timeout = 60)
{
    check_drops(0);
}

/* ---- bounds ---- */

Test(pool, it_never_holds_more_than_its_bound)
{
    gc_pool *pool;

    start();
    gc_set_gogc(NULL, GC_GOGC_OFF);
    for (size_t max = 1; max <= 300; max = max * 3 + 1) {
        pool = create(&(gc_pool_options){ .type = &item_type, .max_items = max,
                .drop = count_dropped });
        was_dropped = 0;
        fill(pool, 1000);
        cr_expect_leq(stats_of(pool).items, max);
        cr_expect_geq(stats_of(pool).items, max / 4, "%zu allowed, %zu held", max,
                (size_t)stats_of(pool).items);
        cr_expect_eq(stats_of(pool).items + stats_of(pool).refused, 1000);
        cr_expect_eq((uint64_t)was_dropped, stats_of(pool).refused);
        gc_pool_destroy(pool);
        cr_expect_eq(was_dropped, 1000);
    }
    gc_shutdown();
}

Test(pool, a_bound_in_bytes_counts_slots)
{
    gc_pool *pool;

    start();
    pool = create(&(gc_pool_options){ .item_bytes = 1000, .max_bytes = 10 * 1024 });
    for (int i = 0; i < 100; i++)
        gc_pool_put(pool, gc_alloc_bytes(1000));
    cr_expect_leq(stats_of(pool).bytes, 10 * 1024);
    cr_expect_geq(stats_of(pool).bytes, 1024);
    gc_pool_destroy(pool);
    gc_shutdown();
}

/* Above a limit that cannot be kept every cycle lets go of everything. */
Test(pool, near_the_memory_limit_one_cycle_is_enough)
{
    gc_options opt;
    gc_pool *pool;
    char *ballast[64];

    gc_options_default(&opt);
    opt.memory_limit = (int64_t)64 << 20;
    begin(&opt);
    for (int i = 0; i < 64; i++)
        ballast[i] = gc_alloc_bytes((size_t)1 << 20);
    gc_collect(NULL);
    pool = plain_pool();
    fill(pool, 500);
    gc_collect(NULL);
    cr_expect_eq(stats_of(pool).items, 0);
    cr_expect_eq(stats_of(pool).dropped, 500);
    GC_KEEP_ALIVE(ballast[63]);
    gc_pool_destroy(pool);
    gc_shutdown();
}

static void *
fill_all(void *arg)
{
    fill(arg, 200);
    return NULL;
}

/* All places of all threads together, and what cycles put aside. */
Test(pool, all_threads_together_hold_no_more_than_the_bound)
{
    enum { THREADS = 5, MAX = 300 };
    gc_pool *pool;
    pthread_t thread;

    start();
    gc_set_gogc(NULL, GC_GOGC_OFF);
    pool = create(&(gc_pool_options){ .type = &item_type, .max_items = MAX });
    for (int i = 0; i < THREADS; i++) {
        fill(pool, 200);
        cr_expect_leq(stats_of(pool).items, MAX);
        T_OK(gc_pthread_create(&thread, NULL, fill_all, pool));
        GC_BLOCKING { pthread_join(thread, NULL); }
        cr_expect_leq(stats_of(pool).items, MAX);
        if (i == 2)
            gc_collect(NULL);
    }
    cr_expect_geq(stats_of(pool).items, MAX / 4);
    gc_pool_destroy(pool);
    gc_shutdown();
}

/* ---- statistics ---- */

static uint64_t
metric(const char *name)
{
    gc_metric_sample s = { .name = name };

    T_OK(gc_metrics_read(NULL, &s, 1));
    return s.value.u64;
}

Test(pool, metrics_go_on_when_a_pool_has_ended)
{
    gc_pool *pool;

    start();
    gc_set_gogc(NULL, GC_GOGC_OFF);
    for (int i = 0; i < 3; i++) {
        pool = plain_pool();
        cr_expect_eq(stats_of(pool).hits, 0, "a new pool begins with its predecessor's sums");
        gc_pool_put(pool, gc_pool_get(pool));
        fill(pool, GC_IMPL_HOT_ITEMS);
        cr_expect_eq(stats_of(pool).items, GC_IMPL_HOT_ITEMS + 1);
        cr_expect_eq(metric("/gc/pool/items:items"), 1); /* the others are the thread's */
        for (int k = 0; k <= GC_IMPL_HOT_ITEMS; k++)
            GC_KEEP_ALIVE(gc_pool_get(pool));
        gc_pool_destroy(pool);
    }
    cr_expect_eq(metric("/gc/pool/hits:gets"), 3 * (GC_IMPL_HOT_ITEMS + 1));
    cr_expect_eq(metric("/gc/pool/misses:gets"), 3);
    cr_expect_eq(metric("/gc/pool/items:items"), 0);
    gc_shutdown();
}

Test(pool, many_pools_at_once_do_not_mix)
{
    enum { N = 70 };
    gc_pool *pool[N];

    start();
    gc_set_gogc(NULL, GC_GOGC_OFF);
    for (int i = 0; i < N; i++) {
        pool[i] = plain_pool();
        fill(pool[i], i);
    }
    for (int i = 0; i < N; i++)
        cr_expect_eq(stats_of(pool[i]).items, (uint64_t)i);
    for (int i = 0; i < N; i += 2)
        gc_pool_destroy(pool[i]);
    for (int i = 1; i < N; i += 2)
        cr_expect_eq(drain(pool[i]), i);
    gc_shutdown();
}

/* ---- buffers ---- */

Test(pool, buffers_come_by_powers_of_two)
{
    gc_buffer_pool *pool;
    gc_pool_stats s;

    start();
    gc_set_gogc(NULL, GC_GOGC_OFF);
    pool = gc_buffer_pool_create(NULL, NULL);
    cr_assert_not_null(pool);
    for (size_t bytes = 1; bytes <= (size_t)1 << 20; bytes = bytes * 3 / 2 + 1) {
        char *buffer = gc_pool_get_buffer(pool, bytes);
        size_t usable = gc_usable_size(buffer);

        cr_expect(usable >= bytes && usable >= 256 && (usable & (usable - 1)) == 0);
        memset(buffer, 1, usable);
        gc_pool_put_buffer(pool, buffer);
        cr_expect_eq(gc_pool_get_buffer(pool, bytes), buffer);
        gc_pool_put_buffer(pool, buffer);
    }
    gc_buffer_pool_get_stats(pool, &s);
    cr_expect_eq(s.refused, 0);
    cr_expect_gt(s.hits, 0);
    gc_buffer_pool_destroy(pool);
    gc_shutdown();
}

Test(pool, buffers_of_other_sizes_are_not_kept)
{
    gc_buffer_pool *pool;
    gc_pool_stats s;
    char *large;

    start();
    pool = gc_buffer_pool_create(NULL,
            &(gc_buffer_pool_options){ .min_bytes = 64, .max_buffer = 4096 });
    cr_assert_not_null(pool);
    large = gc_pool_get_buffer(pool, 4097);
    cr_expect_geq(gc_usable_size(large), 4097);
    gc_pool_put_buffer(pool, large);
    gc_pool_put_buffer(pool, gc_alloc_bytes(48));
    gc_pool_put_buffer(pool, NULL);
    gc_buffer_pool_get_stats(pool, &s);
    cr_expect(s.items == 0 && s.refused == 2 && s.misses == 1);
    gc_buffer_pool_destroy(pool);
    gc_buffer_pool_destroy(NULL);
    gc_shutdown();
}

/* ---- what is refused ---- */

static void
expect_refused(const gc_pool_options *opt, const char *words)
{
    cr_expect_null(gc_pool_create(NULL, opt));
    cr_expect_not_null(strstr(gc_last_error(), words), "%s", gc_last_error());
}

Test(pool, bad_options_are_named)
{
    static const gc_type nonsense;

    expect_refused(&(gc_pool_options){ .type = &item_type }, "attached");
    start();
    expect_refused(NULL, "opt");
    expect_refused(&(gc_pool_options){ .name = "x" }, "item_bytes");
    expect_refused(&(gc_pool_options){ .type = &item_type, .item_bytes = 8 }, "item_bytes");
    expect_refused(&(gc_pool_options){ .type = &nonsense }, "gc_type");
    cr_expect_null(gc_buffer_pool_create(NULL, &(gc_buffer_pool_options){ .min_bytes = 100 }));
    cr_expect_not_null(strstr(gc_last_error(), "min_bytes"));
    cr_expect_null(gc_buffer_pool_create(NULL, &(gc_buffer_pool_options){ .max_buffer = 100 }));
    cr_expect_not_null(strstr(gc_last_error(), "max_buffer"));
    gc_pool_destroy(NULL);
    gc_shutdown();
}

FATAL(get_on_a_detached_thread, "gc_pool_get")
{
    gc_pool *pool;

    start();
    pool = plain_pool();
    gc_pool_put(pool, gc_pool_get(pool));
    gc_thread_detach();
    GC_KEEP_ALIVE(gc_pool_get(pool));
}

FATAL(put_in_a_blocking_region, "gc_pool_put")
{
    gc_pool *pool;
    struct item *item;

    start();
    pool = plain_pool();
    item = gc_pool_get(pool);
    gc_block_enter();
    gc_pool_put(pool, item);
}

FATAL(get_after_destroy, "destroyed")
{
    gc_pool *pool;

    start();
    pool = plain_pool();
    gc_pool_put(pool, gc_pool_get(pool));
    gc_pool_destroy(pool);
    GC_KEEP_ALIVE(gc_pool_get(pool));
}

FATAL(destroy_twice, "destroyed")
{
    gc_pool *pool;

    start();
    pool = plain_pool();
    gc_pool_destroy(pool);
    gc_pool_destroy(pool);
}

FATAL(another_heaps_pool, "another")
{
    gc_options opt;
    gc_heap *heap = NULL;
    gc_pool *pool;

    gc_options_default(&opt);
    start();
    pool = plain_pool();
    T_OK(gc_heap_create(&opt, &heap));
    gc_thread_detach();
    T_OK(gc_thread_attach(heap));
    GC_KEEP_ALIVE(gc_pool_get(pool));
}

static gc_pool *doomed;

static void
destroy_doomed(void *item, void *arg)
{
    (void)item, (void)arg;
    gc_pool_destroy(doomed);
}

FATAL(destroy_in_its_own_drop, "drop")
{
    gc_options opt;

    gc_options_default(&opt);
    opt.cleanup_threads = 0;
    begin(&opt);
    doomed = create(&(gc_pool_options){ .name = "doomed", .type = &item_type,
            .drop = destroy_doomed });
    fill(doomed, 1);
    gc_collect(NULL);
    gc_collect(NULL);
    (void)gc_run_cleanups(NULL, 1);
}

/* ---- pool=1 ---- */

static gc_pool *
debug_pool(void)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.debug_pool = 1;
    begin(&opt);
    return create(&(gc_pool_options){ .name = "watched", .type = &item_type });
}

FATAL(put_twice, "watched")
{
    gc_pool *pool = debug_pool();
    struct item *item = gc_pool_get(pool);

    gc_pool_put(pool, item);
    gc_pool_put(pool, item);
}

FATAL(put_into_two_pools, "already")
{
    gc_pool *pool = debug_pool(), *other = plain_pool();
    struct item *item = gc_pool_get(pool);

    gc_pool_put(pool, item);
    gc_pool_put(other, item);
}

FATAL(write_after_put, "written")
{
    gc_pool *pool = debug_pool();
    struct item *item = gc_pool_get(pool);

    gc_pool_put(pool, item);
    item->value++;
    GC_KEEP_ALIVE(gc_pool_get(pool));
}

FATAL(write_after_put_into_a_pool_that_is_emptied, "written")
{
    gc_pool *pool = debug_pool();
    struct item *item = gc_pool_get(pool);

    gc_pool_put(pool, item);
    item->value++;
    gc_collect(NULL);
    gc_collect(NULL);
}

FATAL(put_of_the_middle_of_an_object, "start")
{
    gc_pool *pool = debug_pool();

    gc_pool_put(pool, &((struct item *)gc_pool_get(pool))->value);
}

FATAL(put_of_what_is_no_object, "no object")
{
    gc_options opt;
    static long elsewhere;
    gc_pool *pool;

    gc_options_default(&opt);
    opt.debug_pool = 1;
    begin(&opt);
    pool = plain_pool();
    gc_pool_put(pool, &elsewhere);
}

Test(pool, the_debug_mode_has_nothing_to_say_of_right_use)
{
    gc_pool *pool = debug_pool();

    for (int i = 0; i < 20; i++) {
        fill(pool, 100);
        if (i % 3 == 0)
            gc_collect(NULL);
        (void)drain(pool);
        fill(pool, 50);
        if (i % 2 == 0) {
            gc_collect(NULL);
            gc_collect(NULL);
        }
    }
    fill(pool, 100);
    gc_pool_destroy(pool);
    pool = plain_pool();
    fill(pool, 100);
    cr_expect_eq(drain(pool), 100);
    gc_shutdown();
}
