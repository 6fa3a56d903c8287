/* SPDX-License-Identifier: MIT */
/*
 * The P's cache.
 *
 * Purpose: runs of free slots for gc_alloc; the fast half of it is inline in gcrt/alloc.h.
 * Place: gc/malloc calls take_run when a run is used up, gc/actions blacken and flush; it
 * calls mcentral and mheap.
 * Invariants: a run [next, end) of an entry lies below its span's free index and is zeroed, if
 * it is not for uninitialised objects, which have no pointers;
 * a black run's slots are marked before the free index passes them (I-publish); a run is
 * black only in a span that the running cycle will sweep (I-no-late-mark): spans cached
 * after sweepgen advanced are not.
 * Concurrency: owner only.  The free index is released after zeroing and marking (pairs:
 * run.publish); the table pointer and its entries' lists are released for statistics
 * (mcache.table).
 * Cost: take_run about 20 ns plus zeroing; a span change two or three more misses.
 */
#include "alloc/mcache.h"

#include "alloc/base/tools.h"

#include <string.h>

#define TABLE_MIN 64u
/* So many misses are worth a larger table, unless it has so many slots, and so many for a key. */
#define MISSES_MAX   1024u
#define SPARSE_SLOTS 512u
#define SPARSE       16u
/* The shared counter is touched once per so many bytes. */
#define SETTLE_BYTES ((uint64_t)32 << 10)

/* ---- the table ---- */

static struct mcache_table *
table_new(struct persist *persist, uint32_t entries)
{
    size_t runs = entries * sizeof(struct gc_impl_run);
    size_t cold = entries * sizeof(struct mcache_cold);
    size_t head = sizeof(struct mcache_table) + CACHE_LINE;
    struct mcache_table *t = gcrt_persist_alloc(persist, head + runs + cold);

    if (t == NULL)
        return NULL;
    t->mask = entries - 1;
    t->runs = (struct gc_impl_run *)align_up((uintptr_t)(t + 1), CACHE_LINE);
    t->cold = (struct mcache_cold *)(void *)(t->runs + entries);
    return t;
}

static uint32_t
table_insert(struct mcache_table *t, uintptr_t key)
{
    uint32_t i = mcache_home(key, t->mask);

    while (t->runs[i].key != 0)
        i = (i + 1) & t->mask;
    t->runs[i].key = key;
    t->used++;
    return i;
}

static bool
table_grow(struct mcache *mc)
{
    struct mcache_table *old = mc->table;
    struct mcache_table *t = table_new(mc->heap->persist, (old->mask + 1) * 2);

    if (t == NULL)
        return false;
    for (uint32_t i = 0; i <= old->mask; i++)
        if (old->runs[i].key != 0) {
            uint32_t j = table_insert(t, old->runs[i].key);

            t->runs[j] = old->runs[i];
            t->cold[j] = old->cold[i];
        }
    __atomic_store_n(&mc->table, t, __ATOMIC_RELEASE); /* pairs: mcache.table */
    return true;
}

bool
gcrt_mcache_init(struct mcache *mc, struct mheap *h)
{
    *mc = (struct mcache){ .heap = h, .sampler.left = SAMPLE_NEVER };
    mc->table = table_new(h->persist, TABLE_MIN);
    return mc->table != NULL;
}

int
gcrt_mcache_find(const struct mcache *mc, uintptr_t key)
{
    const struct mcache_table *t = mc->table;
    uint32_t i = mcache_home(key, t->mask);

    for (; t->runs[i].key != 0; i = (i + 1) & t->mask)
        if (t->runs[i].key == key)
            return (int)i;
    return -1;
}

int
gcrt_mcache_add(struct mcache *mc, uintptr_t key, struct mcentral *c)
{
    uint32_t i;

    if (mc->table->used * 2 > mc->table->mask && !table_grow(mc))
        return -1;
    i = table_insert(mc->table, key);
    __atomic_store_n(&mc->table->cold[i].central, c, __ATOMIC_RELEASE); /* pairs: mcache.table */
    mc->table->runs[i].size = gcrt_class_bytes[c->sizeclass];
    return (int)i;
}

bool
gcrt_mcache_missed(struct mcache *mc, int i)
{
    struct mcache_table *t = mc->table;

    if (mcache_home(t->runs[i].key, t->mask) == (uint32_t)i || ++t->missed < MISSES_MAX
            || t->mask >= max_size(t->used * SPARSE, SPARSE_SLOTS))
        return true;
    t->missed = 0;
    return !table_grow(mc);
}

