/* SPDX-License-Identifier: MIT */
/*
 * Purpose: every misuse that the headers speak of ends in its status or in one line
 * "gcrt: fatal: <what>" that names the mistake, followed by abort(); never in silence.
 *
 * Place: public interface only.
 *
 * How: a FATAL test runs the misuse twice: in a forked child whose standard error is read,
 * then in the test's own process, which must die of SIGABRT.
 */

#define _GNU_SOURCE

#include "fatal.h"

#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct pair {
    struct pair *left, *right;
};

struct bag {
    size_t n;
    struct pair items[];
};

struct plain {
    uint64_t w[2];
};

GC_TYPE(pair_type, struct pair, left, right);
GC_TYPE_FLEX_PLAIN(bag_type, struct bag, items, pair_type);
GC_TYPE_NOSCAN(plain_type, struct plain);

static void
start(void)
{
    gc_options opt;

    gc_options_default(&opt);
    T_OK(gc_init(&opt));
}

/* ---- fatal lines ---- */

FATAL(alloc_on_a_detached_thread, "attach")
{
    GC_KEEP_ALIVE(gc_alloc(&pair_type));
}

FATAL(alloc_array_on_a_detached_thread, "attach")
{
    GC_KEEP_ALIVE(gc_alloc_array(&pair_type, 3));
}

FATAL(alloc_bytes_on_a_detached_thread, "attach")
{
    GC_KEEP_ALIVE(gc_alloc_bytes(3));
}

FATAL(try_alloc_on_a_detached_thread, "attach")
{
    GC_KEEP_ALIVE(gc_try_alloc(&pair_type));
}

FATAL(strdup_on_a_detached_thread, "attach")
{
    GC_KEEP_ALIVE(gc_strdup("x"));
}

FATAL(alloc_after_detach, "attach")
{
    start();
    GC_KEEP_ALIVE(gc_alloc(&pair_type));
    gc_thread_detach();
    GC_KEEP_ALIVE(gc_alloc(&pair_type));
}

FATAL(alloc_bytes_in_a_blocking_region, "block|outside")
{
    start();
    GC_KEEP_ALIVE(gc_alloc_bytes(100));
    GC_BLOCKING { GC_KEEP_ALIVE(gc_alloc_bytes(100)); }
}

/* The inline fast path too, with a run at hand. */
FATAL(alloc_in_a_blocking_region, "block|outside")
{
    start();
    GC_KEEP_ALIVE(gc_alloc(&pair_type));
    GC_BLOCKING { GC_KEEP_ALIVE(gc_alloc(&pair_type)); }
}

FATAL(shutdown_in_a_blocking_region, "gc_shutdown: called inside a blocking region")
{
    start();
    gc_block_enter();
    gc_shutdown();
}

static void *
do_nothing(void *arg)
{
    return arg;
}

FATAL(pthread_create_in_a_blocking_region, "gc_pthread_create: called inside a blocking region")
{
    pthread_t thread;

    start();
    gc_block_enter();
    (void)!gc_pthread_create(&thread, NULL, do_nothing, NULL);
}

FATAL(handle_new_on_a_detached_thread, "attach")
{
    start();
    gc_thread_detach();
    GC_KEEP_ALIVE(gc_handle_new(NULL));
}

FATAL(free_os_memory_without_a_heap, "gc_free_os_memory")
{
    (void)gc_free_os_memory(NULL);
}

FATAL(collect_without_a_heap, "gc_collect")
{
    gc_collect(NULL);
}

FATAL(handle_free_twice, "handle")
{
    gc_handle *handle;

    start();
    handle = gc_handle_new(gc_alloc(&pair_type));
    gc_handle_free(handle);
    gc_handle_free(handle);
}

FATAL(handle_free_twice_among_others, "handle")
{
    gc_handle *handles[10];

    start();
    for (int i = 0; i < 10; i++)
        handles[i] = gc_handle_new(gc_alloc(&pair_type));
    gc_handle_free(handles[3]);
    gc_handle_free(handles[7]);
    gc_handle_free(handles[3]);
}

FATAL(detach_when_detached, "gc_thread_detach")
{
    gc_thread_detach();
}

FATAL(detach_twice, "gc_thread_detach")
{
    start();
    gc_thread_detach();
    gc_thread_detach();
}

FATAL(block_enter_when_detached, "gc_block_enter")
{
    gc_block_enter();
}

FATAL(block_leave_without_enter, "gc_block_leave")
{
    start();
    gc_block_leave();
}

