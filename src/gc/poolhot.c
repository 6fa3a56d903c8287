/* SPDX-License-Identifier: MIT */
/*
 * What a thread keeps itself, of the one pool that it uses most.
 *
 * Purpose: a get and a put at the cost of the thread's own free list, in every phase of a cycle.
 * Place: the inline halves (gcrt/pool.h) move items in and out; pool.c opens the stack of items
 * and takes over when it is empty or full; the turn (poolturn.c) shuts and clears it; own.c
 * visits it.
 *
 * A stack of up to 64 items in the thread's hot words.  Its height lies there too, with the
 * number of gets above it, in one word: processors remember what was just stored at an address
 * that does not depend on a load, and a get that follows a put then waits for less.  The slot
 * at the bottom is NULL for ever, so an item that is NULL is the test for an empty stack.
 *
 * Its items are roots of the thread's own (I-own-snapshot), as if they lay on the thread's stack:
 * no barrier, no critical section, open while marking.  A handshake may come between any two
 * instructions of a get or put, in the thread's signal handler.  Therefore:
 *   - Such an answer visits one slot above the height: a put has stored there what no register
 *     may hold any more.  What a get has taken is in a register, or in the slot still.  Other
 *     answers find no get or put half done, and visit no more than there is.
 *   - It moves no item and does not touch the height.  It shuts the stack, which at most one
 *     get or put misses, and sets slots to NULL.  A get that has its item already has it alone; one
 *     that has not calls, and so does the next.
 *   - All else is done by the thread itself, in the call that finds the stack shut: what was
 *     in it joins the P's victims, with the barrier, and it opens again.
 * A stack that is shut still at the next turn is cleared, and the pool is no more the thread's:
 * what is in it has been there for a whole cycle.  So items live as long here as anywhere.
 *
 * While the stack is shut the pool's rack is closed too: else puts that find room there would
 * never open it again.
 *
 * A pool's record is not used for another pool while it is the one of some thread (keepers),
 * so the address says enough.
 *
 * tests/model/pool.pml has all this, with thieves and a P that changes hands.
 *
 * Invariants: I-critical, I-own-snapshot.
 * Concurrency: the owner's; statistics read racily.  keepers: pools.lock.
 * Cost: inline some instructions (docs/pools.md); a cycle costs one call, and one more for
 * each item that is in use, out of the victims.
 */
#include "gc/pool.h"

#include "gc/barrier.h"

const struct gc_pool gcrt_no_pool;

static uint32_t
height(const struct gcrt_mutator *m)
{
    return (uint32_t)(m->self->hot_n % GC_IMPL_HOT_UNIT);
}

static uint64_t
gets(const struct gcrt_mutator *m)
{
    return m->self->hot_n / GC_IMPL_HOT_UNIT;
}

static void
set_height(struct gcrt_mutator *m, uint32_t n)
{
    __atomic_store_n(&m->self->hot_n, gets(m) * GC_IMPL_HOT_UNIT + n, __ATOMIC_RELAXED);
}

static uint32_t
bottom_of(const struct pool_part *part)
{
    return GC_IMPL_HOT_ITEMS - part->hot_cap;
}

bool
gcrt_pool_is_hot(const struct gcrt_mutator *m, const struct pool *pool)
{
    return m->hot.pool == pool && pool != NULL;
}

void
gcrt_pool_tell_hot(struct gcrt_mutator *m)
{
    uint64_t now = gets(m);

    if (m->hot.pool != NULL)
        aword_add_owner(&gcrt_pool_part(m->p, m->hot.pool)->hot_hits, now - m->hot.told);
    m->hot.told = now;
}

RACY_READER uint64_t
gcrt_pool_hot_sum(const struct gcrt_mutator *m, uint64_t *told_not)
{
    uint64_t word = __atomic_load_n(&m->self->hot_n, __ATOMIC_RELAXED), items = 0;
    uint32_t n = (uint32_t)(word % GC_IMPL_HOT_UNIT);

    for (uint32_t i = 1; i <= n && i <= GC_IMPL_HOT_ITEMS; i++)
        items += RACY_READ(&m->self->hot_items[i]) != 0;
    *told_not = word / GC_IMPL_HOT_UNIT - m->hot.told;
    return items;
}

void
gcrt_pool_show_hot(struct gcrt_mutator *m)
{
    m->self->hot_pool = m->hot.open ? &m->hot.pool->pub : &gcrt_no_pool;
}

static void
clear_from(struct gcrt_mutator *m, uint32_t i)
{
    for (; i <= GC_IMPL_HOT_ITEMS; i++)
        m->self->hot_items[i] = NULL;
}

static void
clear(struct gcrt_mutator *m)
{
    clear_from(m, 1);
}

static void
open(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part)
{
    clear(m);
    set_height(m, bottom_of(part));
    part->shut = false;
    gcrt_pool_open_rack(pool, part);
    m->hot.open = true;
    gcrt_pool_show_hot(m);
}

static void
shut(struct gcrt_mutator *m)
{
    m->hot.open = false;
    gcrt_pool_show_hot(m);
}

/* The pool is the thread's no more, whose hot words are as they were.  Its record may be free. */
static void
forget_locked(struct gcrt_mutator *m, struct pool_part *part)
{
    struct pool *pool = m->hot.pool;

    part->shut = false;
    gcrt_pool_open_rack(pool, part);
    m->hot.pool = NULL;
    if (--pool->keepers == 0)
        gcrt_pool_free_locked(pool);
}

