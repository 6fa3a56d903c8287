/* SPDX-License-Identifier: MIT */
/*
 * The kernels of marking against a search by the test: random graphs of objects of each shape
 * that has a kernel of its own, near, far and mixed, for a worker, with copies of mark bits and
 * without, and for a mutator.
 */
#include "byhand.h"
#include "seed.h"

#include "gc/copies.h"
#include "gc/ephemeron.h"
#include "gc/plain.h"
#include "gc/worker.h"

#define OBJECTS 6000

struct one_in_8 {
    void *a;
};

struct two_in_16 {
    void *a, *b;
};

struct one_in_24 {
    long before;
    void *a;
    long after;
};

struct two_in_24 {
    void *a, *b;
    long after;
};

struct three_in_48 {
    long before[2];
    void *a, *b, *c;
};

struct apart_in_32 {
    void *a;
    long between;
    void *b;
};

struct wide_in_512 {
    void *a[62];
    long after[2];
};

GC_TYPE(one_in_8_type, struct one_in_8, a);
GC_TYPE(two_in_16_type, struct two_in_16, a, b);
GC_TYPE(one_in_24_type, struct one_in_24, a);
GC_TYPE(two_in_24_type, struct two_in_24, a, b);
GC_TYPE(three_in_48_type, struct three_in_48, a, b, c);
GC_TYPE(apart_in_32_type, struct apart_in_32, a, b);
GC_TYPE(wide_in_512_type, struct wide_in_512, a);

/* Where a shape's pointers are, in words. */
static const struct shape {
    const gc_type *type;
    unsigned first, step, n;
} shapes[] = {
    { &one_in_8_type, 0, 1, 1 },
    { &two_in_16_type, 0, 1, 2 },
    { &one_in_24_type, 1, 1, 1 },
    { &two_in_24_type, 0, 1, 2 },
    { &three_in_48_type, 2, 1, 3 },
    { &apart_in_32_type, 0, 2, 2 },
    { &wide_in_512_type, 0, 1, 62 },
};

static void *objects[OBJECTS];
static const struct shape *shape_of[OBJECTS];
static int edges[OBJECTS][62]; /* -1: NULL */
static bool reached[OBJECTS];
static struct raw_words raw;
static uint64_t state;

static unsigned
below(unsigned n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 33) % n);
}

enum how { AS_MUTATOR, AS_WORKER, WITH_COPIES, WAYS };

/* The thread's own marker, as an assist has it, or a worker. */
static struct marker *
marker(enum how how)
{
    struct marker *mk = &self()->marker;

    mk->brief = mk->leaves_traced = how == AS_MUTATOR;
    mk->far_objects = 0;
    mk->copies = how == WITH_COPIES ? the_heap->marking.workers[0].marker.copies : NULL;
    return mk;
}

static void
drain(struct marker *mk, uint64_t budget)
{
    while (gcrt_mark_drain(mk, budget) != 0)
        continue;
    gcrt_copies_merge(mk);
}

/* An object that i may point to: one near it, or any. */
static int
target(int i, unsigned percent_near)
{
    int to = below(100) < percent_near ? i - 40 + (int)below(80) : (int)below(OBJECTS);

    return to < 0 || to >= OBJECTS || below(4) == 0 ? -1 : to;
}

/* Of one shape, or of all, in stretches as programs make them. */
static void
make_objects(int only)
{
    const struct shape *shape = &shapes[only < 0 ? 0 : only];

    for (int i = 0; i < OBJECTS; i++) {
        if (only < 0 && below(20) == 0)
            shape = &shapes[below(ARRAY_LEN(shapes))];
        shape_of[i] = shape;
        objects[i] = gc_alloc(shape->type);
    }
}

/* Some point into the object, not to it.  Words that are no pointers look like some. */
static void
make_edges(unsigned percent_near)
{
    for (int i = 0; i < OBJECTS; i++) {
        const struct shape *shape = shape_of[i];
        void **words = objects[i];

        for (size_t w = 0; w < shape->type->size / sizeof(void *); w++)
            words[w] = objects[below(OBJECTS)];
        for (unsigned k = 0; k < shape->n; k++) {
            int to = edges[i][k] = target(i, percent_near);
            size_t into = to >= 0 ? below((unsigned)shape_of[to]->type->size) : 0;

            if (to >= 0 && below(8) != 0)
                into = 0;
            words[shape->first + k * shape->step] =
                    to < 0 ? NULL : (char *)objects[to] + into;
        }
    }
}

