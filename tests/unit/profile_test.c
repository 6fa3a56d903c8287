/* SPDX-License-Identifier: MIT */
/*
 * What the profile counts, and when.  The thread is precise, so an object that is not held
 * is dead; at rate 1 every object is a sample of weight 1, so numbers are exact.
 */
#include <criterion/criterion.h>

#include "gc/profile.h"

#include <gcrt/gcrt.h>

#include <math.h>
#include <stdlib.h>

struct node {
    struct node *next;
    char pad[56];
};
GC_TYPE(node_type, struct node, next);

static struct node *list;
static struct gc_heap *heap;

static void
start(size_t rate)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF;
    opt.periodic_ms = 0;
    opt.precise_stacks = 1;
    opt.profile_rate = rate;
    cr_assert_eq(gc_init(&opt), GC_OK, "%s", gc_last_error());
    heap = gc_thread_heap();
    list = NULL;
    cr_assert_eq(gc_root_add(&list, sizeof(list)), GC_OK);
}

static NOINLINE void
keep(int n)
{
    while (n-- > 0) {
        struct node *x = gc_alloc(&node_type);

        x->next = list;
        gc_write(&list, x);
    }
}

static NOINLINE void
waste(int n)
{
    while (n-- > 0)
        GC_KEEP_ALIVE(gc_alloc(&node_type));
}

/* Over all sites of nodes. */
static struct profile_sums
sums(bool all)
{
    struct profile_copy *copy = gcrt_profile_copy(heap, all);
    struct profile_sums sums = { .allocs = 0 };

    cr_assert_not_null(copy);
    for (size_t i = 0; i < copy->n; i++) {
        const struct profile_site *at = &copy->sites[i];

        if (at->type != &node_type)
            continue;
        cr_expect_eq(at->bytes, 64);
        cr_expect_gt(at->npcs, 0);
        sums.allocs += at->sums.allocs;
        sums.frees += at->sums.frees;
    }
    free(copy);
    return sums;
}

static void
expect_sums(bool all, double allocs, double frees)
{
    struct profile_sums got = sums(all);

    cr_expect(got.allocs == allocs && got.frees == frees, "%g allocated, %g freed, not %g, %g",
            got.allocs, got.frees, allocs, frees);
}

Test(profile, before_the_first_cycle_all_is_seen)
{
    start(1);
    keep(100);
    waste(50);
    expect_sums(false, 150, 0);
    aword_store_relaxed(&gc_thread_heap()->cycles.started, 1);
    expect_sums(false, 150, 0); /* nor has one that runs looked yet */
    aword_store_relaxed(&gc_thread_heap()->cycles.started, 0);
    gc_shutdown();
}

Test(profile, a_death_is_seen_with_the_cycle_that_finds_it)
{
    start(1);
    keep(100);
    waste(50);
    gc_collect(NULL);
    expect_sums(false, 150, 50);
    gc_write(&list, NULL);
    expect_sums(false, 150, 50);
    gc_collect(NULL);
    expect_sums(false, 150, 150);
    cr_expect_eq(heap->profile.nrecords, 0);
    gc_shutdown();
}

Test(profile, what_no_cycle_has_looked_at_is_not_in_use)
{
    start(1);
    gc_collect(NULL);
    keep(10);
    waste(1000);
    expect_sums(false, 0, 0);
    expect_sums(true, 1010, 0);
    gc_collect(NULL);
    expect_sums(false, 1010, 1000);
    gc_shutdown();
}

/* The cycle's number has been counted up, its marking has not begun: born and dead in one. */
Test(profile, a_death_is_never_seen_before_its_birth)
{
    start(1);
    gc_collect(NULL);
    aword_add_relaxed(&heap->cycles.started, 1);
    waste(7);
    gcrt_profile_marked(heap);
    expect_sums(false, 0, 0);
    expect_sums(true, 7, 7);
    aword_add_relaxed(&heap->cycles.started, 1);
    gcrt_profile_marked(heap);
    expect_sums(false, 7, 7);
    gc_shutdown();
}

Test(profile, what_an_abandoned_cycle_would_have_shown_comes_with_the_next)
{
    start(1);
    gc_collect(NULL);
    waste(5);
    aword_add_relaxed(&heap->cycles.started, 1); /* and a thread forks: in the child ... */
    waste(2);
    gcrt_profile_abandoned_locked(heap);
    aword_add_relaxed(&heap->cycles.started, 1);
    gcrt_profile_marked(heap);
    expect_sums(false, 7, 7);
    gc_shutdown();
}

