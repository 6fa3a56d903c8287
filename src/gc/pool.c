/* SPDX-License-Identifier: MIT */
/*
 * Pools of reusable objects.
 *
 * Purpose: get and put at the cost of a thread's own free list, and nothing kept for long.
 * Place: the host calls it; it calls poolring, malloc, barrier; poolturn empties pools.
 *
 * Each P has a part of each pool: a rack of up to 16 items, which only its owner touches, and
 * a ring of more, from which others steal.  A get looks in its own rack, its own ring, others'
 * rings, then in what the last turn put aside, own rack, own ring, others' rings.  A put that
 * finds the rack full moves half of it to the ring.  That is sync.Pool's order (sync/pool.go),
 * whose private slot has become a rack: it makes the ring's atomic operations rare.
 *
 * Before all that come the items that a thread keeps itself, of one pool (poolhot.c).
 *
 * Soundness.  Rack slots and the words that point to rings are roots like handles: collected
 * after H3 by the coordinator, changed with the barrier.  A put is a store (shaded as new until
 * the thread has scanned its stack), a get or a steal an exchange with NULL (what is taken is
 * shaded as old).  Where the barrier is off that is nothing but the store, which the inline
 * halves make while the rack is busy, when no handshake is answered.  One that is about to
 * begin when H1 is answered finds the rack empty and closed, because the turn has left it so
 * (poolturn.c), and the next one finds no racks, as long as the barrier is on.
 *   - A thread that has scanned its stack takes from a P whose owner has not: deletion, so
 *     shaded by the thief.
 *   - It puts: what it puts is on its stack, shaded, born black, or in a place whose overwriting
 *     shades; the root is collected later than all that, or not at all, and need not be.
 *   - Items that move, from rack to ring and back, are shaded as if taken, so a collection
 *     that meets neither the old place nor the new one has them all the same.
 * Nobody reads a place of a pool but to take what is there.  So the turn may drop items
 * without a shade (poolturn.c).
 *
 * Bounds.  What racks, victims and the thread itself may hold is reserved when a part is made,
 * rings are counted as they change; the sum of both never exceeds the pool's bound.
 *
 * Invariants: I-critical.  No host function runs in a critical section or under a lock.
 * Concurrency: a part belongs to its P's owner but for the rings' tails; parts and P tables are
 * added under RANK_POOLS, where turns and create and destroy are as well.
 * Cost: inline about what a free list costs (docs/pools.md); here some 20 ns, half a rack at a
 * time.
 */
#include "gc/pool.h"

#include "gc/barrier.h"
#include "gc/error.h"
#include "gc/malloc.h"
#include "gc/pooldebug.h"
#include "gc/wbcheck.h"

#include <gcrt/alloc.h>
#include <gcrt/precise.h>

#include <string.h>


#define RING_SHIFT      6
#define RING_SHIFT_TINY 1
#define RING_SHIFT_MAX  24
#define FORK_PAGE       4096 /* or a multiple of it */
/* A rack holds about so many bytes of items, from 1 to all of its slots. */
#define RACK_BYTES ((size_t)16 << 10)
/* The same for what a thread keeps itself. */
#define HOT_BYTES ((size_t)64 << 10)

struct pool *
gcrt_pool_check(gc_pool *public_, const char *caller)
{
    struct pool *pool = container_of_(public_, struct pool, pub);

    if (UNLIKELY(aword_load_relaxed(&pool->state) != POOL_LIVE))
        gcrt_fatal("%s: pool %p has been destroyed", caller, (const void *)public_);
    return pool;
}

struct gcrt_mutator *
gcrt_pool_self(const struct pool *pool, const char *caller)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);

    if (UNLIKELY(m->heap != pool->heap))
        gcrt_fatal("%s: pool %s is another heap's", caller, pool->options.name);
    return m;
}

/* ---- parts ---- */

