/* SPDX-License-Identifier: MIT */
/*
 * Purpose: mutators whose work runs on fibers, against the shadow oracle of family.c: each
 * fiber holds graphs by words of its own stack alone, yields in the middle of what it does,
 * and goes on on any thread.  And very many fibers, parked over several cycles.
 *
 * Place: public interface only; support/coro.c is the host's switch.
 *
 * Concurrency: a fiber and its families belong to the thread that took it from the queue;
 * the queue has a lock.  A fiber is queued when the switch away from it is complete.
 *
 * Arguments (key=value): seconds=2 mutators=3 fibers=40 seed= assembly=0|1 forks=N, and
 * those of heapkit.h; many=N with bytes= of each stack: N fibers park, and are checked,
 * instead.
 */
#define _GNU_SOURCE

#include "coro.h"
#include "family.h"
#include "heapkit.h"
#include "life.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELD         3
#define STACK        ((size_t)128 << 10)
#define FIBERS_MAX   1000
#define MUTATORS_MAX 64

struct worker {
    struct coro coro;
    struct coro *carrier; /* where a yield goes */
    struct player player;
    struct family *held[HELD]; /* owned; their roots are on the fiber's stack */
    void *volatile *roots;
    uint64_t yields;
};

static struct {
    pthread_mutex_t lock;
    struct worker *at[FIBERS_MAX]; /* lock: parked, or not begun */
    size_t n;                      /* lock */
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct worker workers[FIBERS_MAX];
static size_t nworkers;
static enum coro_how how;
static int stopping; /* atomic */
static uint64_t switches, lives, elsewhere; /* atomic: adds */

static bool
is_over(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_ACQUIRE) != 0;
}

/* ---- fibers ---- */

/* The fiber may go on on another thread. */
static __attribute__((noinline)) void
yield(struct worker *w)
{
    const struct coro *before = w->carrier;

    w->yields++;
    coro_transfer(&w->coro, w->carrier);
    if (w->carrier != before)
        __atomic_fetch_add(&elsewhere, 1, __ATOMIC_RELAXED);
}

static void
noise(void *arg)
{
    struct worker *w = arg;
    uint64_t dice = t_below(&w->player.rng, 1000);

    if (dice == 0)
        gc_collect(NULL);
    else if (dice < 5)
        GC_BLOCKING { (void)sched_yield(); }
    else if (dice < 60)
        yield(w);
    else if (dice < 70)
        gc_safepoint();
}

static void
drop(struct worker *w, size_t i)
{
    family_check(w->held[i], &w->player, 1);
    w->roots[i] = NULL;
    family_forget(w->held[i]);
    free(w->held[i]);
    w->held[i] = NULL;
}

static void
create(struct worker *w, size_t i)
{
    struct family *family = calloc(1, sizeof *family);

    T_CHECK(family != NULL, "no memory");
    w->roots[i] = family_create(family, &w->player);
    w->held[i] = family;
}

static void
step(struct worker *w)
{
    size_t i = (size_t)t_below(&w->player.rng, HELD);
    void *root;

    if (w->held[i] == NULL) {
        create(w, i);
        return;
    }
    if (t_below(&w->player.rng, 60) == 0) {
        drop(w, i);
        return;
    }
    root = family_step(w->held[i], &w->player, noise, w);
    if (root != NULL)
        w->roots[i] = root;
    noise(w);
    T_CHECK(w->roots[i] == family_root(w->held[i]), "a root on a parked stack has changed");
    family_check(w->held[i], &w->player, 0);
}

static void
worker_main(void *arg)
{
    struct worker *w = arg;
    void *volatile roots[HELD] = { NULL };
    GC_FRAME(roots);

    w->roots = roots;
    for (uint64_t n = 200 + t_below(&w->player.rng, 2000); n > 0 && !is_over(); n--)
        step(w);
    for (size_t i = 0; i < HELD; i++)
        if (w->held[i] != NULL)
            drop(w, i);
    __atomic_fetch_add(&lives, 1, __ATOMIC_RELAXED);
}

/* ---- threads ---- */

