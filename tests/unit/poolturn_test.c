/* SPDX-License-Identifier: MIT */
/*
 * Purpose: src/gc/poolturn.c: what a turn leaves of each place, seen between two instructions
 * of an inline get or put.  Cycles from outside are in tests/api/pool_test.c.
 */
#include <criterion/criterion.h>

#include "poolkit.h"

#include <gcrt/gcrt.h>

#include <pthread.h>

struct item {
    long value;
};

GC_TYPE_NOSCAN(item_type, struct item);

static struct gc_heap *heap;
static gc_pool *public_pool;
static struct pool *pool;
static struct pool_part *part;

TestSuite(poolturn, .fini = gc_shutdown);

static void
begin(gc_mode mode)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF;
    opt.mode = mode;
    opt.periodic_ms = 0;
    cr_assert_eq(gc_init(&opt), GC_OK);
    m = gc_impl_self.mutator;
    heap = m->heap;
    public_pool = gc_pool_create(NULL, &(gc_pool_options){ .type = &item_type });
    cr_assert_not_null(public_pool);
    pool = container_of_(public_pool, struct pool, pub);
    gc_pool_put(public_pool, gc_pool_get(public_pool));
    part = gcrt_pool_part(m->p, pool);
    cr_assert_not_null(part);
}

/* What H1 does to this thread's parts. */
static void
turn(void)
{
    critical_enter();
    gcrt_pools_turn_begin(heap);
    gcrt_pools_turn(m);
    gcrt_pools_turn_end(heap);
    critical_leave();
}

static void
put_some(int n)
{
    for (int i = 0; i < n; i++)
        gc_pool_put(public_pool, gc_alloc(&item_type));
}

/* What the thread keeps itself is full: so many more are in the rack. */
static void
fill_rack(int n)
{
    put_some(GC_IMPL_HOT_ITEMS - 1 + n);
}

Test(poolturn, a_rack_is_left_empty_and_closed)
{
    begin(GC_MODE_CONCURRENT);
    fill_rack(5);
    cr_expect_eq(rack_count(&part->rack), 5);
    cr_expect_neq(part->rack.limit, 0);
    turn();
    cr_expect_eq(rack_count(&part->rack), 0);
    cr_expect_eq(part->nvictims, 5);
    cr_expect_eq(part->rack.limit, 0, "an inline put that has found the rack would use it");
    gcrt_pools_open(heap, m->p);
    cr_expect_eq(part->rack.limit, 0, "what the thread keeps itself would stay shut");
    put_some(1);
    cr_expect_eq(part->rack.limit, part->cap);
}

/* Nobody would open it again: such a heap has no H5. */
Test(poolturn, a_stop_the_world_heap_closes_no_rack)
{
    begin(GC_MODE_STW);
    fill_rack(5);
    turn();
    cr_expect_eq(rack_count(&part->rack), 0);
    turn(); /* the pool is not the thread's any more */
    cr_expect_eq(part->rack.limit, part->cap);
}

/* A pool that is not the one of which the thread keeps items, with five in its rack. */
static struct pool_part *
other_part(void)
{
    gc_pool *other = gc_pool_create(NULL, &(gc_pool_options){ .type = &item_type });

    cr_assert_not_null(other);
    for (int i = 0; i < 5; i++)
        gc_pool_put(other, gc_alloc(&item_type));
    return gcrt_pool_part(m->p, container_of_(other, struct pool, pub));
}

static void
check_other_rack(gc_mode mode)
{
    struct pool_part *other;

    begin(mode);
    other = other_part();
    cr_expect_eq(rack_count(&other->rack), 5);
    cr_expect_eq(other->rack.limit, other->cap);
    turn();
    cr_expect_eq(rack_count(&other->rack), 0);
    cr_expect_eq(other->nvictims, 5);
    cr_expect_eq(other->rack.limit, mode == GC_MODE_STW ? other->cap : 0);
}

Test(poolturn, another_pools_rack_is_closed_for_puts_that_have_found_it)
{
    check_other_rack(GC_MODE_CONCURRENT);
}

Test(poolturn, but_not_in_a_stop_the_world_heap)
{
    check_other_rack(GC_MODE_STW);
}

static struct pool_part *visited;

