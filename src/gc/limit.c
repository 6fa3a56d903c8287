/* SPDX-License-Identifier: MIT */
/*
 * The memory limit.
 *
 * Purpose: know what the heap takes of the system, keep it below what the host allows while
 * that can be had for a bounded share of the CPU time, and say so when it cannot.
 * Place: the api sets it, the coordinator ticks it, pace asks it before each goal.  It calls
 * the pacer's and the limiter's arithmetic, gives free pages back, and sets mheap's bounds.
 *
 * What happens as the heap nears the limit, in this order:
 *   1. the pacer's goal is what the limit leaves for objects, so cycles come in time;
 *   2. clean pages are taken in the stead of free ones that are given back (mheap.c), and a
 *      cycle that ends above the limit gives back what it freed;
 *   3. the limiter is full: nobody assists or waits, cycles that nobody waits for come later,
 *      and the heap exceeds the soft limit.  The host is told (on_limit);
 *   4. the hard limit is reached: clean pages are refused, which is out of memory (malloc.c).
 *
 * Invariants: external bytes are never negative, and count towards a cycle.  mheap's bounds
 * are recomputed whenever limit or limiting changes; metadata, the third thing that they depend
 * on, is looked at each time the pacer is.  External bytes are no part of the bounds but of
 * what is held against them: they count from the moment they are reported.
 * Concurrency: limits and sums are atomic words; a sum of several is a racy snapshot.  Bounds
 * are set under RANK_CYCLE, so that none comes of a limit that is no more.  The limiter is the
 * coordinator's.
 * Cost: some dozen loads, and 68 per P for the pacer while a limit is set.
 */
#include "gc/limit.h"

#include "alloc/scavenge.h"
#include "gc/cycle.h"
#include "gc/error.h"
#include "gc/fork.h"
#include "gc/log.h"
#include "gc/pace.h"

#include <stdio.h>

/* The limiter's bucket: so long on every CPU. */
#define WINDOW_NS    ((uint64_t)100 * 1000 * 1000)
/* How a cycle's start waits for the program's share. */
#define HOLD_STEP_NS ((uint64_t)5 * 1000 * 1000)
#define HOLD_BACK_NS ((uint64_t)1000 * 1000 * 1000)
/* External bytes that go make a new goal if they are this part of the old one. */
#define GOAL_PARTS   16

/*
 * How much of the slots that the sweep leaves empty allocation will find again is not known: all
 * of it while the program goes on with what it does, little when it turns to other sizes.  So
 * trust in it grows by a step with each cycle, but halves with one that took pages and ends
 * near the limit.  (Go trusts none.  Then a heap with a hole in every span, which
 * is what churn leaves, has no room to grow into, and collects without a break.)
 */
#define TRUST_FULL 16u

/* What metadata may grow by between two looks at it: kept free below the hard limit. */
#define HARD_SLACK ((uint64_t)512 << 10)
/* So long after a collection that did not help, the next one would not either. */
#define SHED_NS    WINDOW_NS

static uint64_t
minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- what is mapped ---- */

/*
 * Two mappings are made for the worst case and touched little by little: the pool of work
 * buffers, and the page allocator's bitmaps, which cover the whole reservation.  What is
 * not touched of them is address space, not memory; all else that was made ready is in one
 * of these counts (sum.memory).  None of them falls but in_use and released.
 */
void
gcrt_limit_read_memory(const struct gc_heap *heap, struct memory_inputs *in)
{
    const struct mheap *h = &heap->mheap;
    size_t os_page = gcrt_os_page_size();

    in->in_use = aword_load_relaxed(&h->in_use);
    in->released = aword_load_relaxed(&h->released);
    in->grown = aword_load_relaxed(&h->grown);
    in->mspans = aword_load_relaxed(&h->described);
    in->persist = aword_load_relaxed(&heap->persist.mapped);
    in->workbufs = min_size(heap->work.pool_bytes, align_up(
            aword_load_relaxed(&heap->work.used) * sizeof(struct workbuf), os_page));
    in->pages = gcrt_pagealloc_touched(h->npages_max, in->grown >> PAGE_SHIFT, os_page);
    in->beside = aword_load_relaxed(&heap->beside);
    in->profile = aword_load_relaxed(&heap->profile.bytes);
    in->mcaches = 0;
}

/* All that is mapped beside the heap's own range. */
static uint64_t
metadata(const struct memory_inputs *in)
{
    return in->mspans + in->pages + in->workbufs + in->persist + in->beside;
}

static uint64_t
mapped(const struct memory_inputs *in)
{
    return minus(in->grown, in->released) + metadata(in);
}

