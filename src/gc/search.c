/* SPDX-License-Identifier: MIT */
/*
 * The search.
 *
 * Purpose: say what is reachable, and by which path, without believing the collector.
 * Place: checkmark compares its result with the mark bits; verify asks it for paths.
 * Invariants: an object is put on the todo stack when it is reached first, so the stack needs a
 * word per object and a list of any length is no recursion.  An ephemeron whose key has not been
 * reached is filed under it, once, and put there again when the key is reached: not before it has
 * been taken off.
 *
 * Ephemerons are filed in the table of parents, which has the room and cannot run out: a key that
 * is not reached has no parent, so its word is the first ephemeron that waits for it, and that
 * one's next is in the word of its own second word, where no object begins.
 * Concurrency: the coordinator's own, while all mutators are held.  Host memory (roots,
 * stacks) is read racily.
 * Cost: as much address space as twice the grown heap, touched where objects are reached;
 * one or two cache misses per object.
 */
#include "gc/search.h"

#include "gc/ephemeron.h"
#include "gc/kind.h"
#include "gc/mutator.h"
#include "gc/pool.h"
#include "gc/roots.h"
#include "gc/stack.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Steps of a path that are shown at its either end. */
#define PATH_ENDS 6

/* Names in a path, cut so that what it ends in, which is asked for, always has room. */
#define SHOWN      "%.80s%s"
#define SHOW(name) (name), strlen(name) > 80 ? "..." : ""
#define LINE_TEXT  (80 + 54) /* the most that a line has */

_Static_assert(PATH_TEXT > (2 * PATH_ENDS + 3) * LINE_TEXT, "a root, the steps, how many more");

static const struct mheap *
heap_of(const struct search *s)
{
    return &s->walk.marker.heap->mheap;
}

/* ---- reaching ---- */

static uint64_t
parent_make(uintptr_t at, enum search_from from)
{
    return at | (uint64_t)from << FROM_SHIFT;
}

static enum search_from
parent_from(uint64_t parent)
{
    return (enum search_from)(parent >> FROM_SHIFT);
}

static uintptr_t
parent_address(uint64_t parent)
{
    return parent & (((uint64_t)1 << FROM_SHIFT) - 1);
}

/* The table's word of the object that word points into; NULL if there is none. */
static uint64_t *
parent_at(const struct search *s, uintptr_t word, uintptr_t *object)
{
    const struct mheap *h = heap_of(s);
    size_t index;
    struct mspan *span = gcrt_walk_find(h, word, &index);

    if (span == NULL)
        return NULL;
    *object = span_object(h, span, index);
    return *object - h->base < s->bytes ? &s->parent[(*object - h->base) / WORD] : NULL;
}

static uint64_t *
next_waiting(const struct search *s, uint64_t ephemeron)
{
    return &s->parent[(ephemeron - heap_of(s)->base) / WORD + 1];
}

_Static_assert(sizeof(struct gc_ephemeron) >= 2 * WORD, "a second word is no object's first");

static void
reach(struct search *s, uintptr_t word, uint64_t parent)
{
    uintptr_t object;
    uint64_t *entry = parent_at(s, word, &object), waiting;

    if (entry == NULL || parent_from(*entry) != FROM_NOTHING)
        return;
    waiting = *entry;
    *entry = parent;
    s->todo[s->ntodo++] = object;
    s->objects++;
    for (; waiting != 0; waiting = *next_waiting(s, waiting))
        s->todo[s->ntodo++] = waiting; /* no recursion: it may be a chain of them */
}

/* The walk is at an ephemeron.  If its key has not been reached, it is filed. */
static bool
key_is_reached(struct walk *w, uintptr_t key)
{
    struct search *s = container_of_(w, struct search, walk);
    uintptr_t object;
    uint64_t *entry = parent_at(s, key, &object);

    if (entry == NULL)
        return false;
    if (parent_from(*entry) != FROM_NOTHING)
        return true;
    *next_waiting(s, w->object) = *entry;
    *entry = w->object;
    return false;
}

