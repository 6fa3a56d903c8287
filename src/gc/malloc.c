/* SPDX-License-Identifier: MIT */
/*
 * Allocation, the slow half.
 *
 * Purpose: turn a request into an object: from a run, from a tiny block, or as a span of
 * its own; pay the collector for it; start cycles.
 * Place: the api calls it when gc_alloc's inline half finds no run; it calls mcache,
 * mheap, kind, assist, cycle.
 * Invariants: I-critical: everything that touches the mcache happens in one critical
 * section, which ends before anything that may block or take long (assist's marking is
 * bounded, zeroing of large objects happens outside).  I-publish: an object is zero and has
 * its colour before its address is returned.
 * Concurrency: owner only, but for the shared counters.
 * Cost: a used-up run about 30 ns plus zeroing; a used-up span some 200 ns.
 */
#include "gc/malloc.h"

#include "alloc/sweep.h"
#include "gc/assist.h"
#include "gc/barrier.h"
#include "gc/cycle.h"
#include "gc/drive.h"
#include "gc/error.h"
#include "gc/limit.h"
#include "gc/pool.h"
#include "gc/profile.h"
#include "gc/tiny.h"
#include "gc/trace.h"
#include "gc/wbcheck.h"

#include <gcrt/alloc.h>

#include <string.h>

/* Zeroing a large object polls once per so many bytes. */
#define ZERO_STEP ((size_t)64 << 10)

/* ---- what every slow path does ---- */

/* After `bytes` were taken: the debt to the collector, and perhaps a cycle. */
static void
account(struct gcrt_mutator *m, size_t bytes)
{
    struct gc_heap *heap = m->heap;
    uint64_t live;

    m->credit -= (int64_t)bytes;
    m->account.bytes += bytes;
    live = mheap_live(&heap->mheap);
    if (live >= aword_load_relaxed(&heap->cycles.trigger)) {
        m->due = gcrt_drive_may(m);
        if (!m->due)
            gcrt_cycle_request(heap, CYCLE_BY_PACER);
    }
    m->over_goal = live > aword_load_relaxed(&heap->cycles.goal) ? bytes : 0;
    if (UNLIKELY(heap->options.debug_stress != 0))
        gcrt_cycle_stress(heap);
}

/* The entry of the request's kind in the mcache, or -1 without memory. */
static int
entry_of(struct gcrt_mutator *m, uintptr_t key, const struct request *req, unsigned sizeclass)
{
    struct mcache *mc = &m->p->cache;
    int i = mcache_find(mc, key);
    struct kind *kind;

    if (LIKELY(i >= 0)) {
        if (UNLIKELY(run_left(&mc->table->runs[i]) != 0)
                && !gcrt_mcache_missed(mc, i)) {
            gcrt_mutator_show_runs(m);
            i = gcrt_mcache_find(mc, key);
        }
        return i;
    }
    kind = gcrt_kind_get(m->heap, key_of_kind(key), req->type, sizeclass, req->single);
    if (kind == NULL)
        return -1;
    i = gcrt_mcache_add(mc, key, &kind->central);
    gcrt_mutator_show_runs(m); /* the table may have moved */
    return i;
}

static size_t
take_run(struct gcrt_mutator *m, int i)
{
    struct mcache *mc = &m->p->cache;
    uint64_t start = trace_begin(m->heap), refills = mc->refills.raw;
    size_t bytes = gcrt_mcache_take_run(mc, i);

    if (mc->refills.raw != refills)
        TRACE(m->heap, refill, start, mc->table->runs[i].size, 0);
    return bytes;
}

/* A slot of the kind, or NULL without memory.  Critical. */
static void *
take_slot(struct gcrt_mutator *m, uintptr_t key, const struct request *req, unsigned sizeclass)
{
    struct mcache *mc = &m->p->cache;
    int i = entry_of(m, key, req, sizeclass);
    void *p;
    size_t bytes;

    if (i < 0)
        return NULL;
    p = bump_run(&mc->table->runs[i]);
    if (p != NULL)
        return p;
    gcrt_assist_if_owed(m);
    bytes = take_run(m, i);
    if (bytes == 0)
        return NULL;
    account(m, bytes);
    return bump_run(&mc->table->runs[i]);
}

/* ---- tiny objects (tiny.h) ---- */

