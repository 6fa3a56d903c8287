/* SPDX-License-Identifier: MIT */
/*
 * Purpose: src/gc/poolturn.c: what a turn leaves of each place, seen between two instructions
 * of an inline get or put.  Cycles from outside are in tests/api/pool_test.c.
 */
#include <criterion/criterion.h>

#include "gc/pool.h"

#include <gcrt/gcrt.h>

struct item {
    long value;
};

GC_TYPE_NOSCAN(item_type, struct item);

static struct gcrt_mutator *m;
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

Test(poolturn, a_rack_is_left_empty_and_closed)
{
    begin(GC_MODE_CONCURRENT);
    put_some(5);
    cr_expect_eq(rack_count(&part->rack), 5);
    cr_expect_neq(part->rack.limit, 0);
    turn();
    cr_expect_eq(rack_count(&part->rack), 0);
    cr_expect_eq(part->nvictims, 5);
    cr_expect_eq(part->rack.limit, 0, "an inline put that has found the rack would use it");
    gcrt_pools_open(heap, m->p);
    cr_expect_eq(part->rack.limit, part->cap);
}

/* Nobody would open it again: such a heap has no H5. */
Test(poolturn, a_stop_the_world_heap_closes_no_rack)
{
    begin(GC_MODE_STW);
    put_some(5);
    turn();
    cr_expect_eq(rack_count(&part->rack), 0);
    cr_expect_eq(part->rack.limit, part->cap);
}

Test(poolturn, a_part_turns_once_in_a_cycle)
{
    begin(GC_MODE_CONCURRENT);
    put_some(5);
    turn();
    critical_enter();
    gcrt_pools_turn(m);
    critical_leave();
    cr_expect_eq(part->nvictims, 5);
}

Test(poolturn, the_threads_own_item_goes_in_the_second_turn)
{
    void *item;

    begin(GC_MODE_CONCURRENT);
    item = gc_impl_self.hot_item;
    cr_assert_not_null(item, "the first item that was put is the thread's own");
    turn();
    cr_expect_eq(gc_impl_self.hot_item, item);
    turn();
    cr_expect_null(gc_impl_self.hot_item);
    cr_expect_eq(gc_impl_self.hot_pool, 0);
}

Test(poolturn, the_threads_own_item_stays_while_it_is_used)
{
    begin(GC_MODE_CONCURRENT);
    for (int i = 0; i < 5; i++) {
        gc_pool_put(public_pool, gc_pool_get(public_pool));
        turn();
        cr_expect_not_null(gc_impl_self.hot_item);
    }
}

/* An inline put may be behind its test when the turn lets go of the pool, and store then. */
Test(poolturn, what_a_put_leaves_behind_a_turn_is_not_another_pools)
{
    struct item *left = gc_impl_self.hot_item;
    gc_pool *other;

    begin(GC_MODE_CONCURRENT);
    turn();
    turn();
    left = gc_alloc(&item_type);
    gc_impl_self.hot_item = left;
    other = gc_pool_create(NULL, &(gc_pool_options){ .type = &item_type });
    cr_expect_neq(gc_pool_get(other), left);
    cr_expect_neq(gc_impl_self.hot_item, left);
    gc_impl_self.hot_item = NULL;
    gc_pool_destroy(other);
}

Test(poolturn, a_thread_in_a_blocking_region_keeps_its_item_but_may_not_take_it)
{
    void *item;

    begin(GC_MODE_CONCURRENT);
    item = gc_impl_self.hot_item;
    gc_block_enter();
    cr_expect_eq(gc_impl_self.hot_pool, 0);
    cr_expect_eq(gc_impl_self.nracks, 0);
    gc_block_leave();
    cr_expect_eq(gc_pool_get(public_pool), item);
}

static bool
is_shaded(const void *item)
{
    for (uint32_t i = 0; i < m->nbarrier; i++)
        if (m->barrier[i] == (uintptr_t)item)
            return true;
    return false;
}

static void
set_barrier(uint32_t state)
{
    critical_enter();
    barrier_set(m, state);
    m->nbarrier = 0;
    critical_leave();
}

/* As old values: the collection of roots may come too late for them. */
Test(poolturn, what_is_taken_while_the_barrier_is_on_is_shaded)
{
    begin(GC_MODE_CONCURRENT);
    put_some(60); /* rack and ring */
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