static void
reach_edge(struct walk *w, uintptr_t word, uintptr_t slot)
{
    struct search *s = container_of_(w, struct search, walk);

    reach(s, word, slot != 0 ? parent_make(slot, FROM_SLOT) : parent_make(w->object, FROM_TRACE));
}

bool
gcrt_search_init(struct search *s, struct gc_heap *heap)
{
    *s = (struct search){ .objects = 0 };
    gcrt_walk_init(&s->walk, heap, reach_edge);
    /* pairs: heap.grow; no mutator is about that could grow it further */
    s->bytes = max_size(aword_load_acquire(&heap->mheap.limit), PAGE_SIZE);
    s->parent = gcrt_os_map(&s->os, s->bytes);
    s->todo = gcrt_os_map(&s->os, s->bytes);
    if (s->parent != NULL && s->todo != NULL)
        return true;
    gcrt_search_finish(s);
    return false;
}

void
gcrt_search_pairs(struct search *s)
{
    s->walk.key_lives = key_is_reached;
}

void
gcrt_search_finish(struct search *s)
{
    if (s->parent != NULL)
        gcrt_os_unmap(&s->os, s->parent, s->bytes, s->bytes);
    if (s->todo != NULL)
        gcrt_os_unmap(&s->os, s->todo, s->bytes, s->bytes);
    s->parent = NULL;
    s->todo = NULL;
}

void
gcrt_search_word(struct search *s, uintptr_t word, uintptr_t at, enum search_from from)
{
    reach(s, word, parent_make(at, from));
}

void
gcrt_search_drain(struct search *s)
{
    const struct mheap *h = heap_of(s);

    while (s->ntodo != 0) {
        size_t index;
        struct mspan *span = gcrt_walk_find(h, s->todo[--s->ntodo], &index);

        if (span != NULL)
            gcrt_walk_object(&s->walk, span, index);
    }
}

enum search_from
gcrt_search_from(const struct search *s, uintptr_t object)
{
    uintptr_t offset = object - heap_of(s)->base;

    return offset < s->bytes ? parent_from(s->parent[offset / WORD]) : FROM_NOTHING;
}

bool
gcrt_search_has(const struct search *s, uintptr_t object)
{
    return gcrt_search_from(s, object) != FROM_NOTHING;
}

/* ---- roots ---- */

static void
reach_root(void *arg, uintptr_t word, uintptr_t at, enum root_kind kind)
{
    gcrt_search_word(arg, word, at, search_from_root(kind));
}

void
gcrt_search_roots(struct search *s)
{
    gcrt_roots_visit(s->walk.marker.heap, reach_root, s);
}

RACY_READER static void
reach_range(struct search *s, uintptr_t from, uintptr_t to)
{
    for (; from < to; from += WORD)
        gcrt_search_word(s, RACY_READ(from), from, FROM_STACK);
}

static void
reach_own(void *arg, uintptr_t word, uintptr_t at)
{
    gcrt_search_word(arg, word, at, FROM_STACK);
}

static void
reach_hot(void *arg, uintptr_t word, uintptr_t at)
{
    gcrt_search_word(arg, word, at, FROM_HOT);
}

static void
reach_parked(void *arg, struct gc_stack *stack)
{
    struct search *s = arg;

    gcrt_own_visit_stack(stack_frames(stack), &stack->scopes, reach_own, s);
    if (stack->manners == STACK_PRECISE)
        return;
    reach_range(s, (uintptr_t)stack->regs, (uintptr_t)(stack->regs + CALLEE_SAVED));
    reach_range(s, (uintptr_t)stack->window, (uintptr_t)(stack->window + stack->nwindow));
    reach_range(s, stack->sp, stack->extent.hi);
}

