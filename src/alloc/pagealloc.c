/* SPDX-License-Identifier: MIT */
/*
 * The page allocator.
 *
 * Purpose: hand out runs of 8 KiB pages of one reserved range, lowest address first, and
 * know of every free page whether it is backed by memory.
 * Place: the mheap calls it; it calls pagebits.c for what happens inside a chunk.  It keeps
 * books only: committing, zeroing and releasing memory are its caller's.
 * Concurrency: the caller holds the heap lock in every function.  Pages in a page cache or
 * in the scavenger's hands count as handed out, so both work without the lock.
 * Cost: one page is tens of nanoseconds; alloc and free touch one entry per level, search
 * reads at most eight entries per level below the root, and long runs cost one step per
 * 4 MiB more.
 *
 * Search
 *
 * Over the chunks' bitmaps stands a tree of summaries with fan-out eight.  A summary is the
 * length of the free run at its block's start, of its longest, and of that at its end.
 * For 100 GiB, say:
 *
 *   level 0   [ 2 GiB        ][ 2 GiB        ] ...            at most 64 entries
 *   level 1   [256M][256M] ... eight for each
 *   level 2   [32M] ...
 *   level 3   [4M] = one chunk, 512 pages, summarised from its bitmap
 *
 * A search scans a level's block from low to high and carries `run`, the free run that ends
 * where the current entry begins.  If run + start is long enough, the answer straddles the
 * border and begins in an entry before; else if max is long enough the answer is inside,
 * and the search goes on in the eight children, where no run needs to be carried in (it
 * would have been found as a straddling one).  So exactly one block per level is read, and
 * the answer is the lowest there is.
 *
 * `hint` is a page below which nothing is free.  Most searches end in the hint's own chunk
 * without looking at the tree.  Others learn on their way down how far the hint can rise.
 *
 * Zero
 *
 * Everything in the caller's block means "nothing free" when it is zero.  So init writes
 * nothing there, and only the check ever reads the bitmaps of a chunk that was not grown:
 * the block is backed by memory in proportion to what was grown.
 *
 * Scavenging
 *
 * A pile of bits (bitpile.h) says which chunks have free dirty pages.  It is exact, so the highest
 * such chunk is a few steps away.
 *
 * How long have free pages been free?  Not page by page: `dirty_low` is the lowest number of
 * free dirty pages since somebody asked, so that many were not needed in all that time.
 * First fit takes the lowest, so the highest of them are those.  A chunk that was dense
 * lately, all but PAGEALLOC_DENSE_FREE pages in use, and is more than half in use still, will
 * be dense again: the holes that a sweep has made are left to the allocations that fill them.
 *
 * Invariants, all checked by gcrt_pagealloc_check:
 *   a scavenged page is free, and a free page's chunk is grown;
 *   every summary is that of its chunk or of its eight children;
 *   a chunk's dirty bit is set if and only if it has a free page that is not scavenged;
 *   no page below the hint is free; the counters are the bitmaps' sums.
 */
#include "alloc/pagealloc.h"

#include <string.h>

#include "alloc/base/check.h"

#define FANOUT PAGESUM_FANOUT
/* Chunks that one search for dirty pages looks into. */
#define LOOKS_MAX 64
/* Chunks whose summary one search for clean pages reads. */
#define CLEAN_LOOKS_MAX 4096u

_Static_assert((PAGEALLOC_PAGES_MAX >> PAGESUM_BITS) <= PAGEALLOC_ROOT_MAX,
    "a root entry covers at most 2^21 pages");
_Static_assert(CHUNK_PAGES % PAGECACHE_PAGES == 0, "a cache's window lies in one chunk");

/* ---- after a change of bitmaps ---- */

/* The part of a page range that lies in its first page's chunk. */
struct piece {
    size_t chunk;
    size_t lo;
    size_t hi;
};

