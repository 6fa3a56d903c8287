/* SPDX-License-Identifier: MIT */
/*
 * The page heap.
 *
 * Purpose: reserve the heap's address space, grow into it, make spans from pages and pages
 * from spans.
 * Place: mcentral, sweep and gc/malloc call it; it calls pagealloc and os.
 * Invariants: limit is a multiple of GROW_MIN and never falls; descriptors below limit are
 * ready memory; a page is in at most one span; head of a span is written last when it is
 * made and first when it ends (span.publish).
 * Concurrency: pages under `lock` (RANK_HEAP), but for the windows that Ps hold;
 * descriptors belong to whoever owns the span.  Growth publishes limit with release after
 * the descriptors are ready (heap.grow).
 * Cost: a bit search per small span, a lock pair and an O(log) page search per window of 64
 * pages and per large span; a system call per growth step,
 * which is an eighth of the heap, between 4 and 64 MiB.
 */
#include "alloc/mheap.h"

#include "alloc/drop.h"

#include "alloc/base/tools.h"
#include "alloc/populate.h"
#include "alloc/reserve.h"
#include "alloc/scavenge.h"

#define GROW_MIN ((size_t)4 << 20)
#define GROW_MAX ((size_t)64 << 20)
#define RESERVE_MIN ((size_t)64 << 20)
/* Bytes that an allocation gives back at most where a soft bound is exceeded, beyond its own. */
#define ROOM_STEP ((uint64_t)1 << 20)

/* ---- reservation ---- */

static bool
reserve(struct mheap *h, size_t bytes)
{
    size_t pages = bytes >> PAGE_SHIFT;
    size_t total = align_up(bytes + pages * sizeof(struct mspan), gcrt_os_page_size());
    void *start = gcrt_reserve(h->os, total, GROW_MIN);

    if (start == NULL)
        return false;
    h->reservation_bytes = total;
    h->base = (uintptr_t)start;
    h->npages_max = pages;
    h->run_bytes = RUN_BYTES_MAX;
    h->huge_from = HUGE_FROM_AUTO;
    h->spans = (struct mspan *)(h->base + bytes);
    return true;
}

static bool
reserve_ladder(struct mheap *h, size_t bytes)
{
    bytes = min_size(max_size(bytes, RESERVE_MIN), PAGEALLOC_PAGES_MAX << PAGE_SHIFT);
    bytes = round_up_pow2(bytes);
    for (; bytes >= RESERVE_MIN; bytes /= 2)
        if (reserve(h, bytes))
            return true;
    return false;
}

static void
unreserve(struct mheap *h)
{
    size_t grown = aword_load_relaxed(&h->grown);

    unpoison(h->base, grown); /* it may become somebody else's memory */
    gcrt_os_unmap(h->os, (void *)h->base, h->reservation_bytes,
            grown + h->ndescribed * sizeof(struct mspan));
}

bool
gcrt_mheap_init(struct mheap *h, struct os *os, struct persist *persist, size_t reserve_bytes)
{
    *h = (struct mheap){ .os = os, .persist = persist };
    h->centrals = gcrt_persist_alloc(persist, MHEAP_CENTRALS_MAX * sizeof(struct mcentral *));
    if (h->centrals == NULL || !reserve_ladder(h, reserve_bytes))
        return false;
    aword_store_relaxed(&h->backed_soft, UINT64_MAX);
    aword_store_relaxed(&h->backed_hard, UINT64_MAX);
    h->split = gcrt_persist_alloc(persist, (h->npages_max / CHUNK_PAGES + 63) / 64 * 8);
    if (h->split == NULL) {
        unreserve(h);
        return false;
    }
    h->pagealloc_bytes = align_up(gcrt_pagealloc_bytes(h->npages_max), 4096);
    h->pagealloc_block = gcrt_os_map(os, h->pagealloc_bytes);
    if (h->pagealloc_block == NULL) {
        unreserve(h);
        return false;
    }
    gcrt_pagealloc_init(&h->pages, h->npages_max, h->pagealloc_block);
    gcrt_lock_init(&h->scavenging, RANK_SCAVENGE);
    gcrt_lock_init(&h->lock, RANK_HEAP);
    ahalf_store_relaxed(&h->sweepgen, 4); /* a fresh descriptor's 0 is none of the five states */
    return true;
}

