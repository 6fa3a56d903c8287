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
 * Cost: a system call per run or per 2 MiB, some 20 us for each MiB that was backed.
 */
#include "alloc/scavenge.h"

/* The pages of one step: what is on its way to the OS. */
struct piece {
    size_t page;
    size_t npages;
};

static bool
take_piece(struct mheap *h, struct piece *piece)
{
    gcrt_lock_acquire(&h->lock);
    piece->page = gcrt_pagealloc_scavenge_find(
            &h->pages, SCAVENGE_STEP >> PAGE_SHIFT, &piece->npages);
    h->on_way = piece->page != PAGE_NONE ? piece->npages : 0;
    gcrt_lock_release(&h->lock);
    return piece->page != PAGE_NONE;
}

static void
put_piece(struct mheap *h, const struct piece *piece, bool clean)
{
    size_t bytes = piece->npages << PAGE_SHIFT;

    gcrt_lock_acquire(&h->lock);
    if (clean) {
        gcrt_pagealloc_scavenged(&h->pages, piece->page, piece->npages);
        aword_add_relaxed(&h->released, bytes);
        aword_add_relaxed(&h->returned, bytes);
    } else {
        gcrt_pagealloc_free(&h->pages, piece->page, piece->npages);
    }
    h->on_way = 0;
    gcrt_lock_release(&h->lock);
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
step_locked(struct mheap *h)
{
    struct piece piece;
    bool ok;

    if (!take_piece(h, &piece))
        return 0;
    ok = gcrt_os_release(h->os, (void *)(h->base + (piece.page << PAGE_SHIFT)),
            piece.npages << PAGE_SHIFT);
    put_piece(h, &piece, ok);
    if (!ok)
        say_refused_locked(h);
    return ok ? piece.npages << PAGE_SHIFT : 0;
}

size_t
gcrt_scavenge(struct mheap *h, size_t bytes)
{
    size_t done = 0, step = 1;

    while (done < bytes && step != 0) {
        gcrt_lock_acquire(&h->scavenging);
        step = step_locked(h);
        gcrt_lock_release(&h->scavenging);
        done += step;
    }
    return done;
}
