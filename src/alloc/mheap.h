/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_MHEAP_H
#define GCRT_ALLOC_MHEAP_H

/*
 * The page heap: address space, pages, spans, and the registry of mcentrals.
 */

#include "alloc/base/lock.h"
#include "alloc/mcentral.h"
#include "alloc/mspan.h"
#include "alloc/os/os.h"
#include "alloc/pagealloc.h"
#include "alloc/persist.h"

#define MHEAP_CENTRALS_MAX 8192
/* Longest run: zeroing it stays a small step, and a pause inside it short. */
#define RUN_BYTES_MAX      (32u << 10)
/* A heap below this size has small pages: there huge ones would be its larger part. */
#define HUGE_FROM_AUTO     ((size_t)64 << 20)
#define HUGE_BYTES         ((size_t)2 << 20)
#define RUN_BYTES_TINY     64u
#define RUN_BYTES_FIRST    512u

/* Who gives memory back. */
enum scavenger_kind {
    SCAVENGE_BACKGROUND, /* the heap's own thread */
    SCAVENGE_ASSIST,     /* whoever meets a memory limit */
    SCAVENGE_FORCED,     /* gc_free_os_memory */
    SCAVENGERS
};

struct mheap {
    /* const after init */
    struct os *os;            /* borrowed */
    struct persist *persist;  /* borrowed */
    uintptr_t base;           /* first byte of the reservation; page aligned */
    size_t npages_max;        /* pages reserved */
    struct mspan *spans;      /* descriptor per reserved page; ready as far as grown */
    size_t reservation_bytes; /* from base: pages, then their descriptors */
    void *pagealloc_block;    /* owned */
    size_t pagealloc_bytes;
    size_t huge_from;         /* from so many bytes on huge pages are wished for */
    void (*on_low)(struct mheap *h); /* who rings `low` calls it, without locks; may be NULL */
    bool clobber;             /* overwrite dead objects */
    uint32_t run_bytes;       /* longest run; RUN_BYTES_MAX but in tiny mode */

    /* read by every marker and barrier, changed when the heap grows */
    aword limit CACHE_ALIGNED; /* atomic: bytes from base that are grown; pairs: heap.grow */

    /* lock: heap */
    struct lock lock CACHE_ALIGNED;
    struct pagealloc pages;
    size_t ndescribed;        /* pages whose descriptors are ready: the grown ones or more */
    size_t on_way;            /* pages that are out while the OS takes or backs their memory */
    bool tell_low;            /* ring when few free pages are backed (populate.h) */
    bool low_is_meant;        /* all free pages have been given back since the last ring */
    aword *free_sides[CLASS_SIDE_MAX]; /* side blocks without a span; linked, metadata memory */

    /* one thread at a time gives memory back, and holds this while the OS does it */
    struct lock scavenging CACHE_ALIGNED;
    uint64_t *split;          /* lock: scavenging: bit per chunk: it shall have small pages */
    bool release_refused;     /* lock: scavenging: the OS has refused, and that has been said */
    ahalf low;                /* futex: how often few free pages were backed, since asked */

    /* atomic, bytes: what mheap_counted shall stay below, if giving back free pages helps; and
       what it must not exceed.  UINT64_MAX: no such thing */
    aword backed_soft, backed_hard;
    aword external; /* atomic, bytes: what the host has reported; counts as backed */

    aword sample_rate; /* atomic: bytes between two samples of a profile, on average; 0: none */

    /* sweep (mcentral.h) */
    ahalf sweepgen CACHE_ALIGNED; /* atomic: even; the coordinator adds 2 after H5 */
    ahalf sweepers;      /* atomic: sweeps in progress */
    ahalf sweep_cursor;  /* atomic: mcentral where the next sweeper looks first */
    ahalf ncentrals;     /* atomic: registered mcentrals; pairs: central.publish */
    ahalf unswept;       /* atomic: a hint: H6 is complete, and dead spans hold pages */
    struct mcentral **centrals; /* [MHEAP_CENTRALS_MAX]; entries are const once published */

