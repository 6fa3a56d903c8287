/* SPDX-License-Identifier: MIT */
/*
 * Marking on one thread, object by object: which words mark what, what is scanned of each
 * layout, what a marker leaves behind.
 */
#include "byhand.h"

struct node {
    struct node *left;
    uint64_t plain;
    struct node *right;
};

GC_TYPE(node_type, struct node, left, right);
GC_TYPE_NOSCAN(plain_type, struct node);
GC_TYPE_CONSERVATIVE(any_type, struct node);

/* One element of fields, longer than any piece. */
struct long_fields {
    void *first[9000];
    uint64_t plain;
    void *last[100];
};

GC_TYPE(long_type, struct long_fields, first, last);

static struct raw_words raw;

/* The thread's own, as an assist has it; by_worker: as a worker has it. */
static bool by_worker;

static struct marker *
marker(void)
{
    struct marker *mk = &self()->marker;

    mk->brief = mk->leaves_traced = !by_worker;
    return mk;
}

/* Everything that the type's object leads to, and nothing by chance from the stack. */
static void
to_marking_without_stack(void)
{
    to_marking();
    take_raw(&raw);
}

static void
mark(const void *p)
{
    gcrt_mark_word(marker(), (uintptr_t)p);
}

static void
drain(void)
{
    while (gcrt_mark_drain(marker(), (uint64_t)1 << 20) != 0)
        continue;
    cr_assert_eq(marker()->nbatch, 0, "nothing stays in the batch");
}

/* A white child: made before marking. */
static void *
child(void)
{
    return gc_alloc(&plain_type);
}

/* ---- one word ---- */

Test(mark, a_word_marks_the_object_that_it_points_into_and_queues_it)
{
    struct node *object, *plain;

    begin_by_hand();
    object = gc_alloc(&node_type);
    plain = gc_alloc(&plain_type);
    to_marking_without_stack();
    mark((char *)object + 17);
    cr_expect(is_marked(object));
    cr_expect_eq(marker()->marked, sizeof(struct node));
    cr_assert_not_null(marker()->queue.cur);
    cr_expect_eq(marker()->queue.cur->n, 1);
    mark(object);
    cr_expect_eq(marker()->queue.cur->n, 1, "once");
    mark(plain);
    cr_expect(is_marked(plain));
    cr_expect_eq(marker()->queue.cur->n, 1, "without pointers there is nothing to scan");
    end_by_hand();
}

Test(mark, a_word_that_hits_no_allocated_slot_marks_nothing)
{
    struct node *object;
    struct mspan *s;
    uintptr_t start;

    begin_by_hand();
    object = gc_alloc(&node_type);
    s = mheap_span_of(&the_heap->mheap, (uintptr_t)object);
    handshake(ACTION_FLUSH_CACHE); /* the rest of the run is free again */
    start = span_start(&the_heap->mheap, s);
    cr_assert_eq(ahalf_load_relaxed(&s->freeindex), 1);
    open_by_hand();
    cr_expect_null(gc_base((void *)(start + 24)));
    cr_expect_eq(gc_usable_size((void *)(start + 24)), 0);
    mark((void *)(start + 24));                     /* the first free slot */
    mark((void *)(start + (size_t)s->nelems * 24)); /* padding: behind the last slot */
    mark((void *)(start + PAGE_SIZE - 1));
    mark((void *)(start - 1));
    mark((void *)(the_heap->mheap.base + aword_load_relaxed(&the_heap->mheap.limit)));
    for (size_t w = 0; w < SPAN_LINE_WORDS; w++)
        cr_expect_eq(aword_load_relaxed(&span_marks(s)[w]), 0, "word %zu", w);
    cr_expect_eq(marker()->marked, 0);
    end_by_hand();
}

/* Free slots may be marked by typed words; padding must not be, nor slots of traced types. */
Test(mark, a_word_behind_the_last_slot_marks_nothing_by_a_scan_either)
{
    struct node **any;
    struct mspan *s;

    begin_by_hand();
    any = gc_alloc(&any_type);
    s = mheap_span_of(&the_heap->mheap, (uintptr_t)gc_alloc(&node_type));
    any[0] = (void *)(span_start(&the_heap->mheap, s) + (size_t)s->nelems * 24);
    to_marking_without_stack();
    for (size_t i = 0; i < s->nelems; i++)
        set_marked((void *)span_object(&the_heap->mheap, s, i), false);
    mark(any);
    drain();
    for (size_t w = 0; w < SPAN_LINE_WORDS; w++)
        cr_expect_eq(aword_load_relaxed(&span_marks(s)[w]), 0, "word %zu", w);
    end_by_hand();
}

