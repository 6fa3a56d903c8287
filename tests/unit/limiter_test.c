/* SPDX-License-Identifier: MIT */
/*
 * The CPU limiter: hand-computed values, and simulated programs of which the collector takes
 * whatever it is not told to leave.
 *
 * GCRT_SEED sets the seed of the random test.
 */
#include "gc/limiter.h"

#include "alloc/base/rand.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MS ((uint64_t)1000 * 1000)

static struct limiter
limiter(unsigned percent, unsigned cpus)
{
    struct limiter l;

    gcrt_limiter_init(&l, percent, 100 * MS, cpus);
    return l;
}

Test(limiter, a_window_of_nothing_else_fills_it)
{
    struct limiter l = limiter(50, 4);

    cr_expect_eq(l.capacity, 400 * MS);
    for (int ms = 0; ms < 399; ms++)
        cr_expect_not(gcrt_limiter_update(&l, MS, MS), "after %d ms", ms);
    cr_expect(gcrt_limiter_update(&l, MS, MS));
}

Test(limiter, at_the_cap_nothing_moves)
{
    static const unsigned caps[] = { 1, 10, 25, 50, 75, 99 };

    for (size_t i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
        struct limiter l = limiter(caps[i], 2);

        (void)gcrt_limiter_update(&l, 20 * MS, 20 * MS);
        cr_expect_eq(l.fill, 20 * MS);
        for (int n = 0; n < 1000; n++)
            (void)gcrt_limiter_update(&l, caps[i] * MS, 100 * MS);
        cr_expect_eq(l.fill, 20 * MS, "cap %u", caps[i]);
    }
}

Test(limiter, below_the_cap_it_drains_and_not_below_empty)
{
    struct limiter l = limiter(50, 1);

    (void)gcrt_limiter_update(&l, 30 * MS, 30 * MS);
    (void)gcrt_limiter_update(&l, 0, 10 * MS);
    cr_expect_eq(l.fill, 20 * MS);
    (void)gcrt_limiter_update(&l, 4 * MS, 10 * MS); /* 2 (40 % - 50 %) 10 ms */
    cr_expect_eq(l.fill, 18 * MS);
    (void)gcrt_limiter_update(&l, 0, 1000 * MS);
    cr_expect_eq(l.fill, 0);
    cr_expect_not(gcrt_limiter_update(&l, 99 * MS, 99 * MS));
}

Test(limiter, a_low_cap_drains_slowly_and_a_high_one_fast)
{
    struct limiter low = limiter(20, 1), high = limiter(80, 1);

    (void)gcrt_limiter_update(&low, 80 * MS, 80 * MS);
    (void)gcrt_limiter_update(&low, 0, 40 * MS); /* 20/80 of it */
    cr_expect_eq(low.fill, 70 * MS);
    (void)gcrt_limiter_update(&high, 80 * MS, 80 * MS);
    (void)gcrt_limiter_update(&high, 0, 10 * MS); /* 80/20 of it */
    cr_expect_eq(high.fill, 40 * MS);
}

Test(limiter, a_full_bucket_holds_as_much_again)
{
    struct limiter l = limiter(50, 1);

    cr_expect(gcrt_limiter_update(&l, 5000 * MS, 5000 * MS));
    cr_expect_eq(l.fill, 200 * MS);
    cr_expect(gcrt_limiter_update(&l, 0, 100 * MS), "exactly full");
    cr_expect_not(gcrt_limiter_update(&l, 0, 1), "and a drop less");
}

Test(limiter, a_hundred_percent_never_limits)
{
    struct limiter l = limiter(100, 1);

    for (int n = 0; n < 100; n++)
        cr_expect_not(gcrt_limiter_update(&l, 1000 * MS, 1000 * MS));
    cr_expect_eq(l.fill, 0);
}

Test(limiter, odd_values_are_harmless)
{
    struct limiter l = limiter(50, 0);

    cr_expect_eq(l.capacity, 100 * MS, "no CPU counts as one");
    cr_expect_not(gcrt_limiter_update(&l, 0, 0));
    cr_expect_not(gcrt_limiter_update(&l, MS, 0), "more than all is all: nothing");
    cr_expect_eq(l.fill, 0);
    cr_expect(gcrt_limiter_update(&l, UINT64_MAX, UINT64_MAX));
    cr_expect_eq(l.fill, 200 * MS);
    cr_expect_not(gcrt_limiter_update(&l, 0, UINT64_MAX));
    cr_expect_eq(l.fill, 0);
}

/*
 * A collector that would take everything: while it is not limited it takes `free` percent, and
 * while it is, `held`.  If the latter is below the cap the share comes to the cap, with what
 * fits into a bucket to spare.
 */
static void
simulate(unsigned cap, uint64_t unlimited, uint64_t held, uint64_t seed)
{
    uint64_t rng = seed;
    struct limiter l = limiter(cap, 2);
    uint64_t gc = 0, all = 0, more;
    double most;

    for (int n = 0; n < 20000; n++) {
        uint64_t busy = 1 + rand_below(&rng, 10 * MS);
        uint64_t part = busy / 100 * (l.limiting ? held : unlimited);

        gcrt_limiter_update(&l, part, busy);
        gc += part;
        all += busy;
        more = 2 * l.capacity;
        most = cap / 100.0 * (double)all + (1 - cap / 100.0) * (double)more + 20000 * 2;
        cr_assert_leq((double)gc, most, "cap %u seed %" PRIu64 " step %d", cap, seed, n);
    }
    if (unlimited > cap)
        cr_expect_geq((double)gc / (double)all, cap / 100.0 - 0.01, "cap %u", cap);
}

Test(limiter, the_share_comes_to_the_cap)
{
    const char *given = getenv("GCRT_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 7;

    fprintf(stderr, "GCRT_SEED=%" PRIu64 "\n", seed);
    simulate(50, 100, 25, seed);
    simulate(50, 60, 0, seed + 1);
    simulate(25, 90, 10, seed + 2);
    simulate(10, 100, 0, seed + 3);
    simulate(80, 99, 30, seed + 4);
    simulate(50, 40, 25, seed + 5);
}
