/* SPDX-License-Identifier: MIT */
/*
 * Purpose: allocation, stores, heaps, threads, options and statuses do what their headers
 * say, on one thread and without load.
 *
 * Place: public interface only.  life_test.c asks what stays alive, numbers_test.c what is
 * counted, misuse_test.c what must fail; stress has the load.
 *
 * How: a Criterion process per test, so each has a fresh default heap.
 */

#define _GNU_SOURCE

#include "kit.h"

/* ---- allocation ---- */

static void
check_object(void *p, size_t bytes, int zeroed)
{
    size_t usable = gc_usable_size(p);
    size_t align = bytes >= 512 ? 64 : bytes >= 256 ? 32 : bytes >= 32 ? 16 : 8;
    unsigned char *c = p;

    cr_assert(bytes < 8 ? usable != 0 : usable >= bytes, "%zu usable of %zu", usable, bytes);
    cr_assert((uintptr_t)p % align == 0 || bytes < 8, "%zu bytes at %p", bytes, p);
    for (size_t i = 0; zeroed && i < bytes; i++)
        cr_assert(c[i] == 0, "byte %zu of %zu is 0x%02x", i, bytes, c[i]);
    memset(p, 0xa5, bytes);
}

static void
check_interior(char *p, size_t bytes)
{
    const size_t at[] = { 0, 1, 7, 8, bytes / 3, bytes / 2, bytes - 1 };

    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        if (at[i] >= bytes)
            continue;
        cr_assert(gc_base(p + at[i]) == p, "%zu bytes: gc_base(+%zu) is %+td", bytes, at[i],
                (char *)gc_base(p + at[i]) - p);
        cr_assert(gc_usable_size(p + at[i]) == gc_usable_size(p), "%zu bytes, +%zu", bytes,
                at[i]);
    }
}

static void
check_size(size_t bytes)
{
    char *p = gc_alloc_bytes(bytes), *q = gc_alloc_bytes(bytes);

    cr_assert(p != q);
    if (bytes >= 16) {
        cr_assert(p + gc_usable_size(p) <= q || q + gc_usable_size(q) <= p, "overlap");
        check_interior(p, bytes);
    }
    check_object(p, bytes, 1);
    check_object(q, bytes, 1);
    check_object(gc_alloc_bytes_uninit(bytes), bytes, 0);
}

Test(alloc, every_size_up_to_the_large_ones, .timeout = 120)
{
    start();
    for (size_t bytes = 1; bytes <= 2100; bytes++)
        check_size(bytes);
    for (size_t bytes = 2101; bytes <= 33000; bytes += 37)
        check_size(bytes);
    stop();
}

Test(alloc, the_borders_of_every_size_class, .timeout = 120)
{
    gc_stats stats;

    start();
    gc_stats_read(NULL, &stats);
    for (size_t i = 1; i < GC_STATS_CLASSES; i++) {
        size_t size = stats.by_size[i].size;

        cr_assert(size > 0, "class %zu has no size", i);
        for (size_t bytes = size > 2 ? size - 2 : 1; bytes <= size + 2; bytes++)
            check_size(bytes);
        cr_assert_eq(gc_usable_size(gc_alloc_bytes(size)), size,
                "%zu bytes do not get their own class", size);
    }
    stop();
}

Test(alloc, large_sizes_to_eight_mebibytes, .timeout = 120)
{
    start();
    for (size_t bytes = 32 * 1024; bytes <= (size_t)8 << 20; bytes += bytes / 3) {
        check_size(bytes - 1);
        check_size(bytes);
        check_size(bytes + 1);
    }
    stop();
}

Test(alloc, memory_is_zero_again_after_reuse, .timeout = 120)
{
    start();
    for (int round = 0; round < 4; round++) {
        for (size_t bytes = 8; bytes <= 40000; bytes += bytes / 2 + 8)
            for (int i = 0; i < 50; i++) { /* from the same spans by turns */
                check_object(gc_alloc_bytes(bytes), bytes, 1);
                check_object(gc_alloc_bytes_uninit(bytes), bytes, 0);
            }
        for (int i = 0; i < 300; i++) {
            struct pair *pair = gc_alloc(&pair_type);

            cr_assert(pair->left == NULL && pair->right == NULL);
            pair->left = pair->right = pair;
        }
        t_collect_twice(NULL);
    }
    stop();
}

