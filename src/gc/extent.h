/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_EXTENT_H
#define GCRT_GC_EXTENT_H

/* Disjoint ranges of addresses, ordered, in their owners' memory. */

#include "alloc/base/base.h"

struct extent {
    struct extent *left, *right; /* of the tree that it is in */
    uintptr_t lo, hi;
};

/* False, and nothing is changed, if it overlaps one that is there. */
bool gcrt_extent_add(struct extent **root, struct extent *e);
/* e is there. */
void gcrt_extent_remove(struct extent **root, struct extent *e);
/* The one that the address lies in, or NULL. */
struct extent *gcrt_extent_find(struct extent *root, uintptr_t address);

#endif
