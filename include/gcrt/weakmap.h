/* SPDX-License-Identifier: MIT */
#ifndef GCRT_WEAKMAP_H
#define GCRT_WEAKMAP_H

#include <gcrt/thread.h>

GC_IMPL_BEGIN

/*
 * A weak map: from objects, by identity, to values.  Each entry is an ephemeron (ephemeron.h):
 * it holds its value as long as map and key live, does not hold its key, and a value may refer
 * to its key.  When the key is dead the entry is gone.  A map is an object of the heap, and
 * lives as every other.
 *
 * Any number of threads may use a map at once.  Reading takes no lock; writers of one map (and of
 * those that share its lock: a heap has 64) wait for each other, each for a bounded time.
 * The collector never waits for any of them.  What a thread has put is seen by who reads after it
 * in the sense of the host's own synchronisation.
 *
 * All calls: attached threads of the map's heap, inside; fatal for what is no map of that
 * heap.
 */
typedef struct gc_weak_map gc_weak_map;

/*
 * An empty map with room for about so many entries before it grows; 0 is fine.  Fatal without
 * memory; the try form returns NULL then.
 */
GC_API GC_MUST_CHECK gc_weak_map *gc_weak_map_new(size_t entries);
GC_API GC_MUST_CHECK gc_weak_map *gc_try_weak_map_new(size_t entries);

/*
 * Puts the entry, or replaces its value.  key is the address of an object of the heap, or lies in
 * one, and is compared as it is; value is any pointer but NULL (see gc_weak_map_remove).  Fatal
 * if they are not, or without memory; the try form returns GC_ERR_INVAL or GC_ERR_NOMEM then, the
 * map unchanged.
 */
GC_API void gc_weak_map_set(gc_weak_map *map, void *key, void *value);
GC_API GC_MUST_CHECK gc_status gc_try_weak_map_set(gc_weak_map *map, void *key, void *value);

/* The key's value, or NULL.  Any word may be asked for: what is no object has no entry. */
GC_API GC_MUST_CHECK void *gc_weak_map_get(const gc_weak_map *map, const void *key);

/* Takes the entry out; 1 if there was one. */
GC_API int gc_weak_map_remove(gc_weak_map *map, const void *key);

/*
 * Entries in the map, at least: those whose keys have died count until their place is used
 * again or the table rebuilt.  To count exactly, go through them.
 */
GC_API size_t gc_weak_map_size(const gc_weak_map *map);

/*
 * The next entry, in no order: 1, with its key and value in *key and *value; 0 at the end.
 * *cursor is 0 at first, and the map's from then on.  Entries that are put or removed meanwhile
 * may be seen or not; if the table is rebuilt meanwhile, an entry may be seen twice, and none that
 * stays is left out.  The call is no safepoint.
 */
GC_API int gc_weak_map_next(const gc_weak_map *map, size_t *cursor, void **key, void **value);

GC_IMPL_END

#endif
