/* SPDX-License-Identifier: MIT */
/*
 * Pools and the collector: what cycles do to them, and how they end.
 *
 * Purpose: nothing stays in a pool for more than two cycles; drop functions run.
 * Place: the first handshake of a cycle turns parts; roots visits them; the host destroys.
 *
 * The turn.  In its answer to H1, before its barrier is on, a mutator moves each part of its P
 * on by one generation: victims are let go of, and what is in rack and ring become victims.
 * For idle Ps the coordinator does the same when all have answered, as if they had mutators
 * that answer last.  So a turn's stores are those of mutators with their barrier off, before
 * H1 is complete, which may be plain.  A thread that takes an idle P just then, and is born
 * behind H1, leaves its parts for the next turn: what is in them stays a cycle longer.
 *
 * No shade is lost.  What is let go of was in places that nobody reads but to take what is
 * there: whoever did that has it on its stack, or shaded it; if nobody did, it is garbage, and
 * this cycle frees it.  A thief that still has the address of a ring that is let go of finds
 * it closed.  (tests/sim has thieves on either side of each handshake, and turns between
 * them.)
 *
 * With a drop function victims are not let go of: their ring becomes the part's waiting ring,
 * a root, for the runner.  While that is not empty the part does not turn, so a slow drop
 * function keeps items alive and loses none.  A rack would have to turn all the same, with
 * nowhere to go; so such pools have none.
 *
 * Racks while the barrier is on.  The inline halves test for it by finding racks at all, before
 * the rack is busy, so a handshake may come in between.  The turn leaves every rack empty
 * and closed (limit 0): they find nothing there, and call.  Racks open in H5, and when a P
 * becomes idle.  In between the slow halves use them, with the barrier.  A stop-the-world
 * heap has no barrier, and closes none.
 *
 * What a thread keeps itself the turn only shuts or clears (poolhot.c).
 *
 * Stop-the-world heaps: the same in their one handshake.  A part is turned at most once a
 * cycle; p->pool_turn says so.
 *
 * Concurrency: RANK_POOLS, taken in handlers too, where the thread holds no lock.  It is held
 * for some stores per part.  drop is called outside of it.
 * Cost: about 10 ns per part in each cycle, whatever is in it.
 */
#include "gc/pool.h"

#include "gc/barrier.h"
#include "gc/limit.h"
#include "gc/pooldebug.h"

#include <gcrt/precise.h>

#define EACH_PART(part, pool)                                             \
    (struct pool_part *part = __atomic_load_n(&(pool)->parts, __ATOMIC_ACQUIRE); part != NULL; \
            part = part->next) /* pairs: pool.parts */
#define EACH_POOL(pool, heap)                                             \
    (struct pool *pool = __atomic_load_n(&(heap)->pools.all, __ATOMIC_ACQUIRE); pool != NULL; \
            pool = pool->next) /* pairs: pool.publish */

void
gcrt_pools_init(struct gc_heap *heap)
{
    gcrt_lock_init(&heap->pools.lock, RANK_POOLS);
}

void
gcrt_pools_finish(struct gc_heap *heap)
{
    gcrt_lock_finish(&heap->pools.lock);
}

/* ---- the turn ---- */

static void
set_count(uint32_t *n, uint32_t value)
{
    __atomic_store_n(n, value, __ATOMIC_RELAXED);
}

static void
set_ring(struct pool_ring **at, struct pool_ring *ring)
{
    slot_store_release(at, (uintptr_t)ring); /* pairs: pool.rings */
}

static uint32_t
count_of(const uint32_t *n)
{
    return __atomic_load_n(n, __ATOMIC_ACQUIRE); /* pairs: pool.rack */
}

static void
forget_note(void *pool, uintptr_t item)
{
    gcrt_pooldebug_gone_locked(pool, (const void *)item);
}

static void
let_go_of_ring(struct pool *pool, struct pool_part *part, struct pool_ring **at)
{
    bool noted = pool->heap->options.debug_pool != 0;
    uint32_t n;

    if (*at == NULL)
        return;
    n = gcrt_poolring_close(*at, noted ? forget_note : NULL, pool);
    (void)aword_add_relaxed(&pool->shared, (uint64_t)0 - n);
    aword_add_owner(&part->dropped, n);
    set_ring(at, NULL);
}