static void *
take_tiny(struct gcrt_mutator *m, size_t bytes)
{
    static const struct request block = { .type = &gc_byte_type, .bytes = TINY_BYTES };
    void *p = bump_tiny(&m->p->cache, bytes);

    if (p == NULL) {
        p = take_slot(m, kind_key_tiny(), &block, CLASS_TINY);
        if (p != NULL)
            cut_tiny(&m->p->cache, p, bytes);
    }
    return p;
}

/* ---- large objects ---- */

/*
 * Zeroes a large object in steps that handshakes may come between.  The object is marked
 * as not ready meanwhile: a scanner skips it, and finds it again because `p` is on our stack
 * or because it was born black.
 */
static void
zero_large(void *p, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += ZERO_STEP) {
        memset((char *)p + at, 0, min_size(ZERO_STEP, bytes - at));
        gc_safepoint();
    }
    GC_KEEP_ALIVE(p);
}

/*
 * The colour of a large object that is born black.  An arena's chunk is not black before every
 * thread is: one that has not scanned its stack yet may get the arena and put objects into the
 * chunk by plain stores, which somebody must scan (region.c).  As long as marking is not open
 * it is grey instead, white and in our barrier buffer; and once it is, every thread is black.
 * We have answered H3, so the phase that we read is this cycle's.  It is old only until we answer
 * H4, which flushes the buffer.
 */
static void
colour_large(struct gcrt_mutator *m, const struct request *req, struct mspan *s)
{
    if (req->region && ahalf_load_relaxed(&m->heap->cycles.phase) == PHASE_STARTING) {
        gcrt_barrier_shade_object(m, span_start(&m->heap->mheap, s));
        return;
    }
    aword_or_relaxed(&s->mark.bits[0], 1);
    aword_add_owner(&m->p->cache.black_bytes, s->alloc.large.npages << PAGE_SHIFT);
}

/* A span for the object, coloured, filed and accounted for; NULL without memory. Critical. */
static struct mspan *
take_large(struct gcrt_mutator *m, const struct request *req)
{
    struct mheap *h = &m->heap->mheap;
    struct mcache *mc = &m->p->cache;
    struct kind *kind = gcrt_kind_get(m->heap, kind_key(req->type, CLASS_LARGE), req->type,
            CLASS_LARGE, req->single);
    unsigned sweepgen = ahalf_load_acquire(&h->sweepgen); /* pairs: sweepgen.advance */
    uint64_t start;
    struct mspan *s;
    size_t bytes;

    if (kind == NULL)
        return NULL;
    gcrt_assist_if_owed(m);
    gcrt_mcache_follow_rate(mc);
    start = trace_begin(m->heap);
    sweep_for_pages(h, (req->bytes + PAGE_SIZE - 1) >> PAGE_SHIFT);
    s = gcrt_mheap_alloc_large(h, &kind->central, req->bytes, sweepgen);
    if (s == NULL)
        return NULL;
    bytes = s->alloc.large.npages << PAGE_SHIFT;
    (void)gcrt_sampler_take(&mc->sampler, span_elem_bytes(s), 1);
    if (mc->black && sweepgen + 3 == mc->black_gen) /* I-no-late-mark */
        colour_large(m, req, s);
    gcrt_mcentral_put_swept(h, &kind->central, s, sweepgen);
    aword_add_relaxed(&h->large_allocs, 1);
    aword_add_relaxed(&h->large_alloc_bytes, bytes);
    aword_add_relaxed(&h->live, bytes);
    if (!s->noscan)
        aword_add_owner(&mc->scan_bytes, bytes);
    account(m, bytes);
    TRACE(m->heap, large, start, bytes, 0);
    return s;
}

static void *
alloc_large(struct gcrt_mutator *m, const struct request *req)
{
    struct mspan *s;
    void *p;

    critical_enter();
    s = take_large(m, req);
    p = s == NULL ? NULL : (void *)span_start(&m->heap->mheap, s);
    m->own.result = p;
    critical_leave();
    if (p == NULL)
        return NULL;
    chaos_point(&m->heap->os, CHAOS_ALLOC_PUBLISH);
    if (s->needzero && (req->zero || !s->noscan))
        zero_large(p, s->alloc.large.bytes);
    ahalf_store_release(&s->ready, SPAN_READY); /* pairs: large.ready */
    publish_barrier();                 /* I-publish */
    return p;
}

