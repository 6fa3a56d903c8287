/* SPDX-License-Identifier: MIT */
/*
 * snapshot: do the heap's numbers move as an operator expects?
 *
 * Reads gc_stats at four moments, with no other thread and no automatic cycle:
 *
 *     before      after a full collection
 *     allocated   after COUNT objects of 24 bytes, all held in one array
 *     held        after a full collection: the array still holds them
 *     dropped     after the array is forgotten and a full collection
 *
 * Expected, with SLOP for what the array and the library itself allocate, and for the few
 * objects that an old stack word may hold by chance:
 *
 *     allocated   mallocs grew by COUNT; heap_alloc by COUNT * 24 bytes, and by less than
 *                 twice that, array included; heap_objects by COUNT; frees did not move
 *     held        frees did not move, heap_objects and heap_alloc neither
 *     dropped     frees grew by COUNT; heap_objects and heap_alloc are back where they were
 *     always      heap_objects is mallocs less frees
 *
 * Exit status 0 if all of it holds, else 1 with a line for each that does not.
 */
#include <gcrt/gcrt.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COUNT 50000
#define BYTES 24
#define SLOP  100 /* objects */

struct item {
    uint64_t words[BYTES / 8];
};
GC_TYPE_NOSCAN(item_type, struct item);

static struct item **list; /* root */
static int failures;

static void
snapshot(const char *moment, gc_stats *ret)
{
    gc_stats_read(NULL, ret);
    printf("%-10s %12" PRIu64 " %10" PRIu64 " %10" PRIu64 " %12" PRIu64 "\n", moment,
            ret->heap_alloc, ret->mallocs, ret->frees, ret->heap_objects);
    if (ret->heap_objects != ret->mallocs - ret->frees) {
        printf("FAIL %s: HeapObjects is not Mallocs - Frees\n", moment);
        failures++;
    }
}

/* The number must have grown by at least min and at most max. */
static void
grew(const char *what, uint64_t from, uint64_t to, int64_t min, int64_t max)
{
    int64_t by = (int64_t)(to - from);

    if (by >= min && by <= max)
        return;
    printf("FAIL %s grew by %" PRId64 ", expected %" PRId64 " to %" PRId64 "\n", what, by,
            min, max);
    failures++;
}

/* A function of its own, so that its locals are gone when it has returned. */
static void __attribute__((noinline)) allocate(void)
{
    size_t i;

    gc_write(&list, gc_alloc_array(&gc_pointer_type, COUNT));
    for (i = 0; i < COUNT; i++) {
        struct item *item = gc_alloc(&item_type);

        item->words[0] = i;
        gc_write(&list[i], item);
    }
}

/* Overwrites the stack below the caller, where old pointers may lie. */
static void __attribute__((noinline)) wipe_stack(void)
{
    volatile char old[4096];
    size_t i;

    for (i = 0; i < sizeof(old); i++)
        old[i] = 0;
}

/* The held objects must still be what they were. */
static void
check_contents(void)
{
    size_t i;

    for (i = 0; i < COUNT; i++)
        if (list[i]->words[0] != i) {
            printf("FAIL object %zu lost its contents\n", i);
            failures++;
            return;
        }
}

static void
judge(const gc_stats *before, const gc_stats *allocated, const gc_stats *held,
        const gc_stats *dropped)
{
    const int64_t bytes = (int64_t)COUNT * BYTES;
    const int64_t slop_bytes = (int64_t)SLOP * 1024;

    grew("Mallocs", before->mallocs, allocated->mallocs, COUNT, COUNT + SLOP);
    grew("Frees", before->frees, allocated->frees, 0, 0);
    grew("HeapObjects", before->heap_objects, allocated->heap_objects, COUNT, COUNT + SLOP);
    grew("HeapAlloc", before->heap_alloc, allocated->heap_alloc, bytes, 2 * bytes);
    grew("Frees, all being held,", allocated->frees, held->frees, 0, SLOP);
    grew("HeapObjects, all being held,", allocated->heap_objects, held->heap_objects, -SLOP,
            0);
    grew("HeapAlloc, all being held,", allocated->heap_alloc, held->heap_alloc, -slop_bytes,
            0);
    grew("Mallocs, dropped,", held->mallocs, dropped->mallocs, 0, SLOP);
    grew("Frees, dropped,", held->frees, dropped->frees, COUNT + 1 - SLOP,
            COUNT + 1 + SLOP);
    grew("HeapObjects, dropped,", before->heap_objects, dropped->heap_objects, -SLOP, SLOP);
    grew("HeapAlloc, dropped,", before->heap_alloc, dropped->heap_alloc, -slop_bytes,
            slop_bytes);
}

int
main(void)
{
    gc_stats before, allocated, held, dropped;
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF; /* only the collections asked for below */
    opt.periodic_ms = 0;
    if (gc_init(&opt) != GC_OK || gc_root_add(&list, sizeof(list)) != GC_OK) {
        fprintf(stderr, "snapshot: %s\n", gc_last_error());
        return 1;
    }
    printf("%-10s %12s %10s %10s %12s\n", "moment", "HeapAlloc", "Mallocs", "Frees",
            "HeapObjects");
    gc_collect(NULL);
    snapshot("before", &before);
    allocate();
    snapshot("allocated", &allocated);
    wipe_stack();
    gc_collect(NULL);
    check_contents();
    snapshot("held", &held);
    gc_write(&list, NULL);
    wipe_stack();
    gc_collect(NULL);
    snapshot("dropped", &dropped);
    judge(&before, &allocated, &held, &dropped);
    gc_shutdown();
    printf("%s\n", failures == 0 ? "the numbers move as they should" : "FAILED");
    return failures != 0;
}
