/* SPDX-License-Identifier: MIT */
/*
 * Kinds: the layout of every form of type, what is said about each malformed one, one kind
 * per key however many threads ask, many types in one P's table, and the limit.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "gc/kind.h"
#include "gc/mutator.h"

#include <gcrt/gcrt.h>

static struct gc_heap *heap;

static void
start(void)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.threads = 1;
    opt.debug_verify = 1;
    cr_assert_eq(gc_heap_create(&opt, &heap), GC_OK, "%s", gc_last_error());
    cr_assert_eq(gc_thread_attach(heap), GC_OK);
}

static void
stop(void)
{
    gc_thread_detach();
    cr_assert_eq(gc_heap_destroy(heap), GC_OK);
}

TestSuite(kind, .init = start, .fini = stop);

static void
no_trace(const void *obj, size_t bytes, gc_tracer *tracer)
{
    (void)obj;
    (void)bytes;
    (void)tracer;
}

/* ---- layouts ---- */

struct pair {
    void *left;
    uint64_t number;
    void *right;
};

struct pointers {
    void *p[5];
};

struct wide {
    void *first;
    uint64_t numbers[70];
    void *last[2];
};

struct wide64 {
    void *first;
    uint64_t numbers[62];
    void *last;
};

struct flex {
    void *owner;
    uint64_t n;
    struct pair tail[];
};

struct text {
    uint64_t n;
    char tail[];
};

GC_TYPE(pair_type, struct pair, left, right);
GC_TYPE(pointers_type, struct pointers, p);
GC_TYPE(wide_type, struct wide, first, last);
GC_TYPE(wide64_type, struct wide64, first, last);
GC_TYPE_NOSCAN(numbers_type, struct text);
GC_TYPE_CONSERVATIVE(cons_type, struct pair);
GC_TYPE_TRACED(traced_type, struct pair, no_trace);
GC_TYPE_FLEX(flex_type, struct flex, tail, pair_type, owner);
GC_TYPE_FLEX_PLAIN(text_type, struct text, tail, gc_byte_type);
GC_TYPE_FLEX_PLAIN(list_type, struct text, tail, gc_pointer_type);
GC_TYPE_FLEX(owned_text_type, struct flex, n, gc_byte_type, owner);
GC_TYPE_FLEX_PLAIN(wides_type, struct text, tail, wide_type);
GC_TYPE_FLEX_PLAIN(conses_type, struct text, tail, cons_type);

static const struct kind *
kind(const gc_type *type, bool single)
{
    unsigned c = class_of(type->size);
    uintptr_t key = single ? (uintptr_t)type : kind_key(type, c);
    struct kind *k = gcrt_kind_get(heap, key, type, c, single);

    cr_assert_not_null(k);
    cr_assert_eq(k->key, key);
    cr_assert_eq(k->type, type);
    cr_assert_eq(k->central.sizeclass, c);
    cr_assert_eq(k->central.noscan, k->layout.how == SCAN_NONE);
    cr_assert_eq(kind_at(heap, k->central.index), k);
    return k;
}

static void
expect_layout(const gc_type *type, bool single, enum scan_how how, uint64_t mask)
{
    const struct kind *k = kind(type, single);

    cr_expect_eq(k->layout.how, how, "%s, single %d: %d, not %d", type->name, single,
            (int)k->layout.how, (int)how);
    if (how == SCAN_ONE || how == SCAN_TILED) {
        cr_expect_eq(k->layout.mask, mask, "%s: mask %#lx", type->name,
                (unsigned long)k->layout.mask);
        cr_expect_eq(k->layout.elem_bytes, type->size);
    }
    if (how == SCAN_FIELDS || how == SCAN_TRACE || how == SCAN_FLEX)
        cr_expect_eq(k->layout.type, type);
}

