/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_PAGECACHE_H
#define GCRT_ALLOC_PAGECACHE_H

/*
 * One aligned window of 64 pages taken out of the page allocator, so that its owner can
 * hand out short runs without the heap lock.
 *
 * For the page allocator every page of the window is handed out; what is left goes back
 * with gcrt_pagealloc_flush_cache.  A zeroed cache is a valid empty one.
 * Owner only: whoever may touch the cache needs no lock for gcrt_pagecache_alloc.
 */

#include "alloc/base/base.h"
#include "alloc/pagebits.h"

#define PAGECACHE_PAGES   64
#define PAGECACHE_RUN_MAX 15 /* longer runs go to the page allocator */

struct pagecache {
    size_t base;        /* first page of the window; a multiple of 64 */
    uint64_t free;      /* bit i: page base + i is ours to hand out */
    uint64_t scavenged; /* a subset of free: not backed by memory, reads as zero */
};

static inline bool
pagecache_is_empty(const struct pagecache *cache)
{
    return cache->free == 0;
}

/*
 * The lowest run of npages pages, or PAGE_NONE if the cache has none (outputs untouched).
 * 1 <= npages <= PAGECACHE_RUN_MAX.  *nscavenged is how many of them were scavenged;
 * *all_zero says that every one was, so the memory reads as zero.
 */
static inline size_t
gcrt_pagecache_alloc(
    struct pagecache *cache, size_t npages, size_t *nscavenged, bool *all_zero)
{
    uint64_t starts = run_starts(cache->free, (unsigned)npages);
    uint64_t run, run_scavenged;
    unsigned first;

    if (starts == 0)
        return PAGE_NONE;
    first = bit_lowest(starts);
    run = bit_span(first, first + (unsigned)npages);
    run_scavenged = cache->scavenged & run;
    *nscavenged = run_scavenged == 0 ? 0 : bit_count(run_scavenged);
    *all_zero = *nscavenged == npages;
    cache->free &= ~run;
    cache->scavenged &= ~run;
    return cache->base + first;
}

#endif
