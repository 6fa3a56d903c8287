/* SPDX-License-Identifier: MIT */
/*
 * Symbols: one object to a name, for as long as anybody holds it.
 *
 * Purpose: interning, and global variables, which are a field of their symbol.
 * Place: the reader, string->symbol and the VM's DEFINE.
 * The table is weak: an open-addressing array of gc_weak references with their hashes.  A
 * symbol that nobody holds is collected; its slot is dead until the table is made anew.  A
 * symbol that means something by itself, because it is defined or the compiler knows it, is in
 * a list of kept ones, which a registered root holds.
 * Concurrency: one mutex; whoever waits for it is in a blocking region.  A global variable is
 * one word: any thread may load and store it at any time.
 */
#include "symbol.h"

#include <string.h>

enum { SLOTS_FIRST = 1024 };

struct slot {
    gc_weak *weak; /* lock; NULL: free */
    uint64_t hash;
};
GC_TYPE(slot_type, struct slot, weak);

static struct {
    value kept;         /* the last one of the list through symbol.next_kept */
    struct slot *slots; /* lock */
} roots; /* registered */

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t capacity, used; /* lock */

static void
take(void)
{
    if (pthread_mutex_trylock(&table_lock) != 0)
        GC_BLOCKING { pthread_mutex_lock(&table_lock); }
}

bool
symbol_init(void)
{
    if (gc_root_add(&roots, sizeof(roots)) != GC_OK)
        return false;
    word_store(&roots.kept, NIL);
    gc_write(&roots.slots, gc_alloc_array(&slot_type, capacity = SLOTS_FIRST));
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

static struct slot *
free_slot(uint64_t hash)
{
    while (roots.slots[hash & (capacity - 1)].weak != NULL)
        hash++;
    return &roots.slots[hash & (capacity - 1)];
}

/* NULL: there is none. */
static struct symbol *
find(const char *name, size_t size, uint64_t hash)
{
    for (uint64_t i = hash;; i++) {
        const struct slot *slot = &roots.slots[i & (capacity - 1)];
        struct symbol *s;

        if (slot->weak == NULL)
            return NULL;
        if (slot->hash == hash && (s = gc_weak_get(slot->weak)) != NULL
                && string_of(s->name)->head.size == size
                && memcmp(string_of(s->name)->byte, name, size) == 0)
            return s;
    }
}

static size_t
count_living(void)
{
    size_t n = 0;

    for (size_t i = 0; i < capacity; i++)
        n += roots.slots[i].weak != NULL && gc_weak_get(roots.slots[i].weak) != NULL;
    return n;
}

/* Without the dead, and with room for as many symbols again. */
static void
renew(void)
{
    struct slot *old = roots.slots;
    size_t n = capacity, wanted = 4 * count_living();
    GC_FRAME(old);

    for (capacity = SLOTS_FIRST; capacity < wanted;)
        capacity *= 2;
    gc_write(&roots.slots, gc_alloc_array(&slot_type, capacity));
    used = 0;
    for (size_t i = 0; i < n; i++) {
        if (old[i].weak != NULL && gc_weak_get(old[i].weak) != NULL) {
            gc_copy(&slot_type, free_slot(old[i].hash), &old[i], 1);
            used++;
        }
    }
}

static struct symbol *
make(const char *name, size_t size, uint64_t hash)
{
    value text = string_new(name, size);
    struct symbol *s = NULL;
    struct slot *slot;
    GC_FRAME(text, s);

    s = gc_alloc(symbol_type);
    s->head.kind = SYMBOL;
    s->name = text;
    s->global = UNBOUND;
    slot = free_slot(hash);
    gc_write(&slot->weak, gc_weak_new(s));
    slot->hash = hash;
    used++;
    return s;
}

value
symbol_intern(const char *name, size_t size)
{
    uint64_t hash = hash_of(name, size);
    struct symbol *s;

    take();
    if ((s = find(name, size, hash)) == NULL) {
        if (2 * used >= capacity)
            renew();
        s = make(name, size, hash);
    }
    pthread_mutex_unlock(&table_lock);
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
    take();
    if (symbol_of(symbol)->next_kept == 0) {
        word_store(&symbol_of(symbol)->next_kept, roots.kept);
        word_store(&roots.kept, symbol);
    }
    pthread_mutex_unlock(&table_lock);
}

void
symbol_define(value symbol, value v)
{
    GC_FRAME(symbol, v);

    symbol_keep(symbol);
    word_store(&symbol_of(symbol)->global, v);
}

size_t
symbol_count(void)
{
    size_t n;

    take();
    n = count_living();
    pthread_mutex_unlock(&table_lock);
    return n;
}
