/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what keeps an object alive (roots, handles, the stack, each pointer of each kind
 * of object), and that nothing else does.
 *
 * Place: public interface only.
 *
 * How: objects are made in functions of their own and remembered by hidden addresses;
 * collections run from a wiped stack.  Where something must be dead, two objects may live
 * on by one stale word: it counts for its object and, as one past the end, for the one
 * before.
 */

#define _GNU_SOURCE

#include "kit.h"

struct tagged { /* a word with its low bit set holds a pointer plus one */
    uintptr_t words[4];
};

GC_TYPE(pair_reversed_type, struct pair, right, left);

/* ---- what keeps alive ---- */

static __attribute__((noinline)) void
make_garbage(void)
{
    for (size_t i = 0; i < 40; i++)
        (void)make(i, BYTES);
}

Test(life, unreachable_objects_are_gone_after_two_collections)
{
    size_t kept = 0;

    start();
    make_garbage();
    t_collect_twice(NULL);
    for (size_t i = 0; i < 40; i++)
        kept += (size_t)alive(i, BYTES);
    cr_assert(kept <= 2, "%zu of 40 dead objects are still there", kept);
    stop();
}

static void *cells[10];

static __attribute__((noinline)) void
fill_cells(void)
{
    for (size_t i = 0; i < 10; i++)
        gc_write(&cells[i], (char *)make(i, BYTES) + i * 4);
}

Test(life, registered_roots_keep_alive_also_by_interior_pointers)
{
    size_t kept = 0;

    start();
    T_OK(gc_root_add(cells, sizeof cells));
    fill_cells();
    t_collect_twice(NULL);
    for (size_t i = 0; i < 10; i++)
        cr_assert(alive(i, BYTES), "cell %zu lost its object", i);
    for (size_t i = 0; i < 10; i += 2)
        gc_write(&cells[i], NULL);
    t_collect_twice(NULL);
    for (size_t i = 0; i < 10; i++) {
        cr_assert(i % 2 == 0 || alive(i, BYTES), "cell %zu lost its object", i);
        kept += (size_t)(i % 2 == 0 && alive(i, BYTES));
    }
    cr_assert(kept <= 2, "%zu of 5 cleared cells still keep alive", kept);
    gc_root_remove(cells);
    t_collect_twice(NULL);
    for (size_t i = 1; i < 10; i += 2)
        kept += (size_t)alive(i, BYTES);
    cr_assert(kept <= 2, "%zu objects outlive their root", kept);
    stop();
}

static __attribute__((noinline)) void
make_handles(gc_handle **handles, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        handles[i] = gc_handle_new(make(i, BYTES));
        cr_assert(handles[i] != NULL);
    }
}

Test(life, handles_keep_alive_until_freed)
{
    gc_handle *handles[20], *empty;
    size_t kept = 0;

    start();
    make_handles(handles, 20);
    empty = gc_handle_new(NULL);
    cr_assert(gc_handle_get(empty) == NULL);
    t_collect_twice(NULL);
    for (size_t i = 0; i < 20; i++) {
        cr_assert(alive(i, BYTES), "handle %zu lost its object", i);
        cr_assert(gc_handle_get(handles[i]) == t_reveal(hidden[i]));
    }
    gc_handle_set(empty, gc_handle_get(handles[0]));
    for (size_t i = 0; i < 20; i++)
        gc_handle_free(handles[i]);
    gc_handle_free(NULL);
    t_collect_twice(NULL);
    cr_assert(alive(0, BYTES), "gc_handle_set did not keep its object");
    for (size_t i = 1; i < 20; i++)
        kept += (size_t)alive(i, BYTES);
    cr_assert(kept <= 2, "%zu of 19 freed handles still keep alive", kept);
    gc_handle_free(empty);
    stop();
}

