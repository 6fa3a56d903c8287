/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what else a mutator of the oracle's does, at random, while what it has hangs on its
 * stack alone: collects, blocks, makes garbage, changes the goal.
 */
#define _GNU_SOURCE

#include "noise.h"

#include "heapkit.h"

#include <stdbool.h>

static bool gogc_given; /* const once noise_start has returned */

void
noise_start(void)
{
    gogc_given = t_arg("gogc", -2) != -2;
}

void
noise_garbage(struct player *player)
{
    for (uint64_t i = t_below(&player->rng, 30); i > 0; i--) {
        struct node node;

        GC_KEEP_ALIVE(node_create(&node, player, 0));
    }
}

static void
noise_block(struct player *player)
{
    GC_BLOCKING {
        if (t_below(&player->rng, 2)) {
            gc_block_enter();
            t_sleep_us((unsigned)t_below(&player->rng, 300));
            gc_block_leave();
        } else {
            gc_callback cb; /* as foreign code has it that was called in a region */

            T_OK(gc_callback_enter(NULL, &cb));
            noise_garbage(player);
            gc_callback_leave(&cb);
        }
    }
}

static void
noise_gogc(struct player *player)
{
    static const int64_t values[] = { 1, 10, 50, 100, 200, GC_GOGC_OFF };
    int64_t old;

    if (gogc_given)
        return;
    old = gc_set_gogc(NULL, values[t_below(&player->rng, 6)]);
    T_CHECK(old >= -1 && old <= 200, "gc_set_gogc returned %lld", (long long)old);
}

void
noise(void *arg)
{
    struct player *player = arg;
    uint64_t dice = t_below(&player->rng, 1000);

    if (dice == 0)
        gc_collect(NULL);
    else if (dice == 1)
        noise_gogc(player);
    else if (dice < 4)
        noise_block(player);
    else if (dice < 6)
        t_wipe_stack();
    else if (dice < 60)
        noise_garbage(player);
    else if (dice < 100)
        gc_safepoint();
}