static size_t
tiny_alignment(size_t bytes)
{
    return bytes % 4 == 0 ? 4 : bytes % 2 == 0 ? 2 : 1;
}

Test(alloc, from_8_bytes_on_objects_have_slots_of_their_own)
{
    char *objects[16];

    start();
    for (size_t i = 0; i < 16; i++) {
        objects[i] = gc_alloc_bytes(8 + i % 8);
        cr_assert_eq(gc_base(objects[i] + 7), objects[i]);
        cr_assert_eq(gc_usable_size(objects[i]), i % 8 == 0 ? 8 : 16);
    }
    stop();
}

Test(alloc, tiny_objects_do_not_overlap_and_are_aligned)
{
    unsigned char *objects[300];
    size_t bytes[300];

    start();
    for (size_t i = 0; i < 300; i++) {
        bytes[i] = 1 + i % 7;
        objects[i] = gc_alloc_bytes(bytes[i]);
        cr_assert((uintptr_t)objects[i] % tiny_alignment(bytes[i]) == 0, "%zu bytes at %p",
                bytes[i], (void *)objects[i]);
        for (size_t k = 0; k < bytes[i]; k++)
            cr_assert(objects[i][k] == 0);
        memset(objects[i], (int)(i & 0xff), bytes[i]);
        cr_assert(gc_base(objects[i]) == objects[i], "tiny objects are their own base");
        cr_assert(gc_usable_size(objects[i]) == 1, "how long a tiny object is nobody knows");
    }
    t_collect_twice(NULL);
    for (size_t i = 0; i < 300; i++)
        for (size_t k = 0; k < bytes[i]; k++)
            cr_assert(objects[i][k] == (i & 0xff), "tiny object %zu is altered", i);
    stop();
}

Test(alloc, strdup_copies)
{
    char text[5000];

    start();
    memset(text, 'x', sizeof text);
    for (size_t n = 0; n < sizeof text; n += 1 + n / 7) {
        char *copy;

        text[n] = '\0';
        copy = gc_strdup(text);
        cr_assert(copy != text && strcmp(copy, text) == 0);
        cr_assert(gc_base(copy) != NULL);
        text[n] = 'x';
    }
    stop();
}

Test(alloc, zero_elements_and_zero_bytes)
{
    struct bag *bag;

    start();
    cr_assert(opaque(gc_alloc_array(&pair_type, 0)) != NULL);
    cr_assert(opaque(gc_alloc_bytes(0)) != NULL);
    bag = opaque(gc_alloc_flex(&bag_type, 0));
    cr_assert(bag != NULL && bag->n == 0 && bag->first == NULL);
    cr_assert(gc_try_alloc_array(&pair_type, 0) != NULL);
    stop();
}

/* The tail may begin before the header's end: elements there are part of the type's size. */
Test(alloc, a_flexible_object_is_never_smaller_than_its_type)
{
    const gc_type_spec spec = { .name = "early tail", .size = 400, .form = GC_FORM_FLEX,
        .elem = &gc_pointer_type, .tail = 8 };
    const gc_type *type;
    char *p;

    start();
    cr_assert_eq(gc_type_create(NULL, &spec, &type), GC_OK, "%s", gc_last_error());
    p = gc_alloc_flex(type, 1);
    cr_assert(gc_usable_size(p) >= 400);
    check_object(p, 400, 1);
    stop();
}

/* The inline half takes what is small and leaves the rest; both give the same. */
Test(alloc, arrays_of_every_length)
{
    start();
    for (size_t n = 0; n <= 200; n++) {
        struct pair *pairs = gc_alloc_array(&pair_type, n);
        struct plain *plains = gc_alloc_array(&plain_type, n);

        cr_assert(pairs != NULL && plains != NULL);
        if (n != 0)
            check_object(plains, n * sizeof *plains, 1);
        for (size_t i = 0; i < n; i++) {
            cr_assert(pairs[i].left == NULL && pairs[i].right == NULL, "%zu of %zu", i, n);
            gc_write(&pairs[i].left, (struct pair *)gc_alloc_bytes(n + 16));
        }
        if (n % 50 == 0)
            gc_collect(NULL);
        for (size_t i = 0; i < n; i++)
            cr_assert(gc_base(pairs[i].left) == pairs[i].left
                    && gc_usable_size(pairs[i].left) >= n + 16);
    }
    stop();
}

