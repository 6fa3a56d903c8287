/* SPDX-License-Identifier: MIT */
/*
 * Purpose: threads take objects out of weak references, keep them for a while or put them where
 * others find them, and drop them, while cycles run one after the other.  What is taken is
 * whole; what one thread has been told is dead is dead for all; and what a thread holds is
 * alive in every reference to it.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: holders and kept objects hang on shared roots, exchanged atomically; the main
 * thread collects.
 *
 * Arguments: seconds=3 threads=4 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>

struct cargo {
    struct cargo *twin; /* points back */
    uint64_t value, complement;
};

struct holder {
    gc_weak *weak;
    uint64_t value; /* its object's */
    uint64_t dead;  /* atomic: somebody got NULL */
};

GC_TYPE(cargo_type, struct cargo, twin);
GC_TYPE(holder_type, struct holder, weak);

#define HOLDERS 64
#define KEPT    16

static struct holder *holders[HOLDERS]; /* registered; atomic */
static struct cargo *kept[KEPT];        /* registered; atomic */
static int stopping;
static uint64_t gets, nulls, news;

static struct cargo *
cargo_new(uint64_t value)
{
    struct cargo *one = NULL, *two = NULL;
    GC_FRAME(one, two);

    one = gc_alloc(&cargo_type);
    two = gc_alloc(&cargo_type);
    one->value = two->value = value;
    one->complement = two->complement = ~value;
    gc_write(&one->twin, two);
    gc_write(&two->twin, one);
    return one;
}

static void
cargo_check(const struct cargo *cargo, uint64_t value)
{
    const struct cargo *twin = cargo->twin;

    T_CHECK(twin != NULL && twin->twin == cargo, "an object has lost its twin");
    T_CHECK(cargo->complement == ~cargo->value && twin->value == cargo->value,
            "an object holds 0x%llx and 0x%llx", (unsigned long long)cargo->value,
            (unsigned long long)cargo->complement);
    T_CHECK(cargo->value == value, "the reference to 0x%llx gives 0x%llx",
            (unsigned long long)value, (unsigned long long)cargo->value);
}

/* A new object, known to one holder and kept somewhere until another takes its place. */
static void
renew(size_t i, uint64_t *rng)
{
    struct cargo *cargo = NULL;
    struct holder *holder = NULL;
    GC_FRAME(cargo, holder);

    cargo = cargo_new(t_rand(rng));
    holder = gc_alloc(&holder_type);
    holder->value = cargo->value;
    gc_write(&holder->weak, gc_weak_new(cargo));
    T_CHECK(gc_weak_get(holder->weak) == cargo, "a fresh reference gives something else");
    gc_write_release(&holders[i], holder);
    if (t_below(rng, 2))
        gc_write_release(&kept[t_below(rng, KEPT)], cargo);
}

static void
look(size_t i, uint64_t *rng)
{
    struct holder *holder = NULL;
    struct cargo *cargo = NULL;
    uint64_t dead;
    GC_FRAME(holder, cargo);

    holder = __atomic_load_n(&holders[i], __ATOMIC_ACQUIRE);
    if (holder == NULL)
        return;
    dead = __atomic_load_n(&holder->dead, __ATOMIC_SEQ_CST);
    cargo = gc_weak_get(holder->weak);
    if (cargo == NULL) {
        __atomic_store_n(&holder->dead, 1, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&nulls, 1, __ATOMIC_RELAXED);
        return;
    }
    T_CHECK(!dead, "a reference was NULL and is not any more");
    cargo_check(cargo, holder->value);
    for (uint64_t n = t_below(rng, 20); n > 0; n--)
        (void)cargo_new(n);
    cargo_check(cargo, holder->value);
    T_CHECK(gc_weak_get(holder->weak) == cargo, "an object that is held is gone");
    T_CHECK(gc_weak_new(cargo->twin->twin) == holder->weak, "an object has two references");
    if (t_below(rng, 4) == 0)
        gc_write_release(&kept[t_below(rng, KEPT)], cargo);
}

static void *
player_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg, n = 0, made = 0;

    for (; !__atomic_load_n(&stopping, __ATOMIC_RELAXED); n++) {
        size_t i = (size_t)t_below(&rng, HOLDERS);

        if (t_below(&rng, 8) == 0) {
            renew(i, &rng);
            made++;
        } else {
            look(i, &rng);
        }
        if (t_below(&rng, 64) == 0)
            gc_write_release(&kept[t_below(&rng, KEPT)], NULL);
    }
    __atomic_fetch_add(&gets, n - made, __ATOMIC_RELAXED);
    __atomic_fetch_add(&news, made, __ATOMIC_RELAXED);
    return NULL;
}

static void
finish(void)
{
    for (size_t i = 0; i < HOLDERS; i++)
        gc_write(&holders[i], NULL);
    for (size_t i = 0; i < KEPT; i++)
        gc_write(&kept[i], NULL);
    t_collect_twice(NULL);
    t_verify(NULL);
    T_CHECK(t_heap_objects(NULL) < 100, "%llu objects are left",
            (unsigned long long)t_heap_objects(NULL));
}

int
main(int argc, char **argv)
{
    pthread_t threads[64];
    size_t n;
    gc_options opt;

    t_start("weak", argc, argv);
    t_hang_after(400);
    n = (size_t)t_arg("threads", 4);
    T_CHECK(n >= 1 && n <= 64, "threads=1..64");
    t_options(&opt);
    opt.threads = 2;
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(holders, sizeof holders));
    T_OK(gc_root_add(kept, sizeof kept));
    for (size_t i = 0; i < n; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, player_main, t_thread_seed(i)));
    t_collect_until_over(&stopping);
    t_join(threads, n);
    finish();
    t_note("gets=%llu nulls=%llu news=%llu cycles=%llu", (unsigned long long)gets,
            (unsigned long long)nulls, (unsigned long long)news,
            (unsigned long long)t_cycles(NULL));
    gc_root_remove(holders);
    gc_root_remove(kept);
    gc_shutdown();
    return 0;
}
