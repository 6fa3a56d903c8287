/* SPDX-License-Identifier: MIT */
/*
 * Purpose: fault ladders and real exhaustion.  A script that touches every part of the
 * library runs with the first OS call failing, then the second, and so on, until long
 * after the script has stopped noticing.  One fault may fail one call, with a clear status
 * or NULL; everything after it works, the heap verifies and can be destroyed.  Then: small
 * address space limits, exhausted reservations, sizes that overflow, the oom handler.
 *
 * Place: public interface only.
 *
 * Concurrency: each rung is a forked child, made before this process has any thread, so a
 * crash is one rung's and names its number.
 *
 * Arguments: rungs=400 quiet=40 (rungs without any failure that end the ladder).
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

struct pair {
    struct pair *left, *right;
    uint64_t value;
};

struct bag {
    struct pair *first;
    uint64_t n;
    struct pair items[];
};

GC_TYPE(pair_type, struct pair, left, right);
GC_TYPE_FLEX(bag_type, struct bag, items, pair_type, first);

/* ---- the script; a child's state, so plain globals ---- */

static uint64_t fail_at;
static unsigned failures;
static const char *failed_step = "none";

static void
failed(const char *step)
{
    failures++;
    T_CHECK(failures == 1, "fault %llu: %s failed after %s did: one fault, two failures",
            (unsigned long long)fail_at, step, failed_step);
    failed_step = step;
}

/* 1 if the call worked; if not, it must say why. */
static int
worked(const char *step, gc_status status)
{
    if (status == GC_OK)
        return 1;
    T_CHECK(status == GC_ERR_NOMEM || status == GC_ERR_THREAD || status == GC_ERR_LIMIT,
            "fault %llu: %s gave %s",
            (unsigned long long)fail_at, step, gc_status_string(status));
    T_CHECK(gc_last_error()[0] != '\0', "%s failed without gc_last_error", step);
    failed(step);
    return 0;
}

static void *
got(const char *step, void *p)
{
    if (p == NULL)
        failed(step);
    return p;
}

static void
script_alloc(void)
{
    struct pair *pair = got("gc_try_alloc", gc_try_alloc(&pair_type));
    struct bag *bag = got("gc_try_alloc_flex", gc_try_alloc_flex(&bag_type, 10));
    char *tiny = got("gc_try_alloc_bytes tiny", gc_try_alloc_bytes(5));
    char *bytes = got("gc_try_alloc_bytes", gc_try_alloc_bytes(1000));
    struct pair *array = got("gc_try_alloc_array", gc_try_alloc_array(&pair_type, 100));

    if (pair != NULL && array != NULL) {
        gc_write(&pair->left, &array[99]);
        array[99].value = 77;
        gc_collect(NULL);
        T_CHECK(pair->left == &array[99] && array[99].value == 77, "an object is altered");
    }
    if (bag != NULL && bytes != NULL && tiny != NULL) {
        memset(bytes, 1, 1000);
        memset(tiny, 2, 5);
        T_CHECK(bag->items[9].value == 0 && bag->first == NULL, "not zeroed");
    }
    GC_KEEP_ALIVE(array);
}

static void
script_large(void)
{
    char *large = got("gc_try_alloc_bytes large", gc_try_alloc_bytes(16 * MIB));
    struct pair *array = got("gc_try_alloc_array large",
            gc_try_alloc_array(&pair_type, 100000));

    if (large != NULL)
        large[16 * MIB - 1] = 1;
    if (array != NULL)
        T_CHECK(array[99999].value == 0, "a large object is not zeroed");
}

