/* SPDX-License-Identifier: MIT */
/*
 * Giving memory back.
 *
 * Purpose: drop the contents of free pages, so that the OS has their memory; they stay in the
 * heap's range, read as zero, and are backed again when somebody touches them.
 * Place: the background scavenger and whoever meets a memory limit call it; it calls the page
 * allocator and os.
 * Invariants: a page is out of the page allocator while its contents are dropped, so nobody can
 * have been given it; it comes back clean if the OS has taken it, dirty if not.  `released` is
 * changed together with the bitmaps.
 * Concurrency: `scavenging` (RANK_SCAVENGE) admits one thread and is held across the system
 * call; the heap's lock is held only to move bits before and after it.  So allocation never
 * waits for the OS here, the verifier and a fork never see pages on their way, and an
 * allocation that finds none left waits for them to come back (mheap.c).
 * Cost: a system call per run or per 2 MiB, some 75 us for each MiB that was backed.
 */
#include "alloc/scavenge.h"

/* One call's way down through the heap, and the pages that are on their way to the OS. */
struct hunt {
    struct pagehunt pages;
    size_t page, npages;
};

static void
give_back_locked(struct mheap *h, size_t page, size_t npages)
{
    if (npages != 0)
        gcrt_pagealloc_free(&h->pages, page, npages);
}

/*
 * The OS takes whole pages of its own; and a run that was cut to its top is cut at a step's
 * edge instead, so that a huge page goes as a whole.  False if nothing of the run is left.
 */
static bool
trim_locked(struct mheap *h, struct hunt *hunt)
{
    size_t unit = hunt->npages == hunt->pages.max_pages ? hunt->pages.max_pages : 1;
    size_t os = max_size(gcrt_os_page_size() >> PAGE_SHIFT, 1), end = hunt->page + hunt->npages;
    size_t lo = align_up(hunt->page, max_size(unit, os)), hi = align_down(end, os);

    hi = max_size(hi, lo);
    if (lo > end)
        lo = hi = end;
    give_back_locked(h, hunt->page, lo - hunt->page);
    give_back_locked(h, hi, end - hi);
    hunt->page = lo;
    hunt->npages = hi - lo;
    return hunt->npages != 0;
}

/* Between two looks at the heap others may have the lock. */
static bool
look_on(struct mheap *h, struct hunt *hunt)
{
    bool found;

    gcrt_lock_acquire(&h->lock);
    hunt->page = gcrt_pagealloc_scavenge_find(&h->pages, &hunt->pages, &hunt->npages);
    found = hunt->page != PAGE_NONE && trim_locked(h, hunt);
    if (found)
        hunt->pages.below = hunt->page;
    h->on_way = found ? hunt->npages : 0;
    gcrt_lock_release(&h->lock);
    return found;
}

static bool
take_piece(struct mheap *h, struct hunt *hunt)
{
    while (hunt->pages.below != 0)
        if (look_on(h, hunt))
            return true;
    return false;
}

/* ---- huge pages ---- */

static void *
chunk_start(const struct mheap *h, size_t chunk)
{
    return (void *)(h->base + (chunk * CHUNK_PAGES << PAGE_SHIFT));
}

/*
 * Who takes a part of a huge page must see to it that the kernel does not fill the page up
 * again by itself: the whole chunk has small pages from now on.  False: no more mappings.
 */
static bool
split_locked(struct mheap *h, const struct hunt *piece)
{
    size_t chunk = piece->page / CHUNK_PAGES, huge = HUGE_BYTES >> PAGE_SHIFT;

    if (piece->page << PAGE_SHIFT < h->huge_from || bits_test(h->split, chunk)
            || (piece->page % huge == 0 && piece->npages % huge == 0))
        return true;
    if (!gcrt_os_wish_small(h->os, chunk_start(h, chunk), CHUNK_PAGES << PAGE_SHIFT))
        return false;
    bits_set_range(h->split, chunk, chunk + 1);
    return true;
}

/* A chunk that has gone as a whole may have huge pages again. */
static void
mend_locked(struct mheap *h, size_t chunk)
{
    if (!bits_test(h->split, chunk))
        return;
    bits_clear_range(h->split, chunk, chunk + 1);
    gcrt_os_wish_huge(chunk_start(h, chunk), CHUNK_PAGES << PAGE_SHIFT);
}

/* ---- one step ---- */

static void
put_piece_locked(struct mheap *h, const struct hunt *piece, bool clean)
{
    size_t bytes = piece->npages << PAGE_SHIFT;
    bool whole;

    gcrt_lock_acquire(&h->lock);
    if (clean) {
        gcrt_pagealloc_scavenged(&h->pages, piece->page, piece->npages);
        aword_add_relaxed(&h->released, bytes);
    } else {
        gcrt_pagealloc_free(&h->pages, piece->page, piece->npages);
    }
    h->on_way = 0;
    whole = clean && pagebits_is_clean(&h->pages.chunk[piece->page / CHUNK_PAGES]);
    gcrt_lock_release(&h->lock);
    if (whole)
        mend_locked(h, piece->page / CHUNK_PAGES);
}

static void
say_refused_locked(struct mheap *h)
{
    if (h->release_refused)
        return;
    h->release_refused = true;
    gcrt_warn("the system refuses to take memory back; the heap keeps it");
}

/* Bytes given back, 0 if there is nothing to give or the OS does not want it. */
static size_t
step_locked(struct mheap *h, struct hunt *hunt)
{
    bool ok;

    if (!take_piece(h, hunt))
        return 0;
    ok = split_locked(h, hunt)
        && gcrt_os_release(h->os, (void *)(h->base + (hunt->page << PAGE_SHIFT)),
                hunt->npages << PAGE_SHIFT);
    put_piece_locked(h, hunt, ok);
    if (!ok)
        say_refused_locked(h);
    return ok ? hunt->npages << PAGE_SHIFT : 0;
}

size_t
gcrt_scavenge_as(struct mheap *h, size_t bytes, enum scavenger_kind who)
{
    struct hunt hunt = { .pages = { .below = PAGE_NONE, .polite = who == SCAVENGE_BACKGROUND,
        .max_pages = SCAVENGE_STEP >> PAGE_SHIFT } };
    uint64_t cpu = gcrt_os_thread_cpu_ns();
    size_t done = 0, step = 1;

    while (done < bytes && step != 0) {
        gcrt_lock_acquire(&h->scavenging);
        step = step_locked(h, &hunt);
        gcrt_lock_release(&h->scavenging);
        done += step;
    }
    aword_add_relaxed(&h->scavenged[who], done);
    aword_add_relaxed(&h->scavenge_ns[who], gcrt_os_thread_cpu_ns() - cpu);
    return done;
}
