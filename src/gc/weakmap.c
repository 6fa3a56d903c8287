/* SPDX-License-Identifier: MIT */
/*
 * Weak maps.
 *
 * Purpose: values by the identity of objects, for as long as these live.
 * Place: the host calls it; entries are ephemerons (ephemeron.c), which the collector breaks.
 *
 * A map has a table, open addressing with linear probing, of pointers to ephemerons.  A slot
 * goes from empty to an ephemeron, from there to a tombstone when the entry is removed, and
 * from a tombstone or a broken ephemeron to another ephemeron; never back to empty, so that a
 * reader may probe without a lock.  Keys of ephemerons never change but to 0.
 *
 * When three quarters of a table's slots are used, a new one of the same size or twice as
 * large (as a sample of the entries says how many live) takes its place, and the old one's
 * entries are moved by the next writers, MOVE_STEP slots each.  They stay in the old table,
 * too, so whoever reads the old and then the new one misses none.  When all are moved it is known
 * how many there are, and a table that is much too large is replaced again.  So no call does more
 * than a bounded amount of work (but for clusters of a hash table), and a map through which
 * many entries pass has a table for those that live at once.
 *
 * Invariants: of an object with an entry, table and old one together have one ephemeron that is
 * neither broken nor removed.
 * Concurrency: writers hold RANK_WEAKMAP, in critical sections, in which nothing is allocated
 * and nobody waits for the collector.  Readers acquire what writers release, pairs: weakmap.slot;
 * what they read out of a table that is replaced meanwhile stays, because it is not swept
 * before they have answered a handshake.
 * Cost: a get is a lookup, two misses (slot, ephemeron); a new entry takes 24 bytes of the heap
 * and 11 to 21 of the table.
 */
#include "gc/weakmap.h"

#include "gc/barrier.h"
#include "gc/ephemeron.h"
#include "gc/error.h"
#include "gc/kind.h"
#include "gc/malloc.h"

#include <gcrt/gcrt.h>

#define TABLE_MIN  ((size_t)16)
#define TABLE_MAX  ((size_t)1 << 40)
#define MOVE_STEP  16
#define SAMPLES    64
#define SHRINK     4  /* a table is too large if it has so many slots for an entry */
#define LOOK_STEP  1024 /* slots that an iteration passes in one critical section */
#define TOMBSTONE  ((uintptr_t)1)

/* An object of the heap. */
struct gc_weak_map {
    uintptr_t *table; /* atomic: writers; pairs: weakmap.slot */
    uintptr_t *old;   /* atomic: writers; NULL: all is moved; pairs: weakmap.slot */
    size_t used;      /* lock: slots of table that are not empty */
    size_t moved;     /* lock: slots of old that have been looked at */
    size_t wanted;    /* lock: slots of another table that shall take its place; 0: none */
    aword count;      /* atomic: entries, at least; writers under the lock */
    aword generation; /* atomic: odd while table and old change; pairs: weakmap.generation */
};

GC_TYPE(map_type, struct gc_weak_map, table, old);

/* ---- tables ---- */

/* The first word of a table is its number of slots: no pointer, whatever the heap's range. */
static size_t
table_slots(const uintptr_t *table)
{
    return table[0];
}

static uintptr_t
slot_at(const uintptr_t *table, size_t i)
{
    return slot_load_acquire(&table[1 + i]); /* pairs: weakmap.slot */
}

static uintptr_t *
table_of(uintptr_t *const *where)
{
    return (uintptr_t *)slot_load_acquire(where); /* pairs: weakmap.slot */
}

static size_t
first_probe(const uintptr_t *table, uintptr_t key)
{
    return (size_t)((uint64_t)(key >> 3) * 0x9e3779b97f4a7c15u >> 20) & (table_slots(table) - 1);
}

static size_t
next_probe(const uintptr_t *table, size_t i)
{
    return (i + 1) & (table_slots(table) - 1);
}

static struct gc_ephemeron *
entry_at(const uintptr_t *table, size_t i)
{
    uintptr_t word = slot_at(table, i);

    return word == TOMBSTONE ? NULL : (struct gc_ephemeron *)word;
}