static void
script_weak(void)
{
    static gc_weak_map *map;
    struct pair *key = got("gc_try_alloc, a key", gc_try_alloc(&pair_type));
    gc_ephemeron *pair = NULL;
    char *name = got("gc_try_intern", gc_try_intern(NULL, "a name", 6));

    if (!worked("gc_root_add, a map", gc_root_add(&map, sizeof(map))))
        return;
    if (key != NULL)
        pair = got("gc_try_ephemeron_new", gc_try_ephemeron_new(key, key));
    gc_write(&map, got("gc_try_weak_map_new", gc_try_weak_map_new(0)));
    for (int i = 0; map != NULL && i < 200; i++) {
        struct pair *other = got("gc_try_alloc, another key", gc_try_alloc(&pair_type));

        if (other == NULL || !worked("gc_try_weak_map_set", gc_try_weak_map_set(map, other, other)))
            continue;
        T_CHECK(gc_weak_map_get(map, other) == other, "an entry is lost");
    }
    gc_collect(NULL);
    if (pair != NULL)
        T_CHECK(gc_ephemeron_value(pair) == key, "an ephemeron is altered");
    if (name != NULL)
        T_CHECK(gc_intern_find(NULL, "a name", 6) == name && name[6] == 0, "a name is altered");
    gc_root_remove(&map);
    GC_KEEP_ALIVE(key);
    GC_KEEP_ALIVE(name);
}

static void
script_arena(void)
{
    gc_arena *arena = got("gc_try_arena_new", gc_try_arena_new("ladder"));
    struct pair *first = NULL;

    if (arena == NULL)
        return;
    for (uint64_t i = 0; i < 3000; i++) {
        struct pair *pair = got("gc_try_arena_alloc", gc_try_arena_alloc(arena, &pair_type));
        struct bag *bag = got("gc_try_arena_alloc_flex",
                gc_try_arena_alloc_flex(arena, &bag_type, i % 40));

        if (pair == NULL || bag == NULL)
            continue;
        pair->left = first;
        pair->value = i;
        first = pair;
    }
    if (got("gc_try_arena_alloc_array", gc_try_arena_alloc_array(arena, &pair_type, 50000)) != NULL)
        (void)got("gc_try_arena_alloc_bytes", gc_try_arena_alloc_bytes(arena, 1));
    gc_collect(NULL);
    for (const struct pair *at = first; at != NULL && at->left != NULL; at = at->left)
        T_CHECK(at->left->value < at->value, "an arena's list is altered");
    gc_arena_free(arena);
    gc_collect(NULL);
    GC_KEEP_ALIVE(first);
}

static void
script_many(void)
{
    struct pair *list = NULL;
    uint64_t n = 0;

    for (uint64_t i = 0; i < 60000; i++) {
        struct pair *pair = gc_try_alloc(&pair_type);

        if (pair == NULL) {
            failed("gc_try_alloc, many");
            continue;
        }
        pair->value = n++;
        pair->left = list;
        list = pair;
    }
    gc_collect(NULL);
    for (; list != NULL; list = list->left)
        T_CHECK(list->value == --n, "a list is altered");
    T_CHECK(n == 0, "a list has lost %llu nodes", (unsigned long long)n);
}

static void *
child_thread(void *arg)
{
    struct pair *pair = arg;

    T_CHECK(pair->value == 42, "the new thread's argument is altered");
    return pair->left;
}

static void
script_thread(void)
{
    struct pair *pair = got("gc_try_alloc before a thread", gc_try_alloc(&pair_type));
    pthread_t thread;

    if (pair == NULL)
        return;
    pair->value = 42;
    if (worked("gc_pthread_create", gc_pthread_create(&thread, NULL, child_thread, pair)))
        (void)pthread_join(thread, NULL);
}

static void
script_roots(void)
{
    static void *cells[4];
    const gc_field field = { 8, 8 };
    const gc_type_spec spec = { .size = 64, .form = GC_FORM_FIELDS, .fields = &field,
        .nfields = 1 };
    const gc_type *type = NULL;
    gc_handle *handles[600];

    if (worked("gc_root_add", gc_root_add(cells, sizeof cells)))
        gc_root_remove(cells);
    for (int i = 0; i < 600; i++)
        handles[i] = got("gc_handle_new", gc_handle_new(NULL));
    for (int i = 0; i < 600; i++)
        gc_handle_free(handles[i]);
    if (worked("gc_type_create", gc_type_create(NULL, &spec, &type)))
        (void)got("gc_try_alloc of a made type", gc_try_alloc(type));
    else
        T_CHECK(type == NULL, "a failed gc_type_create has set its result");
}

