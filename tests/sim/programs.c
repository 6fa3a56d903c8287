/* SPDX-License-Identifier: MIT */
/*
 * Purpose: draw the programs that simulated mutators run.
 * Place: sim.c asks for one per seed; host.c performs its operations.
 * Invariants: a program is a pure function of its seed.
 */
#include "fibers.h"
#include "world.h"

#include <string.h>

const char *
op_name(enum op_code code)
{
    static const char *const names[OP_CODES] = { "none", "new", "new_large", "write", "clear",
        "load", "hide", "lend", "swap", "cas", "copy", "move_register", "interior", "drop",
        "weak_new", "weak_get", "pair_new", "pair_set", "pair_get", "cleanup_add", "finalizer_set",
        "cleanup_cancel", "cleanup_run", "global_put", "global_take",
        "handle_new", "handle_set", "handle_get", "handle_free",
        "pool_put", "pool_get", "safepoint", "block", "silent", "rest", "detach", "collect",
        "gogc", "run", "yield", "kill", "peek", "poke", "arena_put", "arena_take", "arena_change",
        "arena_free" };

    return names[code];
}

/* How often each operation is drawn, before a program's own taste. */
static const uint8_t weights[OP_CODES] = { [OP_NEW] = 26, [OP_NEW_LARGE] = 1, [OP_WRITE] = 20,
    [OP_CLEAR] = 4, [OP_LOAD] = 10, [OP_HIDE] = 12, [OP_LEND] = 10, [OP_SWAP] = 5, [OP_CAS] = 4,
    [OP_COPY] = 4, [OP_MOVE_REGISTER] = 3, [OP_INTERIOR] = 2, [OP_DROP] = 5,
    [OP_WEAK_NEW] = 6, [OP_WEAK_GET] = 10, [OP_PAIR_NEW] = 8, [OP_PAIR_SET] = 4,
    [OP_PAIR_GET] = 10, [OP_CLEANUP_ADD] = 6, [OP_FINALIZER_SET] = 4, [OP_CLEANUP_CANCEL] = 3,
    [OP_CLEANUP_RUN] = 4, [OP_GLOBAL_PUT] = 8, [OP_GLOBAL_TAKE] = 6, [OP_HANDLE_NEW] = 3,
    [OP_HANDLE_SET] = 3, [OP_HANDLE_GET] = 3, [OP_HANDLE_FREE] = 2, [OP_POOL_PUT] = 9,
    [OP_POOL_GET] = 12, [OP_SAFEPOINT] = 4, [OP_BLOCK] = 3,
    [OP_SILENT] = 2, [OP_REST] = 4, [OP_DETACH] = 2, [OP_COLLECT] = 1, [OP_GOGC] = 1 };

/*
 * A program has a taste: it does without about half of the operations and likes some of the
 * others.  ("Swarm testing", Groce et al., ISSTA 2012: programs that use everything a little
 * rarely do one thing often enough.)
 */
static void
draw_taste(uint64_t *rng, unsigned *taste)
{
    for (unsigned i = 0; i < OP_CODES; i++)
        taste[i] = i >= OP_RUN || rand_below(rng, 2)
            ? 0
            : weights[i] * (1 + (unsigned)rand_below(rng, 6));
    taste[OP_NEW] += 20;
    taste[OP_DROP] += 2;
    if (rand_below(rng, 4) != 0)
        taste[OP_NEW_LARGE] = 0; /* thousands of points each */
}

#define FIGHTING 10

/*
 * A few mutators fight over one global: the programs that the barrier's proof is about; or over
 * weak references, or ephemerons, and stop where the decision about these is made.
 */