void
gcrt_mheap_finish(struct mheap *h)
{
    gcrt_os_unmap(h->os, h->pagealloc_block, h->pagealloc_bytes, h->pagealloc_bytes);
    unreserve(h);
    gcrt_lock_finish(&h->lock);
    gcrt_lock_finish(&h->scavenging);
}

bool
gcrt_mheap_register(struct mheap *h, struct mcentral *c)
{
    unsigned n = ahalf_load_relaxed(&h->ncentrals);

    if (mheap_is_full(h))
        return false;
    c->index = (uint16_t)n;
    h->centrals[n] = c;
    ahalf_store_release(&h->ncentrals, n + 1); /* pairs: central.publish */
    return true;
}

/* ---- pages ---- */

/* Bytes [from, end) of the heap have just been made ready. */
static void
wish_huge(const struct mheap *h, size_t from, size_t end)
{
    from = max_size(from, h->huge_from);
    if (from < end)
        gcrt_os_wish_huge((void *)(h->base + from), end - from);
}

/*
 * Makes the descriptors of the first npages ready; they stay so, whatever fails later.  Those
 * of a large heap come in huge pages: marking needs one descriptor for each object.
 */
static bool
describe_pages_locked(struct mheap *h, size_t npages)
{
    size_t unit = HUGE_BYTES / sizeof(struct mspan), more;
    void *start = &h->spans[h->ndescribed];

    if (npages <= h->ndescribed)
        return true;
    if (npages > unit && npages << PAGE_SHIFT > h->huge_from)
        npages = min_size(align_up(npages, unit), h->npages_max);
    more = npages - h->ndescribed;
    if (!gcrt_os_commit(h->os, start, more * sizeof(struct mspan)))
        return false;
    if (more >= unit)
        gcrt_os_wish_huge(start, more * sizeof(struct mspan));
    h->ndescribed = npages;
    aword_add_relaxed(&h->described, more * sizeof(struct mspan));
    return true;
}

static bool
grow_by_locked(struct mheap *h, size_t bytes)
{
    size_t limit = aword_load_relaxed(&h->limit);
    size_t first = limit >> PAGE_SHIFT, n = bytes >> PAGE_SHIFT;

    if (!describe_pages_locked(h, first + n))
        return false;
    if (!gcrt_os_commit(h->os, (void *)(h->base + limit), bytes))
        return false;
    wish_huge(h, limit, limit + bytes);
    poison(h->base + limit, bytes);
    gcrt_pagealloc_grow(&h->pages, first, n);
    aword_add_relaxed(&h->grown, bytes);
    aword_add_relaxed(&h->released, bytes);
    h->tell_low = true; /* here are huge pages, if there was none before */
    aword_store_release(&h->limit, limit + bytes); /* pairs: heap.grow */
    return true;
}

bool
gcrt_mheap_grow_locked(struct mheap *h, size_t npages)
{
    size_t limit = aword_load_relaxed(&h->limit);
    size_t want = align_up(npages << PAGE_SHIFT, GROW_MIN);
    size_t step = align_down(min_size(max_size(limit / 8, GROW_MIN), GROW_MAX), GROW_MIN);
    size_t room = (h->npages_max << PAGE_SHIFT) - limit;
    size_t bytes = min_size(max_size(want, step), room);

    gcrt_lock_assert_held(&h->lock);
    if (want > room)
        return false;
    return grow_by_locked(h, bytes) || (bytes > want && grow_by_locked(h, want));
}

static void
count_taken(struct mheap *h, size_t npages, size_t scavenged)
{
    aword_add_relaxed(&h->in_use, npages << PAGE_SHIFT);
    aword_add_relaxed(&h->released, (uint64_t)0 - (scavenged << PAGE_SHIFT));
}

