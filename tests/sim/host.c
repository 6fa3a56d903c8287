/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what simulated mutators do: allocate, store through every barrier, hide objects
 * from a scan that is under way, block, detach, hold handles, and check what they hold.
 * Place: sim.c draws programs and schedules; the library under test is the real one.
 * Invariants: a pointer is in a register, a slot, a global or a handle whenever another
 * fiber may run, or in the library's own frames.  Each operation runs in a frame of its
 * own that is overwritten after it.
 * Concurrency: fibers; nothing here is shared but through the library.
 * Source: the "hide the object" operations are those that Dijkstra, Lamport et al. (1978)
 * and Yuasa (1990) show to break collectors.
 */
#include "fibers.h"
#include "gc/trace.h"
#include "sim_os.h"
#include "world.h"

#include <stdlib.h>
#include <string.h>

#define LARGE_BYTES ((size_t)40 << 10)

GC_TYPE(pair_type, struct pair, slot);
GC_TYPE_CONSERVATIVE(block_type, struct block);

static void
trace_traced(const void *obj, size_t bytes, gc_tracer *tracer)
{
    const struct traced *t = obj;

    (void)bytes;
    for (unsigned i = 0; i < 3; i++) {
        uintptr_t word = __atomic_load_n(&t->slot[i], __ATOMIC_RELAXED);

        gc_trace(tracer, (const void *)(word & ~(uintptr_t)1));
    }
}

GC_TYPE_TRACED(traced_type, struct traced, trace_traced);

static struct world_stats stats;

const struct world_stats *
world_statistics(void)
{
    return &stats;
}

/* ---- a mutator's registers ---- */

/*
 * What a register has, for a call that stores it.  An argument needs no other holder, of a
 * precise player neither, so now and then the register has forgotten it by then.
 */
static void *
argument(struct player *pl, const struct op *op, uint8_t i)
{
    void *p = *reg(pl, i);

    if (op->c & 0x20)
        *reg(pl, i) = NULL;
    return p;
}

static struct entry *
entry_in(struct player *pl, uint8_t i)
{
    return oracle_find(pl->world, *reg(pl, i));
}

/* A slot of the object in the register, or NULL. */
static void *
slot_in(struct player *pl, uint8_t r, uint8_t i, struct entry **ret)
{
    struct entry *e = entry_in(pl, r);

    *ret = e;
    if (e == NULL || entry_nslots(e) == 0)
        return NULL;
    return entry_slot(e, i % entry_nslots(e));
}

/* ---- making objects ---- */

static const size_t leaf_bytes[] = { 8, 16, 24, 100, 1000 };

static void
check_zero(const void *p, size_t bytes)
{
    const uint64_t *word = p;

    for (size_t i = 0; i < bytes / 8; i++)
        if (word[i] != 0)
            sched_fail("a fresh object at %p has %#llx in word %zu", p,
                    (unsigned long long)word[i], i);
}

/* Stores into an object whose address is nowhere yet need no barrier. */
static void
initialise(struct player *pl, struct entry *e, const struct op *op)
{
    unsigned n = entry_nslots(e);

    for (unsigned i = 0; i < n && i < (op->c & 3u); i++) {
        uint8_t from = (uint8_t)(op->b + i);

        if (reg(pl, from) == reg(pl, op->a))
            continue; /* its own address: then it would be stored somewhere */
        *(void **)entry_slot(e, i) = entry_encode(e, *reg(pl, from));
        sim_point();
    }
}

static void *
allocate(struct player *pl, const struct op *op, enum shape shape, size_t *bytes)
{
    (void)pl;
    switch (shape) {
    case SHAPE_PAIR:
        *bytes = sizeof(struct pair);
        return gc_alloc(&pair_type);
    case SHAPE_ARRAY:
        *bytes = (1 + op->c % 40u) * WORD;
        return gc_alloc_array(&gc_pointer_type, *bytes / WORD);
    case SHAPE_BLOCK:
        *bytes = sizeof(struct block);
        return gc_alloc(&block_type);
    case SHAPE_TRACED:
        *bytes = sizeof(struct traced);
        return gc_alloc(&traced_type);
    default:
        *bytes = leaf_bytes[op->c % ARRAY_LEN(leaf_bytes)];
        *bytes = *bytes < 8 ? 8 : *bytes; /* tiny blocks are shared: no number fits */
        return gc_alloc_bytes(*bytes);
    }
}