static void
reach(int root)
{
    static int stack[OBJECTS];
    int depth = 0;

    memset(reached, 0, sizeof(reached));
    reached[root] = true;
    stack[depth++] = root;
    while (depth > 0) {
        int i = stack[--depth];

        for (unsigned k = 0; k < shape_of[i]->n; k++) {
            int to = edges[i][k];

            if (to >= 0 && !reached[to]) {
                reached[to] = true;
                stack[depth++] = to;
            }
        }
    }
}

static void
check_graph(int only, unsigned percent_near, enum how how, uint64_t budget)
{
    struct marker *mk;
    uint64_t bytes = 0;
    int root;

    begin_by_hand();
    make_objects(only);
    make_edges(percent_near);
    root = (int)below(OBJECTS);
    reach(root);
    to_marking();
    take_raw(&raw); /* the stack leads to more than the root does */
    mk = marker(how);
    mk->marked = mk->scanned = 0;
    gcrt_mark_word(mk, (uintptr_t)objects[root]);
    drain(mk, budget);
    for (int i = 0; i < OBJECTS; i++) {
        cr_assert_eq(is_marked(objects[i]), reached[i], "object %d, shape %d, near %u", i, only,
                percent_near);
        if (reached[i])
            bytes += gcrt_class_bytes[mheap_span_of(&the_heap->mheap,
                    (uintptr_t)objects[i])->sizeclass];
    }
    cr_assert_eq(mk->marked, bytes);
    mk->marked = mk->scanned = 0;
    end_by_hand();
}

Test(plain, what_is_reached_and_nothing_else_is_marked)
{
    static const unsigned near[] = { 100, 97, 50, 0 };

    state = seed_of("what_is_reached_and_nothing_else_is_marked");
    for (int only = -1; only < (int)ARRAY_LEN(shapes); only++)
        for (size_t i = 0; i < ARRAY_LEN(near); i++) {
            check_graph(only, near[i], AS_WORKER, (uint64_t)1 << 20);
            check_graph(only, near[i], WITH_COPIES, (uint64_t)1 << 20);
            check_graph(only, near[i], AS_MUTATOR, 1 + below(4096));
        }
}

/* ---- more than waits at once ---- */

static struct two_in_16 *
tree(int depth)
{
    struct two_in_16 *left = NULL, *right = NULL, *node;

    if (depth > 0) {
        left = tree(depth - 1);
        right = tree(depth - 1);
    }
    node = gc_alloc(&two_in_16_type);
    node->a = left;
    node->b = right;
    return node;
}

static unsigned
count_marked(const struct two_in_16 *node)
{
    return node == NULL ? 0 : is_marked(node) + count_marked(node->a) + count_marked(node->b);
}

Test(plain, trees_too_wide_to_wait_are_queued)
{
    enum { TREES = 16, DEPTH = 8 };
    void **roots;

    for (int how = 0; how < WAYS; how++) {
        struct marker *mk;

        begin_by_hand();
        roots = gc_alloc_array(&gc_pointer_type, TREES);
        for (int i = 0; i < TREES; i++)
            roots[i] = tree(DEPTH); /* each about a page: 16 times 128 grandchildren wait */
        to_marking();
        take_raw(&raw);
        mk = marker((enum how)how);
        gcrt_mark_word(mk, (uintptr_t)roots);
        drain(mk, (uint64_t)1 << 20);
        for (int i = 0; i < TREES; i++)
            cr_expect_eq(count_marked(roots[i]), (2u << DEPTH) - 1, "tree %d", i);
        end_by_hand();
    }
}

/* The leaves, in one page, point out of it, each to two. */
static void
hang_on(struct two_in_16 *node, void **far, int *n)
{
    if (node->a == NULL) {
        node->a = far[(*n)++];
        node->b = far[(*n)++];
        return;
    }
    hang_on(node->a, far, n);
    hang_on(node->b, far, n);
}

Test(plain, more_far_words_than_the_batch_holds)
{
    enum { DEPTH = 8, FAR = 2 << DEPTH };
    static void *far[FAR];
    struct two_in_16 *root;
    int n = 0;

    begin_by_hand();
    root = tree(DEPTH);
    for (int i = 0; i < FAR; i++)
        far[i] = gc_alloc(&one_in_24_type);
    hang_on(root, far, &n);
    cr_assert_eq(n, FAR);
    to_marking();
    take_raw(&raw);
    gcrt_mark_word(marker(AS_WORKER), (uintptr_t)root);
    drain(marker(AS_WORKER), (uint64_t)1 << 20);
    for (int i = 0; i < FAR; i++)
        cr_expect(is_marked(far[i]), "%d", i);
    end_by_hand();
}

