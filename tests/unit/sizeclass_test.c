/* SPDX-License-Identifier: MIT */
/*
 * Every entry of every size class table, computed again: sizes and pages against Go's
 * published table, object counts by division, index magic for every byte of every span,
 * the class of every size by search.
 */
#include <criterion/criterion.h>

#include "alloc/base/bits.h"
#include "alloc/mspan.h"
#include "alloc/sizeclass.h"

/* Go's table: bytes, KiB of a span, objects by plain division, tail, alignment. */
struct row {
    unsigned bytes, kib, objects, tail, align;
};

static const struct row go[NUM_CLASSES] = {
    { 0, 0, 0, 0, 0 },
    { 8, 8, 1024, 0, 8 }, { 16, 8, 512, 0, 16 }, { 24, 8, 341, 8, 8 },
    { 32, 8, 256, 0, 32 }, { 48, 8, 170, 32, 16 }, { 64, 8, 128, 0, 64 },
    { 80, 8, 102, 32, 16 }, { 96, 8, 85, 32, 32 }, { 112, 8, 73, 16, 16 },
    { 128, 8, 64, 0, 128 }, { 144, 8, 56, 128, 16 }, { 160, 8, 51, 32, 32 },
    { 176, 8, 46, 96, 16 }, { 192, 8, 42, 128, 64 }, { 208, 8, 39, 80, 16 },
    { 224, 8, 36, 128, 32 }, { 240, 8, 34, 32, 16 }, { 256, 8, 32, 0, 256 },
    { 288, 8, 28, 128, 32 }, { 320, 8, 25, 192, 64 }, { 352, 8, 23, 96, 32 },
    { 384, 8, 21, 128, 128 }, { 416, 8, 19, 288, 32 }, { 448, 8, 18, 128, 64 },
    { 480, 8, 17, 32, 32 }, { 512, 8, 16, 0, 512 }, { 576, 8, 14, 128, 64 },
    { 640, 8, 12, 512, 128 }, { 704, 8, 11, 448, 64 }, { 768, 8, 10, 512, 256 },
    { 896, 8, 9, 128, 128 }, { 1024, 8, 8, 0, 1024 }, { 1152, 8, 7, 128, 128 },
    { 1280, 8, 6, 512, 256 }, { 1408, 16, 11, 896, 128 }, { 1536, 8, 5, 512, 512 },
    { 1792, 16, 9, 256, 256 }, { 2048, 8, 4, 0, 2048 }, { 2304, 16, 7, 256, 256 },
    { 2688, 8, 3, 128, 128 }, { 3072, 24, 8, 0, 1024 }, { 3200, 16, 5, 384, 128 },
    { 3456, 24, 7, 384, 128 }, { 4096, 8, 2, 0, 4096 }, { 4864, 24, 5, 256, 256 },
    { 5376, 16, 3, 256, 256 }, { 6144, 24, 4, 0, 2048 }, { 6528, 32, 5, 128, 128 },
    { 6784, 40, 6, 256, 128 }, { 6912, 48, 7, 768, 256 }, { 8192, 8, 1, 0, 8192 },
    { 9472, 56, 6, 512, 256 }, { 9728, 48, 5, 512, 512 }, { 10240, 40, 4, 0, 2048 },
    { 10880, 32, 3, 128, 128 }, { 12288, 24, 2, 0, 4096 }, { 13568, 40, 3, 256, 256 },
    { 14336, 56, 4, 0, 2048 }, { 16384, 16, 1, 0, 8192 }, { 18432, 72, 4, 0, 2048 },
    { 19072, 56, 3, 128, 128 }, { 20480, 40, 2, 0, 4096 }, { 21760, 64, 3, 256, 256 },
    { 24576, 24, 1, 0, 8192 }, { 27264, 80, 3, 128, 128 }, { 28672, 56, 2, 0, 4096 },
    { 32768, 32, 1, 0, 8192 },
};

static size_t
span_bytes(unsigned c)
{
    return (size_t)gcrt_class_pages[c] << PAGE_SHIFT;
}

/* Has the class more pages than Go's, for a span to last longer? */
static bool
is_longer(unsigned c)
{
    return go[c].bytes <= GC_IMPL_INLINE_MAX && go[c].objects < 32 && c != CLASS_LARGE;
}

Test(sizeclass, bytes_are_those_of_go)
{
    for (unsigned c = 0; c < NUM_CLASSES; c++)
        cr_expect_eq(gcrt_class_bytes[c], go[c].bytes, "class %u", c);
}

Test(sizeclass, pages_are_those_of_go_or_four)
{
    for (unsigned c = 0; c < NUM_CLASSES; c++)
        cr_expect_eq(span_bytes(c),
                is_longer(c) ? 4 * PAGE_SIZE : go[c].kib * (size_t)1024, "class %u", c);
}