Test(life, the_stack_keeps_alive_also_by_interior_pointers)
{
    void *volatile exact;
    char *volatile inside;
    char *volatile last;
    char *volatile end;

    start();
    exact = make(0, BYTES);
    inside = (char *)make(1, BYTES) + 17;
    last = (char *)make(2, 100000) + 99999;
    end = (char *)make(3, BYTES) + BYTES;
    t_collect_twice(NULL);
    cr_assert(alive(0, BYTES) && alive(1, BYTES) && alive(2, 100000));
    cr_assert(alive(3, BYTES), "one past the end does not keep alive");
    cr_assert(exact == t_reveal(hidden[0]));
    cr_assert(inside != NULL && last != NULL && end != NULL);
    stop();
}

static __attribute__((noinline)) void
link_many(struct pair **slots, size_t n, size_t stride_words)
{
    for (size_t i = 0; i < n; i++)
        gc_write((void **)slots + i * stride_words, make(i, BYTES));
}

static void
check_links(size_t n, const char *what)
{
    t_collect_twice(NULL);
    for (size_t i = 0; i < n; i++)
        cr_assert(alive(i, BYTES), "%s: pointer %zu of %zu was not traced", what, i, n);
}

Test(life, every_field_of_a_type_is_traced)
{
    struct pair *pair, *reversed;
    struct wide *wide;

    start();
    pair = gc_alloc(&pair_type);
    link_many(&pair->left, 2, 1);
    check_links(2, "pair");
    reversed = gc_alloc(&pair_reversed_type);
    link_many(&reversed->left, 2, 1);
    check_links(2, "pair, its fields named in another order");
    wide = gc_alloc(&wide_type);
    link_many(&wide->a, 1, 1);
    check_links(1, "beyond 64 words");
    link_many(wide->b, 3, 1);
    check_links(3, "array of pointers beyond 64 words");
    GC_KEEP_ALIVE(pair);
    GC_KEEP_ALIVE(reversed);
    GC_KEEP_ALIVE(wide);
    stop();
}

/* The last element, the first, and some between: n elements of stride words. */
static void
check_array(void **array, size_t n, size_t stride, size_t slot, const char *what)
{
    static const double shares[] = { 0, 0.1, 0.25, 0.5, 0.77, 0.99, 1 };
    size_t count = 0, last = SIZE_MAX;

    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        size_t at = (size_t)(shares[i] * (double)(n - 1));

        if (at == last)
            continue;
        gc_write(&array[at * stride + slot], make(count++, BYTES));
        last = at;
    }
    check_links(count, what);
    GC_KEEP_ALIVE(array);
}

Test(life, every_element_of_an_array_is_traced, .timeout = 120)
{
    static const size_t counts[] = {
            1, 2, 3, 21, 22, 64, 65, 100, 1365, 1366, 5461, 5462, 6000, 50000};

    start();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t n = counts[i];
        void **pointers = gc_alloc_array(&gc_pointer_type, n);
        void **odds = gc_alloc_array(&odd_type, n);
        void **wides = gc_alloc_array(&wide_type, n / 16 + 1);
        struct bag *bag = gc_alloc_flex(&bag_type, n);

        check_array(pointers, n, 1, 0, "array of pointers");
        check_array(odds, n, 3, 1, "array of structs of 3 words");
        check_array(wides, n / 16 + 1, 105, 104, "array of structs of 105 words");
        check_array((void **)(void *)bag->items, n, 3, 1, "tail");
        gc_write(&bag->first, make(0, BYTES));
        check_links(1, "header of a flexible object");
        GC_KEEP_ALIVE(bag);
    }
    stop();
}

Test(life, every_word_of_a_conservative_object_is_traced)
{
    struct plain *one;
    void **many;

    start();
    one = gc_alloc(&loose_type);
    link_many((struct pair **)(void *)one->w, 4, 1);
    check_links(4, "conservative");
    many = gc_alloc_array(&loose_type, 10000);
    check_array(many, 40000, 1, 0, "conservative array");
    GC_KEEP_ALIVE(one);
    stop();
}