static void
push_raw(const uintptr_t *words, uint32_t n)
{
    struct workbuf *b = gcrt_work_take_empty(&the_heap->work);

    memcpy(b->slot, words, n * sizeof(words[0]));
    b->n = n;
    gcrt_work_push_raw(&the_heap->work, b);
}

Test(mark, every_raw_word_is_resolved_and_buffers_are_used_again)
{
    struct node *object[6];
    uintptr_t words[2];
    uint64_t used;

    begin_by_hand();
    for (int i = 0; i < 6; i++)
        object[i] = gc_alloc(&node_type);
    to_marking_without_stack();
    words[0] = (uintptr_t)object[1];
    words[1] = (uintptr_t)object[3];
    push_raw(words, 2);
    used = aword_load_relaxed(&the_heap->work.used);
    drain();
    cr_expect(is_marked(object[1]));
    cr_expect(is_marked(object[3]));
    cr_expect_not(is_marked(object[5]));
    words[0] = (uintptr_t)(object[5] + 1) - 1;
    for (int i = 0; i < 50; i++) {
        push_raw(words, 1);
        drain();
    }
    cr_expect(is_marked(object[5]), "its last byte");
    cr_expect_lt(aword_load_relaxed(&the_heap->work.used), used + 10, "buffers are used again");
    end_by_hand();
}

/* ---- one past the end ---- */

struct ends_in_pointers {
    uint64_t plain;
    void *child[2];
};

struct ends_in_bytes {
    void *child;
    char name[16];
};

struct leaves_bytes { /* 72 of a slot of 80 */
    void *child[9];
};

GC_TYPE(ends_in_pointers_type, struct ends_in_pointers, child);
GC_TYPE(two_pointers_type, struct ends_in_pointers, child[1], child[0]);
GC_TYPE(ends_in_bytes_type, struct ends_in_bytes, child);
GC_TYPE(ends_in_word_type, struct ends_in_pointers, child[0]);
GC_TYPE(leaves_bytes_type, struct leaves_bytes, child);
GC_TYPE_FLEX_PLAIN(flex_end_type, struct ends_in_bytes, name, gc_byte_type);

static struct ended {
    const char *what;
    char *object;
    size_t bytes;
    bool counts;
} ended[16];

static void
add_ended(size_t i, const char *what, void *object, size_t bytes, bool counts)
{
    ended[i] = (struct ended){ what, object, bytes, counts };
}

Test(mark, one_past_the_end_counts_for_what_may_be_walked_to_its_end)
{
    size_t n = 0;

    begin_by_hand();
    add_ended(n++, "a single pointer", gc_alloc(&node_type), 24, false);
    add_ended(n++, "a single word", gc_alloc(&ends_in_word_type), 24, false);
    add_ended(n++, "two pointers in any order", gc_alloc(&two_pointers_type), 24, false);
    add_ended(n++, "bytes of its slot", gc_alloc(&leaves_bytes_type), 80, false);
    add_ended(n++, "an array of pointers", gc_alloc(&ends_in_pointers_type), 24, true);
    add_ended(n++, "bytes", gc_alloc(&ends_in_bytes_type), 24, true);
    add_ended(n++, "array", gc_alloc_array(&node_type, 1), 24, true);
    add_ended(n++, "array of nine", gc_alloc_array(&leaves_bytes_type, 9), 704, true);
    add_ended(n++, "plain", gc_alloc(&plain_type), 24, true);
    add_ended(n++, "conservative", gc_alloc(&any_type), 24, true);
    add_ended(n++, "flexible", gc_alloc_flex(&flex_end_type, 24), 32, true);
    add_ended(n++, "raw bytes", gc_alloc_bytes(48), 48, true);
    add_ended(n++, "large bytes", gc_alloc_bytes(65536), 65536, true);
    to_marking_without_stack();
    for (size_t i = 0; i < n; i++) {
        uintptr_t word = (uintptr_t)ended[i].object + ended[i].bytes;

        cr_expect_not(is_marked(ended[i].object), "%s", ended[i].what);
        push_raw(&word, 1);
        drain();
        cr_expect_eq(is_marked(ended[i].object), ended[i].counts, "%s", ended[i].what);
        word = (uintptr_t)ended[i].object | RAW_EXACT;
        push_raw(&word, 1);
        drain();
        cr_expect(is_marked(ended[i].object), "%s", ended[i].what);
    }
    end_by_hand();
}