static inline struct piece
first_piece(size_t page, size_t end)
{
    size_t lo = page % CHUNK_PAGES;
    struct piece piece = {
        .chunk = page / CHUNK_PAGES,
        .lo = lo,
        .hi = min_size(CHUNK_PAGES, lo + (end - page)),
    };

    return piece;
}

static size_t
count_free(const struct pagebits *bits)
{
    size_t n = 0;

    for (size_t i = 0; i < CHUNK_WORDS; i++)
        n += bit_count(bits->free[i]);
    return n;
}

static void
chunk_changed(struct pagealloc *pa, size_t chunk)
{
    const struct pagebits *bits = &pa->chunk[chunk];
    struct pagesum sum = gcrt_pagebits_summary(bits);
    bool dirty = pagebits_any_dirty(bits);

    pa->level[pagealloc_leaf_level(pa)][chunk] = pagesum_pack(sum);
    if (sum.max <= PAGEALLOC_DENSE_FREE && count_free(bits) <= PAGEALLOC_DENSE_FREE)
        pa->dense[chunk] = pa->generation;
    if (dirty == pagealloc_is_dirty(pa, chunk))
        return;
    if (dirty)
        bitpile_set(&pa->dirty, chunk);
    else
        bitpile_clear(&pa->dirty, chunk);
}

/* Brings the levels above the chunks of the range up to date. */
static void
range_changed(struct pagealloc *pa, size_t page, size_t npages)
{
    for (unsigned level = pagealloc_leaf_level(pa); level-- > 0;) {
        unsigned shift = pagealloc_level_shift(pa, level);
        size_t size = (size_t)1 << (shift - PAGESUM_FANOUT_LOG);
        bool changed = false;

        for (size_t i = page >> shift; i <= (page + npages - 1) >> shift; i++) {
            uint64_t sum = gcrt_pagebits_merge(&pa->level[level + 1][i * FANOUT], size);

            changed |= sum != pa->level[level][i];
            pa->level[level][i] = sum;
        }
        if (!changed)
            return;
    }
}

static size_t
take_range(struct pagealloc *pa, size_t page, size_t npages)
{
    size_t nscavenged = 0;

    for (size_t at = page, end = page + npages; at < end;) {
        struct piece piece = first_piece(at, end);

        nscavenged += gcrt_pagebits_take(&pa->chunk[piece.chunk], piece.lo, piece.hi);
        chunk_changed(pa, piece.chunk);
        at += piece.hi - piece.lo;
    }
    range_changed(pa, page, npages);
    pa->free_pages -= npages;
    pa->scavenged_pages -= nscavenged;
    return nscavenged;
}

static void
give_range(struct pagealloc *pa, size_t page, size_t npages, bool scavenged)
{
    for (size_t at = page, end = page + npages; at < end;) {
        struct piece piece = first_piece(at, end);

        gcrt_pagebits_give(&pa->chunk[piece.chunk], piece.lo, piece.hi, scavenged);
        chunk_changed(pa, piece.chunk);
        at += piece.hi - piece.lo;
    }
    range_changed(pa, page, npages);
    pa->free_pages += npages;
    if (scavenged)
        pa->scavenged_pages += npages;
    pa->hint = min_size(pa->hint, page);
}

/* ---- init and growth ---- */

/* Where in the caller's block things lie; offsets in bytes. */
struct layout {
    size_t nchunks;
    unsigned nlevels;
    size_t nentries[PAGEALLOC_LEVELS_MAX];
    size_t level[PAGEALLOC_LEVELS_MAX];
    size_t dirty[BITPILE_LEVELS];
    size_t grown;
    size_t dense;
    size_t bytes;
};

static size_t
place(struct layout *lay, size_t bytes)
{
    size_t at = lay->bytes;

    lay->bytes += align_up(bytes, CACHE_LINE);
    return at;
}

static unsigned
count_levels(size_t nchunks)
{
    unsigned nlevels = 1;

    for (size_t n = nchunks; n > PAGEALLOC_ROOT_MAX; n = (n + FANOUT - 1) / FANOUT)
        nlevels++;
    return nlevels;
}