static void *
try_pair(void *arg)
{
    (void)arg;
    return gc_try_alloc(&pair_type);
}

/* A put that finds no memory lets go of the item, and says nothing. */
static void
script_pool(void)
{
    gc_pool *pool = got("gc_pool_create", gc_pool_create(NULL,
            &(gc_pool_options){ .type = &pair_type, .make = try_pair }));
    gc_buffer_pool *buffers = got("gc_buffer_pool_create", gc_buffer_pool_create(NULL, NULL));
    struct pair *pair;

    for (int i = 0; pool != NULL && i < 300; i++)
        if ((pair = got("gc_pool_get", gc_pool_get(pool))) != NULL)
            pair->value = 7;
    for (int i = 0; pool != NULL && i < 300; i++) {
        pair = got("gc_try_alloc for a pool", gc_try_alloc(&pair_type));
        gc_pool_put(pool, pair);
    }
    if (buffers != NULL)
        gc_pool_put_buffer(buffers, gc_pool_get_buffer(buffers, 1000));
    gc_buffer_pool_destroy(buffers);
    gc_pool_destroy(pool);
}

static void
script_stacks(void)
{
    static char memory[700][GC_STACK_MIN] __attribute__((aligned(16)));
    static gc_stack *stacks[700];

    for (size_t i = 0; i < 700; i++) {
        stacks[i] = NULL;
        if (!worked("gc_stack_register",
                    gc_stack_register(memory[i], sizeof memory[i], &stacks[i])))
            T_CHECK(stacks[i] == NULL, "a failed gc_stack_register has set its result");
    }
    for (size_t i = 0; i < 700; i++)
        if (stacks[i] != NULL)
            gc_stack_unregister(stacks[i]);
}

static void
script(const gc_options *opt)
{
    gc_heap *heap = NULL;

    if (!worked("gc_heap_create", gc_heap_create(opt, &heap))) {
        T_CHECK(heap == NULL, "a failed gc_heap_create has set its result");
        return;
    }
    if (!worked("gc_thread_attach", gc_thread_attach(heap))) {
        T_CHECK(gc_thread_heap() == NULL, "attach failed, yet attached");
        T_OK(gc_thread_attach(heap));
    }
    script_alloc();
    script_roots();
    script_stacks();
    script_pool();
    script_large();
    script_weak();
    script_arena();
    script_thread();
    script_many();
    t_collect_twice(NULL);
    t_verify(NULL);
    gc_thread_detach();
    (void)worked("gc_heap_destroy", gc_heap_destroy(heap));
}

/* ---- the ladder ---- */

static void
rung(void *arg)
{
    gc_options opt;

    t_hang_after(120);
    fail_at = *(const uint64_t *)arg;
    gc_options_default(&opt);
    opt.debug_failat = fail_at;
    opt.debug_clobberfree = 1;
    opt.heap_min = MIB;
    script(&opt);
    if (failures > 0)
        (void)fprintf(stderr, "%s", failed_step);
    _exit(failures > 0 ? 10 : 0);
}

static void
ladder(uint64_t rungs, uint64_t quiet)
{
    uint64_t calm = 0, seen = 0, n;
    char text[2048];

    for (n = 1; n <= rungs && calm < quiet; n++) {
        int status = t_child(rung, &n, text, sizeof text);

        T_CHECK(WIFEXITED(status)
                        && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 10),
                "fault %llu: wait status 0x%x: %s", (unsigned long long)n, (unsigned)status,
                text);
        calm++;
        if (WEXITSTATUS(status) == 10) {
            calm = 0;
            seen++;
            if (t_arg("trace", 0))
                t_note("fault %llu fails %s", (unsigned long long)n, text);
        }
    }
    T_CHECK(seen >= 3, "%llu of %llu faults failed a call: are they injected at all?",
            (unsigned long long)seen, (unsigned long long)n - 1);
    t_note("rungs=%llu faults that failed a call=%llu", (unsigned long long)n - 1,
            (unsigned long long)seen);
}

