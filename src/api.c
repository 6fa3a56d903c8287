/* SPDX-License-Identifier: MIT */
/*
 * The public functions: check the arguments, make one call.
 *
 * Purpose: turn what hosts pass into what the layers below expect, and name every misuse.
 * Place: on top of everything.
 * Concurrency: none of its own.
 * Cost: a few compares per call; gc_alloc's fast path does not come here.
 */
#include "api.h"

#include "gc/cleanup.h"
#include "gc/cycle.h"
#include "gc/error.h"
#include "gc/kind.h"
#include "gc/limit.h"
#include "gc/mutator.h"
#include "gc/pace.h"
#include "gc/region.h"
#include "gc/tiny.h"

#include <gcrt/gcrt.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- allocation ---- */

/* Where the host called the public function that says this. */
#define SITE __builtin_return_address(0)

/* Is it a type at all?  Whether it makes sense is looked at once, when its kind is made. */
static void
check_type(const char *caller, const gc_type *type)
{
    if (UNLIKELY(type == NULL))
        gcrt_fatal("%s: type is NULL", caller);
    if (UNLIKELY((uintptr_t)type % 64 != 0 || type->magic != GC_IMPL_TYPE_MAGIC))
        gcrt_fatal("%s: type is no gc_type (bad magic)", caller);
    if (UNLIKELY(type->size == 0))
        gcrt_fatal("%s: type %s has size 0", caller, type->name);
}

static struct gc_heap *
resolve(const char *caller, gc_heap *heap)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);

    if (h == NULL)
        gcrt_fatal("%s: there is no such heap", caller);
    return h;
}

void
gcrt_api_no_memory(const char *caller, const struct gc_heap *heap, size_t bytes)
{
    char why[LIMIT_TEXT_MAX];

    gcrt_fatal("%s: out of memory allocating %zu bytes%s", caller, bytes,
            gcrt_limit_why(heap, bytes, why));
}

/* The object, or NULL; then a fatal line unless the caller only tries. */
static void *
allocate(const char *caller, bool try, const struct request *req)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);
    void *p = gcrt_malloc(m, req);

    if (UNLIKELY(p == NULL && !try))
        gcrt_api_no_memory(caller, m->heap, req->bytes);
    return p;
}

/* header + n * elem bytes, or the overflow's consequences. */
static bool
total_bytes(const char *caller, bool try, size_t header, size_t elem, size_t n, size_t *ret)
{
    size_t bytes;

    (void)gcrt_mutator_self(caller);
    if (__builtin_mul_overflow(n, elem, &bytes) || __builtin_add_overflow(bytes, header, &bytes)
            || bytes > PTRDIFF_MAX) {
        if (!try)
            gcrt_fatal("%s: %zu elements of %zu bytes overflow", caller, n, elem);
        (void)gcrt_error(GC_ERR_LIMIT, "%s: %zu elements of %zu bytes overflow", caller, n, elem);
        return false;
    }
    *ret = max_size(bytes, 1);
    return true;
}

void
gcrt_api_single(const char *caller, const gc_type *type, struct request *req)
{
    check_type(caller, type);
    if (type->form == GC_FORM_FLEX)
        gcrt_fatal("%s: type %s is flexible: use gc_alloc_flex", caller, type->name);
    req->type = type;
    req->bytes = type->size;
    req->single = true;
}

bool
gcrt_api_array(const char *caller, const gc_type *elem, size_t n, struct request *req)
{
    check_type(caller, elem);
    if (elem->form == GC_FORM_FLEX || elem->form == GC_FORM_TRACED)
        gcrt_fatal("%s: type %s cannot be an array's element", caller, elem->name);
    /* All arrays without pointers share their spans. */
    req->type = elem->form == GC_FORM_NOSCAN ? &gc_byte_type : elem;
    return total_bytes(caller, req->may_fail, 0, elem->size, n, &req->bytes);
}

bool
gcrt_api_flex(const char *caller, const gc_type *type, size_t n, struct request *req)
{
    check_type(caller, type);
    if (type->form != GC_FORM_FLEX)
        gcrt_fatal("%s: type %s is not flexible", caller, type->name);
    if (type->elem == NULL || type->elem->magic != GC_IMPL_TYPE_MAGIC)
        gcrt_fatal("%s: type %s has no element type", caller, type->name);
    req->type = type;
    if (!total_bytes(caller, req->may_fail, type->tail, type->elem->size, n, &req->bytes))
        return false;
    req->bytes = max_size(req->bytes, type->size);
    return true;
}