static struct layout
layout_of(size_t npages_max)
{
    struct layout lay = { .nchunks = npages_max / CHUNK_PAGES };
    size_t n = lay.nchunks;

    CHECK(npages_max <= PAGEALLOC_PAGES_MAX);
    lay.nlevels = count_levels(n);
    CHECK(lay.nlevels <= PAGEALLOC_LEVELS_MAX);
    place(&lay, lay.nchunks * sizeof(struct pagebits));
    for (unsigned level = lay.nlevels; level-- > 0; n = (n + FANOUT - 1) / FANOUT) {
        /* Blocks of eight are complete, so that a merge needs no bounds. */
        lay.nentries[level] = level == 0 ? n : align_up(n, FANOUT);
        lay.level[level] = place(&lay, lay.nentries[level] * sizeof(uint64_t));
    }
    lay.dense = place(&lay, lay.nchunks * sizeof(uint32_t));
    n = lay.nchunks;
    lay.grown = place(&lay, (n + 63) / 64 * sizeof(uint64_t));
    for (unsigned level = 0; level < BITPILE_LEVELS; level++) {
        n = max_size(1, (n + 63) / 64);
        lay.dirty[level] = place(&lay, n * sizeof(uint64_t));
    }
    CHECK(n == 1);
    return lay;
}

size_t
gcrt_pagealloc_bytes(size_t npages_max)
{
    return layout_of(npages_max).bytes;
}

/* Adds the pages of [start, start + bytes) to *sum; pages before `end` have been added. */
static size_t
add_touched(size_t *sum, size_t end, size_t start, size_t bytes, size_t os_page)
{
    size_t lo = max_size(align_down(start, os_page), end);
    size_t hi = align_up(start + bytes, os_page);

    if (bytes == 0 || hi <= lo)
        return end;
    *sum += hi - lo;
    return hi;
}

size_t
gcrt_pagealloc_touched(size_t npages_max, size_t npages, size_t os_page)
{
    struct layout lay = layout_of(npages_max);
    size_t n = npages / CHUNK_PAGES, sum = 0, end = 0;

    /* In the order of the layout; each array from its beginning. */
    end = add_touched(&sum, end, 0, n * sizeof(struct pagebits), os_page);
    for (unsigned level = lay.nlevels; level-- > 0; n = (n + FANOUT - 1) / FANOUT)
        end = add_touched(&sum, end, lay.level[level], n * sizeof(uint64_t), os_page);
    n = npages / CHUNK_PAGES;
    end = add_touched(&sum, end, lay.dense, n * sizeof(uint32_t), os_page);
    n = (n + 63) / 64;
    end = add_touched(&sum, end, lay.grown, n * sizeof(uint64_t), os_page);
    for (unsigned level = 0; level < BITPILE_LEVELS; level++, n = (n + 63) / 64)
        end = add_touched(&sum, end, lay.dirty[level], n * sizeof(uint64_t), os_page);
    return sum;
}

void
gcrt_pagealloc_init(struct pagealloc *pa, size_t npages_max, void *zeroed)
{
    struct layout lay = layout_of(npages_max);
    char *block = zeroed;

    CHECK((uintptr_t)zeroed % sizeof(uint64_t) == 0);
    memset(pa, 0, sizeof(*pa));
    pa->nchunks = lay.nchunks;
    pa->nlevels = lay.nlevels;
    pa->chunk = (struct pagebits *)(void *)block;
    pa->grown = (uint64_t *)(void *)(block + lay.grown);
    for (unsigned level = 0; level < lay.nlevels; level++) {
        pa->level[level] = (uint64_t *)(void *)(block + lay.level[level]);
        pa->nentries[level] = lay.nentries[level];
    }
    for (unsigned level = 0; level < BITPILE_LEVELS; level++)
        pa->dirty.level[level] = (uint64_t *)(void *)(block + lay.dirty[level]);
    pa->dense = (uint32_t *)(void *)(block + lay.dense);
    pa->hint = lay.nchunks * CHUNK_PAGES;
    pa->generation = 2; /* a chunk that never was dense has 0, two ago */
}