Test(plain, a_far_word_finds_room_in_a_full_batch)
{
    struct two_in_24 *node;
    struct one_in_24 *other;
    struct marker *mk;
    uintptr_t item;

    begin_by_hand();
    node = gc_alloc(&two_in_24_type);
    node->a = node->b = gc_alloc_bytes(3000);
    other = gc_alloc(&one_in_24_type);
    to_marking();
    take_raw(&raw);
    mk = marker(AS_WORKER);
    gcrt_mark_word(mk, (uintptr_t)node);
    item = mk->queue.cur->slot[--mk->queue.cur->n];
    for (mk->nbatch = 0; mk->nbatch < MARK_BATCH; mk->nbatch++)
        mk->batch[mk->nbatch] = (uintptr_t)other - the_heap->mheap.base;
    cr_assert_eq(gcrt_scan_plain(mk, &item, 1), 1);
    cr_assert_eq(mk->nbatch, 2);
    drain(mk, 4096);
    cr_expect(is_marked(node->a));
    cr_expect(is_marked(other));
    end_by_hand();
}

/* ---- words that are no pointers ---- */

static void
follow_words_that_are_none(enum how how)
{
    struct two_in_24 *node;
    struct mspan *s;
    uintptr_t page;

    begin_by_hand();
    node = gc_alloc(&two_in_24_type);
    page = (uintptr_t)node & ~(uintptr_t)(PAGE_SIZE - 1);
    s = mheap_span_of(&the_heap->mheap, page);
    cr_assert_lt((size_t)s->nelems * 24, PAGE_SIZE, "there is such a word");
    node->a = (void *)(page + (size_t)s->nelems * 24);
    node->b = (void *)(page + PAGE_SIZE - 1);
    to_marking();
    take_raw(&raw);
    gcrt_mark_word(marker(how), (uintptr_t)node);
    drain(marker(how), 4096);
    cr_expect_not(span_test(span_marks(s), s->nelems));
    cr_expect_eq(marker(how)->marked, 24);
    cr_expect_eq(marker(how)->scanned, 24);
    marker(how)->marked = marker(how)->scanned = 0;
    end_by_hand();
}

Test(plain, a_word_behind_the_last_slot_of_its_page_is_ignored)
{
    for (int how = 0; how < WAYS; how++)
        follow_words_that_are_none((enum how)how);
}

/* ---- ephemerons ---- */

Test(plain, a_key_that_is_found_near_has_its_ephemeron_fire)
{
    struct one_in_24 *holder, *key, *value;
    gc_ephemeron *ephemeron;

    begin_by_hand();
    key = gc_alloc(&one_in_24_type);
    holder = gc_alloc(&one_in_24_type);
    holder->a = key;
    value = gc_alloc_bytes(100);
    ephemeron = gc_ephemeron_new(key, value);
    cr_assert_not_null(ephemeron);
    to_marking();
    take_raw(&raw);
    gcrt_mark_word(marker(AS_WORKER), (uintptr_t)ephemeron);
    ahalf_store_relaxed(&the_heap->work.late_open, 1);
    drain(marker(AS_WORKER), 4096);
    cr_assert(ephemeron_is_filed(the_heap));
    cr_assert_not(is_marked(key));
    gcrt_mark_word(marker(AS_WORKER), (uintptr_t)holder);
    drain(marker(AS_WORKER), 4096);
    cr_expect(is_marked(key));
    cr_expect(is_marked(value));
    use(value);
    end_by_hand();
}

/* ---- which kernel ---- */

/* Marks a node that leads to the object; how many objects are far ones then. */
static uint32_t
far_after(struct marker *mk, void *object)
{
    struct two_in_24 *node = gc_alloc(&two_in_24_type);
    uint32_t far;

    set_marked(node, false);
    node->a = object;
    gcrt_mark_word(mk, (uintptr_t)node);
    drain(mk, 4096);
    far = mk->far_objects;
    mk->far_objects = 0;
    return far;
}

Test(plain, without_near_words_twice_as_many_objects_are_far_each_time)
{
    struct two_in_24 *near;
    struct marker *mk;
    uint32_t first;
    void *far;

    begin_by_hand();
    far = gc_alloc_bytes(3000);
    near = gc_alloc(&two_in_24_type);
    to_marking();
    take_raw(&raw);
    mk = marker(AS_WORKER);
    mk->far_next = 0;
    first = far_after(mk, far);
    cr_expect_gt(first, 0);
    cr_expect_eq(far_after(mk, far), 2 * first);
    cr_expect_eq(far_after(mk, far), 4 * first);
    set_marked(near, false);
    cr_expect_eq(far_after(mk, near), 0, "they are near");
    cr_expect_eq(far_after(mk, far), first);
    for (int i = 0; i < 40; i++)
        cr_expect_leq(far_after(mk, far), 1024);
    mk->marked = mk->scanned = 0;
    end_by_hand();
}
