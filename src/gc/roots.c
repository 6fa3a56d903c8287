/* SPDX-License-Identifier: MIT */
/*
 * Heap-wide roots: registered ranges and handles.
 *
 * Purpose: keep alive what globals and foreign memory point to.
 * Place: the api adds and removes; the cycle collects, and the words of pools with them.
 * Invariants: all stores to a root are barriered.  A range or handle that appears while the
 * barrier is on has its words shaded by whoever adds it, one that disappears by whoever
 * removes it, so it does not matter on which side of the collection that falls.
 * Concurrency: RANK_ROOTS for the lists; the words themselves are read racily, as heap
 * slots are, and without the lock, or who wants a handle would wait for gigabytes.  Handle cells
 * are never unmapped while the heap lives.  A range may be, once it is removed: the coordinator
 * says which one it reads, and who removes that one has it stop and waits for a piece of it
 * (pairs: roots.reading).
 * Cost: adding is linear in the number of ranges; a handle is a free-list pop.  Shading a range is
 * linear in its size, SHADE_BYTES in one critical section.
 */
#include "gc/roots.h"

#include "gc/barrier.h"
#include "gc/error.h"
#include "gc/pool.h"
#include "gc/wbcheck.h"

#include <gcrt/roots.h>

#include <stdlib.h>

#define CHUNK_HANDLES 126
#define READ_BYTES    ((uintptr_t)32 << 10) /* who removes a range waits for so many */
#define SHADE_BYTES   ((uintptr_t)4 << 10)

struct root_range {
    struct root_range *next; /* owned; lock */
    uintptr_t start, end;
    bool leaves;             /* lock: somebody removes it */
    ahalf shaded;            /* atomic: and has shaded all of it, in this cycle */
};

struct gc_handle {
    void *object;           /* atomic: barriered stores */
    struct gc_heap *heap;   /* const; NULL while free */
    struct gc_handle *next; /* lock: free list */
};

struct handle_chunk {
    struct handle_chunk *next;
    struct gc_handle handles[CHUNK_HANDLES];
};

void
gcrt_roots_init(struct gc_heap *heap)
{
    gcrt_lock_init(&heap->roots.lock, RANK_ROOTS);
}

void
gcrt_roots_finish(struct gc_heap *heap)
{
    struct root_range *r;

    while ((r = heap->roots.ranges) != NULL) {
        heap->roots.ranges = r->next;
        free(r);
    }
    gcrt_lock_finish(&heap->roots.lock);
}

/* ---- collecting ---- */

RACY_READER static void
each_word(uintptr_t from, uintptr_t to, void (*fn)(void *arg, uintptr_t word), void *arg)
{
    for (; from < to; from += WORD)
        fn(arg, RACY_READ(from));
}

struct visit {
    void (*fn)(void *arg, uintptr_t word, uintptr_t at, enum root_kind kind);
    void *arg;
    enum root_kind kind;
};

static void
visit_exact(void *arg, uintptr_t word, uintptr_t at)
{
    const struct visit *v = arg;

    v->fn(v->arg, word, at, v->kind);
}

static void
visit_special(void *arg, const struct special *record)
{
    visit_exact(arg, (uintptr_t)record->arg, (uintptr_t)&record->arg);
}

/* On purpose not what collects them: what that leaves out must show. */
RACY_READER void
gcrt_roots_visit(struct gc_heap *heap,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at, enum root_kind kind), void *arg)
{
    const struct root_range *r;
    const struct handle_chunk *c;
    const struct gc_handle *h;
    struct visit v = { .fn = fn, .arg = arg };

    gcrt_lock_acquire(&heap->roots.lock);
    for (r = heap->roots.ranges; r != NULL; r = r->next)
        for (uintptr_t at = r->start; at < r->end; at += WORD)
            fn(arg, RACY_READ(at), at, ROOT_RANGE);
    for (c = heap->roots.chunks; c != NULL; c = c->next)
        for (h = c->handles; h < c->handles + CHUNK_HANDLES; h++)
            if (h->heap != NULL)
                fn(arg, slot_load(&h->object), (uintptr_t)&h->object, ROOT_HANDLE);
    gcrt_lock_release(&heap->roots.lock);
    v.kind = ROOT_CLEANUP;
    gcrt_special_visit(heap, SPECIAL_CLEANUP, visit_special, &v);
    v.kind = ROOT_FINALIZER;
    gcrt_special_visit(heap, SPECIAL_FINALIZER, visit_special, &v);
    v.kind = ROOT_CALLBACK;
    gcrt_runner_visit(heap, visit_exact, &v);
    v.kind = ROOT_POOL;
    gcrt_pools_visit(heap, visit_exact, &v);
}

