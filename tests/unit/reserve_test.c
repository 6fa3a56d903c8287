/* SPDX-License-Identifier: MIT */
/*
 * The place of a heap: wherever the OS would put it, the addresses that a word of half an address
 * and half a small number has by chance come last, and nothing is kept beside it.
 */
#define _DEFAULT_SOURCE
#include "alloc/reserve.h"

#include "alloc/base/tools.h"

#include <criterion/criterion.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "support.h"

#define BYTES  ((size_t)65 << 20)
#define ALIGN  ((size_t)4 << 20)
#define STEP   ((size_t)333 << 20) /* 64 of them: over multiples of 4 GiB, with other remains */
#define PLACES 64
#define SPACE  ((size_t)4 << 30)

static size_t
space_kib(void)
{
    return t_proc_status_kib("VmSize");
}

static void *
take_space(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    cr_assert_neq(p, MAP_FAILED);
    return p;
}

Test(reserve, a_place_is_good_wherever_the_search_begins)
{
    const uintptr_t somewhere = (uintptr_t)0x7f62 << 32;

    for (uintptr_t from = somewhere; from < somewhere + SPACE; from += ALIGN / 4) {
        uintptr_t base = gcrt_reserve_place(from, ALIGN);

        cr_assert_eq(base % ALIGN, 0);
        cr_assert_geq(base % SPACE, ALIGN);
        cr_assert_leq(base % SPACE, SPACE / 2);
        cr_assert(base >= from && base < from + SPACE / 2 + 2 * ALIGN);
    }
    cr_expect_neq(gcrt_reserve_place(somewhere + SPACE / 4, ALIGN),
            gcrt_reserve_place(somewhere + SPACE / 8, ALIGN), "as hard to guess as it was");
}

Test(reserve, multiples_of_4_GiB_come_last)
{
    struct os os = { 0 };
    size_t moved = 0;

    for (size_t i = 0; i < PLACES; i++) {
        uintptr_t wanted = (uintptr_t)take_space(BYTES), base;

        cr_assert_eq(munmap((void *)wanted, BYTES), 0);
        base = (uintptr_t)gcrt_reserve(&os, BYTES, ALIGN);
        cr_expect_eq(base % ALIGN, 0);
        cr_expect_geq(base % SPACE, ALIGN);
        cr_expect_leq(base % SPACE, SPACE / 2);
        moved += wanted % SPACE >= SPACE / 2;
        gcrt_os_unmap(&os, (void *)base, BYTES, 0);
        (void)take_space(STEP); /* the process ends soon */
    }
    cr_expect_gt(moved, PLACES / 4, "some were wanted elsewhere");
    cr_expect_eq(aword_load_relaxed(&os.reserved), 0);
    cr_expect_eq(aword_load_relaxed(&os.refused), 0);
}

Test(reserve, nothing_is_kept_beside_it)
{
    struct os os = { 0 };
    size_t before = space_kib();
    char *p = gcrt_reserve(&os, BYTES, ALIGN);

    cr_assert_not_null(p);
    cr_expect_eq(space_kib(), before + (BYTES >> 10));
    cr_expect_eq(aword_load_relaxed(&os.reserved), BYTES);
    cr_assert(gcrt_os_commit(&os, p, BYTES), "and it is all there");
    p[0] = p[BYTES - 1] = 1;
    gcrt_os_unmap(&os, p, BYTES, BYTES);
    cr_expect_eq(space_kib(), before);
}

/* This test is a process of its own: the limit goes with it. */
Test(reserve, without_room_to_choose_from_it_is_where_it_fits)
{
    size_t bytes = (space_kib() << 10) + BYTES + 2 * ALIGN;
    struct rlimit limit = { bytes, bytes };
    struct os os = { 0 };
    void *p;

    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    p = gcrt_reserve(&os, BYTES, ALIGN);
    cr_assert_not_null(p);
    cr_expect_eq((uintptr_t)p % ALIGN, 0);
    cr_expect_null(gcrt_reserve(&os, BYTES, ALIGN), "and the next one does not");
    cr_expect_eq(aword_load_relaxed(&os.reserved), BYTES);
    gcrt_os_unmap(&os, p, BYTES, 0);
}