static void
unkeep_locked(struct gcrt_mutator *m, struct pool_part *part)
{
    shut(m);
    forget_locked(m, part);
}

/* ---- the turn ---- */

/* How many items there were. */
static uint32_t
let_go(struct gcrt_mutator *m)
{
    uint64_t unused;
    uint32_t n = (uint32_t)gcrt_pool_hot_sum(m, &unused);

    clear(m);
    return n;
}

void
gcrt_pool_turn_hot_locked(struct gcrt_mutator *m, bool all)
{
    struct pool *pool = m->hot.pool;
    struct pool_part *part;

    if (pool == NULL) {
        clear(m); /* what a put has left that was half done when the last turn came */
        return;
    }
    gcrt_pool_tell_hot(m);
    part = gcrt_pool_part(m->p, pool);
    if (m->hot.open && !all && aword_load_relaxed(&pool->state) == POOL_LIVE) {
        shut(m);
        clear_from(m, height(m) + 2); /* what was got; a stack's scan may come by here */
        part->shut = true;
        gcrt_pool_open_rack(pool, part);
        return;
    }
    aword_add_owner(&part->dropped, let_go(m));
    unkeep_locked(m, part);
}

/* ---- the thread itself ---- */

/* The last item above the bottom, or 0; it is the caller's.  NULLs are what the host has put. */
static uintptr_t
take_back(struct gcrt_mutator *m, uint32_t bottom)
{
    uint32_t n = height(m);
    uintptr_t item = 0;

    while (n > bottom && item == 0)
        item = (uintptr_t)m->self->hot_items[n--];
    set_height(m, n);
    return item;
}

static void
put_aside(struct gcrt_mutator *m, struct pool_part *part)
{
    uintptr_t item;

    while ((item = take_back(m, 0)) != 0)
        gcrt_pool_add_victim(m, part, item);
}

/* It has no items, and none was taken since the last call. */
static bool
is_idle(const struct gcrt_mutator *m)
{
    uint64_t told_not;

    return gcrt_pool_hot_sum(m, &told_not) == 0 && told_not == 0;
}

static void
change(struct gcrt_mutator *m, struct pool *pool)
{
    gcrt_lock_acquire(&m->heap->pools.lock);
    if (m->hot.pool != NULL)
        unkeep_locked(m, gcrt_pool_part(m->p, m->hot.pool));
    m->hot.pool = pool;
    pool->keepers++;
    gcrt_lock_release(&m->heap->pools.lock);
}

static bool
may_become(const struct gcrt_mutator *m, const struct pool *pool, const struct pool_part *part)
{
    return part->hot_cap != 0 && pool->options.reset == NULL && m->heap->wbcheck == NULL
            && (m->hot.pool == NULL || is_idle(m));
}

bool
gcrt_pool_become_hot(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part)
{
    bool is = m->hot.pool == pool;

    if (LIKELY(is && m->hot.open)) {
        gcrt_pool_tell_hot(m);
        return true;
    }
    if (!is && !may_become(m, pool, part)) {
        gcrt_pool_tell_hot(m);
        return false;
    }
    gcrt_pool_tell_hot(m);
    if (is)
        put_aside(m, part);
    else
        change(m, pool);
    open(m, pool, part);
    return true;
}

uintptr_t
gcrt_pool_hot_get(struct gcrt_mutator *m, const struct pool_part *part)
{
    uintptr_t item = take_back(m, bottom_of(part));

    if (item != 0)
        m->self->hot_n += GC_IMPL_HOT_UNIT;
    return item;
}

bool
gcrt_pool_hot_put(struct gcrt_mutator *m, uintptr_t item)
{
    uint32_t n = height(m);

    if (n == GC_IMPL_HOT_ITEMS)
        return false;
    m->self->hot_items[n + 1] = (void *)item;
    set_height(m, n + 1);
    return true;
}

void
gcrt_pool_leave_locked(struct gcrt_mutator *m)
{
    struct pool *pool = m->hot.pool;
    struct pool_part *part;
    uintptr_t item;

    if (pool == NULL)
        return;
    gcrt_pool_tell_hot(m);
    part = gcrt_pool_part(m->p, pool);
    if (aword_load_relaxed(&pool->state) == POOL_LIVE) {
        while (m->hot.open && (item = take_back(m, 0)) != 0)
            gcrt_pool_hand_over(m, pool, part, item);
        put_aside(m, part); /* what was shut; with the rest it would stay a cycle longer */
    } else {
        aword_add_owner(&part->dropped, let_go(m)); /* the next pool has the same parts */
    }
    unkeep_locked(m, part);
}

void
gcrt_pools_leave(struct gcrt_mutator *m)
{
    gcrt_lock_acquire(&m->heap->pools.lock);
    gcrt_pool_leave_locked(m);
    gcrt_lock_release(&m->heap->pools.lock);
}

/* Its hot words lay in memory that may be another thread's now. */
void
gcrt_pools_lose(struct gcrt_mutator *m)
{
    gcrt_lock_acquire(&m->heap->pools.lock);
    if (m->hot.pool != NULL)
        forget_locked(m, gcrt_pool_part(m->p, m->hot.pool));
    gcrt_lock_release(&m->heap->pools.lock);
}