/* The P's table gets room for the index.  False without memory. */
static bool
grow_table(struct gcrt_mutator *m, uint32_t index)
{
    struct p *p = m->p;
    uint32_t n = p->nracks == 0 ? 16 : p->nracks;
    struct gc_impl_rack **table;

    while (n <= index)
        n *= 2;
    table = gcrt_persist_alloc(&m->heap->persist, n * sizeof(struct gc_impl_rack *));
    if (table == NULL)
        return false;
    for (uint32_t i = 0; i < n; i++)
        table[i] = i < p->nracks ? p->racks[i] : &p->no_rack;
    p->racks = table;
    p->nracks = n;
    gcrt_mutator_show_runs(m);
    return true;
}

/*
 * So many items may be where they are not counted.  Who claims adds first and looks then, as we
 * do, so of two at once at least one sees the other.
 */
static bool
reserve(struct pool *pool, uint64_t n)
{
    uint64_t before = aword_add_full(&pool->reserved, n); /* pairs: pool.bound */

    if (before + n + aword_load_full(&pool->shared) <= pool->max)
        return true;
    (void)aword_add_full(&pool->reserved, (uint64_t)0 - n);
    return false;
}

/* How the part begins for the pool as it is now. */
static void
start_part_locked(struct pool *pool, struct pool_part *part)
{
    uint64_t slots = ((uint64_t)pool->cap + pool->hot_cap) * 2; /* and as many victims */

    part->cap = part->hot_cap = 0;
    part->shut = false;
    if (reserve(pool, slots)) {
        part->cap = pool->cap;
        part->hot_cap = pool->hot_cap;
    }
    gcrt_pool_open_rack(pool, part);
}

/*
 * Memory for a part whose rack lies in one page of the system's.  A child of fork sees each page
 * of another thread's memory as of its own moment; in one page a slot is never older than the
 * end of the queue that tells of it.
 */
static struct pool_part *
new_part(struct gc_heap *heap)
{
    struct pool_part *part;
    uintptr_t first, last;

    do {
        part = gcrt_persist_alloc(&heap->persist, sizeof(*part));
        first = (uintptr_t)&part->rack;
        last = first + sizeof(part->rack) - 1;
    } while (part != NULL && first / FORK_PAGE != last / FORK_PAGE);
    return part;
}

static struct pool_part *
add_part(struct gcrt_mutator *m, struct pool *pool)
{
    struct gc_heap *heap = m->heap;
    struct pool_part *part = NULL;

    gcrt_lock_acquire(&heap->pools.lock);
    if (pool->pub.gc_impl_index < m->p->nracks || grow_table(m, pool->pub.gc_impl_index))
        part = new_part(heap);
    if (part != NULL) {
        start_part_locked(pool, part);
        part->next = pool->parts;
        __atomic_store_n(&pool->parts, part, __ATOMIC_RELEASE); /* pairs: pool.parts */
        m->p->racks[pool->pub.gc_impl_index] = &part->rack;
    }
    gcrt_lock_release(&heap->pools.lock);
    return part;
}

struct pool_part *
gcrt_pool_part(const struct p *p, const struct pool *pool)
{
    uint32_t index = pool->pub.gc_impl_index;

    if (index >= p->nracks || p->racks[index] == &p->no_rack)
        return NULL;
    return container_of_(p->racks[index], struct pool_part, rack);
}

/* The part of m's P, or NULL without memory.  Critical. */
static struct pool_part *
part_of(struct gcrt_mutator *m, struct pool *pool)
{
    struct pool_part *part = gcrt_pool_part(m->p, pool);

    return LIKELY(part != NULL) ? part : add_part(m, pool);
}

/* ---- the places ---- */

/* The last of *n items, or 0. */
static uintptr_t
pop(struct gcrt_mutator *m, void **items, uint32_t *n)
{
    uint32_t left = __atomic_load_n(n, __ATOMIC_RELAXED);
    uintptr_t item;

    if (left == 0)
        return 0;
    item = slot_load(&items[left - 1]);
    pool_shade(m, &items[left - 1], item, 0);
    __atomic_store_n(n, left - 1, __ATOMIC_RELAXED);
    return item;
}

