/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the oracle's families in a pool.
 * Concurrency: a lock for the shadows; the pool needs none.  A shadow is there before its root
 * is put, so who gets the root finds it.
 */
#include "pooled.h"

#include "heapkit.h"

#include <pthread.h>

#define POOLED 64

static struct {
    pthread_mutex_t lock;
    struct family *families[POOLED]; /* lock: owned */
    size_t next;                     /* lock: the oldest */
} pooled = { .lock = PTHREAD_MUTEX_INITIALIZER };

static gc_pool *pool;

static void *
make_nothing(void *arg)
{
    (void)arg;
    return NULL;
}

static void
drop_at(size_t i)
{
    if (pooled.families[i] == NULL)
        return;
    family_forget(pooled.families[i]);
    free(pooled.families[i]);
    pooled.families[i] = NULL;
}

void
pooled_start(void)
{
    pool = gc_pool_create(NULL, &(gc_pool_options){ .item_bytes = 16, .make = make_nothing });
    T_CHECK(pool != NULL, "gc_pool_create: %s", gc_last_error());
}

void
pooled_end(void)
{
    for (size_t i = 0; i < POOLED; i++)
        drop_at(i);
    gc_pool_destroy(pool);
}

/* What had its root there before is dead. */
static void
remember(struct family *family, const void *root)
{
    (void)pthread_mutex_lock(&pooled.lock);
    for (size_t i = 0; i < POOLED; i++)
        if (pooled.families[i] != NULL && family_root(pooled.families[i]) == root)
            drop_at(i);
    drop_at(pooled.next);
    pooled.families[pooled.next] = family;
    pooled.next = (pooled.next + 1) % POOLED;
    (void)pthread_mutex_unlock(&pooled.lock);
}

void
pooled_put(struct family *family, void *root)
{
    remember(family, root);
    gc_pool_put(pool, root);
}

struct family *
pooled_get(void **root)
{
    struct family *family = NULL;

    *root = gc_pool_get(pool);
    if (*root == NULL)
        return NULL;
    (void)pthread_mutex_lock(&pooled.lock);
    for (size_t i = 0; i < POOLED; i++)
        if (pooled.families[i] != NULL && family_root(pooled.families[i]) == *root) {
            family = pooled.families[i];
            pooled.families[i] = NULL;
        }
    (void)pthread_mutex_unlock(&pooled.lock);
    return family;
}