    /* counters, atomic sums (bytes unless said) */
    aword live CACHE_ALIGNED;  /* marked by the last cycle + allocated since */
    aword in_use;              /* bytes of pages in spans */
    aword released;            /* bytes of pages that are not backed: free ones, and dropped */
    aword scavenged[SCAVENGERS]; /* bytes given back to the OS, by who */
    aword scavenge_ns[SCAVENGERS]; /* CPU time of that */
    aword populated;           /* bytes backed ahead of need */
    aword dropped;             /* bytes of `released` in spans: SPAN_RELEASED and SPAN_GUARDED */
    aword dropped_live;        /* bytes that drops have taken off live */
    aword grown;               /* bytes of address space made ready */
    aword described;           /* bytes of descriptors made ready */
    aword large_allocs, large_alloc_bytes, large_frees, large_free_bytes;
    aword swept_spans, freed_spans;
    aword small_frees[NUM_CLASSES];  /* objects */
    aword small_spans[NUM_CLASSES];  /* spans there are */
};

/*
 * Reserves address space (reserve_bytes, halving down to 64 MiB until the OS agrees) and
 * prepares an empty heap.  False without memory, and then nothing is left behind.
 */
bool gcrt_mheap_init(struct mheap *h, struct os *os, struct persist *persist,
        size_t reserve_bytes);
/* Gives everything back; no span may be used afterwards. */
void gcrt_mheap_finish(struct mheap *h);

/* Bytes of the heap's range with memory behind them.  A racy difference, never negative. */
static inline uint64_t
mheap_backed(const struct mheap *h)
{
    uint64_t released = aword_load_acquire(&h->released); /* pairs with nothing: before grown */
    uint64_t grown = aword_load_relaxed(&h->grown);

    return grown > released ? grown - released : 0;
}

/* Bytes that may make a cycle due: of the heap and the host's.  A sum of racy deltas may dip. */
static inline uint64_t
mheap_live(const struct mheap *h)
{
    uint64_t live = aword_load_relaxed(&h->live);

    return (live >> 63 ? 0 : live) + aword_load_relaxed(&h->external);
}

/* What the bounds are for: those, their descriptors, and what the host holds beside the heap. */
static inline uint64_t
mheap_counted(const struct mheap *h)
{
    return mheap_backed(h) + aword_load_relaxed(&h->described)
        + aword_load_relaxed(&h->external);
}

/* No central can be registered any more. */
static inline bool
mheap_is_full(const struct mheap *h)
{
    return ahalf_load_relaxed(&h->ncentrals) == MHEAP_CENTRALS_MAX;
}

/* Gives c an index and makes sweeps see it.  RANK_KIND held by the caller.  False: full. */
bool gcrt_mheap_register(struct mheap *h, struct mcentral *c);

/*
 * A span of fresh slots for c, swept in this cycle and owned by the caller; NULL without
 * memory.  Small: all slots free; the pages come from the caller's page cache.  Large: one
 * allocated object of `bytes`.
 */
struct mspan *gcrt_mheap_alloc_small(struct mheap *h, struct mcentral *c, unsigned sweepgen,
        struct pagecache *cache);
struct mspan *gcrt_mheap_alloc_large(struct mheap *h, struct mcentral *c, size_t bytes,
        unsigned sweepgen);
/* The pages belong to no span any more; for gcrt_mheap_free and gcrt_drop_free. */
void gcrt_mheap_unlink(struct mheap *h, struct mspan *s, size_t npages);
/*
 * Makes room for npages more in one piece at the end of the grown range, a whole step or what is
 * asked for; false if the OS refuses.  Lock: heap.
 */
bool gcrt_mheap_grow_locked(struct mheap *h, size_t npages);
/* Gives back what is left of a P's window of pages. */
void gcrt_mheap_flush_cache(struct mheap *h, struct pagecache *cache);
/* The span ends; its pages become free.  The caller owns it and it is in no set. */
void gcrt_mheap_free(struct mheap *h, struct mspan *s);
/*
 * The same for one of many: the pages of a small span gather in the window, where those of its
 * neighbours join them, and are free when that is full or flushed.  Zeroed is an empty one.
 */
void gcrt_mheap_free_into(struct mheap *h, struct mspan *s, struct pagecache *window);
void gcrt_mheap_flush_freed(struct mheap *h, struct pagecache *window);

/* ---- addresses ---- */

/*
 * What turns addresses into spans, constant for the heap's life.  Taken by value, so that a loop
 * with atomic operations keeps it in registers: behind each of them a compiler reads memory anew.
 */
struct spanmap {
    uintptr_t base;
    struct mspan *spans;
};

static inline struct spanmap
mheap_map(const struct mheap *h)
{
    return (struct spanmap){ h->base, h->spans };
}

