/* SPDX-License-Identifier: MIT */
#ifndef GCRT_SIM_WORLD_H
#define GCRT_SIM_WORLD_H

/*
 * The simulated host: a few mutators that run programs of random operations over one heap,
 * and an oracle that knows every object.
 *
 * A mutator's only pointers are in its registers, an array in its first frame, and in frames
 * of the library: what the collector finds on a stack is what the host really holds.
 */

#include "gc/heap.h"

#include <gcrt/gcrt.h>

#define PLAYERS_MAX 4
#define COROS_MAX   3
#define ACTORS_MAX  (PLAYERS_MAX + COROS_MAX)
#define OPS_MAX     400
#define REGISTERS   5
#define GLOBALS     4
#define HANDLES     4
#define SLOTS_MAX   6

enum op_code {
    OP_NONE, /* struck by the shrinker */
    OP_NEW,
    OP_NEW_LARGE,
    OP_WRITE,
    OP_CLEAR,
    OP_LOAD,
    OP_HIDE, /* load, then clear the slot: only the register is left */
    OP_LEND, /* store, forget, take back */
    OP_SWAP,
    OP_CAS,
    OP_COPY,
    OP_MOVE_REGISTER,
    OP_INTERIOR,
    OP_DROP,
    OP_WEAK_NEW, /* to an object that is held: it goes to a register */
    OP_WEAK_GET,
    OP_PAIR_NEW, /* an ephemeron, of two objects that are held */
    OP_PAIR_SET,
    OP_PAIR_GET,
    OP_CLEANUP_ADD, /* to an object that is held, with one made for it as its argument */
    OP_FINALIZER_SET,
    OP_CLEANUP_CANCEL,
    OP_CLEANUP_RUN,
    OP_GLOBAL_PUT,
    OP_GLOBAL_TAKE,
    OP_HANDLE_NEW,
    OP_HANDLE_SET,
    OP_HANDLE_GET,
    OP_HANDLE_FREE,
    OP_POOL_PUT, /* the register is given up */
    OP_POOL_GET,
    OP_SAFEPOINT,
    OP_BLOCK,
    OP_SILENT, /* computes: points pass, none of them a safepoint */
    OP_REST,   /* changes nothing until the cycle that runs has swept */
    OP_DETACH,
    OP_COLLECT,
    OP_GOGC,
    OP_RUN,   /* the first five of coroutines (coros.c): go on with that one */
    OP_YIELD, /* a coroutine: go back to the thread */
    OP_KILL,
    OP_PEEK,
    OP_POKE,
    OP_ARENA_PUT, /* arenas.c: into an object of an arena, by plain stores */
    OP_ARENA_TAKE,
    OP_ARENA_CHANGE,
    OP_ARENA_FREE,
    OP_CODES
};

/* An operation with all its choices; what they mean depends on the state it meets. */
struct op {
    uint8_t code;
    uint8_t a, b, c;
};

struct program {
    unsigned nplayers, cpus, threads;
    unsigned nregisters, nglobals, nshapes; /* few: mutators meet more often */
    enum chaos_place favourites[2]; /* where its threads like to stop */
    uint32_t stress;
    int64_t gogc;
    unsigned cleanup_threads;
    unsigned exempt; /* bit i: player i never assists */
    bool wbcheck;    /* missed barriers are looked for: there are none */
    bool record;     /* the flight recorder is on, and is read at the end */
    bool stw;  /* cycles hold the mutators, which store plainly */
    bool precise; /* only registers keep objects alive, whatever is on the stack */
    bool junk; /* a dropped pointer stays on the stack, where nobody means it */
    unsigned ncoros; /* players that are no threads: those after nplayers */
    bool bound; /* each coroutine stays with one thread */
    unsigned nops[ACTORS_MAX];
    struct op ops[ACTORS_MAX][OPS_MAX];
};

/* One mutator, or coroutine. */
struct player {
    struct world *world;
    unsigned index;
    void *volatile *registers; /* on its stack, and a word of junk; NULL before and after */
    gc_handle *handles[HANDLES];
    bool attached;
    gc_stack *stack;        /* that it runs on, a thread's own */
    void *context[8];       /* machine registers while it does not run; nobody scans it */
    uintptr_t hidden;       /* inverted: the pointer that is in one of those alone */
    struct player *carrier; /* of a coroutine: whose thread it runs on, or ran on last */
    struct player *left;    /* of a thread: from whom it is switching away */
    bool busy, over;        /* of a coroutine */
    unsigned lives;         /* of a coroutine: times that it may begin */
};

struct world {
    const struct program *program;
    gc_heap *heap;
    gc_pool *pool;
    struct player players[ACTORS_MAX];
    void *globals[GLOBALS]; /* registered as roots */
};

struct world_stats {
    uint64_t ops, objects, walks, cycles, handshakes, barrier_words, assists, driven,
            left_to_workers,
        given_back, populated, weak_gets, weak_nulls, cancelled, pairs, pair_gets, pair_nulls,
        filed, fired, cleanups, finalizers, taken_back, revived, pooled;
};

/* Draws a program from the seed. */
void program_draw(struct program *p, uint64_t seed);
/* Runs it under the schedule; ends the process if anything is wrong. */
void world_run(const struct program *p, uint64_t schedule, uint64_t step_max);
const struct world_stats *world_statistics(void);
const char *op_name(enum op_code code);
/* Performs the player's operations, one after the other. */
void player_perform_all(struct player *pl);

/* ---- coroutines ---- */

