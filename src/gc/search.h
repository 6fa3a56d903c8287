/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_SEARCH_H
#define GCRT_GC_SEARCH_H

/*
 * A depth-first search of the object graph that shares nothing with marking: tables of its
 * own, walk.h's reading of types, no mark bits.  It remembers how it came to each object.
 * Everything here wants all mutators held.
 */

#include "gc/roots.h"
#include "gc/walk.h"

/* A word that a mutator's scan saw (checkmark.h). */
struct stack_word {
    bool exact; /* said by the host, not found on a stack */
    uintptr_t word;
    uintptr_t at; /* where it lay */
    int tid;      /* whose stack */
};

struct search {
    struct walk walk;
    struct os os;      /* its memory: not in the heap's books, no faults injected */
    size_t bytes;      /* heap bytes that the tables cover */
    uint64_t *parent;  /* per word of the heap, at an object's start: how it was reached; or,
                          with no enum search_from: the ephemerons that wait for it, or 0 */
    uintptr_t *todo;   /* objects reached and not looked into yet */
    size_t ntodo;
    uint64_t objects;  /* reached */
};

/* How an object was reached: an address or pointer, and one of these in its high bits. */
enum search_from {
    FROM_NOTHING,  /* it was not */
    FROM_SLOT,     /* address of a heap word */
    FROM_TRACE,    /* an object whose trace function named it */
    FROM_ROOT,     /* address of a word of a root range; the other kinds of roots follow */
    FROM_HOT = FROM_ROOT + ROOT_KINDS, /* of an item of a pool that a held mutator keeps */
    FROM_STACK,    /* address of a word of a held mutator's stack, registers or window */
    FROM_SCAN      /* a struct stack_word */
};

#define FROM_SHIFT 56 /* no address is so large */

static inline enum search_from
search_from_root(enum root_kind kind)
{
    return (enum search_from)((unsigned)FROM_ROOT + (unsigned)kind);
}

/* Nothing reached yet.  False without memory. */
bool gcrt_search_init(struct search *s, struct gc_heap *heap);
/*
 * Before anything is reached: the value of an ephemeron that is reached is reached with the key.
 * Without this marks say which keys live, and what they say is stale between two cycles.  It is no
 * more than was so at this moment: a value that is overwritten later need not be marked.
 */
void gcrt_search_pairs(struct search *s);
void gcrt_search_finish(struct search *s);

/* The object that a word points into is reached, if there is one. */
void gcrt_search_word(struct search *s, uintptr_t word, uintptr_t at, enum search_from from);
/* The words of all ranges and handles; those of every held mutator's stack. */
void gcrt_search_roots(struct search *s);
void gcrt_search_stacks(struct search *s);
/* Follows what has been reached to its end. */
void gcrt_search_drain(struct search *s);

enum search_from gcrt_search_from(const struct search *s, uintptr_t object);
bool gcrt_search_has(const struct search *s, uintptr_t object);

/* The object through which this one, which was reached, was; 0: a root. */
uintptr_t gcrt_search_holder(const struct search *s, uintptr_t object);

/* Room for a path's text, whatever the names of types. */
#define PATH_TEXT 2048
/*
 * The path from a root to the object, which was reached, in lines.  Of a long one the middle
 * is left out, and of a long name the end.
 */
void gcrt_search_path(const struct search *s, uintptr_t object, char *text, size_t n);
/* Says that text on standard error, line by line, each after the prefix. */
void gcrt_search_say(const char *prefix, const char *text);

#endif
