/* SPDX-License-Identifier: MIT */
/*
 * Purpose: ephemerons in the simulated world: what mutators do with them, and what must be
 * true of them at any moment.
 * Place: host.c calls it for operations, oracle.c in walks.
 * Invariants: the value of a reached ephemeron is reached if the key is.  Then it is whole, and
 * its value an object that lives; a broken one's key is not reached, and it stays broken.
 * Concurrency: the scheduler is frozen while anything is checked.
 */
#include "fibers.h"
#include "world.h"

#include "gc/ephemeron.h"

static struct {
    uint64_t made, gets, nulls;
} counts;

/* ---- what must be true ---- */

static const struct gc_ephemeron *
object_of(const struct entry *e)
{
    return (const struct gc_ephemeron *)e->address;
}

uintptr_t
pair_value(const struct entry *e)
{
    return object_of(e)->key != 0 && oracle_reaches_target(e) ? object_of(e)->value : 0;
}

bool
pair_is_broken(const struct entry *e)
{
    return object_of(e)->key == 0;
}

void
pair_check(const struct entry *e)
{
    uintptr_t key = object_of(e)->key;

    if (key != 0 && key != e->target)
        sched_fail("ephemeron %llu is altered: its key is %#lx", (unsigned long long)e->id,
                (unsigned long)key);
    if (key == 0 && oracle_reaches_target(e))
        sched_fail("ephemeron %llu is broken, its key %llu is reached", (unsigned long long)e->id,
                (unsigned long long)e->target_id);
}

void
pair_check_all(struct world *w)
{
    const struct entry *e;

    sched_freeze();
    (void)oracle_walk(w);
    for (size_t i = 0; (e = oracle_entry(i)) != NULL; i++)
        if (e->shape == SHAPE_PAIR_WEAK && e->reached && w->program->precise
                && object_of(e)->key != 0 && !oracle_reaches_target(e))
            sched_fail("ephemeron %llu is whole, its key %llu is not reached",
                    (unsigned long long)e->id, (unsigned long long)e->target_id);
    sched_thaw();
}

/* ---- what mutators do ---- */

static void
do_new(struct player *pl, const struct op *op)
{
    const struct entry *target = oracle_find(pl->world, *reg(pl, op->b));
    struct entry *e;
    uint64_t id;
    void *key, *made;

    if (target == NULL)
        return;
    key = (void *)target->address;
    id = target->id;
    made = gc_ephemeron_new(key, *reg(pl, op->c));
    sched_freeze(); /* no point between the call's return and the register */
    e = oracle_add(pl->world, made, sizeof(struct gc_ephemeron), SHAPE_PAIR_WEAK);
    e->target = (uintptr_t)key;
    e->target_id = id;
    *reg(pl, op->a) = made;
    sched_thaw();
    counts.made++;
}

/* An ephemeron in a register, from i on; else what is in a global takes register i. */
static struct entry *
find_pair(struct player *pl, uint8_t i)
{
    struct entry *e;

    for (uint8_t r = 0; r < pl->world->program->nregisters; r++) {
        e = oracle_find(pl->world, *reg(pl, (uint8_t)(i + r)));
        if (e != NULL && e->shape == SHAPE_PAIR_WEAK)
            return e;
    }
    *reg(pl, i) = __atomic_load_n(&pl->world->globals[i % pl->world->program->nglobals],
            __ATOMIC_RELAXED);
    e = oracle_find(pl->world, *reg(pl, i));
    return e != NULL && e->shape == SHAPE_PAIR_WEAK ? e : NULL;
}

/*
 * NULL is right if the key is not reached; for a value also if that was stored.  What another
 * player has learnt since the call began says nothing: this one may have looked before.
 */
static void
check_got(struct player *pl, struct entry *e, const void *p, bool is_key, bool was_emptied)
{
    (void)oracle_walk(pl->world);
    if (p == NULL) {
        if (is_key && oracle_reaches_target(e))
            sched_fail("ephemeron %llu gives no key, %llu is reached", (unsigned long long)e->id,
                    (unsigned long long)e->target_id);
        e->emptied = e->emptied || is_key;
        counts.nulls++;
        return;
    }
    if (was_emptied)
        sched_fail("ephemeron %llu was broken, gives %p", (unsigned long long)e->id, p);
    if (is_key && oracle_find(pl->world, p)->id != e->target_id)
        sched_fail("ephemeron %llu gives the key %p, not object %llu", (unsigned long long)e->id, p,
                (unsigned long long)e->target_id);
}

static void
do_get(struct player *pl, const struct op *op)
{
    struct entry *e = find_pair(pl, op->b);
    bool is_key = (op->c & 3) == 0, was_emptied;
    void *p;

    if (e == NULL)
        return;
    was_emptied = e->emptied;
    p = is_key ? gc_ephemeron_key((const gc_ephemeron *)e->address)
               : gc_ephemeron_value((const gc_ephemeron *)e->address);
    sched_freeze();
    check_got(pl, e, p, is_key, was_emptied);
    *reg(pl, op->a) = p;
    (void)oracle_walk(pl->world); /* what was given up may be reached again */
    sched_thaw();
    counts.gets++;
}

/* Mostly without the key in a register any more: then only others hold it. */
static void
do_set(struct player *pl, const struct op *op)
{
    struct entry *e = find_pair(pl, op->b);

    if (e != NULL)
        gc_ephemeron_set_value((gc_ephemeron *)e->address, op->c & 8 ? NULL : *reg(pl, op->a));
}

void
pair_perform(struct player *pl, const struct op *op)
{
    if (op->code == OP_PAIR_NEW)
        do_new(pl, op);
    else if (op->code == OP_PAIR_SET)
        do_set(pl, op);
    else
        do_get(pl, op);
}

void
pair_count(struct world_stats *stats)
{
    stats->pairs = counts.made;
    stats->pair_gets = counts.gets;
    stats->pair_nulls = counts.nulls;
}
