/* SPDX-License-Identifier: MIT */
/*
 * Rows of words against the same words one by one: random rows over spans of several kinds,
 * what is left to others, ephemerons, and two markers on one row.
 * The seed is printed; GCRT_SEED repeats a run.
 */
#include "byhand.h"

#include <pthread.h>

#include "alloc/base/rand.h"
#include "gc/batch.h"
#include "gc/ephemeron.h"
#include "gc/item.h"
#include "gc/row.h"
#include "gc/weak.h"
#include "seed.h"

struct pair {
    void *left, *right;
};
struct triple {
    void *left, *middle;
    uint64_t plain;
};
struct big {
    void *first;
    uint64_t rest[49];
};

static void
trace_pair(const void *object, size_t bytes, gc_tracer *tracer)
{
    (void)bytes;
    gc_trace(tracer, ((const struct pair *)object)->left);
}

GC_TYPE_NOSCAN(box_type, uint64_t);
GC_TYPE(pair_type, struct pair, left, right);
GC_TYPE(triple_type, struct triple, left, middle);
GC_TYPE_NOSCAN(plain_type, struct triple);
GC_TYPE_CONSERVATIVE(any_type, struct triple);
GC_TYPE(big_type, struct big, first);
GC_TYPE_TRACED(traced_type, struct pair, trace_pair);

/* 8 and 16 bytes have side bitmaps, 400 bytes spans of four pages. */
static const gc_type *const types[]
        = { &box_type, &pair_type, &triple_type, &plain_type, &any_type, &big_type };

#define OBJECTS 700

static struct marker own;
static struct raw_words raw;
static char *objects[OBJECTS];
static size_t slot_bytes; /* of one of them */
static bool before[OBJECTS], after[OBJECTS], queued[OBJECTS];

/* White objects of the type, in the order of their addresses, and an idle marker. */
static void
make(const gc_type *type)
{
    for (size_t i = 0; i < OBJECTS; i++)
        objects[i] = gc_alloc(type);
    to_marking();
    take_raw(&raw);
    for (size_t i = 0; i < OBJECTS; i++) {
        set_marked(objects[i], false);
        cr_assert(i == 0 || objects[i - 1] < objects[i]);
    }
    slot_bytes = gc_usable_size(objects[0]);
    own = (struct marker){ .heap = the_heap };
}

static size_t
index_of(uintptr_t address)
{
    for (size_t i = 0; i < OBJECTS; i++)
        if ((uintptr_t)objects[i] == address)
            return i;
    cr_assert_fail("%#lx is no object of ours", (unsigned long)address);
    return 0;
}

/* All that the marker has queued, each object once. */
static size_t
take_queue(struct marker *mk)
{
    size_t n = 0;

    memset(queued, 0, sizeof(queued));
    for (; mk->queue.cur != NULL; n++) {
        struct workbuf *b = mk->queue.cur;
        size_t i;

        if (b->n == 0 && !gcrt_workqueue_refill(&the_heap->work, &mk->queue))
            break;
        b = mk->queue.cur;
        i = index_of(item_address(b->slot[--b->n]));
        cr_assert_not(queued[i], "object %zu is queued twice", i);
        queued[i] = true;
    }
    return n;
}

/* The next word: mostly of the next object, sometimes of the same or any one, or of no slot. */
static uintptr_t
some_word(uint64_t *seed, size_t *at)
{
    uint64_t dice = rand_below(seed, 20);
    struct mspan *s;

    if (dice == 0)
        *at = rand_below(seed, OBJECTS);
    else if (dice < 16)
        *at = (*at + 1) % OBJECTS;
    s = mheap_span_of(&the_heap->mheap, (uintptr_t)objects[*at]);
    if (dice == 19 && s->nelems * slot_bytes < span_npages(s) << PAGE_SHIFT)
        return span_start(&the_heap->mheap, s) + s->nelems * slot_bytes;
    return (uintptr_t)objects[*at] + rand_below(seed, slot_bytes);
}

