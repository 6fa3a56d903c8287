/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ARENA_H
#define GCRT_ARENA_H

#include <gcrt/thread.h>
#include <gcrt/type.h>

GC_IMPL_BEGIN

/*
 * An arena: a region of the heap for one request.  Objects in it are allocated by bumping, and
 * end all at once with gc_arena_free.  (docs/arenas.md; Go's arena experiment, runtime/arena.go,
 * and Hanson, "Fast allocation and deallocation of memory based on object lifetimes", 1990.)
 *
 * Its objects have types as all others, may point to anything, and what they point to lives as
 * long as they do.  Anything may point to them; their slots want gc_write as those of all other
 * objects do, and the first plain store into each field of a fresh one is right, too.  As long as
 * the arena has not been freed they live while something points into the arena, or to the arena;
 * the arena is an object of the heap, and if it is never freed it ends as every other.
 *
 * After gc_arena_free pointers into the arena must not be used.  One that is used all the same
 * finds zeros, or what was written by such a mistake, and never an object of the heap: the
 * addresses come back only when a cycle has found no pointer to them, in any object, root or stack.
 * With GCRT_DEBUG=arena=1 it ends the process with a line that names the arena.
 *
 * All calls: attached threads of the arena's heap, inside, one at a time; fatal for what is no
 * arena of that heap, and after it was freed.
 * No weak reference, cleanup or finalizer can be had for an object in an arena.
 */
typedef struct gc_arena gc_arena;

/*
 * An empty arena.  name is for reports, borrowed for the heap's life; NULL: none.  It takes no
 * memory but its own 256 bytes before the first object.  Fatal without memory; the try form
 * returns NULL then.
 */
GC_API GC_RETURNS_OBJECT gc_arena *gc_arena_new(const char *name);
GC_API GC_MUST_CHECK gc_arena *gc_try_arena_new(const char *name);

/*
 * Objects: zeroed, aligned to 16 bytes, with 8 bytes before each that say what it is.
 * Otherwise as gc_alloc_array, gc_alloc_flex, gc_alloc_bytes and gc_strdup (alloc.h).
 * gc_arena_alloc, an object of the type, is below.
 */
GC_API GC_RETURNS_OBJECT void *gc_arena_alloc_array(gc_arena *arena, const gc_type *elem,
        size_t n);
GC_API GC_RETURNS_OBJECT void *gc_arena_alloc_flex(gc_arena *arena, const gc_type *type,
        size_t n);
GC_API GC_RETURNS_OBJECT void *gc_arena_alloc_bytes(gc_arena *arena, size_t n);
GC_API GC_RETURNS_OBJECT char *gc_arena_strdup(gc_arena *arena, const char *s);

GC_API GC_MUST_CHECK void *gc_try_arena_alloc(gc_arena *arena, const gc_type *type);
GC_API GC_MUST_CHECK void *gc_try_arena_alloc_array(gc_arena *arena, const gc_type *elem,
        size_t n);
GC_API GC_MUST_CHECK void *gc_try_arena_alloc_flex(gc_arena *arena, const gc_type *type,
        size_t n);
GC_API GC_MUST_CHECK void *gc_try_arena_alloc_bytes(gc_arena *arena, size_t n);

/*
 * The arena and all objects in it end.  Their memory goes back to the system at once, or when
 * the running cycle has marked.  O(bytes / 1 MiB), at least a microsecond.  Fatal if arena has
 * been freed already.
 */
GC_API void gc_arena_free(gc_arena *arena);

/* Bytes of heap memory that the arena has taken so far; 0 when it is freed. */
GC_API GC_MUST_CHECK size_t gc_arena_bytes(const gc_arena *arena);

/* ---- what inlining needs; nothing here is for hosts ---- */

#define GC_IMPL_ARENA_SLOTS 8

struct gc_impl_arena_slot {
    uintptr_t key;   /* the type's address; tagged for arrays */
    size_t step;     /* bytes of an object with what lies before it */
    uint64_t header; /* what lies before it */
};

struct gc_arena {
    char *impl_next;  /* where the next object's header goes */
    char *impl_end;   /* of the newest chunk */
    void *impl_chunk; /* the newest chunk; the only word that the collector follows */
    uint64_t impl_state;
    const char *impl_name;
    uint64_t impl_number;
    size_t impl_bytes;
    size_t impl_chunks;
    struct gc_impl_arena_slot impl_slots[GC_IMPL_ARENA_SLOTS];
};

GC_API GC_RETURNS_OBJECT void *gc_impl_arena_alloc(gc_arena *arena, const gc_type *type);

/*
 * One zeroed object of the type.  The fast path is a compare and a bump.  It needs no critical
 * section: a handshake in its middle sees the object or does not, and nobody has it yet.  It looks
 * at the arena alone, so while the chunk has room nobody notices a caller that is detached, in a
 * blocking region or in another heap; the other calls and each new chunk do.
 */
GC_INLINE GC_MUST_CHECK void *
gc_arena_alloc(gc_arena *arena, const gc_type *type)
{
    struct gc_impl_arena_slot *slot
            = &arena->impl_slots[((uintptr_t)type >> 6) % GC_IMPL_ARENA_SLOTS];
    char *p = arena->impl_next;

    if (GC_LIKELY(slot->key == (uintptr_t)type && slot->step <= (size_t)(arena->impl_end - p))) {
        __atomic_store_n((uint64_t *)(void *)p, slot->header, __ATOMIC_RELAXED);
        arena->impl_next = p + slot->step;
        return p + sizeof(uint64_t);
    }
    return gc_impl_arena_alloc(arena, type);
}

GC_IMPL_END

#endif