Test(kind, each_form_has_its_layout)
{
    expect_layout(&pair_type, true, SCAN_ONE, 5);
    expect_layout(&pair_type, false, SCAN_TILED, 5);
    expect_layout(&pointers_type, true, SCAN_ONE, 31);
    expect_layout(&pointers_type, false, SCAN_ALL, 0);
    expect_layout(&gc_pointer_type, false, SCAN_ALL, 0);
    expect_layout(&wide_type, true, SCAN_FIELDS, 0);
    expect_layout(&wide_type, false, SCAN_FIELDS, 0);
    expect_layout(&wide64_type, true, SCAN_ONE, 1 | (uint64_t)1 << 63);
    expect_layout(&wide64_type, false, SCAN_TILED, 1 | (uint64_t)1 << 63);
    expect_layout(&numbers_type, true, SCAN_NONE, 0);
    expect_layout(&numbers_type, false, SCAN_NONE, 0);
    expect_layout(&gc_byte_type, false, SCAN_NONE, 0);
    expect_layout(&cons_type, true, SCAN_ALL, 0);
    expect_layout(&cons_type, false, SCAN_ALL, 0);
    expect_layout(&traced_type, true, SCAN_TRACE, 0);
}

Test(kind, flexible_types_have_a_layout_for_their_tail)
{
    expect_layout(&flex_type, false, SCAN_FLEX, 0);
    cr_expect_eq(kind(&flex_type, false)->tail.how, SCAN_TILED);
    cr_expect_eq(kind(&flex_type, false)->tail.mask, 5);
    cr_expect_eq(kind(&flex_type, false)->tail.elem_bytes, sizeof(struct pair));
    expect_layout(&text_type, false, SCAN_NONE, 0);
    expect_layout(&list_type, false, SCAN_FLEX, 0);
    cr_expect_eq(kind(&list_type, false)->tail.how, SCAN_ALL);
    expect_layout(&owned_text_type, false, SCAN_FLEX, 0);
    cr_expect_eq(kind(&owned_text_type, false)->tail.how, SCAN_NONE);
    expect_layout(&wides_type, false, SCAN_FLEX, 0);
    cr_expect_eq(kind(&wides_type, false)->tail.how, SCAN_FIELDS);
    cr_expect_eq(kind(&wides_type, false)->tail.type, &wide_type);
    expect_layout(&conses_type, false, SCAN_FLEX, 0);
    cr_expect_eq(kind(&conses_type, false)->tail.how, SCAN_ALL);
}

Test(kind, masks_of_types_made_at_run_time_are_those_of_the_macros)
{
    static const gc_field backwards[] = { { 16, 8 }, { 0, 8 } };
    static const gc_field across[] = { { 0, 8 }, { 480, 32 }, { 512, 8 } };
    gc_type_spec spec = { .name = "pair", .size = 24, .form = GC_FORM_FIELDS,
        .fields = backwards, .nfields = 2 };
    const gc_type *type;

    cr_assert_eq(gc_type_create(heap, &spec, &type), GC_OK, "%s", gc_last_error());
    cr_expect_eq(type->mask, pair_type.mask);
    cr_expect_eq(type->fields[0].offset, 0, "sorted");
    expect_layout(type, true, SCAN_ONE, 5);
    spec = (gc_type_spec){ .size = 600, .form = GC_FORM_FIELDS, .fields = across,
        .nfields = 3 };
    cr_assert_eq(gc_type_create(heap, &spec, &type), GC_OK, "%s", gc_last_error());
    cr_expect_eq(type->mask, 1 | (uint64_t)0xf << 60, "the first 64 words");
    cr_expect_str_eq(type->name, "anonymous");
    expect_layout(type, true, SCAN_FIELDS, 0);
}

/* ---- keys ---- */

Test(kind, keys_tell_size_classes_apart)
{
    uintptr_t address = (uintptr_t)&pair_type;

    cr_expect_eq(address >> 56, 0);
    for (unsigned a = 0; a < NUM_CLASSES; a++) {
        cr_expect_eq(kind_key(&pair_type, a) & (UINTPTR_MAX >> 8), address);
        cr_expect_neq(kind_key(&pair_type, a), address, "no class is the single object's");
        for (unsigned b = 0; b < a; b++)
            cr_expect_neq(kind_key(&pair_type, a), kind_key(&pair_type, b));
    }
    cr_expect_eq(kind_key(&pair_type, CLASS_LARGE) >> 56, KEY_LARGE);
}

