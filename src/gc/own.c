/* SPDX-License-Identifier: MIT */
/*
 * Roots of one mutator's own.
 *
 * Purpose: precise hosts say what their threads hold.
 * Place: the api's scopes and callbacks are here, frames are inline in precise.h; H3 collects
 * them through stack.c, checkmark and search read them for a second opinion.
 * Invariants: I-own-snapshot: they are read in the same action that turns the mutator black,
 * and need no barrier for the reason that stacks need none.  A list is changed so that it is
 * whole after every instruction, because a thread that is not precise may be interrupted by
 * its own handshake anywhere.
 * Concurrency: the owner's; while it is outside or held, whoever acts for it reads.  Changes are
 * made in critical sections that do not poll: an argument may be held by nothing else.
 * Cost: a scope is three stores, a local one store and a bounds check, a chunk of 510 now
 * and then; a visit some nanoseconds a word.
 */
#include "gc/own.h"

#include "gc/error.h"
#include "gc/mutator.h"

#include <stdlib.h>

/* ---- visiting ---- */

struct visit {
    struct marker marker; /* what callbacks report to; first: a gc_tracer is one */
    struct gcrt_mutator *m;
    void (*fn)(void *arg, uintptr_t word, uintptr_t at);
    void *arg;
    size_t n;
};

static void
take_report(struct marker *mk, uintptr_t word)
{
    struct visit *v = container_of_(mk, struct visit, marker);

    v->fn(v->arg, word, (uintptr_t)v->m);
    v->n++;
}

/* Apart: a marker is large, and the stack of a signal handler may be short. */
static NOINLINE size_t
visit_callbacks(struct gcrt_mutator *m, void (*fn)(void *, uintptr_t, uintptr_t), void *arg)
{
    struct visit v = { .marker.heap = m->heap, .marker.report = take_report, .m = m, .fn = fn,
        .arg = arg };

    for (const struct root_callback *c = m->own.callbacks; c != NULL; c = c->next)
        c->fn((gc_tracer *)(void *)&v.marker, c->arg);
    return v.n;
}

RACY_READER static size_t
visit_words(uintptr_t from, size_t words, void (*fn)(void *, uintptr_t, uintptr_t), void *arg)
{
    for (size_t i = 0; i < words; i++)
        fn(arg, RACY_READ(from + i * WORD), from + i * WORD);
    return words;
}

RACY_READER static size_t
visit_frames(const struct gc_impl_frame *f, void (*fn)(void *, uintptr_t, uintptr_t), void *arg)
{
    size_t n = 0;

    for (; f != NULL; f = f->prev)
        for (size_t i = 0; i < f->n; i++)
            n += visit_words((uintptr_t)f->locals[i].start, f->locals[i].words, fn, arg);
    return n;
}

size_t
gcrt_own_visit_stack(const struct gc_impl_frame *frames, const struct scopes *scopes,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at), void *arg)
{
    size_t n = visit_frames(frames, fn, arg);
    uint32_t used = scopes->used;

    for (const struct local_chunk *c = scopes->chunk; c != NULL; c = c->prev) {
        n += visit_words((uintptr_t)c->cells, used, fn, arg);
        used = LOCAL_CELLS; /* only the newest is not full */
    }
    return n;
}

/* Of the items that the thread keeps itself.  A put that is half done has stored one more. */
RACY_READER static size_t
hot_words(const struct gcrt_mutator *m)
{
    size_t n = m->self->hot_n % GC_IMPL_HOT_UNIT + (m->interrupted || m->forking);

    return n < GC_IMPL_HOT_ITEMS ? n : GC_IMPL_HOT_ITEMS;
}

size_t
gcrt_own_visit_hot(struct gcrt_mutator *m,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at), void *arg)
{
    return visit_words((uintptr_t)&m->self->hot_items[1], hot_words(m), fn, arg);
}

RACY_READER static size_t
visit_held(const struct own *own, void (*fn)(void *arg, uintptr_t word, uintptr_t at), void *arg)
{
    size_t n = 0;

    for (const struct own_held *cell = own->held; cell != NULL; cell = cell->outer)
        n += visit_words((uintptr_t)&cell->object, 1, fn, arg);
    return n;
}

bool
gcrt_own_is_of_call(const struct own *own, uintptr_t at)
{
    for (const struct own_held *cell = own->held; cell != NULL; cell = cell->outer)
        if (at == (uintptr_t)&cell->object)
            return true;
    return at == (uintptr_t)&own->result;
}

size_t
gcrt_own_visit(struct gcrt_mutator *m, void (*fn)(void *arg, uintptr_t word, uintptr_t at),
        void *arg)
{
    const struct own *own = &m->own;
    /* Of another thread they are on a stack that is scanned: stack.h, stack_frames. */
    size_t n = gcrt_own_visit_stack(m->precise ? m->self->frames : NULL, &own->scopes, fn, arg);

    n += visit_words((uintptr_t)&own->result, 1, fn, arg);
    n += visit_held(own, fn, arg);
    n += gcrt_own_visit_hot(m, fn, arg);
    if (own->callbacks != NULL)
        n += visit_callbacks(m, fn, arg);
    return n;
}

void
gcrt_own_drop_scopes(struct scopes *scopes)
{
    struct local_chunk *chunk;

    while ((chunk = scopes->chunk) != NULL) {
        scopes->chunk = chunk->prev;
        free(chunk);
    }
    *scopes = (struct scopes){ .used = 0 };
}