/* It is broken: its slot may be another's. */
static bool
is_broken(const struct gc_ephemeron *e)
{
    return slot_load_acquire(&e->key) == 0; /* pairs: weak.emptied */
}

/* The key's entry, and where it is; NULL if there is none. */
static struct gc_ephemeron *
find_in(const uintptr_t *table, uintptr_t key, size_t *where)
{
    if (table == NULL || key == 0)
        return NULL;
    for (size_t i = first_probe(table, key);; i = next_probe(table, i)) {
        uintptr_t word = slot_at(table, i);

        if (word == 0)
            return NULL;
        if (word == TOMBSTONE)
            continue;
        if (slot_load_acquire(&((struct gc_ephemeron *)word)->key) == key) {
            *where = i;
            return (struct gc_ephemeron *)word;
        }
    }
}

/* `table` is read first: when old is gone by then, all of it is in table. */
static struct gc_ephemeron *
find(const struct gc_weak_map *map, uintptr_t key)
{
    const uintptr_t *table = table_of(&map->table), *old = table_of(&map->old);
    struct gc_ephemeron *e;
    size_t where;

    e = find_in(old, key, &where);
    return e != NULL ? e : find_in(table, key, &where);
}

/* ---- writing, under the lock ---- */

static struct lock *
lock_of(struct gcrt_mutator *m, const struct gc_weak_map *map)
{
    uint64_t hash = (uint64_t)((uintptr_t)map >> 4) * 0x9e3779b97f4a7c15u;

    return &m->heap->weakmaps.locks[hash >> 58];
}

/* The map has room for it. */
static void
place_locked(struct gcrt_mutator *m, struct gc_weak_map *map, struct gc_ephemeron *e)
{
    uintptr_t *table = map->table, word;
    size_t i = first_probe(table, slot_load(&e->key));

    while ((word = slot_at(table, i)) > TOMBSTONE && !is_broken((struct gc_ephemeron *)word))
        i = next_probe(table, i);
    if (word == 0)
        map->used++;
    else if (word != TOMBSTONE)
        aword_add_owner(&map->count, (uint64_t)-1); /* its key has died */
    gcrt_barrier_store_release(m, &table[1 + i], (uintptr_t)e); /* pairs: weakmap.slot */
}

static void
set_tables_locked(
        struct gcrt_mutator *m, struct gc_weak_map *map, uintptr_t *old, uintptr_t *table)
{
    aword_add_full(&map->generation, 1); /* pairs: weakmap.generation */
    gcrt_barrier_store_release(m, &map->old, (uintptr_t)old);
    gcrt_barrier_store_release(m, &map->table, (uintptr_t)table);
    aword_add_full(&map->generation, 1);
    map->moved = 0;
}

/* All is moved: now it is known how much there is. */
static void
end_move_locked(struct gcrt_mutator *m, struct gc_weak_map *map)
{
    size_t slots = table_slots(map->table);

    set_tables_locked(m, map, NULL, map->table);
    if (slots > TABLE_MIN && map->used < slots / SHRINK)
        map->wanted = slots / 2;
}

static void
move_some_locked(struct gcrt_mutator *m, struct gc_weak_map *map, size_t n)
{
    size_t slots = map->old == NULL ? 0 : table_slots(map->old);

    for (; n != 0 && map->moved < slots; n--) {
        struct gc_ephemeron *e = entry_at(map->old, map->moved++);

        if (e != NULL && !is_broken(e))
            place_locked(m, map, e);
        else if (e != NULL)
            aword_add_owner(&map->count, (uint64_t)-1);
    }
    if (map->old != NULL && map->moved == slots)
        end_move_locked(m, map);
}

/* How many slots a table should have in place of one that is full; a guess by a sample. */
static size_t
next_size(const struct gc_weak_map *map)
{
    size_t slots = table_slots(map->table), stride = max_size(slots / SAMPLES, 1);
    size_t seen = 0, live = 0;

    for (size_t i = 0; i < slots; i += stride) {
        const struct gc_ephemeron *e = entry_at(map->table, i);

        seen += slot_at(map->table, i) != 0;
        live += e != NULL && !is_broken(e);
    }
    return 3 * live > 2 * seen ? 2 * slots : slots;
}