Test(kind, a_key_has_one_kind_and_each_key_its_own)
{
    const struct kind *first[NUM_CLASSES + 1];
    unsigned before = ahalf_load_relaxed(&heap->mheap.ncentrals);

    for (int round = 0; round < 2; round++)
        for (unsigned c = 0; c <= NUM_CLASSES; c++) {
            uintptr_t key = c == NUM_CLASSES ? (uintptr_t)&pair_type : kind_key(&pair_type, c);
            unsigned sizeclass = c == NUM_CLASSES ? class_of(24) : c;
            const struct kind *k =
                gcrt_kind_get(heap, key, &pair_type, sizeclass, c == NUM_CLASSES);

            cr_assert_not_null(k);
            if (round == 0)
                first[c] = k;
            cr_assert_eq(k, first[c]);
            for (unsigned d = 0; d < c; d++)
                cr_assert_neq(k, first[d]);
        }
    cr_expect_eq(ahalf_load_relaxed(&heap->mheap.ncentrals), before + NUM_CLASSES + 1);
}

/* ---- complaints ---- */

static gc_type
good(void)
{
    return pair_type;
}

static void
expect_complaint(const gc_type *type, const char *words)
{
    const char *complaint = gcrt_type_complaint(type);

    cr_expect_not_null(complaint, "nobody complains that it %s", words);
    if (complaint != NULL)
        cr_expect_str_eq(complaint, words);
}

Test(kind, well_formed_types_are_not_complained_about)
{
    static const gc_type *const types[] = { &pair_type, &pointers_type, &wide_type,
        &wide64_type, &numbers_type, &cons_type, &traced_type, &flex_type, &text_type,
        &list_type, &owned_text_type, &wides_type, &conses_type, &gc_pointer_type,
        &gc_byte_type };

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        cr_expect_null(gcrt_type_complaint(types[i]), "%s %s", types[i]->name,
                gcrt_type_complaint(types[i]));
}

Test(kind, each_malformed_type_is_told_what_is_wrong)
{
    static char room[192] __attribute__((aligned(64)));
    gc_type t = good();

    expect_complaint(NULL, "is NULL");
    t.magic++;
    expect_complaint(&t, "is no gc_type (bad magic)");
    memcpy(room + 8, &pair_type, sizeof(pair_type));
    expect_complaint((const gc_type *)(const void *)(room + 8), "is no gc_type (bad magic)");
    expect_complaint((const gc_type *)((uintptr_t)&pair_type | (uintptr_t)1 << 56),
            "is no gc_type (bad magic)");
    t = good();
    t.size = 0;
    expect_complaint(&t, "has size 0");
    t = good();
    t.size = 28;
    expect_complaint(&t, "has a size that is no multiple of the word");
    t.form = GC_FORM_NOSCAN;
    cr_expect_null(gcrt_type_complaint(&t), "bytes may have any size");
    t = good();
    t.form = 0;
    expect_complaint(&t, "has an unknown form");
    t.form = GC_FORM_FLEX + 1;
    expect_complaint(&t, "has an unknown form");
    t = good();
    t.form = GC_FORM_TRACED;
    expect_complaint(&t, "is traced but has no trace function");
    t = good();
    t.nfields = 0;
    expect_complaint(&t, "has no pointer field (use a noscan type)");
}

static void
expect_field_complaint(gc_field a, gc_field b, const char *words)
{
    gc_field fields[2] = { a, b };
    gc_type t = good();

    t.fields = fields;
    for (int order = 0; order < 2; order++) {
        if (words == NULL)
            cr_expect_null(gcrt_type_complaint(&t));
        else
            expect_complaint(&t, words);
        fields[0] = b;
        fields[1] = a;
    }
}

