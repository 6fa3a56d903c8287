/* SPDX-License-Identifier: MIT */
/*
 * Purpose: cleanups are added, taken back by other threads, become due and run, and finalizers
 * bring objects back, all at once.  Each cleanup either runs once, or was taken back once.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: threads drop objects with tickets; names go through locked boxes to threads
 * that cancel them at any time, often long after they have run.  Some callbacks collect, some
 * take long enough for another thread to be started.
 *
 * Arguments: seconds=3 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>
#include <sched.h>

enum fate { WAITING, HAS_RUN, TAKEN_BACK };

struct ticket {
    struct ticket *next; /* owner: all of one thread's */
    uint32_t fate;       /* atomic */
};

struct thing {
    struct thing *other;
    uint64_t value, complement;
};

GC_TYPE(thing_type, struct thing, other);

#define BOXES   64
#define THREADS 3

static struct {
    pthread_mutex_t lock;
    gc_cleanup name;        /* lock */
    struct ticket *ticket;  /* lock */
} boxes[BOXES];

static struct ticket *tickets[THREADS];
static int stopping;                     /* atomic */
static uint64_t ran, taken, finalized, slow; /* atomic */
static uint64_t added[THREADS], set[THREADS];

static void
meet_fate(struct ticket *ticket, uint32_t fate)
{
    uint32_t before = __atomic_exchange_n(&ticket->fate, fate, __ATOMIC_ACQ_REL);

    T_CHECK(before == WAITING, "a cleanup's fate was %u, is %u", before, fate);
    __atomic_add_fetch(fate == HAS_RUN ? &ran : &taken, 1, __ATOMIC_RELEASE);
}

static void
run(void *arg)
{
    struct ticket *ticket = arg;
    uint64_t dice = t_mix((uint64_t)(uintptr_t)arg) % 2000;

    if (dice == 0)
        gc_collect(NULL);
    else if (dice == 1)
        t_sleep_us(15000);
    meet_fate(ticket, HAS_RUN);
}

static void
check_thing(const struct thing *t)
{
    T_CHECK(t->complement == ~t->value, "a thing is altered");
    T_CHECK(t->other == NULL || t->other->complement == ~t->other->value, "its other is");
}

/* Every other time the object lives on, and is finalized again. */
static void
finalize(void *obj, void *arg)
{
    struct thing *t = obj, *note = arg;

    check_thing(t);
    check_thing(note);
    t->value++;
    t->complement = ~t->value;
    if (t->value % 2 == 1)
        T_OK(gc_finalizer_set(t, finalize, note));
    else
        __atomic_add_fetch(&finalized, 1, __ATOMIC_RELEASE);
}

static struct thing *
new_thing(void)
{
    struct thing *t = gc_alloc(&thing_type);

    t->complement = ~t->value;
    return t;
}

/* The name goes into a box; the one that was there is cancelled, if it is not too late. */
static void
exchange(size_t i, gc_cleanup name, struct ticket *ticket)
{
    gc_cleanup old_name;
    struct ticket *old;

    (void)pthread_mutex_lock(&boxes[i].lock);
    old_name = boxes[i].name;
    old = boxes[i].ticket;
    boxes[i].name = name;
    boxes[i].ticket = ticket;
    (void)pthread_mutex_unlock(&boxes[i].lock);
    if (gc_cleanup_cancel(old_name))
        meet_fate(old, TAKEN_BACK);
    T_CHECK(gc_cleanup_cancel(old_name) == 0, "taken back twice");
}

static void
drop_one(size_t k, uint64_t *rng)
{
    struct thing *t = new_thing();
    gc_cleanup name;

    if (t_below(rng, 4) == 0)
        gc_write(&t->other, new_thing());
    for (uint64_t i = 1 + t_below(rng, 3); i > 0; i--) {
        struct ticket *ticket = calloc(1, sizeof *ticket);

        T_CHECK(ticket != NULL, "out of memory");
        ticket->next = tickets[k];
        tickets[k] = ticket;
        T_OK(gc_cleanup_add(t, run, ticket, &name));
        added[k]++;
        if (t_below(rng, 2))
            exchange((size_t)t_below(rng, BOXES), name, ticket);
    }
    if (t_below(rng, 8) == 0) {
        T_OK(gc_finalizer_set(t, finalize, new_thing()));
        set[k]++;
    }
}

static void *
dropper_main(void *arg)
{
    size_t k = (size_t)(uintptr_t)arg;
    uint64_t rng = t_seed() + k;

    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
        drop_one(k, &rng);
        if (t_below(&rng, 200) == 0)
            (void)gc_run_cleanups(NULL, 5);
        if (t_below(&rng, 1000) == 0)
            (void)sched_yield();
    }
    return NULL;
}

static uint64_t
fates(void)
{
    return __atomic_load_n(&ran, __ATOMIC_ACQUIRE) + __atomic_load_n(&taken, __ATOMIC_ACQUIRE);
}

/* Conservative words may keep a few objects; nobody waits for those, once they are few. */
static void
settle(uint64_t want)
{
    for (int i = 0; i < 100 && fates() + (i < 10 ? 0 : 64) < want; i++) {
        t_wipe_stack();
        gc_collect(NULL);
        (void)gc_run_cleanups(NULL, SIZE_MAX);
    }
    T_CHECK(fates() <= want && fates() + 64 >= want, "%llu fates of %llu cleanups",
            (unsigned long long)fates(), (unsigned long long)want);
}

static void
count_line(const char *line, size_t len, void *arg)
{
    (void)arg;
    T_CHECK(len > 0 && line[0] != '\0', "an empty line");
    __atomic_add_fetch(&slow, 1, __ATOMIC_RELAXED);
}

int
main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    uint64_t want = 0, finalizers = 0;
    unsigned seconds;
    gc_options opt;

    t_start("cleanups", argc, argv);
    seconds = (unsigned)t_arg("seconds", 3);
    t_hang_after(seconds * 20 + 120);
    t_options(&opt);
    opt.log = count_line; /* those that collect are slow under a sanitizer */
    T_OK(gc_init(&opt));
    for (size_t i = 0; i < BOXES; i++)
        (void)pthread_mutex_init(&boxes[i].lock, NULL);
    for (size_t k = 0; k < THREADS; k++)
        T_OK(gc_pthread_create(&threads[k], NULL, dropper_main, (void *)(uintptr_t)k));
    t_collect_until_over(&stopping);
    t_join(threads, THREADS);
    for (size_t k = 0; k < THREADS; k++) {
        want += added[k];
        finalizers += set[k];
    }
    settle(want);
    t_note("cleanups=%llu ran=%llu taken_back=%llu finalizers=%llu over=%llu slow=%llu cycles=%llu",
            (unsigned long long)want, (unsigned long long)ran, (unsigned long long)taken,
            (unsigned long long)finalizers, (unsigned long long)finalized,
            (unsigned long long)slow,
            (unsigned long long)t_cycles(NULL));
    gc_shutdown();
    for (size_t k = 0; k < THREADS; k++)
        for (struct ticket *t = tickets[k], *next; t != NULL; t = next) {
            next = t->next;
            free(t);
        }
    return 0;
}