static void
put_pages(struct mheap *h, size_t page, size_t npages)
{
    gcrt_lock_acquire(&h->lock);
    gcrt_pagealloc_free(&h->pages, page, npages);
    gcrt_lock_release(&h->lock);
    aword_add_relaxed(&h->in_use, (uint64_t)0 - (npages << PAGE_SHIFT));
}

static uint64_t
excess(const struct mheap *h, const aword *bound)
{
    uint64_t counted = mheap_counted(h), most = aword_load_relaxed(bound);

    return counted > most ? counted - most : 0;
}

/*
 * Pages that are ours: is there room for their memory?  Before they are touched others are
 * given back in their stead.  After the soft bound has come down there may be much to give back:
 * each allocation then does a step, and the scavenger the rest.  For the hard bound it is all.
 * If that is not enough they are given back themselves, also those that had memory all the time.
 */
static COLD bool
make_room(struct mheap *h, size_t page, size_t npages)
{
    uint64_t step = 2 * ((uint64_t)npages << PAGE_SHIFT) + ROOM_STEP, over;

    if ((over = excess(h, &h->backed_soft)) != 0)
        (void)gcrt_scavenge(h, over < step ? over : step);
    if ((over = excess(h, &h->backed_hard)) != 0)
        (void)gcrt_scavenge(h, over);
    if (excess(h, &h->backed_hard) == 0)
        return true;
    put_pages(h, page, npages);
    (void)gcrt_scavenge(h, npages << PAGE_SHIFT);
    return false;
}

/* Counts pages as taken, `scavenged` of them clean.  PAGE_NONE beyond the hard bound. */
static size_t
admit(struct mheap *h, size_t page, size_t npages, size_t scavenged)
{
    const aword *bound = scavenged != 0 ? &h->backed_soft : &h->backed_hard;

    count_taken(h, npages, scavenged);
    if (LIKELY(mheap_counted(h) <= aword_load_relaxed(bound)))
        return page;
    return make_room(h, page, npages) ? page : PAGE_NONE;
}

/* Shall the populator be told that few backed pages are left?  Once each time that it asks. */
static bool
is_low_locked(struct mheap *h)
{
    if (LIKELY(!h->tell_low) || aword_load_relaxed(&h->limit) < h->huge_from
            || populate_is_enough(h))
        return false;
    h->tell_low = h->low_is_meant = false;
    return true;
}

static COLD void
ring_low(struct mheap *h)
{
    ahalf_add_full(&h->low, 1);
    gcrt_os_wake(&h->low, 1);
    if (h->on_low != NULL)
        h->on_low(h);
}

/* *busy: there are none, but pages on their way from or to the OS will be back. */
static size_t
take_or_grow(struct mheap *h, size_t npages, size_t *scavenged, bool *zero, bool *busy)
{
    size_t page;
    bool low;

    gcrt_lock_acquire(&h->lock);
    page = gcrt_pagealloc_alloc(&h->pages, npages, scavenged, zero);
    if (page == PAGE_NONE && gcrt_mheap_grow_locked(h, npages))
        page = gcrt_pagealloc_alloc(&h->pages, npages, scavenged, zero);
    *busy = page == PAGE_NONE && h->on_way != 0;
    low = is_low_locked(h);
    gcrt_lock_release(&h->lock);
    if (UNLIKELY(low))
        ring_low(h);
    return page;
}

static COLD void
wait_for_scavenger(struct mheap *h)
{
    gcrt_lock_acquire(&h->scavenging);
    gcrt_lock_release(&h->scavenging);
}

/* First page of npages that now belong to the caller, or PAGE_NONE. */
static size_t
take_pages(struct mheap *h, size_t npages, bool *zero)
{
    size_t scavenged = 0, page;
    bool busy;

    page = take_or_grow(h, npages, &scavenged, zero, &busy);
    if (UNLIKELY(busy)) {
        wait_for_scavenger(h);
        page = take_or_grow(h, npages, &scavenged, zero, &busy);
    }
    return page == PAGE_NONE ? PAGE_NONE : admit(h, page, npages, scavenged);
}