bool
gcrt_api_bytes(const char *caller, size_t n, struct request *req)
{
    req->type = &gc_byte_type;
    return total_bytes(caller, req->may_fail, 0, 1, n, &req->bytes);
}

size_t
gcrt_api_string(const char *caller, const char *s)
{
    if (s == NULL)
        gcrt_fatal("%s: s is NULL", caller);
    return strlen(s) + 1;
}

static void *
allocate_one(const char *caller, bool try, const gc_type *type, const void *site)
{
    struct request req = { .zero = true, .may_fail = try, .site = site };

    gcrt_api_single(caller, type, &req);
    return allocate(caller, try, &req);
}

static void *
allocate_array(const char *caller, bool try, const gc_type *elem, size_t n, const void *site)
{
    struct request req = { .zero = true, .may_fail = try, .site = site };

    return gcrt_api_array(caller, elem, n, &req) ? allocate(caller, try, &req) : NULL;
}

static void *
allocate_flex(const char *caller, bool try, const gc_type *type, size_t n, const void *site)
{
    struct request req = { .zero = true, .may_fail = try, .site = site };

    return gcrt_api_flex(caller, type, n, &req) ? allocate(caller, try, &req) : NULL;
}

static void *
allocate_bytes(const char *caller, bool try, size_t n, bool zero, const void *site)
{
    struct request req = { .zero = zero, .may_fail = try, .site = site };

    return gcrt_api_bytes(caller, n, &req) ? allocate(caller, try, &req) : NULL;
}

void *
gc_impl_alloc(const gc_type *type)
{
    return allocate_one("gc_alloc", false, type, SITE);
}

void *
gc_try_alloc(const gc_type *type)
{
    return allocate_one("gc_try_alloc", true, type, SITE);
}

void *
gc_impl_alloc_array(const gc_type *elem, size_t n)
{
    return allocate_array("gc_alloc_array", false, elem, n, SITE);
}

void *
gc_try_alloc_array(const gc_type *elem, size_t n)
{
    return allocate_array("gc_try_alloc_array", true, elem, n, SITE);
}

void *
gc_alloc_flex(const gc_type *type, size_t n)
{
    return allocate_flex("gc_alloc_flex", false, type, n, SITE);
}

void *
gc_try_alloc_flex(const gc_type *type, size_t n)
{
    return allocate_flex("gc_try_alloc_flex", true, type, n, SITE);
}

void *
gc_impl_alloc_bytes(size_t n)
{
    void *p = try_tiny(n);

    return LIKELY(p != NULL) ? p : allocate_bytes("gc_alloc_bytes", false, n, true, SITE);
}

void *
gc_impl_alloc_bytes_uninit(size_t n)
{
    void *p = try_tiny(n);

    return LIKELY(p != NULL) ? p
                             : allocate_bytes("gc_alloc_bytes_uninit", false, n, false, SITE);
}

void *
gc_try_alloc_bytes(size_t n)
{
    return allocate_bytes("gc_try_alloc_bytes", true, n, true, SITE);
}

void *
gc_try_alloc_bytes_uninit(size_t n)
{
    return allocate_bytes("gc_try_alloc_bytes_uninit", true, n, false, SITE);
}

char *
gc_strdup(const char *s)
{
    size_t n = gcrt_api_string("gc_strdup", s);
    struct gcrt_mutator *m = gcrt_mutator_self("gc_strdup");
    struct own_held held;
    void *p;

    own_hold(&m->own, &held, s); /* perhaps nothing else holds it while we allocate */
    p = try_tiny(n);
    if (p == NULL)
        p = allocate_bytes("gc_strdup", false, n, false, SITE);
    (void)memcpy(p, s, n);
    own_release(&m->own, &held);
    return p;
}

/* ---- asking about objects ---- */

/* The span and object index that p lies in; false if in none. */
static bool
find_object(const char *caller, const void *p, struct mspan **s, size_t *index)
{
    *s = mheap_find_object(&gcrt_mutator_self(caller)->heap->mheap, (uintptr_t)p, index);
    return *s != NULL;
}

