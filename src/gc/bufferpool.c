/* SPDX-License-Identifier: MIT */
/*
 * Pools of buffers.
 *
 * Purpose: a pool for buffers of any size, none of which is held by one that is much too large
 * for it (which a single pool of mixed sizes comes to: Go issue 23199).
 * Place: the host calls it; it calls pool.
 *
 * One pool for each power of two between two bounds.  These sizes are size classes of the
 * heap, or whole pages, so nothing is wasted beyond the rounding of what is asked for.  A
 * buffer's size is asked of the heap when it is put, so the host need not remember it.
 *
 * Concurrency: none of its own; the record is const once made.
 * Cost: that of a pool, a bit scan, and at put the look at the buffer's span.
 */
#include "gc/error.h"
#include "gc/pool.h"

#include <gcrt/alloc.h>

#include <stdlib.h>

#define SIZES_MAX 27
#define SHIFT_MAX 30

struct gc_buffer_pool {
    struct gc_heap *heap;
    unsigned first, last;       /* shifts */
    aword misses, refused;      /* atomic: of sizes that are not kept */
    gc_pool *sizes[SIZES_MAX];  /* owned */
};

static bool
is_power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* The smallest shift that makes room for so many bytes. */
static unsigned
shift_for(size_t bytes)
{
    return bytes <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(bytes - 1);
}

static const char *
complaint(const gc_buffer_pool_options *opt)
{
    if (!is_power_of_two(opt->min_bytes) || opt->min_bytes < TINY_BYTES)
        return "min_bytes is no power of two from 16 on";
    if (!is_power_of_two(opt->max_buffer) || opt->max_buffer > (size_t)1 << SHIFT_MAX)
        return "max_buffer is no power of two up to 1 GiB";
    if (opt->min_bytes > opt->max_buffer)
        return "min_bytes is above max_buffer";
    return NULL;
}

static void
destroy_sizes(struct gc_buffer_pool *pool)
{
    for (unsigned shift = pool->first; shift <= pool->last; shift++)
        gc_pool_destroy(pool->sizes[shift - pool->first]);
}

/* GC_OK, or the error has been said. */
static bool
create_sizes(struct gc_buffer_pool *pool, const gc_buffer_pool_options *opt)
{
    gc_pool_options each = { .name = opt->name };

    for (unsigned shift = pool->first; shift <= pool->last; shift++) {
        gc_pool **at = &pool->sizes[shift - pool->first];

        each.item_bytes = (size_t)1 << shift;
        if (opt->max_bytes != 0)
            each.max_bytes = max_size(1, opt->max_bytes / (pool->last - pool->first + 1));
        *at = gc_pool_create(pool->heap, &each);
        if (*at == NULL)
            return false;
    }
    return true;
}

static void
fill_defaults(gc_buffer_pool_options *opt)
{
    if (opt->min_bytes == 0)
        opt->min_bytes = 256;
    if (opt->max_buffer == 0)
        opt->max_buffer = max_size((size_t)1 << 20, opt->min_bytes);
}

gc_buffer_pool *
gc_buffer_pool_create(gc_heap *heap, const gc_buffer_pool_options *given)
{
    gc_buffer_pool_options opt = { .name = NULL };
    struct gcrt_mutator *m = gc_impl_self.mutator;
    struct gc_buffer_pool *pool;
    const char *wrong;

    if (given != NULL)
        opt = *given;
    fill_defaults(&opt);
    wrong = complaint(&opt);
    if (wrong != NULL) {
        (void)gcrt_error(GC_ERR_INVAL, "gc_buffer_pool_create: %s", wrong);
        return NULL;
    }
    if (m == NULL || m->heap != gcrt_heap_resolve(heap)) {
        (void)gcrt_error(GC_ERR_DETACHED,
                "gc_buffer_pool_create: the thread is not attached to the heap");
        return NULL;
    }
    pool = gcrt_os_fault(&m->heap->os) ? NULL : calloc(1, sizeof(*pool));
    if (pool == NULL) {
        (void)gcrt_error(GC_ERR_NOMEM, "gc_buffer_pool_create: out of memory");
        return NULL;
    }
    pool->heap = m->heap;
    pool->first = shift_for(opt.min_bytes);
    pool->last = shift_for(opt.max_buffer);
    if (create_sizes(pool, &opt))
        return pool;
    destroy_sizes(pool);
    free(pool);
    return NULL;
}

void
gc_buffer_pool_destroy(gc_buffer_pool *pool)
{
    if (pool == NULL)
        return;
    destroy_sizes(pool);
    free(pool);
}

void *
gc_pool_get_buffer(gc_buffer_pool *pool, size_t bytes)
{
    unsigned shift = shift_for(bytes);

    if (shift < pool->first)
        shift = pool->first;
    if (shift <= pool->last)
        return gc_pool_get(pool->sizes[shift - pool->first]);
    (void)aword_add_relaxed(&pool->misses, 1);
    return gc_alloc_bytes_uninit(bytes);
}

void
gc_pool_put_buffer(gc_buffer_pool *pool, void *buffer)
{
    size_t bytes;
    unsigned shift;

    if (buffer == NULL)
        return;
    bytes = gc_usable_size(buffer);
    shift = shift_for(bytes);
    if (bytes == 0 || gc_base(buffer) != buffer)
        gcrt_fatal("gc_pool_put_buffer: %p is not the start of an object of the heap", buffer);
    if (is_power_of_two(bytes) && shift >= pool->first && shift <= pool->last)
        gc_pool_put(pool->sizes[shift - pool->first], buffer);
    else
        (void)aword_add_relaxed(&pool->refused, 1);
}

void
gc_buffer_pool_get_stats(const gc_buffer_pool *pool, gc_pool_stats *ret)
{
    gc_pool_stats each;

    *ret = (gc_pool_stats){ .misses = aword_load_relaxed(&pool->misses),
        .refused = aword_load_relaxed(&pool->refused) };
    for (unsigned shift = pool->first; shift <= pool->last; shift++) {
        gc_pool_get_stats(pool->sizes[shift - pool->first], &each);
        ret->hits += each.hits;
        ret->shared_hits += each.shared_hits;
        ret->stolen += each.stolen;
        ret->victim_hits += each.victim_hits;
        ret->misses += each.misses;
        ret->refused += each.refused;
        ret->dropped += each.dropped;
        ret->items += each.items;
        ret->bytes += each.bytes;
    }
}
