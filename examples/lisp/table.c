/* SPDX-License-Identifier: MIT */
/*
 * Hash tables.
 *
 * Purpose: (make-hash-table) compares with equal?, (make-eq-hash-table) with eqv?.
 * How: open addressing in one array of key and value pairs, at most two thirds full.  Objects
 * never move, so the hash of an eq key is its address.
 * Concurrency: each table has a lock, held for one operation: every operation is atomic, and
 * whoever comes later sees it.  The lock is a pthread mutex inside the object: it does not
 * move, and lives as long as anybody can use it.  A thread that waits is in a blocking region;
 * the table that it waits for is on its VM's stack.  Nothing fails while the lock is held.
 * Keys are compared under the lock, which may answer a handshake; that waits for nobody.
 */
#include "prims.h"

enum { SLOTS_FIRST = 8 };

struct entry {
    value key, value; /* lock; a key may be UNBOUND: free, or DELETED */
};

struct table {
    struct head head; /* size: 1 if it compares with eqv? */
    pthread_mutex_t lock;
    struct entry *entry; /* lock */
    uint64_t capacity;   /* lock: a power of two */
    uint64_t count;      /* lock: keys */
    uint64_t used;       /* lock: keys and DELETED */
};

GC_TYPE_TAGGED(entry_type, struct entry, value_decode, key, value);
GC_TYPE(table_type, struct table, entry);

static void
take(struct table *t)
{
    if (pthread_mutex_trylock(&t->lock) != 0)
        GC_BLOCKING { pthread_mutex_lock(&t->lock); }
}

static struct entry *
entries_new(uint64_t n)
{
    struct entry *entry = gc_try_alloc_array(&entry_type, n);

    for (uint64_t i = 0; entry != NULL && i < n; i++)
        entry[i].key = UNBOUND; /* raw: a constant, into a new array */
    return entry;
}

/* The key's entry, else the first one that may become it; NULL: nested too deeply. */
static struct entry *
find(struct table *t, value key)
{
    struct entry *reuse = NULL;
    bool eq = t->head.size == 1;

    for (uint64_t i = value_hash(key, eq);; i++) {
        struct entry *e = &t->entry[i & (t->capacity - 1)];
        int same = e->key == UNBOUND || e->key == DELETED ? 0
                : eq ? value_eqv(e->key, key) : value_equal(e->key, key, 0);

        if (e->key == DELETED && reuse == NULL)
            reuse = e;
        if (e->key == UNBOUND && reuse != NULL)
            return reuse;
        if (same < 0 || same == 1 || e->key == UNBOUND)
            return same < 0 ? NULL : e;
    }
}

/* Room for one more; false without memory. */
static bool
make_room(struct table *t)
{
    struct entry *old = t->entry, *e;
    uint64_t capacity = t->capacity, bigger = 3 * t->count < capacity ? capacity : 2 * capacity;

    if (3 * (t->used + 1) <= 2 * capacity)
        return true;
    GC_FRAME(old);
    if ((e = entries_new(bigger)) == NULL)
        return false;
    gc_write(&t->entry, e);
    t->capacity = bigger;
    t->used = t->count;
    for (uint64_t i = 0; i < capacity; i++) {
        if (old[i].key != UNBOUND && old[i].key != DELETED) {
            bool eq = t->head.size == 1;
            uint64_t to = value_hash(old[i].key, eq);

            while (t->entry[to & (bigger - 1)].key != UNBOUND)
                to++;
            gc_copy(&entry_type, &t->entry[to & (bigger - 1)], &old[i], 1);
        }
    }
    return true;
}

static value
make(struct vm *vm, uint32_t eq)
{
    struct table *t = gc_alloc(&table_type);
    GC_FRAME(t);

    t->head = (struct head){ TABLE, eq };
    pthread_mutex_init(&t->lock, NULL);
    gc_write(&t->entry, entries_new(SLOTS_FIRST));
    if (t->entry == NULL)
        vm_fail(vm, NOTHING, "out of memory for a hash table");
    t->capacity = SLOTS_FIRST;
    return object(t);
}

PRIM(make)
{
    return make(vm, 0);
}

PRIM(make_eq)
{
    return make(vm, 1);
}

/* (hash-table-ref table key default) */
PRIM(ref)
{
    struct table *t = vm_want(vm, "hash-table-ref", TABLE, arg[0]);
    const struct entry *e;
    value found = n == 3 ? arg[2] : FALSE;

    take(t);
    e = find(t, arg[1]);
    if (e != NULL && e->key != UNBOUND && e->key != DELETED)
        found = e->value;
    pthread_mutex_unlock(&t->lock);
    return found;
}

PRIM(set)
{
    struct table *t = vm_want(vm, "hash-table-set!", TABLE, arg[0]);
    struct entry *e = NULL;

    take(t);
    if (make_room(t) && (e = find(t, arg[1])) != NULL) {
        t->used += e->key == UNBOUND;
        if (e->key == UNBOUND || e->key == DELETED) {
            t->count++;
            word_store(&e->key, arg[1]);
        }
        word_store(&e->value, arg[2]);
    }
    pthread_mutex_unlock(&t->lock);
    if (e == NULL)
        vm_fail(vm, NOTHING, "hash-table-set!: out of memory, or nested too deeply");
    return NOTHING;
}

PRIM(delete)
{
    struct table *t = vm_want(vm, "hash-table-delete!", TABLE, arg[0]);
    struct entry *e;

    take(t);
    e = find(t, arg[1]);
    if (e != NULL && e->key != UNBOUND && e->key != DELETED) {
        word_store(&e->key, DELETED);
        word_store(&e->value, NIL);
        t->count--;
    }
    pthread_mutex_unlock(&t->lock);
    return NOTHING;
}

PRIM(count)
{
    struct table *t = vm_want(vm, "hash-table-count", TABLE, arg[0]);
    uint64_t count;

    take(t);
    count = t->count;
    pthread_mutex_unlock(&t->lock);
    return fixnum((int64_t)count);
}

/* The list of (key . value), of one moment. */
PRIM(to_list)
{
    struct table *t = vm_want(vm, "hash-table->list", TABLE, arg[0]);
    value list = NIL;
    GC_FRAME(list);

    take(t);
    for (uint64_t i = 0; i < t->capacity; i++) {
        const struct entry *e = &t->entry[i];

        if (e->key != UNBOUND && e->key != DELETED)
            list = cons(cons(e->key, e->value), list);
    }
    pthread_mutex_unlock(&t->lock);
    return list;
}

const struct prim_spec table_prims[] = { { "make-hash-table", prim_make, 0, 0 },
    { "make-eq-hash-table", prim_make_eq, 0, 0 }, { "hash-table-ref", prim_ref, 2, 3 },
    { "hash-table-set!", prim_set, 3, 3 }, { "hash-table-delete!", prim_delete, 2, 2 },
    { "hash-table-count", prim_count, 1, 1 }, { "hash-table->list", prim_to_list, 1, 1 },
    { NULL, NULL, 0, 0 } };
