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

/* ---- ephemerons ---- */

static void
drain(struct marker *mk)
{
    while (gcrt_mark_drain(mk, 4096) != 0)
        continue;
}

/* Has the marker scan the ephemeron, late enough for it to be filed. */
static void
scan_late(struct marker *mk, gc_ephemeron *e)
{
    set_marked(e, false);
    gcrt_mark_word(mk, (uintptr_t)e);
    ahalf_store_relaxed(&the_heap->work.late_open, 1);
    drain(mk);
}

Test(copies, kernels_use_them_until_an_ephemeron_is_filed)
{
    struct node *holder[2], *held[2], *key;
    struct marker *mk;

    begin_marking();
    key = white_node();
    for (int i = 0; i < 2; i++) {
        held[i] = white_node();
        holder[i] = white_node();
        holder[i]->a = held[i];
    }
    mk = marker(0);
    gcrt_mark_word(mk, (uintptr_t)holder[0]);
    drain(mk);
    cr_expect(copies_marked(mk->copies, page_of(held[0]), index_of(held[0])));
    cr_expect_not(is_marked(held[0]));
    cr_expect_not(copies_marked(mk->copies, page_of(held[1]), index_of(held[1])));
    scan_late(marker(1), gc_ephemeron_new(key, NULL));
    cr_assert(ephemeron_is_filed(the_heap));
    gcrt_mark_word(mk, (uintptr_t)holder[1]);
    drain(mk);
    cr_expect(is_marked(held[0]), "merged, for others may wait for it");
    cr_expect(is_marked(held[1]));
    cr_expect_not(mk->copies->any);
    (void)gcrt_marker_flush(mk);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.marked_bytes), 4 * 24);
    use(key);
    end_by_hand();
}

/* Between the look at the key and the merge the ephemeron is filed. */
Test(copies, who_merges_keys_finds_their_ephemerons)
{
    struct node *key[3], *value[3];
    gc_ephemeron *e[3];

    begin_marking();
    for (int i = 0; i < 3; i++) {
        key[i] = white_node();
        value[i] = white_node();
        e[i] = gc_ephemeron_new(key[i], value[i]);
    }
    for (int i = 0; i < 3; i++) {
        if (i < 2)
            cr_expect(mark_in_copy(marker(0), key[i]));
        scan_late(marker(1), e[i]);
        cr_expect(gcrt_ephemeron_waits(the_heap, e[i]));
    }
    gcrt_copies_merge(marker(0));
    drain(marker(0));
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(is_marked(key[i]), i < 2);
        cr_expect_eq(is_marked(value[i]), i < 2, "of key %d", i);
        cr_expect_eq(gcrt_ephemeron_waits(the_heap, e[i]), i == 2);
    }
    use(key[2]);
    end_by_hand();
}

Test(copies, a_key_in_the_markers_own_copy_is_marked)
{
    struct node *key, *value;
    gc_ephemeron *e;

    begin_marking();
    key = white_node();
    value = white_node();
    e = gc_ephemeron_new(key, value);
    cr_expect(mark_in_copy(marker(0), key));
    set_marked(e, false);
    gcrt_mark_word(marker(0), (uintptr_t)e);
    drain(marker(0));
    cr_expect_not(gcrt_ephemeron_waits(the_heap, e));
    (void)gcrt_marker_flush(marker(0));
    cr_expect(is_marked(value));
    end_by_hand();
}
