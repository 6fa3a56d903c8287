/* SPDX-License-Identifier: MIT */
/*
 * Arenas that mutators share.
 *
 * Purpose: put objects into chunks that others made or scanned, by plain stores; take out of them
 * what nothing else holds; end them at any moment of a cycle.
 * Place: programs.c draws, host.c performs; the oracle walks what cells point to.
 * Invariants: an arena is in a root; one fiber at a time uses it (busy), as hosts must.  Its cells
 * are known to the host alone, which no collector scans: only the arena keeps them.
 */
#include "fibers.h"
#include "world.h"

#include <string.h>

#define CELLS 64

struct cell {
    uint64_t id;
    void *slot[2];
};

GC_TYPE(cell_type, struct cell, slot);

static struct sim_arena {
    gc_arena *arena; /* a root */
    struct cell *cells[CELLS];
    unsigned n;
    bool busy;
} arenas[SIM_ARENAS];

static struct {
    uint64_t made, put, taken;
} counts;

void
arenas_draw(struct program *p, uint64_t seed)
{
    static const uint8_t duel[] = { OP_NEW, OP_NEW, OP_ARENA_PUT, OP_ARENA_PUT, OP_ARENA_PUT,
        OP_ARENA_TAKE, OP_ARENA_TAKE, OP_ARENA_FREE, OP_DROP, OP_DROP, OP_SAFEPOINT, OP_REST };
    uint64_t rng = seed ^ 0x6172656e61u;
    unsigned kind = (unsigned)rand_below(&rng, 4);

    if (kind < 2)
        return;
    for (unsigned i = 0; i < p->nplayers; i++)
        for (unsigned k = 0; k < p->nops[i]; k++)
            if (kind == 3)
                p->ops[i][k].code = duel[rand_below(&rng, ARRAY_LEN(duel))];
            else if (rand_below(&rng, 4) == 0)
                p->ops[i][k].code = (uint8_t)(OP_ARENA_PUT + rand_below(&rng, 4));
    if (kind == 3) {
        static const enum chaos_place places[] = { CHAOS_REQUEST, CHAOS_ACTION_BEFORE,
            CHAOS_ACTION_AFTER, CHAOS_ALLOC_PUBLISH, CHAOS_MARK_PUSH, CHAOS_TERMINATE };

        p->favourites[0] = places[rand_below(&rng, ARRAY_LEN(places))];
        p->favourites[1] = places[rand_below(&rng, ARRAY_LEN(places))];
        p->stress = 1 + p->stress % 6;
        p->nshapes = 1;
        p->nplayers = p->nplayers < 2 ? 1 : 2;
    }
}

static void
add_cell(struct sim_arena *a, struct cell *cell)
{
    cell->id = ++counts.made;
    a->cells[a->n++] = cell;
}

/* A fresh object gets one or two registers' pointers by plain stores, and is their only holder. */
static void
put(struct player *pl, struct sim_arena *a, const struct op *op)
{
    gc_arena *arena = a->arena;
    struct cell *cell;

    if (a->n == CELLS)
        return;
    if (arena == NULL)
        arena = gc_arena_new(NULL);
    cell = gc_arena_alloc(arena, &cell_type); /* a fresh one has no other holder than the call */
    if (a->arena == NULL)
        player_store(pl, (void **)&a->arena, arena);
    sched_freeze(); /* the oracle must not walk a cell that is not zero */
    if (cell->id != 0 || cell->slot[0] != NULL || cell->slot[1] != NULL)
        sched_fail("a fresh object at %p in an arena is not zero", (void *)cell);
    add_cell(a, cell);
    sched_thaw();
    for (uint8_t i = 0; i < 1 + (op->c & 1); i++) {
        cell->slot[i] = *reg(pl, (uint8_t)(op->b + i));
        sim_point();
        if (op->c & 2)
            *reg(pl, (uint8_t)(op->b + i)) = NULL;
    }
    counts.put++;
}

static struct cell *
cell_of(struct sim_arena *a, uint8_t i)
{
    struct cell *cell = a->n == 0 ? NULL : a->cells[i % a->n];

    if (cell != NULL && cell->id == 0)
        sched_fail("a cell at %p of an arena that lives is empty", (void *)cell);
    return cell;
}

static void
take(struct player *pl, struct sim_arena *a, const struct op *op)
{
    struct cell *cell = cell_of(a, op->b);

    if (cell == NULL)
        return;
    *reg(pl, op->a) = __atomic_load_n(&cell->slot[op->c & 1], __ATOMIC_RELAXED);
    if (op->c & 2)
        player_store(pl, &cell->slot[op->c & 1], NULL);
    counts.taken++;
}

static void
change(struct player *pl, struct sim_arena *a, const struct op *op)
{
    struct cell *cell = cell_of(a, op->b);

    if (cell != NULL)
        player_store(pl, &cell->slot[op->c & 1], *reg(pl, op->a));
}

/* What is taken out last is what a mutator that has been scanned holds when the words vanish. */
static void
end(struct player *pl, struct sim_arena *a, const struct op *op)
{
    if (a->arena == NULL)
        return;
    take(pl, a, op);
    sched_freeze();
    a->n = 0;
    sched_thaw();
    gc_arena_free(a->arena);
    player_store(pl, (void **)&a->arena, NULL);
}

void
arenas_perform(struct player *pl, const struct op *op)
{
    struct sim_arena *a = &arenas[(op->c >> 4) % SIM_ARENAS];

    if (a->busy)
        return;
    a->busy = true;
    if (op->code == OP_ARENA_PUT)
        put(pl, a, op);
    else if (op->code == OP_ARENA_TAKE)
        take(pl, a, op);
    else if (op->code == OP_ARENA_CHANGE)
        change(pl, a, op);
    else
        end(pl, a, op);
    a->busy = false;
}

unsigned
arenas_words(uintptr_t *words)
{
    unsigned n = 0;

    for (unsigned i = 0; i < SIM_ARENAS; i++)
        for (unsigned k = 0; k < arenas[i].n; k++)
            for (unsigned s = 0; s < 2; s++)
                words[n++] = (uintptr_t)arenas[i].cells[k]->slot[s];
    return n;
}

void
arenas_begin(void)
{
    memset(arenas, 0, sizeof(arenas));
    for (unsigned i = 0; i < SIM_ARENAS; i++)
        if (gc_root_add(&arenas[i].arena, sizeof(arenas[i].arena)) != GC_OK)
            sched_fail("arenas: %s", gc_last_error());
}

/* Some are freed, the others lost. */
void
arenas_end(void)
{
    for (unsigned i = 0; i < SIM_ARENAS; i++) {
        arenas[i].n = 0;
        if (arenas[i].arena != NULL && i % 2 == 0)
            gc_arena_free(arenas[i].arena);
        gc_root_remove(&arenas[i].arena);
        arenas[i].arena = NULL;
    }
}

uint64_t
arenas_taken(void)
{
    return counts.taken;
}