/* *busy: as take_or_grow says it. */
static bool
fill_or_grow(struct mheap *h, struct pagecache *cache, bool *busy)
{
    bool ok, low;

    gcrt_lock_acquire(&h->lock);
    ok = gcrt_pagealloc_fill_cache(&h->pages, cache)
        || (gcrt_mheap_grow_locked(h, PAGECACHE_PAGES)
                && gcrt_pagealloc_fill_cache(&h->pages, cache));
    *busy = !ok && h->on_way != 0;
    low = is_low_locked(h);
    gcrt_lock_release(&h->lock);
    if (UNLIKELY(low))
        ring_low(h);
    return ok;
}

/* Another window for an empty page cache; false without memory. */
static bool
refill_cache(struct mheap *h, struct pagecache *cache)
{
    bool busy, ok = fill_or_grow(h, cache, &busy);

    if (UNLIKELY(busy)) {
        wait_for_scavenger(h);
        ok = fill_or_grow(h, cache, &busy);
    }
    return ok;
}

/*
 * The same for a small span, from the P's own window of pages: the heap's lock is taken once
 * per window.  A window without a long enough run is left alone.
 */
static size_t
take_cached_pages(struct mheap *h, struct pagecache *cache, size_t npages, bool *zero)
{
    size_t scavenged, page;

    if (pagecache_is_empty(cache) && !refill_cache(h, cache))
        return PAGE_NONE;
    page = gcrt_pagecache_alloc(cache, npages, &scavenged, zero);
    if (page == PAGE_NONE)
        return take_pages(h, npages, zero);
    return admit(h, page, npages, scavenged);
}

void
gcrt_mheap_flush_cache(struct mheap *h, struct pagecache *cache)
{
    if (pagecache_is_empty(cache))
        return;
    gcrt_lock_acquire(&h->lock);
    gcrt_pagealloc_flush_cache(&h->pages, cache);
    gcrt_lock_release(&h->lock);
}

/* ---- spans ---- */

static void
link_page(struct mspan *s, size_t i)
{
    ahalf_store_release(&s[i].head, (unsigned)(i << 2) | SPAN_INTERIOR);
}

/* Later pages point back to the first one; before the head is published. */
static void
link_small(struct mspan *s, size_t npages)
{
    for (size_t i = 1; i < npages; i++)
        link_page(s, i);
}

static void
link_large(struct mheap *h, struct mspan *s, size_t npages)
{
    size_t page = (size_t)(s - h->spans);

    for (size_t i = span_next_linked(page, 0); i < npages; i = span_next_linked(page, i))
        link_page(s, i);
}

void
gcrt_mheap_unlink(struct mheap *h, struct mspan *s, size_t npages)
{
    size_t page = (size_t)(s - h->spans);
    bool large = span_state(s) == SPAN_LARGE;

    for (size_t i = 0; i < npages; i = large ? span_next_linked(page, i) : i + 1)
        ahalf_store_release(&s[i].head, SPAN_FREE);
}

/*
 * The group's first page may be of a span that does not reach so far.  One that ends meanwhile
 * has said so before it becomes another.
 */
RACY_READER struct mspan *
gcrt_spanmap_in_group(struct spanmap map, uintptr_t offset)
{
    size_t page = offset >> PAGE_SHIFT, npages;
    struct mspan *s = &map.spans[align_down(page, SPAN_GROUP)];
    unsigned head = ahalf_load_acquire(&s->head); /* pairs: span.publish */

    if ((head & SPAN_STATE) == SPAN_INTERIOR)
        s -= head >> 2;
    if (span_state(s) != SPAN_LARGE)
        return NULL;
    npages = __atomic_load_n(&s->alloc.large.npages, __ATOMIC_ACQUIRE);
    return page - (size_t)(s - map.spans) < npages && span_state(s) == SPAN_LARGE ? s : NULL;
}