Test(profile, records_are_reused)
{
    uint64_t persist;

    start(1);
    keep(5000);
    gc_write(&list, NULL);
    gc_collect(NULL);
    cr_expect_eq(heap->profile.nrecords, 0);
    persist = aword_load_relaxed(&heap->persist.total);
    for (int i = 0; i < 20; i++) {
        keep(2500);
        waste(2500);
        gc_collect(NULL);
        cr_expect_eq(heap->profile.nrecords, 2500);
        gc_write(&list, NULL);
        gc_collect(NULL);
    }
    expect_sums(false, 105000, 105000);
    /* Two sites and their stacks; no more. */
    cr_expect_leq(aword_load_relaxed(&heap->persist.total) - persist, 16384);
    gc_shutdown();
}

Test(profile, chance_is_that_of_libm)
{
    for (double x = 1e-12; x < 1e4; x *= 1.01) {
        double is = gcrt_profile_chance(x), should = -expm1(-x);

        cr_assert(fabs(is - should) <= 2e-15 * should, "%.17g of %g, %.17g", is, x, should);
    }
    cr_expect_eq(gcrt_profile_chance(0), 0);
    cr_expect_eq(gcrt_profile_chance(INFINITY), 1);
}

/* Six standard deviations: a chance of two in a billion. */
Test(profile, weights_make_up_for_what_is_not_sampled)
{
    double n = 400000, rate = 8192, p = 1 - exp(-64 / rate);
    struct profile_sums got;

    start((size_t)rate);
    keep((int)n);
    gc_collect(NULL);
    got = sums(false);
    cr_expect(fabs(got.allocs - n) <= 6 * sqrt(n * (1 - p) / p), "%g", got.allocs);
    cr_expect_eq(got.frees, 0);
    cr_expect_lt((double)aword_load_relaxed(&heap->profile.samples), n / 64);
    gc_shutdown();
}

Test(profile, large_objects_are_counted_one_by_one)
{
    struct profile_copy *copy;
    double objects = 0;

    start((size_t)512 << 10);
    for (int i = 0; i < 50; i++)
        GC_KEEP_ALIVE(gc_alloc_bytes((size_t)16 << 20)); /* missed once in e^32 times */
    copy = gcrt_profile_copy(heap, true);
    for (size_t i = 0; i < copy->n; i++)
        objects += copy->sites[i].sums.allocs;
    cr_expect_float_eq(objects, 50, 1e-9);
    free(copy);
    gc_shutdown();
}

Test(profile, the_rate_changes_for_what_comes)
{
    start(0);
    keep(100);
    expect_sums(true, 0, 0);
    cr_expect_eq(gc_set_profile_rate(NULL, 1), 0);
    gc_collect(NULL); /* runs are given back */
    keep(100);
    expect_sums(true, 100, 0);
    cr_expect_eq(gc_set_profile_rate(NULL, 0), 1);
    gc_collect(NULL);
    keep(100);
    expect_sums(true, 100, 0);
    gc_shutdown();
}

/* One stack, so one site: a sample counts by the rate at which it was taken.  As above. */
Test(profile, a_site_may_have_samples_of_several_rates)
{
    double n = 100000, p = 1 - exp(-64 / 4096.0);

    start(1);
    for (volatile int i = 0; i < 3; i++) { /* volatile: never unrolled, so one stack */
        gc_set_profile_rate(NULL, i == 1 ? 4096 : 1);
        gc_collect(NULL); /* runs are given back */
        keep(i == 1 ? (int)n : 1000);
    }
    cr_expect(fabs(sums(true).allocs - n - 2000) <= 6 * sqrt(n * (1 - p) / p), "%g",
            sums(true).allocs);
    gc_shutdown();
}

Test(profile, without_memory_a_sample_is_lost_and_counted)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF;
    opt.profile_rate = 1;
    cr_assert_eq(gc_init(&opt), GC_OK, "%s", gc_last_error());
    heap = gc_thread_heap();
    keep(1100); /* its site is there, and its second chunk of records */
    heap->os.fail_from = 1;
    for (int i = 0; i < 100000 && aword_load_relaxed(&heap->profile.lost) == 0; i++)
        if (gc_try_alloc(&node_type) == NULL)
            break;
    heap->os.fail_from = 0;
    cr_expect_gt(aword_load_relaxed(&heap->profile.lost), 0);
    gc_collect(NULL);
    keep(10);
    gc_shutdown();
}