struct own_memory
gcrt_own_take(struct gcrt_mutator *m)
{
    struct own_memory memory = { .current = m->own.scopes, .native = m->native.scopes,
        .spare = m->own.spare, .callbacks = m->own.callbacks };

    m->native.scopes = (struct scopes){ .used = 0 };
    m->own = (struct own){ .result = NULL };
    return memory;
}

void
gcrt_own_free(struct own_memory *memory)
{
    struct root_callback *c;

    gcrt_own_drop_scopes(&memory->current);
    gcrt_own_drop_scopes(&memory->native);
    free(memory->spare);
    while ((c = memory->callbacks) != NULL) {
        memory->callbacks = c->next;
        free(c);
    }
}

/* ---- scopes ---- */

/*
 * Room for one more cell.  Not critical: a thread that is held may be inside of malloc, and one
 * that waits for it in a critical section would never answer.
 */
static bool
have_room(struct gcrt_mutator *m)
{
    struct own *own = &m->own;

    if (own->scopes.chunk != NULL && own->scopes.used < LOCAL_CELLS)
        return true;
    if (own->spare == NULL && !gcrt_os_fault(&m->heap->os))
        own->spare = malloc(sizeof(*own->spare));
    return own->spare != NULL;
}

/* The next cell; there is room.  Critical. */
static void **
take_cell(struct own *own)
{
    struct scopes *s = &own->scopes;

    if (s->chunk == NULL || s->used == LOCAL_CELLS) {
        struct local_chunk *chunk = own->spare;

        own->spare = NULL;
        chunk->prev = s->chunk;
        s->used = 0;
        s->chunk = chunk;
    }
    return &s->chunk->cells[s->used];
}

void
gc_scope_enter(gc_scope *scope)
{
    struct scopes *s = &gcrt_mutator_self("gc_scope_enter")->own.scopes;

    *scope = (gc_scope){ .chunk = s->chunk, .used = s->used, .depth = ++s->depth };
}

void **
gc_local(void *obj)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_local");
    struct own *own = &m->own;
    void **cell;

    if (UNLIKELY(own->scopes.depth == 0)) {
        (void)gcrt_error(GC_ERR_INVAL, "gc_local: no scope has been entered");
        return NULL;
    }
    if (UNLIKELY(!have_room(m))) {
        (void)gcrt_error(GC_ERR_NOMEM, "gc_local: out of memory");
        return NULL;
    }
    critical_set();
    cell = take_cell(own);
    *cell = obj;
    own->scopes.used++;
    critical_clear();
    return cell;
}

/* Chunks above the scope's go; one of them is kept for the next time.  Returns the others. */
static struct local_chunk *
shrink(struct own *own, const gc_scope *scope)
{
    struct local_chunk *rest = NULL;

    critical_set();
    while (own->scopes.chunk != scope->chunk) {
        struct local_chunk *chunk = own->scopes.chunk;

        own->scopes.used = LOCAL_CELLS;
        own->scopes.chunk = chunk->prev;
        if (own->spare != NULL) {
            own->spare->prev = rest;
            rest = own->spare;
        }
        own->spare = chunk;
    }
    own->scopes.used = scope->used;
    own->scopes.depth--;
    critical_clear();
    return rest;
}

void
gc_scope_leave(gc_scope *scope)
{
    struct own *own = &gcrt_mutator_self("gc_scope_leave")->own;
    struct local_chunk *rest;

    if (UNLIKELY(scope->depth == 0 || scope->depth != own->scopes.depth))
        gcrt_fatal("gc_scope_leave: scope %u ends while %u are entered", scope->depth,
                own->scopes.depth);
    rest = shrink(own, scope);
    while (UNLIKELY(rest != NULL)) {
        struct local_chunk *next = rest->prev;

        free(rest); /* not critical, as in have_room */
        rest = next;
    }
    scope->depth = 0;
}

void **
gc_scope_escape(gc_scope *scope, void *obj)
{
    gc_scope_leave(scope); /* does not poll, so obj needs no root yet */
    return gc_local(obj);
}

/* ---- callbacks ---- */

gc_status
gc_root_callback(gc_root_fn *fn, void *arg)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;
    struct root_callback *c;

    if (fn == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_root_callback: fn is NULL");
    if (m == NULL)
        return gcrt_error(GC_ERR_DETACHED, "gc_root_callback: the thread is not attached");
    (void)gcrt_mutator_self("gc_root_callback");
    c = gcrt_os_fault(&m->heap->os) ? NULL : malloc(sizeof(*c)); /* not critical: have_room */
    if (c == NULL)
        return gcrt_error(GC_ERR_NOMEM, "gc_root_callback: out of memory");
    critical_set();
    *c = (struct root_callback){ .next = m->own.callbacks, .fn = fn, .arg = arg };
    m->own.callbacks = c;
    critical_clear();
    return GC_OK;
}

void
gc_root_callback_remove(gc_root_fn *fn, void *arg)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_root_callback_remove");
    struct root_callback **at = &m->own.callbacks, *c;

    while (*at != NULL && ((*at)->fn != fn || (*at)->arg != arg))
        at = &(*at)->next;
    c = *at;
    if (c == NULL)
        gcrt_fatal("gc_root_callback_remove: there is no such callback");
    critical_set();
    *at = c->next;
    critical_clear();
    free(c);
}
