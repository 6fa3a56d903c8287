/* SPDX-License-Identifier: MIT */
/*
 * Purpose: threads get, put and steal items of a few pools, some of which are made and ended
 * meanwhile, while cycles turn them.  Nobody is given an item that somebody has, and what an
 * item leads to is there.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: an item's owner word says who has it: a thread's number, or 0 in a pool.  It
 * is plain memory on purpose: that a put is seen by the next get is the pool's business.
 *
 * Arguments: seconds=3 players=4 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>
#include <sched.h>

#define POOLS 3
#define HELD  40

struct load {
    uint64_t number;
};

struct item {
    struct load *load;
    uint64_t number; /* the load's */
    uint64_t owner;
};

GC_TYPE_NOSCAN(load_type, struct load);
GC_TYPE(item_type, struct item, load);

static gc_pool *pools[POOLS];
static int stopping;
static uint64_t gets, reused, dropped; /* atomic */

static void
count_drop(void *p, void *arg)
{
    struct item *item = p;

    (void)arg;
    T_CHECK(item->owner == 0 && item->load->number == item->number,
            "an item that is dropped belongs to %llu", (unsigned long long)item->owner);
    item->owner = UINT64_MAX;
    __atomic_fetch_add(&dropped, 1, __ATOMIC_RELAXED);
}

static void
refresh(struct item *item, uint64_t number)
{
    struct load *load;
    GC_FRAME(item);

    load = gc_alloc(&load_type);
    load->number = item->number = number;
    t_store((void **)&item->load, load);
}

static struct item *
take(gc_pool *pool, uint64_t self, uint64_t *rng)
{
    struct item *item = gc_pool_get(pool);
    GC_FRAME(item);

    __atomic_fetch_add(&gets, 1, __ATOMIC_RELAXED);
    T_CHECK(item->owner == 0, "an item of the pool belongs to %llu",
            (unsigned long long)item->owner);
    item->owner = self;
    if (item->load != NULL) {
        T_CHECK(item->load->number == item->number, "an item leads to 0x%llx",
                (unsigned long long)item->load->number);
        __atomic_fetch_add(&reused, 1, __ATOMIC_RELAXED);
    }
    if (item->load == NULL || t_below(rng, 4) == 0)
        refresh(item, t_rand(rng));
    return item;
}

static void
give(gc_pool *pool, struct item *item, uint64_t self)
{
    T_CHECK(item->owner == self, "thread %llu has an item of %llu", (unsigned long long)self,
            (unsigned long long)item->owner);
    item->owner = 0;
    gc_pool_put(pool, item);
}

/* A pool of its own, for a moment. */
static void
short_pool(uint64_t self, uint64_t *rng)
{
    gc_pool *pool = gc_pool_create(NULL, &(gc_pool_options){ .type = &item_type,
            .max_items = 1 + t_below(rng, 50), .drop = t_below(rng, 2) ? count_drop : NULL });

    T_CHECK(pool != NULL, "gc_pool_create: %s", gc_last_error());
    for (uint64_t i = t_below(rng, 100); i > 0; i--) {
        struct item *item = take(pool, self, rng);

        give(pool, item, self);
    }
    gc_pool_destroy(pool);
}

static void *
player_main(void *arg)
{
    uint64_t self = (uintptr_t)arg, rng = t_mix(t_seed() + self);
    void *held[HELD] = { NULL };
    GC_FRAME(held);

    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
        gc_pool *pool = pools[t_below(&rng, POOLS)];
        uint64_t n = 1 + t_below(&rng, t_below(&rng, 8) == 0 ? HELD : 3), dice;

        for (uint64_t i = 0; i < n; i++)
            held[i] = take(pool, self, &rng);
        for (uint64_t i = 0; i < n; i++) {
            give(pool, held[i], self);
            held[i] = NULL;
        }
        dice = t_below(&rng, 2000);
        if (dice == 0)
            short_pool(self, &rng);
        else if (dice == 1)
            gc_collect(NULL);
        else if (dice < 4)
            GC_BLOCKING { (void)sched_yield(); }
        else if (dice == 4) {
            gc_thread_detach();
            T_OK(gc_thread_attach(NULL));
        }
    }
    return NULL;
}

static void
create_pools(void)
{
    pools[0] = gc_pool_create(NULL, &(gc_pool_options){ .name = "plain", .type = &item_type });
    pools[1] = gc_pool_create(NULL,
            &(gc_pool_options){ .name = "small", .type = &item_type, .max_items = 30 });
    pools[2] = gc_pool_create(NULL,
            &(gc_pool_options){ .name = "drops", .type = &item_type, .drop = count_drop });
    for (size_t i = 0; i < POOLS; i++)
        T_CHECK(pools[i] != NULL, "gc_pool_create: %s", gc_last_error());
}

static void
watch(uint64_t until)
{
    gc_pool_stats s;

    while (t_now_ms() < until) {
        GC_BLOCKING { t_sleep_us(2000); }
        gc_pool_get_stats(pools[1], &s);
        /* Items that move while they are counted may be counted twice. */
        T_CHECK(s.items <= 2 * 30, "the pool of 30 holds %llu", (unsigned long long)s.items);
        gc_collect(NULL);
    }
}

int
main(int argc, char **argv)
{
    pthread_t threads[16];
    size_t n;
    gc_options opt;

    t_start("pool", argc, argv);
    t_options(&opt);
    n = (size_t)t_arg("players", 4);
    T_CHECK(n >= 1 && n <= 16, "players=1..16");
    T_OK(gc_init(&opt));
    create_pools();
    for (size_t i = 0; i < n; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, player_main, (void *)(uintptr_t)(i + 1)));
    watch(t_now_ms() + (uint64_t)t_arg("seconds", 3) * 1000);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    t_join(threads, n);
    for (size_t i = 0; i < POOLS; i++)
        gc_pool_destroy(pools[i]);
    t_verify(NULL);
    t_note("gets=%llu reused=%llu dropped=%llu cycles=%llu", (unsigned long long)gets,
            (unsigned long long)reused, (unsigned long long)dropped,
            (unsigned long long)t_cycles(NULL));
    T_CHECK(reused != 0 && dropped != 0, "nothing was reused, or nothing dropped");
    gc_shutdown();
    return 0;
}
