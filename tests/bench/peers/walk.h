/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_PEERS_WALK_H
#define GCRT_TESTS_BENCH_PEERS_WALK_H

/*
 * No collector, but the least that one must do to mark: a traversal by one thread, with a
 * prefetching queue and plain mark bits, over objects laid out as densely as can be.  A
 * collector that comes near it wastes nothing on marking.
 *
 * Every type has a region of its own, so an object's layout is known by its address; arrays
 * lie behind their length.  Objects are cut off the region's end.  Regions are reserved once,
 * with huge pages, and never given back.  A collection clears the mark bits, one for each
 * word, and marks from the one root.  What is grey waits on a stack; what leaves the stack is
 * prefetched together with its mark bit and waits in a queue while there is more on the stack.
 *
 * Concurrency: one thread.  It understands types of up to 64 words, arrays of pointers and
 * bytes, and is meant for mark.c.
 */

#define _GNU_SOURCE /* madvise; this is the first header of a program */

#include "support/bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PEER_NAME  "walk"
#define PEER_FREES 0

#define WALK_SHIFT   36 /* bytes of a region, as a power of two */
#define WALK_REGIONS 32
#define WALK_RING    32 /* objects that are being prefetched; a power of two */

typedef struct peer_type {
    uint64_t mask;
    size_t size;
    uint32_t region; /* 0: not yet known */
} peer_type;

#define PEER_TYPE(name_, T, mask_, ...)                                                    \
 static peer_type name_ __attribute__((unused)) = {(mask_), sizeof(T), 0}
#define PEER_TYPE_NOSCAN(name_, T)                                                         \
 static peer_type name_ __attribute__((unused)) = {0, sizeof(T), 0}
#define peer_type_init(name_) ((void)(name_))

struct walk_region {
    uint64_t mask;
    char *next; /* where the next object will be */
    int arrays; /* a length, then so many pointers */
};

static struct {
    char *base;                               /* of region 0, which has no objects */
    struct walk_region regions[WALK_REGIONS]; /* 1: arrays, 2: bytes, then by type */
    uint32_t nregions;
    uint64_t *bits; /* a bit for each word from base on */
    void **stack;
    void *root;
    uint64_t cycles, marked;
} walk;

static void *
walk_reserve(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        bench_die("no address space");
    (void)madvise(p, bytes, MADV_HUGEPAGE); /* as gcrt does; no matter if it is refused */
    return p;
}

static uint32_t
walk_new_region(uint64_t mask, int arrays)
{
    uint32_t i = ++walk.nregions;

    if (i >= WALK_REGIONS)
        bench_die("too many types");
    walk.regions[i] = (struct walk_region){
            mask, walk.base + ((uint64_t)i << WALK_SHIFT), arrays};
    return i;
}

static inline const char *
peer_version(void)
{
    return "1";
}

static inline void
peer_init(void)
{
    uint64_t all = (uint64_t)WALK_REGIONS << WALK_SHIFT;

    walk.base = walk_reserve(all);
    walk.bits = walk_reserve(all / 64);
    walk.stack = walk_reserve(all / 16);
    walk_new_region(0, 1);
    walk_new_region(0, 0);
}

static inline void
peer_finish(void)
{
}

BENCH_INLINE void *
walk_cut(uint32_t region, size_t size)
{
    void *p = walk.regions[region].next;

    walk.regions[region].next += (size + 7) & ~(size_t)7;
    return p;
}

BENCH_INLINE void *
peer_alloc(size_t size, const peer_type *type)
{
    if (type->region == 0)
        ((peer_type *)(uintptr_t)type)->region = walk_new_region(type->mask, 0);
    return walk_cut(type->region, size);
}

BENCH_INLINE void *
peer_alloc_noscan(size_t size, const peer_type *type)
{
    return peer_alloc(size, type);
}

static inline void *
peer_alloc_pointers(size_t n)
{
    uint64_t *length = walk_cut(1, (n + 1) * sizeof(void *));

    *length = n;
    return length + 1;
}

BENCH_INLINE void *
peer_alloc_bytes(size_t n)
{
    return walk_cut(2, n);
}

BENCH_INLINE void
peer_free(void *p)
{
    (void)p;
}

#define peer_root(p)            ((void)(walk.root = (p)))
#define peer_write(slot, value) ((void)(*(slot) = (value)))
#define PEER_WAITS

/* Puts the object's children on the stack. */
BENCH_INLINE void **
walk_scan(void *object, void **top)
{
    const struct walk_region *region =
            &walk.regions[(uint64_t)((char *)object - walk.base) >> WALK_SHIFT];
    void **words = object;

    if (region->arrays) {
        for (uint64_t i = 0, n = ((uint64_t *)object)[-1]; i < n; i++)
            if (words[i] != NULL)
                *top++ = words[i];
        return top;
    }
    for (uint64_t mask = region->mask; mask != 0; mask &= mask - 1) {
        void *child = words[__builtin_ctzll(mask)];

        if (child != NULL)
            *top++ = child;
    }
    return top;
}

BENCH_INLINE uint64_t
walk_word(const void *object)
{
    return (uint64_t)((const char *)object - walk.base) / 8;
}

BENCH_INLINE void **
walk_visit(void *object, void **top)
{
    uint64_t word = walk_word(object), bit = (uint64_t)1 << word % 64;

    if ((walk.bits[word / 64] & bit) != 0)
        return top;
    walk.bits[word / 64] |= bit;
    walk.marked++;
    return walk_scan(object, top);
}

static BENCH_NOINLINE void
walk_mark(void)
{
    void *ring[WALK_RING], **top = walk.stack;
    uint64_t head = 0, tail = 0;

    *top++ = walk.root;
    for (;;) {
        while (top > walk.stack && tail - head < WALK_RING) {
            void *object = *--top;

            __builtin_prefetch(object);
            __builtin_prefetch(&walk.bits[walk_word(object) / 64], 1);
            ring[tail++ % WALK_RING] = object;
        }
        if (tail == head)
            return;
        top = walk_visit(ring[head++ % WALK_RING], top);
    }
}

static inline void
peer_collect(void)
{
    for (uint64_t i = 1; i <= walk.nregions; i++) {
        char *first = walk.base + (i << WALK_SHIFT);
        uint64_t words = (uint64_t)(walk.regions[i].next - first) / 8;

        memset(&walk.bits[walk_word(first) / 64], 0, words / 8 + 8);
    }
    walk.marked = 0;
    walk_mark();
    walk.cycles++;
}

static inline void
peer_heap_stats(struct bench_heap_stats *ret)
{
    ret->cycles = walk.cycles;
    ret->live_bytes = walk.marked;
    ret->sys_bytes = 0;
}

static inline void
peer_json_pauses(void)
{
}

static inline void
peer_thread_create(pthread_t *ret, void *(*start)(void *), void *arg)
{
    (void)ret, (void)start, (void)arg;
    bench_die("walk has no threads");
}

static inline void
peer_thread_join(pthread_t thread)
{
    (void)thread;
}

#endif