/* The number of slots of a table that must be made first, or 0. */
static size_t
table_needed_locked(struct gcrt_mutator *m, struct gc_weak_map *map)
{
    move_some_locked(m, map, MOVE_STEP);
    if ((map->used + 1) * 4 <= table_slots(map->table) * 3)
        return map->old == NULL ? map->wanted : 0;
    move_some_locked(m, map, SIZE_MAX); /* not if MOVE_STEP is what it should be */
    return next_size(map);
}

enum done { DONE, NEED_TABLE, NEED_ENTRY };

/* fresh: NULL, or what becomes the entry if there is none. */
static enum done
set_locked(struct gcrt_mutator *m, struct gc_weak_map *map, uintptr_t key, uintptr_t value,
        struct gc_ephemeron *fresh, size_t *slots)
{
    struct gc_ephemeron *e = find(map, key);

    if (e != NULL && !gcrt_ephemeron_is_dead(m, e)) {
        gcrt_barrier_store_inserting(m, &e->value, value); /* ephemeron.c says why */
        return DONE;
    }
    *slots = table_needed_locked(m, map);
    if (*slots != 0)
        return NEED_TABLE;
    if (fresh == NULL)
        return NEED_ENTRY;
    place_locked(m, map, fresh);
    aword_add_owner(&map->count, 1);
    return DONE;
}

static enum done
try_set(struct gcrt_mutator *m, struct gc_weak_map *map, uintptr_t key, uintptr_t value,
        struct gc_ephemeron *fresh, size_t *slots)
{
    struct lock *lock = lock_of(m, map);
    enum done done;

    critical_enter();
    gcrt_lock_acquire(lock);
    done = set_locked(m, map, key, value, fresh, slots);
    gcrt_lock_release(lock);
    critical_leave();
    return done;
}

/* ---- making tables ---- */

/* A table that nobody knows; NULL without memory. */
static uintptr_t *
make_table(struct gcrt_mutator *m, size_t slots, bool may_fail)
{
    struct request req = { .type = &gc_pointer_type, .bytes = (slots + 1) * WORD, .zero = true,
        .may_fail = may_fail };
    uintptr_t *table = gcrt_malloc(m, &req);

    if (table != NULL)
        table[0] = slots;
    return table;
}

/* Unless another thread has put one there meanwhile. */
static void
install_table(struct gcrt_mutator *m, struct gc_weak_map *map, uintptr_t *table)
{
    struct lock *lock = lock_of(m, map);

    critical_enter();
    gcrt_lock_acquire(lock);
    if (map->old == NULL && table_needed_locked(m, map) == table_slots(table)) {
        set_tables_locked(m, map, map->table, table);
        map->used = 0;
        map->wanted = 0;
        aword_add_relaxed(&m->heap->weakmaps.rebuilt, 1);
    }
    gcrt_lock_release(lock);
    critical_leave();
}

/* There is no memory for another table: does the map go on with what it has? */
static bool
does_without(struct gcrt_mutator *m, struct gc_weak_map *map, size_t slots)
{
    struct lock *lock = lock_of(m, map);
    bool smaller;

    critical_enter();
    gcrt_lock_acquire(lock);
    smaller = slots < table_slots(map->table);
    if (smaller)
        map->wanted = 0;
    gcrt_lock_release(lock);
    critical_leave();
    return smaller;
}

/* False without memory. */
static bool
set(struct gcrt_mutator *m, struct gc_weak_map *map, void *key, void *value, bool may_fail,
        const void *site)
{
    struct gc_ephemeron *fresh = NULL;
    size_t slots;
    GC_FRAME(map, key, value, fresh);

    for (;;) {
        enum done done = try_set(m, map, (uintptr_t)key, (uintptr_t)value, fresh, &slots);
        uintptr_t *table;

        if (done == DONE)
            return true;
        if (done == NEED_ENTRY) {
            fresh = gcrt_ephemeron_make(m, key, value, may_fail, site);
            if (fresh == NULL)
                return false;
            continue;
        }
        table = make_table(m, slots, may_fail);
        if (table != NULL)
            install_table(m, map, table); /* nothing polls before it is stored */
        else if (!does_without(m, map, slots))
            return false;
    }
}