/* ---- layouts ---- */

struct wide {
    struct node *first;
    uint64_t plain[70];
    struct node *last;
};

struct flex {
    struct node *head;
    struct node *tail[];
};

GC_TYPE(wide_type, struct wide, first, last);
GC_TYPE_FLEX(flex_type, struct flex, tail, gc_pointer_type, head);

/* A slot of the object at `at` that must be traced. */
static void
expect_traced(void *object, size_t at, const char *what)
{
    void *leaf = child();

    *(void **)((char *)object + at) = leaf;
    by_worker = !by_worker;
    to_marking_without_stack();
    /* Their slots may have been marked in free runs by the cycle before: none was swept. */
    set_marked(object, false);
    set_marked(leaf, false);
    mark(object);
    drain();
    cr_expect(is_marked(leaf), "%s: the word at %zu is not traced", what, at);
    *(void **)((char *)object + at) = NULL;
    handshake(ACTION_BARRIER_OFF);
    ahalf_store_full(&the_heap->marking.open, 0);
    handshake(ACTION_FLUSH_CACHE);
    set_marked(object, false);
    set_marked(leaf, false);
}

Test(mark, every_pointer_of_every_layout_is_traced, .timeout = 60)
{
    const size_t large = 300000; /* three oblets, 147 pieces for a mutator */
    void *p;

    begin_by_hand();
    p = gc_alloc(&node_type);
    expect_traced(p, 0, "one");
    expect_traced(p, 16, "one");
    p = gc_alloc(&wide_type);
    expect_traced(p, 0, "fields");
    expect_traced(p, offsetof(struct wide, last), "fields");
    p = gc_alloc(&any_type);
    expect_traced(p, 0, "any");
    expect_traced(p, 16, "any");
    p = gc_alloc_array(&node_type, 14); /* a class of 352 bytes: the last ends below it */
    expect_traced(p, 0, "array");
    expect_traced(p, 13 * 24 + 16, "array");
    p = gc_alloc_array(&node_type, 16); /* 384 bytes: the last ends with its slot */
    expect_traced(p, 15 * 24 + 16, "full array");
    p = gc_alloc_flex(&flex_type, 15);
    expect_traced(p, 0, "flex");
    expect_traced(p, 8, "flex");
    expect_traced(p, 15 * 8, "flex");
    p = gc_alloc_array(&gc_pointer_type, large / 8);
    for (size_t at = 0; at < large; at = at < OBLET_BYTES ? at + OBLET_BYTES - 8 : at + 8192)
        expect_traced(p, at, "large");
    expect_traced(p, OBLET_BYTES, "large");
    expect_traced(p, large - 8, "large");
    p = gc_alloc_flex(&flex_type, large / 8);
    expect_traced(p, 0, "large flex");
    expect_traced(p, OBLET_BYTES, "large flex");
    expect_traced(p, large, "large flex");
    p = gc_alloc_array(&gc_pointer_type, 4096); /* the largest small class */
    for (size_t at = 0; at < SMALL_MAX; at += PIECE_BRIEF / 2 - 8)
        expect_traced(p, at, "array of 32 KiB");
    expect_traced(p, SMALL_MAX - 8, "array of 32 KiB");
    p = gc_alloc(&long_type);
    for (size_t at = 0; at < sizeof(struct long_fields); at += PIECE_BRIEF - 8)
        expect_traced(p, at, "long fields");
    expect_traced(p, sizeof(struct long_fields) - 8, "long fields");
    end_by_hand();
}

/* ---- how long a mutator is kept ---- */

/* One step of an assist over the object, in bytes. */
static uint64_t
step_of(void *object)
{
    set_marked(object, false);
    mark(object);
    return gcrt_mark_drain(marker(), PIECE_BRIEF);
}