static void
draw_duel(struct program *p, uint64_t *rng, unsigned *taste)
{
    static const enum chaos_place places[3][6] = {
        { CHAOS_REQUEST, CHAOS_BARRIER_STORE, CHAOS_ACTION_BEFORE, CHAOS_ACTION_AFTER,
                CHAOS_MARK_PUSH, CHAOS_TERMINATE },
        { CHAOS_REQUEST, CHAOS_WEAK_UPGRADE, CHAOS_ACTION_BEFORE, CHAOS_ACTION_AFTER,
                CHAOS_WEAK_DECIDED, CHAOS_TERMINATE },
        { CHAOS_MARK_PUSH, CHAOS_WEAK_UPGRADE, CHAOS_MARK_DRY, CHAOS_ACTION_AFTER,
                CHAOS_WEAK_DECIDED, CHAOS_TERMINATE },
    };
    static const uint8_t fighting[3][FIGHTING] = {
        { OP_NEW, OP_LEND, OP_WRITE, OP_HIDE, OP_LOAD, OP_GLOBAL_PUT, OP_GLOBAL_TAKE, OP_DROP,
                OP_SAFEPOINT, OP_REST },
        { OP_NEW, OP_LEND, OP_WRITE, OP_HIDE, OP_WEAK_NEW, OP_GLOBAL_PUT, OP_GLOBAL_TAKE, OP_DROP,
                OP_WEAK_GET, OP_REST },
        { OP_NEW, OP_LEND, OP_PAIR_SET, OP_HIDE, OP_PAIR_NEW, OP_GLOBAL_PUT, OP_GLOBAL_TAKE,
                OP_DROP, OP_PAIR_GET, OP_REST },
    };
    unsigned about = (unsigned)rand_below(rng, 5);
    unsigned kind = about < 3 ? 0 : about - 2;

    for (unsigned i = 0; i < OP_CODES; i++)
        taste[i] = 0;
    for (unsigned i = 0; i < FIGHTING; i++)
        taste[fighting[kind][i]] = 1 + (unsigned)rand_below(rng, 8);
    taste[OP_REST] += 3;
    taste[OP_WEAK_GET] *= 3;
    taste[OP_PAIR_GET] *= 2;
    for (unsigned i = 0; i < 2; i++)
        p->favourites[i] = places[kind][rand_below(rng, 6)];
    p->nplayers = 2;
    p->nregisters = 2 + p->nregisters % 3;
    p->nglobals = 1 + p->nglobals % 2;
    p->nshapes = 1;
    p->stress = 1 + p->stress % 6;
}

static enum op_code
draw_code(uint64_t *rng, const unsigned *taste)
{
    unsigned sum = 0, dice;

    for (unsigned i = 0; i < OP_CODES; i++)
        sum += taste[i];
    dice = (unsigned)rand_below(rng, sum);
    for (unsigned i = 0; i < OP_CODES; i++) {
        if (dice < taste[i])
            return (enum op_code)i;
        dice -= taste[i];
    }
    return OP_NONE;
}

void
program_draw(struct program *p, uint64_t seed)
{
    static const int64_t gogcs[] = { 0, 5, 50, 100, 1000 };
    unsigned taste[OP_CODES];
    uint64_t rng = seed;

    memset(p, 0, sizeof *p);
    p->nplayers = 1 + (unsigned)rand_below(&rng, 3);
    p->cpus = 1 + (unsigned)rand_below(&rng, 3);
    p->threads = 1 + (unsigned)rand_below(&rng, 2);
    p->stress = 1 + (uint32_t)rand_below(&rng, 30);
    p->nregisters = 2 + (unsigned)rand_below(&rng, REGISTERS - 1);
    p->nglobals = 1 + (unsigned)rand_below(&rng, GLOBALS);
    p->gogc = gogcs[rand_below(&rng, ARRAY_LEN(gogcs))];
    p->nshapes = 1 + (unsigned)rand_below(&rng, SHAPES);
    p->junk = rand_below(&rng, 4) == 0;
    draw_taste(&rng, taste);
    for (unsigned i = 0; i < 2; i++)
        p->favourites[i] = (enum chaos_place)rand_below(&rng, CHAOS_PLACE_COUNT);
    if (rand_below(&rng, 2))
        draw_duel(p, &rng, taste);
    for (unsigned i = 0; i < p->nplayers; i++) {
        p->nops[i] = 20 + (unsigned)rand_below(&rng, OPS_MAX - 20);
        for (unsigned k = 0; k < p->nops[i]; k++)
            p->ops[i][k] = (struct op){ (uint8_t)draw_code(&rng, taste), (uint8_t)rand_next(&rng),
                (uint8_t)rand_next(&rng), (uint8_t)rand_next(&rng) };
    }
    arenas_draw(p, seed);
    coros_draw(p, seed);
    p->cleanup_threads = (unsigned)rand_below(&rng, 3);
    p->exempt = rand_below(&rng, 2) ? (unsigned)rand_below(&rng, 1u << PLAYERS_MAX) : 0;
    p->wbcheck = rand_below(&rng, 8) == 0;
    p->record = rand_below(&rng, 4) == 0;
}
