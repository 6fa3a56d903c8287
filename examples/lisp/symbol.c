/* SPDX-License-Identifier: MIT */
/*
 * Symbols: one object to a name.
 *
 * Purpose: interning, and global variables, which are a field of their symbol.
 * Place: the reader, string->symbol and the VM's DEFINE.
 * The table is an open-addressing vector of symbols, a registered root.  Symbols that are
 * defined, or that the compiler knows, live for ever.
 * Concurrency: one mutex; whoever waits for it is in a blocking region.  A global variable is
 * one word: any thread may load and store it at any time.
 */
#include "symbol.h"

#include <string.h>

static struct {
    pthread_mutex_t lock;
    size_t count;           /* lock */
    struct vector *symbols; /* lock: a registered root; free slots are UNBOUND */
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

bool
symbol_init(void)
{
    value v;

    if (gc_root_add(&table.symbols, sizeof(table.symbols)) != GC_OK)
        return false;
    v = vector_new(1024, UNBOUND);
    gc_write(&table.symbols, (struct vector *)object_of(v));
    return true;
}

static uint64_t
hash_of(const char *name, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)name[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

/* Its slot, or the free one where it belongs. */
static value *
find(const char *name, size_t size)
{
    uint64_t mask = table.symbols->head.size - 1;

    for (uint64_t i = hash_of(name, size);; i++) {
        value *slot = &table.symbols->item[i & mask];
        const struct string *s;

        if (*slot == UNBOUND)
            return slot;
        s = string_of(symbol_of(*slot)->name);
        if (s->head.size == size && memcmp(s->byte, name, size) == 0)
            return slot;
    }
}

static void
rehash(void)
{
    struct vector *old = table.symbols;
    value bigger;

    GC_FRAME(old);
    bigger = vector_new(2 * (size_t)old->head.size, UNBOUND);
    if (bigger == 0)
        return; /* probes get longer */
    gc_write(&table.symbols, (struct vector *)object_of(bigger));
    for (uint32_t i = 0; i < old->head.size; i++) {
        if (old->item[i] != UNBOUND) {
            const struct string *s = string_of(symbol_of(old->item[i])->name);

            word_store(find(s->byte, s->head.size), old->item[i]);
        }
    }
}

static value
make(const char *name, size_t size)
{
    value text = string_new(name, size);
    struct symbol *s;

    GC_FRAME(text);
    s = gc_alloc(symbol_type);
    s->head.kind = SYMBOL;
    s->name = text;
    s->global = UNBOUND;
    return object(s);
}

value
symbol_intern(const char *name, size_t size)
{
    value found;

    if (pthread_mutex_trylock(&table.lock) != 0)
        GC_BLOCKING { pthread_mutex_lock(&table.lock); }
    found = *find(name, size);
    if (found == UNBOUND) {
        if (2 * ++table.count > table.symbols->head.size)
            rehash();
        found = make(name, size);
        word_store(find(name, size), found);
    }
    pthread_mutex_unlock(&table.lock);
    return found;
}

value
symbol(const char *name)
{
    return symbol_intern(name, strlen(name));
}

void
symbol_define(value symbol, value v)
{
    word_store(&symbol_of(symbol)->global, v);
}

size_t
symbol_count(void)
{
    return table.count;
}