void
gcrt_search_stacks(struct search *s)
{
    struct gcrt_mutator *m;

    RCU_LIST_EACH(struct gcrt_mutator, m, &s->walk.marker.heap->registry.mutators, node)
        gcrt_own_visit_hot(m, reach_hot, s); /* first: a stack may have what lasts, too */
    RCU_LIST_EACH(struct gcrt_mutator, m, &s->walk.marker.heap->registry.mutators, node) {
        gcrt_own_visit(m, reach_own, s);
        if (gcrt_fiber_native(m) != NULL)
            reach_parked(s, &m->native);
        if (m->precise)
            continue;
        if (ahalf_load_relaxed(&m->state) != MUTATOR_INSIDE) {
            reach_range(s, (uintptr_t)m->regs, (uintptr_t)(m->regs + SAVED_REGISTERS));
            reach_range(s, (uintptr_t)m->window, (uintptr_t)(m->window + m->nwindow));
        }
        reach_range(s, stack_lowest(m, m->sp), m->stack_hi);
    }
    gcrt_fibers_visit(s->walk.marker.heap, reach_parked, s);
}

/* ---- paths ---- */

static void PRINTF(3, 4)
append(char *text, size_t n, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, n - used, format, args);
    va_end(args);
}

static uint64_t
parent_of(const struct search *s, uintptr_t object)
{
    return s->parent[(object - heap_of(s)->base) / WORD];
}

uintptr_t
gcrt_search_holder(const struct search *s, uintptr_t object)
{
    uint64_t parent = parent_of(s, object);
    uintptr_t at = parent_address(parent);
    size_t index;
    struct mspan *span;

    if (parent_from(parent) > FROM_TRACE)
        return 0;
    span = gcrt_walk_find(heap_of(s), at, &index);
    return span == NULL ? 0 : span_object(heap_of(s), span, index);
}

static const gc_type *
type_of(const struct search *s, uintptr_t object)
{
    struct gc_heap *heap = s->walk.marker.heap;

    return kind_of(heap, mheap_span_of(&heap->mheap, object))->type;
}

static bool
is_ephemeron(const struct search *s, uintptr_t object)
{
    return type_of(s, object) == &gcrt_ephemeron_type;
}

static bool
lies_in(uintptr_t at, const uintptr_t *words, size_t n)
{
    return at - (uintptr_t)words < n * WORD;
}

static void
append_stack_word(char *text, size_t n, uintptr_t at, struct gc_heap *heap)
{
    const struct gc_stack *stack;
    struct gcrt_mutator *m;

    RCU_LIST_EACH(struct gcrt_mutator, m, &heap->registry.mutators, node) {
        if (lies_in(at, m->regs, SAVED_REGISTERS))
            append(text, n, "a saved register of thread %d\n", m->tid);
        else if (lies_in(at, m->window, WINDOW_WORDS))
            append(text, n, "the stack of thread %d, as it entered a blocking region\n", m->tid);
        else if (gcrt_own_is_of_call(&m->own, at)) /* on its stack */
            append(text, n, "a call of thread %d\n", m->tid);
        else if (at - m->stack_lo < m->stack_hi - m->stack_lo
                || at - m->native.extent.lo < m->native.extent.hi - m->native.extent.lo)
            append(text, n, "the stack of thread %d, word at %#lx\n", m->tid, (unsigned long)at);
        else if (at - (uintptr_t)m->self->hot_items < sizeof(m->self->hot_items))
            append(text, n, "an item of a pool that thread %d keeps\n", m->tid);
        else if (at == (uintptr_t)m)
            append(text, n, "a root callback of thread %d\n", m->tid);
        else
            continue;
        return;
    }
    stack = gcrt_fibers_find(heap, at);
    if (stack != NULL)
        append(text, n, "the parked stack at %#lx, word at %#lx\n",
                (unsigned long)stack->extent.lo, (unsigned long)at);
    else
        append(text, n, "a local of some thread, %#lx\n", (unsigned long)at);
}

static void
append_pool(char *text, size_t n, uintptr_t at, struct gc_heap *heap)
{
    const struct pool *pool = gcrt_pools_find(heap, at);

    if (pool == NULL)
        append(text, n, "a pool, %#lx\n", (unsigned long)at);
    else
        append(text, n, "the pool " SHOWN ", %#lx\n", SHOW(pool->options.name),
                (unsigned long)pool);
}

