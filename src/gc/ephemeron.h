/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_EPHEMERON_H
#define GCRT_GC_EPHEMERON_H

/*
 * Ephemerons, and the table of those that wait for their key to be marked.
 *
 * A marker that scans an ephemeron whose key is marked marks its value.  Else the ephemeron is
 * scanned again when all else is marked, and filed under its key, by its own link, if that is
 * unmarked still.  While anything is filed, who marks an object looks into its bucket, and
 * queues the ephemerons of marked keys to be scanned once more.
 */

#include "gc/mark.h"
#include "gc/mutator.h"

#include <gcrt/ephemeron.h>

/* An object of the heap; its type's trace function is here. */
struct gc_ephemeron {
    uintptr_t key;   /* atomic: const until it is emptied; 0: broken; pairs: weak.emptied */
    uintptr_t value; /* atomic: the host stores; pairs: ephemeron.value */
    aword link;      /* atomic: 0, or how it waits, and for what (ephemeron.c) */
};

extern const gc_type gcrt_ephemeron_type;

/* ---- mutators: the calling thread's, in a critical section ---- */

/* Does p point to or into an object, as far as marking is concerned? */
bool gcrt_ephemeron_is_object(const struct gc_heap *heap, const void *p);
/* A table, before the first ephemeron; false without memory.  Not in a critical section. */
bool gcrt_ephemeron_prepare(struct gc_heap *heap);
/* Key and value, strong from now on; 0 for a broken one. */
uintptr_t gcrt_ephemeron_load_key(struct gcrt_mutator *m, const struct gc_ephemeron *e);
uintptr_t gcrt_ephemeron_load_value(struct gcrt_mutator *m, const struct gc_ephemeron *e);
/* Will it be, or is it, broken by a decision that has been made? */
bool gcrt_ephemeron_is_dead(struct gcrt_mutator *m, const struct gc_ephemeron *e);

/* Allocates one, which nobody knows; NULL without memory.  Not in a critical section. */
struct gc_ephemeron *gcrt_ephemeron_make(struct gcrt_mutator *m, void *key, void *value,
        bool may_fail, const void *site);

/* ---- markers ---- */

/* The object at that address has been marked: what is filed under it is queued. */
void gcrt_ephemeron_fire(struct marker *mk, uintptr_t object);

/* Is anything filed?  Asked after a mark was set by a full operation. */
static inline bool
ephemeron_is_filed(const struct gc_heap *heap)
{
    return ahalf_load_full(&heap->ephemerons.filed) != 0; /* pairs: ephemeron.filed */
}

/* The same as a hint, asked at any time. */
static inline bool
ephemeron_may_be_filed(const struct gc_heap *heap)
{
    return ahalf_load_relaxed(&heap->ephemerons.filed) != 0;
}

/* ---- the coordinator ---- */

/* Between DECIDED and H5, before any object is revived: breaks what is filed. */
void gcrt_ephemeron_break(struct gc_heap *heap);
/* Before a cycle marks: a table for all that may be alive. */
void gcrt_ephemeron_begin(struct gc_heap *heap);
/* When its marking is over: so many were. */
void gcrt_ephemeron_count(struct gc_heap *heap);
/* Does it wait for its key, or to be scanned again?  None does when marking is over. */
bool gcrt_ephemeron_waits(const struct gc_heap *heap, const struct gc_ephemeron *e);
/* In a forked child: nothing is filed any more, and nothing broken. */
void gcrt_ephemeron_forget(struct gc_heap *heap);

void gcrt_ephemeron_init(struct gc_heap *heap);
void gcrt_ephemeron_finish(struct gc_heap *heap);

#endif
