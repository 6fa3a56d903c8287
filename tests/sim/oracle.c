/* SPDX-License-Identifier: MIT */
/*
 * Purpose: know every object that the simulated host has made, and check that each one the
 * host can reach is still itself.
 * Place: host.c adds objects and asks; it looks into the heap through internal headers only
 * to see whether a slot is allocated.
 * Invariants: the truth about edges is the heap itself: a walk follows real slots from the
 * real roots.  An object that is reached must be allocated, carry its number, and be
 * followed by nothing that was made in its place.  An address is handed out again only if
 * a walk finds that nobody reaches the object that was there.
 * Concurrency: the scheduler is frozen while the oracle looks.
 * Cost: a walk visits what is alive, some tens of objects.
 */
#include "fibers.h"
#include "world.h"

#include <stdlib.h>
#include <string.h>

#define TABLE ((size_t)1 << 14) /* addresses that a run may use */

static struct {
    struct entry entries[TABLE];
    struct entry *queue[TABLE];
    size_t used[TABLE], nused;
    uintptr_t words[ENDS_WORDS];
    uint64_t next_id;
} oracle;

void
oracle_reset(struct world *w)
{
    (void)w;
    for (size_t i = 0; i < oracle.nused; i++)
        memset(&oracle.entries[oracle.used[i]], 0, sizeof(oracle.entries[0]));
    oracle.nused = 0;
    oracle.next_id = 1;
}

/* The entry of an object's first byte, or the free place for it. */
static struct entry *
place_of(uintptr_t address)
{
    size_t i = (size_t)((address * 0x9e3779b97f4a7c15u) >> 50);

    while (oracle.entries[i].address != 0 && oracle.entries[i].address != address)
        i = (i + 1) % TABLE;
    return &oracle.entries[i];
}

/* ---- shapes ---- */

unsigned
entry_nslots(const struct entry *e)
{
    switch ((enum shape)e->shape) {
    case SHAPE_PAIR:
        return 2;
    case SHAPE_ARRAY:
        return (unsigned)min_size(e->bytes / WORD, SLOTS_MAX);
    case SHAPE_BLOCK:
        return 5;
    case SHAPE_TRACED:
        return 3;
    default:
        return 0;
    }
}

static unsigned
first_slot(const struct entry *e)
{
    return e->shape == SHAPE_ARRAY ? 0 : 1;
}

/* A long array's slots are at its end: that is where a scan comes last. */
void *
entry_slot(const struct entry *e, unsigned i)
{
    uintptr_t at = e->address + (first_slot(e) + i) * WORD;

    if (e->shape == SHAPE_ARRAY)
        at = e->address + e->bytes - (entry_nslots(e) - i) * WORD;
    return (void *)at;
}

void *
entry_load(const struct entry *e, unsigned i)
{
    uintptr_t word = *(volatile uintptr_t *)entry_slot(e, i);

    return (void *)(e->shape == SHAPE_TRACED ? word & ~(uintptr_t)1 : word);
}

void *
entry_encode(const struct entry *e, void *p)
{
    return e->shape == SHAPE_TRACED && p != NULL ? (char *)p + 1 : p;
}

/* ---- checks ---- */

static void
check_allocated(struct world *w, const struct entry *e)
{
    const struct mheap *h = &w->heap->mheap;
    struct mspan *s = mheap_span_of(h, e->address);
    size_t i;

    if (s == NULL)
        sched_fail("object %llu at %#lx is lost: its pages are free",
                (unsigned long long)e->id, (unsigned long)e->address);
    i = span_object_index(h, s, e->address);
    if (i >= s->nelems || span_object(h, s, i) != e->address)
        sched_fail("object %llu at %#lx is lost: its span is another's",
                (unsigned long long)e->id, (unsigned long)e->address);
    if (!span_is_allocated(s, i))
        sched_fail("object %llu at %#lx is lost: its slot is free", (unsigned long long)e->id,
                (unsigned long)e->address);
}

/* What it says by itself, whoever asks: its object, or nothing. */
static void
check_weak_object(const struct entry *e)
{
    const gc_weak *weak = (const gc_weak *)e->address;

    if (weak->impl_target != NULL && (uintptr_t)weak->impl_target != e->target)
        sched_fail("weak reference %llu at %#lx is altered: it has %p", (unsigned long long)e->id,
                (unsigned long)e->address, weak->impl_target);
}

static void
check_entry(struct world *w, const struct entry *e)
{
    check_allocated(w, e);
    if (e->shape == SHAPE_WEAK)
        check_weak_object(e);
    else if (e->shape != SHAPE_PAIR_WEAK && e->shape != SHAPE_ARRAY
            && *(volatile uint64_t *)e->address != e->id)
        sched_fail("object %llu at %#lx is altered: its number is %#llx",
                (unsigned long long)e->id, (unsigned long)e->address,
                *(volatile unsigned long long *)e->address);
}

