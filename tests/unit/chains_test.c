/* SPDX-License-Identifier: MIT */
/*
 * Chains that grow one by one, against arrays: who is where, in what order, and what somebody
 * meets who goes through them while they grow.
 */
#include "byhand.h"

#include "gc/chains.h"

#define MANY    3000
#define OBJECTS 1700 /* most have two records, some one */
#define STEP    7    /* buckets between two records that come */

static struct special_chains chains;
static struct special records[MANY];
static bool met[MANY];

static uintptr_t
object_of(size_t i)
{
    return ((uintptr_t)0x7f62 << 32) + i % OBJECTS * 48;
}

/* As special.c does it. */
static void
add(size_t i)
{
    struct special **at;

    cr_assert(gcrt_chains_grow(the_heap, &chains));
    at = chains_of(&chains, object_of(i));
    records[i] = (struct special){ .next = *at, .object = object_of(i) };
    *at = &records[i];
    chains.count++;
}

static const struct special *
next_of(const struct special *r, uintptr_t object)
{
    while (r != NULL && r->object != object)
        r = r->next;
    return r;
}

static void
expect_found(size_t n)
{
    size_t filed = 0;

    for (size_t i = 0; i < n; i++) {
        const struct special *r = next_of(*chains_of(&chains, object_of(i)), object_of(i));

        if (i + OBJECTS < n) { /* the newest one comes first */
            cr_assert_eq(r, &records[i + OBJECTS], "%zu of %zu", i, n);
            r = next_of(r->next, object_of(i));
        }
        cr_assert_eq(r, &records[i], "%zu of %zu", i, n);
    }
    for (uint32_t b = 0; b < chains.nbuckets; b++)
        for (const struct special *r = *chains_at(&chains, b); r != NULL; r = r->next)
            filed++;
    cr_assert_eq(filed, n, "each once");
}

Test(chains, each_record_is_where_its_object_says)
{
    size_t nbuckets = CHAINS_FIRST;

    begin_by_hand();
    for (size_t i = 0; i < MANY; i++) {
        add(i);
        if (i >= nbuckets || (nbuckets & (nbuckets - 1)) != 0)
            nbuckets += 8;
        cr_assert_eq(chains.nbuckets, nbuckets);
        cr_assert(chains.nbuckets <= chains.mask + 1 && chains.nbuckets > chains.mask / 2);
        if (i % 97 == 0)
            expect_found(i + 1);
    }
    expect_found(MANY);
    end_by_hand();
}

/* Somebody goes upwards, and after each few buckets a record comes. */
Test(chains, who_goes_through_passes_none_by)
{
    size_t n = MANY / 4, here = n;

    begin_by_hand();
    for (size_t i = 0; i < n; i++)
        add(i);
    for (uint32_t b = 0; b < chains.nbuckets; b++) {
        for (const struct special *r = *chains_at(&chains, b); r != NULL; r = r->next)
            met[r - records] = true;
        if (b % STEP == 0 && n < MANY)
            add(n++);
    }
    cr_assert_gt(n, here);
    for (size_t i = 0; i < here; i++)
        cr_assert(met[i], "%zu", i);
    end_by_hand();
}

Test(chains, without_memory_they_are_longer)
{
    begin_by_hand();
    the_heap->os.fail_from = 1;
    cr_expect_not(gcrt_chains_grow(the_heap, &chains), "no bucket at all");
    the_heap->os.fail_from = 0;
    for (size_t i = 0; i < CHAINS_FIRST; i++)
        add(i);
    the_heap->os.fail_from = 1;
    for (size_t i = CHAINS_FIRST; i < MANY / 2; i++)
        add(i);
    cr_expect_eq(chains.nbuckets, CHAINS_FIRST);
    expect_found(MANY / 2);
    the_heap->os.fail_from = 0;
    for (size_t i = MANY / 2; i < MANY; i++)
        add(i);
    cr_expect_gt(chains.nbuckets, MANY / 3, "each that comes brings some");
    expect_found(MANY);
    end_by_hand();
}