/* Of pools with a drop function.  False: what the last turn left there is there still. */
static bool
victims_wait(struct pool *pool, struct pool_part *part)
{
    if (part->waiting_ring != NULL && poolring_count(part->waiting_ring) != 0)
        return false;
    set_ring(&part->waiting_ring, part->victim_ring);
    if (part->victim_ring != NULL)
        pool->heap->pools.said = true;
    return true;
}

static void
let_go_of_victims(struct pool *pool, struct pool_part *part)
{
    aword_add_owner(&part->dropped, part->nvictims);
    set_count(&part->nvictims, 0);
    let_go_of_ring(pool, part, &part->victim_ring);
}

static void
turn_part_locked(struct pool *pool, struct pool_part *part, bool all)
{
    if (pool->options.drop == NULL)
        let_go_of_victims(pool, part);
    else if (!victims_wait(pool, part))
        return; /* such pools have no racks */
    set_count(&part->nvictims, rack_move(&part->rack, part->victims));
    set_ring(&part->victim_ring, part->ring);
    set_ring(&part->ring, NULL);
    if (all && pool->options.drop == NULL)
        let_go_of_victims(pool, part);
}

/* The caller owns the P. */
static void
turn_p_locked(struct gc_heap *heap, struct p *p)
{
    p->pool_turn = heap->pools.turn;
    for (struct pool *pool = heap->pools.all; pool != NULL; pool = pool->next) {
        struct pool_part *part = gcrt_pool_part(p, pool);

        if (part != NULL && aword_load_relaxed(&pool->state) == POOL_LIVE)
            turn_part_locked(pool, part, heap->pools.all_generations);
    }
}

/*
 * An inline put that has found its rack, but has not looked into it, shall call: it has been
 * emptied, so a get calls anyway.
 */
static void
close_racks(struct p *p)
{
    for (uint32_t i = 0; i < p->nracks; i++)
        if (p->racks[i] != &p->no_rack)
            rack_write(&p->racks[i]->limit, 0);
}

void
gcrt_pools_turn(struct gcrt_mutator *m)
{
    struct gc_heap *heap = m->heap;

    if (m->p == NULL || m->p->nracks == 0)
        return;
    gcrt_lock_acquire(&heap->pools.lock);
    gcrt_pool_turn_hot_locked(m, heap->pools.all_generations);
    if (m->p->pool_turn != heap->pools.turn)
        turn_p_locked(heap, m->p);
    if (!heap_stops(heap))
        close_racks(m->p);
    gcrt_lock_release(&heap->pools.lock);
}

/* ---- racks open and close ---- */

void
gcrt_pool_open_rack(const struct pool *pool, struct pool_part *part)
{
    bool closed = aword_load_relaxed(&pool->state) != POOL_LIVE || pool->options.reset != NULL
            || part->shut;

    rack_write(&part->rack.limit, closed ? 0 : part->cap);
}

void
gcrt_pools_open_locked(struct gc_heap *heap, struct p *p)
{
    for (struct pool *pool = heap->pools.all; pool != NULL; pool = pool->next) {
        struct pool_part *part = gcrt_pool_part(p, pool);

        if (part == NULL)
            continue;
        part->rack.busy = 0; /* the owner may have ended there */
        gcrt_pool_open_rack(pool, part);
    }
}

void
gcrt_pools_open(struct gc_heap *heap, struct p *p)
{
    if (p->nracks == 0)
        return;
    gcrt_lock_acquire(&heap->pools.lock);
    gcrt_pools_open_locked(heap, p);
    gcrt_lock_release(&heap->pools.lock);
}

bool
gcrt_pools_busy(const struct gcrt_mutator *m)
{
    for (uint32_t i = 0; i < m->p->nracks; i++)
        if (m->p->racks[i]->busy)
            return true;
    return false;
}

void
gcrt_pools_turn_begin(struct gc_heap *heap)
{
    struct pools *pools = &heap->pools;
    bool all = gcrt_limit_is_near(heap);

    if (ahalf_load_relaxed(&pools->shed) != 0) {
        ahalf_store_relaxed(&pools->shed, 0);
        all = true;
    }
    gcrt_lock_acquire(&pools->lock);
    pools->turn++;
    pools->all_generations = all;
    pools->said = false;
    gcrt_lock_release(&pools->lock);
}

static void run_drops(struct gc_heap *heap, struct runner_job *job);