/* ---- the heap's ---- */

void
gcrt_weakmap_init(struct gc_heap *heap)
{
    for (unsigned i = 0; i < WEAKMAP_LOCKS; i++)
        gcrt_lock_init(&heap->weakmaps.locks[i], RANK_WEAKMAP);
}

void
gcrt_weakmap_finish(struct gc_heap *heap)
{
    for (unsigned i = 0; i < WEAKMAP_LOCKS; i++)
        gcrt_lock_finish(&heap->weakmaps.locks[i]);
}

/* ---- the public functions ---- */

static struct gcrt_mutator *
check(const char *caller, const struct gc_weak_map *map)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);
    struct mspan *s = mheap_span_of(&m->heap->mheap, (uintptr_t)map);

    if (UNLIKELY(s == NULL || kind_of(m->heap, s)->type != &map_type))
        gcrt_fatal("%s: %p is no weak map of the caller's heap", caller, (const void *)map);
    return m;
}

/* An error, if it cannot be an entry. */
static gc_status
check_entry(const char *caller, const struct gc_heap *heap, const void *key, const void *value)
{
    if (UNLIKELY(!gcrt_ephemeron_is_object(heap, key)))
        return gcrt_error(GC_ERR_INVAL, "%s: key %p points into no object of the caller's heap",
                caller, key);
    if (UNLIKELY(value == NULL))
        return gcrt_error(GC_ERR_INVAL, "%s: value is NULL (use gc_weak_map_remove)", caller);
    return GC_OK;
}

static gc_weak_map *
map_new(const char *caller, size_t entries, bool may_fail)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);
    struct request req = { .type = &map_type, .bytes = sizeof(struct gc_weak_map),
        .single = true, .zero = true, .may_fail = may_fail };
    size_t slots = TABLE_MIN;
    uintptr_t *table = NULL;
    struct gc_weak_map *map;
    GC_FRAME(table);

    while (slots < TABLE_MAX && slots / 4 * 3 < entries)
        slots *= 2;
    if (slots < TABLE_MAX)
        table = make_table(m, slots, may_fail);
    else
        (void)gcrt_error(GC_ERR_LIMIT, "%zu entries are too many", entries);
    map = table == NULL ? NULL : gcrt_malloc(m, &req);
    if (map != NULL)
        map->table = table;
    else if (!may_fail)
        gcrt_fatal("%s: no memory for %zu entries: %s", caller, entries, gc_last_error());
    return map;
}

gc_weak_map *
gc_weak_map_new(size_t entries)
{
    return map_new("gc_weak_map_new", entries, false);
}

gc_weak_map *
gc_try_weak_map_new(size_t entries)
{
    return map_new("gc_try_weak_map_new", entries, true);
}

void
gc_weak_map_set(gc_weak_map *map, void *key, void *value)
{
    struct gcrt_mutator *m = check("gc_weak_map_set", map);

    if (UNLIKELY(check_entry("gc_weak_map_set", m->heap, key, value) != GC_OK))
        gcrt_fatal("%s", gc_last_error());
    if (!set(m, map, key, value, false, __builtin_return_address(0)))
        gcrt_fatal("gc_weak_map_set: %s", gc_last_error());
}

gc_status
gc_try_weak_map_set(gc_weak_map *map, void *key, void *value)
{
    struct gcrt_mutator *m = check("gc_try_weak_map_set", map);
    gc_status status = check_entry("gc_try_weak_map_set", m->heap, key, value);

    if (UNLIKELY(status != GC_OK))
        return status;
    return set(m, map, key, value, true, __builtin_return_address(0)) ? GC_OK : GC_ERR_NOMEM;
}