/* ---- runs ---- */

void
gcrt_mcache_settle(struct mcache *mc)
{
    aword_add_relaxed(&mc->heap->live, mc->debt);
    mc->debt = 0;
}

static void
mark_slots(struct mspan *s, size_t from, size_t to)
{
    aword *marks = span_marks(s);

    for (size_t w = from / 64; w * 64 < to; w++)
        aword_or_relaxed(&marks[w], bits_word_mask(w, from, to));
}

static void
count_run(struct mcache *mc, const struct mspan *s, size_t nslots, size_t bytes, bool black)
{
    aword_add_owner(&mc->slots[s->sizeclass], nslots);
    aword_add_owner(&mc->runs_taken, 1);
    if (!s->noscan)
        aword_add_owner(&mc->scan_bytes, bytes);
    if (black)
        aword_add_owner(&mc->black_bytes, bytes);
    mc->debt += bytes;
    if (mc->debt >= SETTLE_BYTES)
        gcrt_mcache_settle(mc);
}

/* Slots [from, to) of the entry's span become its run. */
static size_t
install_run(struct mcache *mc, struct gc_impl_run *run, struct mspan *s, size_t from, size_t to)
{
    uintptr_t start = span_object(mc->heap, s, from);
    size_t bytes = (to - from) * run->size;
    bool black = mc->black && ahalf_load_relaxed(&s->sweepgen) == mc->black_gen;

    chaos_point(mc->heap->os, CHAOS_REFILL);
    unpoison(start, bytes);
    if (s->needzero && !key_is_raw(run->key))
        memset((void *)start, 0, bytes);
    if (black)
        mark_slots(s, from, to);
    ahalf_store_release(&s->freeindex, (unsigned)to); /* pairs: run.publish */
    publish_barrier(); /* I-publish: gc_write need not order anything */
    run_set(run, (char *)start, (char *)start + bytes);
    count_run(mc, s, to - from, bytes, black);
    return bytes;
}

void
gcrt_mcache_follow_rate(struct mcache *mc)
{
    uint64_t rate = aword_load_relaxed(&mc->heap->sample_rate);

    if (UNLIKELY(rate != mc->sampler.rate))
        gcrt_sampler_set_rate(&mc->sampler, rate, gcrt_os_now_ns() ^ (uintptr_t)mc);
}

/*
 * The next run of the cached span; 0 if it has no free slot left.  It ends before a slot that a
 * profile wants to see, so that this is the first of the next one.
 */
static size_t
run_in_span(struct mcache *mc, struct gc_impl_run *run, struct mcache_cold *cold)
{
    struct mspan *s = cold->span;
    size_t from = span_next_free(s, ahalf_load_relaxed(&s->freeindex)), to;
    size_t reach = min_size(max_size(cold->reach, RUN_BYTES_FIRST), mc->heap->run_bytes);

    if (from >= s->nelems)
        return 0;
    to = span_next_used(s, from);
    if ((to - from) * run->size > reach)
        to = from + max_size(reach / run->size, 1);
    to = from + sampler_take(&mc->sampler, run->size, to - from);
    cold->reach = 2 * reach;
    return install_run(mc, run, s, from, to);
}

/* Is it this cycle's, and not used up? */
static bool
is_good(const struct mcache *mc, const struct mspan *s)
{
    return ahalf_load_relaxed(&s->freeindex) < s->nelems
        /* pairs: sweepgen.advance */
        && ahalf_load_relaxed(&s->sweepgen) == ahalf_load_acquire(&mc->heap->sweepgen) + 3;
}

size_t
gcrt_mcache_take_run(struct mcache *mc, int i)
{
    struct gc_impl_run *run = &mc->table->runs[i];
    struct mcache_cold *cold = &mc->table->cold[i];
    size_t bytes;

    gcrt_mcache_follow_rate(mc);
    if (cold->span != NULL) {
        if (is_good(mc, cold->span) && (bytes = run_in_span(mc, run, cold)) != 0)
            return bytes;
        run_set(run, NULL, NULL); /* it was used up */
        gcrt_mcentral_give(mc->heap, cold->central, cold->span);
    }
    aword_add_owner(&mc->refills, 1);
    cold->span = gcrt_mcentral_take(mc->heap, cold->central, &mc->pages);
    return cold->span == NULL ? 0 : run_in_span(mc, run, cold);
}