FATAL(block_leave_once_too_often, "gc_block_leave")
{
    start();
    gc_block_enter();
    gc_block_enter();
    gc_block_leave();
    gc_block_leave();
    gc_block_leave();
}

FATAL(root_remove_of_an_unknown_range, "gc_root_remove")
{
    static void *cell;

    start();
    gc_root_remove(&cell);
}

FATAL(root_remove_twice, "gc_root_remove")
{
    static void *cell[2];

    start();
    T_OK(gc_root_add(cell, sizeof cell));
    gc_root_remove(cell);
    gc_root_remove(cell);
}

FATAL(root_remove_in_the_middle, "gc_root_remove")
{
    static void *cell[2];

    start();
    T_OK(gc_root_add(cell, sizeof cell));
    gc_root_remove(&cell[1]);
}

FATAL(root_remove_of_null, "gc_root_remove")
{
    start();
    gc_root_remove(NULL);
}

FATAL(alloc_array_of_an_overflowing_size, "gc_alloc_array|overflow|memory|large")
{
    start();
    GC_KEEP_ALIVE(gc_alloc_array(&pair_type, SIZE_MAX / sizeof(struct pair) + 1));
}

FATAL(alloc_flex_of_an_overflowing_size, "gc_alloc_flex|overflow|memory|large")
{
    start();
    GC_KEEP_ALIVE(gc_alloc_flex(&bag_type, SIZE_MAX / sizeof(struct pair)));
}

/* The elements fit into the address space, and the header makes them overflow. */
FATAL(alloc_flex_whose_header_makes_it_overflow, "gc_alloc_flex|overflow|memory|large")
{
    GC_TYPE_FLEX_PLAIN(line_type, struct bag, items, gc_byte_type);

    start();
    GC_KEEP_ALIVE(gc_alloc_flex(&line_type, SIZE_MAX));
}

FATAL(copy_of_an_overflowing_size, "gc_copy|overflow")
{
    struct pair *pair;

    start();
    pair = gc_alloc(&pair_type);
    gc_copy(&pair_type, pair, pair, SIZE_MAX / sizeof(struct pair) + 1);
}

FATAL(alloc_bytes_of_size_max, "gc_alloc_bytes|overflow|memory|large")
{
    start();
    GC_KEEP_ALIVE(gc_alloc_bytes(SIZE_MAX));
}

FATAL(alloc_flex_of_a_type_without_tail, "flex")
{
    start();
    GC_KEEP_ALIVE(gc_alloc_flex(&pair_type, 3));
}

FATAL(alloc_of_a_null_type, "type")
{
    start();
    GC_KEEP_ALIVE(gc_alloc_array(NULL, 3));
}

FATAL(alloc_of_a_type_with_a_wrong_magic, "type")
{
    static gc_type wrong;

    start();
    wrong = pair_type;
    wrong.magic = 0x12345678;
    GC_KEEP_ALIVE(gc_alloc(&wrong));
}

FATAL(alloc_array_of_zeroes_as_a_type, "type")
{
    static gc_type wrong;

    start();
    GC_KEEP_ALIVE(gc_alloc_array(&wrong, 3));
}

static void *
attach_and_stay(void *arg)
{
    int *ready = arg;

    T_OK(gc_thread_attach(NULL));
    __atomic_store_n(ready, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(ready, __ATOMIC_RELAXED))
        (void)pause();
    return NULL;
}

FATAL(shutdown_while_a_thread_is_attached, "attached|gc_shutdown|thread")
{
    static int ready;
    pthread_t thread;

    ready = 0;
    start();
    T_CHECK(pthread_create(&thread, NULL, attach_and_stay, &ready) == 0, "pthread_create");
    while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
        t_sleep_us(1000);
    gc_shutdown();
}

/* ---- statuses ---- */

