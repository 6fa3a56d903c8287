/* SPDX-License-Identifier: MIT */
/*
 * Purpose: every store of barrier.h does what docs/stores.md says, with the barrier off, on
 * before this thread's stack is scanned, and on after it; for arrays of structs, overlapping and
 * interior ranges, flexible tails, types without pointers, and tagged words.
 *
 * Place: public interface only.
 *
 * How: a second thread that blocks the collector's signal and polls only when it is told to
 * holds the cycle where it is wanted (hold.h); in each state the same stores are made, what is
 * overwritten and what is stored is remembered, and a collection shows that nothing was lost.
 */
#include "fatal.h"
#include "kit.h"

#include "hold.h"

#define N 700 /* elements: more than one step of a bulk store */

struct cell3 { /* three words, a pointer in the middle: the pattern drifts across steps */
    uint64_t a;
    struct plain *p;
    uint64_t b;
};

struct text {
    size_t len;
    char bytes[];
};

struct table {
    struct plain *owner;
    size_t n;
    struct cell3 cells[];
};

GC_TYPE(cell3_type, struct cell3, p);
GC_TYPE_FLEX_PLAIN(text_type, struct text, bytes, gc_byte_type);
GC_TYPE_FLEX(table_type, struct table, cells, cell3_type, owner);

static const gc_decode low_tag = { 7, 1, ~(uint64_t)7 };

struct tagged {
    uint64_t w[4];
};

GC_TYPE_TAGGED(tagged_type, struct tagged, low_tag, w);

static struct plain *
plain_new(uint64_t n)
{
    struct plain *p = gc_alloc(&plain_type);

    p->w[0] = n;
    p->w[3] = ~n;
    return p;
}

static void
check_plain(const struct plain *p, uint64_t n)
{
    cr_assert_not_null(p, "%llu is NULL", (unsigned long long)n);
    cr_assert(p->w[0] == n && p->w[3] == ~n, "want %llu, got %llu and ~%llu",
            (unsigned long long)n, (unsigned long long)p->w[0], (unsigned long long)~p->w[3]);
}

static void
fill(struct cell3 *c, size_t n, uint64_t base)
{
    for (size_t i = 0; i < n; i++) {
        c[i].a = base + i;
        c[i].b = ~(base + i);
        gc_write(&c[i].p, plain_new(base + i));
    }
}

static void
check_cells(const struct cell3 *c, size_t n, uint64_t base)
{
    for (size_t i = 0; i < n; i++) {
        cr_assert(c[i].a == base + i && c[i].b == ~(base + i), "cell %zu", i);
        check_plain(c[i].p, base + i);
    }
}

/* ---- single words ---- */

#define WAYS 6

static struct pair *pairs[WAYS]; /* registered */
static struct pair *kept[WAYS]; /* not registered */

static struct pair *
pair_new(struct pair *left)
{
    struct pair *p = gc_alloc(&pair_type);

    p->left = left;
    return p;
}

/* What is overwritten is held by this thread's stack alone, which has been scanned, perhaps. */
static void
overwrite_each_way(void)
{
    struct pair *new_ = pair_new(NULL);

    for (int i = 0; i < WAYS; i++)
        kept[i] = pairs[i]->left;
    gc_write(&pairs[0]->left, new_);
    gc_write_release(&pairs[1]->left, new_);
    cr_assert_eq(gc_exchange(&pairs[2]->left, new_), kept[2]);
    cr_assert_eq(gc_cas(&pairs[3]->left, new_, kept[3]), 0);
    cr_assert_eq(gc_cas(&pairs[3]->left, kept[3], new_), 1);
    gc_copy(&gc_pointer_type, &pairs[4]->left, &new_, 1);
    gc_clear(&gc_pointer_type, &pairs[5]->left, 1);
    for (int i = 0; i < WAYS - 1; i++)
        cr_assert_eq(gc_read_acquire(&pairs[i]->left), new_);
    cr_assert_null(gc_read_acquire(&pairs[5]->left));
}

static void
check_kept(void)
{
    for (int i = 0; i < WAYS; i++) {
        cr_assert_eq(gc_base(kept[i]), kept[i], "way %d", i);
        cr_assert_eq(gc_base(kept[i]->left), kept[i]->left, "way %d", i);
        cr_assert_null(kept[i]->left->left, "way %d", i);
    }
}

/* `kept` is hidden from the collector: only the cycle that is held may keep what it names. */
Test(stores, what_is_overwritten_lives_to_the_end_of_the_cycle)
{
    static const enum hold_at states[] = { HOLD_HYBRID, HOLD_DELETION };

    for (size_t s = 0; s < 2; s++) {
        start();
        T_OK(gc_root_add(pairs, sizeof pairs));
        for (int i = 0; i < WAYS; i++)
            gc_write(&pairs[i], pair_new(pair_new(pair_new(NULL))));
        hold_begin(states[s]);
        overwrite_each_way();
        hold_end();
        check_kept();
        gc_root_remove(pairs);
        stop();
    }
}

/* ---- arrays of structs ---- */

static struct cell3 *cells[2]; /* registered */