Test(kind, each_malformed_field_is_found_in_any_order)
{
    const gc_field ok = { 0, 8 };

    expect_field_complaint(ok, (gc_field){ 8, 16 }, NULL);
    expect_field_complaint(ok, (gc_field){ 12, 8 },
            "has a pointer field that is not made of aligned words");
    expect_field_complaint(ok, (gc_field){ 8, 4 },
            "has a pointer field that is not made of aligned words");
    expect_field_complaint(ok, (gc_field){ 8, 0 },
            "has a pointer field that is not made of aligned words");
    expect_field_complaint(ok, (gc_field){ 24, 8 }, "has a pointer field beyond its size");
    expect_field_complaint(ok, (gc_field){ 16, 16 }, "has a pointer field beyond its size");
    expect_field_complaint(ok, (gc_field){ 8, 0xfffffff8u },
            "has a pointer field beyond its size");
    expect_field_complaint(ok, (gc_field){ 0xfffffff8u, 8 },
            "has a pointer field beyond its size");
    expect_field_complaint(ok, ok, "has overlapping pointer fields");
    expect_field_complaint((gc_field){ 0, 16 }, (gc_field){ 8, 8 },
            "has overlapping pointer fields");
    expect_field_complaint((gc_field){ 0, 24 }, (gc_field){ 8, 8 },
            "has overlapping pointer fields");
}

Test(kind, fields_overlap_also_when_others_stand_between_them)
{
    gc_field fields[3] = { { 0, 8 }, { 16, 8 }, { 0, 8 } };
    gc_type t = { .name = "three fields", .size = 24, .form = GC_FORM_FIELDS, .nfields = 3,
        .mask = 5, .fields = fields, .magic = GC_IMPL_TYPE_MAGIC };

    expect_complaint(&t, "has overlapping pointer fields");
    fields[2].offset = 8;
    t.mask = 7;
    cr_expect_null(gcrt_type_complaint(&t));
}

Test(kind, each_malformed_flexible_type_is_told_what_is_wrong)
{
    gc_type elem = good(), t = flex_type;

    t.elem = NULL;
    expect_complaint(&t, "is flexible but names no element type");
    t.elem = &elem;
    elem.magic = 0;
    expect_complaint(&t, "has an element type that is no gc_type");
    t.elem = &flex_type;
    expect_complaint(&t, "has a flexible or traced element type");
    t.elem = &traced_type;
    expect_complaint(&t, "has a flexible or traced element type");
    t = flex_type;
    t.tail = t.size + 8;
    expect_complaint(&t, "has its tail beyond its size");
    t = flex_type;
    t.tail = 12;
    expect_complaint(&t, "has a misaligned tail of pointers");
    t = text_type;
    t.tail = 3;
    cr_expect_null(gcrt_type_complaint(&t), "bytes may begin anywhere");
    t = owned_text_type;
    t.tail = 3; /* a part of the field would be scanned, that is, none of it */
    expect_complaint(&t, "has a pointer field that reaches into its tail");
    t.tail = 0;
    expect_complaint(&t, "has a pointer field that reaches into its tail");
    t = flex_type;
    t.size = 8;
    t.tail = 8;
    cr_expect_null(gcrt_type_complaint(&t));
    t.size = 0;
    expect_complaint(&t, "has size 0");
}

Test(kind, a_malformed_type_is_fatal_when_its_kind_is_made, .signal = SIGABRT)
{
    static gc_type t;

    t = good();
    t.form = 77;
    (void)kind(&t, true);
}

/* ---- threads ---- */

#define THREADS 4
#define TYPES   500

static const gc_type *many[TYPES];
static const struct kind *found[THREADS][TYPES];
static ahalf ready;