static inline uintptr_t
spanmap_start(struct spanmap map, const struct mspan *s)
{
    return map.base + ((uintptr_t)(s - map.spans) << PAGE_SHIFT);
}

/* Of a large span that starts at that page, the page after its page i that says so itself. */
static inline size_t
span_next_linked(size_t page, size_t i)
{
    return i + ((page + i) % SPAN_GROUP == 0 ? SPAN_GROUP : 1);
}

/* The large span that a page belongs to which says that it is in none, or NULL. */
struct mspan *gcrt_spanmap_in_group(struct spanmap map, uintptr_t offset);

/* The in-use span at an offset from the base within what is grown, or NULL. */
static inline struct mspan *
spanmap_at(struct spanmap map, uintptr_t offset)
{
    struct mspan *s = &map.spans[offset >> PAGE_SHIFT];
    unsigned head = ahalf_load_acquire(&s->head); /* pairs: span.publish */

    if (LIKELY((head & SPAN_STATE) >= SPAN_SMALL))
        return s;
    if ((head & SPAN_STATE) == SPAN_FREE)
        return gcrt_spanmap_in_group(map, offset);
    s -= head >> 2;
    return span_state(s) >= SPAN_SMALL ? s : NULL;
}

/* Index of the object that addr lies in; nelems or more if it lies behind the last. */
static inline size_t
spanmap_index(struct spanmap map, const struct mspan *s, uintptr_t addr)
{
    uintptr_t offset = addr - spanmap_start(map, s);

    if (UNLIKELY(s->sizeclass == CLASS_LARGE))
        return offset < s->alloc.large.bytes ? 0 : 1;
    return (size_t)((offset * s->divmagic) >> 32);
}

static inline uintptr_t
spanmap_object(struct spanmap map, const struct mspan *s, size_t index)
{
    return spanmap_start(map, s) + index * gcrt_class_bytes[s->sizeclass];
}

static inline struct mspan *
mheap_descriptor(const struct mheap *h, uintptr_t offset)
{
    return &h->spans[offset >> PAGE_SHIFT];
}

static inline uintptr_t
span_start(const struct mheap *h, const struct mspan *s)
{
    return spanmap_start(mheap_map(h), s);
}

/* Could addr point into the heap at all?  The first filter of every word. */
static inline bool
mheap_contains(const struct mheap *h, uintptr_t addr)
{
    return addr - h->base < aword_load_acquire(&h->limit); /* pairs: heap.grow */
}

/* The in-use span that addr lies in (perhaps beyond its last object), or NULL. */
static inline struct mspan *
mheap_span_of(const struct mheap *h, uintptr_t addr)
{
    return mheap_contains(h, addr) ? spanmap_at(mheap_map(h), addr - h->base) : NULL;
}

static inline size_t
span_object_index(const struct mheap *h, const struct mspan *s, uintptr_t addr)
{
    return spanmap_index(mheap_map(h), s, addr);
}

/* mheap_find_object for a span that has, or had a moment ago, its bits in a side block. */
struct mspan *gcrt_mheap_find_in_side(
        const struct mheap *h, struct mspan *s, uintptr_t addr, size_t *index);

/*
 * The span and *index of the allocated object that addr points into, or NULL.  Any word: if it
 * points into a live object the answer is sure; else that span may end meanwhile and become
 * another, and the answer is of one of its moments.
 */
static inline struct mspan *
mheap_find_object(const struct mheap *h, uintptr_t addr, size_t *index)
{
    struct mspan *s = mheap_span_of(h, addr);
    size_t i;

    if (s == NULL)
        return NULL;
    if (UNLIKELY(span_has_side(s)))
        return gcrt_mheap_find_in_side(h, s, addr, index);
    *index = i = span_object_index(h, s, addr);
    if (i >= s->nelems)
        return NULL;
    /* pairs: run.publish */
    return i < ahalf_load_acquire(&s->freeindex) || span_test(s->alloc.bits, i) ? s : NULL;
}

/* Does addr, if it is one past the end of an object, perhaps mean that object? */
static inline bool
mheap_may_end_at(const struct mheap *h, uintptr_t addr)
{
    const struct mspan *s = mheap_span_of(h, addr - 1);

    return s != NULL && s->open_end;
}

static inline uintptr_t
span_object(const struct mheap *h, const struct mspan *s, size_t index)
{
    return spanmap_object(mheap_map(h), s, index);
}

#endif