Test(alloc, try_forms_give_zeroed_objects)
{
    struct bag *bag;
    struct wide *wide;

    start();
    check_object(gc_try_alloc(&pair_type), sizeof(struct pair), 1);
    check_object(gc_try_alloc_array(&pair_type, 100), 100 * sizeof(struct pair), 1);
    check_object(gc_try_alloc_bytes(333), 333, 1);
    check_object(gc_try_alloc_bytes_uninit(333), 333, 0);
    bag = gc_try_alloc_flex(&bag_type, 3);
    cr_assert(bag != NULL && bag->items[2].y == 0);
    wide = gc_try_alloc(&wide_type);
    cr_assert(wide != NULL && wide->b[2] == NULL);
    stop();
}

/* ---- stores ---- */

Test(store, single_stores_store_and_return)
{
    struct pair *p, *a, *b;

    start();
    p = gc_alloc(&pair_type);
    a = gc_alloc(&pair_type);
    b = gc_alloc(&pair_type);
    gc_write(&p->left, a);
    cr_assert(p->left == a);
    gc_write_release(&p->left, b);
    cr_assert(p->left == b);
    cr_assert(gc_exchange(&p->left, a) == b && p->left == a);
    cr_assert(gc_cas(&p->left, b, NULL) == 0 && p->left == a);
    cr_assert(gc_cas(&p->left, a, b) == 1 && p->left == b);
    cr_assert(gc_cas(&p->right, NULL, a) == 1 && p->right == a);
    gc_write(&p->left, NULL);
    cr_assert(p->left == NULL);
    stop();
}

Test(store, bulk_stores_copy_move_and_clear)
{
    struct odd *x, *y;

    start();
    x = gc_alloc_array(&odd_type, 100);
    y = gc_alloc_array(&odd_type, 100);
    for (uint64_t i = 0; i < 100; i++) {
        x[i].x = i;
        gc_write(&x[i].p, gc_alloc(&pair_type));
    }
    gc_copy(&odd_type, y, x, 100);
    cr_assert(memcmp(x, y, 100 * sizeof *x) == 0);
    gc_move(&odd_type, y + 1, y, 99);
    for (uint64_t i = 1; i < 100; i++)
        cr_assert(y[i].x == i - 1 && y[i].p == x[i - 1].p, "moved up: %llu",
                (unsigned long long)i);
    gc_move(&odd_type, y, y + 1, 99);
    for (uint64_t i = 0; i < 98; i++)
        cr_assert(
                y[i].x == i && y[i].p == x[i].p, "moved down: %llu", (unsigned long long)i);
    gc_clear(&odd_type, y + 10, 20);
    for (uint64_t i = 0; i < 98; i++)
        cr_assert(i >= 10 && i < 30 ? y[i].x == 0 && y[i].p == NULL : y[i].p == x[i].p,
                "cleared: %llu", (unsigned long long)i);
    gc_copy(&odd_type, y, x, 0);
    gc_move(&odd_type, y, x, 0);
    gc_clear(&odd_type, y, 0);
    cr_assert(y[0].p == x[0].p);
    stop();
}

/* ---- process, heaps, threads ---- */

Test(heap, two_heaps_do_not_mix)
{
    gc_heap *one = NULL, *two = NULL;
    gc_stats stats;

    T_OK(gc_heap_create(NULL, &one));
    T_OK(gc_heap_create(NULL, &two));
    cr_assert(one != NULL && two != NULL && one != two);
    cr_assert(gc_thread_heap() == NULL);
    T_OK(gc_thread_attach(two));
    cr_assert(gc_thread_heap() == two);
    GC_KEEP_ALIVE(gc_alloc(&pair_type));
    gc_stats_read(one, &stats);
    cr_assert(stats.mallocs == 0);
    gc_stats_read(two, &stats);
    cr_assert(stats.mallocs == 1, "%llu", (unsigned long long)stats.mallocs);
    gc_thread_detach();
    cr_assert(gc_thread_heap() == NULL);
    gc_collect(one);
    t_verify(one);
    t_verify(two);
    T_OK(gc_heap_destroy(one));
    T_OK(gc_heap_destroy(two));
}

Test(heap, init_and_shutdown_can_be_repeated)
{
    gc_shutdown();
    for (int i = 0; i < 5; i++) {
        start();
        cr_assert(gc_thread_heap() != NULL);
        GC_KEEP_ALIVE(gc_alloc(&pair_type));
        gc_shutdown();
        cr_assert(gc_thread_heap() == NULL);
    }
}