/* ---- everything ---- */

static uintptr_t
small_key(const struct request *req, unsigned sizeclass)
{
    if (req->single)
        return (uintptr_t)req->type;
    return req->zero ? kind_key(req->type, sizeclass) : key_of_raw(req->type, sizeclass);
}

static bool
is_tiny(const struct request *req)
{
    return req->bytes <= TINY_MAX && req->type->form == GC_FORM_NOSCAN;
}

static void *
try_once(struct gcrt_mutator *m, const struct request *req)
{
    unsigned sizeclass;
    void *p;

    if (req->bytes > SMALL_MAX)
        return alloc_large(m, req);
    sizeclass = class_of(req->bytes);
    critical_enter();
    if (is_tiny(req))
        p = take_tiny(m, req->bytes);
    else
        p = take_slot(m, small_key(req, sizeclass), req, sizeclass);
    m->own.result = p; /* the caller's stack need not be scanned */
    critical_leave();
    return p;
}

/* gc_last_error() after the NULL of a gc_try_ form. */
static COLD void
say_why(struct gcrt_mutator *m, const struct request *req)
{
    char text[LIMIT_TEXT_MAX];

    if (mheap_is_full(&m->heap->mheap))
        (void)gcrt_error(GC_ERR_LIMIT,
                "no memory for %zu bytes of type %s; the heap has %d kinds of type and size class, "
                "and no room for more", req->bytes, req->type->name, MHEAP_CENTRALS_MAX);
    else
        (void)gcrt_error(GC_ERR_NOMEM, "no memory for %zu bytes of type %s%s", req->bytes,
                req->type->name, gcrt_limit_why(m->heap, req->bytes, text));
}

/* No garbage makes room for what is larger than the heap's addresses, or for one more kind. */
static bool
is_hopeless(struct gcrt_mutator *m, const struct request *req)
{
    struct mheap *h = &m->heap->mheap;
    unsigned sizeclass = CLASS_LARGE;
    uintptr_t key = kind_key(req->type, CLASS_LARGE);
    bool has_kind;

    if (req->bytes > h->npages_max << PAGE_SHIFT)
        return true;
    if (!mheap_is_full(h) || is_tiny(req))
        return false;
    if (req->bytes <= SMALL_MAX) {
        sizeclass = class_of(req->bytes);
        key = key_of_kind(small_key(req, sizeclass));
    }
    critical_enter();
    has_kind = gcrt_kind_get(m->heap, key, req->type, sizeclass, req->single) != NULL;
    critical_leave();
    return !has_kind;
}

/* Collects, tries, asks the host to let go of something, and so on until it refuses. */
static COLD void *
retry(struct gcrt_mutator *m, const struct request *req)
{
    const gc_options *opt = &m->heap->options;
    void *p;

    for (;;) {
        bool hopeless = is_hopeless(m, req);
        bool shed = hopeless || (req->may_fail && gcrt_limit_sheds(m->heap, req->bytes));

        if (!hopeless)
            gcrt_pools_shed(m->heap);
        if (!shed)
            gcrt_cycle_collect(m->heap);
        p = hopeless ? NULL : try_once(m, req);
        if (p != NULL)
            return p;
        if (!shed)
            gcrt_limit_refused(m->heap);
        if (opt->oom == NULL || !opt->oom(m->heap, req->bytes, opt->oom_arg)) {
            say_why(m, req);
            return NULL;
        }
    }
}

void *
gcrt_malloc(struct gcrt_mutator *m, const struct request *req)
{
    void *p;

    gc_safepoint();
    if (UNLIKELY(m->due))
        gcrt_drive(m);
    if (UNLIKELY(m->over_goal))
        gcrt_throttle(m);
    p = try_once(m, req);
    if (UNLIKELY(p == NULL))
        p = retry(m, req);
    if (UNLIKELY(gc_impl_self.barrier & BARRIER_WATCHED) && p != NULL && !req->region
            && !gcrt_wbcheck_born(m, p, req->site))
        p = NULL;
    if (UNLIKELY(m->p->cache.sampler.due != 0) && p != NULL)
        gcrt_profile_sample(m, p, req->type, req->site);
    m->own.result = NULL;
    return p;
}