static void
count_rack(void *arg, uintptr_t word, uintptr_t at)
{
    uintptr_t first = (uintptr_t)visited->rack.items;

    *(uint32_t *)arg += word != 0 && at >= first && at < first + sizeof visited->rack.items;
}

Test(poolturn, what_is_in_racks_is_visited)
{
    uint32_t n = 0;

    begin(GC_MODE_CONCURRENT);
    visited = other_part();
    gcrt_pools_visit(heap, count_rack, &n);
    cr_expect_eq(n, 5);
}

Test(poolturn, a_part_turns_once_in_a_cycle)
{
    begin(GC_MODE_CONCURRENT);
    fill_rack(5);
    turn();
    critical_enter();
    gcrt_pools_turn(m);
    critical_leave();
    cr_expect_eq(part->nvictims, 5);
}

/* ---- what the thread keeps itself ---- */

static uint32_t
height(void)
{
    return (uint32_t)(gc_impl_self.hot_n % GC_IMPL_HOT_UNIT);
}

/* So many words are visited as roots. */
static void
count_item(void *arg, uintptr_t word, uintptr_t at)
{
    if (at >= (uintptr_t)gc_impl_self.hot_items
            && at < (uintptr_t)(gc_impl_self.hot_items + 1 + GC_IMPL_HOT_ITEMS))
        *(uint32_t *)arg += word != 0;
}

static uint32_t
own_roots(void)
{
    uint32_t n = 0;

    gcrt_own_visit(m, count_item, &n);
    return n;
}

static bool
is_open(void)
{
    return gc_impl_self.hot_pool == public_pool;
}

Test(poolturn, what_the_thread_keeps_is_shut_by_a_turn_and_gone_by_the_next)
{
    begin(GC_MODE_CONCURRENT);
    put_some(GC_IMPL_HOT_ITEMS - 1);
    cr_expect(is_open());
    cr_expect_eq(own_roots(), GC_IMPL_HOT_ITEMS);
    turn();
    cr_expect_not(is_open());
    cr_expect_eq(own_roots(), GC_IMPL_HOT_ITEMS);
    turn();
    cr_expect_null(m->hot.pool);
    cr_expect_eq(own_roots(), 0);
}

Test(poolturn, the_first_call_after_a_turn_puts_them_aside)
{
    begin(GC_MODE_CONCURRENT);
    put_some(GC_IMPL_HOT_ITEMS - 1);
    turn();
    gc_pool_put(public_pool, gc_alloc(&item_type));
    cr_expect(is_open());
    cr_expect_eq(part->nvictims, GC_IMPL_HOT_ITEMS);
    cr_expect_eq(own_roots(), 1);
    turn();
    cr_expect_eq(part->nvictims, 0);
    cr_expect_eq(own_roots(), 1);
}

/* There is no H5 in a stop-the-world heap, and its racks stay open; this one must not. */
static void
check_opens_again(gc_mode mode)
{
    begin(mode);
    for (int i = 0; i < 5; i++) {
        turn();
        if (mode == GC_MODE_CONCURRENT)
            gcrt_pools_open(heap, m->p); /* H5 */
        cr_expect_not(is_open());
        gc_pool_put(public_pool, gc_alloc(&item_type));
        cr_expect(is_open(), "the put has found room in the rack");
        cr_expect_eq(part->rack.limit, part->cap);
    }
}

Test(poolturn, the_first_put_after_a_turn_opens_it_again)
{
    check_opens_again(GC_MODE_CONCURRENT);
}

Test(poolturn, so_it_does_without_barriers)
{
    check_opens_again(GC_MODE_STW);
}

/* An inline put has stored its item, but not the height, when its handler answers. */
Test(poolturn, a_put_that_is_half_done_is_visited)
{
    begin(GC_MODE_CONCURRENT);
    gc_impl_self.hot_items[height() + 1] = gc_alloc(&item_type);
    cr_expect_eq(own_roots(), 1, "a stale slot is no root");
    m->interrupted = true;
    cr_expect_eq(own_roots(), 2);
    turn();
    cr_expect_eq(own_roots(), 2, "the turn has cleared what a put has just stored");
    gc_impl_self.hot_n = gc_impl_self.hot_n + 1;
    m->interrupted = false;
    cr_expect_eq(own_roots(), 2);
    gc_impl_self.hot_items[height()] = NULL;
}

static volatile bool seen, spins, collected;