static void
do_new(struct player *pl, const struct op *op, bool large)
{
    enum shape shape = large ? SHAPE_ARRAY : (enum shape)(op->b % pl->world->program->nshapes);
    size_t bytes = LARGE_BYTES;
    void *p = large ? gc_alloc_array(&gc_pointer_type, LARGE_BYTES / WORD)
                    : allocate(pl, op, shape, &bytes);
    struct entry *e;

    /* No point between the call's return and the register. */
    sched_freeze();
    check_zero(p, bytes);
    e = oracle_add(pl->world, p, bytes, shape);
    *reg(pl, op->a) = p;
    sched_thaw();
    initialise(pl, e, op);
    stats.objects++;
}

/* ---- slots ---- */

static void
do_write(struct player *pl, const struct op *op, bool clear)
{
    struct entry *e;
    void *slot = slot_in(pl, op->a, op->c, &e);

    if (slot != NULL)
        player_store(pl, (void **)slot, clear ? NULL : entry_encode(e, argument(pl, op, op->b)));
}

static void
do_load(struct player *pl, const struct op *op, bool hide)
{
    struct entry *e;
    void *slot = slot_in(pl, op->b, op->c, &e);

    if (slot == NULL)
        return;
    *reg(pl, op->a) = entry_load(e, op->c % entry_nslots(e));
    if (hide)
        player_store(pl, (void **)slot, NULL);
}

static void
do_swap(struct player *pl, const struct op *op)
{
    struct entry *e;
    void *slot = slot_in(pl, op->a, op->c, &e);

    if (slot == NULL || e->shape == SHAPE_TRACED)
        return;
    *reg(pl, op->c) = gc_exchange((void **)slot, argument(pl, op, op->b));
}

static void
do_cas(struct player *pl, const struct op *op)
{
    struct entry *e;
    void *slot = slot_in(pl, op->a, op->c, &e);

    if (slot == NULL || e->shape == SHAPE_TRACED)
        return;
    *reg(pl, op->c) = entry_load(e, op->c % entry_nslots(e));
    /* The object itself may have gone from its register by that. */
    (void)gc_cas((void **)slot, *reg(pl, op->c), *reg(pl, op->b));
}

/* Between two arrays, or within one. */
static void
do_copy(struct player *pl, const struct op *op)
{
    struct entry *to = entry_in(pl, op->a), *from = entry_in(pl, op->b);
    size_t n;

    if (to == NULL || from == NULL || to->shape != SHAPE_ARRAY || from->shape != SHAPE_ARRAY)
        return;
    n = 1 + op->c % min_size(entry_nslots(to), entry_nslots(from));
    if (op->c & 0x40)
        gc_clear(&gc_pointer_type, entry_slot(to, 0), n);
    else if (to == from)
        gc_move(&gc_pointer_type, entry_slot(to, 0),
                entry_slot(from, entry_nslots(from) - (unsigned)n), n);
    else
        gc_copy(&gc_pointer_type, entry_slot(to, 0), entry_slot(from, 0), n);
}

/* A pointer goes to a place that others use, is forgotten, and taken back later. */
static void
do_lend(struct player *pl, const struct op *op)
{
    void **global = &pl->world->globals[op->b % pl->world->program->nglobals];

    player_store(pl, global, *reg(pl, op->a));
    *reg(pl, op->a) = NULL;
    for (unsigned i = op->c % 8; i > 0; i--) {
        gc_safepoint();
        sched_yield_now();
    }
    *reg(pl, op->a) = __atomic_load_n(global, __ATOMIC_RELAXED);
    if (op->c & 8)
        player_store(pl, global, *reg(pl, op->c));
}

static void
do_interior(struct player *pl, const struct op *op)
{
    struct entry *e = entry_in(pl, op->a);

    if (e != NULL)
        *reg(pl, op->a) = (char *)e->address + op->b % e->bytes / 8 * 8;
}

/* ---- weak references ---- */

static void
do_weak_new(struct player *pl, const struct op *op)
{
    void *p = *reg(pl, op->b), *weak;

    if (p == NULL)
        return;
    weak = gc_weak_new(p);
    sched_freeze(); /* no point between the call's return and the register */
    oracle_add_weak(pl->world, weak, p);
    *reg(pl, op->a) = weak;
    sched_thaw();
}

