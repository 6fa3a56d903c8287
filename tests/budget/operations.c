/* SPDX-License-Identifier: MIT */
/*
 * The fast paths, one after the other, for callgrind to count.
 *
 * Each operation runs `count` times between two client requests: the first sets callgrind's
 * counters to zero, the second has it write them down under "name count".  run.py starts this
 * program below callgrind, divides, and compares with what was recorded.
 *
 * Nothing here may depend on time: no cycle begins by itself, nothing is given back to the
 * system, one thread marks.  Nor on where the system loads a library: types are found by hashes
 * of their addresses, so each operation has a heap of its own, and allocates either with types
 * of the library or with types from here.  Each has run before it is counted, so that symbols
 * are bound and first memory is there; an allocation's share of refills is in its number.
 * The loop itself is too: one or two instructions an operation.
 */
#include <gcrt/gcrt.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/callgrind.h>

#define NOINLINE __attribute__((noinline))
#define COUNT    20000
#define OBJECTS  50000 /* of a graph to mark */

/* A compiler must take p for used, and all of memory for changed. */
#define ESCAPE(p) __asm__ volatile("" : : "r"(p) : "memory")

/* X(bytes, words behind the two pointers) */
#define SIZES(X) X(16, 0) X(24, 1) X(64, 6) X(512, 62)