static void
begin_cells(enum hold_at at)
{
    start();
    T_OK(gc_root_add(cells, sizeof cells));
    for (int k = 0; k < 2; k++) {
        gc_write(&cells[k], gc_alloc_array(&cell3_type, N));
        fill(cells[k], N, (uint64_t)k * 1000);
    }
    hold_begin(at);
}

static void
end_cells(void)
{
    hold_end();
    gc_collect(NULL);
}

static void
drop_cells(void)
{
    gc_root_remove(cells);
    stop();
}

#define IN_EACH_STATE   for (enum hold_at at = HOLD_IDLE; at < HOLD_STATES; at++)

Test(stores, copy_between_arrays_of_structs)
{
    IN_EACH_STATE
    {
        begin_cells(at);
        gc_copy(&cell3_type, cells[0] + 1, cells[1] + 3, N - 10);
        end_cells();
        check_cells(cells[0], 1, 0);
        check_cells(cells[0] + 1, N - 10, 1003);
        check_cells(cells[0] + N - 9, 9, N - 9);
        check_cells(cells[1], N, 1000);
        drop_cells();
    }
}

Test(stores, move_up_and_down_over_itself)
{
    static const size_t shifts[] = { 1, 2, 170, 171, N / 2 + 1 };

    IN_EACH_STATE for (size_t i = 0; i < sizeof shifts / sizeof shifts[0]; i++)
    {
        size_t by = shifts[i];

        begin_cells(at);
        gc_move(&cell3_type, cells[0] + by, cells[0], N - by);
        gc_move(&cell3_type, cells[1], cells[1] + by, N - by);
        end_cells();
        check_cells(cells[0], by, 0);
        check_cells(cells[0] + by, N - by, 0);
        check_cells(cells[1], N - by, 1000 + by);
        check_cells(cells[1] + N - by, by, 1000 + N - by);
        drop_cells();
    }
}

Test(stores, clear_a_part)
{
    IN_EACH_STATE
    {
        begin_cells(at);
        gc_clear(&cell3_type, cells[0] + 5, N - 10);
        gc_clear(&cell3_type, cells[1], 0);
        end_cells();
        check_cells(cells[0], 5, 0);
        for (size_t i = 5; i < N - 5; i++)
            cr_assert(cells[0][i].a == 0 && cells[0][i].p == NULL && cells[0][i].b == 0);
        check_cells(cells[0] + N - 5, 5, N - 5);
        check_cells(cells[1], N, 1000);
        drop_cells();
    }
}

/* From memory that the collector does not look at, into the heap. */
Test(stores, copy_from_a_local_array)
{
    IN_EACH_STATE
    {
        struct cell3 local[20] = { { 0 } };

        begin_cells(at);
        for (uint64_t i = 0; i < 20; i++)
            local[i] = (struct cell3){ 5000 + i, plain_new(5000 + i), ~(5000 + i) };
        gc_copy(&cell3_type, cells[0] + 7, local, 20);
        memset(local, 0, sizeof local);
        end_cells();
        check_cells(cells[0] + 7, 20, 5000);
        drop_cells();
    }
}

/* ---- flexible objects: the header by its type, the tail by that of its elements ---- */

static struct table *tables[2]; /* registered */
static struct text *texts[2];   /* registered */

static void
copy_table(struct table *to, const struct table *from)
{
    gc_copy(&table_type, to, from, 1);
    gc_copy(&cell3_type, to->cells, from->cells, from->n);
}

static void
make_tables(void)
{
    for (int k = 0; k < 2; k++) {
        gc_write(&tables[k], gc_alloc_flex(&table_type, 300));
        gc_write(&tables[k]->owner, plain_new((uint64_t)k));
        tables[k]->n = 300 - (size_t)k;
        fill(tables[k]->cells, 300, (uint64_t)k * 500);
    }
    gc_write(&texts[0], gc_alloc_flex(&text_type, 100));
    gc_write(&texts[1], gc_alloc_flex(&text_type, 100));
    texts[0]->len = 99;
    memset(texts[0]->bytes, 'x', 99);
}

Test(stores, flexible_objects_header_and_tail)
{
    IN_EACH_STATE
    {
        start();
        T_OK(gc_root_add(tables, sizeof tables));
        T_OK(gc_root_add(texts, sizeof texts));
        make_tables();
        hold_begin(at);
        copy_table(tables[0], tables[1]);
        gc_copy(&text_type, texts[1], texts[0], 1);
        gc_copy(&gc_byte_type, texts[1]->bytes, texts[0]->bytes, 100);
        gc_move(&gc_byte_type, texts[1]->bytes + 1, texts[1]->bytes, 99);
        hold_end();
        gc_collect(NULL);
        check_plain(tables[0]->owner, 1);
        cr_assert_eq(tables[0]->n, 299);
        check_cells(tables[0]->cells, 299, 500);
        check_cells(tables[0]->cells + 299, 1, 299);
        cr_assert(texts[1]->len == 99 && memcmp(texts[1]->bytes, texts[0]->bytes, 99) == 0
                && texts[1]->bytes[99] == 'x');
        gc_root_remove(tables);
        gc_root_remove(texts);
        stop();
    }
}