Test(sizeclass, a_span_holds_as_many_objects_as_fit)
{
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        size_t n = span_bytes(c) / gcrt_class_bytes[c];
        size_t tail = span_bytes(c) - n * gcrt_class_bytes[c];

        cr_expect_eq(gcrt_class_nelems[c], n, "class %u", c);
        cr_expect(is_longer(c) || n == go[c].objects, "class %u", c);
        cr_expect(is_longer(c) ? tail < gcrt_class_bytes[c] : tail == go[c].tail, "class %u", c);
        cr_expect_leq(tail, span_bytes(c) / 8, "class %u wastes more than Go allows", c);
    }
    cr_expect_eq(gcrt_class_nelems[CLASS_LARGE], 0);
}

Test(sizeclass, classes_rise)
{
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        cr_expect_lt(gcrt_class_bytes[c - 1], gcrt_class_bytes[c]);
        cr_expect_eq(gcrt_class_bytes[c] % WORD, 0);
    }
    cr_expect_eq(gcrt_class_bytes[NUM_CLASSES - 1], SMALL_MAX);
    cr_expect_eq(gcrt_class_bytes[CLASS_TINY], TINY_BYTES);
}

Test(sizeclass, magic_follows_its_formula)
{
    cr_expect_eq(gcrt_class_magic[CLASS_LARGE], 0);
    for (unsigned c = 1; c < NUM_CLASSES; c++)
        cr_expect_eq(gcrt_class_magic[c], UINT32_MAX / gcrt_class_bytes[c] + 1, "class %u", c);
}

Test(sizeclass, magic_divides_every_offset_exactly)
{
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        uint64_t magic = gcrt_class_magic[c], size = gcrt_class_bytes[c];

        for (uint64_t offset = 0; offset < span_bytes(c); offset++)
            if ((offset * magic) >> 32 != offset / size)
                cr_assert_fail("class %u, offset %lu: %lu, not %lu", c, (unsigned long)offset,
                        (unsigned long)((offset * magic) >> 32),
                        (unsigned long)(offset / size));
    }
}

static unsigned
smallest_class(size_t bytes)
{
    unsigned c = 1;

    while (gcrt_class_bytes[c] < bytes)
        c++;
    return c;
}

Test(sizeclass, every_size_gets_the_smallest_class_that_holds_it)
{
    for (size_t bytes = 1; bytes <= SMALL_MAX; bytes++)
        if (class_of(bytes) != smallest_class(bytes))
            cr_assert_fail("%zu bytes: class %u, not %u", bytes, class_of(bytes),
                    smallest_class(bytes));
}

Test(sizeclass, table_entries_beyond_the_first_are_all_in_use)
{
    cr_expect_eq(gc_impl_class_of_8[0], 1, "0 bytes would be class 1");
    for (size_t i = 1; i < ARRAY_LEN(gc_impl_class_of_8); i++)
        cr_expect_eq(gc_impl_class_of_8[i], smallest_class(i * 8), "entry %zu", i);
    for (size_t i = 0; i < ARRAY_LEN(gcrt_class_of_128); i++)
        cr_expect_eq(gcrt_class_of_128[i], smallest_class(1024 + i * 128), "entry %zu", i);
}

/* Spans start at page borders, so a slot is aligned to the power of two in its class. */
static size_t
slot_align(unsigned c)
{
    return min_size((size_t)1 << bit_lowest(gcrt_class_bytes[c]), PAGE_SIZE);
}

Test(sizeclass, slots_are_aligned_as_gos_table_says)
{
    for (unsigned c = 1; c < NUM_CLASSES; c++)
        cr_expect_eq(slot_align(c), go[c].align, "class %u", c);
}

Test(sizeclass, every_size_keeps_the_alignment_that_is_promised)
{
    static const struct {
        size_t from, align;
    } promise[] = { { 1, 8 }, { 32, 16 }, { 256, 32 }, { 512, 64 }, { 768, 128 },
        { 28672, 4096 }, { 32768, 8192 } };

    for (size_t i = 0; i < ARRAY_LEN(promise); i++)
        for (size_t bytes = promise[i].from; bytes <= SMALL_MAX; bytes++)
            if (slot_align(class_of(bytes)) < promise[i].align)
                cr_assert_fail("%zu bytes are aligned to %zu only, not %zu", bytes,
                        slot_align(class_of(bytes)), promise[i].align);
}

Test(sizeclass, powers_of_two_are_aligned_to_themselves)
{
    for (size_t bytes = 8; bytes <= SMALL_MAX; bytes *= 2) {
        cr_expect_eq(gcrt_class_bytes[class_of(bytes)], bytes);
        cr_expect_eq(slot_align(class_of(bytes)), min_size(bytes, PAGE_SIZE));
    }
}

Test(sizeclass, bitmaps_have_room_for_every_class)
{
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        size_t words = c <= CLASS_SIDE_MAX ? span_side_words(c) : SPAN_LINE_WORDS;

        cr_expect_leq(gcrt_class_nelems[c], words * 64, "class %u", c);
        if (c <= CLASS_SIDE_MAX)
            cr_expect_gt(gcrt_class_nelems[c], SPAN_LINE_WORDS * 64, "class %u", c);
    }
}