/*
 * A zeroed side block.  Free ones are linked through their first word; they are metadata of
 * the heap for ever, so a reader with a stale descriptor reads stale bits, never a hole.
 */
static aword *
take_side(struct mheap *h, unsigned sizeclass)
{
    size_t words = 2 * span_side_words(sizeclass);
    aword **list = &h->free_sides[sizeclass - 1], *side;

    gcrt_lock_acquire(&h->lock);
    side = *list;
    if (side != NULL)
        *list = (aword *)(uintptr_t)aword_load_relaxed(&side[0]);
    gcrt_lock_release(&h->lock);
    if (side == NULL)
        return gcrt_persist_alloc(h->persist, words * sizeof(aword));
    for (size_t i = 0; i < words; i++)
        aword_store_relaxed(&side[i], 0);
    return side;
}

static void
put_side(struct mheap *h, const struct mspan *s)
{
    aword **list = &h->free_sides[s->sizeclass - 1], *side = s->mark.side;

    gcrt_lock_acquire(&h->lock);
    aword_store_relaxed(&side[0], (uintptr_t)*list);
    *list = side;
    gcrt_lock_release(&h->lock);
}

/*
 * A span that ends under our eyes may be one of another class by now, with its bits where we
 * have read the address of a side block.  So look again, behind a fence: if the span is of
 * that class still, or once more, and the address is the same, it is a side block's.
 */
RACY_READER struct mspan *
gcrt_mheap_find_in_side(const struct mheap *h, struct mspan *s, uintptr_t addr, size_t *index)
{
    unsigned sizeclass = s->sizeclass;
    aword *side = __atomic_load_n(&s->mark.side, __ATOMIC_RELAXED);
    size_t i;

    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs: span.publish */
    if (span_state(s) != SPAN_SMALL || sizeclass - 1u >= CLASS_SIDE_MAX
            || s->sizeclass != sizeclass
            || __atomic_load_n(&s->mark.side, __ATOMIC_RELAXED) != side)
        return NULL;
    *index = i = span_object_index(h, s, addr);
    if (i >= gcrt_class_nelems[sizeclass])
        return NULL;
    /* pairs: run.publish */
    if (i < ahalf_load_acquire(&s->freeindex))
        return s;
    return span_test(side + span_side_words(sizeclass), i) ? s : NULL;
}

/* Clean bitmaps for a span of the class; false without memory for a side block. */
static bool
init_bits(struct mheap *h, struct mspan *s, unsigned sizeclass)
{
    size_t words = (gcrt_class_nelems[sizeclass] + 63u) / 64;

    if (sizeclass - 1u < CLASS_SIDE_MAX) {
        aword *side = take_side(h, sizeclass);

        if (side != NULL)
            s->mark.side = side;
        return side != NULL;
    }
    if (sizeclass == CLASS_LARGE)
        words = SPAN_LINE_WORDS; /* what else is there is 0 at first, too */
    for (size_t i = 0; i < words; i++) {
        aword_store_relaxed(&s->mark.bits[i], 0);
        aword_store_relaxed(&s->alloc.bits[i], 0);
    }
    return true;
}

static void
describe(struct mspan *s, const struct mcentral *c, unsigned nelems, bool zero, unsigned sweepgen)
{
    s->sizeclass = c->sizeclass;
    s->noscan = c->noscan;
    s->checked = c->checked;
    s->open_end = c->open_end;
    s->kind = c->index;
    s->nelems = (uint16_t)nelems;
    s->divmagic = gcrt_class_magic[c->sizeclass];
    s->needzero = !zero;
    ahalf_store_relaxed(&s->freeindex, 0);
    ahalf_store_relaxed(&s->ready, 0);
    ahalf_store_release(&s->sweepgen, sweepgen);
}