static void
check_in_range(const struct pagealloc *pa, size_t page, size_t npages, const char *verb)
{
    size_t all = pa->nchunks * CHUNK_PAGES;

    if (npages == 0 || page >= all || npages > all - page)
        gcrt_fatal("run of %zu at page %zu %s, but the range has %zu pages", npages, page,
            verb, all);
}

void
gcrt_pagealloc_grow(struct pagealloc *pa, size_t page, size_t npages)
{
    size_t lo = page / CHUNK_PAGES;
    size_t hi = (page + npages) / CHUNK_PAGES;

    check_in_range(pa, page, npages, "grown");
    CHECK(page % CHUNK_PAGES == 0);
    CHECK(npages % CHUNK_PAGES == 0);
    CHECK(bits_count_range(pa->grown, lo, hi) == 0);
    bits_set_range(pa->grown, lo, hi);
    pa->chunks_top = max_size(pa->chunks_top, hi);
    pa->grown_pages += npages;
    give_range(pa, page, npages, true);
}

/* ---- allocation ---- */

static void
note_need(struct pagealloc *pa)
{
    pa->dirty_low = min_size(pa->dirty_low, pagealloc_dirty_pages(pa));
}

/* Where a search is, what it wants, and what it learned. */
struct search {
    size_t npages;
    size_t base;       /* first page of the block to scan next */
    size_t no_free;    /* no page below it is free */
    bool seen_nothing; /* no free page was seen before base: no_free can still rise */
};

/*
 * Scans n entries of a level from entry `from`.  Returns the run's first page if it
 * straddles entries; else PAGE_NONE, with base set to the block of the first entry that has
 * a run inside, or to PAGE_NONE if none has.
 */
static size_t
search_level(
    const struct pagealloc *pa, struct search *s, unsigned level, size_t from, size_t n)
{
    unsigned shift = pagealloc_level_shift(pa, level);
    size_t run = 0;

    for (size_t i = from; i < from + n; i++) {
        uint64_t packed = pa->level[level][i];
        size_t base = i << shift;
        bool first = s->seen_nothing;
        struct pagesum sum;

        if (packed == 0) {
            run = 0;
            continue;
        }
        if (first) {
            s->no_free = max_size(s->no_free, base);
            s->seen_nothing = false;
        }
        sum = pagesum_unpack(packed);
        if (run + sum.start >= s->npages)
            return base - run;
        if (sum.max >= s->npages) {
            s->seen_nothing = first; /* what is below was seen only as a whole */
            s->base = base;
            return PAGE_NONE;
        }
        run = sum.start >> shift ? run + sum.start : sum.end;
    }
    s->base = PAGE_NONE;
    return PAGE_NONE;
}

/* The lowest run, by the tree; raises the hint if it can. */
static size_t
find_slow(struct pagealloc *pa, size_t npages)
{
    struct search s = { .npages = npages, .no_free = pa->hint, .seen_nothing = true };
    size_t from = pa->hint >> pagealloc_level_shift(pa, 0);
    size_t n = pa->nentries[0] - min_size(from, pa->nentries[0]);
    size_t page;

    for (unsigned level = 0; level < pa->nlevels; level++) {
        if (level > 0) {
            from = s.base >> pagealloc_level_shift(pa, level);
            n = FANOUT;
        }
        page = search_level(pa, &s, level, from, n);
        if (page != PAGE_NONE || s.base == PAGE_NONE) {
            pa->hint = s.no_free;
            return page;
        }
    }
    pa->hint = s.no_free;
    page = gcrt_pagebits_find(&pa->chunk[s.base / CHUNK_PAGES], npages);
    CHECK(page != PAGE_NONE);
    return s.base + page;
}

