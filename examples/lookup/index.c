/* SPDX-License-Identifier: MIT */
/*
 * The hash index: 64 shards, each an open-addressing table on the gc heap.
 *
 *     struct index (malloc)                      gc heap
 *     +------------------------+
 *     | tables[0] -------------+--> struct table { mask; slots[] } --> struct record
 *     | tables[1] -------------+--> ...
 *     | ...   (a gc root)      |
 *     | shards[0] lock, count  |
 *     +------------------------+
 *
 * A slot is one pointer, so it changes in one store.  The key is read from the record
 * itself; tables are at most half full, so a lookup follows about one and a half records.
 *
 * Place.  index_get is called per request by every loop; index_put by the loader and the
 * replacer.  The array `tables` is registered with gc_root_add: it is the only thing that
 * keeps the data set alive.
 *
 * Concurrency.  Readers take no lock.  They load the table pointer and then each slot with
 * acquire order; writers store both through gc_write_release, so whoever sees a pointer
 * sees what it points to.  Writers of one shard hold its mutex.  A slot goes from NULL to
 * a record and from then on only to newer records with the same key, so a reader's probe
 * chain never breaks.  When a table grows, readers of the old one go on reading it: they
 * may miss an update that happens at the same moment, never a key that was there when
 * they began.
 *
 * Reclamation.  Nobody frees a replaced record or an outgrown table.  A reader that still
 * holds one keeps it alive by holding it; this is what the gc heap is for.
 */
#include "index.h"

#include <gcrt/gcrt.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SHARD_BITS 6
#define NSHARDS    (1u << SHARD_BITS)
#define SLOTS_MIN  16u

struct table {
    uint64_t mask;          /* const: number of slots less one; a power of two less one */
    struct record *slots[]; /* written under the shard's lock, read without */
};

GC_TYPE_FLEX_PLAIN(table_type, struct table, slots, gc_pointer_type);

struct shard {
    pthread_mutex_t lock;
    uint64_t count; /* lock: keys in the shard's table */
};

struct index {
    struct table *tables[NSHARDS]; /* gc root */
    struct shard shards[NSHARDS];
};

static unsigned
shard_of(uint64_t hash)
{
    return (unsigned)(hash >> (64 - SHARD_BITS));
}

/* Waiting for a lock is blocking: the bracket spares this thread the collector's signal. */
static void
shard_lock(struct shard *s)
{
    if (pthread_mutex_trylock(&s->lock) == 0)
        return;
    GC_BLOCKING {
        pthread_mutex_lock(&s->lock);
    }
}

static struct table *
table_make(uint64_t nslots)
{
    struct table *t = gc_alloc_flex(&table_type, nslots);

    t->mask = nslots - 1;
    return t;
}

/* The slot that holds the key, or the empty one where it belongs.  Lock held. */
static struct record **
table_find_locked(struct table *t, uint64_t key, uint64_t hash)
{
    uint64_t i = hash & t->mask;

    while (t->slots[i] != NULL && t->slots[i]->key != key)
        i = (i + 1) & t->mask;
    return &t->slots[i];
}

/* Replaces a shard's table by one of twice the size.  Lock held. */
static void
shard_grow_locked(struct index *ix, unsigned n)
{
    struct table *old = ix->tables[n];
    struct table *grown = table_make((old->mask + 1) * 2);
    uint64_t i;

    for (i = 0; i <= old->mask; i++) {
        struct record *r = old->slots[i];

        if (r != NULL)
            gc_write(table_find_locked(grown, r->key, mix64(r->key)), r);
    }
    gc_write_release(&ix->tables[n], grown);
}

void
index_put(struct index *ix, struct record *r)
{
    uint64_t hash = mix64(r->key);
    unsigned n = shard_of(hash);
    struct shard *s = &ix->shards[n];
    struct record **slot;

    shard_lock(s);
    slot = table_find_locked(ix->tables[n], r->key, hash);
    if (*slot == NULL) {
        if ((s->count + 1) * 2 > ix->tables[n]->mask + 1) {
            shard_grow_locked(ix, n);
            slot = table_find_locked(ix->tables[n], r->key, hash);
        }
        __atomic_store_n(&s->count, s->count + 1, __ATOMIC_RELAXED);
    }
    gc_write_release(slot, r);
    pthread_mutex_unlock(&s->lock);
}

struct record *
index_get(const struct index *ix, uint64_t key)
{
    uint64_t hash = mix64(key);
    struct table *t = __atomic_load_n(&ix->tables[shard_of(hash)], __ATOMIC_ACQUIRE);
    uint64_t i = hash & t->mask;
    struct record *r;

    for (;;) {
        r = __atomic_load_n(&t->slots[i], __ATOMIC_ACQUIRE);
        if (r == NULL || r->key == key)
            return r;
        i = (i + 1) & t->mask;
    }
}

uint64_t
index_count(const struct index *ix)
{
    uint64_t sum = 0;
    unsigned n;

    for (n = 0; n < NSHARDS; n++)
        sum += __atomic_load_n(&ix->shards[n].count, __ATOMIC_RELAXED);
    return sum;
}

/* Slots per shard so that `expect` keys, spread unevenly, stay at most half of them. */
static uint64_t
slots_for(uint64_t expect)
{
    uint64_t want = (expect / NSHARDS) * 2;
    uint64_t nslots = SLOTS_MIN;

    while (nslots < want)
        nslots *= 2;
    return nslots;
}

struct index *
index_create(uint64_t expect)
{
    struct index *ix = calloc(1, sizeof(*ix));
    unsigned n;

    if (ix == NULL) {
        fprintf(stderr, "lookup: no memory for the index\n");
        return NULL;
    }
    if (gc_root_add(ix->tables, sizeof(ix->tables)) != GC_OK) {
        fprintf(stderr, "lookup: cannot register the index as a root: %s\n",
                gc_last_error());
        free(ix);
        return NULL;
    }
    for (n = 0; n < NSHARDS; n++) {
        pthread_mutex_init(&ix->shards[n].lock, NULL);
        gc_write(&ix->tables[n], table_make(slots_for(expect)));
    }
    return ix;
}

void
index_destroy(struct index *ix)
{
    unsigned n;

    gc_root_remove(ix->tables);
    for (n = 0; n < NSHARDS; n++)
        pthread_mutex_destroy(&ix->shards[n].lock);
    free(ix);
}