uint64_t
gcrt_limit_mapped(const struct gc_heap *heap)
{
    struct memory_inputs in;

    gcrt_limit_read_memory(heap, &in);
    return mapped(&in);
}

/* Bytes of slots that are in use or taken for use, dead ones that are not swept included. */
static uint64_t
object_bytes(const struct gc_heap *heap)
{
    const struct p *p = __atomic_load_n(&heap->ps.all, __ATOMIC_ACQUIRE); /* pairs: p.publish */
    const struct mheap *h = &heap->mheap;
    uint64_t sum = aword_load_relaxed(&h->large_alloc_bytes)
        - aword_load_relaxed(&h->large_free_bytes);

    for (; p != NULL; p = p->next_all)
        for (unsigned i = 1; i < NUM_CLASSES; i++)
            sum += aword_load_relaxed(&p->cache.slots[i]) * gcrt_class_bytes[i];
    for (unsigned i = 1; i < NUM_CLASSES; i++)
        sum -= aword_load_relaxed(&h->small_frees[i]) * gcrt_class_bytes[i];
    return sum >> 63 ? 0 : sum;
}

/* The soft limit, or the hard one if that is lower. */
static uint64_t
limit_of(const struct gc_heap *heap)
{
    return min_size(aword_load_relaxed(&heap->limit.soft), aword_load_relaxed(&heap->limit.hard));
}

static void
read_for_pacer(const struct gc_heap *heap, struct pacer_memory *m)
{
    struct memory_inputs in;
    uint64_t objects;

    gcrt_limit_read_memory(heap, &in);
    objects = min_size(object_bytes(heap), in.in_use);
    *m = (struct pacer_memory){ .limit = limit_of(heap),
        .mapped = mapped(&in),
        .external = aword_load_relaxed(&heap->mheap.external),
        .free = minus(minus(in.grown, in.released), in.in_use),
        .objects = objects,
        .usable = (in.in_use - objects) / TRUST_FULL * heap->limit.trust };
}

/* ---- bounds for mheap ---- */

static uint64_t
bound(uint64_t limit, uint64_t others)
{
    return limit == UINT64_MAX ? UINT64_MAX : minus(limit, others);
}

void
gcrt_limit_set_bounds_locked(struct gc_heap *heap)
{
    uint64_t hard = aword_load_relaxed(&heap->limit.hard), others;
    struct memory_inputs in;

    gcrt_limit_read_memory(heap, &in);
    others = metadata(&in) - in.mspans + HARD_SLACK; /* mheap counts those itself */
    aword_store_relaxed(&heap->mheap.backed_hard, bound(hard, others));
    aword_store_relaxed(&heap->mheap.backed_soft,
            bound(limit_is_given_up(heap) ? hard : limit_of(heap), others));
}

static bool
is_off(const struct gc_heap *heap)
{
    return limit_of(heap) == UINT64_MAX;
}

bool
gcrt_limit_is_set(const struct gc_heap *heap)
{
    return !is_off(heap);
}

/* External bytes that the last cycle counted as marked, and that are gone, are not. */
static void
forget_external_locked(struct gc_heap *heap)
{
    uint64_t now = aword_load_relaxed(&heap->mheap.external);
    uint64_t marked = aword_load_relaxed(&heap->limit.external_marked);

    if (now >= marked)
        return;
    gcrt_pacer_forget(&heap->cycles.pacer, marked - now);
    aword_store_relaxed(&heap->limit.external_marked, now);
}

void
gcrt_limit_peak_locked(struct gc_heap *heap)
{
    struct limit *l = &heap->limit;
    uint64_t sum = gcrt_limit_mapped(heap) + aword_load_relaxed(&heap->mheap.external);
    uint64_t limit = limit_of(heap), in_use = aword_load_relaxed(&heap->mheap.in_use);

    if (sum > pacer_near(limit) && in_use > l->peak)
        l->trust /= 2;
    else if (l->trust < TRUST_FULL)
        l->trust++;
    l->peak = in_use;
}

void
gcrt_limit_to_pacer_locked(struct gc_heap *heap)
{
    struct pacer *p = &heap->cycles.pacer;
    struct pacer_memory m;

    forget_external_locked(heap);
    if (is_off(heap)) {
        p->limit_goal = PACER_NONE;
    } else {
        read_for_pacer(heap, &m);
        p->limit_goal = gcrt_pacer_goal_by_limit(p, &m);
    }
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
    const gc_options *opt = &heap->options;

    aword_store_relaxed(&heap->limit.soft, as_limit(opt->memory_limit));
    aword_store_relaxed(&heap->limit.hard, as_limit(opt->memory_limit_hard));
    heap->limit.trust = TRUST_FULL;
    gcrt_limiter_init(&heap->limit.limiter, opt->limiter_percent, WINDOW_NS, heap->cpus);
}