/* Tiny objects share their block, and nobody knows where one ends. */
static bool
is_tiny(const struct mspan *s)
{
    return kind_of(gc_impl_self.mutator->heap, s)->key == kind_key_tiny();
}

/* In an arena: where the object that p points into starts, and its size.  NULL if there is none. */
static void *
in_arena(const struct mspan *s, const void *p, size_t *bytes)
{
    const struct gc_heap *heap = gc_impl_self.mutator->heap;

    *bytes = 0;
    return (void *)gcrt_region_object(heap, s, (uintptr_t)p, bytes);
}

size_t
gc_usable_size(const void *p)
{
    struct mspan *s;
    size_t index;

    if (!find_object("gc_usable_size", p, &s, &index))
        return 0;
    if (gcrt_region_has_span(gc_impl_self.mutator->heap, s))
        return in_arena(s, p, &index) == NULL ? 0 : index;
    return is_tiny(s) ? 1 : span_elem_bytes(s);
}

void *
gc_base(const void *p)
{
    struct mspan *s;
    size_t index;

    if (!find_object("gc_base", p, &s, &index))
        return NULL;
    if (gcrt_region_has_span(gc_impl_self.mutator->heap, s))
        return in_arena(s, p, &index);
    if (is_tiny(s))
        return (void *)(uintptr_t)p;
    return (void *)span_object(&gc_impl_self.mutator->heap->mheap, s, index);
}

/* ---- the collector ---- */

void
gc_collect(gc_heap *heap)
{
    gcrt_cycle_collect(resolve("gc_collect", heap));
}

size_t
gc_free_os_memory(gc_heap *heap)
{
    return gcrt_cycle_collect_and_free(resolve("gc_free_os_memory", heap));
}

int64_t
gc_set_gogc(gc_heap *heap, int64_t percent)
{
    struct gc_heap *h = resolve("gc_set_gogc", heap);
    int64_t old;

    percent = percent < 0 ? GC_GOGC_OFF : percent > INT32_MAX ? INT32_MAX : percent;
    critical_enter();
    old = gcrt_pace_set_gogc(h, percent);
    critical_leave();
    return old;
}

size_t
gc_set_heap_min(gc_heap *heap, size_t bytes)
{
    struct gc_heap *h = resolve("gc_set_heap_min", heap);
    uint64_t old;

    critical_enter();
    old = gcrt_pace_set_heap_min(h, bytes);
    critical_leave();
    return (size_t)old;
}

int64_t
gc_set_memory_limit(gc_heap *heap, int64_t bytes)
{
    struct gc_heap *h = resolve("gc_set_memory_limit", heap);
    int64_t old;

    critical_enter();
    old = gcrt_limit_set(h, bytes);
    critical_leave();
    if (bytes >= 0)
        gcrt_limit_complain(h);
    return old;
}

gc_status
gc_external_bytes(gc_heap *heap, int64_t delta)
{
    struct gc_heap *h = gcrt_heap_resolve(heap);
    gc_status status;

    if (h == NULL)
        return gcrt_error(GC_ERR_NOTFOUND, "gc_external_bytes: there is no such heap");
    critical_enter();
    status = gcrt_limit_external(h, delta);
    critical_leave();
    return status;
}

static struct gc_heap *
own_heap(const char *caller, gc_heap *heap)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);

    if (heap != NULL && heap != m->heap)
        gcrt_fatal("%s: the calling thread is not attached to this heap", caller);
    return m->heap;
}

size_t
gc_run_cleanups(gc_heap *heap, size_t max)
{
    return gcrt_runner_run(own_heap("gc_run_cleanups", heap), max);
}

size_t
gc_run_cleanups_all(gc_heap *heap)
{
    return gcrt_cleanups_run_all(own_heap("gc_run_cleanups_all", heap));
}

/* ---- threads ---- */

static gc_status
attach(gc_heap *heap, bool precise)
{
    struct gc_heap *h;

    if (gc_impl_self.mutator != NULL)
        return gcrt_error(GC_ERR_ATTACHED, "gc_thread_attach: this thread is attached already");
    h = gcrt_heap_resolve(heap);
    if (h == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_thread_attach: there is no such heap");
    return gcrt_mutator_attach(h, precise || h->options.precise_stacks != 0);
}

gc_status
gc_thread_attach(gc_heap *heap)
{
    return attach(heap, false);
}

gc_status
gc_thread_attach_precise(gc_heap *heap)
{
    return attach(heap, true);
}

void
gc_thread_detach(void)
{
    gcrt_mutator_detach_self("gc_thread_detach");
}

int
gc_thread_set_assist(int on)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;
    int before;

    if (m == NULL)
        gcrt_fatal("gc_thread_set_assist: the calling thread is not attached to a heap");
    before = !m->never_assists;
    m->never_assists = on == 0;
    return before;
}