/* Fills the batch; after[]: what marking its first `row` words leaves.  Returns row. */
static uint32_t
fill(uint64_t *seed)
{
    size_t at = rand_below(seed, OBJECTS);
    uint32_t row = 0;

    for (size_t i = 0; i < OBJECTS; i++)
        set_marked(objects[i], before[i] = after[i] = rand_below(seed, 3) == 0);
    own.nbatch = 2 + (uint32_t)rand_below(seed, MARK_BATCH - 1);
    for (uint32_t i = 0; i < own.nbatch; i++) {
        uintptr_t word = some_word(seed, &at);
        size_t slot = (size_t)(word - (uintptr_t)objects[at]);

        own.batch[i] = word - the_heap->mheap.base;
        if (row == i && (own.batch[0] ^ own.batch[i]) < PAGE_SIZE) {
            row++;
            after[at] |= slot < slot_bytes;
        }
    }
    return row;
}

static void
check_row(bool scan)
{
    size_t turned = 0, n;

    for (size_t i = 0; i < OBJECTS; i++) {
        cr_assert_eq(is_marked(objects[i]), after[i], "object %zu", i);
        turned += after[i] && !before[i];
    }
    cr_assert_eq(own.marked, turned * slot_bytes);
    n = take_queue(&own);
    cr_assert_eq(n, scan ? turned : 0);
    for (size_t i = 0; i < OBJECTS && scan; i++)
        cr_assert_eq(queued[i], after[i] && !before[i], "object %zu", i);
    own.marked = 0;
}

Test(row, marks_and_queues_what_its_words_would_one_by_one)
{
    uint64_t seed = seed_of("marks_and_queues_what_its_words_would_one_by_one");

    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        begin_by_hand();
        make(types[t]);
        for (int round = 0; round < 300; round++) {
            uint32_t row = fill(&seed);

            cr_assert_eq(is_row(&own, 0), row > 1);
            cr_assert_eq(gcrt_mark_row(&own, mheap_map(&the_heap->mheap), 0), row);
            check_row(types[t]->form != GC_FORM_NOSCAN);
        }
        end_by_hand();
    }
}

Test(row, a_batch_is_marked_row_by_row)
{
    uint64_t seed = seed_of("a_batch_is_marked_row_by_row");

    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        begin_by_hand();
        make(types[t]);
        for (int round = 0; round < 100; round++) {
            (void)fill(&seed);
            for (uint32_t i = 0; i < own.nbatch; i++) {
                size_t index;
                uintptr_t word = the_heap->mheap.base + own.batch[i];

                if (mheap_find_object(&the_heap->mheap, word, &index) != NULL)
                    after[index_of((uintptr_t)gc_base((void *)word))] = true;
            }
            own.rows = round % 4 != 0;
            gcrt_mark_batch(&own);
            cr_assert_eq(own.nbatch, 0);
            cr_assert_not(own.rows);
            check_row(types[t]->form != GC_FORM_NOSCAN);
        }
        end_by_hand();
    }
}

Test(row, free_pages_large_objects_and_traced_types_are_left_to_others)
{
    uintptr_t word[3];

    begin_by_hand();
    word[0] = (uintptr_t)gc_alloc(&traced_type);
    word[1] = (uintptr_t)gc_alloc_bytes(100000);
    word[2] = the_heap->mheap.base + aword_load_relaxed(&the_heap->mheap.limit) - PAGE_SIZE;
    to_marking();
    own = (struct marker){ .heap = the_heap, .nbatch = 2 };
    for (size_t i = 0; i < ARRAY_LEN(word); i++) {
        own.batch[0] = own.batch[1] = word[i] - the_heap->mheap.base;
        if (i < 2)
            set_marked((void *)word[i], false);
        cr_assert(is_row(&own, 0));
        cr_expect_eq(gcrt_mark_row(&own, mheap_map(&the_heap->mheap), 0), 0, "word %zu", i);
        cr_expect(i == 2 || !is_marked((void *)word[i]), "word %zu", i);
    }
    end_by_hand();
}