static void
request_if_due(struct gc_heap *heap)
{
    if (gcrt_pace_live(heap) >= aword_load_relaxed(&heap->cycles.trigger))
        gcrt_cycle_request(heap, CYCLE_BY_PACER);
}

int64_t
gcrt_limit_set(struct gc_heap *heap, int64_t bytes)
{
    aword *soft = &heap->limit.soft;
    uint64_t old = aword_load_relaxed(soft);

    if (bytes >= 0) {
        while (!aword_cas_full(soft, old, as_limit(bytes)))
            old = aword_load_relaxed(soft);
        gcrt_pace_limit_changed(heap);
        request_if_due(heap);
    }
    return old > INT64_MAX ? GC_MEMORY_LIMIT_OFF : (int64_t)old;
}

void
gcrt_limit_complain(struct gc_heap *heap)
{
    uint64_t limit = limit_of(heap), is = gcrt_limit_mapped(heap);
    uint64_t external = aword_load_relaxed(&heap->mheap.external);

    if (is + external > limit)
        gcrt_log(heap, "the memory limit of %llu bytes is below the %llu bytes that are mapped and "
                       "the %llu external ones", (unsigned long long)limit,
                (unsigned long long)is, (unsigned long long)external);
}

/* ---- external bytes ---- */

static gc_status
add_external(aword *sum, int64_t delta, uint64_t *ret)
{
    uint64_t old;
    int64_t now;

    do {
        old = aword_load_relaxed(sum);
        if (__builtin_add_overflow((int64_t)old, delta, &now) || now < 0)
            return gcrt_error(GC_ERR_INVAL,
                    "gc_external_bytes: %lld bytes and %lld more are no possible sum",
                    (long long)old, (long long)delta);
    } while (!aword_cas_full(sum, old, (uint64_t)now));
    *ret = (uint64_t)now;
    return GC_OK;
}

gc_status
gcrt_limit_external(struct gc_heap *heap, int64_t delta)
{
    uint64_t now = 0;
    gc_status status = add_external(&heap->mheap.external, delta, &now);

    if (status != GC_OK)
        return status;
    if (minus(aword_load_relaxed(&heap->limit.external_marked), now)
            > aword_load_relaxed(&heap->cycles.goal) / GOAL_PARTS)
        gcrt_pace_limit_changed(heap);
    request_if_due(heap);
    return GC_OK;
}

/* ---- the limiter ---- */

/*
 * CPU time that the collector took, what it makes others wait for included: nobody's CPU, but
 * everybody's time.  Marking on CPUs that nobody wanted is left out on both sides.
 */
static uint64_t
collector_ns(const struct gc_heap *heap)
{
    const struct counters *n = &heap->counters;
    const struct marking *mk = &heap->marking;
    uint64_t ns = aword_load_relaxed(&n->assist_ns) + aword_load_relaxed(&n->worker_ns)
        + aword_load_relaxed(&n->pause_ns) + aword_load_relaxed(&n->throttle.total_ns);

    if (heap->cycles.pacer.in_cycle) /* its times are not in the sums yet */
        ns += aword_load_relaxed(&mk->assist_ns) + aword_load_relaxed(&mk->worker_ns);
    return ns + heap->cycles.cpu_base + gcrt_os_thread_cpu_ns();
}

static uint64_t
busy_ns(const struct gc_heap *heap)
{
    const struct counters *n = &heap->counters;
    uint64_t idle = aword_load_relaxed(&n->idle_ns);

    if (heap->cycles.pacer.in_cycle)
        idle += aword_load_relaxed(&heap->marking.idle_ns);
    return gcrt_os_process_cpu_ns() + aword_load_relaxed(&n->throttle.total_ns) - idle;
}

static void
limiting_changed(struct gc_heap *heap, bool limiting)
{
    ahalf_store_relaxed(&heap->limit.limiting, limiting);
    if (limiting && ahalf_load_relaxed(&heap->limit.binding))
        aword_store_relaxed(&heap->limit.limited_cycle,
                aword_load_relaxed(&heap->cycles.started));
    gcrt_lock_acquire(&heap->cycles.lock);
    gcrt_limit_set_bounds_locked(heap);
    gcrt_lock_release(&heap->cycles.lock);
}

