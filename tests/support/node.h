/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_NODE_H
#define GCRT_TESTS_NODE_H

#include "heapkit.h"
#include "life.h"

/*
 * One object of the shadow oracle: what the test knows about a heap object, kept outside
 * the heap.  Every word of the object is either a slot (it holds a pointer or NULL) or
 * data, whose value follows from the node's serial number and the word's place.
 */

enum node_kind {
    NODE_TINY,   /* gc_alloc_bytes, 1 to 15 bytes */
    NODE_BYTES,  /* gc_alloc_bytes */
    NODE_UNINIT, /* gc_alloc_bytes_uninit */
    NODE_NOSCAN, /* an array of structs without pointers */
    NODE_EPHEMERON, /* a gc_ephemeron: see struct pair */
    NODE_PTRS,   /* an array of pointers */
    NODE_CELL3,  /* structs of 3 words, one a pointer: the pattern drifts across 64 words */
    NODE_CELL5,  /* structs of 5 words, the first and the last a pointer */
    NODE_WIDE,   /* structs of 74 words, pointers beyond the 64th */
    NODE_FLEX,   /* a header with a pointer, then pairs */
    NODE_CONS,   /* conservative */
    NODE_TRACED, /* a trace function */
    NODE_CLASS,  /* one object that fills a size class, of a type made at run time */
    NODE_KINDS
};

struct edge {
    uint32_t word;   /* the slot's index in the object */
    uint32_t target; /* the target's index in its family */
    uint32_t offset; /* bytes into the target */
};

#define NODE_NONE UINT32_MAX

/* Key and value are no edges: the value is reachable while the ephemeron and the key are. */
struct pair {
    uintptr_t hidden; /* t_hide(the key), as it was given */
    uint32_t key;     /* its index; NODE_NONE: it is unreachable */
    uint32_t value;   /* NODE_NONE: NULL, or the key is unreachable */
    uint32_t offset;  /* bytes into the value */
    uint8_t broken;   /* the key has been seen to be NULL, and must be from then on */
};

struct node {
    uintptr_t hidden; /* t_hide(address) */
    uint64_t serial;
    size_t bytes;     /* asked for */
    size_t usable;    /* gc_usable_size */
    struct life *life; /* its cleanup, or NULL */
    struct edge *edges;
    uint32_t nedges;
    uint32_t room;
    uint8_t kind;
    uint8_t type; /* NODE_CLASS: which */
    uint8_t used; /* this entry of the family's table is a reachable object */
    uint8_t seen; /* scratch for reachability */
    uint8_t strong; /* the root leads here by pointers alone */
    struct pair pair; /* NODE_EPHEMERON */
};

/* A thread's own random stream and counts. */
struct player {
    uint64_t rng;
    uint64_t serial;
    uint64_t allocs; /* objects */
    uint64_t bytes;
    uint64_t checks; /* objects checked */
    uint64_t steps;
    uint64_t pairs;  /* ephemerons */
    uint64_t broken; /* those of them whose key was seen to be gone */
};

/* Elements of a node that gc_copy and its sisters may work on. */
struct node_elems {
    const gc_type *type;
    size_t first; /* word of element 0 */
    size_t words; /* of one element */
    size_t count;
};

/* Makes the run-time types, one for each size class from 16 bytes; caller attached. */
void node_types_create(gc_heap *heap);

/*
 * Allocates and fills an object of a random kind (with pointers if slots is set) and
 * describes it in *node; all slots are NULL.  The object is on the caller's stack only.
 */
void *node_create(struct node *node, struct player *player, int slots);

/* The same for an ephemeron; the caller says in node->pair which nodes these two are. */
void *node_create_ephemeron(
        struct node *node, struct player *player, void *key, void *value);
/* Its key and value are what the shadow says, of which value is the value's address. */
void node_check_ephemeron(struct node *node, struct player *player, const void *value);

int node_is_slot(const struct node *node, size_t word);
/* A random slot's word, or -1 if the node has none. */
int64_t node_any_slot(const struct node *node, uint64_t *rng);
int node_elems(const struct node *node, struct node_elems *ret);
/* Writes the data words again after a bulk operation went over them. */
void node_refill(const struct node *node, size_t first, size_t words);

/* The object is where it was, whole, and its data is right; slots are not looked at. */
void node_check_data(const struct node *node, struct player *player, int full);
/* How many of its slots are not NULL. */
size_t node_count_slots(const struct node *node);
/* Slot contents, and the slot's address. */
void **node_slot(const struct node *node, size_t word);
void *node_load(const struct node *node, size_t word);

#endif
