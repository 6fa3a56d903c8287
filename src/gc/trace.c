/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder.
 *
 * Purpose: keep the last events of each thread in memory, to be looked at when something has
 * been slow.
 * Place: what is worth a slow path's notice calls TRACE; metrics/chrometrace writes what it reads.
 *
 * A thread that has something to say claims one of TRACE_RINGS rings, and gives it back when it
 * detaches; the events stay until the ring's next owner has written over them, so those of
 * threads that have ended can be read, too.  Each event carries its thread's number.
 *
 * Invariants: a ring has one writer.  Its memory stays mapped while the heap lives, so a thread
 * that has seen `on` just before it was cleared does no harm.
 * Concurrency: an event is five words, of which the first one says which event of the ring it is.
 * It is stored before the others (pairs: trace.head), and the ring's count of events after
 * them (pairs: trace.n).  So a reader looks only at events that have been whole, and if it finds
 * the same number before and after reading the others they still were; else the event is being
 * written over, and is left out.  Nobody waits for anybody, but for the lock of metadata at a
 * ring's first event.
 *   A handshake's handler must not come in between, or it would write the same event: hence the
 * critical section, which may lie in another one.
 * Cost: off, a load and a branch where there is a slow path anyway, and a nop for the probe;
 * on, the clock and some 20 ns an event.
 */
#include "gc/trace.h"

#include "gc/listen.h"
#include "gc/mutator.h"

#include <stdlib.h>

#define EVENT_WORDS 5
#define RING_BYTES  ((size_t)64 << 10)
#define RING_MIN    ((size_t)4 << 10)
#define RING_MAX    ((size_t)4 << 20)

enum word { WORD_HEAD, WORD_START, WORD_DURATION, WORD_A, WORD_THREAD };

/* The thread may claim a ring, and has none yet: its address is a mark, nothing more. */
static const struct trace_ring unclaimed;

void
gcrt_trace_init(struct gc_heap *heap)
{
    gcrt_lock_init(&heap->tracing.lock, RANK_TRACE);
}

static size_t
reserved_bytes(const struct tracing *t)
{
    return TRACE_RINGS * t->ring_bytes;
}

void
gcrt_trace_finish(struct gc_heap *heap)
{
    struct tracing *t = &heap->tracing;
    size_t ready = 0;

    for (size_t i = 0; i < TRACE_RINGS; i++)
        ready += t->rings[i].events != NULL ? t->ring_bytes : 0;
    if (t->memory != NULL)
        gcrt_os_unmap(&heap->os, t->memory, reserved_bytes(t), ready);
    gcrt_lock_finish(&t->lock);
}

/* ---- who writes where ---- */

void
gcrt_trace_thread_begin(void)
{
    gc_impl_self.trace = (void *)(uintptr_t)&unclaimed;
}

void
gcrt_trace_thread_end(void)
{
    struct trace_ring *ring = gc_impl_self.trace;

    gc_impl_self.trace = NULL;
    if (ring != NULL && ring != &unclaimed)
        ahalf_store_release(&ring->owner, 0); /* pairs: trace.owner */
}

/* Under the lock of metadata: the collector's own threads trace, too, while the verifier sums. */
static bool
commit_ring(struct gc_heap *heap, void *events)
{
    size_t bytes = heap->tracing.ring_bytes;
    bool ok;

    gcrt_lock_acquire(&heap->persist.lock);
    ok = gcrt_os_commit(&heap->os, events, bytes);
    if (ok)
        aword_add_relaxed(&heap->beside, bytes);
    gcrt_lock_release(&heap->persist.lock);
    return ok;
}

/* Its memory is made when it is first needed, and stays. */
static bool
is_ready(struct gc_heap *heap, struct trace_ring *ring)
{
    struct tracing *t = &heap->tracing;
    size_t at = (size_t)(ring - t->rings) * t->ring_bytes;
    aword *events = (aword *)(void *)(t->memory + at);

    if (ring->events != NULL)
        return true;
    if (!commit_ring(heap, events))
        return false;
    __atomic_store_n(&ring->events, events, __ATOMIC_RELEASE); /* pairs: trace.events */
    return true;
}

