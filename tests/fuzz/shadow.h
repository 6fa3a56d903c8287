/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_FUZZ_SHADOW_H
#define GCRT_TESTS_FUZZ_SHADOW_H

/*
 * The shadow of one or two heaps: what each object holds and what is reachable, kept outside
 * of them.  Objects are named by index; their addresses are hidden.  The thread is single,
 * so the shadow is always exact: an object in use is reachable, and one that is not is
 * forgotten at once, but for a note that the next collection must free it.
 */

#include "heap.h"

#define HEAPS       2
#define OBJECTS     96
#define SLOTS       16
#define LOCALS      6
#define HANDLES     6
#define RANGES      4
#define RANGE_WORDS 8
#define DEAD_MAX    256
#define NODES_MAX   (SLOTS / 4)
#define NOBODY      (-1)

struct node {
    struct node *left, *right;
    uint64_t stamp;
    void *more[2];
    uint64_t seal; /* ~stamp, or 0 with it */
};

struct chain {
    struct chain *outer;
    size_t n;
    void *slot[];
};

enum shape {
    NODES,
    POINTERS,
    CHAIN,
    WORDS,
    TAGGED,
    BYTES,
    SHAPES
};

/* To an object, or into it; nothing if object is NOBODY. */
struct ref {
    int object;
    size_t offset;
};

struct object {
    bool used, reachable;
    enum shape shape;
    int heap;
    uintptr_t hidden;
    size_t bytes; /* as asked for */
    size_t n;     /* elements */
    size_t nslots;
    struct ref slot[SLOTS]; /* pointer words; of long arrays the first and last ones */
    uint64_t stamp[NODES_MAX];
    uint8_t fill; /* BYTES: what every byte is */
};

struct range {
    int heap; /* NOBODY: not registered */
    size_t first, n;
    struct ref ref[RANGE_WORDS];
};

struct cell {
    gc_handle *handle; /* NULL: none */
    int heap;
    struct ref ref;
};

struct dead {
    uintptr_t hidden;
    size_t bytes;
    int heap;
};

struct shadow {
    gc_heap *heap[HEAPS];
    int64_t gogc[HEAPS];
    uint64_t cycles[HEAPS];
    int at; /* the heap that the thread is attached to, or NOBODY */
    struct object object[OBJECTS];
    struct range range[RANGES];
    struct cell cell[HANDLES];
    struct ref local[LOCALS];
    void *volatile *locals; /* the words themselves, on the stack of whoever collects */
    struct dead dead[DEAD_MAX];
    size_t ndead;
    bool inexact; /* a pointer past an end may have kept a neighbour */
};

extern struct shadow shadow;
extern void *range_words[RANGES][RANGE_WORDS];
extern const gc_type *const node_type, *const chain_type, *const words_type,
                                                                  *const tagged_type;

void shadow_clear(void);
struct ref nothing(void);

/* The object's address, and the word that a slot with this reference holds. */
void *address_of(const struct object *o);
void *value_of(struct ref ref);

/* Which word of the object slot i is; the slots that lie in one row with it, from it on. */
size_t word_of_slot(const struct object *o, size_t i);
size_t slots_in_row(const struct object *o, size_t i);
size_t node_of(const struct object *o, size_t i); /* index of the i-th node with a stamp */

/* Objects without pointers below 8 bytes share blocks. */
bool is_tiny(const struct object *o);

/* Forgets what no root leads to any more.  After each change that can drop something. */
void shadow_trace(void);

/* Everything that is reachable must hold what the shadow says. */
void shadow_check(void *unused);
/* After a collection of the attached heap nothing else may be left in it. */
void shadow_check_dead(void *unused);

#endif