/* ---- exhaustion ---- */

static void
fill_until_null(size_t bytes, uint64_t least)
{
    void **list = NULL;
    uint64_t n = 0;

    for (;;) {
        void **block = gc_try_alloc_array(&gc_pointer_type, bytes / 8);

        if (block == NULL)
            break;
        T_CHECK(block[bytes / 8 - 1] == NULL, "not zeroed");
        block[0] = (void *)list;
        list = block;
        n++;
    }
    T_CHECK(n >= least, "only %llu blocks of %zu bytes", (unsigned long long)n, bytes);
    T_CHECK(gc_try_alloc_bytes(64 * MIB) == NULL, "a full heap gave 64 MiB");
    t_verify(NULL);
    while (list != NULL) { /* and take it apart: a stale word shall not hold all of it */
        void **next = list[0];

        gc_write(&list[0], NULL);
        list = next;
        n--;
    }
    T_CHECK(n == 0, "a full heap has lost %llu blocks", (unsigned long long)n);
}

static void
exhaust(void *arg)
{
    gc_options opt;

    (void)arg;
    t_hang_after(240);
    gc_options_default(&opt);
    opt.reserve = 64 * MIB;
    T_OK(gc_init(&opt));
    fill_until_null(MIB, 30);
    t_collect_twice(NULL);
    fill_until_null(64, 200000);
    t_collect_twice(NULL);
    fill_until_null(8192, 3000);
    t_collect_twice(NULL);
    T_CHECK(gc_try_alloc_bytes(16 * MIB) != NULL, "an emptied heap has no 16 MiB");
    gc_shutdown();
}

static void
address_limit(void *arg)
{
    struct rlimit limit = { 512 * MIB, 512 * MIB };
    gc_heap *heap = NULL;
    gc_options opt;
    gc_status status;

    (void)arg;
    t_hang_after(240);
    T_CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    gc_options_default(&opt);
    opt.threads = 1;
    status = gc_heap_create(&opt, &heap);
    if (status != GC_OK) {
        T_CHECK(status == GC_ERR_NOMEM || status == GC_ERR_THREAD, "%s",
                gc_status_string(status));
        T_CHECK(heap == NULL && gc_last_error()[0] != '\0', "an unclear failure");
        (void)fprintf(stderr, "no heap under the limit: %s", gc_last_error());
        _exit(10);
    }
    T_OK(gc_thread_attach(heap));
    fill_until_null(MIB, 1);
    t_collect_twice(NULL);
    t_verify(NULL);
    gc_thread_detach();
    T_OK(gc_heap_destroy(heap));
}

static void
overflow(void *arg)
{
    static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 8191, SIZE_MAX / 2,
        SIZE_MAX / 2 + 1, SIZE_MAX / 8, SIZE_MAX / 8 + 1, SIZE_MAX / 24, SIZE_MAX / 24 + 1,
        (size_t)1 << 62, (size_t)1 << 61, (size_t)1 << 60, (size_t)1 << 48,
        SIZE_MAX / 24 - 1, SIZE_MAX - 4095 };
    gc_options opt;

    (void)arg;
    gc_options_default(&opt);
    opt.reserve = 256 * MIB;
    T_OK(gc_init(&opt));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i];

        T_CHECK(gc_try_alloc_bytes(n) == NULL, "%zu bytes", n);
        T_CHECK(gc_try_alloc_bytes_uninit(n) == NULL, "%zu bytes, uninit", n);
        T_CHECK(gc_try_alloc_array(&pair_type, n) == NULL, "%zu pairs", n);
        T_CHECK(gc_try_alloc_array(&gc_pointer_type, n) == NULL, "%zu pointers", n);
        T_CHECK(gc_try_alloc_array(&gc_byte_type, n) == NULL, "%zu bytes by type", n);
        T_CHECK(gc_try_alloc_flex(&bag_type, n) == NULL, "a bag of %zu", n);
    }
    t_verify(NULL);
    T_CHECK(gc_try_alloc_array(&pair_type, 1000) != NULL, "after overflows nothing works");
    gc_shutdown();
}