#define EXPECT(call, want)                                                              \
    do {                                                                                \
        gc_status got_ = (call);                                                        \
        cr_assert(got_ == (want), "%s: %s instead of %s; %s", #call,                    \
                gc_status_string(got_), gc_status_string(want), gc_last_error());       \
        cr_assert(got_ == GC_OK || gc_last_error()[0] != '\0', "%s: no last error",     \
                #call);                                                                 \
    } while (0)

Test(misuse, attach_twice_is_a_status)
{
    gc_heap *other;

    start();
    EXPECT(gc_thread_attach(NULL), GC_ERR_ATTACHED);
    T_OK(gc_heap_create(NULL, &other));
    EXPECT(gc_thread_attach(other), GC_ERR_ATTACHED);
    T_OK(gc_heap_destroy(other));
    gc_shutdown();
}

Test(misuse, attach_without_a_heap_is_a_status)
{
    EXPECT(gc_thread_attach(NULL), GC_ERR_INVAL);
    cr_assert(gc_thread_heap() == NULL);
}

Test(misuse, init_twice_is_a_status)
{
    start();
    EXPECT(gc_init(NULL), GC_ERR_BUSY);
    gc_shutdown();
    gc_shutdown();
}

Test(misuse, destroying_a_heap_in_use_is_a_status)
{
    gc_heap *heap = NULL;

    T_OK(gc_heap_create(NULL, &heap));
    T_OK(gc_thread_attach(heap));
    EXPECT(gc_heap_destroy(heap), GC_ERR_BUSY);
    GC_KEEP_ALIVE(gc_alloc(&pair_type));
    gc_thread_detach();
    EXPECT(gc_heap_destroy(heap), GC_OK);
}

Test(misuse, destroying_what_is_no_heap_is_a_status)
{
    static uint64_t zeroes[512];
    gc_heap *heap = NULL;

    EXPECT(gc_heap_destroy(NULL), GC_ERR_INVAL);
    EXPECT(gc_heap_destroy((gc_heap *)(void *)zeroes), GC_ERR_INVAL);
    T_OK(gc_heap_create(NULL, &heap));
    EXPECT(gc_heap_destroy(heap), GC_OK);
    EXPECT(gc_heap_destroy(heap), GC_ERR_INVAL);
    EXPECT(gc_heap_destroy((gc_heap *)16), GC_ERR_INVAL);
}

Test(misuse, heap_create_with_bad_options_is_a_status)
{
    gc_heap *heap = NULL;
    gc_options opt;

    EXPECT(gc_heap_create(NULL, NULL), GC_ERR_INVAL);
    gc_options_default(&opt);
    opt.struct_size = 3;
    EXPECT(gc_heap_create(&opt, &heap), GC_ERR_INVAL);
    gc_options_default(&opt);
    opt.gogc = INT64_MAX;
    EXPECT(gc_heap_create(&opt, &heap), GC_ERR_INVAL);
    gc_options_default(&opt);
    opt.signal = 10000;
    EXPECT(gc_heap_create(&opt, &heap), GC_ERR_INVAL);
    gc_options_default(&opt);
    opt.periodic_ms = -1;
    EXPECT(gc_heap_create(&opt, &heap), GC_ERR_INVAL);
    cr_assert(heap == NULL, "a failed call has set its result");
}

static void *
nothing(void *arg)
{
    return arg;
}

Test(misuse, pthread_create_when_detached_is_a_status)
{
    pthread_t thread;

    EXPECT(gc_pthread_create(&thread, NULL, nothing, NULL), GC_ERR_DETACHED);
    start();
    EXPECT(gc_pthread_create(&thread, NULL, NULL, NULL), GC_ERR_INVAL);
    EXPECT(gc_pthread_create(NULL, NULL, nothing, NULL), GC_ERR_INVAL);
    gc_shutdown();
}

Test(misuse, root_add_of_a_bad_range_is_a_status)
{
    static void *cells[8];
    char *bytes = (char *)cells;

    EXPECT(gc_root_add(cells, sizeof cells), GC_ERR_DETACHED);
    start();
    EXPECT(gc_root_add(NULL, 8), GC_ERR_INVAL);
    EXPECT(gc_root_add(cells, 0), GC_ERR_INVAL);
    EXPECT(gc_root_add(bytes + 4, 8), GC_ERR_INVAL);
    EXPECT(gc_root_add(bytes + 1, 16), GC_ERR_INVAL);
    EXPECT(gc_root_add((void *)(UINTPTR_MAX - 7), 16), GC_ERR_INVAL);
    EXPECT(gc_root_add(cells, SIZE_MAX - 7), GC_ERR_INVAL);
    EXPECT(gc_root_add(cells + 2, 16), GC_OK);
    EXPECT(gc_root_add(cells + 2, 16), GC_ERR_INVAL);
    EXPECT(gc_root_add(cells, sizeof cells), GC_ERR_INVAL);
    EXPECT(gc_root_add(cells + 3, 8), GC_ERR_INVAL);
    EXPECT(gc_root_add(cells + 1, 16), GC_ERR_INVAL);
    EXPECT(gc_root_add(cells + 4, 8), GC_OK);
    EXPECT(gc_root_add(cells + 1, 8), GC_OK);
    gc_root_remove(cells + 1);
    gc_root_remove(cells + 2);
    gc_root_remove(cells + 4);
    gc_shutdown();
}

Test(misuse, foreign_pointers_have_no_base_and_no_size)
{
    int local = 0;
    static int global;
    void *malloced = malloc(10);
    const void *foreign[] = { NULL, &local, &global, malloced, (void *)1, (void *)8,
        (void *)UINTPTR_MAX, (void *)(UINTPTR_MAX - 7), (void *)(uintptr_t)INT64_MIN };

    start();
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        cr_assert(gc_base(foreign[i]) == NULL, "pointer %zu has a base", i);
        cr_assert(gc_usable_size(foreign[i]) == 0, "pointer %zu has a size", i);
    }
    free(malloced);
    gc_shutdown();
}

