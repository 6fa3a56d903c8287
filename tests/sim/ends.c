/* SPDX-License-Identifier: MIT */
/*
 * Purpose: cleanups and finalizers in the simulated world: what mutators ask for, what the
 * callbacks do, and what must be true when they run.
 * Place: host.c calls it for operations, oracle.c for roots in walks.
 * Invariants: a cleanup runs once, when a walk does not reach its object and no finalizer of
 * it is set, and never after it was taken back.  A finalizer runs once for each time that it
 * is set, when a walk reaches its object by nothing but itself; the object is whole, and
 * another one from then on for those who hold weak references to it.  At the end all have
 * run but what a ring keeps.
 * What the oracle takes for reached: arguments until the callback is over; what a finalizable
 * object points to; and such an object itself while its finalizer runs.  It is there in
 * any case until then.
 * Concurrency: the scheduler is frozen while records change or are checked.  Where a call and
 * its record cannot change at once the oracle asks for less in between.
 */
#include "fibers.h"
#include "world.h"

#define ENDINGS_MAX 1024

enum state {
    END_SET = 1,
    END_LEAVING, /* somebody is taking it back */
    END_RUNS,
    END_OVER,
    END_TAKEN_BACK
};

struct ending {
    uint8_t state;
    bool finalizer, named, contested; /* the last: two want to take it back */
    uint8_t dice;        /* what its callback does */
    uintptr_t object;
    uint64_t object_id;
    uintptr_t note;      /* its argument, an object of its own */
    uint64_t note_id;
    gc_cleanup name;     /* once it is named */
};

static struct {
    struct world *world;
    struct ending all[ENDINGS_MAX];
    unsigned n;
    bool last; /* finalizers that begin bring nobody back */
    bool forced; /* gc_run_cleanups_all: whether it is reached or not */
    uint64_t cleanups, finalizers, taken_back, revived;
} ends;

GC_TYPE(note_type, struct pair, slot);

void
ends_reset(struct world *w)
{
    ends.world = w;
    ends.n = 0;
    ends.last = ends.forced = false;
}

void
ends_count(struct world_stats *stats)
{
    stats->cleanups = ends.cleanups;
    stats->finalizers = ends.finalizers;
    stats->taken_back = ends.taken_back;
    stats->revived = ends.revived;
}

/* ---- for the oracle ---- */

/* The object that it was made for, if that is still there. */
static struct entry *
entry_of(const struct ending *end)
{
    struct entry *e = oracle_at(end->object);

    return e != NULL && e->id == end->object_id ? e : NULL;
}

unsigned
ends_roots(uintptr_t *words)
{
    unsigned n = 0;

    for (unsigned i = 0; i < ends.n; i++) {
        const struct ending *end = &ends.all[i];
        const struct entry *e = entry_of(end);

        if (end->state != END_SET && end->state != END_RUNS)
            continue;
        words[n++] = end->note;
        if (!end->finalizer || e == NULL)
            continue;
        if (end->state == END_RUNS)
            words[n++] = end->object;
        for (unsigned k = 0; k < entry_nslots(e); k++)
            words[n++] = (uintptr_t)entry_load(e, k);
    }
    return n;
}

struct entry *
ends_kept(unsigned i)
{
    const struct ending *end = &ends.all[i];

    return end->finalizer && end->state == END_SET ? entry_of(end) : NULL;
}

unsigned
ends_number(void)
{
    return ends.n;
}

/* ---- callbacks ---- */

static struct ending *
find_ending(const void *note, bool finalizer)
{
    for (unsigned i = 0; i < ends.n; i++)
        if (ends.all[i].note == (uintptr_t)note && ends.all[i].finalizer == finalizer
                && (ends.all[i].state == END_SET || ends.all[i].state == END_LEAVING))
            return &ends.all[i];
    sched_fail("a %s runs that has run or was taken back: its note is %p",
            finalizer ? "finalizer" : "cleanup", note);
}

static bool
has_finalizer(const struct ending *end)
{
    for (unsigned i = 0; i < ends.n; i++)
        if (ends.all[i].finalizer && ends.all[i].state == END_SET
                && ends.all[i].object == end->object
                && ends.all[i].object_id == end->object_id)
            return true;
    return false;
}

static void
check_note(const struct ending *end)
{
    const struct entry *e = oracle_find(ends.world, (void *)end->note);

    if (e == NULL || e->id != end->note_id)
        sched_fail("the note %llu of object %llu is lost", (unsigned long long)end->note_id,
                (unsigned long long)end->object_id);
}

