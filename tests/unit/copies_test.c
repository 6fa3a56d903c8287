/* SPDX-License-Identifier: MIT */
/*
 * Marking in copies of mark bits: when a mark is seen by others, that it counts once, and which
 * marker has copies.  That the kernels mark the right objects in them is plain_test.c's.
 */
#include "byhand.h"

#include "gc/copies.h"
#include "gc/worker.h"

struct node {
    void *a;
    long more[2];
};
GC_TYPE(node_type, struct node, a);

static struct raw_words raw;

/* Two markers that have copies: a worker's, and the coordinator's. */
static struct marker *
marker(unsigned i)
{
    return &the_heap->marking.workers[i].marker;
}

static uintptr_t
page_of(const void *p)
{
    return ((uintptr_t)p - the_heap->mheap.base) >> PAGE_SHIFT;
}

static size_t
index_of(const void *p)
{
    const struct mheap *h = &the_heap->mheap;

    return span_object_index(h, mheap_span_of(h, (uintptr_t)p), (uintptr_t)p);
}

static bool
mark_in_copy(struct marker *mk, const void *p)
{
    if (!copies_have(mk->copies, page_of(p)))
        gcrt_copies_take(mk, mheap_map(&the_heap->mheap), page_of(p));
    return copies_mark(mk->copies, page_of(p), index_of(p));
}

/* Marking is open; new objects are white, as old ones are. */
static struct node *
white_node(void)
{
    struct node *n = gc_alloc(&node_type);

    set_marked(n, false);
    return n;
}

static void
begin_marking(void)
{
    begin_by_hand();
    to_marking();
    take_raw(&raw);
}

Test(copies, a_mark_is_seen_when_it_is_merged_and_counts_once)
{
    struct node *one, *two;

    begin_marking();
    one = white_node();
    two = white_node();
    cr_assert_eq(page_of(one), page_of(two));
    cr_expect(mark_in_copy(marker(0), one));
    cr_expect_not(mark_in_copy(marker(0), one));
    cr_expect_not(is_marked(one));
    cr_expect(mark_in_copy(marker(1), one), "the other marker does not know");
    cr_expect(mark_in_copy(marker(1), two));
    gcrt_copies_merge(marker(0));
    cr_expect(is_marked(one));
    cr_expect_not(is_marked(two));
    cr_expect_eq(marker(0)->marked, 24);
    gcrt_copies_merge(marker(1));
    cr_expect(is_marked(two));
    cr_expect_eq(marker(1)->marked, 24, "the other object was marked");
    cr_expect_not(marker(0)->copies->any);
    cr_expect_not(copies_have(marker(0)->copies, page_of(one)));
    gcrt_copies_merge(marker(0));
    cr_expect_eq(marker(0)->marked, 24);
    end_by_hand();
}

Test(copies, what_is_marked_already_is_so_in_a_new_copy)
{
    struct node *one, *two;

    begin_marking();
    one = white_node();
    two = white_node();
    set_marked(one, true);
    cr_expect_not(mark_in_copy(marker(0), one));
    cr_expect(mark_in_copy(marker(0), two));
    set_marked(two, true); /* by somebody else, meanwhile */
    gcrt_copies_merge(marker(0));
    cr_expect_eq(marker(0)->marked, 0);
    end_by_hand();
}

Test(copies, a_page_that_wants_the_place_of_another_has_it_merged)
{
    struct node *first, *second;

    begin_marking();
    first = second = white_node();
    for (int i = 0; i < 1 << 20
            && (page_of(second) == page_of(first)
                    || page_of(second) % MARK_COPIES != page_of(first) % MARK_COPIES); i++)
        second = white_node();
    cr_assert_neq(page_of(second), page_of(first));
    cr_expect(mark_in_copy(marker(0), first));
    cr_expect_not(is_marked(first));
    cr_expect(mark_in_copy(marker(0), second));
    cr_expect(is_marked(first));
    cr_expect_not(is_marked(second));
    cr_expect_eq(marker(0)->marked, 24);
    gcrt_copies_merge(marker(0));
    cr_expect(is_marked(second));
    cr_expect_eq(marker(0)->marked, 48);
    end_by_hand();
}

/* Far and near words of one marker agree; and when it stops nothing is in copies. */
Test(copies, a_far_word_is_marked_in_the_copy_if_there_is_one)
{
    struct marker *mk;
    struct node *node;

    begin_marking();
    node = white_node();
    mk = marker(0);
    gcrt_copies_take(mk, mheap_map(&the_heap->mheap), page_of(node));
    mk->batch[mk->nbatch++] = (uintptr_t)node - the_heap->mheap.base;
    (void)gcrt_mark_drain(mk, 4096);
    cr_expect_not(is_marked(node));
    cr_expect_not(mark_in_copy(mk, node));
    cr_expect_eq(mk->scanned, 24);
    (void)gcrt_marker_flush(mk);
    cr_expect(is_marked(node));
    cr_expect_not(mk->copies->any);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.marked_bytes), 24);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.flushed), 1, "it has marked");
    end_by_hand();
}

static void
drain_two(bool copies)
{
    struct node *holder, *held;
    struct marker *mk;

    begin_marking();
    held = white_node();
    holder = white_node();
    holder->a = held;
    mk = marker(0);
    the_heap->marking.copies = copies;
    gcrt_mark_word(mk, (uintptr_t)holder);
    (void)gcrt_mark_drain(mk, 4096);
    cr_expect_eq(is_marked(held), !copies);
    (void)gcrt_marker_flush(mk);
    cr_expect(is_marked(held));
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.marked_bytes), 48);
    end_by_hand();
}

Test(copies, kernels_use_them_if_they_may)
{
    drain_two(true);
    drain_two(false);
}

static bool
used_in_a_cycle(void)
{
    gc_collect(the_heap);
    return the_heap->marking.copies;
}

Test(copies, they_are_for_heaps_without_ephemerons)
{
    void *key;

    begin_by_hand();
    cr_expect(used_in_a_cycle());
    key = gc_alloc(&node_type);
    use(gc_ephemeron_new(key, NULL));
    cr_expect_not(used_in_a_cycle(), "a key that is marked late is a value that is lost");
    use(key);
    end_by_hand();
}

Test(copies, mutators_have_none_and_not_all_pages_suit)
{
    begin_by_hand();
    cr_expect_null(self()->marker.copies);
    cr_expect_not_null(marker(0)->copies);
    cr_expect_not_null(marker(1)->copies);
    cr_expect_not(copies_suit(1), "1,024 objects in a page");
    for (unsigned class = 2; class < 68; class++)
        if (gcrt_class_pages[class] == 1)
            cr_expect(copies_suit(class), "%u", class);
    end_by_hand();
}