/* The entry of whatever word points to or into; NULL for NULL. */
static struct entry *
find(struct world *w, uintptr_t word)
{
    const struct mheap *h = &w->heap->mheap;
    struct mspan *s;
    struct entry *e;
    size_t i;

    if (word == 0)
        return NULL;
    s = mheap_span_of(h, word);
    if (s == NULL)
        sched_fail("a reachable object at %#lx is lost: its pages are free",
                (unsigned long)word);
    i = span_object_index(h, s, word);
    e = i < s->nelems ? place_of(span_object(h, s, i)) : NULL;
    if (e == NULL || e->address == 0)
        sched_fail("a reachable object at %#lx is lost: no object was ever made there",
                (unsigned long)word);
    return e;
}

struct entry *
oracle_find(struct world *w, const void *p)
{
    struct entry *e;

    if (p == NULL)
        return NULL;
    sched_freeze();
    e = find(w, (uintptr_t)p);
    check_entry(w, e);
    e->dead = false;
    sched_thaw();
    return e;
}

/* ---- walking ---- */

static size_t
reach(struct world *w, uintptr_t word, size_t n)
{
    struct entry *e = find(w, word);

    if (e == NULL || e->reached)
        return n;
    e->reached = true;
    check_entry(w, e);
    oracle.queue[n] = e;
    return n + 1;
}

static size_t
reach_roots(struct world *w)
{
    size_t n = 0;

    for (unsigned i = 0; i < w->program->nplayers + w->program->ncoros; i++) {
        struct player *pl = &w->players[i];

        for (unsigned r = 0; pl->registers != NULL && r < REGISTERS; r++)
            n = reach(w, (uintptr_t)pl->registers[r], n);
        for (unsigned k = 0; k < HANDLES; k++)
            if (pl->handles[k] != NULL)
                n = reach(w, (uintptr_t)gc_handle_get(pl->handles[k]), n);
        n = reach(w, ~pl->hidden, n);
    }
    for (unsigned k = ends_roots(oracle.words); k > 0; k--)
        n = reach(w, oracle.words[k - 1], n);
    for (unsigned k = arenas_words(oracle.words); k > 0; k--)
        n = reach(w, oracle.words[k - 1], n);
    for (unsigned g = 0; g < GLOBALS; g++)
        n = reach(w, (uintptr_t)__atomic_load_n(&w->globals[g], __ATOMIC_RELAXED), n);
    return n;
}

static size_t
reach_slots(struct world *w, size_t at, size_t n)
{
    for (; at < n; at++)
        for (unsigned i = 0; i < entry_nslots(oracle.queue[at]); i++)
            n = reach(w, (uintptr_t)entry_load(oracle.queue[at], i), n);
    return n;
}

/* Values whose keys are reached, as often as there is a new one. */
static size_t
reach_pairs(struct world *w, size_t n)
{
    size_t before;

    do {
        before = n;
        for (size_t at = 0; at < n; at++)
            if (oracle.queue[at]->shape == SHAPE_PAIR_WEAK)
                n = reach(w, pair_value(oracle.queue[at]), n);
        n = reach_slots(w, before, n);
    } while (n != before);
    for (size_t at = 0; at < n; at++)
        if (oracle.queue[at]->shape == SHAPE_PAIR_WEAK)
            pair_check(oracle.queue[at]);
    return n;
}

/* They are there, and whole, whoever reaches them. */
static void
keep_finalizable(struct world *w)
{
    for (unsigned i = 0; i < ends_number(); i++) {
        struct entry *e = ends_kept(i);

        if (e == NULL)
            continue;
        check_entry(w, e);
        e->dead = false;
    }
}

size_t
oracle_walk(struct world *w)
{
    size_t n;

    sched_freeze();
    for (size_t i = 0; i < oracle.nused; i++)
        oracle.entries[oracle.used[i]].reached = false;
    n = reach_pairs(w, reach_slots(w, 0, reach_roots(w)));
    for (size_t i = 0; i < oracle.nused; i++) {
        struct entry *e = &oracle.entries[oracle.used[i]];

        e->dead = !e->reached;
    }
    keep_finalizable(w);
    sched_thaw();
    return n;
}

struct entry *
oracle_at(uintptr_t address)
{
    struct entry *e = place_of(address);

    return e->address == 0 ? NULL : e;
}

uint64_t
oracle_renumber(struct entry *e)
{
    e->id = oracle.next_id++;
    if (e->shape != SHAPE_ARRAY && e->shape != SHAPE_WEAK)
        *(uint64_t *)e->address = e->id;
    return e->id;
}

