/* SPDX-License-Identifier: MIT */
/*
 * Work buffers and the lock-free stacks between markers.
 *
 * Purpose: share grey objects in buffers of 255, without a lock.
 * Place: mark, barrier and stack use it; it calls os once, for the pool.
 * Invariants: a buffer is on one stack or in one private queue; buffers on `free` are
 * empty, buffers on `full`, `raw`, `aside`, `parked` and `late` are not.
 * Concurrency: Treiber stacks of buffer numbers; a 32-bit tag beside the number makes a
 * stale compare-and-swap fail.  Push releases, pop acquires (pairs: workstack.top).
 * Cost: two compare-and-swaps per 255 objects.
 */
#include "gc/work.h"

#include "alloc/base/check.h"

/* Address space only: pages of it are touched as buffers are. */
#define POOL_BYTES ((size_t)8 << 30)
#define TINY_SLOTS 4
#define SHARE_MIN  4

static struct workbuf *
buffer(const struct work *w, uint64_t top)
{
    return &w->pool[(uint32_t)top];
}

static uint64_t
advance(uint64_t old, uint32_t index)
{
    return ((old >> 32) + 1) << 32 | index;
}

static void
push(const struct work *w, struct workstack *stack, struct workbuf *b)
{
    uint32_t index = (uint32_t)(b - w->pool);
    uint64_t old;

    do {
        old = aword_load_relaxed(&stack->top);
        ahalf_store_relaxed(&b->next, (uint32_t)old);
    } while (!aword_cas_release(&stack->top, old, advance(old, index))); /* workstack.top */
}

static struct workbuf *
pop(const struct work *w, struct workstack *stack)
{
    for (;;) {
        uint64_t old = aword_load_acquire(&stack->top); /* pairs: workstack.top */
        uint32_t next;

        if ((uint32_t)old == 0)
            return NULL;
        next = ahalf_load_relaxed(&buffer(w, old)->next);
        if (aword_cas_acquire(&stack->top, old, advance(old, next)))
            return buffer(w, old);
    }
}

static bool
stack_is_empty(const struct workstack *stack)
{
    return (uint32_t)aword_load_acquire(&stack->top) == 0;
}

bool
gcrt_work_init(struct work *w, struct os *os, uint32_t nworkers, bool tiny)
{
    CHECK(nworkers < WORK_STACKS);
    *w = (struct work){ .nstacks = 1 + nworkers, .slots = tiny ? TINY_SLOTS : WORKBUF_SLOTS };
    for (w->pool_bytes = POOL_BYTES; w->pool_bytes >= POOL_BYTES >> 8; w->pool_bytes /= 2) {
        w->pool = gcrt_os_map(os, w->pool_bytes);
        if (w->pool != NULL)
            break;
    }
    aword_store_relaxed(&w->used, 1); /* number 0 means none */
    return w->pool != NULL;
}

void
gcrt_work_finish(struct work *w, struct os *os)
{
    gcrt_os_unmap(os, w->pool, w->pool_bytes, w->pool_bytes);
}

struct workbuf *
gcrt_work_take_empty(struct work *w)
{
    struct workbuf *b = pop(w, &w->free);
    uint64_t index;

    if (b != NULL)
        return b;
    index = aword_add_relaxed(&w->used, 1);
    if (index >= w->pool_bytes / sizeof(struct workbuf))
        gcrt_fatal("out of memory for marking: more than %zu MiB of grey objects",
                w->pool_bytes >> 20);
    return &w->pool[index]; /* fresh: n is 0 */
}

void
gcrt_work_put_empty(struct work *w, struct workbuf *b)
{
    b->n = 0;
    push(w, &w->free, b);
}

void
gcrt_work_push_raw(struct work *w, struct workbuf *b)
{
    push(w, &w->raw, b);
}

struct workbuf *
gcrt_work_pop_raw(struct work *w)
{
    return pop(w, &w->raw);
}

void
gcrt_work_push_aside(struct work *w, uintptr_t object)
{
    struct workbuf *b = gcrt_work_take_empty(w);

    b->slot[0] = object;
    b->n = 1;
    push(w, &w->aside, b);
}

void
gcrt_work_push_parked(struct work *w, uintptr_t item)
{
    struct workbuf *b = pop(w, &w->parked);

    if (b != NULL && b->n == w->slots) {
        push(w, &w->parked, b);
        b = NULL;
    }
    if (b == NULL)
        b = gcrt_work_take_empty(w);
    b->slot[b->n++] = item;
    push(w, &w->parked, b);
}

uintptr_t
gcrt_work_pop_parked(struct work *w)
{
    struct workbuf *b = pop(w, &w->parked);
    uintptr_t item;

    if (b == NULL)
        return 0;
    item = b->slot[--b->n];
    if (b->n != 0)
        push(w, &w->parked, b);
    else
        gcrt_work_put_empty(w, b);
    return item;
}