/* In a forked child clocks begin anew, below what was seen. */
void
gcrt_limit_tick(struct gc_heap *heap)
{
    struct limit *l = &heap->limit;
    uint64_t gc = collector_ns(heap), busy = busy_ns(heap);
    uint64_t gc_step = minus(gc, l->gc_ns), busy_step = minus(busy, l->busy_ns);
    bool limiting;

    l->gc_ns = gc;
    l->busy_ns = busy;
    if (limit_is_given_up(heap))
        aword_add_relaxed(&l->limited_ns, min_size(busy_step, UINT64_MAX / 2));
    limiting = gcrt_limiter_update(&l->limiter, gc_step, busy_step);
    if (limiting != (ahalf_load_relaxed(&l->limiting) != 0))
        limiting_changed(heap, limiting);
}

void
gcrt_limit_hold_back(struct gc_heap *heap)
{
    struct cycles *c = &heap->cycles;
    uint64_t until = gcrt_os_now_ns() + HOLD_BACK_NS;

    for (;;) {
        unsigned seen = ahalf_load_acquire(&c->bell);

        gcrt_limit_tick(heap);
        if (!limit_is_given_up(heap) || gcrt_os_now_ns() >= until
                || (ahalf_load_acquire(&c->wanted) & ~(unsigned)CYCLE_BY_PACER) != 0)
            return;
        gcrt_fork_rest_wait(heap, &c->bell, seen, HOLD_STEP_NS);
    }
}

/* ---- at the end of a cycle ---- */

/* The host's function may wait for a lock of the host's that a thread has which forks. */
static void
tell_host(struct gc_heap *heap, const struct pacer_memory *m)
{
    const gc_options *opt = &heap->options;
    gc_limit_report report = { .limit = m->limit, .mapped = m->mapped, .external = m->external,
        .live = aword_load_relaxed(&heap->counters.marked_last),
        .cycle = aword_load_relaxed(&heap->cycles.started) };

    aword_add_relaxed(&heap->limit.missed, 1);
    if (opt->on_limit == NULL)
        return;
    gcrt_fork_rest_begin(heap);
    opt->on_limit(heap, &report, opt->on_limit_arg);
    gcrt_fork_rest_end(heap);
}

void
gcrt_limit_cycle_done(struct gc_heap *heap)
{
    struct pacer_memory m;
    uint64_t least;

    gcrt_limit_tick(heap);
    if (is_off(heap))
        return;
    gcrt_lock_acquire(&heap->cycles.lock);
    read_for_pacer(heap, &m);
    least = gcrt_pacer_least_memory(&heap->cycles.pacer, &m);
    gcrt_lock_release(&heap->cycles.lock);
    if (m.mapped + m.external > m.limit)
        (void)gcrt_scavenge(&heap->mheap, m.mapped + m.external - m.limit);
    if (least > m.limit)
        tell_host(heap, &m);
}

bool
gcrt_limit_is_near(const struct gc_heap *heap)
{
    uint64_t limit = limit_of(heap);

    return limit != UINT64_MAX && ahalf_load_relaxed(&heap->limit.binding)
        && gcrt_limit_mapped(heap) + aword_load_relaxed(&heap->mheap.external)
            > pacer_near(limit);
}

/* ---- the hard limit ---- */

bool
gcrt_limit_is_reached(const struct gc_heap *heap, size_t bytes)
{
    uint64_t hard = aword_load_relaxed(&heap->limit.hard), sum;

    if (hard == UINT64_MAX)
        return false;
    sum = gcrt_limit_mapped(heap) + HARD_SLACK + aword_load_relaxed(&heap->mheap.external);
    return __builtin_add_overflow(sum, bytes, &sum) || sum > hard;
}

void
gcrt_limit_refused(struct gc_heap *heap)
{
    aword_store_relaxed(&heap->limit.refused_ns, gcrt_os_now_ns());
}

bool
gcrt_limit_sheds(const struct gc_heap *heap, size_t bytes)
{
    return limit_is_given_up(heap) && gcrt_limit_is_reached(heap, bytes)
        && gcrt_os_now_ns() - aword_load_relaxed(&heap->limit.refused_ns) < SHED_NS;
}

/* A small object that is refused needs a span, and that a window of pages. */
const char *
gcrt_limit_why(const struct gc_heap *heap, size_t bytes, char text[LIMIT_TEXT_MAX])
{
    text[0] = '\0';
    if (gcrt_limit_is_reached(heap, max_size(bytes, PAGECACHE_PAGES << PAGE_SHIFT)))
        snprintf(text, LIMIT_TEXT_MAX,
                "; the hard memory limit of %llu bytes is reached: %llu mapped, %llu external",
                (unsigned long long)aword_load_relaxed(&heap->limit.hard),
                (unsigned long long)gcrt_limit_mapped(heap),
                (unsigned long long)aword_load_relaxed(&heap->mheap.external));
    return text;
}