void
gcrt_root_collect_word(void *arg, uintptr_t word)
{
    struct root_collector *c = arg;
    const struct mheap *h = &c->heap->mheap;
    struct work *w = &c->heap->work;

    c->bytes += WORD;
    if (!mheap_contains(h, word) && !mheap_contains(h, word - 1))
        return; /* one past the end of the last object counts too */
    if (c->buffer == NULL)
        c->buffer = gcrt_work_take_empty(w);
    c->buffer->slot[c->buffer->n++] = word | c->exact;
    if (c->buffer->n == w->slots) {
        gcrt_work_push_raw(w, c->buffer);
        c->buffer = NULL;
    }
}

void
gcrt_root_collect_end(struct root_collector *c)
{
    if (c->buffer != NULL)
        gcrt_work_push_raw(&c->heap->work, c->buffer);
    c->buffer = NULL;
}

/* Of a library that has been unloaded, say.  Between this look and the reading it may still go. */
static void
check_mapped(const struct root_range *r)
{
    if (UNLIKELY(r->start != r->end && (!gcrt_os_is_mapped((const void *)r->start)
                    || !gcrt_os_is_mapped((const void *)(r->end - 1)))))
        gcrt_fatal("the registered root range %p of %zu bytes is not mapped any more: "
                   "gc_root_remove it before its memory goes (dlclose, munmap)",
                (const void *)r->start, (size_t)(r->end - r->start));
}

static void
collect_of_pool(void *arg, uintptr_t word, uintptr_t at)
{
    (void)at;
    gcrt_root_collect_word(arg, word);
}

/* The range after `last`, or the first one, is read from now on, and no other; NULL: none. */
static const struct root_range *
read_next(struct roots *roots, const struct root_range *last)
{
    const struct root_range *r;

    gcrt_lock_acquire(&roots->lock);
    r = last == NULL ? roots->ranges : last->next;
    aword_store_release(&roots->reading, (uintptr_t)r); /* pairs: roots.reading */
    gcrt_lock_release(&roots->lock);
    return r;
}

static void
collect_range(struct root_collector *c, const struct root_range *r)
{
    uintptr_t to;

    for (uintptr_t at = r->start; at < r->end && !ahalf_load_relaxed(&r->shaded); at = to) {
        to = min_size(at + READ_BYTES, r->end);
        each_word(at, to, gcrt_root_collect_word, c);
    }
}

/* Newer chunks have handles whose words were shaded. */
static void
collect_handles(struct root_collector *c)
{
    struct roots *roots = &c->heap->roots;
    const struct handle_chunk *h;

    gcrt_lock_acquire(&roots->lock);
    h = roots->chunks;
    gcrt_lock_release(&roots->lock);
    for (; h != NULL; h = h->next)
        for (size_t i = 0; i < CHUNK_HANDLES; i++)
            gcrt_root_collect_word(c, slot_load(&h->handles[i].object));
}

size_t
gcrt_roots_collect(struct gc_heap *heap)
{
    struct root_collector c = { .heap = heap, .exact = heap_is_exact(heap) ? RAW_EXACT : 0 };
    const struct root_range *r = NULL;

    while ((r = read_next(&heap->roots, r)) != NULL) {
        check_mapped(r);
        collect_range(&c, r);
        chaos_point(&heap->os, CHAOS_ROOTS_READ);
    }
    c.exact = RAW_EXACT;
    collect_handles(&c);
    gcrt_pools_visit(heap, collect_of_pool, &c);
    gcrt_root_collect_end(&c);
    return c.bytes;
}

/* ---- ranges ---- */

static const char *
range_complaint(uintptr_t start, size_t bytes)
{
    if (start == 0)
        return "start is NULL";
    if (bytes == 0)
        return "the range is empty";
    if (start % WORD != 0 || bytes % WORD != 0)
        return "the range is not made of aligned words";
    if (start + bytes < start)
        return "the range wraps around the address space";
    return NULL;
}