struct entry *
oracle_add(struct world *w, void *p, size_t bytes, enum shape shape)
{
    struct entry *e = place_of((uintptr_t)p);

    if (e->address != 0 && !e->dead) {
        (void)oracle_walk(w);
        if (!e->dead)
            sched_fail("object %llu at %#lx is lost: another one is made in its place",
                    (unsigned long long)e->id, (unsigned long)e->address);
    }
    if (e->address == 0) {
        if (oracle.nused == TABLE / 2)
            sched_fail("the oracle's table is full");
        oracle.used[oracle.nused++] = (size_t)(e - oracle.entries);
    }
    *e = (struct entry){ .address = (uintptr_t)p, .bytes = bytes, .shape = (uint8_t)shape,
        .id = oracle.next_id++ };
    if (shape != SHAPE_ARRAY && shape < SHAPES)
        *(uint64_t *)e->address = e->id;
    return e;
}

struct entry *
oracle_entry(size_t i)
{
    return i < oracle.nused ? &oracle.entries[oracle.used[i]] : NULL;
}

/* ---- weak references ---- */

/* Is the object that the weak reference was made for still there, and reached by the last walk? */
bool
oracle_reaches_target(const struct entry *weak)
{
    const struct entry *e = place_of(weak->target);

    return e->address != 0 && e->id == weak->target_id && e->reached;
}

static struct entry *
weak_entry(struct world *w, const void *weak)
{
    struct entry *e = find(w, (uintptr_t)weak);

    if (e->shape != SHAPE_WEAK)
        sched_fail("%p is no weak reference", weak);
    return e;
}

/* Is it gone, or has somebody who knows it weakly seen it go?  Then this is another one there. */
static bool
was_lost(struct world *w, const struct entry *weak)
{
    (void)oracle_walk(w);
    if (weak->emptied && !weak->reached)
        return true;
    for (size_t i = 0; i < oracle.nused; i++) {
        const struct entry *e = &oracle.entries[oracle.used[i]];

        if (e->reached && e->target_id == weak->id
                && (e->shape == SHAPE_PAIR_WEAK
                                ? pair_is_broken(e)
                                : ((const gc_weak *)e->address)->impl_target == NULL))
            return true;
    }
    return false;
}

void
oracle_add_weak(struct world *w, void *weak, const void *p)
{
    struct entry *target = find(w, (uintptr_t)p), *e = place_of((uintptr_t)weak);

    if (e->address != 0 && e->shape == SHAPE_WEAK && e->target == target->address
            && e->target_id == target->id && !was_lost(w, e)) {
        if (e->emptied)
            sched_fail("weak reference %llu is given out again, empty",
                    (unsigned long long)e->id);
        e->dead = target->dead = false;
        return;
    }
    e = oracle_add(w, weak, sizeof(gc_weak), SHAPE_WEAK);
    e->target = target->address;
    e->target_id = target->id;
    for (size_t i = 0; i < oracle.nused; i++) {
        const struct entry *other = &oracle.entries[oracle.used[i]];

        if (other != e && other->shape == SHAPE_WEAK && other->target_id == e->target_id
                && !other->dead && (oracle_walk(w), other->reached))
            sched_fail("object %llu has two weak references", (unsigned long long)target->id);
    }
    e->dead = target->dead = false; /* a walk has not found what is in no register yet */
}

void
oracle_check_weak(struct world *w, const void *weak, void *p)
{
    struct entry *e = weak_entry(w, weak);

    if (p == NULL) {
        (void)oracle_walk(w);
        if (oracle_reaches_target(e))
            sched_fail("weak reference %llu gives NULL, object %llu is reached",
                    (unsigned long long)e->id, (unsigned long long)e->target_id);
        e->emptied = true;
        return;
    }
    if (e->emptied)
        sched_fail("weak reference %llu was NULL, gives %p", (unsigned long long)e->id, p);
    if ((uintptr_t)p != e->target || find(w, (uintptr_t)p)->id != e->target_id)
        sched_fail("weak reference %llu gives %p, not object %llu", (unsigned long long)e->id, p,
                (unsigned long long)e->target_id);
}

void
oracle_check_all_weak(struct world *w)
{
    sched_freeze();
    (void)oracle_walk(w);
    for (size_t i = 0; i < oracle.nused; i++) {
        const struct entry *e = &oracle.entries[oracle.used[i]];
        const gc_weak *weak = (const gc_weak *)e->address;

        if (e->shape != SHAPE_WEAK || !e->reached)
            continue;
        if (weak->impl_target != NULL && (!w->program->precise || ends_how_many_set() != 0))
            continue; /* a root's word may keep the object before, a finalizer what it needs */
        if ((weak->impl_target != NULL) != oracle_reaches_target(e))
            sched_fail("weak reference %llu has %p, object %llu is%s reached",
                    (unsigned long long)e->id, weak->impl_target,
                    (unsigned long long)e->target_id, oracle_reaches_target(e) ? "" : " not");
    }
    sched_thaw();
}
