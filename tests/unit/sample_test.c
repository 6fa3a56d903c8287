/* SPDX-License-Identifier: MIT */
/*
 * The sampler by itself.  Seeds are fixed, so nothing here depends on luck; the bounds are
 * four standard deviations.
 */
#include <criterion/criterion.h>

#include "alloc/base/rand.h"
#include "alloc/sample.h"

#include <math.h>

#define RATE ((uint64_t)512 << 10)

static struct sampler
sampler(uint64_t rate, uint64_t seed)
{
    struct sampler s = { .rate = 0 };

    gcrt_sampler_set_rate(&s, rate, seed);
    return s;
}

/* Takes one slot by itself; is it a sample? */
static bool
take_one(struct sampler *s, size_t bytes)
{
    bool is;

    cr_assert_eq(gcrt_sampler_take(s, bytes, 1), 1);
    is = s->due != 0;
    if (is)
        cr_assert_eq(s->due, s->rate);
    s->due = 0;
    return is;
}

static void
expect_share(double got, double n, double p)
{
    double bound = 4 * sqrt(n * p * (1 - p)) + 1e-9;

    cr_expect(fabs(got - n * p) <= bound, "%g of %g, expected %g within %g", got, n, n * p, bound);
}

Test(sample, an_object_is_one_with_the_chance_that_its_size_has)
{
    static const size_t sizes[] = { 16, 1024, 65536, 524288, 4 << 20 };

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct sampler s = sampler(RATE, 7 + i);
        double n = sizes[i] < 1024 ? 20e6 : 200e3, got = 0;

        for (double k = 0; k < n; k++)
            got += take_one(&s, sizes[i]);
        expect_share(got, n, 1 - exp(-(double)sizes[i] / (double)RATE));
    }
}

/*
 * Runs of any length, some of which are given back when they are half used: what is not
 * handed out is not looked at, and does not change what is.
 */
Test(sample, runs_that_are_given_back_change_nothing)
{
    struct sampler s = sampler(RATE, 99);
    uint64_t rand = 5;
    double n = 0, got = 0;

    while (n < 4e6) {
        size_t nslots = 1 + rand_below(&rand, 128), bytes = 256;
        size_t to = gcrt_sampler_take(&s, bytes, nslots);
        size_t used = rand_below(&rand, 4) == 0 ? 1 + rand_below(&rand, to) : to;

        cr_assert(to >= 1 && to <= nslots);
        got += s.due != 0;
        s.due = 0;
        n += (double)used;
        sampler_give_back(&s, (to - used) * bytes);
    }
    expect_share(got, n, 1 - exp(-256.0 / (double)RATE));
}

Test(sample, a_run_ends_before_a_sample_and_begins_with_it)
{
    struct sampler s = sampler(4096, 3);
    int due = 0, cut = 0;

    for (int i = 0; i < 10000; i++) {
        uint64_t left = s.left;
        size_t n = gcrt_sampler_take(&s, 64, 100);

        cr_expect_eq(s.due != 0, left < 64);
        cr_expect_eq(s.left < 64, n < 100 || s.left < 64);
        cut += n < 100;
        due += s.due != 0;
        s.due = 0;
    }
    cr_expect(due > 1000 && cut > 1000);
}

Test(sample, rate_1_takes_every_object)
{
    struct sampler s = sampler(1, 1);

    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(gcrt_sampler_take(&s, 8 + 8 * (size_t)(i % 9), 50), 1);
        cr_assert_eq(s.due, 1);
        s.due = 0;
    }
}

Test(sample, rate_0_takes_none_and_another_rate_begins_at_once)
{
    struct sampler s = sampler(0, 1);
    int got = 0;

    for (int i = 0; i < 1000; i++)
        cr_assert_eq(gcrt_sampler_take(&s, SIZE_MAX / 4, 2), 2);
    sampler_give_back(&s, 1 << 20);
    cr_expect_eq(s.left, SAMPLE_NEVER);
    gcrt_sampler_set_rate(&s, 1000, 1);
    for (int i = 0; i < 1000; i++)
        got += take_one(&s, 1000);
    expect_share(got, 1000, 1 - exp(-1));
    gcrt_sampler_set_rate(&s, 0, 1);
    cr_expect_not(take_one(&s, SIZE_MAX));
}