Test(mark, a_step_of_an_assist_is_short_whatever_the_object)
{
    const uint64_t most = 2 * PIECE_BRIEF + 1024; /* and 32 for each of its last words */

    begin_by_hand();
    to_marking_without_stack();
    cr_expect_leq(step_of(gc_alloc_array(&gc_pointer_type, 20 << 20)), most, "huge array");
    cr_expect_leq(step_of(gc_alloc_array(&gc_pointer_type, 4096)), most, "32 KiB");
    cr_expect_leq(step_of(gc_alloc(&long_type)), most, "fields");
    by_worker = true;
    cr_expect_leq(step_of(gc_alloc_array(&gc_pointer_type, 20 << 20)), 2 * PIECE_BYTES,
            "a worker's is a piece, too");
    end_by_hand();
}

Test(mark, what_an_assist_has_begun_goes_back_if_its_time_is_over)
{
    enum { N = 2 * MARK_GROUP };
    void **array, *leaf[N];

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, N);
    for (int i = 0; i < N; i++) {
        array[i] = gc_alloc_array(&gc_pointer_type, 256);
        ((void **)array[i])[255] = leaf[i] = child();
    }
    to_marking_without_stack();
    mark(array);
    (void)gcrt_mark_drain(marker(), 1);
    for (int i = 0; i < 4 * N; i++) {
        marker()->lean = i % 2 == 0; /* two groups on their way, or one */
        cr_expect_leq(gcrt_mark_drain(marker(), PIECE_BRIEF), 2 * PIECE_BRIEF + 1024);
    }
    drain();
    for (int i = 0; i < N; i++)
        cr_assert(is_marked(leaf[i]), "leaf %d", i);
    end_by_hand();
}

Test(mark, an_assist_resolves_raw_words_a_few_at_a_time)
{
    void *leaf[WORKBUF_SLOTS];
    struct workbuf *b;

    begin_by_hand();
    for (int i = 0; i < WORKBUF_SLOTS; i++)
        leaf[i] = child();
    to_marking_without_stack();
    b = gcrt_work_take_empty(&the_heap->work);
    for (b->n = 0; b->n < WORKBUF_SLOTS; b->n++) {
        set_marked(leaf[b->n], false);
        b->slot[b->n] = (uintptr_t)leaf[b->n];
    }
    gcrt_work_push_raw(&the_heap->work, b);
    cr_expect_leq(gcrt_mark_drain(marker(), 1), 64 * 32);
    cr_expect(is_public_work(), "the rest is there for others");
    drain();
    for (int i = 0; i < WORKBUF_SLOTS; i++)
        cr_assert(is_marked(leaf[i]), "word %d", i);
    end_by_hand();
}

Test(mark, a_huge_array_is_queued_a_group_at_a_time)
{
    const size_t bytes = (8 * OBLET_GROUP + 3) * OBLET_BYTES - 8;
    void **array, *leaf[4];

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, bytes / 8);
    for (size_t i = 0; i < 4; i++) {
        size_t at = i < 3 ? (OBLET_GROUP * i + (i > 0)) * OBLET_BYTES : bytes - 8;

        array[at / 8] = leaf[i] = child();
    }
    to_marking_without_stack();
    for (by_worker = false;; by_worker = true) {
        set_marked(array, false);
        mark(array);
        (void)gcrt_mark_drain(marker(), 1);
        cr_expect_lt(aword_load_relaxed(&the_heap->work.used), 8, "no buffers for all of it");
        drain();
        for (int i = 0; i < 4; i++)
            cr_expect(is_marked(leaf[i]), "leaf %d", i);
        for (int i = 0; i < 4; i++)
            set_marked(leaf[i], false);
        if (by_worker)
            break;
    }
    end_by_hand();
}

Test(mark, a_large_object_is_not_scanned_until_it_is_ready)
{
    void **p, *leaf;
    struct mspan *s;

    begin_by_hand();
    p = gc_alloc_array(&gc_pointer_type, 20000);
    leaf = p[7] = child();
    s = mheap_span_of(&the_heap->mheap, (uintptr_t)p);
    cr_assert_eq(ahalf_load_relaxed(&s->ready), 1);
    to_marking_without_stack();
    ahalf_store_relaxed(&s->ready, 0);
    mark(p);
    drain();
    cr_expect_not(is_marked(leaf));
    cr_expect(is_marked(p));
    end_by_hand();
}