static void
make_types(void)
{
    static const gc_field field = { 8, 8 };

    for (size_t i = 0; i < TYPES; i++) {
        char name[32];
        gc_type_spec spec = { .name = name, .size = 16 + 8 * (i % 32),
            .form = GC_FORM_FIELDS, .fields = &field, .nfields = 1 };

        snprintf(name, sizeof(name), "type-%zu", i);
        cr_assert_eq(gc_type_create(heap, &spec, &many[i]), GC_OK, "%s", gc_last_error());
    }
}

static void *
ask_for_all(void *arg)
{
    size_t self = (size_t)(uintptr_t)arg;

    ahalf_add_full(&ready, 1);
    while (ahalf_load_acquire(&ready) != THREADS)
        continue;
    for (size_t i = 0; i < TYPES; i++)
        found[self][i] = gcrt_kind_get(
                heap, (uintptr_t)many[i], many[i], class_of(many[i]->size), true);
    return NULL;
}

Test(kind, all_threads_get_the_same_kind)
{
    unsigned before = ahalf_load_relaxed(&heap->mheap.ncentrals);
    pthread_t threads[THREADS];

    make_types();
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_for_all, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < TYPES; i++) {
        cr_assert_not_null(found[0][i]);
        for (size_t k = 1; k < THREADS; k++)
            cr_assert_eq(found[k][i], found[0][i]);
        cr_assert_eq(found[0][i]->type, many[i]);
    }
    cr_expect_eq(ahalf_load_relaxed(&heap->mheap.ncentrals), before + TYPES);
}

Test(kind, more_types_than_the_first_table_holds_are_no_trouble)
{
    static void *object[TYPES];
    struct mcache *mc = &gc_impl_self.mutator->p->cache;
    uint32_t first = mc->table->mask + 1;

    make_types();
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < TYPES; i++) {
            object[i] = gc_alloc(many[i]);
            cr_assert_geq(gc_usable_size(object[i]), many[i]->size);
            cr_assert_eq(kind_of(heap, mheap_span_of(&heap->mheap, (uintptr_t)object[i]))->type,
                    many[i]);
        }
    cr_expect_eq(first, 64);
    cr_expect_geq(mc->table->mask + 1, 1024, "it has grown");
    cr_expect_eq(gc_impl_self.runs, mc->table->runs, "the inline allocator knows");
    cr_expect_eq(gc_impl_self.run_mask, mc->table->mask);
    gc_collect(heap);
    cr_expect_eq(gc_verify(heap), GC_OK, "%s", gc_last_error());
}

/* ---- the limit ---- */

Test(kind, beyond_the_limit_there_is_no_kind_but_the_others_go_on)
{
    static const gc_field field = { 0, 8 };
    gc_type_spec spec = { .size = 40, .form = GC_FORM_FIELDS, .fields = &field, .nfields = 1 };
    const gc_type *type;
    size_t made = 0, bytes;
    void *p;

    for (;;) {
        cr_assert_eq(gc_type_create(heap, &spec, &type), GC_OK);
        if (gcrt_kind_get(heap, (uintptr_t)type, type, class_of(40), true) == NULL)
            break;
        cr_assert_leq(++made, MHEAP_CENTRALS_MAX);
    }
    cr_expect_eq(ahalf_load_relaxed(&heap->mheap.ncentrals), MHEAP_CENTRALS_MAX);
    cr_expect_gt(made, MHEAP_CENTRALS_MAX - 10);
    bytes = aword_load_relaxed(&heap->persist.total);
    for (int i = 0; i < 10; i++)
        cr_expect_null(gc_try_alloc(type), "a new kind is refused");
    cr_expect_eq(aword_load_relaxed(&heap->persist.total), bytes, "a refusal takes nothing");
    cr_expect_not_null(strstr(gc_last_error(), "8192 kinds"), "%s", gc_last_error());
    p = gc_try_alloc(kind_at(heap, MHEAP_CENTRALS_MAX - 1)->type);
    cr_expect_not_null(p, "an old one is not");
    gc_collect(heap);
    cr_expect_eq(gc_verify(heap), GC_OK, "%s", gc_last_error());
}
