/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_FAMILY_H
#define GCRT_TESTS_FAMILY_H

#include "node.h"

/*
 * A family is a small graph of heap objects with one root and its complete shadow: the
 * test knows every object and every edge.  Pointers never leave a family, so whoever owns
 * the family (a thread, or the holder of a global's lock) knows the whole truth about it.
 * Where the root's address is kept is the owner's business (stack, global, handle, heap).
 */

#define FAMILY_NODES 40

struct family {
    struct node nodes[FAMILY_NODES];
    uint32_t root;
    uint32_t nused;
};

/* What families hold, for comparison with gc_stats. */
struct census {
    uint64_t objects;   /* reachable ones that have a block of their own */
    uint64_t tiny;      /* reachable ones that may share a block */
    uint64_t bytes;     /* usable bytes of the former */
    uint64_t loose;     /* reachable ephemerons whose key is not, and is not NULL yet */
};

/*
 * Makes a family of one object in an empty *family; its address is only on the caller's
 * stack: anchor it.
 */
void *family_create(struct family *family, struct player *player);
/* The root's address, from the shadow.  The object must be anchored. */
void *family_root(const struct family *family);
/*
 * One random operation on the graph.  noise(arg) is called where an object hangs on
 * nothing but this thread's stack.  The root may be replaced by another object: the new
 * root is returned, else NULL; the old one stays good until the owner has re-anchored.
 */
void *family_step(struct family *family, struct player *player, void (*noise)(void *),
        void *arg);
/* Every reachable object is in place, whole, and its slots are what the shadow says. */
void family_check(struct family *family, struct player *player, int full);
void family_count(const struct family *family, struct census *census);
/* Frees the shadow; the objects are dead once their anchor is cleared. */
void family_forget(struct family *family);

#endif