/* ---- traced types ---- */

static size_t traced, traced_bytes;

static void
trace_node(const void *obj, size_t bytes, gc_tracer *tracer)
{
    const struct node *node = obj;

    traced++;
    traced_bytes = bytes;
    gc_trace(tracer, node->left);
}

struct big_traced {
    struct node *left;
    char rest[300000 - 8];
};

GC_TYPE_TRACED(traced_type, struct node, trace_node);
GC_TYPE_TRACED(big_traced_type, struct big_traced, trace_node);

Test(mark, a_trace_function_sees_whole_objects_and_nothing_else)
{
    struct node **any, *object;
    struct big_traced *big;
    void *leaf;

    begin_by_hand();
    any = gc_alloc(&any_type);
    big = gc_alloc(&big_traced_type);
    leaf = child();
    big->left = leaf;
    object = gc_alloc(&traced_type);
    any[0] = object + 1; /* a free slot of the traced type's span */
    handshake(ACTION_FLUSH_CACHE);
    open_by_hand();
    mark(any);
    drain();
    cr_expect_eq(traced, 0, "a free slot is no object");
    any[0] = object;
    set_marked(any, false);
    mark(any);
    drain();
    cr_expect_eq(traced, 1);
    mark(big);
    drain();
    cr_expect_eq(traced, 1, "a mutator leaves it to the workers");
    cr_expect(is_public_work());
    by_worker = true;
    drain();
    cr_expect_eq(traced, 2, "it is one object, however large");
    cr_expect_not(is_public_work());
    cr_expect_eq(traced_bytes, sizeof(*big));
    cr_expect(is_marked(leaf));
    end_by_hand();
}

/* ---- what a marker leaves ---- */

/* An array whose words all point to other objects: more than the batch has room for. */
Test(mark, many_words_at_once_are_all_marked)
{
    enum { N = 4000 };
    static struct {
        struct marker marker;
        uintptr_t behind[2 * MARK_BATCH];
    } own;
    void **array, **leaf;

    begin_by_hand();
    own.marker.heap = the_heap;
    array = gc_alloc_array(&gc_pointer_type, N);
    leaf = gc_alloc_array(&gc_pointer_type, N);
    for (int i = 0; i < N; i++)
        leaf[i] = array[i] = child();
    to_marking_without_stack();
    set_marked(array, false);
    gcrt_mark_word(&own.marker, (uintptr_t)array);
    while (gcrt_mark_drain(&own.marker, SIZE_MAX) != 0)
        continue;
    (void)gcrt_marker_flush(&own.marker);
    for (int i = 0; i < N; i++)
        cr_assert(is_marked(leaf[i]), "leaf %d", i);
    for (size_t i = 0; i < ARRAY_LEN(own.behind); i++)
        cr_assert_eq(own.behind[i], 0, "word %zu behind the batch is written", i);
    end_by_hand();
}

Test(mark, a_step_that_is_over_leaves_no_word_behind)
{
    void **array, *leaf;

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, 10);
    array[0] = leaf = child();
    to_marking_without_stack();
    mark(array);
    (void)gcrt_mark_drain(marker(), 1); /* one object is more than enough */
    cr_expect_eq(marker()->nbatch, 0);
    cr_expect(is_marked(leaf));
    end_by_hand();
}

/* ---- lists ---- */

enum { CELLS = 3000 };

static void *cells[CELLS];

/* A cell of any kind, whose one pointer is to `next`. */
static void *
cell_before(void *next, int form)
{
    struct node *node = NULL;
    struct flex *flex;
    void **array;

    switch (form) {
    case 1:
        flex = gc_alloc_flex(&flex_type, 3);
        flex->tail[2] = next;
        return flex;
    case 2:
        array = gc_alloc_array(&gc_pointer_type, 90);
        array[89] = next;
        return array;
    case 3:
        array = gc_alloc_array(&gc_pointer_type, 5000);
        array[4999] = next;
        return array;
    default:
        node = gc_alloc(&node_type);
        node->right = next;
        return node;
    }
}