/* A register with a weak reference, from i on; one is taken from a global if there is none. */
static void *volatile *
weak_register(struct player *pl, uint8_t i)
{
    const struct entry *e;

    for (uint8_t r = 0; r < pl->world->program->nregisters; r++) {
        e = entry_in(pl, (uint8_t)(i + r));
        if (e != NULL && e->shape == SHAPE_WEAK)
            return reg(pl, (uint8_t)(i + r));
    }
    *reg(pl, i) = __atomic_load_n(&pl->world->globals[i % pl->world->program->nglobals],
            __ATOMIC_RELAXED);
    e = entry_in(pl, i);
    return e != NULL && e->shape == SHAPE_WEAK ? reg(pl, i) : NULL;
}

/* What it gives takes another register's place. */
static void
do_weak_get(struct player *pl, const struct op *op)
{
    void *volatile *from = weak_register(pl, op->b), *volatile *to = reg(pl, op->a);
    const struct entry *e;
    void *p;

    if (from == NULL)
        return;
    e = oracle_find(pl->world, *from);
    p = gc_weak_get((const gc_weak *)e->address);
    sched_freeze();
    oracle_check_weak(pl->world, *from, p);
    *(to == from ? reg(pl, (uint8_t)(op->a + 1)) : to) = p;
    (void)oracle_walk(pl->world); /* what was given up may be reached again */
    sched_thaw();
    stats.weak_gets++;
    stats.weak_nulls += p == NULL;
}

/* ---- other roots ---- */

static void
do_global(struct player *pl, const struct op *op, bool put)
{
    void **global = &pl->world->globals[op->b % pl->world->program->nglobals];

    if (put) {
        player_store(pl, global, argument(pl, op, op->a));
        return;
    }
    *reg(pl, op->a) = __atomic_load_n(global, __ATOMIC_RELAXED);
    if (op->c & 1)
        player_store(pl, global, NULL);
}

static void
do_handle(struct player *pl, const struct op *op)
{
    gc_handle **handle = &pl->handles[op->b % HANDLES];

    if (op->code == OP_HANDLE_NEW && *handle == NULL)
        *handle = gc_handle_new(argument(pl, op, op->a));
    if (*handle == NULL)
        return;
    if (op->code == OP_HANDLE_SET)
        gc_handle_set(*handle, argument(pl, op, op->a));
    else if (op->code == OP_HANDLE_GET)
        *reg(pl, op->a) = gc_handle_get(*handle);
    else if (op->code == OP_HANDLE_FREE) {
        gc_handle *gone = *handle;

        *handle = NULL;
        gc_handle_free(gone);
    }
}

/* Nothing is made: what comes out was put. */
static void *
make_nothing(void *arg)
{
    (void)arg;
    return NULL;
}

/*
 * What is in the pool counts as dead until it comes back, whole and with all that hangs on it.
 * Other pointers to it may exist; the collector does not know what a pool is for.
 */
static void
do_pool(struct player *pl, const struct op *op)
{
    struct entry *e;

    if (op->code == OP_POOL_PUT) {
        e = entry_in(pl, op->a);
        if (e == NULL || e->pooled)
            return;
        e->pooled = true;
        gc_pool_put(pl->world->pool, (void *)e->address);
        *reg(pl, op->a) = NULL;
        return;
    }
    *reg(pl, op->a) = gc_pool_get(pl->world->pool);
    e = entry_in(pl, op->a);
    if (e == NULL)
        return;
    if (!e->pooled)
        sched_fail("the pool gives object %llu, which is not in it", (unsigned long long)e->id);
    e->pooled = false;
    (void)oracle_walk(pl->world);
    stats.pooled++;
}

/* ---- threads ---- */

static void
do_block(const struct op *op)
{
    gc_block_enter();
    for (unsigned i = 0; i < op->a % 8u; i++) {
        sim_point();
        if (op->b & 1)
            sched_yield_now();
    }
    gc_block_leave();
}

static void
do_silent(const struct op *op)
{
    for (unsigned i = 0; i < op->a; i++)
        sim_point();
}

/*
 * A bug's victim must still be reachable when it is swept, and programs forget quickly: so
 * now and then a mutator keeps what it has to the end of the cycle, and looks at all of it.
 */