/* Weak references to it were emptied, so for them it is another object now. */
static void
renumber(struct ending *mine)
{
    struct entry *e = entry_of(mine);
    uint64_t old = mine->object_id, id;

    if (e == NULL)
        sched_fail("object %llu is lost: its finalizer runs", (unsigned long long)old);
    id = oracle_renumber(e);
    for (unsigned i = 0; i < ends.n; i++) {
        struct ending *end = &ends.all[i];

        if (end->object == mine->object && end->object_id == old)
            end->object_id = id;
        if (end->note == mine->object && end->note_id == old)
            end->note_id = id;
    }
}

static struct ending *
begin(const void *obj, const void *note)
{
    struct ending *end;
    const struct entry *e;

    sched_freeze();
    end = find_ending(note, obj != NULL);
    (void)oracle_walk(ends.world);
    e = entry_of(end);
    if (e != NULL && e->reached && !ends.forced)
        sched_fail("a %s of object %llu runs, and it is reached",
                end->finalizer ? "finalizer" : "cleanup", (unsigned long long)end->object_id);
    if (!end->finalizer && has_finalizer(end))
        sched_fail("a cleanup of object %llu runs before its finalizer",
                (unsigned long long)end->object_id);
    check_note(end);
    if (end->finalizer) {
        if ((uintptr_t)obj != end->object)
            sched_fail("a finalizer gets %p and not %#lx", obj, (unsigned long)end->object);
        renumber(end);
    }
    end->state = END_RUNS;
    sched_thaw();
    return end;
}

static void
over(struct ending *end)
{
    sched_freeze();
    check_note(end);
    end->state = END_OVER;
    if (end->finalizer)
        ends.finalizers++;
    else
        ends.cleanups++;
    sched_thaw();
}

static void
dawdle(uint8_t dice)
{
    for (unsigned i = 0; i < dice % 8u; i++) {
        if (dice & 8)
            GC_KEEP_ALIVE(gc_alloc_bytes(100));
        gc_safepoint();
        sched_yield_now();
    }
    if (dice >= 250)
        gc_collect(NULL);
}

static void
run_cleanup(void *note)
{
    struct ending *end = begin(NULL, note);

    dawdle(end->dice);
    over(end);
}

static void
store(void **slot, void *value)
{
    if (ends.world->program->stw)
        __atomic_store_n(slot, value, __ATOMIC_RELAXED);
    else
        gc_write(slot, value);
}

static void
run_finalizer(void *obj, void *note)
{
    struct ending *end = begin(obj, note);
    const struct program *p = ends.world->program;

    dawdle(end->dice);
    if (!ends.last && (end->dice & 16)) {
        ends.revived++;
        store(&ends.world->globals[end->dice % p->nglobals], obj);
    }
    over(end);
}

/* ---- what mutators ask for ---- */

/* A fresh object for the argument, in a register; it may point on. */
static struct entry *
make_note(struct player *pl, const struct op *op)
{
    struct pair *note = gc_alloc(&note_type);
    struct entry *e;

    sched_freeze();
    e = oracle_add(pl->world, note, sizeof *note, SHAPE_PAIR);
    *reg(pl, op->c) = note;
    sched_thaw();
    if (reg(pl, op->b) != reg(pl, op->c))
        note->slot[0] = *reg(pl, op->b); /* its address is nowhere yet */
    return e;
}

static struct ending *
new_ending(const struct entry *object, const struct entry *note, const struct op *op,
        bool finalizer)
{
    struct ending *end = &ends.all[ends.n];

    *end = (struct ending){ .state = END_SET, .finalizer = finalizer,
        .dice = (uint8_t)(op->a * 7 + op->b * 3 + op->c), .object = object->address,
        .object_id = object->id, .note = note->address, .note_id = note->id };
    ends.n++;
    return end;
}

/* The record is there before the call: the object and the note are in registers. */
static void
add_cleanup(struct player *pl, struct entry *object, const struct op *op)
{
    struct entry *note = make_note(pl, op);
    struct ending *end = new_ending(object, note, op, false);
    gc_cleanup name;

    if (gc_cleanup_add(*reg(pl, op->a), run_cleanup, (void *)note->address, &name) != GC_OK)
        sched_fail("gc_cleanup_add: %s", gc_last_error());
    sched_freeze();
    end->name = name;
    end->named = true;
    sched_thaw();
}

static void
forget_finalizer(const struct entry *object)
{
    for (unsigned i = 0; i < ends.n; i++)
        if (ends.all[i].finalizer && ends.all[i].state == END_SET
                && ends.all[i].object == object->address
                && ends.all[i].object_id == object->id)
            ends.all[i].state = END_TAKEN_BACK;
}