Test(heap, shutdown_after_the_caller_detached)
{
    start();
    gc_thread_detach();
    gc_shutdown();
    start();
    stop();
}

Test(heap, set_gogc_returns_the_previous_value)
{
    start();
    cr_assert(gc_set_gogc(NULL, 50) == 100);
    cr_assert(gc_set_gogc(NULL, GC_GOGC_OFF) == 50);
    cr_assert(gc_set_gogc(gc_thread_heap(), -7) == GC_GOGC_OFF);
    cr_assert(gc_set_gogc(NULL, 0) == GC_GOGC_OFF);
    cr_assert(gc_set_gogc(NULL, 100) == 0);
    stop();
}

/* A ballast without its memory: the goal rises at once, and falls at once. */
Test(heap, heap_minimum_moves_the_goal_at_once_and_scales_with_gogc)
{
    gc_stats stats;

    start();
    cr_assert(gc_set_heap_min(NULL, (size_t)64 << 20) == (size_t)4 << 20);
    gc_stats_read(NULL, &stats);
    cr_assert(stats.next_gc == (uint64_t)64 << 20, "%llu", (unsigned long long)stats.next_gc);
    (void)gc_set_gogc(NULL, 50);
    gc_stats_read(NULL, &stats);
    cr_assert(stats.next_gc == (uint64_t)32 << 20, "%llu", (unsigned long long)stats.next_gc);
    cr_assert(gc_set_heap_min(gc_thread_heap(), (size_t)2 << 20) == (size_t)64 << 20);
    gc_stats_read(NULL, &stats);
    cr_assert(stats.next_gc < (uint64_t)8 << 20, "%llu", (unsigned long long)stats.next_gc);
    cr_assert(gc_set_heap_min(NULL, 0) == (size_t)2 << 20);
    stop();
}

Test(heap, collect_counts_a_forced_cycle_that_starts_after_the_call)
{
    gc_stats before, after;

    start();
    gc_stats_read(NULL, &before);
    gc_collect(NULL);
    gc_collect(gc_thread_heap());
    gc_stats_read(NULL, &after);
    cr_assert(after.num_gc >= before.num_gc + 2);
    cr_assert(after.num_forced_gc == before.num_forced_gc + 2);
    cr_assert(after.last_gc_ns > 0);
    stop();
}

static void *
return_next(void *arg)
{
    struct pair *pair = arg;

    T_CHECK(gc_thread_heap() != NULL, "the new thread is not attached");
    gc_collect(NULL);
    T_CHECK(gc_base(pair) == pair && pair->left == pair, "the argument is lost");
    return (void *)1;
}

Test(thread, pthread_create_attaches_and_hands_over_its_argument)
{
    struct pair *pair;
    pthread_attr_t attr;
    pthread_t thread;
    void *result = NULL;

    start();
    pair = gc_alloc(&pair_type);
    gc_write(&pair->left, pair);
    T_OK(gc_pthread_create(&thread, NULL, return_next, pair));
    cr_assert(pthread_join(thread, &result) == 0 && result == (void *)1);
    cr_assert(pthread_attr_init(&attr) == 0);
    cr_assert(pthread_attr_setstacksize(&attr, 128 * 1024) == 0);
    T_OK(gc_pthread_create(&thread, &attr, return_next, pair));
    cr_assert(pthread_join(thread, &result) == 0 && result == (void *)1);
    (void)pthread_attr_destroy(&attr);
    stop();
}

Test(thread, blocking_regions_nest_and_keep_the_stack_alive)
{
    void *volatile held;
    gc_heap *heap;

    start();
    heap = gc_thread_heap();
    held = make(0, BYTES);
    GC_BLOCKING {
        gc_block_enter();
        gc_collect(heap);
        gc_block_leave();
        gc_collect(heap);
    }
    gc_safepoint();
    cr_assert(alive(0, BYTES) && held != NULL);
    stop();
}

/* ---- options, statuses ---- */

Test(options, defaults_are_as_documented)
{
    gc_options opt;

    gc_options_default(&opt);
    cr_assert(opt.struct_size == sizeof opt);
    cr_assert(opt.gogc == 100 && opt.heap_min == (size_t)4 << 20 && opt.reserve == 0);
    cr_assert(opt.threads == 0 && opt.grace_us == 100 && opt.signal == 0);
    cr_assert(opt.periodic_ms == 120000 && opt.oom == NULL && opt.log == NULL);
    cr_assert(opt.debug_gctrace == 0 && opt.debug_verify == 0 && opt.debug_stress == 0);
    cr_assert(opt.debug_clobberfree == 0 && opt.debug_tiny == 0);
    cr_assert(opt.debug_chaos == 0);
    cr_assert(opt.debug_failat == 0);
}