/* The lowest run of npages free pages. */
static size_t
find(struct pagealloc *pa, size_t npages)
{
    size_t chunk = pa->hint / CHUNK_PAGES;

    if (npages > pa->free_pages)
        return PAGE_NONE;
    if (chunk < pa->nchunks
        && pagesum_unpack(pa->level[pagealloc_leaf_level(pa)][chunk]).max >= npages) {
        /* Nothing below the hint is free, so no run that straddles comes before. */
        return chunk * CHUNK_PAGES + gcrt_pagebits_find(&pa->chunk[chunk], npages);
    }
    return find_slow(pa, npages);
}

size_t
gcrt_pagealloc_alloc(
    struct pagealloc *pa, size_t npages, size_t *nscavenged, bool *all_zero)
{
    size_t page;

    CHECK(npages > 0);
    page = find(pa, npages);
    if (page == PAGE_NONE)
        return PAGE_NONE;
    *nscavenged = take_range(pa, page, npages);
    *all_zero = *nscavenged == npages;
    note_need(pa);
    /* The lowest single page is the lowest free page. */
    if (npages == 1 || page == pa->hint)
        pa->hint = page + npages;
    return page;
}

/* Aborts unless all of the range is handed out. */
static void
check_handed_out(const struct pagealloc *pa, size_t page, size_t npages)
{
    check_in_range(pa, page, npages, "freed");
    for (size_t at = page, end = page + npages; at < end;) {
        struct piece piece = first_piece(at, end);
        size_t twice;

        if (!bits_test(pa->grown, piece.chunk))
            gcrt_fatal("page %zu freed, but it was never allocated", at);
        twice = pagebits_first_free(&pa->chunk[piece.chunk], piece.lo, piece.hi);
        if (twice != PAGE_NONE)
            gcrt_fatal("double free of page %zu (in %zu pages at page %zu)",
                piece.chunk * CHUNK_PAGES + twice, npages, page);
        at += piece.hi - piece.lo;
    }
}

void
gcrt_pagealloc_free(struct pagealloc *pa, size_t page, size_t npages)
{
    check_handed_out(pa, page, npages);
    give_range(pa, page, npages, false);
}

/* ---- scavenging ---- */

/* What is free in the chunk are holes that allocation will fill again. */
static bool
has_holes_only(const struct pagealloc *pa, size_t chunk)
{
    return pa->dense[chunk] + 1 >= pa->generation
        && count_free(&pa->chunk[chunk]) < CHUNK_PAGES / 2;
}

/* Looks into the highest dirty chunk; false if there is none. */
static bool
look_below(const struct pagealloc *pa, struct pagehunt *hunt, size_t *page, size_t *npages)
{
    size_t below = min_size(hunt->below, pa->chunks_top * CHUNK_PAGES);
    size_t chunk = bitpile_highest(&pa->dirty, (below + CHUNK_PAGES - 1) / CHUNK_PAGES);
    size_t base = chunk * CHUNK_PAGES;

    hunt->below = 0;
    if (chunk == PAGE_NONE)
        return false;
    hunt->below = base;
    if (!hunt->polite || !has_holes_only(pa, chunk))
        *page = gcrt_pagebits_top_dirty(&pa->chunk[chunk], min_size(below - base, CHUNK_PAGES),
            hunt->max_pages, npages);
    return true;
}

size_t
gcrt_pagealloc_scavenge_find(struct pagealloc *pa, struct pagehunt *hunt, size_t *npages)
{
    size_t page = PAGE_NONE;
    int looks = LOOKS_MAX;

    CHECK(hunt->max_pages > 0);
    while (page == PAGE_NONE && looks-- > 0 && look_below(pa, hunt, &page, npages))
        continue;
    if (page == PAGE_NONE)
        return PAGE_NONE;
    page += hunt->below;
    hunt->below = page;
    (void)take_range(pa, page, *npages);
    return page;
}

/* ---- what is not backed ---- */