static void
set_finalizer(struct player *pl, struct entry *object, const struct op *op)
{
    bool clear = op->c >= 200;
    struct entry *note = clear ? NULL : make_note(pl, op);

    if (object->changing)
        return; /* of two who set it at once the last one in the library counts, not here */
    sched_freeze();
    object->changing = true;
    forget_finalizer(object);
    if (!clear)
        (void)new_ending(object, note, op, true);
    sched_thaw();
    if (gc_finalizer_set((void *)object->address, clear ? NULL : run_finalizer,
                clear ? NULL : (void *)note->address) != GC_OK)
        sched_fail("gc_finalizer_set: %s", gc_last_error());
    object->changing = false;
}

static void
add(struct player *pl, const struct op *op)
{
    struct entry *object = oracle_find(pl->world, *reg(pl, op->a));

    if (object == NULL || object->shape >= SHAPES || reg(pl, op->a) == reg(pl, op->c)
            || ends.n == ENDINGS_MAX)
        return;
    if (op->code == OP_CLEANUP_ADD)
        add_cleanup(pl, object, op);
    else
        set_finalizer(pl, object, op);
    if (op->b & 1)
        *reg(pl, op->c) = NULL;
}

/* Is its object reached, so that it cannot be due? */
static bool
is_far(const struct ending *end)
{
    const struct entry *e;

    (void)oracle_walk(ends.world);
    e = entry_of(end);
    return e != NULL && e->reached;
}

static void
take_back(const struct op *op)
{
    struct ending *end;
    int taken;

    if (ends.n == 0)
        return;
    end = &ends.all[(op->a + 256u * op->b) % ends.n];
    if (!end->named || end->state == END_LEAVING)
        return; /* two who take it back at once cannot both succeed */
    sched_freeze();
    end->contested = end->state == END_LEAVING;
    if (end->state == END_SET)
        end->state = END_LEAVING;
    sched_thaw();
    taken = gc_cleanup_cancel(end->name);
    sched_freeze();
    if (taken && end->state != END_LEAVING)
        sched_fail("a cleanup is taken back in state %u", end->state);
    if (!taken && end->state == END_LEAVING && !end->contested && is_far(end))
        sched_fail("a cleanup of object %llu, which is reached, cannot be taken back",
                (unsigned long long)end->object_id);
    ends.taken_back += taken != 0;
    if (end->state == END_LEAVING && (taken || !end->contested))
        end->state = taken ? END_TAKEN_BACK : END_SET;
    sched_thaw();
}

void
ends_perform(struct player *pl, const struct op *op)
{
    if (op->code == OP_CLEANUP_CANCEL)
        take_back(op);
    else if (op->code == OP_CLEANUP_RUN)
        (void)gc_run_cleanups(NULL, op->a % 4u);
    else
        add(pl, op);
}

/* ---- the end ---- */

unsigned
ends_how_many_set(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < ends.n; i++)
        n += ends.all[i].state == END_SET || ends.all[i].state == END_RUNS;
    return n;
}

static void
run_due(struct world *w, bool all)
{
    if (gc_thread_attach(w->heap) != GC_OK)
        sched_fail("attach: %s", gc_last_error());
    if (all)
        (void)gc_run_cleanups_all(NULL);
    (void)gc_run_cleanups(NULL, SIZE_MAX);
    gc_thread_detach();
}

/* Until all that is due has run, and no thread is left that has run it. */
static void
settle(struct world *w, bool all)
{
    struct runner *r = &w->heap->runner;

    run_due(w, all);
    while (aword_load_relaxed(&r->waiting) != 0 || ahalf_load_relaxed(&r->alive) != 0) {
        gcrt_os_sleep_ns(1000000000);
        run_due(w, false); /* a cycle may have come meanwhile */
    }
}

void
ends_settle(struct world *w)
{
    unsigned before, now = ends_how_many_set();

    do {
        before = now;
        gc_collect(w->heap);
        settle(w, false);
        now = ends_how_many_set();
    } while (now != before);
}

void
ends_last(void)
{
    ends.last = true;
}

void
ends_finish(struct world *w)
{
    ends_settle(w);
    sched_freeze();
    (void)oracle_walk(w);
    for (unsigned i = 0; i < ends.n; i++) {
        const struct ending *end = &ends.all[i];
        const struct entry *e = entry_of(end);

        if (end->state == END_SET && (e == NULL || !(e->reached || has_finalizer(end))))
            sched_fail("a %s of object %llu has not run",
                    end->finalizer ? "finalizer" : "cleanup",
                    (unsigned long long)end->object_id);
    }
    sched_thaw();
    ends.forced = true;
    settle(w, true); /* what rings keep */
    if (ends_how_many_set() != 0)
        sched_fail("%u callbacks have not run", ends_how_many_set());
}