static void
do_rest(struct player *pl)
{
    struct cycles *c = &pl->world->heap->cycles;
    unsigned seen = ahalf_load_relaxed(&c->swept);

    for (unsigned i = 0; i < 1000 && ahalf_load_relaxed(&c->swept) == seen
            && ahalf_load_relaxed(&c->phase) != PHASE_IDLE; i++) {
        gc_safepoint();
        sched_yield_now();
    }
    (void)oracle_walk(pl->world);
}

/* A precise player's registers, but not the junk. */
static void
report_registers(gc_tracer *tracer, void *arg)
{
    const struct player *pl = arg;

    gc_trace_words(tracer, (const void *)(uintptr_t)pl->registers,
            pl->world->program->nregisters);
}

static void
attach(struct player *pl)
{
    bool precise = pl->world->program->precise;
    gc_status status = precise ? gc_thread_attach_precise(pl->world->heap)
                               : gc_thread_attach(pl->world->heap);

    if (status == GC_OK && precise)
        status = gc_root_callback(report_registers, pl);
    if (status != GC_OK)
        sched_fail("attach: %s", gc_last_error());
    pl->stack = gc_stack_current();
    if (pl->world->program->exempt >> pl->index & 1)
        (void)gc_thread_set_assist(0);
}

/* While it is detached it has no registers, and moves objects between its handles. */
static void
do_detach(struct player *pl, const struct op *op)
{
    gc_handle *from = pl->handles[op->a % HANDLES], *to = pl->handles[op->b % HANDLES];

    if (pl->index >= pl->world->program->nplayers)
        return; /* a coroutine, which would take its thread's stack with it */
    for (uint8_t r = 0; r < REGISTERS; r++)
        *reg(pl, r) = NULL;
    gc_thread_detach();
    sched_yield_now();
    if (from != NULL && to != NULL) {
        gc_handle_set(to, gc_handle_get(from));
        if (from != to && (op->c & 1))
            gc_handle_set(from, NULL);
    }
    sched_yield_now();
    attach(pl);
}

/* ---- running ---- */

/* Operations on registers and on the heap. */
static void
perform_on_objects(struct player *pl, const struct op *op)
{
    switch ((enum op_code)op->code) {
    case OP_NEW:
    case OP_NEW_LARGE:
        do_new(pl, op, op->code == OP_NEW_LARGE);
        break;
    case OP_WRITE:
    case OP_CLEAR:
        do_write(pl, op, op->code == OP_CLEAR);
        break;
    case OP_LOAD:
    case OP_HIDE:
        do_load(pl, op, op->code == OP_HIDE);
        break;
    case OP_LEND:
        do_lend(pl, op);
        break;
    case OP_SWAP:
        do_swap(pl, op);
        break;
    case OP_CAS:
        do_cas(pl, op);
        break;
    case OP_COPY:
        do_copy(pl, op);
        break;
    case OP_MOVE_REGISTER:
        *reg(pl, op->a) = *reg(pl, op->b);
        break;
    case OP_INTERIOR:
        do_interior(pl, op);
        break;
    case OP_DROP:
        if (pl->world->program->junk)
            pl->registers[REGISTERS] = *reg(pl, op->a);
        *reg(pl, op->a) = NULL;
        break;
    case OP_WEAK_NEW:
        do_weak_new(pl, op);
        break;
    case OP_WEAK_GET:
        do_weak_get(pl, op);
        break;
    case OP_PAIR_NEW:
    case OP_PAIR_SET:
    case OP_PAIR_GET:
        pair_perform(pl, op);
        break;
    case OP_CLEANUP_ADD:
    case OP_FINALIZER_SET:
    case OP_CLEANUP_CANCEL:
    case OP_CLEANUP_RUN:
        ends_perform(pl, op);
        break;
    default:
        break;
    }
}

