/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_PAGEALLOC_H
#define GCRT_ALLOC_PAGEALLOC_H

/*
 * The page allocator: which pages of one reserved range are free.
 *
 * Pages are 8 KiB and have numbers, 0 .. npages_max - 1; the pages themselves are never
 * touched.  Every function here but the first expects that the caller holds the heap lock.
 */

#include "alloc/base/base.h"
#include "alloc/bitpile.h"
#include "alloc/pagebits.h"
#include "alloc/pagecache.h"

#define PAGEALLOC_PAGES_MAX    ((size_t)1 << 26) /* 512 GiB */
#define PAGEALLOC_LEVELS_MAX   5
#define PAGEALLOC_ROOT_MAX     64 /* entries of the root level */
#define PAGEALLOC_DENSE_FREE   (CHUNK_PAGES / 32) /* a dense chunk has at most so many free */

/*
 * Level 0 is the root; level nlevels - 1 has one entry per chunk; an entry covers eight
 * entries of the level below.  Entries are packed struct pagesum (pagealloc_summary).
 */
struct pagealloc {
    /* const: pointers into the caller's block, which is borrowed */
    struct pagebits *chunk;
    uint64_t *level[PAGEALLOC_LEVELS_MAX];
    uint64_t *grown;                         /* bit per chunk */
    struct bitpile dirty;                    /* bit per chunk: it has free dirty pages */
    uint32_t *dense;                         /* per chunk: when it was last dense */
    size_t nentries[PAGEALLOC_LEVELS_MAX];   /* multiples of 8, but for the root */
    size_t nchunks;
    unsigned nlevels;

    /* lock: heap */
    size_t hint;       /* no page below it is free */
    size_t chunks_top; /* no chunk at or above it is grown */
    size_t free_pages;
    size_t scavenged_pages; /* of the free ones */
    size_t grown_pages;
    size_t dirty_low;    /* fewest free dirty pages since gcrt_pagealloc_unneeded */
    uint32_t generation; /* what `dense` counts in; the scavenger advances it */
};

/* Size of the block that gcrt_pagealloc_init wants; npages_max <= PAGEALLOC_PAGES_MAX. */
size_t gcrt_pagealloc_bytes(size_t npages_max);

/*
 * Bytes of that block that are touched when the first npages are grown and nothing else: no
 * other part of it has memory, in whole pages of os_page bytes.
 */
size_t gcrt_pagealloc_touched(size_t npages_max, size_t npages, size_t os_page);

/*
 * zeroed: gcrt_pagealloc_bytes(npages_max) bytes of zero memory, aligned to a cache line,
 * kept as long as pa is used.  It is not touched before pages are grown, and afterwards
 * only in proportion to them.  Pages above the last multiple of CHUNK_PAGES are not used.
 */
void gcrt_pagealloc_init(struct pagealloc *pa, size_t npages_max, void *zeroed);

/*
 * New pages become free and scavenged (they read as zero).  Both numbers are multiples of
 * CHUNK_PAGES, and none of the pages was grown before.
 */
void gcrt_pagealloc_grow(struct pagealloc *pa, size_t page, size_t npages);

/*
 * The lowest run of npages >= 1 free pages, or PAGE_NONE (outputs untouched).  *nscavenged
 * is how many of them were scavenged; *all_zero says that every one was, so the memory
 * reads as zero.
 */
size_t gcrt_pagealloc_alloc(
    struct pagealloc *pa, size_t npages, size_t *nscavenged, bool *all_zero);

/*
 * The pages become free and dirty.  Any handed-out pages may be given back together,
 * however they were allocated.  Aborts if one is free already or was never grown.
 */
void gcrt_pagealloc_free(struct pagealloc *pa, size_t page, size_t npages);

/* What the scavenger looks for, and how far down it has come. */
struct pagehunt {
    size_t below;     /* only pages below this one are left to look at; PAGE_NONE: all */
    size_t max_pages; /* at most so many, >= 1 */
    bool polite;      /* no holes: not in a chunk that is more than half in use and was dense
                         in this generation or the last */
};

/*
 * Reserves the highest run of free dirty pages, or the top of it, and never more than lies in
 * one chunk.  Returns its first page and sets *npages, or returns PAGE_NONE: then there is
 * none if hunt->below is 0, and else the caller, who may wish to drop the lock, asks again.
 * The lock may be dropped while their memory is given to the OS; then they come back with
 * gcrt_pagealloc_scavenged, or, if that failed, with gcrt_pagealloc_free.
 */
size_t gcrt_pagealloc_scavenge_find(
    struct pagealloc *pa, struct pagehunt *hunt, size_t *npages);
void gcrt_pagealloc_scavenged(struct pagealloc *pa, size_t page, size_t npages);
/* Pages in use become free; their memory is the OS's already, and they were never dirty ones. */
void gcrt_pagealloc_give_clean(struct pagealloc *pa, size_t page, size_t npages);

/*
 * Reserves the lowest npages at a multiple of npages, not below page `from`, that are free and
 * scavenged; npages is 64, 128, 256 or 512, `from` a multiple of CHUNK_PAGES.  PAGE_NONE if there
 * are none within the 16 GiB of addresses behind `from` and the lowest free page.  They come
 * back with gcrt_pagealloc_free.
 */
size_t gcrt_pagealloc_take_clean(struct pagealloc *pa, size_t from, size_t npages);

/* How many free dirty pages nobody has needed since the last call. */
size_t gcrt_pagealloc_unneeded(struct pagealloc *pa);

static inline size_t
pagealloc_dirty_pages(const struct pagealloc *pa)
{
    return pa->free_pages - pa->scavenged_pages;
}

/*
 * Moves all free pages of the 64-page window with the lowest free page into the cache,
 * which must be empty; false if no page is free.  flush gives back what is left, each page
 * as clean or dirty as it was, and empties the cache.
 */
bool gcrt_pagealloc_fill_cache(struct pagealloc *pa, struct pagecache *cache);
void gcrt_pagealloc_flush_cache(struct pagealloc *pa, struct pagecache *cache);

/*
 * Derives everything again from the bitmaps.  Returns how many things differ, and words
 * for the first of them in why (n bytes).  Linear in the range; for verifiers and tests.
 */
size_t gcrt_pagealloc_check(const struct pagealloc *pa, char *why, size_t n);

/* The summary of one entry, for tests and debuggers. */
struct pagesum gcrt_pagealloc_summary(
    const struct pagealloc *pa, unsigned level, size_t entry);

/* ---- the tree's shape, for the allocator and its verifier ---- */

static inline unsigned
pagealloc_leaf_level(const struct pagealloc *pa)
{
    return pa->nlevels - 1;
}

/* log2 of the pages that an entry of the level covers. */
static inline unsigned
pagealloc_level_shift(const struct pagealloc *pa, unsigned level)
{
    return CHUNK_PAGES_LOG + PAGESUM_FANOUT_LOG * (pagealloc_leaf_level(pa) - level);
}

static inline bool
pagealloc_is_dirty(const struct pagealloc *pa, size_t chunk)
{
    return bits_test(pa->dirty.level[0], chunk);
}

#endif