static void
lock_queue(void)
{
    GC_BLOCKING { pthread_mutex_lock(&queue.lock); }
}

static struct worker *
take_any(uint64_t *rng)
{
    struct worker *w = NULL;

    lock_queue();
    if (queue.n != 0) {
        size_t i = (size_t)t_below(rng, queue.n);

        w = queue.at[i];
        queue.at[i] = queue.at[--queue.n];
    }
    pthread_mutex_unlock(&queue.lock);
    return w;
}

static void
put_back(struct worker *w)
{
    lock_queue();
    queue.at[queue.n++] = w;
    pthread_mutex_unlock(&queue.lock);
}

static __attribute__((noinline)) void
resume(struct coro *home, struct worker *w)
{
    w->carrier = w->coro.end = home;
    __atomic_fetch_add(&switches, 1, __ATOMIC_RELAXED);
    coro_transfer(home, &w->coro);
}

/* One that has ended begins anew on the same stack, registered again or reset. */
static void
revive(struct worker *w, uint64_t *rng)
{
    if (t_below(rng, 2)) {
        coro_again(&w->coro, worker_main, w);
        return;
    }
    coro_drop(&w->coro);
    coro_make(&w->coro, how, w->coro.lo, w->coro.bytes, worker_main, w);
}

/* Only this thread is there, and all parked stacks. */
static void
live_in_child(struct coro *home)
{
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < queue.n; i++)
            if (!queue.at[i]->coro.over)
                resume(home, queue.at[i]);
        gc_collect(NULL);
    }
    t_verify(NULL);
    _exit(0);
}

static void
fork_once(struct coro *home)
{
    pid_t child;
    int status = 1;

    lock_queue();
    child = fork();
    if (child == 0)
        live_in_child(home);
    pthread_mutex_unlock(&queue.lock);
    T_CHECK(child > 0, "fork");
    GC_BLOCKING { T_CHECK(waitpid(child, &status, 0) == child, "waitpid"); }
    T_CHECK(status == 0, "the child has ended with status 0x%x", (unsigned)status);
}

static void *
mutator_main(void *arg)
{
    struct coro home;
    uint64_t rng = t_mix(t_seed() + (uintptr_t)arg);
    int64_t forks = (uintptr_t)arg == 0 && T_FORK_HAS_MALLOC ? t_arg("forks", 0) : 0;
    struct worker *w;

    coro_adopt(&home, how);
    while ((w = take_any(&rng)) != NULL || !is_over()) {
        if (w == NULL)
            continue;
        resume(&home, w);
        if (w->coro.over && is_over())
            continue;
        if (w->coro.over)
            revive(w, &rng);
        put_back(w);
        if (forks > 0 && t_below(&rng, 50) == 0) {
            fork_once(&home);
            forks--;
        }
    }
    coro_forget(&home);
    return NULL;
}

static void
run_threads(size_t n)
{
    pthread_t threads[MUTATORS_MAX];

    T_CHECK(n <= MUTATORS_MAX, "at most %d mutators", MUTATORS_MAX);
    for (size_t i = 0; i < n; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, mutator_main, (void *)i));
    GC_BLOCKING {
        t_sleep_us((unsigned)t_arg("seconds", 2) * 1000000);
        __atomic_store_n(&stopping, 1, __ATOMIC_RELEASE);
        for (size_t i = 0; i < n; i++)
            pthread_join(threads[i], NULL);
    }
}