gc_heap *
gc_thread_heap(void)
{
    return gc_impl_self.mutator == NULL ? NULL : gc_impl_self.mutator->heap;
}

/*
 * What a new thread needs, on its parent's stack: the parent waits until the child is
 * attached and has taken the argument, which a handle keeps alive until then.
 */
struct birth {
    pthread_mutex_t lock;
    pthread_cond_t settled;
    bool done;
    gc_status status;
    char why[256]; /* gc_last_error() of the child, whose own is gone with it */
    void *(*run)(void *);
    gc_heap *heap;
    gc_handle *arg;
};

static void
settle_birth(struct birth *b, gc_status status)
{
    pthread_mutex_lock(&b->lock);
    b->status = status;
    b->done = true;
    pthread_cond_signal(&b->settled);
    pthread_mutex_unlock(&b->lock);
}

/* Holds arg on its own stack before the parent lets go of the handle. */
static void *
thread_main(void *arg)
{
    struct birth *b = arg;
    void *(*run)(void *) = b->run;
    gc_status status = gc_thread_attach(b->heap);
    void *value, *result;

    if (status != GC_OK) {
        (void)snprintf(b->why, sizeof(b->why), "%s", gc_last_error());
        settle_birth(b, status);
        return NULL;
    }
    value = gc_handle_get(b->arg);
    GC_KEEP_ALIVE(value);
    settle_birth(b, GC_OK); /* b is gone from here on */
    result = run(value);
    if (gc_impl_self.mutator == NULL)
        return result;
    while (gc_impl_self.mutator->block_depth != 0)
        gc_block_leave();
    gc_thread_detach();
    return result;
}

static gc_status
wait_for_birth(struct birth *b)
{
    pthread_mutex_lock(&b->lock);
    while (!b->done)
        pthread_cond_wait(&b->settled, &b->lock);
    pthread_mutex_unlock(&b->lock);
    return b->status;
}

static gc_status
status_of_create(int error)
{
    if (error == EINVAL)
        return gcrt_error(GC_ERR_INVAL, "gc_pthread_create: invalid attributes");
    return gcrt_error(GC_ERR_THREAD, "gc_pthread_create: %s", strerror(error));
}

static bool
is_joinable(const pthread_attr_t *attr)
{
    int state = PTHREAD_CREATE_JOINABLE;

    if (attr != NULL)
        pthread_attr_getdetachstate(attr, &state);
    return state == PTHREAD_CREATE_JOINABLE;
}

gc_status
gc_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    struct birth b = { .lock = PTHREAD_MUTEX_INITIALIZER,
        .settled = PTHREAD_COND_INITIALIZER, .run = start, .heap = gc_thread_heap() };
    gc_status status = GC_OK;
    int error;

    if (ret == NULL || start == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_pthread_create: ret or start is NULL");
    if (b.heap == NULL)
        return gcrt_error(GC_ERR_DETACHED, "gc_pthread_create: the thread is not attached");
    (void)gcrt_mutator_self("gc_pthread_create"); /* inside: the line shall not name the handle */
    b.arg = gc_handle_new(arg);
    if (b.arg == NULL)
        return gcrt_error(GC_ERR_NOMEM, "gc_pthread_create: no memory for a handle");
    error = gcrt_os_thread_create(&b.heap->os, ret, attr, thread_main, &b);
    if (error != 0) {
        status = status_of_create(error);
    } else {
        int cancel;

        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel); /* b is on our stack */
        gc_block_enter();
        status = wait_for_birth(&b);
        gc_block_leave();
        pthread_setcancelstate(cancel, NULL);
        if (status != GC_OK && is_joinable(attr))
            pthread_join(*ret, NULL);
        if (status != GC_OK)
            (void)gcrt_error(status, "gc_pthread_create: %s", b.why);
    }
    gc_handle_free(b.arg);
    return status;
}
