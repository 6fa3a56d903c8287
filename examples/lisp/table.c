/* SPDX-License-Identifier: MIT */
/*
 * Hash tables.
 *
 * Purpose: (make-hash-table) compares with equal?.
 * How: a vector of lists of (key . value).  Objects never move, so the hash of a symbol or a
 * procedure is its address.
 * Concurrency: each table has a lock, held for one operation: every operation is atomic, and
 * whoever comes later sees it.  The lock is a pthread mutex inside the object: it does not
 * move, and lives as long as anybody can use it.  A thread that waits is in a blocking region;
 * the table that it waits for is on its VM's stack.  Nothing fails while the lock is held.
 * Keys are compared under the lock, which may answer a handshake; that waits for nobody.
 */
#include "vm.h"

enum { LISTS_FIRST = 8 };

struct table {
    struct head head;
    pthread_mutex_t lock;
    struct vector *lists; /* lock: as many as a power of two */
    uint64_t count;       /* lock: keys */
};
GC_TYPE(table_type, struct table, lists);

static value *
list_of(const struct table *t, value key)
{
    return &t->lists->item[value_hash(key) & (t->lists->head.size - 1)];
}

/* Where the list begins whose first entry is the key's; NULL: it has none. */
static value *
find(const struct table *t, value key)
{
    for (value *at = list_of(t, key); is_pair(*at); at = &pair_of(*at)->cdr)
        if (value_equal(car(car(*at)), key) == 1)
            return at;
    return NULL;
}

/* A bigger vector, if there is memory for it, and new lists with the same entries. */
static void
renew(struct table *t)
{
    struct vector *old = t->lists;
    value bigger = NIL;
    GC_FRAME(old, bigger);

    if ((bigger = vector_new(2 * (size_t)old->head.size, NIL)) == 0)
        return;
    gc_write(&t->lists, vector_of(bigger));
    for (uint32_t i = 0; i < old->head.size; i++)
        for (value x = old->item[i]; is_pair(x); x = cdr(x)) {
            value *list = list_of(t, car(car(x)));

            word_store(list, cons(car(x), *list)); /* old holds x, and t the list */
        }
}

PRIM(make)
{
    value lists = vector_new(LISTS_FIRST, NIL);
    struct table *t;
    GC_FRAME(lists);

    if (lists == 0)
        vm_fail(vm, NOTHING, "out of memory for a hash table");
    t = gc_alloc(&table_type);
    t->head.kind = TABLE;
    t->lists = vector_of(lists);
    pthread_mutex_init(&t->lock, NULL);
    return object(t);
}

/* (hash-table-ref table key default) */
PRIM(ref)
{
    struct table *t = vm_want(vm, "hash-table-ref", TABLE, arg[0]);
    value found = n == 3 ? arg[2] : FALSE;
    const value *at;

    lock(&t->lock);
    if ((at = find(t, arg[1])) != NULL)
        found = cdr(car(*at));
    pthread_mutex_unlock(&t->lock);
    return found;
}

PRIM(set)
{
    struct table *t = vm_want(vm, "hash-table-set!", TABLE, arg[0]);
    value *at, entry = NIL;
    GC_FRAME(entry);

    lock(&t->lock);
    if ((at = find(t, arg[1])) != NULL) {
        word_store(&pair_of(car(*at))->cdr, arg[2]);
    } else {
        if (t->count++ >= 2 * (uint64_t)t->lists->head.size)
            renew(t);
        at = list_of(t, arg[1]);
        entry = cons(arg[1], arg[2]);
        word_store(at, cons(entry, *at));
    }
    pthread_mutex_unlock(&t->lock);
    return NOTHING;
}

PRIM(delete)
{
    struct table *t = vm_want(vm, "hash-table-delete!", TABLE, arg[0]);
    value *at;

    lock(&t->lock);
    if ((at = find(t, arg[1])) != NULL) {
        word_store(at, cdr(*at));
        t->count--;
    }
    pthread_mutex_unlock(&t->lock);
    return NOTHING;
}

/* The list of (key . value), of one moment. */
PRIM(to_list)
{
    struct table *t = vm_want(vm, "hash-table->list", TABLE, arg[0]);
    value list = NIL;
    GC_FRAME(list);

    lock(&t->lock);
    for (uint32_t i = 0; i < t->lists->head.size; i++)
        for (value x = t->lists->item[i]; is_pair(x); x = cdr(x))
            list = cons(cons(car(car(x)), cdr(car(x))), list);
    pthread_mutex_unlock(&t->lock);
    return list;
}

const struct prim_spec table_prims[] = { { "make-hash-table", prim_make, 0, 0 },
    { "hash-table-ref", prim_ref, 2, 3 }, { "hash-table-set!", prim_set, 3, 3 },
    { "hash-table-delete!", prim_delete, 2, 2 }, { "hash-table->list", prim_to_list, 1, 1 },
    { NULL, NULL, 0, 0 } };