static bool
overlaps_locked(const struct roots *roots, uintptr_t start, uintptr_t end)
{
    for (const struct root_range *r = roots->ranges; r != NULL; r = r->next)
        if (start < r->end && r->start < end && r->start != r->end)
            return true;
    return false;
}

void
gcrt_roots_empty_within_locked(struct gc_heap *heap, uintptr_t lo, uintptr_t hi)
{
    for (struct root_range *r = heap->roots.ranges; r != NULL; r = r->next)
        if (r->start >= lo && r->end <= hi) {
            aword_add_relaxed(&heap->roots.bytes, (uint64_t)0 - (r->end - r->start));
            r->end = r->start;
        }
}

/* One step of the shading of a range that comes or goes while marking; where it ends. */
static uintptr_t
shade_step(struct gcrt_mutator *m, uintptr_t at, uintptr_t end)
{
    uintptr_t to = min_size(at + SHADE_BYTES, end);

    gcrt_barrier_shade_range(m, (const void *)at, to - at);
    return to;
}

/* If the barrier goes off meanwhile, or on for another cycle, that knows the range. */
static void
shade_newcomer(struct gcrt_mutator *m, uintptr_t at, uintptr_t end)
{
    while (at < end) {
        critical_enter();
        at = barrier_state(m->self) == BARRIER_OFF ? end : shade_step(m, at, end);
        critical_leave();
    }
}

static bool
add_range(struct gcrt_mutator *m, struct root_range *r)
{
    struct roots *roots = &m->heap->roots;
    uintptr_t start = r->start, end = r->end;
    bool ok;

    critical_enter();
    gcrt_lock_acquire(&roots->lock);
    ok = !overlaps_locked(roots, r->start, r->end);
    if (ok) {
        r->next = roots->ranges;
        roots->ranges = r;
        aword_add_relaxed(&roots->bytes, r->end - r->start);
    }
    gcrt_lock_release(&roots->lock);
    critical_leave();
    if (ok)
        shade_newcomer(m, start, end);
    return ok;
}

gc_status
gc_root_add(void *start, size_t bytes)
{
    const char *complaint = range_complaint((uintptr_t)start, bytes);
    struct gcrt_mutator *m = gc_impl_self.mutator;
    struct root_range *r;

    if (complaint != NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_root_add: %s", complaint);
    if (m == NULL)
        return gcrt_error(GC_ERR_DETACHED, "gc_root_add: the thread is not attached");
    (void)gcrt_mutator_self("gc_root_add");
    r = gcrt_os_fault(&m->heap->os) ? NULL : malloc(sizeof(*r));
    if (r == NULL)
        return gcrt_error(GC_ERR_NOMEM, "gc_root_add: out of memory");
    *r = (struct root_range){ .start = (uintptr_t)start, .end = (uintptr_t)start + bytes };
    if (!add_range(m, r)) {
        free(r);
        return gcrt_error(GC_ERR_INVAL, "gc_root_add: the range overlaps a registered one");
    }
    gcrt_wbcheck_root_add(m->heap, (uintptr_t)start, bytes);
    return GC_OK;
}

/* The range that starts there, which leaves from now on; NULL if there is none, or it does so. */
static struct root_range *
find_leaving(struct gcrt_mutator *m, uintptr_t start)
{
    struct roots *roots = &m->heap->roots;
    struct root_range *r;

    critical_enter();
    gcrt_lock_acquire(&roots->lock);
    for (r = roots->ranges; r != NULL; r = r->next)
        if (r->start == start && !r->leaves) {
            r->leaves = true;
            break;
        }
    gcrt_lock_release(&roots->lock);
    critical_clear(); /* no poll: each step of the shading has one */
    return r;
}

/* The lock is held, but for the waits: what is not read now cannot be begun to be read. */
static void
wait_until_unread(struct roots *roots, const struct root_range *r)
{
    while (aword_load_acquire(&roots->reading) == (uintptr_t)r) { /* pairs: roots.reading */
        gcrt_lock_release(&roots->lock);
        gcrt_os_yield();
        gcrt_lock_acquire(&roots->lock);
    }
}

/* Not before the coordinator has stopped reading it, as it need not any more. */
static void
unlink_range(struct roots *roots, struct root_range *r)
{
    struct root_range **at;

    ahalf_store_relaxed(&r->shaded, 1);
    gcrt_lock_acquire(&roots->lock);
    wait_until_unread(roots, r);
    for (at = &roots->ranges; *at != r; at = &(*at)->next)
        continue;
    *at = r->next;
    aword_add_relaxed(&roots->bytes, (uint64_t)0 - (r->end - r->start));
    gcrt_lock_release(&roots->lock);
}

/*
 * Every word has been shaded, in one cycle, and it goes before this thread answers another
 * handshake.  While the barrier is off no cycle looks for roots.
 */
static void
shade_and_unlink(struct gcrt_mutator *m, struct root_range *r)
{
    struct gc_heap *heap = m->heap;
    uint64_t cycle = 0;
    uintptr_t at = r->start;

    for (;; critical_leave()) {
        critical_enter();
        if (barrier_state(m->self) == BARRIER_OFF)
            break;
        if (cycle != aword_load_relaxed(&heap->cycles.started)) {
            cycle = aword_load_relaxed(&heap->cycles.started);
            at = r->start;
        }
        if (at == r->end)
            break;
        at = shade_step(m, at, r->end);
    }
    unlink_range(&heap->roots, r);
    critical_leave();
}

void
gc_root_remove(void *start)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_root_remove");
    struct root_range *r;

    gcrt_wbcheck_root_remove(m->heap, (uintptr_t)start);
    r = find_leaving(m, (uintptr_t)start);
    if (r == NULL)
        gcrt_fatal("gc_root_remove: no registered range starts at %p", start);
    shade_and_unlink(m, r);
    free(r);
}

