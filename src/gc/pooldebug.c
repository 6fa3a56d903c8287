/* SPDX-License-Identifier: MIT */
/*
 * The debug mode of pools.
 *
 * Purpose: find who puts an item twice, and who writes to one that is in a pool.
 * Place: pool and poolturn call it for pools made while the pool=1 knob is set.
 *
 * A note per item, in a table by address: the pool, the thread that put it, and a sum of its
 * bytes, which must be the same when it leaves.  A sum and not a pattern: items come back as
 * they were put, and a field overwritten behind the barrier's back would lose objects.
 * Reading after the put is not seen.  Notes never leave the heap's metadata: they are taken
 * and given back in handshakes, where malloc must not be called.
 *
 * Concurrency: pools.lock.
 * Cost: a lock and a walk over the item for each put and get; meant for tests.
 */
#include "gc/pooldebug.h"

#include <gcrt/alloc.h>

struct pool_note {
    struct pool_note *next;
    const struct pool *pool;
    uintptr_t item;
    size_t bytes;
    uint64_t sum;
    int tid;
};

RACY_READER static uint64_t
sum_of(uintptr_t item, size_t bytes)
{
    uint64_t sum = bytes;

    for (size_t i = 0; i + WORD <= bytes; i += WORD)
        sum = (sum ^ *(const volatile uint64_t *)(item + i)) * 0x9e3779b97f4a7c15u + (sum >> 29);
    for (size_t i = align_down(bytes, WORD); i < bytes; i++)
        sum = (sum ^ *(const volatile uint8_t *)(item + i)) * 0x9e3779b97f4a7c15u;
    return sum;
}

static struct pool_note **
find_locked(struct gc_heap *heap, uintptr_t item)
{
    struct pool_note **at
            = &heap->pools.notes[(item >> 4) * 0x9e3779b1u >> 7 & (POOL_NOTES - 1)];

    while (*at != NULL && (*at)->item != item)
        at = &(*at)->next;
    return at;
}

static void
refuse_second(const struct pool_note *note, const struct pool *pool, const void *item)
{
    gcrt_fatal("gc_pool_put: pool %s: %p is in pool %s already; thread %d put it there",
            pool->options.name, item, note->pool->options.name, note->tid);
}

static bool
note_locked(struct pool *pool, uintptr_t item, const struct pool_note *what)
{
    struct gc_heap *heap = pool->heap;
    struct pool_note **at = find_locked(heap, item), *note = heap->pools.spare_notes;

    if (*at != NULL)
        refuse_second(*at, pool, (const void *)item);
    if (note != NULL)
        heap->pools.spare_notes = note->next;
    else
        note = gcrt_persist_alloc(&heap->persist, sizeof(*note));
    if (note == NULL)
        return false;
    *note = *what;
    *at = note;
    return true;
}

bool
gcrt_pooldebug_put(struct gcrt_mutator *m, struct pool *pool, void *item)
{
    struct pool_note what = { .pool = pool, .item = (uintptr_t)item, .tid = m->tid };
    bool done;

    what.bytes = gc_usable_size(item);
    if (gc_base(item) != item || what.bytes == 0)
        gcrt_fatal("gc_pool_put: pool %s: %p is not the start of an object",
                pool->options.name, item);
    what.sum = sum_of(what.item, what.bytes);
    critical_enter();
    gcrt_lock_acquire(&m->heap->pools.lock);
    done = note_locked(pool, what.item, &what);
    gcrt_lock_release(&m->heap->pools.lock);
    critical_leave();
    GC_KEEP_ALIVE(item);
    return done;
}

void
gcrt_pooldebug_gone_locked(struct pool *pool, const void *item)
{
    struct pool_note **at = find_locked(pool->heap, (uintptr_t)item), *note = *at;

    if (note == NULL)
        gcrt_fatal("pool %s: %p was not known to be in it", pool->options.name, item);
    if (sum_of(note->item, note->bytes) != note->sum)
        gcrt_fatal("pool %s: %p was written to after thread %d had put it there",
                pool->options.name, item, note->tid);
    *at = note->next;
    note->next = pool->heap->pools.spare_notes;
    pool->heap->pools.spare_notes = note;
}

void
gcrt_pooldebug_got(struct gcrt_mutator *m, struct pool *pool, const void *item)
{
    critical_enter();
    gcrt_lock_acquire(&m->heap->pools.lock);
    gcrt_pooldebug_gone_locked(pool, item);
    gcrt_lock_release(&m->heap->pools.lock);
    critical_leave();
    GC_KEEP_ALIVE(item);
}
