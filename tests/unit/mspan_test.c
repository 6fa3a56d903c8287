/* SPDX-License-Identifier: MIT */
/*
 * Spans of every class in a heap without a collector: from any byte of a span to its
 * object and back, and the bitmap searches against a loop over slots.
 * The seed is printed; GCRT_SEED repeats a run.
 */
#include "bare.h"

static struct bare b;

/* ---- addresses ---- */

/* Every byte of the span at once: index by division, and the way back. */
static void
expect_indices(struct mspan *s)
{
    uintptr_t start = span_start(&b.heap, s);
    size_t size = span_elem_bytes(s), all = span_npages(s) << PAGE_SHIFT;

    for (size_t offset = 0; offset < all; offset++) {
        size_t want = offset / size;
        size_t have = span_object_index(&b.heap, s, start + offset);

        if (want < s->nelems ? have != want : have < s->nelems)
            cr_assert_fail("class %u offset %zu: object %zu of %u, not %zu", s->sizeclass,
                    offset, have, s->nelems, want);
        if (want < s->nelems
                && span_object(&b.heap, s, have) != start + offset - offset % size)
            cr_assert_fail("class %u object %zu is elsewhere", s->sizeclass, have);
    }
}

Test(mspan, every_byte_of_every_class_finds_its_object)
{
    bare_init(&b, 0);
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        struct mspan *s = bare_small(&b, &b.scan[c]);

        cr_assert_eq(span_npages(s), gcrt_class_pages[c]);
        cr_assert_eq(span_elem_bytes(s), gcrt_class_bytes[c]);
        cr_assert_eq(span_words(s), (gcrt_class_nelems[c] + 63) / 64);
        expect_indices(s);
    }
    bare_finish(&b);
}

/* The span that an address leads to, page by page, with an odd byte in each. */
static void
expect_pages_lead_to(struct mspan *s)
{
    uintptr_t start = span_start(&b.heap, s);

    for (size_t page = 0; page < span_npages(s); page++) {
        uintptr_t at = start + (page << PAGE_SHIFT);

        cr_assert_eq(mheap_span_of(&b.heap, at), s);
        cr_assert_eq(mheap_span_of(&b.heap, at + 4711), s);
        cr_assert_eq(mheap_span_of(&b.heap, at + PAGE_SIZE - 1), s);
    }
}

Test(mspan, every_page_of_every_class_leads_to_its_span)
{
    bare_init(&b, 0);
    for (unsigned c = 1; c < NUM_CLASSES; c++)
        expect_pages_lead_to(bare_small(&b, &b.noscan[c]));
    bare_finish(&b);
}

static void
expect_large(size_t bytes)
{
    struct mspan *s = gcrt_mheap_alloc_large(&b.heap, &b.scan[0], bytes, bare_sweepgen(&b));
    uintptr_t start;
    size_t rounded = align_up(bytes, WORD);

    cr_assert_not_null(s);
    start = span_start(&b.heap, s);
    cr_assert_eq(span_state(s), SPAN_LARGE);
    cr_assert_eq(s->nelems, 1);
    cr_assert_eq(span_npages(s), (bytes + PAGE_SIZE - 1) / PAGE_SIZE);
    cr_assert_eq(span_elem_bytes(s), rounded);
    expect_pages_lead_to(s);
    for (size_t i = 0; i < min_size(rounded, 3 * PAGE_SIZE); i++)
        cr_assert_eq(span_object_index(&b.heap, s, start + rounded - 1 - i), 0);
    for (size_t i = rounded; i < span_npages(s) << PAGE_SHIFT; i++)
        cr_assert_eq(span_object_index(&b.heap, s, start + i), 1, "behind the object");
    cr_assert_eq(span_object(&b.heap, s, 0), start);
    cr_assert(span_is_allocated(s, 0));
}

Test(mspan, large_spans_know_what_was_asked_for)
{
    static const size_t sizes[] = { 1, 8, 32769, 40000, 40960, 40961, 65536, 65537, 100001,
        1 << 20, (1 << 20) + 1, (4 << 20) - 7, 4 << 20, (4 << 20) + 1, 9 << 20 };

    bare_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        expect_large(sizes[i]);
    bare_finish(&b);
}

Test(mspan, addresses_outside_lead_nowhere)
{
    struct mspan *s;
    uintptr_t start, end;

    bare_init(&b, 0);
    s = gcrt_mheap_alloc_large(&b.heap, &b.scan[0], 20 << PAGE_SHIFT, bare_sweepgen(&b));
    start = b.heap.base;
    end = start + aword_load_relaxed(&b.heap.limit);
    cr_assert_eq(mheap_span_of(&b.heap, start), s, "the first page is handed out first");
    cr_assert_null(mheap_span_of(&b.heap, start - 1));
    cr_assert_null(mheap_span_of(&b.heap, end));
    cr_assert_null(mheap_span_of(&b.heap, end - 1), "grown, but in no span");
    cr_assert_null(mheap_span_of(&b.heap, start + (20 << PAGE_SHIFT)), "the page behind it");
    cr_assert_null(mheap_span_of(&b.heap, 0));
    cr_assert_null(mheap_span_of(&b.heap, UINTPTR_MAX));
    cr_assert(mheap_contains(&b.heap, end - 1));
    cr_assert_not(mheap_contains(&b.heap, end));
    cr_assert_not(mheap_contains(&b.heap, start - 1));
    bare_finish(&b);
}

