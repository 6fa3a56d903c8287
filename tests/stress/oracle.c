/* SPDX-License-Identifier: MIT */
/*
 * Purpose: random mutator threads against a shadow oracle that lies outside the heap.
 * Shows that nothing reachable is ever lost or altered, by whatever way it is held, and
 * that what is unreachable is gone after two collections.  A quarter of the objects have a
 * cleanup, which must not run while they are reachable, and must run once in the end, and a weak
 * reference, which gives the object until then, and NULL when the cleanup runs.  Some objects are
 * ephemerons: they have key and value while the key is reachable, and keep no key.  Interned words
 * are one pointer for all who hold them.
 *
 * Place: public interface only.  support/node.c makes objects of every kind, family.c
 * does random operations on small graphs; here is where the graphs' roots live (registered
 * roots, handles, heap objects, arenas, parked fibers, the stack, interior pointers on the stack,
 * shared globals, a new thread's argument, a pool) and how they move from place to place and
 * thread to thread.
 *
 * Concurrency: a family belongs to one mutator, or to a global entry and its lock.  At
 * quiesce points all mutators wait (some in a blocking region, some outside of one) and
 * the main thread checks everything.
 *
 * Arguments (key=value): seconds=6 mutators=4 seed= verify=1|2 stress=N chaos=SEED tiny=1
 * gogc=N|off heap_min= threads= clobber=0 rounds_ms=.  The seed fixes each thread's
 * choices, not the threads' interleaving.
 */

#define _GNU_SOURCE

#include "anchor.h"
#include "noise.h"
#include "pooled.h"
#include "words.h"

#include <pthread.h>
#include <stdbool.h>
#include <sched.h>
#include <string.h>

#define MUTATORS_MAX 64
#define GLOBALS      24

struct mutator {
    struct player player; /* the first: noise takes it */
    struct anchors on;
    struct words words;
    pthread_t thread;
    pthread_t child;
    int has_child;
};

struct global {
    pthread_mutex_t lock;
    struct family *family; /* lock: */
};

/* What a new thread gets; the only reference to its family's root. */
struct parcel {
    void *root;
    uintptr_t family; /* malloc'ed, not the heap's business */
    uint64_t rng;
};

GC_TYPE(parcel_type, struct parcel, root);

static uint64_t pool_hits; /* atomic: adds */
static struct mutator mutators[MUTATORS_MAX];
static size_t nmutators;
static struct global globals[GLOBALS];
static void *global_roots[GLOBALS]; /* registered; entry i under globals[i].lock */
static pthread_barrier_t gate;
static int pausing, stopping; /* atomic: flags that mutators poll */
static bool is_precise;       /* the same: no stack is scanned */
static uint64_t child_allocs, child_steps, child_checks; /* atomic: adds */
static uint64_t child_pairs, child_broken;               /* the same */