/* Records stay memory, but by the time that checkmark asks one may be another object's. */
static unsigned long
special_object(uintptr_t at)
{
    return (unsigned long)((const struct special *)(at - offsetof(struct special, arg)))->object;
}

static void
append_heap_root(char *text, size_t n, uintptr_t at, enum root_kind kind, struct gc_heap *heap)
{
    switch (kind) {
    case ROOT_RANGE:
        append(text, n, "a root range, word at %#lx\n", (unsigned long)at);
        break;
    case ROOT_CLEANUP:
        append(text, n, "the argument of a cleanup of %#lx\n", special_object(at));
        break;
    case ROOT_FINALIZER:
        append(text, n, "the argument of a finalizer of %#lx\n", special_object(at));
        break;
    case ROOT_CALLBACK:
        append(text, n, "a callback that is due\n");
        break;
    case ROOT_POOL:
        append_pool(text, n, at, heap);
        break;
    default:
        append(text, n, "a handle, %#lx\n", (unsigned long)at);
        break;
    }
}

static void
append_root(const struct search *s, char *text, size_t n, uint64_t parent)
{
    enum search_from from = parent_from(parent);
    uintptr_t at = parent_address(parent);
    const struct stack_word *w = (const struct stack_word *)at;

    if (from < FROM_HOT)
        append_heap_root(text, n, at, (enum root_kind)(from - FROM_ROOT), s->walk.marker.heap);
    else if (from == FROM_SCAN)
        append(text, n, "the stack of thread %d as it was scanned, word at %#lx\n", w->tid,
                (unsigned long)w->at);
    else
        append_stack_word(text, n, at, s->walk.marker.heap);
}

/* next: the object that this one leads to, or 0. */
static void
append_step(const struct search *s, char *text, size_t n, uintptr_t object, uintptr_t next)
{
    uint64_t parent = next == 0 ? 0 : parent_of(s, next);

    append(text, n, SHOWN " at %#lx", SHOW(type_of(s, object)->name), (unsigned long)object);
    if (parent_from(parent) == FROM_SLOT)
        append(text, n, ", its word at +%zu%s",
                (size_t)(parent_address(parent) - object),
                is_ephemeron(s, object) ? " (value, whose key lives)" : "");
    else if (parent != 0)
        append(text, n, ", by its trace function");
    append(text, n, "\n");
}

/* The steps nearest the object and nearest the root; a list of millions is no surprise. */
struct path {
    uintptr_t last[PATH_ENDS + 1];  /* [0] is the object */
    uintptr_t first[PATH_ENDS + 1]; /* ring: [i % size] is i steps from the object */
    size_t n;
};

static void
follow(const struct search *s, struct path *path, uintptr_t object)
{
    for (; object != 0 && path->n < s->objects; object = gcrt_search_holder(s, object)) {
        if (path->n <= PATH_ENDS)
            path->last[path->n] = object;
        path->first[path->n % (PATH_ENDS + 1)] = object;
        path->n++;
    }
}

static uintptr_t
step_at(const struct path *path, size_t i)
{
    return i <= PATH_ENDS ? path->last[i] : path->first[i % (PATH_ENDS + 1)];
}

void
gcrt_search_path(const struct search *s, uintptr_t object, char *text, size_t n)
{
    struct path path = { .n = 0 };

    text[0] = '\0';
    follow(s, &path, object);
    append_root(s, text, n, parent_of(s, step_at(&path, path.n - 1)));
    for (size_t i = path.n; i-- > 0;) {
        if (i >= PATH_ENDS && path.n - 1 - i >= PATH_ENDS) { /* in the middle */
            append(text, n, "(%zu more)\n", i - PATH_ENDS + 1);
            i = PATH_ENDS;
            continue;
        }
        append_step(s, text, n, step_at(&path, i), i == 0 ? 0 : step_at(&path, i - 1));
    }
}

void
gcrt_search_say(const char *prefix, const char *text)
{
    while (*text != '\0') {
        int len = (int)strcspn(text, "\n");

        gcrt_warn("%s%.*s", prefix, len, text);
        text += len + (text[len] == '\n');
    }
}