/* Operations on other roots, on the thread and on the heap as a whole. */
static void
perform_elsewhere(struct player *pl, const struct op *op)
{
    switch ((enum op_code)op->code) {
    case OP_GLOBAL_PUT:
    case OP_GLOBAL_TAKE:
        do_global(pl, op, op->code == OP_GLOBAL_PUT);
        break;
    case OP_HANDLE_NEW:
    case OP_HANDLE_SET:
    case OP_HANDLE_GET:
    case OP_HANDLE_FREE:
        do_handle(pl, op);
        break;
    case OP_POOL_PUT:
    case OP_POOL_GET:
        do_pool(pl, op);
        break;
    case OP_SAFEPOINT:
        gc_safepoint();
        break;
    case OP_BLOCK:
        do_block(op);
        break;
    case OP_SILENT:
        do_silent(op);
        break;
    case OP_REST:
        do_rest(pl);
        break;
    case OP_DETACH:
        do_detach(pl, op);
        break;
    case OP_COLLECT:
        gc_collect(NULL);
        break;
    case OP_GOGC:
        (void)gc_set_gogc(NULL, op->a);
        break;
    default:
        (op->code >= OP_ARENA_PUT ? arenas_perform : coros_perform)(pl, op);
        break;
    }
}

/* Old frames must not hold what the host has dropped. */
static __attribute__((noinline)) void
wipe_stack(void)
{
    volatile char dead[3000];

    for (size_t i = 0; i < sizeof dead; i++)
        dead[i] = 0;
}

static __attribute__((noinline)) void
step(struct player *pl, const struct op *op)
{
    sched_note(op_name((enum op_code)op->code), op->a, op->b);
    if (op->code < OP_GLOBAL_PUT)
        perform_on_objects(pl, op);
    else
        perform_elsewhere(pl, op);
    for (uint8_t r = 0; r < pl->world->program->nregisters; r++)
        (void)entry_in(pl, r);
    stats.ops++;
}

void
player_perform_all(struct player *pl)
{
    const struct program *p = pl->world->program;

    for (unsigned k = 0; k < p->nops[pl->index]; k++) {
        if (p->ops[pl->index][k].code == OP_NONE)
            continue;
        step(pl, &p->ops[pl->index][k]);
        wipe_stack();
        if (k % 16 == 0) {
            (void)oracle_walk(pl->world);
            stats.walks++;
        }
    }
}

static void *
player_main(void *arg)
{
    struct player *pl = arg;
    void *volatile registers[REGISTERS + 1] = { NULL }; /* the last one is junk */

    pl->registers = registers;
    attach(pl);
    player_perform_all(pl);
    pl->registers = NULL;
    gc_thread_detach();
    return NULL;
}

/* ---- a run's frame ---- */

static void
create_heap(struct world *w)
{
    const struct program *p = w->program;
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = p->gogc;
    opt.heap_min = (size_t)64 << 10;
    opt.reserve = (size_t)64 << 20;
    opt.threads = p->threads;
    opt.cleanup_threads = p->cleanup_threads;
    opt.cleanup_slow_ms = 0;
    opt.hugepages = p->stress % 2 != 0 ? GC_HUGEPAGES_ALWAYS : GC_HUGEPAGES_AUTO;
    opt.release_ms = 1; /* virtual ones: memory goes back in the middle of things */
    opt.profile_rate = (size_t)1 << p->stress % 15;
    opt.debug_tiny = 1;
    opt.debug_stress = p->stress;
    opt.debug_clobberfree = 1;
    opt.debug_chaos = 1;
    opt.precise_stacks = p->precise;
    opt.debug_wbcheck = p->wbcheck && !p->stw; /* where the host stores plainly */
    if (p->stw)
        opt.mode = GC_MODE_STW;
    if (gc_heap_create(&opt, &w->heap) != GC_OK)
        sched_fail("gc_heap_create: %s", gc_last_error());
    if (p->record && gcrt_trace_start(w->heap, 0) != GC_OK)
        sched_fail("gcrt_trace_start: %s", gc_last_error());
}

/* Every ring's newest events must be there, in their order. */
static void
check_record(struct world *w)
{
    struct trace_event *events;
    size_t n, cycles = 0;

    if (gcrt_trace_read(w->heap, 0, &events, &n) != GC_OK)
        sched_fail("gcrt_trace_read: no memory");
    for (size_t i = 0; i < n; i++) {
        cycles += events[i].kind == TRACE_cycle;
        if (events[i].kind >= TRACE_KINDS || events[i].tid == 0)
            sched_fail("event %zu is of kind %d, thread %d", i, (int)events[i].kind, events[i].tid);
    }
    free(events);
    if (w->program->record != (cycles != 0))
        sched_fail("%zu cycles are on record", cycles);
}