static void
count(aword *counter, uint64_t n)
{
    aword_add_owner(counter, n);
}

/* One item left a ring. */
static uintptr_t
leave_ring(struct pool *pool, uintptr_t item)
{
    if (item != 0)
        (void)aword_add_relaxed(&pool->shared, (uint64_t)-1);
    return item;
}

/* ---- get ---- */

/* The rack is empty: an item of the own ring, and some more into the rack. */
static uintptr_t
pop_ring(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part)
{
    uintptr_t item, more;

    if (part->ring == NULL)
        return 0;
    item = leave_ring(pool, gcrt_poolring_pop(m, part->ring));
    for (uint32_t i = 0; item != 0 && i < part->cap / 2; i++) {
        more = leave_ring(pool, gcrt_poolring_pop(m, part->ring));
        if (more == 0)
            break;
        rack_push(m, &part->rack, more);
    }
    return item;
}

/* From another part; what is primary comes with some more into the rack. */
static uintptr_t
steal_from(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part,
        struct pool_part *from, bool victims)
{
    struct pool_ring *ring = __atomic_load_n(victims ? &from->victim_ring : &from->ring,
            __ATOMIC_ACQUIRE); /* pairs: pool.rings */
    uintptr_t item, more;

    if (ring == NULL)
        return 0;
    item = leave_ring(pool, gcrt_poolring_steal(m, ring));
    for (uint32_t i = 0; item != 0 && !victims && i < part->cap / 2; i++) {
        more = leave_ring(pool, gcrt_poolring_steal(m, ring));
        if (more == 0)
            break;
        rack_push(m, &part->rack, more);
    }
    return item;
}

/* From the part behind ours, and round. */
static uintptr_t
steal(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part, bool victims)
{
    struct pool_part *from = part->next;
    uintptr_t item = 0;

    for (;; from = from->next) {
        if (from == NULL)
            from = __atomic_load_n(&pool->parts, __ATOMIC_ACQUIRE); /* pairs: pool.parts */
        if (from == part)
            return 0;
        item = steal_from(m, pool, part, from, victims);
        if (item != 0)
            return item;
    }
}

static uintptr_t
take_victim(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part)
{
    uintptr_t item = pop(m, part->victims, &part->nvictims);

    if (item != 0 || aword_load_relaxed(&pool->shared) == 0)
        return item;
    if (part->victim_ring != NULL)
        item = leave_ring(pool, gcrt_poolring_steal(m, part->victim_ring));
    return item != 0 ? item : steal(m, pool, part, true);
}

/* Any item, by the order of the head comment; 0 if there is none.  Critical. */
static uintptr_t
take(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part)
{
    uintptr_t item = gcrt_pool_become_hot(m, pool, part) ? gcrt_pool_hot_get(m, part) : 0;
    aword *counter = NULL;

    if (item == 0)
        item = rack_get(m, &part->rack);
    if (item != 0)
        return item;
    if (aword_load_relaxed(&pool->shared) != 0) {
        item = pop_ring(m, pool, part);
        counter = &part->shared_hits;
        if (item == 0) {
            item = steal(m, pool, part, false);
            counter = &part->stolen;
        }
    }
    if (item == 0) {
        item = take_victim(m, pool, part);
        counter = &part->victim_hits;
    }
    count(item != 0 ? counter : &part->misses, 1);
    return item;
}

/* ---- new items ---- */

static void *
make(struct pool *pool)
{
    const gc_pool_options *opt = &pool->options;

    if (opt->make != NULL)
        return opt->make(opt->arg);
    return opt->type != NULL ? gc_alloc(opt->type) : gc_alloc_bytes(opt->item_bytes);
}

