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
 * slots are.  Handle cells are never unmapped while the heap lives.
 * Cost: adding is linear in the number of ranges; a handle is a free-list pop.
 */
#include "gc/roots.h"

#include "gc/barrier.h"
#include "gc/error.h"
#include "gc/pool.h"
#include "gc/wbcheck.h"

#include <gcrt/roots.h>

#include <stdlib.h>

#define CHUNK_HANDLES 126

struct root_range {
    struct root_range *next; /* owned */
    uintptr_t start, end;
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

size_t
gcrt_roots_collect(struct gc_heap *heap)
{
    struct root_collector c = { .heap = heap, .exact = heap_is_exact(heap) ? RAW_EXACT : 0 };

    gcrt_lock_acquire(&heap->roots.lock);
    for (const struct root_range *r = heap->roots.ranges; r != NULL; r = r->next) {
        check_mapped(r);
        each_word(r->start, r->end, gcrt_root_collect_word, &c);
    }
    c.exact = RAW_EXACT;
    for (const struct handle_chunk *h = heap->roots.chunks; h != NULL; h = h->next)
        for (size_t i = 0; i < CHUNK_HANDLES; i++)
            gcrt_root_collect_word(&c, slot_load(&h->handles[i].object));
    gcrt_lock_release(&heap->roots.lock);
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

/* Shades the words of a range that comes or goes while marking. */
static void
shade_range(struct gcrt_mutator *m, uintptr_t start, size_t bytes)
{
    if (barrier_state(m->self) != BARRIER_OFF)
        gcrt_barrier_shade_range(m, (const void *)start, bytes);
}

static bool
add_range(struct gcrt_mutator *m, struct root_range *r)
{
    struct roots *roots = &m->heap->roots;
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
    if (ok)
        shade_range(m, r->start, r->end - r->start);
    critical_leave();
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

static struct root_range *
unlink_range(struct roots *roots, uintptr_t start)
{
    struct root_range **at, *found = NULL;

    gcrt_lock_acquire(&roots->lock);
    for (at = &roots->ranges; *at != NULL; at = &(*at)->next)
        if ((*at)->start == start) {
            found = *at;
            *at = found->next;
            aword_add_relaxed(&roots->bytes, (uint64_t)0 - (found->end - found->start));
            break;
        }
    gcrt_lock_release(&roots->lock);
    return found;
}

void
gc_root_remove(void *start)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_root_remove");
    struct root_range *r;

    gcrt_wbcheck_root_remove(m->heap, (uintptr_t)start);
    critical_enter();
    r = unlink_range(&m->heap->roots, (uintptr_t)start);
    if (r == NULL)
        gcrt_fatal("gc_root_remove: no registered range starts at %p", start);
    shade_range(m, r->start, r->end - r->start);
    critical_leave();
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