static void
note_handler(gc_tracer *tracer, void *arg)
{
    (void)tracer, (void)arg;
    if (m->interrupted)
        seen = true;
}

static void *
collect(void *arg)
{
    (void)arg;
    while (!spins)
        gc_safepoint();
    gc_collect(NULL);
    collected = true;
    return NULL;
}

Test(poolturn, an_answer_in_the_handler_says_so, .timeout = 60)
{
    pthread_t thread;

    begin(GC_MODE_CONCURRENT);
    cr_assert_eq(gc_root_callback(note_handler, NULL), GC_OK);
    cr_assert_eq(gc_pthread_create(&thread, NULL, collect, NULL), GC_OK);
    spins = true;
    while (!collected)
        ; /* polls nowhere */
    cr_expect(seen);
    cr_expect_not(m->interrupted);
    GC_BLOCKING { pthread_join(thread, NULL); }
    seen = false;
    gc_collect(NULL);
    cr_expect_not(seen, "an answer elsewhere finds no put half done");
}

Test(poolturn, a_turn_clears_what_was_got)
{
    begin(GC_MODE_CONCURRENT);
    put_some(9);
    for (int i = 0; i < 5; i++)
        GC_KEEP_ALIVE(gc_pool_get(public_pool));
    turn();
    for (uint32_t i = height() + 2; i <= GC_IMPL_HOT_ITEMS; i++)
        cr_expect_null(gc_impl_self.hot_items[i]);
}

/* A get that is half done has its item already; the height it stores is that of a moment ago. */
Test(poolturn, a_get_that_is_half_done_has_its_item_alone)
{
    void *item;
    uint64_t n;

    begin(GC_MODE_CONCURRENT);
    put_some(3);
    n = gc_impl_self.hot_n;
    item = gc_impl_self.hot_items[height()];
    turn();
    gc_impl_self.hot_n = n + GC_IMPL_HOT_UNIT - 1;
    for (int i = 0; i < 3; i++)
        cr_expect_neq(gc_pool_get(public_pool), item);
    cr_expect_eq(gcrt_own_visit(m, count_item, &(uint32_t){ 0 }) > 0, true);
    cr_expect_eq(part->nvictims, 0);
}

/* An inline put may be behind its test when the turn lets go of the pool, and store then. */
Test(poolturn, what_a_put_leaves_behind_a_turn_is_not_another_pools)
{
    struct item *left;
    gc_pool *other;

    begin(GC_MODE_CONCURRENT);
    turn();
    turn();
    left = gc_alloc(&item_type);
    gc_impl_self.hot_items[height() + 1] = left;
    gc_impl_self.hot_n = gc_impl_self.hot_n + 1;
    other = gc_pool_create(NULL, &(gc_pool_options){ .type = &item_type });
    cr_expect_neq(gc_pool_get(other), left);
    cr_expect_eq(gc_impl_self.hot_pool, other);
    cr_expect_eq(own_roots(), 0);
    gc_pool_destroy(other);
}

Test(poolturn, null_in_between_is_passed_over)
{
    gc_pool_stats s;

    begin(GC_MODE_CONCURRENT);
    for (int i = 0; i < 3; i++) {
        gc_pool_put(public_pool, NULL);
        put_some(1);
        gc_pool_put(public_pool, NULL);
    }
    gc_pool_get_stats(public_pool, &s);
    cr_expect_eq(s.items, 4);
    for (int i = 0; i < 4; i++)
        cr_expect_not_null(gc_pool_get(public_pool));
    gc_pool_get_stats(public_pool, &s);
    cr_expect(s.items == 0 && s.misses == 1 && s.hits == 4);
}

Test(poolturn, a_thread_in_a_blocking_region_keeps_its_items_but_may_not_take_them)
{
    void *item;

    begin(GC_MODE_CONCURRENT);
    item = gc_impl_self.hot_items[height()];
    gc_block_enter();
    cr_expect_neq(gc_impl_self.hot_pool, public_pool);
    cr_expect_eq(gc_impl_self.nracks, 0);
    cr_expect_eq(own_roots(), 1);
    gc_block_leave();
    cr_expect_eq(gc_pool_get(public_pool), item);
}