void *
gc_impl_pool_get(gc_pool *public_)
{
    struct pool *pool = gcrt_pool_check(public_, "gc_pool_get");
    struct gcrt_mutator *m = gcrt_pool_self(pool, "gc_pool_get");
    struct pool_part *part;
    void *item = NULL;

    critical_enter();
    part = part_of(m, pool);
    if (LIKELY(part != NULL)) {
        item = (void *)take(m, pool, part);
    }
    m->own.result = item; /* perhaps nothing else holds it while we poll */
    critical_leave();
    if (item == NULL)
        return make(pool);
    if (UNLIKELY(m->heap->options.debug_pool != 0))
        gcrt_pooldebug_got(m, pool, item);
    m->own.result = NULL;
    return item;
}

/* ---- put ---- */

enum kept { KEPT, NO_RING, REFUSED };

/* n more items may be in rings. */
static bool
claim(struct pool *pool, uint64_t n)
{
    uint64_t before = aword_add_full(&pool->shared, n); /* pairs: pool.bound */

    if (LIKELY(before + n + aword_load_full(&pool->reserved) <= pool->max))
        return true;
    (void)aword_add_relaxed(&pool->shared, (uint64_t)0 - n);
    return false;
}

static bool
has_room(const struct pool_ring *ring, uint32_t n)
{
    return ring != NULL && poolring_count(ring) + n <= ring->mask + 1;
}

/* Half of the full rack goes to the ring. */
static enum kept
spill(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part)
{
    uint32_t half = (part->cap + 1) / 2, done = 0;
    uintptr_t item = 0;

    if (!has_room(part->ring, half))
        return NO_RING;
    if (!claim(pool, half))
        return REFUSED;
    while (done < half) {
        item = rack_take_back(m, &part->rack);
        if (!gcrt_poolring_push(m, part->ring, item))
            break;
        done++;
    }
    if (done < half) {
        rack_push(m, &part->rack, item);
        (void)aword_add_relaxed(&pool->shared, (uint64_t)0 - (half - done));
    }
    return done != 0 ? KEPT : NO_RING;
}

/* A pool without racks: straight into the ring. */
static enum kept
push_ring(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part, uintptr_t item)
{
    if (!has_room(part->ring, 1))
        return NO_RING;
    if (!claim(pool, 1))
        return REFUSED;
    if (gcrt_poolring_push(m, part->ring, item))
        return KEPT;
    (void)leave_ring(pool, item);
    return NO_RING;
}

void
gcrt_pool_add_victim(struct gcrt_mutator *m, struct pool_part *part, uintptr_t item)
{
    uint32_t n = part->nvictims;
    void **slot = &part->victims[n];

    if (n == part->cap + part->hot_cap) {
        count(&part->dropped, 1);
        return;
    }
    pool_shade(m, slot, 0, item);
    slot_store_relaxed(slot, item);
    __atomic_store_n(&part->nvictims, n + 1, __ATOMIC_RELEASE); /* pairs: pool.rack */
}

void
gcrt_pool_hand_over(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part,
        uintptr_t item)
{
    if (rack_count(&part->rack) < part->cap)
        rack_push(m, &part->rack, item);
    else if (push_ring(m, pool, part, item) != KEPT)
        gcrt_pool_add_victim(m, part, item);
}

/* Critical. */
static enum kept
keep(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part, uintptr_t item)
{
    enum kept kept = KEPT;

    if (gcrt_pool_become_hot(m, pool, part) && gcrt_pool_hot_put(m, item))
        return KEPT;
    if (part->cap == 0)
        return push_ring(m, pool, part, item);
    if (rack_count(&part->rack) == part->cap)
        kept = spill(m, pool, part);
    if (kept == KEPT)
        rack_push(m, &part->rack, item);
    return kept;
}

/* The items of the old ring move to the new one, which others see from then on.  Critical. */
static void
install_ring(struct gcrt_mutator *m, struct pool_part *part, struct pool_ring *ring)
{
    struct pool_ring *old = part->ring;
    uintptr_t item;

    if (old != NULL && old->mask >= ring->mask)
        return; /* the ring has changed in a turn */
    while (old != NULL && (item = gcrt_poolring_steal(m, old)) != 0)
        CHECK(gcrt_poolring_push(m, ring, item));
    pool_shade(m, &part->ring, (uintptr_t)old, (uintptr_t)ring);
    slot_store_release(&part->ring, (uintptr_t)ring); /* pairs: pool.rings */
}