static bool
is_in_time(const struct work *w)
{
    if (!stack_is_empty(&w->raw) || !stack_is_empty(&w->aside) || !stack_is_empty(&w->parked))
        return true;
    for (uint32_t i = 0; i < w->nstacks; i++)
        if (!stack_is_empty(&w->full[i]))
            return true;
    return false;
}

bool
gcrt_work_is_empty(const struct work *w)
{
    return !is_in_time(w) && stack_is_empty(&w->late);
}

/* ---- late work ---- */

/* A guess, as it may change at once: who is wrong finds nothing, or is rung for. */
static bool
late_is_in_reach(const struct work *w)
{
    return ahalf_load_relaxed(&w->late_open) != 0 && !stack_is_empty(&w->late);
}

bool
gcrt_work_is_in_reach(const struct work *w)
{
    return is_in_time(w) || late_is_in_reach(w);
}

void
gcrt_work_open_late(struct work *w)
{
    if (!stack_is_empty(&w->late))
        ahalf_store_relaxed(&w->late_open, 1);
}

void
gcrt_work_close_late(struct work *w)
{
    ahalf_store_relaxed(&w->late_open, 0);
}

void
gcrt_workqueue_put_late(struct work *w, struct workqueue *q, uintptr_t object)
{
    struct workbuf *b = q->late == NULL ? gcrt_work_take_empty(w) : q->late;

    b->slot[b->n++] = object;
    q->late = b;
    if (b->n < w->slots)
        return;
    push(w, &w->late, b);
    q->late = NULL;
}

/* ---- queues ---- */

static bool
dispose(struct work *w, struct workqueue *q, struct workbuf *b)
{
    if (b == NULL)
        return false;
    if (b->n == 0) {
        gcrt_work_put_empty(w, b);
        return false;
    }
    push(w, &w->full[q->stack], b);
    return true;
}

bool
gcrt_workqueue_publish(struct work *w, struct workqueue *q)
{
    bool had = dispose(w, q, q->cur);

    had |= dispose(w, q, q->spare);
    if (q->late != NULL)
        push(w, &w->late, q->late);
    had |= q->late != NULL;
    q->cur = q->spare = q->late = NULL;
    return had;
}

void
gcrt_workqueue_share(struct work *w, struct workqueue *q)
{
    struct workbuf *from = q->cur, *to;
    uint32_t half;

    if (q->spare != NULL && q->spare->n != 0) {
        push(w, &w->full[q->stack], q->spare);
        q->spare = NULL;
        return;
    }
    if (from == NULL || from->n <= SHARE_MIN)
        return;
    to = gcrt_work_take_empty(w);
    half = from->n / 2;
    for (uint32_t i = 0; i < half; i++)
        to->slot[i] = from->slot[i]; /* the older half: nearer the roots, more behind it */
    for (uint32_t i = half; i < from->n; i++)
        from->slot[i - half] = from->slot[i];
    from->n -= half;
    to->n = half;
    push(w, &w->full[q->stack], to);
}

/* The current buffer is full or missing.  Two buffers, so that no border is hit twice. */
void
gcrt_workqueue_put_slow(struct work *w, struct workqueue *q, uintptr_t object)
{
    struct workbuf *full = q->cur;

    q->cur = q->spare;
    q->spare = full;
    if (q->cur == NULL || q->cur->n == w->slots) {
        if (q->cur != NULL)
            push(w, &w->full[q->stack], q->cur);
        q->cur = gcrt_work_take_empty(w);
    }
    q->cur->slot[q->cur->n++] = object;
}

/* A buffer of our own stack, else of any other, beginning with our neighbour's. */
static struct workbuf *
steal(struct work *w, uint32_t self)
{
    struct workbuf *b = NULL;

    for (uint32_t i = 0; b == NULL && i < w->nstacks; i++)
        b = pop(w, &w->full[(self + i) % w->nstacks]);
    return b;
}

/* b, if there is one, takes the place of the current buffer, which is empty or missing. */
static bool
set_current(struct work *w, struct workqueue *q, struct workbuf *b)
{
    if (b == NULL)
        return false;
    if (q->cur != NULL)
        gcrt_work_put_empty(w, q->cur);
    q->cur = b;
    return true;
}

bool
gcrt_workqueue_refill(struct work *w, struct workqueue *q)
{
    struct workbuf *empty = q->cur;

    if (q->spare == NULL || q->spare->n == 0)
        return set_current(w, q, steal(w, q->stack));
    q->cur = q->spare;
    q->spare = empty;
    return true;
}

bool
gcrt_workqueue_refill_aside(struct work *w, struct workqueue *q)
{
    return set_current(w, q, pop(w, &w->aside));
}

bool
gcrt_workqueue_refill_late(struct work *w, struct workqueue *q)
{
    struct workbuf *own = q->late;

    if (ahalf_load_relaxed(&w->late_open) == 0)
        return false;
    q->late = NULL;
    return set_current(w, q, own != NULL ? own : pop(w, &w->late));
}