struct mspan *
gcrt_mheap_alloc_small(
        struct mheap *h, struct mcentral *c, unsigned sweepgen, struct pagecache *cache)
{
    size_t npages = gcrt_class_pages[c->sizeclass];
    bool zero;
    size_t page = take_cached_pages(h, cache, npages, &zero);
    struct mspan *s;

    if (page == PAGE_NONE)
        return NULL;
    s = &h->spans[page];
    if (!init_bits(h, s, c->sizeclass)) {
        put_pages(h, page, npages);
        return NULL;
    }
    describe(s, c, gcrt_class_nelems[c->sizeclass], zero, sweepgen);
    link_small(s, npages);
    chaos_point(h->os, CHAOS_SPAN_INIT);
    ahalf_store_release(&s->head, SPAN_SMALL); /* pairs: span.publish */
    aword_add_relaxed(&h->small_spans[c->sizeclass], 1);
    return s;
}

struct mspan *
gcrt_mheap_alloc_large(struct mheap *h, struct mcentral *c, size_t bytes, unsigned sweepgen)
{
    size_t npages = (bytes + PAGE_SIZE - 1) >> PAGE_SHIFT;
    bool zero;
    size_t page;
    struct mspan *s;

    if (npages > h->npages_max)
        return NULL;
    page = take_pages(h, npages, &zero);
    if (page == PAGE_NONE)
        return NULL;
    s = &h->spans[page];
    (void)init_bits(h, s, CLASS_LARGE);
    s->alloc.large.npages = npages;
    s->alloc.large.bytes = align_up(bytes, WORD);
    unpoison(span_start(h, s), s->alloc.large.bytes);
    describe(s, c, 1, zero, sweepgen);
    ahalf_store_relaxed(&s->freeindex, 1); /* its one object is allocated */
    link_large(h, s, npages);
    chaos_point(h->os, CHAOS_SPAN_INIT);
    ahalf_store_release(&s->head, SPAN_LARGE); /* pairs: span.publish */
    return s;
}

/* All of its end but for the pages, which are the caller's then. */
static void
end_span(struct mheap *h, struct mspan *s, size_t npages)
{
    if (s->sizeclass != CLASS_LARGE)
        aword_add_relaxed(&h->small_spans[s->sizeclass], (uint64_t)-1);
    poison(span_start(h, s), npages << PAGE_SHIFT);
    gcrt_mheap_unlink(h, s, npages);
    chaos_point(h->os, CHAOS_SPAN_FREE);
    if (span_has_side(s))
        put_side(h, s);
    aword_add_relaxed(&h->freed_spans, 1);
}

void
gcrt_mheap_free(struct mheap *h, struct mspan *s)
{
    size_t npages = span_npages(s);

    if (UNLIKELY(span_is_dropped(s))) {
        gcrt_drop_free(h, s);
        return;
    }
    end_span(h, s, npages);
    put_pages(h, (size_t)(s - h->spans), npages);
}

void
gcrt_mheap_flush_freed(struct mheap *h, struct pagecache *window)
{
    size_t npages = bit_count(window->free);

    gcrt_mheap_flush_cache(h, window);
    aword_add_relaxed(&h->in_use, (uint64_t)0 - (npages << PAGE_SHIFT));
}

void
gcrt_mheap_free_into(struct mheap *h, struct mspan *s, struct pagecache *window)
{
    size_t page = (size_t)(s - h->spans), npages;

    if (s->sizeclass == CLASS_LARGE) {
        gcrt_mheap_free(h, s);
        return;
    }
    npages = span_npages(s);
    end_span(h, s, npages);
    while (npages != 0) {
        size_t base = align_down(page, PAGECACHE_PAGES), at = page - base;
        size_t n = min_size(npages, PAGECACHE_PAGES - at);

        if (base != window->base) {
            gcrt_mheap_flush_freed(h, window);
            window->base = base;
        }
        window->free |= bit_span((unsigned)at, (unsigned)(at + n));
        page += n;
        npages -= n;
    }
}
