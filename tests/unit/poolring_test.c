/* SPDX-License-Identifier: MIT */
/*
 * Purpose: src/gc/poolring.c: both ends of the deque, its borders, and what closing leaves.
 * That threads agree is for tests/race/pool.c.
 */
#include <criterion/criterion.h>

#include "poolkit.h"

#include <gcrt/gcrt.h>

static struct pool_ring *ring;

TestSuite(poolring, .fini = gc_shutdown);

static void
begin(unsigned shift)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF;
    cr_assert_eq(gc_init(&opt), GC_OK);
    m = gc_impl_self.mutator;
    ring = gcrt_poolring_new(m, shift);
    cr_assert_not_null(ring);
    cr_assert_eq(ring->mask + 1, (uint64_t)1 << shift);
}

static bool
push(uintptr_t item)
{
    bool done;

    critical_enter();
    done = gcrt_poolring_push(m, ring, item);
    critical_leave();
    return done;
}

static uintptr_t
take(uintptr_t (*how)(struct gcrt_mutator *, struct pool_ring *))
{
    uintptr_t item;

    critical_enter();
    item = how(m, ring);
    critical_leave();
    return item;
}

Test(poolring, the_owner_pops_what_it_pushed_last)
{
    begin(3);
    cr_expect_eq(take(gcrt_poolring_pop), 0);
    for (uintptr_t i = 1; i <= 5; i++)
        cr_expect(push(i));
    cr_expect_eq(poolring_count(ring), 5);
    for (uintptr_t i = 5; i >= 1; i--)
        cr_expect_eq(take(gcrt_poolring_pop), i);
    cr_expect_eq(take(gcrt_poolring_pop), 0);
}

Test(poolring, a_thief_gets_what_was_pushed_first)
{
    begin(3);
    for (uintptr_t i = 1; i <= 5; i++)
        cr_expect(push(i));
    cr_expect_eq(take(gcrt_poolring_steal), 1);
    cr_expect_eq(take(gcrt_poolring_pop), 5);
    cr_expect_eq(take(gcrt_poolring_steal), 2);
    cr_expect_eq(poolring_count(ring), 2);
}

Test(poolring, it_is_full_with_as_many_items_as_slots)
{
    begin(2);
    for (uintptr_t i = 1; i <= 4; i++)
        cr_expect(push(i));
    cr_expect_not(push(5));
    cr_expect_eq(take(gcrt_poolring_steal), 1);
    cr_expect(push(5));
    cr_expect_not(push(6));
}

Test(poolring, a_slot_that_a_thief_still_has_is_not_pushed_into)
{
    begin(2);
    ring->slots[0] = ring; /* as if a steal had advanced the tail, and no more */
    aword_store_relaxed(&ring->ends, (uint64_t)4 << 32 | 4);
    cr_expect_not(push(1));
    ring->slots[0] = NULL;
    cr_expect(push(1));
}

Test(poolring, both_ends_go_round_the_end_of_their_numbers)
{
    begin(2);
    aword_store_relaxed(&ring->ends, (uint64_t)UINT32_MAX << 32 | UINT32_MAX);
    for (uintptr_t i = 1; i <= 4; i++)
        cr_expect(push(i));
    cr_expect_eq(poolring_count(ring), 4);
    cr_expect_eq(take(gcrt_poolring_steal), 1);
    cr_expect_eq(take(gcrt_poolring_steal), 2);
    cr_expect_eq(take(gcrt_poolring_pop), 4);
    cr_expect_eq(take(gcrt_poolring_steal), 3);
    cr_expect_eq(take(gcrt_poolring_steal), 0);
}

Test(poolring, a_ring_changes_with_the_barrier)
{
    uintptr_t item[3];

    begin(3);
    for (int i = 0; i < 3; i++)
        item[i] = (uintptr_t)gc_alloc_bytes(64);
    set_barrier(BARRIER_HYBRID);
    for (int i = 0; i < 3; i++) {
        cr_expect(push(item[i]));
        cr_expect(is_shaded((void *)item[i]), "as new");
    }
    set_barrier(BARRIER_DELETION);
    cr_expect_eq(take(gcrt_poolring_steal), item[0]);
    cr_expect(is_shaded((void *)item[0]), "as old");
    cr_expect_eq(take(gcrt_poolring_pop), item[2]);
    cr_expect(is_shaded((void *)item[2]), "as old");
    set_barrier(BARRIER_OFF);
    cr_expect_eq(take(gcrt_poolring_pop), item[1]);
    cr_expect_not(is_shaded((void *)item[1]));
}

static uintptr_t seen;

static void
add(void *arg, uintptr_t item)
{
    (void)arg;
    seen = seen * 10 + item;
}

Test(poolring, closing_shows_what_was_in_it_and_leaves_nothing)
{
    begin(3);
    for (uintptr_t i = 1; i <= 4; i++)
        cr_expect(push(i));
    cr_expect_eq(take(gcrt_poolring_steal), 1);
    cr_expect_eq(gcrt_poolring_close(ring, add, NULL), 3);
    cr_expect_eq(seen, 234);
    cr_expect_eq(take(gcrt_poolring_steal), 0);
    cr_expect_eq(take(gcrt_poolring_pop), 0);
    cr_expect_eq(gcrt_poolring_close(ring, add, NULL), 0);
}
