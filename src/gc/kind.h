/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_KIND_H
#define GCRT_GC_KIND_H

/*
 * Kinds: what objects of one type and size class look like to the collector.
 *
 * A kind's key is its type's address with, for arrays, flexible and large objects, the size
 * class in the top byte (KEY_LARGE for large, KEY_TINY for blocks of tiny ones).  A single
 * small object's key is the address alone, which is what the inline allocator compares.
 */

#include "gc/heap.h"

#define KEY_LARGE 0x80u
#define KEY_TINY  0x81u

enum scan_how {
    SCAN_NONE,
    SCAN_ALL,    /* every word */
    SCAN_ONE,    /* one element: the words in mask */
    SCAN_TILED,  /* elements until the slot's end: mask each */
    SCAN_FIELDS, /* elements too long for a mask: the type's fields */
    SCAN_TAGGED, /* elements until the slot's end: the type's fields, decoded */
    SCAN_FLEX,   /* the type's fields once, then `tail` tiled from type->tail on */
    SCAN_TRACE   /* the type's function */
};

/* The bits of a mask: one, two together, more together, any. */
enum mask_shape { MASK_ONE, MASK_TWO, MASK_RUN, MASK_ANY };

struct layout {
    enum scan_how how;
    uint32_t elem_bytes;
    uint64_t mask;
    enum mask_shape shape; /* of a mask that is not 0 */
    uint32_t words;        /* up to the last one in mask */
    uint32_t reach;        /* the byte where that one begins, or 0 */
    const gc_type *type; /* fields, trace */
};

struct kind {
    struct mcentral central; /* first: mheap's registry points to it */
    uintptr_t key;           /* const */
    const gc_type *type;     /* const; borrowed for the heap's life */
    char was[sizeof(gc_type)]; /* const: what it was when the kind was made */
    struct layout layout;    /* const */
    struct layout tail;      /* const: SCAN_FLEX */
    struct cds_lfht_node node;
};

bool gcrt_kinds_init(struct gc_heap *heap);
void gcrt_kinds_finish(struct gc_heap *heap);
/* Is there memory for one more thread that looks up kinds?  Makes the caller such a one. */
bool gcrt_kinds_have_reader(struct gc_heap *heap);

/* NULL if the type is well formed, else what is wrong with it. */
const char *gcrt_type_complaint(const gc_type *type);

/*
 * The kind of key; made if there is none, and then the type is examined: a malformed one is
 * fatal.  NULL without memory, or with the table full.
 * sizeclass is CLASS_LARGE for large objects; single: exactly one element.
 */
struct kind *gcrt_kind_get(struct gc_heap *heap, uintptr_t key, const gc_type *type,
        unsigned sizeclass, bool single);

/* How the words of its fields are read; NULL: they are pointers. */
static inline const gc_decode *
type_decode(const gc_type *type)
{
    return type->flags & GC_IMPL_TAGGED ? (const gc_decode *)(const void *)type->elem : NULL;
}

static inline uintptr_t
kind_key(const gc_type *type, unsigned sizeclass)
{
    uintptr_t tag = sizeclass == CLASS_LARGE ? KEY_LARGE : sizeclass;

    return (uintptr_t)type | tag << 56;
}

/* Uninitialised bytes have runs of their own in the same spans: a key of mcaches alone. */
static inline uintptr_t
key_of_raw(const gc_type *type, unsigned sizeclass)
{
    return (uintptr_t)type | (uintptr_t)(sizeclass + GC_IMPL_RAW) << 56;
}

static inline uintptr_t
key_of_kind(uintptr_t key)
{
    return key_is_raw(key) ? key - ((uintptr_t)GC_IMPL_RAW << 56) : key;
}

/* Blocks of CLASS_TINY that several tiny objects share. */
static inline uintptr_t
kind_key_tiny(void)
{
    return (uintptr_t)&gc_byte_type | (uintptr_t)KEY_TINY << 56;
}

static inline const struct kind *
kind_at(const struct gc_heap *heap, unsigned index)
{
    return (const struct kind *)(const void *)heap->mheap.centrals[index];
}

static inline const struct kind *
kind_of(const struct gc_heap *heap, const struct mspan *s)
{
    return kind_at(heap, s->kind);
}

#endif
