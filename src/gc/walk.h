/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_WALK_H
#define GCRT_GC_WALK_H

/*
 * What an object points to, read from its type alone: the verifier's own reading, which
 * shares no code with the scanner.
 */

#include "gc/heap.h"
#include "gc/mark.h"

struct walk {
    struct marker marker; /* what trace functions report to; which report to edge */
    /* Called for each pointer word.  slot: where it lies; 0: a trace function said so. */
    void (*edge)(struct walk *w, uintptr_t word, uintptr_t slot);
    /*
     * Does an ephemeron's key live, so that its value is an edge?  `object` is the ephemeron.
     * NULL: as the key's mark says, which between two cycles means nothing.
     */
    bool (*key_lives)(struct walk *w, uintptr_t key);
    uintptr_t object;     /* whose words these are */
};

void gcrt_walk_init(struct walk *w, struct gc_heap *heap,
        void (*edge)(struct walk *w, uintptr_t word, uintptr_t slot));

/* Calls edge for each pointer word of slot `index` of s, which is allocated. */
void gcrt_walk_object(struct walk *w, struct mspan *s, size_t index);

/* The same for an object of that type and place, of which w->object stays as it is. */
void gcrt_walk_contents(struct walk *w, const gc_type *type, uintptr_t at, size_t bytes);

/*
 * The allocated slot that word points into: its span and *index, or NULL.  By division: the
 * span's magic is one of the things to be checked.
 */
struct mspan *gcrt_walk_find(const struct mheap *h, uintptr_t word, size_t *index);

#endif