/* clang-format off */
#define OBJECT(bytes, words)                                  \
    struct object##bytes {                                    \
        void *left, *right;                                   \
        long rest[words];                                     \
    };                                                        \
    GC_TYPE(type##bytes, struct object##bytes, left, right);  \
    GC_TYPE_NOSCAN(plain##bytes, struct object##bytes);       \
    static NOINLINE void                                      \
    alloc_##bytes(uint64_t count)                             \
    {                                                         \
        for (uint64_t i = 0; i < count; i++)                  \
            ESCAPE(gc_alloc(&type##bytes));                   \
    }                                                         \
    static NOINLINE void                                      \
    alloc_##bytes##_noscan(uint64_t count)                    \
    {                                                         \
        for (uint64_t i = 0; i < count; i++)                  \
            ESCAPE(gc_alloc(&plain##bytes));                  \
    }
/* clang-format on */

SIZES(OBJECT)

static struct object24 *root; /* registered */
static void **array;          /* another one */
static gc_pool *pool;

/* Sizes from 16 to 271, in no order. */
static size_t
some_size(uint64_t i)
{
    return 16 + (i * 37 & 255);
}

static NOINLINE void
alloc_bytes(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        ESCAPE(gc_alloc_bytes(some_size(i)));
}

struct box {
    double value;
};
GC_TYPE_NOSCAN(box_type, struct box);

static NOINLINE void
alloc_box(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        ESCAPE(gc_alloc(&box_type));
}

/* 1 to 7 bytes. */
static NOINLINE void
alloc_tiny(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        ESCAPE(gc_alloc_bytes(1 + (i & 7) % 7));
}

static NOINLINE void
alloc_bytes_uninit(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        ESCAPE(gc_alloc_bytes_uninit(some_size(i)));
}

static NOINLINE void
alloc_array(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        ESCAPE(gc_alloc_array(&gc_pointer_type, 1 + i % 16));
}

static NOINLINE void
write_off(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        gc_write(&array[i & 1023], (void *)root);
}

static NOINLINE void
copy_1000(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        gc_copy(&gc_pointer_type, array, array + 1024, 1000);
}

static NOINLINE void
safepoint(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        gc_safepoint();
}

static NOINLINE void
block(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        GC_BLOCKING {
            ESCAPE(&root);
        }
}

static NOINLINE void
pool_get_put(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        void *item = gc_pool_get(pool);

        ESCAPE(item);
        gc_pool_put(pool, item);
    }
}

static NOINLINE void
collect(uint64_t count)
{
    (void)count;
    gc_collect(NULL);
}

/* Objects that die young, and a cycle for every 4 MiB of them. */
static NOINLINE void
churn_24(uint64_t count)
{
    for (uint64_t i = 0; i < count; i += 160000) {
        alloc_24(160000);
        gc_collect(NULL);
    }
}

static NOINLINE void
churn_512(uint64_t count)
{
    for (uint64_t i = 0; i < count; i += 8000) {
        alloc_512(8000);
        gc_collect(NULL);
    }
}

/* ---- what there is to mark ---- */

static NOINLINE struct object24 *
make_tree(uint64_t objects)
{
    struct object24 *left = NULL, *right = NULL, *node;

    if (objects > 1)
        left = make_tree((objects - 1) / 2);
    if (objects > 2)
        right = make_tree(objects - 1 - (objects - 1) / 2);
    node = gc_alloc(&type24);
    node->left = left;
    node->right = right;
    return node;
}

static NOINLINE struct object24 *
make_list(uint64_t objects)
{
    struct object24 *head = NULL;

    for (uint64_t i = 0; i < objects; i++) {
        struct object24 *node = gc_alloc(&type24);

        node->left = head;
        head = node;
    }
    return head;
}

/* One array of all objects, which have no pointers. */
static NOINLINE struct object24 *
make_leaves(uint64_t objects)
{
    struct object24 *node = gc_alloc(&type24);
    void **leaves = gc_alloc_array(&gc_pointer_type, objects);

    node->left = leaves;
    for (uint64_t i = 0; i < objects; i++)
        gc_write(&leaves[i], gc_alloc(&plain64));
    return node;
}

/* ---- what there must be before ---- */

static void
start(void)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF;
    opt.periodic_ms = 0;
    opt.release_ms = 0;
    opt.profile_rate = 0;
    opt.threads = 1;
    opt.reserve = (size_t)1 << 30;
    if (gc_init(&opt) != GC_OK || gc_root_add(&root, sizeof(root)) != GC_OK
            || gc_root_add(&array, sizeof(array)) != GC_OK) {
        fprintf(stderr, "%s\n", gc_last_error());
        exit(1);
    }
}

static void
with_nothing(void)
{
}

static void
with_array(void)
{
    gc_write(&array, gc_alloc_array(&gc_pointer_type, 2048));
}

static void
with_pool(void)
{
    pool = gc_pool_create(NULL, &(gc_pool_options){ .name = "items", .type = &type64 });
    if (pool == NULL) {
        fprintf(stderr, "%s\n", gc_last_error());
        exit(1);
    }
}

static void
with_dead(void)
{
    alloc_24(2 * COUNT);
    gc_collect(NULL);
    gc_collect(NULL);
}

/* ---- counting ---- */

static void
count_once(const char *name, void (*run)(uint64_t), uint64_t count)
{
    char text[64];

    snprintf(text, sizeof(text), "%s %lu", name, (unsigned long)count);
    CALLGRIND_ZERO_STATS;
    run(count);
    CALLGRIND_DUMP_STATS_AT(text);
}

/* The heap ends; what hangs on the roots does so with it. */
static void
finish(void)
{
    root = NULL;
    array = NULL;
    gc_shutdown();
}

static void
counted(const char *name, void (*prepare)(void), void (*run)(uint64_t), uint64_t count)
{
    start();
    prepare();
    run(count / 10 + 1);
    count_once(name, run, count);
    if (pool != NULL)
        gc_pool_destroy(pool);
    pool = NULL;
    finish();
}

static void
counted_marking(const char *name, struct object24 *(*make)(uint64_t))
{
    start();
    gc_write(&root, make(OBJECTS));
    gc_collect(NULL);
    count_once(name, collect, OBJECTS);
    finish();
}

#define COUNT_ALLOC(bytes, words)                                                          \
    counted("alloc_" #bytes, with_nothing, alloc_##bytes, COUNT);                          \
    counted("alloc_" #bytes "_noscan", with_nothing, alloc_##bytes##_noscan, COUNT);

int
main(void)
{
    SIZES(COUNT_ALLOC)
    counted("alloc_bytes", with_nothing, alloc_bytes, COUNT);
    counted("alloc_bytes_uninit", with_nothing, alloc_bytes_uninit, COUNT);
    counted("alloc_array", with_nothing, alloc_array, COUNT);
    counted("alloc_tiny", with_nothing, alloc_tiny, COUNT);
    counted("alloc_box", with_nothing, alloc_box, COUNT);
    counted("alloc_24_again", with_dead, alloc_24, COUNT);
    counted("write_off", with_array, write_off, COUNT);
    counted("copy_1000", with_array, copy_1000, 100);
    counted("safepoint", with_nothing, safepoint, COUNT);
    counted("block", with_nothing, block, COUNT);
    counted("pool_get_put", with_pool, pool_get_put, COUNT);
    counted("churn_24", with_nothing, churn_24, 480000);
    counted("churn_512", with_nothing, churn_512, 40000);
    counted_marking("collect_tree", make_tree);
    counted_marking("collect_list", make_list);
    counted_marking("collect_leaves", make_leaves);
    return 0;
}
