/* SPDX-License-Identifier: MIT */
/*
 * The memory limit.
 *
 * Purpose: know what the heap takes of the system, and keep it below what the host allows.
 * Place: the api sets it; metrics shows its sums.  It reads the counters of alloc and gc.
 * Invariants: external bytes are never negative, and are part of mheap.live.
 * Concurrency: all words are atomic sums or settings; a sum of several is a racy snapshot.
 * Cost: some dozen loads.
 */
#include "gc/limit.h"

#include "gc/cycle.h"
#include "gc/error.h"
#include "gc/pace.h"

static uint64_t
minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- what is mapped ---- */

/*
 * Two mappings are made for the worst case and touched little by little: the pool of work
 * buffers, and the page allocator's bitmaps, which cover the whole reservation.  What is
 * not touched of them is address space, not memory.
 */
void
gcrt_limit_read_memory(const struct gc_heap *heap, struct memory_inputs *in)
{
    const struct mheap *h = &heap->mheap;
    uint64_t worst_case = h->pagealloc_bytes + heap->work.pool_bytes;
    double grown_share;

    in->in_use = aword_load_relaxed(&h->in_use);
    in->released = aword_load_relaxed(&h->released);
    in->grown = aword_load_relaxed(&h->grown);
    in->persist = aword_load_relaxed(&heap->persist.total);
    in->workbufs = aword_load_relaxed(&heap->work.used) * sizeof(struct workbuf);
    in->committed = minus(aword_load_relaxed(&heap->os.committed), worst_case);
    grown_share = (double)in->grown / ((double)h->npages_max * (double)PAGE_SIZE);
    in->pages = (uint64_t)(grown_share * (double)h->pagealloc_bytes);
    in->mcaches = 0;
}

uint64_t
gcrt_limit_mapped(const struct gc_heap *heap)
{
    struct memory_inputs in;
    uint64_t mspans, rest;

    gcrt_limit_read_memory(heap, &in);
    mspans = (in.grown >> PAGE_SHIFT) * sizeof(struct mspan);
    rest = max_size(in.persist, minus(in.committed, in.grown + mspans));
    return minus(in.grown, in.released) + mspans + in.pages + in.workbufs + rest;
}

/* ---- settings ---- */

static uint64_t
as_limit(int64_t bytes)
{
    return bytes == GC_MEMORY_LIMIT_OFF ? UINT64_MAX : (uint64_t)bytes;
}

void
gcrt_limit_init(struct gc_heap *heap)
{
    aword_store_relaxed(&heap->limit.soft, as_limit(heap->options.memory_limit));
    aword_store_relaxed(&heap->limit.hard, UINT64_MAX);
}

int64_t
gcrt_limit_set(struct gc_heap *heap, int64_t bytes)
{
    aword *soft = &heap->limit.soft;
    uint64_t old = aword_load_relaxed(soft);

    if (bytes >= 0)
        aword_store_relaxed(soft, as_limit(bytes));
    return old > INT64_MAX ? GC_MEMORY_LIMIT_OFF : (int64_t)old;
}

/* ---- external bytes ---- */

gc_status
gcrt_limit_external(struct gc_heap *heap, int64_t delta)
{
    aword *sum = &heap->limit.external;
    uint64_t old;
    int64_t now;

    do {
        old = aword_load_relaxed(sum);
        if (__builtin_add_overflow((int64_t)old, delta, &now) || now < 0)
            return gcrt_error(GC_ERR_INVAL,
                    "gc_external_bytes: %lld bytes and %lld more are no possible sum",
                    (long long)old, (long long)delta);
    } while (!aword_cas_full(sum, old, (uint64_t)now));
    aword_add_relaxed(&heap->mheap.live, (uint64_t)delta);
    if (delta > 0 && gcrt_pace_live(heap) >= aword_load_relaxed(&heap->cycles.trigger))
        gcrt_cycle_request(heap, CYCLE_BY_PACER);
    return GC_OK;
}