size_t
gcrt_pagealloc_take_clean(struct pagealloc *pa, size_t from, size_t npages)
{
    size_t chunk = max_size(from, pa->hint) / CHUNK_PAGES;
    size_t end = min_size(chunk + CLEAN_LOOKS_MAX, pa->chunks_top);
    const uint64_t *leaf = pa->level[pagealloc_leaf_level(pa)];

    CHECK(npages % 64 == 0 && npages != 0 && CHUNK_PAGES % npages == 0);
    for (; chunk < end; chunk++) {
        size_t at;

        if (leaf[chunk] == 0 || pagesum_unpack(leaf[chunk]).max < npages)
            continue;
        at = gcrt_pagebits_first_clean(&pa->chunk[chunk], npages);
        if (at == PAGE_NONE)
            continue;
        (void)take_range(pa, chunk * CHUNK_PAGES + at, npages);
        return chunk * CHUNK_PAGES + at;
    }
    return PAGE_NONE;
}

size_t
gcrt_pagealloc_unneeded(struct pagealloc *pa)
{
    size_t low = pa->dirty_low;

    pa->dirty_low = pagealloc_dirty_pages(pa);
    return low;
}

void
gcrt_pagealloc_give_clean(struct pagealloc *pa, size_t page, size_t npages)
{
    check_handed_out(pa, page, npages);
    give_range(pa, page, npages, true);
}

void
gcrt_pagealloc_scavenged(struct pagealloc *pa, size_t page, size_t npages)
{
    gcrt_pagealloc_give_clean(pa, page, npages);
    pa->dirty_low -= min_size(pa->dirty_low, npages); /* not needed, and not dirty any more */
}

/* ---- the page cache ---- */

bool
gcrt_pagealloc_fill_cache(struct pagealloc *pa, struct pagecache *cache)
{
    size_t page = find(pa, 1);
    struct pagebits *bits;
    size_t word;

    CHECK(cache->free == 0);
    if (page == PAGE_NONE)
        return false;
    bits = &pa->chunk[page / CHUNK_PAGES];
    word = page % CHUNK_PAGES / 64;
    cache->base = align_down(page, PAGECACHE_PAGES);
    cache->free = bits->free[word];
    cache->scavenged = bits->scavenged[word];
    bits->free[word] = 0;
    bits->scavenged[word] = 0;
    chunk_changed(pa, page / CHUNK_PAGES);
    range_changed(pa, page, 1);
    pa->free_pages -= bit_count(cache->free);
    pa->scavenged_pages -= bit_count(cache->scavenged);
    note_need(pa);
    pa->hint = cache->base + PAGECACHE_PAGES;
    return true;
}

void
gcrt_pagealloc_flush_cache(struct pagealloc *pa, struct pagecache *cache)
{
    struct pagebits *bits = &pa->chunk[cache->base / CHUNK_PAGES];
    size_t word = cache->base % CHUNK_PAGES / 64;

    if (pagecache_is_empty(cache))
        return;
    check_in_range(pa, cache->base, PAGECACHE_PAGES, "flushed");
    CHECK((bits->free[word] & cache->free) == 0);
    CHECK((cache->scavenged & ~cache->free) == 0);
    bits->free[word] |= cache->free;
    bits->scavenged[word] |= cache->scavenged;
    chunk_changed(pa, cache->base / CHUNK_PAGES);
    range_changed(pa, cache->base, 1);
    pa->free_pages += bit_count(cache->free);
    pa->scavenged_pages += bit_count(cache->scavenged);
    pa->hint = min_size(pa->hint, cache->base + bit_lowest(cache->free));
    cache->free = 0;
    cache->scavenged = 0;
}

struct pagesum
gcrt_pagealloc_summary(const struct pagealloc *pa, unsigned level, size_t entry)
{
    CHECK(level < pa->nlevels);
    CHECK(entry < pa->nentries[level]);
    return pagesum_unpack(pa->level[level][entry]);
}