void *
gc_weak_map_get(const gc_weak_map *map, const void *key)
{
    struct gcrt_mutator *m = check("gc_weak_map_get", map);
    const struct gc_ephemeron *e;
    void *value;

    critical_enter();
    e = find(map, (uintptr_t)key);
    value = e == NULL ? NULL : (void *)gcrt_ephemeron_load_value(m, e);
    m->own.result = value;
    critical_leave();
    m->own.result = NULL;
    return value;
}

/* The entry is in both tables if it has been moved. */
static bool
remove_in(struct gcrt_mutator *m, uintptr_t *table, uintptr_t key)
{
    size_t where;

    if (find_in(table, key, &where) == NULL)
        return false;
    gcrt_barrier_store_release(m, &table[1 + where], TOMBSTONE);
    return true;
}

int
gc_weak_map_remove(gc_weak_map *map, const void *key)
{
    struct gcrt_mutator *m = check("gc_weak_map_remove", map);
    struct lock *lock = lock_of(m, map);
    bool was;

    critical_enter();
    gcrt_lock_acquire(lock);
    was = remove_in(m, map->old, (uintptr_t)key);
    was |= remove_in(m, map->table, (uintptr_t)key);
    if (was)
        aword_add_owner(&map->count, (uint64_t)-1);
    gcrt_lock_release(lock);
    critical_leave();
    return was;
}

size_t
gc_weak_map_size(const gc_weak_map *map)
{
    (void)check("gc_weak_map_size", map);
    return aword_load_relaxed(&map->count);
}

/* ---- going through a map ---- */

/*
 * A cursor is the generation of the tables in its top 16 bits, and how many slots have been
 * passed: those of table, then those of old.  With other tables it begins again.
 */
#define CURSOR_BITS 48

/* Both tables as of one moment; its generation. */
static uint64_t
tables_of(const struct gc_weak_map *map, const uintptr_t **table, const uintptr_t **old)
{
    uint64_t generation;

    for (;; gcrt_os_yield()) { /* a writer has a few stores to make */
        generation = aword_load_acquire(&map->generation); /* pairs: weakmap.generation */
        *table = table_of(&map->table);
        *old = table_of(&map->old);
        if (generation % 2 == 0 && generation == aword_load_acquire(&map->generation))
            return generation;
    }
}

/* Passes LOOK_STEP slots at most; what *cursor is, 0 at the end; *key is not NULL if found. */
static size_t
pass_some(struct gcrt_mutator *m, const struct gc_weak_map *map, size_t cursor, void **key,
        void **value)
{
    const uintptr_t *table, *old;
    size_t generation = tables_of(map, &table, &old) << CURSOR_BITS;
    size_t first = table_slots(table), end = first + (old == NULL ? 0 : table_slots(old));
    size_t at = cursor >> CURSOR_BITS == generation >> CURSOR_BITS
        ? cursor & (((size_t)1 << CURSOR_BITS) - 1) : 0;

    for (unsigned n = 0; n < LOOK_STEP && at < end; n++, at++) {
        const struct gc_ephemeron *e = at < first ? entry_at(table, at) : entry_at(old, at - first);

        if (e == NULL)
            continue;
        *value = (void *)gcrt_ephemeron_load_value(m, e);
        *key = *value == NULL ? NULL : (void *)gcrt_ephemeron_load_key(m, e);
        if (*key != NULL)
            return generation | (at + 1);
    }
    return at < end ? generation | at : SIZE_MAX;
}

int
gc_weak_map_next(const gc_weak_map *map, size_t *cursor, void **key, void **value)
{
    struct gcrt_mutator *m = check("gc_weak_map_next", map);

    if (cursor == NULL || key == NULL || value == NULL)
        gcrt_fatal("gc_weak_map_next: cursor, key or value is NULL");
    *key = NULL;
    while (*key == NULL && *cursor != SIZE_MAX) {
        critical_enter();
        *cursor = pass_some(m, map, *cursor, key, value);
        critical_clear(); /* no poll: precise callers hold neither map, key nor value, perhaps */
    }
    if (*key != NULL)
        return 1;
    *value = NULL;
    return 0;
}