Test(row, ephemerons_wait_for_objects_of_a_row)
{
    void *value;
    gc_ephemeron *e;

    begin_by_hand();
    value = gc_alloc(&pair_type);
    objects[0] = gc_alloc(&plain_type);
    objects[1] = gc_alloc(&plain_type);
    e = gc_ephemeron_new(objects[1], value);
    gcrt_weak_begin(the_heap);
    to_marking();
    take_raw(&raw);
    set_marked(objects[0], false);
    set_marked(objects[1], false);
    set_marked(value, false);
    own = (struct marker){ .heap = the_heap };
    gcrt_mark_word(&own, (uintptr_t)e);
    ahalf_store_relaxed(&the_heap->work.late_open, 1);
    while (gcrt_mark_drain(&own, SIZE_MAX / 2) != 0)
        continue;
    cr_assert(ephemeron_is_filed(the_heap));
    cr_assert_not(is_marked(value));
    own.nbatch = 2;
    for (int i = 0; i < 2; i++)
        own.batch[i] = (uintptr_t)objects[i] - the_heap->mheap.base;
    cr_assert_eq(gcrt_mark_row(&own, mheap_map(&the_heap->mheap), 0), 2);
    for (uint32_t i = 0; i < own.queue.cur->n; i++)
        for (int k = 0; k < 2; k++)
            cr_expect_neq(item_address(own.queue.cur->slot[i]), (uintptr_t)objects[k],
                    "it has no pointers");
    while (gcrt_mark_drain(&own, SIZE_MAX / 2) != 0)
        continue;
    cr_expect(is_marked(value));
    (void)gcrt_marker_flush(&own);
    gcrt_ephemeron_forget(the_heap);
    handshake(ACTION_BARRIER_OFF);
    gcrt_weak_end(the_heap);
    end_by_hand();
}

/* ---- two markers ---- */

#define ROUNDS 400

static struct marker markers[2];
static pthread_barrier_t turn;

static void *
mark_rounds(void *arg)
{
    struct marker *mk = arg;

    for (int i = 0; i < ROUNDS; i++) {
        (void)pthread_barrier_wait(&turn);
        (void)gcrt_mark_row(mk, mheap_map(&the_heap->mheap), 0);
        (void)pthread_barrier_wait(&turn);
        (void)pthread_barrier_wait(&turn); /* the test counts */
    }
    return NULL;
}

Test(row, each_object_is_one_markers)
{
    enum { N = 200 };
    pthread_t threads[2];

    begin_by_hand();
    make(&triple_type);
    cr_assert_eq(pthread_barrier_init(&turn, NULL, 3), 0);
    for (int t = 0; t < 2; t++) {
        markers[t] = (struct marker){ .heap = the_heap, .nbatch = N };
        for (uint32_t i = 0; i < N; i++)
            markers[t].batch[i] = (uintptr_t)objects[t == 0 ? i : N - 1 - i] - the_heap->mheap.base;
        cr_assert_eq(pthread_create(&threads[t], NULL, mark_rounds, &markers[t]), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t marked, sum;

        for (size_t k = 0; k < N; k++)
            set_marked(objects[k], false);
        (void)pthread_barrier_wait(&turn);
        (void)pthread_barrier_wait(&turn);
        marked = markers[0].marked + markers[1].marked;
        sum = take_queue(&markers[0]) + take_queue(&markers[1]);
        for (size_t k = 0; k < N; k++)
            cr_assert(is_marked(objects[k]), "object %zu", k);
        cr_assert_eq(marked, (uint64_t)(i + 1) * N * sizeof(struct triple));
        cr_assert_eq(sum, N);
        (void)pthread_barrier_wait(&turn);
    }
    for (int t = 0; t < 2; t++)
        (void)pthread_join(threads[t], NULL);
    end_by_hand();
}