/* Else they would be in use again, and stay for a third cycle. */
Test(poolturn, what_was_shut_is_a_victim_when_the_thread_leaves)
{
    begin(GC_MODE_CONCURRENT);
    put_some(GC_IMPL_HOT_ITEMS - 1);
    turn();
    critical_enter();
    gcrt_pools_leave(m);
    critical_leave();
    cr_expect_eq(part->nvictims, GC_IMPL_HOT_ITEMS);
    cr_expect_eq(rack_count(&part->rack), 0);
    cr_expect_eq(own_roots(), 0);
    cr_expect_null(m->hot.pool);
}

Test(poolturn, what_is_open_joins_the_rest_when_the_thread_leaves)
{
    gc_pool_stats s;

    begin(GC_MODE_CONCURRENT);
    put_some(GC_IMPL_HOT_ITEMS - 1);
    critical_enter();
    gcrt_pools_leave(m);
    critical_leave();
    cr_expect_eq(rack_count(&part->rack), part->cap);
    gc_pool_get_stats(public_pool, &s);
    cr_expect_eq(s.items, GC_IMPL_HOT_ITEMS);
}

/* What it holds is bounded by the pool's bound, and by bytes. */
Test(poolturn, a_thread_keeps_no_more_than_its_share)
{
    gc_pool *small, *large;
    size_t max;

    begin(GC_MODE_CONCURRENT);
    max = 8 * (size_t)heap->cpus;
    turn();
    turn();
    small = gc_pool_create(NULL, &(gc_pool_options){ .type = &item_type, .max_items = max });
    for (size_t i = 0; i < 2 * max; i++)
        gc_pool_put(small, gc_alloc(&item_type));
    cr_expect_eq(gc_impl_self.hot_pool, small);
    cr_expect_eq(own_roots(), 2, "a quarter of the share");
    turn();
    turn();
    large = gc_pool_create(NULL, &(gc_pool_options){ .item_bytes = 16384 });
    for (size_t i = 0; i < 20; i++)
        gc_pool_put(large, gc_alloc_bytes(16384));
    cr_expect_eq(gc_impl_self.hot_pool, large);
    cr_expect_eq(own_roots(), 4);
}

/* A record is not another pool's while some thread has items of it in its hot words. */
static void *
keep_some(void *arg)
{
    pthread_barrier_t *gate = arg;

    put_some(3);
    cr_expect(is_open());
    gc_block_enter();
    (void)pthread_barrier_wait(gate);
    (void)pthread_barrier_wait(gate);
    gc_block_leave();
    return NULL;
}

Test(poolturn, a_record_that_a_thread_keeps_is_not_used_again)
{
    const gc_pool_options opt = { .type = &item_type };
    pthread_barrier_t gate;
    pthread_t thread;

    begin(GC_MODE_CONCURRENT);
    cr_assert_eq(pthread_barrier_init(&gate, NULL, 2), 0);
    cr_assert_eq(gc_pthread_create(&thread, NULL, keep_some, &gate), GC_OK);
    gc_block_enter();
    (void)pthread_barrier_wait(&gate);
    gc_block_leave();
    gc_pool_destroy(public_pool);
    cr_expect_neq(gc_pool_create(NULL, &opt), public_pool);
    gc_collect(NULL);
    cr_expect_eq(gc_pool_create(NULL, &opt), public_pool, "the turn gives the record free");
    gc_block_enter();
    (void)pthread_barrier_wait(&gate);
    pthread_join(thread, NULL);
    gc_block_leave();
}

/* As new values, as every other put. */
Test(poolturn, what_is_put_aside_before_the_own_scan_is_shaded)
{
    void *item;

    begin(GC_MODE_CONCURRENT);
    item = gc_impl_self.hot_items[height()];
    turn();
    set_barrier(BARRIER_HYBRID);
    gc_pool_put(public_pool, NULL); /* ignored before anything else */
    cr_expect_not(is_shaded(item));
    gc_pool_put(public_pool, gc_alloc(&item_type));
    cr_expect_eq(part->nvictims, 1);
    cr_expect(is_shaded(item));
    set_barrier(BARRIER_OFF);
}

/* As old values: the collection of roots may come too late for them. */
Test(poolturn, what_is_taken_while_the_barrier_is_on_is_shaded)
{
    begin(GC_MODE_CONCURRENT);
    fill_rack(60); /* and ring */
    for (int i = 0; i < GC_IMPL_HOT_ITEMS; i++)
        GC_KEEP_ALIVE(gc_pool_get(public_pool)); /* the thread's own: no barrier */
    for (int i = 0; i < 60; i++) {
        void *item;

        set_barrier(BARRIER_DELETION);
        item = gc_pool_get(public_pool);
        cr_expect(is_shaded(item), "item %d", i);
        set_barrier(BARRIER_OFF);
    }
}