/* A larger ring, or the first.  False without memory. */
static bool
add_ring(struct gcrt_mutator *m, struct pool *pool)
{
    unsigned shift = m->heap->options.debug_tiny ? RING_SHIFT_TINY : RING_SHIFT;
    struct pool_part *part;
    struct pool_ring *ring = NULL;
    GC_FRAME(ring);

    critical_enter();
    part = part_of(m, pool); /* which the caller has seen: there is one */
    while ((2u << shift) < part->cap)
        shift++;
    while (part->ring != NULL && ((uint64_t)1 << shift) <= part->ring->mask + 1)
        shift++;
    critical_leave();
    ring = shift > RING_SHIFT_MAX ? NULL : gcrt_poolring_new(m, shift);
    if (ring == NULL)
        return false;
    if (UNLIKELY(m->heap->wbcheck != NULL))
        gcrt_wbcheck_publish(m->heap, (uintptr_t)ring);
    critical_enter();
    install_ring(m, part, ring);
    critical_leave();
    return true;
}

static enum kept
try_to_keep(struct gcrt_mutator *m, struct pool *pool, void *item)
{
    enum kept kept = REFUSED;
    struct pool_part *part;

    critical_enter();
    part = part_of(m, pool);
    if (LIKELY(part != NULL)) {
        kept = keep(m, pool, part, (uintptr_t)item);
        if (kept == REFUSED)
            count(&part->refused, 1);
    }
    critical_leave();
    return kept;
}

static void
forget(struct gcrt_mutator *m, struct pool *pool, void *item)
{
    if (UNLIKELY(m->heap->options.debug_pool != 0))
        gcrt_pooldebug_got(m, pool, item);
    if (pool->options.drop != NULL)
        pool->options.drop(item, pool->options.arg);
}

static void
check_item(const struct gcrt_mutator *m, const struct pool *pool, const void *item)
{
    if (UNLIKELY(!mheap_contains(&m->heap->mheap, (uintptr_t)item) || (uintptr_t)item % 8 != 0))
        gcrt_fatal("gc_pool_put: pool %s: %p is no object of its heap", pool->options.name, item);
}

/*
 * A ring that is too small is made larger in between, without the lock of anything, so what
 * was found before need not be true after it.
 */
void
gc_impl_pool_put(gc_pool *public_, void *item)
{
    struct pool *pool = gcrt_pool_check(public_, "gc_pool_put");
    struct gcrt_mutator *m = gcrt_pool_self(pool, "gc_pool_put");
    enum kept kept;
    GC_FRAME(item);

    if (item == NULL)
        return;
    check_item(m, pool, item);
    if (pool->options.reset != NULL)
        pool->options.reset(item, pool->options.arg);
    if (UNLIKELY(m->heap->wbcheck != NULL))
        gcrt_wbcheck_publish(m->heap, (uintptr_t)item);
    if (UNLIKELY(m->heap->options.debug_pool != 0) && !gcrt_pooldebug_put(m, pool, item))
        return;
    do
        kept = try_to_keep(m, pool, item);
    while (kept == NO_RING && add_ring(m, pool));
    if (kept != KEPT)
        forget(m, pool, item);
}

/* ---- create ---- */

static const char *
complaint(const gc_pool_options *opt)
{
    if (opt == NULL)
        return "opt is NULL";
    if (opt->type != NULL && opt->type->magic != GC_IMPL_TYPE_MAGIC)
        return "type is no gc_type (bad magic)";
    if ((opt->type == NULL) == (opt->item_bytes == 0))
        return "one of type and item_bytes must be given, and not both";
    if (opt->type != NULL && opt->type->form == GC_FORM_FLEX && opt->make == NULL)
        return "items of a flexible type need make";
    return NULL;
}

