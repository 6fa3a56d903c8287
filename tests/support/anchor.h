/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_ANCHOR_H
#define GCRT_TESTS_ANCHOR_H

/* What keeps a family alive: each hangs on one anchor by its root. */

#include "family.h"

#include <stdbool.h>

#define HELD 10

enum anchor {
    ANCHOR_ROOT,
    ANCHOR_HEAP,
    ANCHOR_HANDLE,
    ANCHOR_ARENA,    /* an object in an arena of the anchor's own */
    ANCHOR_FIBER,    /* a local of a coroutine that is parked, whoever runs it next */
    ANCHOR_STACK,
    ANCHOR_INTERIOR, /* the stack holds an address inside the object only */
    ANCHOR_END,      /* the stack holds the address of its end only */
    ANCHORS
};

struct holding {
    struct family *family; /* owned; NULL: empty */
    enum anchor where;
    gc_handle *handle; /* of the root, or of the arena */
    void **hook;       /* in the arena */
    struct anchor_fiber *fiber; /* owned; NULL: none yet */
};

/* One thread's. */
struct anchors {
    uint64_t *rng;
    bool precise;          /* the thread's stack is not scanned */
    struct holding held[HELD];
    void *roots[HELD];     /* registered */
    gc_handle *table;      /* an array of HELD pointers in the heap */
    void *volatile *stack; /* HELD words in the thread's first frame */
};

/* The family's root is root and hangs on anchor i, which is as held[i] says, from now on. */
void anchor_set(struct anchors *a, size_t i, void *root);
void anchor_clear(struct anchors *a, size_t i);
/* The anchor has the root that the shadow knows. */
void anchor_check(struct anchors *a, size_t i);
enum anchor anchor_any(struct anchors *a);
/* All are clear; what they are made of goes. */
void anchor_end(struct anchors *a);

#endif