static void
make_list(int every)
{
    void *last = child();

    for (int i = CELLS; i-- > 0;)
        last = cells[i] = cell_before(last, i % every == 0 ? i / every % 4 : 0);
}

Test(mark, a_list_is_followed_whatever_its_cells_are)
{
    begin_by_hand();
    make_list(7);
    to_marking_without_stack();
    mark(cells[0]);
    drain();
    for (int i = 0; i < CELLS; i++)
        cr_assert(is_marked(cells[i]), "cell %d", i);
    end_by_hand();
}

/* A list of nodes, each `step` of them behind the one before. */
static void
make_stepping_list(int step)
{
    for (int i = 0; i < CELLS; i++)
        cells[i] = gc_alloc(&node_type);
    for (int i = 0; i < CELLS; i++)
        ((struct node *)cells[i * step % CELLS])->right = cells[(i + 1) * step % CELLS];
}

static void
check_budget(int step, int least, int most, uint64_t budget, uint64_t beyond)
{
    int marked = 0;

    begin_by_hand();
    make_stepping_list(step);
    to_marking_without_stack();
    mark(cells[0]);
    cr_expect_leq(gcrt_mark_drain(marker(), budget), budget + beyond);
    for (int i = 0; i < CELLS; i++)
        marked += is_marked(cells[i]);
    cr_expect_geq(marked, least, "%d, step %d", marked, step);
    cr_expect_leq(marked, most, "%d, step %d", marked, step);
    drain();
    for (int i = 0; i < CELLS; i++)
        cr_expect(is_marked(cells[i]), "step %d", step);
    end_by_hand();
}

/* A cell is near the one before, or it is looked at by itself; a piece is never divided. */
Test(mark, a_list_is_followed_for_as_long_as_there_is_budget)
{
    enum { BUDGET = 4096, NEAR = WORD_EFFORT + sizeof(struct node), FAR = NEAR + WORD_EFFORT };
    enum { PIECE = PIECE_BRIEF + PIECE_BRIEF / sizeof(struct node) * WORD_EFFORT };

    check_budget(1, BUDGET / FAR - 2, (BUDGET + PIECE) / NEAR + 2, BUDGET, PIECE + 2 * FAR);
    check_budget(401, BUDGET / FAR - 2, BUDGET / FAR + 2, BUDGET, 2 * FAR);
}

/* ---- spans of several pages ---- */

Test(mark, words_into_any_page_of_a_span_mark_their_object)
{
    enum { N = 64 };
    void **array, *object[N];

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, N);
    for (int i = 0; i < N; i++)
        object[i] = gc_alloc_bytes(i < N / 2 ? 1024 : 9472); /* of 4 and 7 pages */
    for (int i = 0; i < N; i += 3)
        array[i] = (char *)object[i] + (size_t)i * 15;
    to_marking_without_stack();
    mark(array);
    drain();
    for (int i = 0; i < N; i++)
        cr_expect_eq(is_marked(object[i]), i % 3 == 0, "object %d", i);
    end_by_hand();
}

Test(mark, marking_objects_without_pointers_is_work_too)
{
    void **array;

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, 100);
    for (int i = 0; i < 100; i++)
        array[i] = child();
    to_marking_without_stack();
    mark(array);
    cr_expect_geq(gcrt_mark_drain(marker(), (uint64_t)1 << 30), 100 * sizeof(struct node));
    end_by_hand();
}

Test(mark, a_flush_says_whether_anything_was_marked_or_scanned)
{
    struct node *object;

    begin_by_hand();
    object = gc_alloc(&node_type);
    object->left = NULL;
    to_marking_without_stack();
    ahalf_store_full(&the_heap->handshake.flushed, 0);
    cr_expect_not(gcrt_marker_flush(marker()));
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.flushed), 0);
    mark(object);
    cr_expect(gcrt_marker_flush(marker()));
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.flushed), 1, "marked");
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.marked_bytes), sizeof(*object));
    ahalf_store_full(&the_heap->handshake.flushed, 0);
    drain(); /* scans it and finds nothing */
    cr_expect_eq(marker()->marked, 0);
    cr_expect_not(gcrt_marker_flush(marker()));
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.flushed), 1, "only scanned");
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.heap_work), sizeof(*object));
    (void)gcrt_marker_flush(marker());
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.heap_work), sizeof(*object), "once");
    end_by_hand();
}