static __attribute__((noinline)) struct plain *
make_noscan(void)
{
    struct plain *plain = gc_alloc(&plain_type);

    for (size_t i = 0; i < 4; i++)
        plain->w[i] = (uint64_t)(uintptr_t)make(i, BYTES);
    return plain;
}

Test(life, noscan_objects_keep_nothing_alive)
{
    struct plain *plain;
    size_t kept = 0;

    start();
    plain = make_noscan();
    t_collect_twice(NULL);
    for (size_t i = 0; i < 4; i++)
        kept += (size_t)alive(i, BYTES);
    cr_assert(kept <= 2, "%zu of 4 words of a noscan object keep alive", kept);
    GC_KEEP_ALIVE(plain);
    stop();
}

static void
trace_tagged(const void *obj, size_t bytes, gc_tracer *tracer)
{
    const uintptr_t *words = obj;

    for (size_t i = 0; i < bytes / sizeof *words; i++) {
        uintptr_t word = __atomic_load_n(&words[i], __ATOMIC_RELAXED);

        /* Sparse: only inverted words with the top bit set are references. */
        if (word >> 63)
            gc_trace(tracer, (const void *)~word);
    }
}

GC_TYPE_TRACED(tagged_type, struct tagged, trace_tagged);

static __attribute__((noinline)) void
fill_tagged(struct tagged *tagged)
{
    for (size_t i = 0; i < 4; i++)
        tagged->words[i] = ~(uintptr_t)make(i, BYTES);
}

Test(life, a_trace_function_finds_encoded_pointers)
{
    const gc_type_spec spec = { .size = 400000, .form = GC_FORM_TRACED,
        .trace = trace_tagged };
    const gc_type *type;
    struct tagged *tagged, *large;

    start();
    tagged = gc_alloc(&tagged_type);
    fill_tagged(tagged);
    check_links(4, "traced");
    T_OK(gc_type_create(NULL, &spec, &type));
    large = gc_alloc(type);
    fill_tagged(&large[400000 / sizeof *large - 1]);
    check_links(4, "end of a large traced object");
    GC_KEEP_ALIVE(tagged);
    GC_KEEP_ALIVE(large);
    stop();
}

Test(life, types_made_at_run_time_trace_their_fields)
{
    const gc_field fields[] = { { 8, 8 }, { 800, 16 } };
    gc_type_spec spec = { .name = "made", .size = 1000, .form = GC_FORM_FIELDS,
        .fields = fields, .nfields = 2 };
    const gc_type *type;
    void **object;

    start();
    T_OK(gc_type_create(NULL, &spec, &type));
    object = gc_alloc(type);
    gc_write(&object[1], make(0, BYTES));
    gc_write(&object[100], make(1, BYTES));
    gc_write(&object[101], make(2, BYTES));
    check_links(3, "made type");
    GC_KEEP_ALIVE(object);
    spec = (gc_type_spec){.size = 32, .form = GC_FORM_FLEX, .elem = &odd_type, .tail = 32};
    T_OK(gc_type_create(NULL, &spec, &type));
    object = gc_alloc_flex(type, 300);
    check_array(object + 4, 300, 3, 1, "tail of a made type");
    spec = (gc_type_spec){ .size = 7, .form = GC_FORM_NOSCAN };
    T_OK(gc_type_create(NULL, &spec, &type));
    cr_assert(opaque(gc_alloc(type)) != NULL && opaque(gc_alloc_array(type, 9)) != NULL);
    stop();
}

/* ---- the end of a thread ---- */

static void *
end_in_a_region(void *unused)
{
    (void)unused;
    gc_block_enter();
    gc_block_enter();
    return NULL;
}

Test(life, a_thread_may_return_inside_of_regions)
{
    pthread_t thread;

    start();
    T_OK(gc_pthread_create(&thread, NULL, end_in_a_region, NULL));
    gc_block_enter();
    cr_assert_eq(pthread_join(thread, NULL), 0);
    gc_block_leave();
    gc_collect(NULL);
    stop();
}