static int
flag(const int *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void
take(struct mutator *m, size_t i, struct family *family, void *root)
{
    m->on.held[i].family = family;
    m->on.held[i].where = anchor_any(&m->on);
    anchor_set(&m->on, i, root);
}

static struct family *
family_new(struct mutator *m, void **root)
{
    struct family *family = malloc(sizeof *family);

    T_CHECK(family != NULL, "the shadow is out of memory");
    *root = family_create(family, &m->player);
    return family;
}

static void
family_drop(struct family *family)
{
    family_forget(family);
    free(family);
}

/* ---- what a mutator does with its own families ---- */

static void
do_step(struct mutator *m, size_t i)
{
    struct holding *held = &m->on.held[i];
    void *root = family_step(held->family, &m->player, noise, m);

    if (root != NULL)
        anchor_set(&m->on, i, root);
    if (t_below(&m->player.rng, 16) == 0) {
        anchor_check(&m->on, i);
        family_check(held->family, &m->player, 0);
    }
}

static void
do_drop(struct mutator *m, size_t i)
{
    family_check(m->on.held[i].family, &m->player, 0);
    anchor_clear(&m->on, i);
    family_drop(m->on.held[i].family);
    m->on.held[i].family = NULL;
}

static void
do_create(struct mutator *m, size_t i)
{
    void *root = NULL;
    struct family *family = family_new(m, &root);
    GC_FRAME(root);

    noise(m);
    take(m, i, family, root);
}

/* Off one anchor, held by the stack, a passing root or a passing handle, on to another. */
static void
do_rehang(struct mutator *m, size_t i)
{
    struct family *family = m->on.held[i].family;
    void *root = family_root(family);
    void *cell[3] = { NULL, NULL, NULL };
    gc_handle *handle = NULL;
    uint64_t way = t_below(&m->player.rng, 3);
    GC_FRAME(root);

    if (way == 1) {
        T_OK(gc_root_add(cell, sizeof cell));
        t_store(&cell[1], root);
    } else if (way == 2) {
        handle = gc_handle_new(root);
        T_CHECK(handle != NULL, "gc_handle_new gave NULL: %s", gc_last_error());
    }
    anchor_clear(&m->on, i);
    noise(m);
    family_check(family, &m->player, 0);
    if (way == 1) {
        root = cell[1];
        gc_root_remove(cell);
    } else if (way == 2) {
        root = gc_handle_get(handle);
        gc_handle_free(handle);
    }
    T_CHECK(root == family_root(family), "a root changed while it was held in way %d",
            (int)way);
    take(m, i, family, root);
}

/* Between detach and attach only registered roots hold what this thread has. */
static void
do_detach(struct mutator *m)
{
    for (size_t i = 0; i < HELD; i++) {
        struct holding *held = &m->on.held[i];

        if (held->family == NULL || held->where < ANCHOR_STACK)
            continue;
        t_store(&m->on.roots[i], family_root(held->family));
        anchor_clear(&m->on, i);
        held->where = ANCHOR_ROOT;
    }
    gc_thread_detach();
    T_CHECK(gc_thread_heap() == NULL, "detached, yet gc_thread_heap is not NULL");
    (void)sched_yield();
    T_OK(gc_thread_attach(NULL));
}

/* ---- globals ---- */

/* No signal interrupts a precise thread that waits, and the other one may wait for it. */
static void
lock(pthread_mutex_t *mutex, bool outside)
{
    if (outside)
        gc_block_enter();
    (void)pthread_mutex_lock(mutex);
    if (outside)
        gc_block_leave();
}

static size_t
lock_any(struct mutator *m)
{
    size_t j = (size_t)t_below(&m->player.rng, GLOBALS);

    lock(&globals[j].lock, is_precise || t_below(&m->player.rng, 2) == 0);
    return j;
}

static void
global_put(size_t j, struct family *family, void *root)
{
    t_store(&global_roots[j], root);
    globals[j].family = family;
}

/* A family moves from a thread to an empty global or back; or is stepped where it is. */
static void
do_global(struct mutator *m, size_t i)
{
    size_t j = lock_any(m);
    struct global *global = &globals[j];
    struct family *family = global->family;
    void *root = NULL;
    GC_FRAME(root);

    if (family == NULL && m->on.held[i].family != NULL) {
        family = m->on.held[i].family;
        global_put(j, family, family_root(family));
        anchor_clear(&m->on, i);
        m->on.held[i].family = NULL;
    } else if (family != NULL && m->on.held[i].family == NULL) {
        root = global_roots[j];
        t_store(&global_roots[j], NULL);
        global->family = NULL;
        noise(m);
        take(m, i, family, root);
    } else if (family != NULL) {
        root = family_step(family, &m->player, noise, m);
        if (root != NULL)
            t_store(&global_roots[j], root);
        family_check(family, &m->player, 0);
        T_CHECK(global_roots[j] == family_root(family), "global %zu is altered", j);
    }
    (void)pthread_mutex_unlock(&global->lock);
}

static void
do_global_swap(struct mutator *m)
{
    size_t a = (size_t)t_below(&m->player.rng, GLOBALS);
    size_t b = (size_t)t_below(&m->player.rng, GLOBALS);
    size_t low = a < b ? a : b, high = a < b ? b : a;
    struct family *family;
    void *x = NULL, *y = NULL;
    GC_FRAME(x, y);

    if (a == b)
        return;
    lock(&globals[low].lock, is_precise);
    lock(&globals[high].lock, is_precise);
    x = gc_exchange(&global_roots[a], NULL);
    noise(m);
    y = gc_exchange(&global_roots[b], x);
    t_store(&global_roots[a], y);
    family = globals[a].family;
    globals[a].family = globals[b].family;
    globals[b].family = family;
    (void)pthread_mutex_unlock(&globals[high].lock);
    (void)pthread_mutex_unlock(&globals[low].lock);
}

/* A pointer to somebody else's object, kept on the stack while its owner may drop it. */
static void
do_borrow(struct mutator *m)
{
    size_t j = lock_any(m);
    struct family *family = globals[j].family;
    struct node node = { .used = 0 };
    void *held = NULL;
    GC_FRAME(held);

    if (family != NULL) {
        node = family->nodes[t_below(&m->player.rng, FAMILY_NODES)];
        /* Bulk operations write data words, so only kinds without slots stay fixed. */
        if (node.used && node.kind < NODE_PTRS)
            held = t_reveal(node.hidden);
    }
    (void)pthread_mutex_unlock(&globals[j].lock);
    if (held == NULL)
        return;
    noise(m);
    noise_garbage(&m->player);
    node_check_data(&node, &m->player, 0);
    GC_KEEP_ALIVE(held);
}

/* ---- the pool ---- */

/* The pool is the only one that holds the family, and need not; what it gives back is whole. */
static void
do_pool(struct mutator *m, size_t i)
{
    struct family *family = m->on.held[i].family;
    void *root = NULL;
    GC_FRAME(root);

    if (family != NULL) {
        root = family_root(family);
        if (gc_usable_size(root) < 8 || gc_base(root) != root)
            return; /* a tiny object is no item */
        anchor_clear(&m->on, i);
        m->on.held[i].family = NULL;
        pooled_put(family, root);
        return;
    }
    family = pooled_get(&root);
    if (family == NULL)
        return;
    noise(m);
    family_check(family, &m->player, 1);
    take(m, i, family, root);
    __atomic_fetch_add(&pool_hits, 1, __ATOMIC_RELAXED);
}

/* ---- short-lived threads ---- */

static void
child_leave(struct mutator *m, struct family *family, void *root)
{
    size_t j = lock_any(m);

    if (globals[j].family == NULL)
        global_put(j, family, root);
    else
        family_drop(family);
    (void)pthread_mutex_unlock(&globals[j].lock);
    __atomic_fetch_add(&child_allocs, m->player.allocs, __ATOMIC_RELAXED);
    __atomic_fetch_add(&child_steps, m->player.steps, __ATOMIC_RELAXED);
    __atomic_fetch_add(&child_checks, m->player.checks, __ATOMIC_RELAXED);
    __atomic_fetch_add(&child_pairs, m->player.pairs, __ATOMIC_RELAXED);
    __atomic_fetch_add(&child_broken, m->player.broken, __ATOMIC_RELAXED);
}

static void *
child_main(void *arg)
{
    struct parcel *parcel = arg;
    struct mutator me = { .player = { .rng = parcel->rng, .serial = parcel->rng } };
    struct family *family = (struct family *)parcel->family;
    void *volatile root = parcel->root;
    GC_FRAME(root);

    arg = parcel = NULL;
    T_CHECK(root == family_root(family), "the new thread's argument leads to %p, not %p",
            root, family_root(family));
    family_check(family, &me.player, 1);
    for (uint64_t i = t_below(&me.player.rng, 40); i > 0; i--) {
        void *next = family_step(family, &me.player, noise, &me);

        if (next != NULL)
            root = next;
    }
    child_leave(&me, family, root);
    return NULL;
}

static void
join_child(struct mutator *m)
{
    if (!m->has_child)
        return;
    if (t_below(&m->player.rng, 2) && !is_precise)
        (void)pthread_join(m->child, NULL);
    else
        GC_BLOCKING { (void)pthread_join(m->child, NULL); }
    m->has_child = 0;
}

static void
do_spawn(struct mutator *m, size_t i)
{
    struct parcel *parcel = NULL;
    GC_FRAME(parcel);

    join_child(m);
    parcel = gc_alloc(&parcel_type);
    parcel->family = (uintptr_t)m->on.held[i].family;
    parcel->rng = t_rand(&m->player.rng);
    t_store(&parcel->root, family_root(m->on.held[i].family));
    m->on.held[i].family = NULL;
    /* The anchor still says where, though the family is not ours any more. */
    anchor_clear(&m->on, i);
    T_OK(gc_pthread_create(&m->child, NULL, child_main, parcel));
    m->has_child = 1;
}

/* ---- a mutator ---- */

static void
do_something(struct mutator *m)
{
    size_t i = (size_t)t_below(&m->player.rng, HELD);
    uint64_t dice = t_below(&m->player.rng, 1000);
    int full = m->on.held[i].family != NULL;

    if (dice < 100)
        do_global(m, i);
    else if (dice < 130)
        do_global_swap(m);
    else if (dice < 160)
        do_borrow(m);
    else if (dice < 162)
        do_detach(m);
    else if (dice < 190)
        do_pool(m, i);
    else if (dice < 200)
        words_step(&m->words);
    else if (!full)
        do_create(m, i);
    else if (dice < 230)
        do_rehang(m, i);
    else if (dice < 260)
        do_drop(m, i);
    else if (dice < 265)
        do_spawn(m, i);
    else
        do_step(m, i);
}

static void
wait_at_gate(struct mutator *m)
{
    uint64_t way = is_precise ? 0 : t_below(&m->player.rng, 2);

    t_wipe_stack();
    t_wipe_registers();
    if (way == 0)
        gc_block_enter();
    (void)pthread_barrier_wait(&gate);
    (void)pthread_barrier_wait(&gate);
    if (way == 0)
        gc_block_leave();
}

static void *
mutator_main(void *arg)
{
    struct mutator *m = arg;
    void *volatile stack[HELD] = { NULL };
    GC_FRAME(stack);

    if (gc_thread_heap() == NULL)
        T_OK(gc_thread_attach(NULL));
    m->on.rng = &m->player.rng;
    m->on.precise = is_precise;
    m->on.stack = stack;
    T_OK(gc_root_add(m->on.roots, sizeof m->on.roots));
    words_begin(&m->words, &m->player.rng);
    m->on.table = gc_handle_new(gc_alloc_array(&gc_pointer_type, HELD));
    T_CHECK(m->on.table != NULL, "gc_handle_new gave NULL: %s", gc_last_error());
    while (!flag(&stopping)) {
        if (flag(&pausing)) {
            join_child(m);
            wait_at_gate(m);
            continue;
        }
        do_something(m);
    }
    join_child(m); /* it may still hang its family on a global */
    for (size_t i = 0; i < HELD; i++)
        if (m->on.held[i].family != NULL)
            do_drop(m, i);
    gc_handle_free(m->on.table);
    anchor_end(&m->on);
    words_end(&m->words);
    gc_root_remove(m->on.roots);
    return NULL;
}

/* ---- quiesce points ---- */

static __attribute__((noinline)) void
check_everything(struct census *census, struct player *player)
{
    const struct words *words[MUTATORS_MAX];

    memset(census, 0, sizeof *census);
    for (size_t k = 0; k < nmutators; k++)
        for (size_t i = 0; i < HELD; i++) {
            struct family *family = mutators[k].on.held[i].family;

            if (family == NULL)
                continue;
            anchor_check(&mutators[k].on, i);
            family_check(family, player, 1);
            family_count(family, census);
            if (mutators[k].on.held[i].where == ANCHOR_ARENA)
                census->objects += 2; /* the arena and its chunk */
        }
    for (size_t j = 0; j < GLOBALS; j++)
        if (globals[j].family != NULL) {
            T_CHECK(global_roots[j] == family_root(globals[j].family),
                    "global %zu is altered", j);
            family_check(globals[j].family, player, 1);
            family_count(globals[j].family, census);
        }
    census->objects += nmutators; /* the tables */
    for (size_t k = 0; k < nmutators; k++)
        words[k] = &mutators[k].words;
    census->objects += words_check(words, nmutators);
}

/*
 * Stale words on stacks may keep some dead objects: each mutator's dead frames and spill
 * slots are good for a few families at most, whatever was allocated since the last check.
 * Without stacks nothing is left, but at most `weak` weak references.
 */
static void
check_reclaimed(const struct census *census, uint64_t weak, uint64_t *excess_max)
{
    uint64_t places = nmutators * (4 + HELD); /* of stale words; the latter on parked fibers */
    uint64_t allowed = weak + (is_precise ? 0 : places * FAMILY_NODES), excess;
    gc_stats stats;

    gc_stats_read(NULL, &stats);
    T_CHECK(stats.heap_objects >= census->objects,
            "gc_stats has %llu objects, %llu are alive",
            (unsigned long long)stats.heap_objects, (unsigned long long)census->objects);
    T_CHECK(stats.heap_alloc >= census->bytes, "gc_stats has %llu bytes, %llu are alive",
            (unsigned long long)stats.heap_alloc, (unsigned long long)census->bytes);
    excess = stats.heap_objects - census->objects;
    T_CHECK(excess <= census->tiny + allowed,
            "%llu objects after two collections, %llu + %llu tiny are alive, %llu allowed",
            (unsigned long long)stats.heap_objects, (unsigned long long)census->objects,
            (unsigned long long)census->tiny, (unsigned long long)allowed);
    excess = excess > census->tiny ? excess - census->tiny : 0;
    *excess_max = excess > *excess_max ? excess : *excess_max;
}

static void
quiesce(struct player *player, uint64_t *excess_max)
{
    struct census before, after;
    uint64_t weak;

    __atomic_store_n(&pausing, 1, __ATOMIC_RELEASE);
    GC_BLOCKING { (void)pthread_barrier_wait(&gate); }
    check_everything(&before, player);
    weak = lives_left();
    t_collect_twice(NULL);
    check_reclaimed(&before, weak, excess_max);
    check_everything(&after, player);
    T_CHECK(before.objects == after.objects, "the shadow changed while all threads wait");
    T_CHECK(!is_precise || after.loose == 0, "%llu ephemerons have unreachable keys",
            (unsigned long long)after.loose);
    t_verify(NULL);
    __atomic_store_n(&pausing, 0, __ATOMIC_RELEASE);
    GC_BLOCKING { (void)pthread_barrier_wait(&gate); }
}

static void
start_mutators(void)
{
    for (size_t k = 0; k < nmutators; k++) {
        struct mutator *m = &mutators[k];

        m->player.rng = t_mix(t_seed() + k * 0x9e3779b97f4a7c15u);
        m->player.serial = (uint64_t)(k + 1) << 48;
        if (k % 2)
            T_OK(gc_pthread_create(&m->thread, NULL, mutator_main, m));
        else
            T_CHECK(pthread_create(&m->thread, NULL, mutator_main, m) == 0,
                    "pthread_create");
    }
}

static void
drop_globals(void)
{
    for (size_t j = 0; j < GLOBALS; j++)
        if (globals[j].family != NULL) {
            family_drop(globals[j].family);
            t_store(&global_roots[j], NULL);
        }
}

static uint64_t
handshakes(void)
{
    gc_metric_sample sample = { .name = "/gc/handshake/total:handshakes" };

    T_OK(gc_metrics_read(NULL, &sample, 1));
    return sample.value.u64;
}

static void
report(const struct player *player, uint64_t rounds, uint64_t excess_max)
{
    struct player sum = { .allocs = child_allocs, .checks = child_checks,
        .steps = child_steps, .pairs = child_pairs, .broken = child_broken + player->broken };
    gc_stats stats;

    for (size_t k = 0; k < nmutators; k++) {
        sum.allocs += mutators[k].player.allocs;
        sum.bytes += mutators[k].player.bytes;
        sum.checks += mutators[k].player.checks;
        sum.steps += mutators[k].player.steps;
        sum.pairs += mutators[k].player.pairs;
        sum.broken += mutators[k].player.broken;
    }
    gc_stats_read(NULL, &stats);
    t_note("seed=%llu objects=%llu MiB=%llu steps=%llu checks=%llu cycles=%llu forced=%llu"
           " handshakes=%llu pool_hits=%llu quiesces=%llu excess_max=%llu left=%llu cleanups=%llu"
           " not_run=%llu ephemerons=%llu broken=%llu",
            (unsigned long long)t_seed(), (unsigned long long)sum.allocs,
            (unsigned long long)(sum.bytes >> 20), (unsigned long long)sum.steps,
            (unsigned long long)sum.checks, (unsigned long long)stats.num_gc,
            (unsigned long long)stats.num_forced_gc, (unsigned long long)handshakes(),
            (unsigned long long)pool_hits,
            (unsigned long long)rounds,
            (unsigned long long)excess_max, (unsigned long long)stats.heap_objects,
            (unsigned long long)lives_begun(), (unsigned long long)lives_left(),
            (unsigned long long)sum.pairs, (unsigned long long)sum.broken);
    T_CHECK(sum.pairs < 20000 || sum.broken > 0, "no ephemeron was seen without its key");
}

static void
run(uint64_t until_ms, unsigned round_ms)
{
    struct player player = { .rng = t_seed() };
    uint64_t excess_max = 0, rounds = 0;

    while (t_now_ms() < until_ms) {
        GC_BLOCKING { t_sleep_us(round_ms * 1000); }
        quiesce(&player, &excess_max);
        rounds++;
    }
    __atomic_store_n(&stopping, 1, __ATOMIC_RELEASE);
    for (size_t k = 0; k < nmutators; k++)
        GC_BLOCKING { (void)pthread_join(mutators[k].thread, NULL); }
    drop_globals();
    t_collect_twice(NULL);
    lives_settle();
    t_collect_twice(NULL); /* the weak references, which were held until the cleanups ran */
    t_verify(NULL);
    report(&player, rounds, excess_max);
    T_CHECK(lives_left() <= (is_precise ? 0 : 4 * FAMILY_NODES), "%llu cleanups have not run",
            (unsigned long long)lives_left());
    T_CHECK(t_heap_objects(NULL) <= 4 * FAMILY_NODES, "%llu objects left of an empty graph",
            (unsigned long long)t_heap_objects(NULL));
}

int
main(int argc, char **argv)
{
    uint64_t begin = t_now_ms();
    unsigned seconds;
    gc_options opt;

    t_start("oracle", argc, argv);
    seconds = (unsigned)t_arg("seconds", 6);
    t_hang_after(seconds * 20 + 240);
    nmutators = (size_t)t_arg("mutators", 4);
    T_CHECK(nmutators >= 1 && nmutators <= MUTATORS_MAX, "mutators=1..%d", MUTATORS_MAX);
    t_options(&opt);
    noise_start();
    is_precise = t_arg("precise", 0) != 0;
    T_OK(gc_init(&opt));
    node_types_create(NULL);
    T_OK(gc_root_add(global_roots, sizeof global_roots));
    pooled_start();
    for (size_t j = 0; j < GLOBALS; j++)
        (void)pthread_mutex_init(&globals[j].lock, NULL);
    (void)pthread_barrier_init(&gate, NULL, (unsigned)nmutators + 1);
    start_mutators();
    run(begin + seconds * UINT64_C(1000), (unsigned)t_arg("rounds_ms", 700));
    pooled_end();
    gc_root_remove(global_roots);
    gc_shutdown();
    return 0;
}