/* ---- tagged words ---- */

static struct tagged *words[2]; /* registered */

static uint64_t
tag(const void *p)
{
    return (uint64_t)(uintptr_t)p | 1;
}

Test(stores, tagged_words_single_and_in_bulk)
{
    IN_EACH_STATE
    {
        start();
        T_OK(gc_root_add(words, sizeof words));
        gc_write(&words[0], gc_alloc(&tagged_type));
        gc_write(&words[1], gc_alloc(&tagged_type));
        for (uint64_t i = 0; i < 4; i++)
            gc_write_word(&low_tag, &words[0]->w[i], tag(plain_new(i)));
        hold_begin(at);
        gc_copy(&tagged_type, words[1], words[0], 1);
        gc_write_word(&low_tag, &words[0]->w[0], 42);
        gc_write_word(&low_tag, &words[0]->w[1], tag(plain_new(7)));
        hold_end();
        gc_collect(NULL);
        for (uint64_t i = 0; i < 4; i++)
            check_plain((void *)(uintptr_t)gc_decode_word(&low_tag, words[1]->w[i]), i);
        cr_assert_eq(words[0]->w[0], 42);
        check_plain((void *)(uintptr_t)gc_decode_word(&low_tag, words[0]->w[1]), 7);
        gc_root_remove(words);
        stop();
    }
}

/* ---- types without pointers ---- */

Test(stores, plain_data_may_lie_anywhere)
{
    struct plain *a;
    char odd[4 * sizeof(struct plain) + 1], back[sizeof odd];

    start();
    a = gc_alloc_array(&plain_type, 4);
    memset(odd, 7, sizeof odd);
    gc_copy(&plain_type, a, odd + 1, 4);
    cr_assert_eq(a[3].w[3], UINT64_C(0x0707070707070707));
    gc_move(&plain_type, back + 1, a, 4);
    cr_assert_eq(memcmp(back + 1, odd + 1, sizeof odd - 1), 0);
    gc_clear(&plain_type, a + 1, 2);
    cr_assert(a[0].w[0] != 0 && a[1].w[0] == 0 && a[2].w[3] == 0 && a[3].w[0] != 0);
    stop();
}

/* ---- misuse ---- */

static void *word;
static uint64_t tagged_word;
static struct pair *two;

#define MISUSE(name, text)           \
    static void name(void *unused)   \
    {                                \
        (void)unused;                \
        text                         \
    }

/* clang-format off */
MISUSE(write_detached, gc_write(&word, NULL);)
MISUSE(write_word_detached, gc_write_word(&low_tag, &tagged_word, 0);)
MISUSE(write_after_detach, start(); gc_write(&word, NULL); gc_thread_detach();
        gc_write(&word, NULL);)
MISUSE(write_outside, start(); GC_BLOCKING { gc_write(&word, NULL); })
MISUSE(write_word_outside, start();
        GC_BLOCKING { gc_write_word(&low_tag, &tagged_word, 0); })
MISUSE(write_release_detached, gc_write_release(&word, NULL);)
MISUSE(exchange_detached, (void)gc_exchange(&word, NULL);)
MISUSE(cas_detached, (void)gc_cas(&word, NULL, NULL);)
MISUSE(copy_detached, gc_copy(&gc_pointer_type, &word, &word, 1);)
MISUSE(cas_outside, start(); gc_block_enter(); (void)gc_cas(&word, NULL, NULL);)
MISUSE(clear_outside, start(); gc_block_enter(); gc_clear(&gc_pointer_type, &word, 1);)
MISUSE(copy_two_flexible, start(); gc_copy(&bag_type, &word, &word, 2);)
MISUSE(move_misaligned, start(); two = gc_alloc_array(&pair_type, 2);
        gc_move(&pair_type, two, (char *)two + 4, 1);)
/* clang-format on */

Test(stores, misuse_is_named)
{
    expect_fatal(write_detached, NULL, "gc_write: the calling thread is not attached");
    expect_fatal(write_word_detached, NULL, "gc_write_word: the calling thread is not attached");
    expect_fatal(write_after_detach, NULL, "gc_write: the calling thread is not attached");
    expect_fatal(write_outside, NULL, "gc_write: called inside a blocking region");
    expect_fatal(write_word_outside, NULL, "gc_write_word: called inside a blocking region");
    expect_fatal(write_release_detached, NULL,
            "gc_write_release: the calling thread is not attached");
    expect_fatal(exchange_detached, NULL,
            "gc_exchange: the calling thread is not attached");
    expect_fatal(cas_detached, NULL, "gc_cas: the calling thread is not attached");
    expect_fatal(copy_detached, NULL, "gc_copy: the calling thread is not attached");
    expect_fatal(cas_outside, NULL, "gc_cas: called inside a blocking region");
    expect_fatal(clear_outside, NULL, "gc_clear: called inside a blocking region");
    expect_fatal(copy_two_flexible, NULL,
            "gc_copy: 2 elements of struct bag, which is flexible");
    expect_fatal(move_misaligned, NULL, "gc_move: struct pair at a misaligned address");
}
