/* SPDX-License-Identifier: MIT */
#ifndef GCRT_POOL_H
#define GCRT_POOL_H

#include <gcrt/thread.h>
#include <gcrt/type.h>

GC_IMPL_BEGIN

/*
 * Pools of reusable objects, after Go's sync.Pool (sync/pool.go): each P has a rack of its own
 * and a deque that others steal from.  The collector empties pools: an item that nobody has
 * taken when a cycle starts is put aside, and when the next one starts it is let go, so it is
 * gone when the second cycle that starts after the put is complete.  Near a memory limit, and
 * when memory has run out, a cycle lets go of everything at once.
 *
 * Get and put are for attached threads of the pool's heap, inside; elsewhere they are a fatal
 * line.  docs/pools.md has the rest.
 */

/* reset and drop get the item and gc_pool_options.arg. */
typedef void gc_pool_item_fn(void *item, void *arg);

typedef struct gc_pool_options {
    const char *name;       /* for reports; borrowed until gc_pool_destroy; NULL: "unnamed" */
    const gc_type *type;    /* items are single objects of this type ... */
    size_t item_bytes;      /* ... or, without a type, so many bytes without pointers; with
                               make: what an item counts for */
    /* Makes an item where none is there, NULL: none can be made; NULL: gc_alloc. */
    void *(*make)(void *arg);
    gc_pool_item_fn *reset; /* NULL, or called by gc_pool_put, before the item is in the pool */
    gc_pool_item_fn *drop;  /* NULL, or called for each item that the pool lets go of */
    void *arg;              /* borrowed; handed to the functions */
    size_t max_items;       /* never hold more; 0: no bound */
    size_t max_bytes;       /* never hold more, by type or item_bytes; 0: no bound */
} gc_pool_options;

/* Sums since gc_pool_create, but items and bytes, which are what the pool holds. */
typedef struct gc_pool_stats {
    uint64_t hits;          /* gets out of what the thread has of its own */
    uint64_t shared_hits;   /* ... out of its own deque */
    uint64_t stolen;        /* ... out of another P's deque */
    uint64_t victim_hits;   /* ... out of what the last cycle has put aside */
    uint64_t misses;        /* gets that found nothing */
    uint64_t refused;       /* puts that a bound, or memory, did not allow */
    uint64_t dropped;       /* items that cycles, and gc_pool_destroy, let go of */
    uint64_t items, bytes;  /* held now; metrics leave out those that threads keep themselves */
} gc_pool_stats;

typedef struct gc_pool gc_pool;

/*
 * A pool of the heap (NULL: the caller's).  *opt is copied.  NULL, and gc_last_error() says
 * why: GC_ERR_INVAL (no size, or one of type and item_bytes too many), GC_ERR_NOMEM,
 * GC_ERR_DETACHED.  Attached threads of that heap, inside.
 */
GC_API GC_MUST_CHECK gc_pool *gc_pool_create(gc_heap *heap, const gc_pool_options *opt);

/*
 * Ends the pool; drop is called for what it holds, by this thread, and has returned for
 * every item.  Nobody else may use the pool any more.  NULL is ignored.  Attached threads,
 * inside; not by the pool's own functions.  A heap that is destroyed forgets its pools, and
 * calls no drop.
 */
GC_API void gc_pool_destroy(gc_pool *pool);

/* Any thread; of what other threads do meanwhile it may see a part. */
GC_API void gc_pool_get_stats(const gc_pool *pool, gc_pool_stats *ret);

/* What gc_pool_get does without an item in the rack; what gc_pool_put does without room. */
GC_API GC_MUST_CHECK void *gc_impl_pool_get(gc_pool *pool);
GC_API void gc_impl_pool_put(gc_pool *pool, void *item);

/* ---- reserved; layout may change in any release ---- */

struct gc_pool {
    uint32_t gc_impl_index;
};

#define GC_IMPL_RACK_SLOTS 16 /* a power of two */

/*
 * A P's rack of one pool: a queue of items.  Gets and puts move different ends of it, so neither
 * waits for what the other has just stored.  While busy is set the thread answers no
 * handshake, as if it were critical; it lies here because stores to one cache line cost half of
 * stores to two by turns.
 */
struct gc_impl_rack {
    uint64_t limit; /* items that gc_pool_put puts without a call; 0: always calls */
    uint64_t head;  /* gets; runs freely */
    uint64_t tail;  /* the queue's end; runs freely */
    volatile uint32_t busy;
    uint32_t unused;
    void *items[GC_IMPL_RACK_SLOTS];
};

/*
 * An item: one that was put before, as it was put, or a new one.  Without make a new one is
 * zeroed, and out of memory is what gc_alloc makes of it; with make it is what make returns.
 *
 * The fast path takes no lock, no atomic operation and no barrier.  First it looks at the items
 * that the thread keeps itself, of the pool that it uses most.  They are roots as local
 * variables are, and a handshake may come between any two instructions; so a put stores the item
 * before the height, and a get reads it before (src/gc/poolhot.c).  Then at the rack, whose
 * slots are roots as handles are: a thread whose barrier is on finds none (nracks is 0), or an
 * empty one, and so does one that is outside.
 */
