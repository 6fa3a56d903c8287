/* SPDX-License-Identifier: MIT */
/*
 * Purpose: memory ahead of need: which pages are backed, when there are enough, what is never
 * backed, that who allocates rings once, and what happens when the system refuses.
 */

#define _GNU_SOURCE

#include "bare.h"

#include "alloc/populate.h"
#include "alloc/scavenge.h"

#include <sys/mman.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static struct bare b;

/* All of its memory may be huge pages. */
static void
start(void)
{
    bare_init(&b, 256 * MIB);
    b.heap.huge_from = 0;
}

static void
finish(void)
{
    char why[128];

    cr_assert_eq(gcrt_pagealloc_check(&b.heap.pages, why, sizeof why), 0, "%s", why);
    cr_assert_eq(aword_load_relaxed(&b.heap.released),
            b.heap.pages.scavenged_pages << PAGE_SHIFT);
    cr_assert_eq(b.heap.on_way, 0);
    bare_finish(&b);
}

/* A span of so many MiB whose pages nobody touches. */
static struct mspan *
take(size_t mib)
{
    struct mspan *s = gcrt_mheap_alloc_large(
            &b.heap, &b.noscan[CLASS_LARGE], mib * MIB, bare_sweepgen(&b));

    cr_assert_not_null(s);
    return s;
}

static enum populate
populate(void)
{
    return gcrt_populate(&b.heap, UINT64_MAX);
}

static bool
is_resident(size_t mib)
{
    size_t os_page = (size_t)sysconf(_SC_PAGESIZE), n = MIB / os_page, sum = 0;
    unsigned char map[MIB / 4096];

    cr_assert_eq(mincore((void *)(b.heap.base + mib * MIB), MIB, map), 0);
    for (size_t i = 0; i < n; i++)
        sum += map[i] & 1;
    cr_assert(sum == 0 || sum == n, "all of it or nothing");
    return sum != 0;
}

static unsigned
rings(void)
{
    return ahalf_load_relaxed(&b.heap.low);
}

Test(populate, the_lowest_free_huge_page_is_backed_and_no_more)
{
    start();
    take(1);
    cr_assert_eq(populate(), POPULATE_DONE);
    cr_assert(!is_resident(0) && !is_resident(1), "a part of it is in use");
    cr_assert(is_resident(2) && is_resident(3));
    cr_assert_eq(mheap_backed(&b.heap), 3 * MIB, "the span counts as backed, too");
    cr_assert_eq(aword_load_relaxed(&b.heap.populated), HUGE_BYTES);
    cr_assert_eq(populate(), POPULATE_ENOUGH);
    finish();
}

Test(populate, the_heap_grows_for_it_if_it_must)
{
    start();
    cr_assert_eq(populate(), POPULATE_DONE);
    take(4);
    cr_assert_eq(aword_load_relaxed(&b.heap.grown), 4 * MIB);
    cr_assert_eq(populate(), POPULATE_DONE);
    cr_assert_eq(aword_load_relaxed(&b.heap.grown), 8 * MIB);
    cr_assert(is_resident(4));
    finish();
}

Test(populate, no_growth_while_there_are_clean_pages)
{
    struct mspan *odd[4];

    start();
    for (size_t i = 0; i < 4; i++) {
        odd[i] = take(1);
        take(1);
    }
    for (size_t i = 0; i < 4; i++)
        gcrt_mheap_free(&b.heap, odd[i]);
    cr_assert_eq(gcrt_scavenge(&b.heap, SIZE_MAX), 4 * MIB);
    cr_assert_eq(populate(), POPULATE_NO_ROOM, "they are in pieces");
    cr_assert_eq(aword_load_relaxed(&b.heap.grown), 8 * MIB);
    finish();
}