/* What an item takes of the heap. */
static size_t
size_of_item(const gc_pool_options *opt)
{
    size_t bytes = opt->type != NULL ? opt->type->size : opt->item_bytes;

    if (bytes <= SMALL_MAX)
        return gcrt_class_bytes[class_of(bytes)];
    return bytes > SIZE_MAX - PAGE_SIZE ? bytes : align_up(bytes, PAGE_SIZE);
}

/* What makes up about so many bytes. */
static size_t
slots_for(const struct pool *pool, size_t bytes, size_t most)
{
    size_t n = bytes / aword_load_relaxed(&pool->item_bytes);

    if (pool->heap->options.debug_tiny)
        return 1;
    return n == 0 ? 1 : min_size(n, most);
}

static void
set_bounds(struct pool *pool)
{
    const gc_pool_options *opt = &pool->options;
    size_t bytes = aword_load_relaxed(&pool->item_bytes);
    uint64_t share;

    pool->max = opt->max_items != 0 ? opt->max_items : UINT64_MAX / 2;
    if (opt->max_bytes != 0)
        pool->max = min_size(pool->max, opt->max_bytes / bytes);
    share = pool->max / pool->heap->cpus / 4;
    pool->cap = (uint32_t)min_size(share, slots_for(pool, RACK_BYTES, RACK_ITEMS));
    pool->hot_cap = (uint32_t)min_size(share, slots_for(pool, HOT_BYTES, GC_IMPL_HOT_ITEMS));
    if (opt->drop != NULL || pool->heap->options.debug_pool != 0)
        pool->cap = pool->hot_cap = 0; /* poolturn.c; or: so every put and get is looked at */
}

/* A record that no pool uses, or a new one; NULL without memory. */
static struct pool *
take_record_locked(struct gc_heap *heap)
{
    struct pools *pools = &heap->pools;
    struct pool *pool = pools->free;

    if (pool != NULL) {
        pools->free = pool->next_free;
        return pool;
    }
    pool = gcrt_persist_alloc(&heap->persist, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->heap = heap;
    pool->pub.gc_impl_index = pools->count++;
    pool->next = pools->all;
    __atomic_store_n(&pools->all, pool, __ATOMIC_RELEASE); /* pairs: pool.publish */
    return pool;
}

static void
start_pool_locked(struct pool *pool, const gc_pool_options *opt)
{
    pool->options = *opt;
    if (opt->name == NULL)
        pool->options.name = "unnamed";
    aword_store_relaxed(&pool->item_bytes, size_of_item(opt));
    set_bounds(pool);
    memset(&pool->base, 0, sizeof(pool->base));
    gcrt_pool_sum(pool, &pool->base);
    aword_store_relaxed(&pool->reserved, 0);
    for (struct pool_part *part = pool->parts; part != NULL; part = part->next)
        start_part_locked(pool, part);
    aword_store_relaxed(&pool->state, POOL_LIVE);
}

gc_pool *
gc_pool_create(gc_heap *public_, const gc_pool_options *opt)
{
    const char *wrong = complaint(opt);
    struct gcrt_mutator *m = gc_impl_self.mutator;
    struct pool *pool;

    if (wrong != NULL) {
        (void)gcrt_error(GC_ERR_INVAL, "gc_pool_create: %s", wrong);
        return NULL;
    }
    if (m == NULL || m->heap != gcrt_heap_resolve(public_)) {
        (void)gcrt_error(GC_ERR_DETACHED, "gc_pool_create: the thread is not attached to the heap");
        return NULL;
    }
    (void)gcrt_mutator_self("gc_pool_create");
    critical_enter();
    gcrt_lock_acquire(&m->heap->pools.lock);
    pool = take_record_locked(m->heap);
    if (pool != NULL)
        start_pool_locked(pool, opt);
    gcrt_lock_release(&m->heap->pools.lock);
    critical_leave();
    if (pool == NULL) {
        (void)gcrt_error(GC_ERR_NOMEM, "gc_pool_create: out of memory");
        return NULL;
    }
    return &pool->pub;
}