static void
from_env(gc_options *opt, const char *name, const char *value)
{
    (void)unsetenv("GCRT_GOGC");
    (void)unsetenv("GOGC");
    (void)unsetenv("GCRT_THREADS");
    (void)unsetenv("GCRT_DEBUG");
    if (name != NULL)
        (void)setenv(name, value, 1);
    T_OK(gc_options_from_env(opt));
}

Test(options, the_environment_is_read)
{
    gc_options opt;

    from_env(&opt, NULL, NULL);
    cr_assert(opt.gogc == 100 && opt.struct_size == sizeof opt);
    from_env(&opt, "GCRT_GOGC", "37");
    cr_assert(opt.gogc == 37);
    from_env(&opt, "GCRT_GOGC", "0");
    cr_assert(opt.gogc == 0);
    from_env(&opt, "GCRT_GOGC", "off");
    cr_assert(opt.gogc == GC_GOGC_OFF);
    from_env(&opt, "GOGC", "250");
    cr_assert(opt.gogc == 250);
    (void)setenv("GCRT_GOGC", "20", 1);
    T_OK(gc_options_from_env(&opt));
    cr_assert(opt.gogc == 20, "GCRT_GOGC goes before GOGC");
    from_env(&opt, "GCRT_THREADS", "3");
    cr_assert(opt.threads == 3);
    from_env(&opt, "GCRT_DEBUG",
            "gctrace=1,verify=2,clobberfree=1,stress=9,chaos=77,tiny=1,failat=5");
    cr_assert(
            opt.debug_gctrace == 1 && opt.debug_verify == 2 && opt.debug_clobberfree == 1);
    cr_assert(opt.debug_stress == 9 && opt.debug_chaos == 77 && opt.debug_tiny == 1);
    cr_assert(opt.debug_failat == 5 && opt.gogc == 100);
    from_env(&opt, "GCRT_DEBUG", "verify=1");
    cr_assert(opt.debug_verify == 1 && opt.debug_gctrace == 0);
}

Test(status, every_code_has_its_own_text)
{
    for (int i = 0; i < GC_STATUS_COUNT; i++) {
        const char *text = gc_status_string((gc_status)i);

        cr_assert(text != NULL && strncmp(text, "GC_", 3) == 0, "code %d: %s", i, text);
        for (int k = 0; k < i; k++)
            cr_assert(strcmp(text, gc_status_string((gc_status)k)) != 0, "%d and %d", i, k);
    }
    cr_assert(gc_status_string((gc_status)9999) != NULL);
    cr_assert(gc_status_string((gc_status)-1) != NULL);
    cr_assert(strcmp(gc_last_error(), "") == 0, "no call has failed yet");
}

/* ---- address space ---- */

Test(basic, a_wish_for_more_addresses_than_there_are_gets_the_most)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.reserve = SIZE_MAX;
    T_OK(gc_init(&opt));
    cr_expect_not_null(gc_alloc(&pair_type));
    stop();
}

Test(basic, what_no_garbage_makes_room_for_collects_nothing)
{
    gc_options opt;
    uint64_t cycles;

    gc_options_default(&opt);
    opt.reserve = (size_t)64 << 20;
    opt.periodic_ms = 0;
    T_OK(gc_init(&opt));
    cycles = t_cycles(NULL);
    cr_expect_null(gc_try_alloc_bytes((size_t)65 << 20));
    cr_expect_eq(t_cycles(NULL), cycles);
    cr_expect_not_null(gc_alloc(&pair_type));
    stop();
}

static int
swallow(void *arg, const char *bytes, size_t n)
{
    (void)arg;
    (void)bytes;
    (void)n;
    return 0;
}

Test(basic, a_heap_without_an_object_has_a_snapshot)
{
    const gc_sink sink = { swallow, NULL };
    gc_heap *heap;

    T_OK(gc_heap_create(NULL, &heap));
    T_OK(gc_heap_snapshot_write(heap, &sink));
    T_OK(gc_heap_destroy(heap));
}