/* ---- handles ---- */

static bool
add_chunk_locked(struct gc_heap *heap)
{
    struct handle_chunk *c = gcrt_persist_alloc(&heap->persist, sizeof(*c));

    if (c == NULL)
        return false;
    for (size_t i = 0; i < CHUNK_HANDLES; i++) {
        c->handles[i].next = heap->roots.free_handles;
        heap->roots.free_handles = &c->handles[i];
    }
    c->next = heap->roots.chunks;
    heap->roots.chunks = c;
    return true;
}

static struct gc_handle *
take_handle(struct gc_heap *heap)
{
    struct roots *roots = &heap->roots;
    struct gc_handle *handle = NULL;

    gcrt_lock_acquire(&roots->lock);
    if (roots->free_handles != NULL || add_chunk_locked(heap)) {
        handle = roots->free_handles;
        roots->free_handles = handle->next;
        handle->heap = heap;
    }
    gcrt_lock_release(&roots->lock);
    return handle;
}

gc_handle *
gc_handle_new(void *obj)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_handle_new");
    struct gc_handle *handle;

    critical_enter();
    handle = take_handle(m->heap);
    critical_clear(); /* no poll: obj has no other root, perhaps */
    if (handle != NULL)
        gcrt_barrier_root_store(m->heap, &handle->object, (uintptr_t)obj);
    else
        (void)gcrt_error(GC_ERR_NOMEM, "gc_handle_new: out of memory");
    return handle;
}

static void
check_handle(const gc_handle *handle, const char *caller)
{
    if (UNLIKELY(handle == NULL))
        gcrt_fatal("%s: handle is NULL", caller);
    if (UNLIKELY(handle->heap == NULL))
        gcrt_fatal("%s: handle %p is free already", caller, (const void *)handle);
}

void *
gc_handle_get(const gc_handle *handle)
{
    check_handle(handle, "gc_handle_get");
    return __atomic_load_n((void *const *)&handle->object, __ATOMIC_ACQUIRE);
}

void
gc_handle_set(gc_handle *handle, void *obj)
{
    check_handle(handle, "gc_handle_set");
    gcrt_barrier_root_store(handle->heap, &handle->object, (uintptr_t)obj);
}

void
gc_handle_free(gc_handle *handle)
{
    struct gc_heap *heap;

    if (handle == NULL)
        return;
    check_handle(handle, "gc_handle_free");
    heap = handle->heap;
    gcrt_barrier_root_store(heap, &handle->object, 0);
    critical_enter();
    gcrt_lock_acquire(&heap->roots.lock);
    handle->heap = NULL;
    handle->next = heap->roots.free_handles;
    heap->roots.free_handles = handle;
    gcrt_lock_release(&heap->roots.lock);
    critical_leave();
}
