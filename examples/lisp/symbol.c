/* SPDX-License-Identifier: MIT */
/*
 * Symbols: one object to a name, for as long as anybody holds it.
 *
 * Purpose: interning, and global variables, which are a field of their symbol.
 * Place: the reader, string->symbol and the VM's DEFINE.
 * How: gc_intern gives equal names one address, weakly, and a weak map leads from there to the
 * symbol.  Its entries are ephemerons, so that the symbol refers to its own key is no
 * reason to keep either: a symbol that nobody holds is collected, and its name with it.  One
 * that means something by itself, because it is defined or the compiler knows it, is in a
 * list that a registered root holds.
 * Concurrency: looking a symbol up takes no lock; making one does, so that two threads do not
 * make two.  A global variable is one word: any thread may load and store it at any time.
 */
#include "value.h"

#include <string.h>

static struct {
    gc_weak_map *map;
    value kept; /* lock: a list */
} roots; /* registered */

static pthread_mutex_t map_lock = PTHREAD_MUTEX_INITIALIZER;

bool
symbol_init(void)
{
    if (gc_root_add(&roots, sizeof(roots)) != GC_OK)
        return false;
    word_store(&roots.kept, NIL);
    gc_write(&roots.map, gc_weak_map_new(1000));
    return true;
}

value
symbol_intern(const char *name, size_t size)
{
    char *key = gc_intern(NULL, name, size);
    struct symbol *s = NULL, *fresh = NULL;
    GC_FRAME(key, s, fresh);

    if ((s = gc_weak_map_get(roots.map, key)) != NULL)
        return object(s);
    fresh = gc_alloc(symbol_type);
    fresh->head = (struct head){ SYMBOL, (uint32_t)size };
    fresh->name = key;
    fresh->global = UNBOUND;
    lock(&map_lock);
    if ((s = gc_weak_map_get(roots.map, key)) == NULL)
        gc_weak_map_set(roots.map, key, s = fresh);
    pthread_mutex_unlock(&map_lock);
    return object(s);
}

value
symbol(const char *name)
{
    return symbol_intern(name, strlen(name));
}

void
symbol_keep(value symbol)
{
    lock(&map_lock);
    word_store(&roots.kept, cons(symbol, roots.kept));
    pthread_mutex_unlock(&map_lock);
}

void
symbol_define(value symbol, value v)
{
    GC_FRAME(symbol, v);

    if (word_load(&symbol_of(symbol)->global) == UNBOUND)
        symbol_keep(symbol);
    else
        __atomic_store_n(&symbol_of(symbol)->special, 0, __ATOMIC_RELAXED);
    word_store(&symbol_of(symbol)->global, v);
}

size_t
symbol_count(void)
{
    size_t n = 0, cursor = 0;
    void *name, *s;

    while (gc_weak_map_next(roots.map, &cursor, &name, &s))
        n++;
    return n;
}