Test(populate, small_pages_are_left_alone)
{
    start();
    b.heap.huge_from = 8 * MIB;
    take(1);
    cr_assert_eq(populate(), POPULATE_NO_ROOM);
    cr_assert_eq(aword_load_relaxed(&b.heap.grown), 4 * MIB);
    take(3);
    cr_assert_eq(populate(), POPULATE_NO_ROOM, "nor does the heap grow for it");
    take(4);
    cr_assert_eq(aword_load_relaxed(&b.heap.grown), 8 * MIB);
    cr_assert_eq(populate(), POPULATE_DONE, "the next page is a huge one");
    cr_assert(is_resident(8));
    finish();
}

Test(populate, nothing_is_backed_beyond_the_bounds)
{
    start();
    take(1);
    cr_assert_eq(gcrt_populate(&b.heap, 3 * MIB - 1), POPULATE_NO_ROOM);
    aword_store_relaxed(&b.heap.backed_soft, 4 * MIB + aword_load_relaxed(&b.heap.described));
    aword_store_relaxed(&b.heap.external, MIB + 1);
    cr_assert_eq(populate(), POPULATE_NO_ROOM);
    cr_assert_eq(mheap_backed(&b.heap), MIB);
    aword_store_relaxed(&b.heap.external, MIB);
    cr_assert_eq(gcrt_populate(&b.heap, 3 * MIB), POPULATE_DONE);
    finish();
}

Test(populate, who_takes_the_last_but_one_rings_once)
{
    struct pagecache window = { 0, 0, 0 };

    start();
    take(2);
    cr_assert_eq(rings(), 1, "the heap has grown");
    cr_assert_eq(populate(), POPULATE_DONE);
    take(1);
    cr_assert_eq(rings(), 1, "nobody has asked to be told");
    cr_assert_eq(populate(), POPULATE_DONE);
    cr_assert_eq(populate(), POPULATE_ENOUGH);
    take(1);
    cr_assert_eq(rings(), 1, "2 MiB are left");
    cr_assert_not_null(gcrt_mheap_alloc_small(&b.heap, &b.noscan[5], bare_sweepgen(&b), &window));
    cr_assert_eq(rings(), 2);
    take(1);
    cr_assert_eq(rings(), 2, "told already");
    gcrt_mheap_flush_cache(&b.heap, &window);
    cr_assert_eq(populate(), POPULATE_DONE);
    cr_assert_eq(populate(), POPULATE_ENOUGH);
    take(2);
    cr_assert_eq(rings(), 3, "large objects ring, too");
    finish();
}

Test(populate, what_is_given_back_stays_away_until_somebody_allocates)
{
    start();
    take(1);
    cr_assert_eq(populate(), POPULATE_DONE);
    take(2);
    cr_assert_eq(rings(), 1, "nobody has asked to be told");
    gcrt_populate_no_more(&b.heap);
    cr_assert_eq(populate(), POPULATE_ENOUGH, "the ring is from before");
    cr_assert_eq(populate(), POPULATE_ENOUGH);
    take(1);
    cr_assert_eq(rings(), 2);
    cr_assert_eq(populate(), POPULATE_DONE);
    finish();
}

Test(populate, giving_all_back_asks_for_a_ring)
{
    start();
    take(1);
    cr_assert_eq(gcrt_populate(&b.heap, MIB), POPULATE_NO_ROOM);
    take(1);
    cr_assert_eq(rings(), 1);
    gcrt_populate_no_more(&b.heap);
    take(1);
    cr_assert_eq(rings(), 2);
    finish();
}

Test(populate, no_ring_when_there_is_no_room)
{
    start();
    take(1);
    cr_assert_eq(gcrt_populate(&b.heap, MIB), POPULATE_NO_ROOM);
    take(1);
    cr_assert_eq(rings(), 1, "as it was");
    take(4);
    cr_assert_eq(rings(), 2, "the heap has grown, and there may be room now");
    finish();
}

Test(populate, refused_pages_can_be_used)
{
    start();
    take(1);
    b.os.fail_at = aword_load_relaxed(&b.os.calls) + 1;
    cr_assert_eq(populate(), POPULATE_REFUSED);
    b.os.fail_at = 0;
    cr_assert_eq(aword_load_relaxed(&b.heap.populated), 0);
    memset((void *)span_start(&b.heap, take(3)), 1, 3 * MIB);
    finish();
}
