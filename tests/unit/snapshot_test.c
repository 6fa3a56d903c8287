/* SPDX-License-Identifier: MIT */
/*
 * How memory is divided into classes: every byte once, whatever the inputs.
 */
#include "metrics/snapshot.h"

#include <criterion/criterion.h>
#include <string.h>

#include "alloc/base/rand.h"
#include "metrics/metrics.h"

static uint64_t
sum_of_classes(const struct memory_classes *m)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < gcrt_metrics_count; i++)
        if (strncmp(gcrt_metrics_desc[i].name, "/memory/classes/", 16) == 0
                && strcmp(gcrt_metrics_desc[i].name, "/memory/classes/total:bytes") != 0)
            sum += *(const uint64_t *)(const void *)((const char *)m
                    + gcrt_metrics_table[i].offset - offsetof(struct snapshot, memory));
    return sum;
}

Test(snapshot, memory_of_coherent_inputs_is_all_that_was_made_ready)
{
    struct memory_inputs in = { .grown = 64 << 20, .in_use = 40 << 20, .released = 10 << 20,
        .mspans = 1 << 20, .pages = 5000, .workbufs = 4096, .persist = 700000,
        .mcaches = 30000, .beside = 1234 };
    struct memory_classes m;

    gcrt_snapshot_divide(&in, 30 << 20, &m);
    cr_expect_eq(m.total, (64 << 20) + (1 << 20) + 5000 + 4096 + 700000 + 1234);
    cr_expect_eq(m.heap_free, 14 << 20);
    cr_expect_eq(m.heap_unused, 10 << 20);
    cr_expect_eq(m.mspan_inuse, (40 << 20) / 64);
    cr_expect_eq(m.other, 700000 - 30000 + 1234);
    cr_expect_eq(sum_of_classes(&m), m.total);
}

Test(snapshot, memory_in_motion_changes_the_parts_and_not_the_whole)
{
    struct memory_inputs in = { .grown = 100, .in_use = 90, .released = 20 };
    struct memory_classes m;

    gcrt_snapshot_divide(&in, 95, &m); /* pages were taken, and are not yet uncounted */
    cr_expect_eq(m.heap_objects, 95);
    cr_expect_eq(m.heap_released, 5);
    cr_expect(m.heap_unused == 0 && m.heap_free == 0);
    cr_expect_eq(m.total, 100);
}

Test(snapshot, memory_classes_sum_up_whatever_the_inputs)
{
    uint64_t rng = 1;

    for (int i = 0; i < 1000; i++) {
        struct memory_inputs in;
        uint64_t *word = (uint64_t *)&in;
        struct memory_classes m;

        for (size_t w = 0; w < sizeof(in) / sizeof(*word); w++)
            word[w] = rand_below(&rng, (uint64_t)1 << (1 + rand_below(&rng, 40)));
        gcrt_snapshot_divide(&in, rand_below(&rng, 1 << 30), &m);
        cr_assert_eq(sum_of_classes(&m), m.total);
        cr_assert_lt(m.total, (uint64_t)1 << 45, "nothing wrapped below zero");
    }
}
