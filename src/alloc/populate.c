/* SPDX-License-Identifier: MIT */
/*
 * Memory for free pages, before somebody needs it.
 *
 * Purpose: the first touch of a huge page takes the system as long as zeroing 2 MiB does, 0.1 to
 * 10 ms; of a growing heap that is each thread's longest stall by far.  So somebody else touches
 * them first.
 * Place: gc/populator.c, a thread, calls it; it calls the page allocator and os.  mheap.c rings
 * when few backed pages are left.
 * Invariants: as in scavenge.c, whose lock it takes: pages are out of the page allocator while
 * the system backs them, and come back dirty.  Who looks at `released` under that lock finds
 * it right.  Nothing is backed beyond mheap.backed_soft.
 * Concurrency: `scavenging` is held across the system call, the heap's lock to move bits.
 * An allocation that wants the very pages takes others; one that finds none waits (mheap.c).
 * Cost: what the touch would have cost, and two more updates of the page allocator; the pages
 * are zeroed once more when they are allocated, as they do not count as zero.  Small pages are
 * left to those who touch them: to populate takes 1.4 us each, a touch 2.0 us.
 */
#include "alloc/populate.h"

#define HUGE_PAGES (HUGE_BYTES >> PAGE_SHIFT)

static bool
has_room(const struct mheap *h, uint64_t most)
{
    return mheap_backed(h) + HUGE_BYTES <= most
        && mheap_counted(h) + HUGE_BYTES <= aword_load_relaxed(&h->backed_soft);
}

/* Growth is for huge pages, and for want of pages: what there is may only lie far away. */
static bool
may_grow(const struct mheap *h)
{
    return aword_load_relaxed(&h->limit) >= h->huge_from
        && h->pages.scavenged_pages < HUGE_PAGES;
}

/* The lowest free huge page, which is ours now; counted as backed. */
static size_t
take_locked(struct mheap *h)
{
    size_t from = h->huge_from >> PAGE_SHIFT;
    size_t page = gcrt_pagealloc_take_clean(&h->pages, from, HUGE_PAGES);

    if (page == PAGE_NONE && may_grow(h) && gcrt_mheap_grow_locked(h, HUGE_PAGES))
        page = gcrt_pagealloc_take_clean(&h->pages, from, HUGE_PAGES);
    if (page != PAGE_NONE) {
        h->on_way = HUGE_PAGES;
        aword_add_relaxed(&h->released, (uint64_t)0 - HUGE_BYTES);
    }
    return page;
}

static enum populate
take(struct mheap *h, uint64_t most, size_t *page)
{
    enum populate found = POPULATE_DONE;

    gcrt_lock_acquire(&h->lock);
    h->tell_low = false;
    if (h->low_is_meant || populate_is_enough(h)) {
        h->tell_low = true;
        found = POPULATE_ENOUGH;
    } else if (!has_room(h, most) || (*page = take_locked(h)) == PAGE_NONE) {
        found = POPULATE_NO_ROOM;
    }
    gcrt_lock_release(&h->lock);
    return found;
}

static void
put(struct mheap *h, size_t page)
{
    gcrt_lock_acquire(&h->lock);
    gcrt_pagealloc_free(&h->pages, page, HUGE_PAGES);
    h->on_way = 0;
    gcrt_lock_release(&h->lock);
}

void
gcrt_populate_no_more(struct mheap *h)
{
    gcrt_lock_acquire(&h->lock);
    h->tell_low = h->low_is_meant = true;
    gcrt_lock_release(&h->lock);
}

enum populate
gcrt_populate(struct mheap *h, uint64_t most)
{
    enum populate result;
    size_t page;

    gcrt_lock_acquire(&h->scavenging);
    result = take(h, most, &page);
    if (result == POPULATE_DONE) {
        if (gcrt_os_populate(h->os, (void *)(h->base + (page << PAGE_SHIFT)), HUGE_BYTES))
            aword_add_relaxed(&h->populated, HUGE_BYTES);
        else
            result = POPULATE_REFUSED; /* some of it may be backed: it counts as if all were */
        put(h, page);
    }
    gcrt_lock_release(&h->scavenging);
    return result;
}