/* Rings are taken in turn, so that those of ended threads are kept for long. */
static struct trace_ring *
claim(struct gc_heap *heap)
{
    struct tracing *t = &heap->tracing;
    unsigned tid = (unsigned)gcrt_os_thread_id();

    for (unsigned i = 0; i < TRACE_RINGS; i++) {
        struct trace_ring *ring = &t->rings[ahalf_add_full(&t->next, 1) % TRACE_RINGS];

        if (!ahalf_cas_full(&ring->owner, 0, tid)) /* pairs: trace.owner */
            continue;
        if (is_ready(heap, ring))
            return ring;
        ahalf_store_release(&ring->owner, 0);
        break;
    }
    return NULL;
}

/* Critical.  NULL: the event is lost, or is none of this heap's. */
static struct trace_ring *
own_ring(struct gc_heap *heap)
{
    if (gc_impl_self.trace == NULL)
        return NULL;
    if (UNLIKELY(gc_impl_self.trace == &unclaimed)) {
        bool on = ahalf_load_acquire(&heap->tracing.on) != 0; /* pairs: trace.on */
        struct trace_ring *ring = on ? claim(heap) : NULL;

        if (ring == NULL) {
            aword_add_relaxed(&heap->tracing.lost, 1);
            return NULL;
        }
        gc_impl_self.trace = ring;
    }
    return gc_impl_self.trace;
}

/* ---- writing ---- */

static void
put(const struct tracing *t, struct trace_ring *ring, const uint64_t words[EVENT_WORDS])
{
    uint64_t n = aword_load_relaxed(&ring->n);
    aword *event = ring->events + n % t->ring_events * EVENT_WORDS;

    aword_store_relaxed(&event[WORD_HEAD], (n + 1) << 8 | words[WORD_HEAD]);
    for (unsigned i = WORD_HEAD + 1; i < EVENT_WORDS; i++)
        aword_store_release(&event[i], words[i]); /* pairs: trace.head */
    aword_store_release(&ring->n, n + 1); /* pairs: trace.n */
}

void
gcrt_trace_put(struct gc_heap *heap, enum trace_kind kind, uint64_t start_ns, uint64_t a,
        uint32_t b)
{
    uint64_t now = gcrt_os_now_ns();
    uint32_t critical = gc_impl_self.critical;
    struct trace_ring *ring;

    critical_set();
    ring = own_ring(heap);
    if (ring != NULL)
        put(&heap->tracing, ring,
                (uint64_t[]){ (uint64_t)kind, start_ns == 0 ? now : start_ns,
                        start_ns == 0 ? 0 : now - start_ns, a,
                        (uint64_t)ahalf_load_relaxed(&ring->owner) << 32 | b });
    __asm__ volatile("" ::: "memory");
    gc_impl_self.critical = critical;
}

/* ---- on and off ---- */

static bool
make_room_locked(struct gc_heap *heap, size_t ring_bytes)
{
    struct tracing *t = &heap->tracing;

    if (t->memory != NULL)
        return true;
    if (ring_bytes == 0)
        ring_bytes = RING_BYTES;
    t->ring_bytes = align_up(min_size(max_size(ring_bytes, RING_MIN), RING_MAX), RING_MIN);
    t->ring_events = t->ring_bytes / (EVENT_WORDS * sizeof(aword));
    t->memory = gcrt_os_reserve(&heap->os, reserved_bytes(t));
    return t->memory != NULL;
}