Test(mspan, an_interior_page_of_an_ended_span_leads_nowhere)
{
    struct mspan *s;
    uintptr_t start;

    bare_init(&b, 0);
    s = gcrt_mheap_alloc_large(&b.heap, &b.scan[0], 5 << PAGE_SHIFT, bare_sweepgen(&b));
    start = span_start(&b.heap, s);
    ahalf_store_release(&s->head, SPAN_FREE); /* as gcrt_mheap_free begins */
    for (size_t page = 0; page < 5; page++)
        cr_assert_null(mheap_span_of(&b.heap, start + (page << PAGE_SHIFT)));
    bare_finish(&b);
}

/* ---- bitmaps ---- */

static size_t
naive_find(struct mspan *s, size_t from, bool used)
{
    while (from < s->nelems && bit_of(span_allocs(s), from) != used)
        from++;
    return from;
}

/* Random slots allocated, at a random density; returns nothing but the bits. */
static void
scatter(struct mspan *s, uint64_t *seed)
{
    uint64_t density = rand_below(seed, 101);

    for (size_t i = 0; i < s->nelems; i++)
        set_bit(span_allocs(s), i, rand_below(seed, 100) < density);
}

static void
expect_searches(struct mspan *s)
{
    for (size_t from = 0; from <= s->nelems; from++) {
        cr_assert_eq(span_next_free(s, from), naive_find(s, from, false), "class %u from %zu",
                s->sizeclass, from);
        cr_assert_eq(span_next_used(s, from), naive_find(s, from, true), "class %u from %zu",
                s->sizeclass, from);
    }
}

static void
expect_allocated(struct mspan *s, uint64_t *seed)
{
    size_t freeindex = rand_below(seed, s->nelems + 1u);

    ahalf_store_relaxed(&s->freeindex, (unsigned)freeindex);
    for (size_t i = 0; i < s->nelems; i++)
        cr_assert_eq(span_is_allocated(s, i), i < freeindex || bit_of(span_allocs(s), i));
}

Test(mspan, searches_agree_with_a_loop_over_slots)
{
    uint64_t seed = seed_of("searches_agree_with_a_loop_over_slots");

    bare_init(&b, 0);
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        struct mspan *s = bare_small(&b, &b.scan[c]);

        for (int round = 0; round < 8; round++) {
            scatter(s, &seed);
            expect_searches(s);
            expect_allocated(s, &seed);
        }
    }
    bare_finish(&b);
}

Test(mspan, mark_and_alloc_bits_do_not_share_a_word)
{
    bare_init(&b, 0);
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        struct mspan *s = bare_small(&b, &b.scan[c]), copy;

        cr_assert_eq(span_has_side(s), c <= CLASS_SIDE_MAX);
        memcpy(&copy, s, sizeof(copy));
        for (size_t i = 0; i < s->nelems; i++)
            set_bit(span_marks(s), i, true);
        for (size_t i = 0; i < s->nelems; i++)
            cr_assert_not(bit_of(span_allocs(s), i), "class %u slot %zu", c, i);
        for (size_t i = 0; i < s->nelems; i++) {
            set_bit(span_marks(s), i, false);
            set_bit(span_allocs(s), i, true);
        }
        for (size_t i = 0; i < s->nelems; i++)
            cr_assert_not(bit_of(span_marks(s), i), "class %u slot %zu", c, i);
        cr_assert_eq(s->divmagic, copy.divmagic);
        cr_assert_eq(s->nelems, copy.nelems);
        cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), ahalf_load_relaxed(&copy.sweepgen));
        cr_assert_eq(span_state(s), SPAN_SMALL);
    }
    bare_finish(&b);
}

Test(mspan, a_side_block_of_one_span_is_not_anothers)
{
    struct mspan *s[6];

    bare_init(&b, 0);
    for (unsigned i = 0; i < 6; i++)
        s[i] = bare_small(&b, &b.noscan[1 + i % CLASS_SIDE_MAX]);
    for (unsigned i = 0; i < 6; i++)
        for (size_t k = 0; k < s[i]->nelems; k++)
            set_bit(i % 2 ? span_marks(s[i]) : span_allocs(s[i]), k, true);
    for (unsigned i = 0; i < 6; i++)
        for (size_t k = 0; k < s[i]->nelems; k++)
            cr_assert_not(bit_of(i % 2 ? span_allocs(s[i]) : span_marks(s[i]), k));
    bare_finish(&b);
}
