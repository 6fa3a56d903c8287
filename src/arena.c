/* SPDX-License-Identifier: MIT */
/*
 * The public functions of arenas: check the arguments, make one call.
 *
 * Purpose: turn what hosts pass into requests, and name every misuse.
 * Place: on top of gc/region.
 * Concurrency: none of its own.
 * Cost: a few compares per call; gc_arena_alloc's fast path does not come here.
 */
#include "api.h"
#include "gc/error.h"
#include "gc/region.h"

#include <gcrt/arena.h>

#include <string.h>

/* Where the host called the public function that says this. */
#define SITE __builtin_return_address(0)

static struct gcrt_mutator *
check_handle(const char *caller, const gc_arena *arena)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);

    if (UNLIKELY(!gcrt_region_is_arena(m->heap, arena)))
        gcrt_fatal("%s: %p is no arena of the caller's heap", caller, (const void *)arena);
    return m;
}

static struct gcrt_mutator *
check_arena(const char *caller, const gc_arena *arena)
{
    struct gcrt_mutator *m = check_handle(caller, arena);
    const char *name = arena->impl_name;

    if (UNLIKELY(arena->impl_state != REGION_LIVE))
        gcrt_fatal("%s: arena %llu%s%s%s has been freed", caller,
                (unsigned long long)arena->impl_number, name == NULL ? "" : " (",
                name == NULL ? "" : name, name == NULL ? "" : ")");
    return m;
}

/* The object, or NULL; then a fatal line unless the caller only tries. */
static void *
allocate(const char *caller, gc_arena *arena, const struct request *req)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;
    void *p = gcrt_region_alloc(m, arena, req);

    if (UNLIKELY(p == NULL && !req->may_fail))
        gcrt_api_no_memory(caller, m->heap, req->bytes);
    return p;
}

/* ---- arenas ---- */

gc_arena *
gc_arena_new(const char *name)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_arena_new");
    gc_arena *arena = gcrt_region_new(m, name, false);

    if (UNLIKELY(arena == NULL))
        gcrt_api_no_memory("gc_arena_new", m->heap, sizeof(*arena));
    return arena;
}

gc_arena *
gc_try_arena_new(const char *name)
{
    return gcrt_region_new(gcrt_mutator_self("gc_try_arena_new"), name, true);
}

void
gc_arena_free(gc_arena *arena)
{
    gcrt_region_free(check_arena("gc_arena_free", arena), arena);
}

size_t
gc_arena_bytes(const gc_arena *arena)
{
    (void)check_handle("gc_arena_bytes", arena);
    return arena->impl_bytes;
}

/* ---- objects ---- */

static void *
allocate_one(const char *caller, gc_arena *arena, bool try, const gc_type *type, const void *site)
{
    struct request req = { .may_fail = try, .site = site };

    (void)check_arena(caller, arena);
    gcrt_api_single(caller, type, &req);
    return allocate(caller, arena, &req);
}

static void *
allocate_array(const char *caller, gc_arena *arena, bool try, const gc_type *elem, size_t n,
        const void *site)
{
    struct request req = { .may_fail = try, .site = site };

    (void)check_arena(caller, arena);
    return gcrt_api_array(caller, elem, n, &req) ? allocate(caller, arena, &req) : NULL;
}

static void *
allocate_flex(const char *caller, gc_arena *arena, bool try, const gc_type *type, size_t n,
        const void *site)
{
    struct request req = { .may_fail = try, .site = site };

    (void)check_arena(caller, arena);
    return gcrt_api_flex(caller, type, n, &req) ? allocate(caller, arena, &req) : NULL;
}

static void *
allocate_bytes(const char *caller, gc_arena *arena, bool try, size_t n, const void *site)
{
    struct request req = { .may_fail = try, .site = site };

    (void)check_arena(caller, arena);
    return gcrt_api_bytes(caller, n, &req) ? allocate(caller, arena, &req) : NULL;
}

void *
gc_impl_arena_alloc(gc_arena *arena, const gc_type *type)
{
    return allocate_one("gc_arena_alloc", arena, false, type, SITE);
}

void *
gc_try_arena_alloc(gc_arena *arena, const gc_type *type)
{
    return allocate_one("gc_try_arena_alloc", arena, true, type, SITE);
}

void *
gc_arena_alloc_array(gc_arena *arena, const gc_type *elem, size_t n)
{
    return allocate_array("gc_arena_alloc_array", arena, false, elem, n, SITE);
}

void *
gc_try_arena_alloc_array(gc_arena *arena, const gc_type *elem, size_t n)
{
    return allocate_array("gc_try_arena_alloc_array", arena, true, elem, n, SITE);
}

void *
gc_arena_alloc_flex(gc_arena *arena, const gc_type *type, size_t n)
{
    return allocate_flex("gc_arena_alloc_flex", arena, false, type, n, SITE);
}

void *
gc_try_arena_alloc_flex(gc_arena *arena, const gc_type *type, size_t n)
{
    return allocate_flex("gc_try_arena_alloc_flex", arena, true, type, n, SITE);
}

void *
gc_arena_alloc_bytes(gc_arena *arena, size_t n)
{
    return allocate_bytes("gc_arena_alloc_bytes", arena, false, n, SITE);
}

void *
gc_try_arena_alloc_bytes(gc_arena *arena, size_t n)
{
    return allocate_bytes("gc_try_arena_alloc_bytes", arena, true, n, SITE);
}

char *
gc_arena_strdup(gc_arena *arena, const char *s)
{
    size_t n = gcrt_api_string("gc_arena_strdup", s);
    struct gcrt_mutator *m = gcrt_mutator_self("gc_arena_strdup");
    struct own_held held;
    void *p;

    own_hold(&m->own, &held, s); /* perhaps nothing else holds it while we allocate */
    p = memcpy(allocate_bytes("gc_arena_strdup", arena, false, n, SITE), s, n);
    own_release(&m->own, &held);
    return p;
}
