/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the ways in which a thread's code can keep a graph of the oracle's alive.
 * Place: tests/stress/oracle.c hangs its families on them.
 * Concurrency: the owner's.
 */
#include "anchor.h"

#include "coro.h"

#include <stdlib.h>

#define FIBER_BYTES ((size_t)64 << 10)

static void **
table_slot(struct anchors *a, size_t i)
{
    return (void **)gc_handle_get(a->table) + i;
}

/* No walk ends behind a single struct, if it does not end in an array. */
static bool
end_counts(const struct node *node)
{
    struct node_elems elems;

    switch (node->kind) {
    case NODE_PTRS:
    case NODE_CELL3:
    case NODE_CELL5:
    case NODE_WIDE:
        return node_elems(node, &elems) && elems.count > 1;
    case NODE_CLASS:
        return false;
    default:
        return true;
    }
}

static void *
stack_word(struct anchors *a, const struct holding *held, char *root)
{
    const struct node *node = &held->family->nodes[held->family->root];

    switch (held->where) {
    case ANCHOR_INTERIOR:
        return root + t_below(a->rng, node->bytes);
    case ANCHOR_END:
        return a->precise || !end_counts(node) ? root : root + node->bytes; /* frames are exact */
    default:
        return root;
    }
}

/* The hook's first store may be plain, or not, and others lie around it. */
static void
hang_in_arena(struct anchors *a, struct holding *held, void *root)
{
    gc_arena *arena = NULL;
    GC_FRAME(root, arena);

    arena = gc_arena_new("anchor");
    held->handle = gc_handle_new(arena);
    T_CHECK(held->handle != NULL, "gc_handle_new gave NULL: %s", gc_last_error());
    for (uint64_t n = t_below(a->rng, 20); n > 0; n--)
        GC_KEEP_ALIVE(gc_arena_alloc_bytes(arena, 8 * n));
    held->hook = gc_arena_alloc_array(arena, &gc_pointer_type, 1 + t_below(a->rng, 9));
    if (t_below(a->rng, 2) == 0)
        held->hook[0] = root;
    else
        t_store(&held->hook[0], root);
}

/* ---- fibers ---- */

struct anchor_fiber {
    struct coro coro;
    struct coro visitor; /* the thread that has resumed it */
    char *memory;
    void *passed, *seen; /* held by the visitor meanwhile */
    bool changes;        /* take what is passed */
};

/* Never returns: whoever resumes it may change what it holds, and learns it. */
static void
hold(void *arg)
{
    struct anchor_fiber *f = arg;
    void *root = NULL;
    GC_FRAME(root);

    for (;;) {
        if (f->changes)
            root = f->passed;
        f->seen = root;
        coro_transfer(&f->coro, &f->visitor);
    }
}

static void *
visit(struct anchor_fiber *f, bool changes, void *root)
{
    void *seen;
    GC_FRAME(root);

    f->passed = root;
    f->changes = changes;
    coro_adopt(&f->visitor, f->coro.how);
    coro_transfer(&f->visitor, &f->coro);
    coro_forget(&f->visitor);
    f->passed = NULL;
    seen = f->seen;
    f->seen = NULL;
    return seen;
}

static struct anchor_fiber *
fiber_of(struct anchors *a, struct holding *held)
{
    struct anchor_fiber *f = held->fiber;

    if (f != NULL)
        return f;
    f = held->fiber = calloc(1, sizeof *f);
    T_CHECK(f != NULL && (f->memory = coro_map(1, FIBER_BYTES)) != NULL, "no memory for a fiber");
    coro_make(&f->coro, (enum coro_how)t_below(a->rng, CORO_HOWS), f->memory, FIBER_BYTES, hold, f);
    return f;
}

void
anchor_end(struct anchors *a)
{
    for (size_t i = 0; i < HELD; i++) {
        struct anchor_fiber *f = a->held[i].fiber;

        if (f == NULL)
            continue;
        coro_drop(&f->coro);
        coro_unmap(f->memory, 1, FIBER_BYTES);
        free(f);
        a->held[i].fiber = NULL;
    }
}

/* ---- all of them ---- */

/* The family's root is root and hangs on anchor i from now on. */
void
anchor_set(struct anchors *a, size_t i, void *root)
{
    struct holding *held = &a->held[i];

    switch (held->where) {
    case ANCHOR_ROOT:
        t_store(&a->roots[i], root);
        break;
    case ANCHOR_HEAP:
        t_store(table_slot(a, i), root);
        break;
    case ANCHOR_HANDLE:
        if (held->handle != NULL) {
            gc_handle_set(held->handle, root);
            break;
        }
        held->handle = gc_handle_new(root);
        T_CHECK(held->handle != NULL, "gc_handle_new gave NULL: %s", gc_last_error());
        break;
    case ANCHOR_ARENA:
        if (held->handle != NULL)
            t_store(&held->hook[0], root);
        else
            hang_in_arena(a, held, root);
        break;
    case ANCHOR_FIBER:
        (void)visit(fiber_of(a, held), true, root);
        break;
    default:
        a->stack[i] = stack_word(a, held, root);
        break;
    }
}

void
anchor_clear(struct anchors *a, size_t i)
{
    struct holding *held = &a->held[i];

    switch (held->where) {
    case ANCHOR_ROOT:
        t_store(&a->roots[i], NULL);
        break;
    case ANCHOR_HEAP:
        t_store(table_slot(a, i), NULL);
        break;
    case ANCHOR_HANDLE:
        gc_handle_free(held->handle);
        held->handle = NULL;
        break;
    case ANCHOR_ARENA:
        gc_arena_free(gc_handle_get(held->handle));
        gc_handle_free(held->handle);
        held->handle = NULL;
        break;
    case ANCHOR_FIBER:
        (void)visit(held->fiber, true, NULL);
        break;
    default:
        a->stack[i] = NULL;
        break;
    }
}

void
anchor_check(struct anchors *a, size_t i)
{
    const struct holding *held = &a->held[i];
    void *root = family_root(held->family), *seen = root;

    if (held->where == ANCHOR_ROOT)
        seen = a->roots[i];
    else if (held->where == ANCHOR_HEAP)
        seen = *table_slot(a, i);
    else if (held->where == ANCHOR_HANDLE)
        seen = gc_handle_get(held->handle);
    else if (held->where == ANCHOR_ARENA)
        seen = held->hook[0];
    else if (held->where == ANCHOR_FIBER)
        seen = visit(held->fiber, false, NULL);
    T_CHECK(seen == root, "anchor %zu (way %d) holds %p, not %p", i, (int)held->where, seen,
            root);
}

enum anchor
anchor_any(struct anchors *a)
{
    return (enum anchor)t_below(a->rng, ANCHORS);
}