Test(poolturn, what_is_put_before_the_own_scan_is_shaded)
{
    begin(GC_MODE_CONCURRENT);
    fill_rack(0);
    for (int i = 0; i < 20; i++) {
        void *item = gc_alloc(&item_type);

        set_barrier(BARRIER_HYBRID);
        gc_pool_put(public_pool, item);
        cr_expect(is_shaded(item), "item %d", i);
        set_barrier(BARRIER_OFF);
    }
}

Test(poolturn, a_thread_whose_barrier_is_on_sees_no_racks)
{
    begin(GC_MODE_CONCURRENT);
    cr_expect_neq(gc_impl_self.nracks, 0);
    critical_enter();
    barrier_set(m, BARRIER_HYBRID);
    cr_expect_eq(gc_impl_self.nracks, 0);
    barrier_set(m, BARRIER_DELETION);
    cr_expect_eq(gc_impl_self.nracks, 0);
    barrier_set(m, BARRIER_OFF);
    critical_leave();
    cr_expect_neq(gc_impl_self.nracks, 0);
}

Test(poolturn, the_handler_sees_a_rack_that_is_busy)
{
    begin(GC_MODE_CONCURRENT);
    cr_expect_not(gcrt_pools_busy(m));
    part->rack.busy = 1;
    cr_expect(gcrt_pools_busy(m));
    part->rack.busy = 0;
}

Test(poolturn, a_new_pool_in_an_old_record_begins_empty)
{
    gc_pool *again;
    gc_pool_stats s;

    begin(GC_MODE_CONCURRENT);
    put_some(200);
    gc_pool_destroy(public_pool);
    again = gc_pool_create(NULL, &(gc_pool_options){ .type = &item_type });
    cr_assert_eq(again, public_pool, "the record is used again");
    gc_pool_get_stats(again, &s);
    cr_expect(s.items == 0 && s.hits == 0 && s.dropped == 0);
}

/* ---- a pool that has ended ---- */

struct large {
    long value[64];
};

GC_TYPE_NOSCAN(large_type, struct large);

static pthread_barrier_t step;

/* Another thread, which has items of the pool when that ends, and then takes some of the next. */
static void *
keeper_main(void *arg)
{
    cr_assert_eq(gc_thread_attach(heap), GC_OK);
    put_some(GC_IMPL_HOT_ITEMS);
    GC_BLOCKING { (void)pthread_barrier_wait(&step); }
    GC_BLOCKING { (void)pthread_barrier_wait(&step); } /* it has ended */
    gc_thread_detach();
    (void)pthread_barrier_wait(&step);
    (void)pthread_barrier_wait(&step); /* here is the next */
    cr_assert_eq(gc_thread_attach(heap), GC_OK);
    for (int i = 0; i < 3 * GC_IMPL_HOT_ITEMS; i++)
        cr_expect_eq(gc_usable_size(gc_pool_get(public_pool)), sizeof(struct large));
    gc_thread_detach();
    return arg;
}

static void
meet_keeper(void)
{
    GC_BLOCKING { (void)pthread_barrier_wait(&step); }
}

Test(poolturn, what_a_thread_has_kept_of_a_pool_that_ended_is_not_the_next_ones)
{
    struct pool *ended;
    pthread_t keeper;

    begin(GC_MODE_CONCURRENT);
    ended = pool;
    cr_assert_eq(pthread_barrier_init(&step, NULL, 2), 0);
    cr_assert_eq(pthread_create(&keeper, NULL, keeper_main, NULL), 0);
    meet_keeper();
    gc_pool_destroy(public_pool);
    meet_keeper();
    meet_keeper();
    public_pool = gc_pool_create(NULL, &(gc_pool_options){ .type = &large_type });
    cr_assert_eq(container_of_(public_pool, struct pool, pub), ended, "it has the same record");
    meet_keeper();
    GC_BLOCKING { cr_assert_eq(pthread_join(keeper, NULL), 0); }
    cr_expect_eq(gc_verify(NULL), GC_OK, "%s", gc_last_error());
}