static uint64_t
objects_in(struct world *w)
{
    gc_stats s;

    gc_stats_read(w->heap, &s);
    return s.heap_objects;
}

static void
count(struct world *w)
{
    gc_stats s;

    gc_stats_read(w->heap, &s);
    stats.cycles += s.num_gc;
    stats.handshakes += aword_load_relaxed(&w->heap->counters.handshakes);
    for (unsigned i = 0; i < TIMEHIST_BUCKETS; i++)
        stats.assists += aword_load_relaxed(&w->heap->counters.assist.counts[i]);
    stats.driven += aword_load_relaxed(&w->heap->counters.cycles_driven);
    stats.left_to_workers += aword_load_relaxed(&w->heap->counters.done_for_others);
    stats.barrier_words += aword_load_relaxed(&w->heap->counters.barrier_words);
    ends_count(&stats);
    stats.cancelled += aword_load_relaxed(&w->heap->weak.cancelled);
    pair_count(&stats);
    stats.filed += aword_load_relaxed(&w->heap->ephemerons.filings);
    stats.fired += aword_load_relaxed(&w->heap->ephemerons.fired);
    stats.given_back += aword_load_relaxed(&w->heap->mheap.scavenged[SCAVENGE_BACKGROUND]);
    stats.populated += aword_load_relaxed(&w->heap->mheap.populated);
}

/* With no mutator and no root left, nothing may be left after two cycles. */
static void
check_garbage(struct world *w)
{
    ends_last(); /* whoever is brought back later would be where soon no roots are */
    ends_settle(w); /* a callback's thread may hold its object */
    if (gc_thread_attach(w->heap) != GC_OK)
        sched_fail("attach: %s", gc_last_error());
    coros_end(w);
    gc_thread_detach();
    gc_collect(w->heap);
    gc_collect(w->heap);
    oracle_check_all_weak(w);
    pair_check_all(w);
    if (gc_verify(w->heap) != GC_OK)
        sched_fail("verify: %s", gc_last_error());
    for (unsigned i = 0; i < w->program->nplayers + w->program->ncoros; i++)
        for (unsigned k = 0; k < HANDLES; k++) {
            gc_handle_free(w->players[i].handles[k]);
            w->players[i].handles[k] = NULL;
        }
    if (gc_thread_attach(w->heap) != GC_OK)
        sched_fail("attach: %s", gc_last_error());
    gc_root_remove(w->globals);
    arenas_end();
    gc_thread_detach();
    for (unsigned i = 0; i < GLOBALS; i++)
        w->globals[i] = NULL;
    ends_finish(w);
    gc_collect(w->heap);
    gc_collect(w->heap);
    if (objects_in(w) != 0)
        sched_fail("%llu objects are left of an empty graph",
                (unsigned long long)objects_in(w));
}

static void *
world_main(void *arg)
{
    struct world *w = arg;
    pthread_t threads[PLAYERS_MAX];

    create_heap(w);
    if (gc_thread_attach(w->heap) != GC_OK || gc_root_add(w->globals, sizeof w->globals) != GC_OK)
        sched_fail("attach: %s", gc_last_error());
    coros_begin(w);
    arenas_begin();
    w->pool = gc_pool_create(NULL, &(gc_pool_options){ .item_bytes = 8, .make = make_nothing });
    if (w->pool == NULL)
        sched_fail("pool: %s", gc_last_error());
    gc_thread_detach();
    for (unsigned i = 0; i < w->program->nplayers; i++)
        (void)gcrt_os_thread_start(&w->heap->os, &threads[i], player_main, &w->players[i]);
    for (unsigned i = 0; i < w->program->nplayers; i++)
        gcrt_os_thread_join(threads[i]);
    check_garbage(w);
    check_record(w);
    count(w);
    if (gc_heap_destroy(w->heap) != GC_OK)
        sched_fail("destroy: %s", gc_last_error());
    if (sim_os_mapped() != 0)
        sched_fail("%llu bytes are left mapped", (unsigned long long)sim_os_mapped());
    return NULL;
}

void
world_run(const struct program *p, uint64_t schedule, uint64_t step_max)
{
    static struct world w;

    memset(&w, 0, sizeof w);
    w.program = p;
    sim_os_reset(p->cpus, p->favourites);
    oracle_reset(&w);
    ends_reset(&w);
    sched_run(schedule, step_max, world_main, &w);
}