Test(misuse, another_heaps_object_has_no_base)
{
    gc_heap *heap = NULL;
    void *p;

    T_OK(gc_heap_create(NULL, &heap));
    T_OK(gc_thread_attach(heap));
    p = gc_alloc(&pair_type);
    cr_assert(gc_base(p) == p);
    gc_thread_detach();
    start();
    cr_assert(gc_base(p) == NULL);
    cr_assert(gc_usable_size(p) == 0);
    gc_shutdown();
    T_OK(gc_heap_destroy(heap));
}

Test(misuse, a_freed_objects_address_has_no_base)
{
    volatile uintptr_t hidden;

    start();
    hidden = t_hide(gc_alloc_bytes(500));
    t_collect_twice(NULL);
    cr_assert(gc_base(t_reveal(hidden)) == NULL);
    cr_assert(gc_usable_size(t_reveal(hidden)) == 0);
    gc_shutdown();
}

static void
no_trace(const void *obj, size_t bytes, gc_tracer *tracer)
{
    (void)obj;
    (void)bytes;
    (void)tracer;
}

static void
expect_bad_spec(const char *what, gc_type_spec spec)
{
    const gc_type *type = NULL;
    gc_status status = gc_type_create(NULL, &spec, &type);

    cr_expect(status == GC_ERR_INVAL, "%s: %s", what, gc_status_string(status));
    cr_expect(type == NULL, "%s: a failed call has set its result", what);
    cr_expect(status == GC_OK || gc_last_error()[0] != '\0', "%s: no last error", what);
}

/* A spec with one field, otherwise right. */
static gc_type_spec
spec_of(const gc_field *field, size_t size)
{
    return (gc_type_spec){.name = "t",
            .size = size,
            .form = GC_FORM_FIELDS,
            .fields = field,
            .nfields = 1};
}

Test(misuse, type_create_of_a_bad_spec_is_a_status)
{
    static const gc_field good = {0, 8}, odd = {4, 8}, part = {0, 12}, out = {16, 8},
                          across = {8, 16}, empty = {0, 0}, wrap = {UINT32_MAX - 7, 8};
    static const gc_field twice[] = { { 0, 16 }, { 8, 8 } };
    gc_type_spec spec;

    start();
    expect_bad_spec("size 0", spec_of(&good, 0));
    expect_bad_spec("size 12", spec_of(&good, 12));
    expect_bad_spec("size beyond 32 bits", spec_of(&good, (size_t)1 << 33));
    expect_bad_spec("misaligned field", spec_of(&odd, 16));
    expect_bad_spec("field of 12 bytes", spec_of(&part, 16));
    expect_bad_spec("field behind the end", spec_of(&out, 16));
    expect_bad_spec("field across the end", spec_of(&across, 16));
    expect_bad_spec("empty field", spec_of(&empty, 16));
    expect_bad_spec("field that wraps", spec_of(&wrap, 16));
    spec = spec_of(twice, 16);
    spec.nfields = 2;
    expect_bad_spec("overlapping fields", spec);
    spec = spec_of(NULL, 16);
    expect_bad_spec("fields NULL", spec);
    spec = spec_of(&good, 16);
    spec.form = (enum gc_form)77;
    expect_bad_spec("unknown form", spec);
    spec = (gc_type_spec){ .size = 16, .form = GC_FORM_TRACED };
    expect_bad_spec("traced without a function", spec);
    spec = (gc_type_spec){ .size = 16, .form = GC_FORM_FLEX, .tail = 16 };
    expect_bad_spec("flex without an element type", spec);
    spec.elem = &pair_type;
    spec.tail = 12;
    expect_bad_spec("flex with a misaligned tail", spec);
    spec.tail = 24;
    expect_bad_spec("flex with its tail behind the size", spec);
    spec.tail = 16;
    spec.elem = &bag_type;
    expect_bad_spec("flex of flex", spec);
    gc_shutdown();
}