gc_status
gcrt_trace_start(struct gc_heap *heap, size_t ring_bytes)
{
    struct tracing *t = &heap->tracing;
    bool ok;

    critical_enter();
    gcrt_lock_acquire(&t->lock);
    ok = make_room_locked(heap, ring_bytes);
    if (ok)
        ahalf_store_full(&t->on, 1); /* full: who sees it sees the memory; pairs: trace.on */
    gcrt_lock_release(&t->lock);
    critical_leave();
    return ok ? GC_OK : GC_ERR_NOMEM;
}

void
gcrt_trace_stop(struct gc_heap *heap)
{
    ahalf_store_full(&heap->tracing.on, 0);
}

void
gcrt_trace_forget(struct gc_heap *heap)
{
    for (size_t i = 0; i < TRACE_RINGS; i++) {
        struct trace_ring *ring = &heap->tracing.rings[i];
        bool own = ring == gc_impl_self.trace;

        ahalf_store_relaxed(&ring->owner, own ? (unsigned)gcrt_os_thread_id() : 0);
    }
    ahalf_store_relaxed(&heap->tracing.telling, 0);
    gcrt_listen_forget_pause(heap);
}

/* ---- reading ---- */

/* False if it is being written over, or has been. */
static bool
read_event(const struct tracing *t, const struct trace_ring *ring, uint64_t i,
        struct trace_event *ret)
{
    const aword *event = ring->events + i % t->ring_events * EVENT_WORDS;
    uint64_t head = aword_load_relaxed(&event[WORD_HEAD]), thread;

    if (head >> 8 != i + 1)
        return false;
    ret->kind = (enum trace_kind)(head & 255);
    ret->start_ns = aword_load_acquire(&event[WORD_START]); /* pairs: trace.head */
    ret->duration_ns = aword_load_acquire(&event[WORD_DURATION]);
    ret->a = aword_load_acquire(&event[WORD_A]);
    thread = aword_load_acquire(&event[WORD_THREAD]);
    ret->tid = (int)(thread >> 32);
    ret->b = (uint32_t)thread;
    return aword_load_relaxed(&event[WORD_HEAD]) == head;
}

/* How long a phase took is known from the next one's beginning only. */
static bool
is_within(const struct trace_event *e, uint64_t from_ns)
{
    return e->kind == TRACE_phase || e->start_ns + e->duration_ns >= from_ns;
}

static size_t
read_ring(const struct tracing *t, const struct trace_ring *ring, uint64_t from_ns,
        struct trace_event *ret)
{
    uint64_t end = aword_load_acquire(&ring->n), i; /* pairs: trace.n */
    size_t n = 0;

    if (__atomic_load_n(&ring->events, __ATOMIC_ACQUIRE) == NULL) /* pairs: trace.events */
        return 0;
    for (i = end > t->ring_events ? end - t->ring_events : 0; i < end; i++)
        if (read_event(t, ring, i, &ret[n]) && is_within(&ret[n], from_ns))
            n++;
    return n;
}

/* Rings fill while we count them: each may have as many as it has room for. */
static size_t
most_events(const struct tracing *t)
{
    size_t n = 0;

    for (size_t i = 0; i < TRACE_RINGS; i++)
        if (__atomic_load_n(&t->rings[i].events, __ATOMIC_ACQUIRE) != NULL)
            n += t->ring_events;
    return n;
}

gc_status
gcrt_trace_read(struct gc_heap *heap, uint64_t from_ns, struct trace_event **ret, size_t *n)
{
    struct tracing *t = &heap->tracing;
    size_t most = most_events(t);

    *n = 0;
    *ret = NULL;
    if (most == 0)
        return GC_OK;
    if (!gcrt_os_fault(&heap->os))
        *ret = malloc(most * sizeof(**ret));
    if (*ret == NULL)
        return GC_ERR_NOMEM;
    for (size_t i = 0; i < TRACE_RINGS && *n + t->ring_events <= most; i++)
        *n += read_ring(t, &t->rings[i], from_ns, *ret + *n);
    return GC_OK;
}
