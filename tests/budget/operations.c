/* SPDX-License-Identifier: MIT */
/*
 * The fast paths, one after the other, for callgrind to count.
 *
 * Each operation runs `count` times between two client requests: the first sets callgrind's
 * counters to zero, the second has it write them down under "name count".  run.py starts this
 * program below callgrind, divides, and compares with what was recorded.
 *
 * Nothing here may depend on time: no cycle begins by itself, nothing is given back to the
 * system, one thread marks.  Each operation has run before it is counted, so that symbols
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

static void
counted(const char *name, void (*run)(uint64_t), uint64_t count)
{
    char text[64];

    snprintf(text, sizeof(text), "%s %lu", name, (unsigned long)count);
    run(count / 10 + 1);
    CALLGRIND_ZERO_STATS;
    run(count);
    CALLGRIND_DUMP_STATS_AT(text);
}

static void
counted_marking(const char *name, struct object24 *(*make)(uint64_t))
{
    gc_write(&root, make(OBJECTS));
    gc_collect(NULL);
    counted(name, collect, OBJECTS);
    gc_write(&root, NULL);
    gc_collect(NULL);
    gc_collect(NULL);
}

static void
start(void)
{
    gc_pool_options pool_opt = {.name = "items", .type = &type64};
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF;
    opt.periodic_ms = 0;
    opt.release_ms = 0;
    opt.profile_rate = 0;
    opt.threads = 1;
    opt.reserve = (size_t)1 << 30;
    if (gc_init(&opt) != GC_OK || gc_root_add(&root, sizeof(root)) != GC_OK
            || gc_root_add(&array, sizeof(array)) != GC_OK
            || (pool = gc_pool_create(NULL, &pool_opt)) == NULL) {
        fprintf(stderr, "%s\n", gc_last_error());
        exit(1);
    }
    gc_write(&array, gc_alloc_array(&gc_pointer_type, 2048));
}

#define COUNT_ALLOC(bytes, words)                                                          \
 counted("alloc_" #bytes, alloc_##bytes, COUNT);                                           \
 counted("alloc_" #bytes "_noscan", alloc_##bytes##_noscan, COUNT);

int
main(void)
{
    start();
    SIZES(COUNT_ALLOC)
    counted("alloc_bytes", alloc_bytes, COUNT);
    counted("alloc_bytes_uninit", alloc_bytes_uninit, COUNT);
    counted("alloc_array", alloc_array, COUNT);
    counted("alloc_tiny", alloc_tiny, COUNT);
    counted("alloc_box", alloc_box, COUNT);
    gc_collect(NULL);
    gc_collect(NULL);
    counted("alloc_24_again", alloc_24, COUNT);
    counted("write_off", write_off, COUNT);
    counted("copy_1000", copy_1000, 100);
    counted("safepoint", safepoint, COUNT);
    counted("block", block, COUNT);
    counted("pool_get_put", pool_get_put, COUNT);
    gc_collect(NULL);
    gc_collect(NULL);
    counted("churn_24", churn_24, 480000);
    counted("churn_512", churn_512, 40000);
    counted_marking("collect_tree", make_tree);
    counted_marking("collect_list", make_list);
    counted_marking("collect_leaves", make_leaves);
    gc_pool_destroy(pool);
    gc_shutdown();
    return 0;
}