/* Draws whether the program has coroutines, and what they do. */
void coros_draw(struct program *p, uint64_t seed);
/* Their stacks come and go.  The caller is attached. */
void coros_begin(struct world *w);
void coros_end(struct world *w);
void coros_perform(struct player *pl, const struct op *op);
uint64_t coros_switches(void);

/* ---- arenas ---- */

#define SIM_ARENAS      2
#define SIM_ARENA_WORDS 256

/* Draws whether the program has arenas, and what it does with them. */
void arenas_draw(struct program *p, uint64_t seed);
/* Their roots come and go.  The caller is attached. */
void arenas_begin(void);
void arenas_end(void);
void arenas_perform(struct player *pl, const struct op *op);
/* What their objects point to, in at most SIM_ARENA_WORDS words; how many.  Frozen. */
unsigned arenas_words(uintptr_t *words);
uint64_t arenas_taken(void);

/* ---- objects, as the oracle knows them ---- */

enum shape {
    SHAPE_PAIR,
    SHAPE_ARRAY,
    SHAPE_BLOCK,
    SHAPE_TRACED,
    SHAPE_LEAF,
    SHAPES,
    SHAPE_WEAK = SHAPES, /* a gc_weak */
    SHAPE_PAIR_WEAK      /* a gc_ephemeron */
};

struct pair {
    uint64_t id;
    void *slot[2];
};

/* Conservative: what is in it, nobody says. */
struct block {
    uint64_t id;
    void *slot[5];
};

struct traced {
    uint64_t id;
    uintptr_t slot[3]; /* pointers with their lowest bit set */
};

struct entry {
    uintptr_t address;
    size_t bytes;
    uint64_t id;
    uint8_t shape;
    uintptr_t target; /* SHAPE_WEAK: the object's address; SHAPE_PAIR_WEAK: the key's ... */
    uint64_t target_id; /* ... and number */
    bool emptied; /* SHAPE_WEAK: it has given NULL */
    bool pooled;  /* it has been put, and not come back */
    bool changing; /* its finalizer is being set */
    bool dead;    /* a walk has not reached it, nor waits it for its finalizer */
    bool reached; /* scratch of a walk */
};

/* An operation names a register by any number. */
static inline void *volatile *
reg(struct player *pl, uint8_t i)
{
    return &pl->registers[i % pl->world->program->nregisters];
}

/* A cycle that holds every thread does without the barrier. */
static inline void
player_store(struct player *pl, void **slot, void *value)
{
    if (pl->world->program->stw)
        __atomic_store_n(slot, value, __ATOMIC_RELAXED);
    else
        gc_write(slot, value);
}

void oracle_reset(struct world *w);
/* A new object gets its number; fails if an object that somebody reaches lies there. */
struct entry *oracle_add(struct world *w, void *p, size_t bytes, enum shape shape);
/* The object that p points to or into, which must live; NULL for NULL. */
struct entry *oracle_find(struct world *w, const void *p);
/* The object that starts at the address, alive or not; NULL if none ever did. */
struct entry *oracle_at(uintptr_t address);
/* It is another object now; its number. */
uint64_t oracle_renumber(struct entry *e);
/* gc_weak_new(p) has given weak. */
void oracle_add_weak(struct world *w, void *weak, const void *p);
/*
 * gc_weak_get(weak) has given p: the object while anybody reaches it, else it or, for good,
 * NULL.
 */
void oracle_check_weak(struct world *w, const void *weak, void *p);
/* An entry by number; NULL from the last one on. */
struct entry *oracle_entry(size_t i);
/* Did the last walk reach the object that e, a weak one, was made for? */
bool oracle_reaches_target(const struct entry *e);

/* ---- ephemerons: pairs.c ---- */

/* What they have done. */
void pair_count(struct world_stats *stats);
void pair_perform(struct player *pl, const struct op *op);
/* What a reached ephemeron leads to: its value, if its key is reached; else 0.  Frozen. */
uintptr_t pair_value(const struct entry *e);
/* Has the collector broken it? */
bool pair_is_broken(const struct entry *e);
/* Is it whole, or broken with its key not reached?  During a walk that is done.  Frozen. */
void pair_check(const struct entry *e);
/* Every ephemeron that is reached is whole if and only if its key is reached. */
void pair_check_all(struct world *w);

/* Every gc_weak that is reached gives its object if that is reached, else NULL. */
void oracle_check_all_weak(struct world *w);
/* Cleanups and finalizers that are set or run. */
unsigned ends_how_many_set(void);
/* Walks all that the host reaches and checks each object; how many there are. */
size_t oracle_walk(struct world *w);
/* Words of an object that may hold pointers. */
unsigned entry_nslots(const struct entry *e);
void *entry_slot(const struct entry *e, unsigned i);
void *entry_load(const struct entry *e, unsigned i);
/* A pointer as the slot stores it. */
void *entry_encode(const struct entry *e, void *p);

/* ---- cleanups and finalizers: ends.c ---- */

void ends_reset(struct world *w);
/* What has become of them. */
void ends_count(struct world_stats *stats);
void ends_perform(struct player *pl, const struct op *op);
/* What they keep alive, in at most ENDS_WORDS words; how many.  Frozen. */
#define ENDS_WORDS 16384
unsigned ends_roots(uintptr_t *words);
/* The i-th one's object, if it waits for its finalizer, which frees it at the earliest. */
unsigned ends_number(void);
struct entry *ends_kept(unsigned i);
/* Before the next two: finalizers bring nobody back any more. */
void ends_last(void);
/* No mutator is left: all that can become due does, and runs; no callback runs any more. */
void ends_settle(struct world *w);
/* No root is left either: all that can become due does, and runs; then the rest. */
void ends_finish(struct world *w);

#endif