/* ---- the handler ---- */

static void **hoard; /* registered: what the handler can let go */
static size_t asked;
static unsigned calls;

static int
on_oom(gc_heap *heap, size_t bytes, void *arg)
{
    T_CHECK(heap == gc_thread_heap() && arg == &calls, "the handler got wrong arguments");
    asked = bytes;
    calls++;
    if (hoard == NULL)
        return 0;
    gc_write(&hoard, NULL);
    return 1;
}

static void
fill_hoard(void)
{
    void **list = NULL;
    GC_FRAME(list);

    for (;;) {
        void **block = gc_try_alloc_array(&gc_pointer_type, 65536);

        if (block == NULL)
            break;
        block[0] = (void *)list;
        list = block;
    }
    T_CHECK(calls >= 1, "the heap is full and the handler was never called");
    gc_write(&hoard, list);
}

/* Precise, or a word on the stack may hold what the handler lets go of. */
static void
handler_init(void)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.reserve = 64 * MIB;
    opt.oom = on_oom;
    opt.oom_arg = &calls;
    opt.precise_stacks = 1;
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(&hoard, sizeof hoard));
    fill_hoard();
    calls = 0;
}

static void
handler(void *arg)
{
    (void)arg;
    t_hang_after(240);
    handler_init();
    T_CHECK(gc_try_alloc_bytes(20 * MIB) != NULL, "the handler made room, yet NULL");
    T_CHECK(calls == 1, "%u calls of the handler where one was enough", calls);
    T_CHECK(asked >= 20 * MIB && asked <= 21 * MIB, "the handler was told %zu bytes",
            asked);
    fill_hoard();
    gc_write(&hoard, NULL);
    calls = 0;
    T_CHECK(gc_try_alloc_bytes(200 * MIB) == NULL, "200 MiB of 64");
    T_CHECK(calls == 1, "%u calls of a handler that gave up at once", calls);
    t_verify(NULL);
    gc_shutdown();
}

static void
fatal(void *arg)
{
    (void)arg;
    handler_init();
    gc_write(&hoard, NULL);
    GC_KEEP_ALIVE(gc_alloc_bytes(200 * MIB));
}

static void
section(const char *name, void (*fn)(void *), int signal, const char *words)
{
    char text[2048];
    int status = t_child(fn, NULL, text, sizeof text);

    if (signal == 0)
        T_CHECK(WIFEXITED(status)
                        && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 10),
                "%s: wait status 0x%x: %s", name, (unsigned)status, text);
    else
        T_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signal,
                "%s: wait status 0x%x: %s", name, (unsigned)status, text);
    if (words != NULL)
        T_CHECK(t_mentions(text, words), "%s: no line that names \"%s\": %s", name, words,
                text);
    t_note("%s: as it should be %s", name, text);
}

int
main(int argc, char **argv)
{
    t_start("ladder", argc, argv);
    section("overflowing sizes", overflow, 0, NULL);
    section("exhausted reservation", exhaust, 0, NULL);
    section("oom handler", handler, 0, NULL);
    section("oom without a way out", fatal, SIGABRT, "gcrt: fatal:");
    section("small address space", address_limit, 0, NULL);
    ladder((uint64_t)t_arg("rungs", 400), (uint64_t)t_arg("quiet", 40));
    return 0;
}