/* Has the pool something for the runner, who does not know? */
static bool
is_to_be_posted(struct pool *pool)
{
    bool waiting = false;

    if (aword_load_relaxed(&pool->state) != POOL_LIVE || pool->options.drop == NULL
            || pool->posted)
        return false;
    for EACH_PART (part, pool)
        waiting = waiting || part->waiting_ring != NULL;
    return waiting;
}

static void
tell_runner(struct gc_heap *heap)
{
    bool post;

    for EACH_POOL (pool, heap) {
        gcrt_lock_acquire(&heap->pools.lock);
        post = is_to_be_posted(pool);
        if (post)
            pool->posted = true;
        gcrt_lock_release(&heap->pools.lock);
        if (!post)
            continue;
        pool->job.fn = run_drops;
        pool->job.what = "a pool's drop function";
        pool->job.host = (const void *)(uintptr_t)pool->options.drop;
        gcrt_runner_post(heap, &pool->job);
    }
}

void
gcrt_pools_turn_end(struct gc_heap *heap)
{
    bool said;

    gcrt_lock_acquire(&heap->pools.lock);
    gcrt_lock_acquire(&heap->ps.lock);
    for (struct p *p = heap->ps.idle; p != NULL; p = p->next_idle)
        if (p->nracks != 0 && p->pool_turn != heap->pools.turn)
            turn_p_locked(heap, p);
    gcrt_lock_release(&heap->ps.lock);
    said = heap->pools.said;
    gcrt_lock_release(&heap->pools.lock);
    if (said)
        tell_runner(heap);
}

void
gcrt_pools_shed(struct gc_heap *heap)
{
    ahalf_store_relaxed(&heap->pools.shed, 1);
}

/* ---- roots ---- */

struct visit {
    void (*fn)(void *arg, uintptr_t word, uintptr_t at);
    void *arg;
};

static void
visit_items(const struct visit *v, void *const *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        v->fn(v->arg, slot_load(&items[i]), (uintptr_t)&items[i]);
}

static void
visit_rack(const struct visit *v, const struct gc_impl_rack *rack)
{
    uint64_t tail = rack_read(&rack->tail), i = rack_read(&rack->head);

    if (tail - i > GC_IMPL_RACK_SLOTS) /* read while both moved */
        i = tail - GC_IMPL_RACK_SLOTS;
    for (; i != tail; i++)
        v->fn(v->arg, slot_load(rack_slot(rack, i)), (uintptr_t)rack_slot(rack, i));
}

static void
visit_ring(const struct visit *v, struct pool_ring *const *ring)
{
    v->fn(v->arg, slot_load(ring), (uintptr_t)ring);
}

void
gcrt_pools_visit(struct gc_heap *heap, void (*fn)(void *arg, uintptr_t word, uintptr_t at),
        void *arg)
{
    struct visit v = { fn, arg };

    for EACH_POOL (pool, heap)
        for EACH_PART (part, pool) {
            visit_rack(&v, &part->rack);
            visit_items(&v, part->victims, count_of(&part->nvictims));
            visit_ring(&v, &part->ring);
            visit_ring(&v, &part->victim_ring);
            visit_ring(&v, &part->waiting_ring);
        }
}

const struct pool *
gcrt_pools_find(struct gc_heap *heap, uintptr_t at)
{
    for EACH_POOL (pool, heap) {
        uint64_t state = aword_load_relaxed(&pool->state);

        if (state != POOL_LIVE && state != POOL_ENDING)
            continue; /* what its name points to is the host's */
        for EACH_PART (part, pool)
            if (at - (uintptr_t)part < sizeof(*part))
                return pool;
    }
    return NULL;
}

/* ---- what is taken to be dropped ---- */

static uintptr_t
take_item(struct gcrt_mutator *m, void **items, uint32_t *n)
{
    uint32_t left = *n;

    if (left == 0)
        return 0;
    pool_shade(m, &items[left - 1], slot_load(&items[left - 1]), 0);
    set_count(n, left - 1);
    return slot_load(&items[left - 1]);
}

static uintptr_t
take_of_ring(struct gcrt_mutator *m, struct pool *pool, struct pool_ring **ring)
{
    uintptr_t item;

    if (*ring == NULL)
        return 0;
    item = gcrt_poolring_steal(m, *ring);
    if (item != 0) {
        (void)aword_add_relaxed(&pool->shared, (uint64_t)-1);
        return item;
    }
    pool_shade(m, ring, (uintptr_t)*ring, 0);
    set_ring(ring, NULL);
    return 0;
}