GC_INLINE GC_MUST_CHECK void *
gc_pool_get(gc_pool *pool)
{
    struct gc_impl_rack *rack;
    uint64_t head, n;
    void *item;

    if (GC_LIKELY(pool == gc_impl_self.hot_pool)) {
        n = gc_impl_self.hot_n;
        item = gc_impl_self.hot_items[n % GC_IMPL_HOT_UNIT];
        if (GC_LIKELY(item != 0)) {
            __atomic_store_n(&gc_impl_self.hot_n, n + GC_IMPL_HOT_UNIT - 1, __ATOMIC_RELAXED);
            return item;
        }
    }
    if (GC_LIKELY(pool->gc_impl_index < gc_impl_self.nracks)) {
        rack = gc_impl_self.racks[pool->gc_impl_index];
        rack->busy = 1;
        __asm__ volatile("" ::: "memory");
        head = rack->head;
        if (GC_LIKELY(head != rack->tail)) {
            item = rack->items[head % GC_IMPL_RACK_SLOTS];
            __atomic_store_n(&rack->head, head + 1, __ATOMIC_RELAXED);
            __asm__ volatile("" ::: "memory");
            rack->busy = 0;
            return item;
        }
        rack->busy = 0;
    }
    return gc_impl_pool_get(pool);
}

/*
 * Gives an item to the pool, which may give it to anybody or let go of it: the caller must
 * not use it any more.  item is the start of an object of the pool's heap, of the pool's type
 * or size; it need not have come from the pool.  NULL is ignored.  reset runs first, on this
 * thread; if a bound refuses the item, drop runs, on this thread too.
 */
GC_INLINE void
gc_pool_put(gc_pool *pool, void *item)
{
    struct gc_impl_rack *rack;
    uint64_t tail, n;

    if (GC_LIKELY(pool == gc_impl_self.hot_pool)) {
        n = gc_impl_self.hot_n;
        if (GC_LIKELY(n % GC_IMPL_HOT_UNIT < GC_IMPL_HOT_ITEMS)) {
            gc_impl_self.hot_items[n % GC_IMPL_HOT_UNIT + 1] = item;
            __atomic_store_n(&gc_impl_self.hot_n, n + 1, __ATOMIC_RELAXED);
            return;
        }
    }
    if (GC_LIKELY(pool->gc_impl_index < gc_impl_self.nracks && item != 0)) {
        rack = gc_impl_self.racks[pool->gc_impl_index];
        rack->busy = 1;
        __asm__ volatile("" ::: "memory");
        tail = rack->tail;
        if (GC_LIKELY(tail - rack->head < rack->limit)) {
            __atomic_store_n(&rack->items[tail % GC_IMPL_RACK_SLOTS], item, __ATOMIC_RELAXED);
            __atomic_store_n(&rack->tail, tail + 1, __ATOMIC_RELAXED);
            __asm__ volatile("" ::: "memory");
            rack->busy = 0;
            return;
        }
        rack->busy = 0;
    }
    gc_impl_pool_put(pool, item);
}

/* ---- buffers ---- */

/*
 * Buffers of bytes without pointers, in pools by powers of two from min_bytes to max_buffer.
 */
typedef struct gc_buffer_pool gc_buffer_pool;

typedef struct gc_buffer_pool_options {
    const char *name;  /* as gc_pool_options.name */
    size_t min_bytes;  /* a power of two, >= 16; 0: 256 */
    size_t max_buffer; /* a power of two, at most 1 GiB; 0: 1 MiB; larger ones are not kept */
    size_t max_bytes;  /* never hold more, an equal share for each size; 0: no bound */
} gc_buffer_pool_options;

/* NULL as gc_pool_create does; opt NULL: all defaults.  Attached threads, inside. */
GC_API GC_MUST_CHECK gc_buffer_pool *gc_buffer_pool_create(gc_heap *heap,
        const gc_buffer_pool_options *opt);
/* As gc_pool_destroy. */
GC_API void gc_buffer_pool_destroy(gc_buffer_pool *pool);

/*
 * A buffer of at least so many bytes, whose contents are anything.  gc_usable_size says how
 * many there are.  Out of memory is what gc_alloc_bytes makes of it.  Attached, inside.
 */
GC_API GC_RETURNS_OBJECT void *gc_pool_get_buffer(gc_buffer_pool *pool, size_t bytes);
/*
 * Any object without pointers of the pool's heap, by its start.  Kept if its size is one of
 * the pool's; else it is garbage.  NULL is ignored.
 */
GC_API void gc_pool_put_buffer(gc_buffer_pool *pool, void *buffer);

/* Sums over all sizes.  Gets and puts of sizes that are not kept are misses and refused. */
GC_API void gc_buffer_pool_get_stats(const gc_buffer_pool *pool, gc_pool_stats *ret);

GC_IMPL_END

#endif