Test(misuse, type_create_with_null_arguments_is_a_status)
{
    const gc_type *type = NULL;
    gc_type_spec spec = { .size = 16, .form = GC_FORM_TRACED, .trace = no_trace };

    EXPECT(gc_type_create(NULL, &spec, &type), GC_ERR_NOTFOUND);
    start();
    EXPECT(gc_type_create(NULL, NULL, &type), GC_ERR_INVAL);
    EXPECT(gc_type_create(NULL, &spec, NULL), GC_ERR_INVAL);
    EXPECT(gc_type_create(NULL, &spec, &type), GC_OK);
    cr_assert(type != NULL && gc_alloc(type) != NULL);
    gc_shutdown();
}

Test(misuse, metrics_read_with_null_arguments_is_a_status)
{
    gc_metric_sample sample = { .name = NULL };

    EXPECT(gc_metrics_read(NULL, NULL, 0), GC_ERR_NOTFOUND);
    start();
    EXPECT(gc_metrics_read(NULL, NULL, 1), GC_ERR_INVAL);
    EXPECT(gc_metrics_read(NULL, &sample, 1), GC_ERR_INVAL);
    EXPECT(gc_metrics_read(NULL, NULL, 0), GC_OK);
    sample.name = "/no/such:metric";
    EXPECT(gc_metrics_read(NULL, &sample, 1), GC_OK);
    cr_assert(sample.kind == GC_METRIC_BAD);
    cr_assert(gc_histogram_create("/no/such:metric") == NULL);
    gc_histogram_free(NULL);
    gc_shutdown();
}

/* ---- environment ---- */

static void
clean_environment(void)
{
    static const char *const names[] = {"GCRT_GOGC", "GCRT_THREADS", "GCRT_DEBUG", "GOGC"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unsetenv(names[i]);
}

static void
expect_bad_environment(const char *name, const char *value)
{
    gc_options opt, before;
    gc_status status;

    clean_environment();
    memset(&opt, 0x5a, sizeof opt);
    before = opt;
    (void)setenv(name, value, 1);
    status = gc_options_from_env(&opt);
    cr_expect(status == GC_ERR_ENV, "%s=%s: %s", name, value, gc_status_string(status));
    cr_expect(status == GC_OK || strstr(gc_last_error(), name) != NULL,
            "%s=%s: the last error does not name the variable: %s", name, value,
            gc_last_error());
    cr_expect(memcmp(&opt, &before, sizeof opt) == 0, "%s=%s: the options are altered",
            name, value);
    clean_environment();
}

Test(misuse, malformed_environment_is_a_status)
{
    static const char *const numbers[] = { "x", "-1x", "1e3", "0x10", " 100", "100 ", "+5",
        "99999999999999999999", "--1", "-2", "10%", "OFF!", "1,2" };
    static const char *const debug[] = { "verify", "verify=", "verify=x", "verify=3", "=1",
        "nosuchknob=1", "verify=1,,tiny=1", ",", "stress=-1", "tiny=zz", "chaos=zz",
        "failat=18446744073709551616", "verify=1 tiny=1" };

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        expect_bad_environment("GCRT_GOGC", numbers[i]);
        expect_bad_environment("GOGC", numbers[i]);
        expect_bad_environment("GCRT_THREADS", numbers[i]);
    }
    expect_bad_environment("GCRT_THREADS", "off");
    expect_bad_environment("GCRT_THREADS", "4294967296");
    for (size_t i = 0; i < sizeof debug / sizeof debug[0]; i++)
        expect_bad_environment("GCRT_DEBUG", debug[i]);
}

Test(misuse, init_with_a_malformed_environment_fails)
{
    clean_environment();
    (void)setenv("GCRT_GOGC", "lots", 1);
    EXPECT(gc_init(NULL), GC_ERR_ENV);
    cr_assert(gc_thread_heap() == NULL);
    clean_environment();
    T_OK(gc_init(NULL));
    GC_KEEP_ALIVE(gc_alloc(&plain_type));
    gc_shutdown();
}