static void
run_oracle(void)
{
    char *stacks;

    nworkers = (size_t)t_arg("fibers", 40);
    T_CHECK(nworkers <= FIBERS_MAX, "at most %d fibers", FIBERS_MAX);
    stacks = coro_map(nworkers, STACK);
    T_CHECK(stacks != NULL, "no memory for stacks");
    for (size_t i = 0; i < nworkers; i++) {
        struct worker *w = &workers[i];

        w->player.rng = w->player.serial = t_mix(t_seed() * 1000 + i);
        coro_make(&w->coro, how, stacks + i * STACK, STACK, worker_main, w);
        put_back(w);
    }
    run_threads((size_t)t_arg("mutators", 3));
    for (size_t i = 0; i < nworkers; i++)
        coro_drop(&workers[i].coro);
    coro_unmap(stacks, nworkers, STACK);
    t_collect_twice(NULL);
    lives_settle();
    t_collect_twice(NULL); /* the weak references, which were held until the cleanups ran */
    t_verify(NULL);
    T_CHECK(t_arg("precise", 0) == 0 || t_heap_objects(NULL) == 0,
            "%llu objects are left of fibers that are gone",
            (unsigned long long)t_heap_objects(NULL));
    t_note("switches=%llu on another thread=%llu lives=%llu cycles=%llu",
            (unsigned long long)switches, (unsigned long long)elsewhere,
            (unsigned long long)lives, (unsigned long long)t_cycles(NULL));
}

/* ---- very many ---- */

struct one {
    struct one *self;
    uint64_t number;
};

GC_TYPE(one_type, struct one, self);

static struct coro main_coro, *many;

static __attribute__((noinline)) void
park_many(size_t i)
{
    coro_transfer(&many[i], &main_coro);
}

static void
many_main(void *arg)
{
    size_t i = (size_t)arg;
    struct one *p = gc_alloc(&one_type);
    GC_FRAME(p);

    gc_write(&p->self, p);
    p->number = i;
    for (;;) {
        park_many(i);
        T_CHECK(p->self == p && p->number == i, "fiber %zu has lost its object", i);
    }
}

static uint64_t
resume_all(size_t n)
{
    uint64_t start = t_now_ns();

    for (size_t i = 0; i < n; i++)
        coro_transfer(&main_coro, &many[i]);
    return (t_now_ns() - start) / n;
}

static void
run_many(size_t n)
{
    size_t bytes = (size_t)t_arg("bytes", 16384);
    char *stacks = coro_map(n, bytes);
    uint64_t start, made, first, cycle, again;
    gc_stats s;

    many = calloc(n, sizeof *many);
    T_CHECK(stacks != NULL && many != NULL, "no memory for %zu stacks", n);
    coro_adopt(&main_coro, how);
    start = t_now_ns();
    for (size_t i = 0; i < n; i++)
        coro_make(&many[i], how, stacks + i * bytes, bytes, many_main, (void *)i);
    made = (t_now_ns() - start) / n;
    first = resume_all(n);
    gc_collect(NULL);
    start = t_now_ns();
    gc_collect(NULL);
    cycle = t_now_ns() - start;
    again = resume_all(n);
    gc_stats_read(NULL, &s);
    T_CHECK(t_heap_objects(NULL) >= n, "%zu fibers hold %llu objects", n,
            (unsigned long long)t_heap_objects(NULL));
    T_CHECK(t_arg("precise", 0) != 0 || s.stack_inuse >= n * 16, "%llu bytes scanned",
            (unsigned long long)s.stack_inuse);
    t_verify(NULL);
    for (size_t i = 0; i < n; i++)
        coro_drop(&many[i]);
    coro_forget(&main_coro);
    coro_unmap(stacks, n, bytes);
    free(many);
    t_collect_twice(NULL);
    T_CHECK(t_heap_objects(NULL) < n / 2, "the stacks are gone, their objects are not");
    t_note("fibers=%zu made=%llu ns first=%llu ns round trip=%llu ns cycle=%llu us "
           "stack bytes=%llu",
            n, (unsigned long long)made, (unsigned long long)first, (unsigned long long)again,
            (unsigned long long)cycle / 1000, (unsigned long long)s.stack_inuse);
}

int
main(int argc, char **argv)
{
    gc_options opt;

    t_start("fibers", argc, argv);
    t_hang_after(600);
    t_options(&opt);
    how = t_arg("assembly", 0) ? CORO_ASSEMBLY : CORO_UCONTEXT;
    T_OK(gc_init(&opt));
    node_types_create(NULL);
    if (t_arg("many", 0) != 0)
        run_many((size_t)t_arg("many", 0));
    else
        run_oracle();
    gc_shutdown();
    return 0;
}