/* The pool is ending: its parts belong to who ends it. */
static uintptr_t
take_rest(struct gcrt_mutator *m, struct pool *pool, struct pool_part *part)
{
    uintptr_t item = rack_take_back(m, &part->rack);

    if (item == 0)
        item = take_item(m, part->victims, &part->nvictims);
    if (item == 0)
        item = take_of_ring(m, pool, &part->ring);
    return item != 0 ? item : take_of_ring(m, pool, &part->victim_ring);
}

/* An item that is to be dropped, or NULL.  Critical. */
static void *
take_locked(struct gcrt_mutator *m, struct pool *pool)
{
    bool ends = aword_load_relaxed(&pool->state) == POOL_ENDING;

    for EACH_PART (part, pool) {
        uintptr_t item = take_of_ring(m, pool, &part->waiting_ring);

        if (item == 0 && ends)
            item = take_rest(m, pool, part);
        if (item == 0)
            continue;
        aword_add_owner(&part->dropped, 1);
        if (pool->heap->options.debug_pool != 0)
            forget_note(pool, item);
        return (void *)item;
    }
    return NULL;
}

/* ---- the runner ---- */

/* Between two calls of drop: begins, goes on, or (NULL) ends. */
static void *
next_to_drop(struct gcrt_mutator *m, struct pool *pool)
{
    void *item = NULL;

    critical_enter();
    gcrt_lock_acquire(&m->heap->pools.lock);
    if (aword_load_relaxed(&pool->state) == POOL_LIVE)
        item = take_locked(m, pool);
    pool->dropper = item != NULL ? m : NULL;
    ahalf_store_full(&pool->dropping, item != NULL);
    gcrt_lock_release(&m->heap->pools.lock);
    m->own.result = item;
    critical_leave();
    m->own.result = NULL;
    if (item == NULL)
        gcrt_os_wake(&pool->dropping, INT32_MAX);
    return item;
}

/* The job of a pool: drops what waits for it.  Two of one pool do not run at once. */
static void
run_drops(struct gc_heap *heap, struct runner_job *job)
{
    struct pool *pool = container_of_(job, struct pool, job);
    struct gcrt_mutator *m = gc_impl_self.mutator;
    void *item = NULL;
    bool other;
    GC_FRAME(item);

    critical_enter();
    gcrt_lock_acquire(&heap->pools.lock);
    pool->posted = false;
    other = pool->dropper != NULL;
    gcrt_lock_release(&heap->pools.lock);
    critical_leave();
    while (!other && (item = next_to_drop(m, pool)) != NULL)
        pool->options.drop(item, pool->options.arg);
}

void
gcrt_pools_forget(struct gc_heap *heap)
{
    for EACH_POOL (pool, heap) {
        pool->posted = pool->job.waiting; /* who had taken the job is not here */
        if (pool->dropper != NULL && pool->dropper != gc_impl_self.mutator) {
            pool->dropper = NULL;
            ahalf_store_relaxed(&pool->dropping, 0);
        }
    }
}

/* ---- destroy ---- */

static void
begin_end(struct gcrt_mutator *m, struct pool *pool)
{
    bool own;

    critical_enter();
    gcrt_lock_acquire(&m->heap->pools.lock);
    own = pool->dropper == m;
    if (gcrt_pool_is_hot(m, pool))
        gcrt_pool_leave_locked(m);
    aword_store_relaxed(&pool->state, POOL_ENDING);
    for EACH_PART (part, pool)
        rack_write(&part->rack.limit, 0);
    gcrt_lock_release(&m->heap->pools.lock);
    critical_leave();
    if (own)
        gcrt_fatal("gc_pool_destroy: pool %s: called by its own drop function",
                pool->options.name);
}

static void
drop_rest(struct gcrt_mutator *m, struct pool *pool)
{
    void *item = NULL;
    GC_FRAME(item);

    do {
        critical_enter();
        gcrt_lock_acquire(&m->heap->pools.lock);
        item = take_locked(m, pool);
        gcrt_lock_release(&m->heap->pools.lock);
        critical_leave();
        if (item != NULL && pool->options.drop != NULL)
            pool->options.drop(item, pool->options.arg);
    } while (item != NULL);
}