/* ---- handshake work ---- */

/* The last `rest` bytes of the run become free again, as if they had not been taken. */
static void
return_rest(struct mcache *mc, const struct gc_impl_run *run, size_t rest, struct mspan *s)
{
    size_t nslots = rest / run->size;
    bool was_black = mc->black && ahalf_load_relaxed(&s->sweepgen) == mc->black_gen;

    if (rest == 0)
        return;
    poison((uintptr_t)run->end - rest, rest);
    ahalf_store_release(&s->freeindex, ahalf_load_relaxed(&s->freeindex) - (unsigned)nslots);
    aword_add_owner(&mc->slots[s->sizeclass], (uint64_t)0 - nslots);
    if (!s->noscan)
        aword_add_owner(&mc->scan_bytes, (uint64_t)0 - rest);
    if (was_black)
        aword_add_owner(&mc->black_bytes, (uint64_t)0 - rest);
    mc->debt -= rest; /* may wrap below zero until it is settled: a sum modulo 2^64 */
}

/* Bytes of the run that become free again. */
static size_t
returned(const struct gc_impl_run *run, enum mcache_runs runs)
{
    size_t left = run_left(run);

    if (runs == RUNS_KEPT || left == 0)
        return 0;
    return runs == RUNS_INTERRUPTED ? left - run->size : left;
}

void
gcrt_mcache_flush(struct mcache *mc, enum mcache_runs runs)
{
    struct mcache_table *t = mc->table;

    for (uint32_t i = 0; i <= t->mask; i++) {
        struct mspan *s = t->cold[i].span;

        if (s == NULL)
            continue;
        sampler_give_back(&mc->sampler, run_left(&t->runs[i]));
        return_rest(mc, &t->runs[i], returned(&t->runs[i], runs), s);
        run_set(&t->runs[i], NULL, NULL);
        t->cold[i].span = NULL;
        t->cold[i].reach = 0;
        gcrt_mcentral_give(mc->heap, t->cold[i].central, s);
    }
    gcrt_mheap_flush_cache(mc->heap, &mc->pages);
    mc->tiny = mc->tiny_end = 0;
    gcrt_mcache_settle(mc);
}

static void
blacken_run(struct mcache *mc, const struct gc_impl_run *run, struct mspan *s)
{
    uintptr_t start = span_start(mc->heap, s);
    size_t rest = run_left(run);

    if (rest == 0)
        return;
    mark_slots(s, ((uintptr_t)run->next - start) / run->size,
            ((uintptr_t)run->end - start) / run->size);
    aword_add_owner(&mc->black_bytes, rest);
}

/* The current tiny block may be filled further by plain stores, so it is black as a whole. */
static void
blacken_tiny(struct mcache *mc)
{
    struct mspan *s;
    size_t i;

    if (mc->tiny == mc->tiny_end)
        return;
    s = mheap_span_of(mc->heap, mc->tiny);
    i = span_object_index(mc->heap, s, mc->tiny);
    mark_slots(s, i, i + 1);
}

void
gcrt_mcache_blacken(struct mcache *mc, unsigned sweepgen)
{
    struct mcache_table *t = mc->table;

    for (uint32_t i = 0; i <= t->mask; i++)
        if (t->cold[i].span != NULL)
            blacken_run(mc, &t->runs[i], t->cold[i].span);
    blacken_tiny(mc);
    mc->black = true;
    mc->black_gen = sweepgen + 3;
}

void
gcrt_mcache_unused(const struct mcache *mc, uint64_t per_class[NUM_CLASSES])
{
    /* pairs: mcache.table */
    const struct mcache_table *t = __atomic_load_n(&mc->table, __ATOMIC_ACQUIRE);

    for (uint32_t i = 0; i <= t->mask; i++) {
        uintptr_t next = slot_load(&t->runs[i].next), end = slot_load(&t->runs[i].end);
        const struct mcentral *c = __atomic_load_n(&t->cold[i].central, __ATOMIC_ACQUIRE);

        if (next < end && c != NULL)
            per_class[c->sizeclass] += (end - next) / gcrt_class_bytes[c->sizeclass];
    }
}