static void
wait_for_dropper(struct pool *pool)
{
    if (ahalf_load_acquire(&pool->dropping) == 0)
        return;
    gc_block_enter();
    while (ahalf_load_acquire(&pool->dropping) != 0)
        gcrt_os_wait(&pool->dropping, 1, UINT64_MAX);
    gc_block_leave();
}

/* What other threads keep of it they let go of in their next turns. */
void
gcrt_pool_free_locked(struct pool *pool)
{
    struct pools *pools = &pool->heap->pools;

    if (aword_load_relaxed(&pool->state) != POOL_ENDED)
        return;
    aword_store_relaxed(&pool->state, POOL_FREE);
    pool->next_free = pools->free;
    pools->free = pool;
}

void
gc_pool_destroy(gc_pool *public_)
{
    struct pool *pool;
    struct gcrt_mutator *m;

    if (public_ == NULL)
        return;
    pool = gcrt_pool_check(public_, "gc_pool_destroy");
    m = gcrt_pool_self(pool, "gc_pool_destroy");
    begin_end(m, pool);
    drop_rest(m, pool);
    wait_for_dropper(pool);
    critical_enter();
    gcrt_lock_acquire(&m->heap->pools.lock);
    aword_store_relaxed(&pool->state, POOL_ENDED);
    if (pool->keepers == 0)
        gcrt_pool_free_locked(pool);
    gcrt_lock_release(&m->heap->pools.lock);
    critical_leave();
}

/* ---- statistics ---- */

void
gcrt_pool_sum(const struct pool *pool, gc_pool_stats *ret)
{
    uint64_t items = aword_load_relaxed(&pool->shared);

    for EACH_PART (part, pool) {
        ret->hits += rack_read(&part->rack.head) + aword_load_relaxed(&part->hot_hits);
        ret->shared_hits += aword_load_relaxed(&part->shared_hits);
        ret->stolen += aword_load_relaxed(&part->stolen);
        ret->victim_hits += aword_load_relaxed(&part->victim_hits);
        ret->misses += aword_load_relaxed(&part->misses);
        ret->refused += aword_load_relaxed(&part->refused);
        ret->dropped += aword_load_relaxed(&part->dropped);
        items += rack_count(&part->rack);
        items += count_of(&part->nvictims);
    }
    ret->items += items;
    ret->bytes += items * aword_load_relaxed(&pool->item_bytes);
}

static void
subtract(gc_pool_stats *from, const gc_pool_stats *base)
{
    from->hits -= base->hits;
    from->shared_hits -= base->shared_hits;
    from->stolen -= base->stolen;
    from->victim_hits -= base->victim_hits;
    from->misses -= base->misses;
    from->refused -= base->refused;
    from->dropped -= base->dropped;
}

/* What threads keep themselves.  Their hot words are racing with us. */
RACY_READER static void
add_hot(struct gc_heap *heap, const struct pool *pool, gc_pool_stats *ret)
{
    struct gcrt_mutator *m;

    gcrt_lock_assert_held(&heap->registry.lock);
    RCU_LIST_EACH(struct gcrt_mutator, m, &heap->registry.mutators, node) {
        uint64_t told_not;

        if (m->hot.pool != pool)
            continue;
        ret->items += gcrt_pool_hot_sum(m, &told_not);
        ret->hits += told_not;
    }
}

void
gc_pool_get_stats(const gc_pool *public_, gc_pool_stats *ret)
{
    struct pool *pool = container_of_(public_, struct pool, pub);
    struct gc_heap *heap = pool->heap;

    *ret = (gc_pool_stats){ .hits = 0 };
    critical_enter();
    gcrt_lock_acquire(&heap->registry.lock);
    gcrt_lock_acquire(&heap->pools.lock);
    add_hot(heap, pool, ret);
    gcrt_pool_sum(pool, ret);
    subtract(ret, &pool->base);
    gcrt_lock_release(&heap->pools.lock);
    gcrt_lock_release(&heap->registry.lock);
    critical_leave();
    ret->bytes = ret->items * aword_load_relaxed(&pool->item_bytes);
}

void
gcrt_pools_stats(struct gc_heap *heap, gc_pool_stats *ret)
{
    for EACH_POOL (pool, heap)
        gcrt_pool_sum(pool, ret);
}
