/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_OWN_H
#define GCRT_GC_OWN_H

/*
 * Roots that a mutator owns: frames of locals, cells of scopes, callbacks, and the object
 * that a call is about to return.  They change with its own plain stores and are read in
 * its handshakes.
 */

#include "alloc/base/base.h"

#include <gcrt/precise.h>

struct gcrt_mutator;

#define LOCAL_CELLS 510

struct local_chunk {
    struct local_chunk *prev; /* owned */
    void *cells[LOCAL_CELLS];
};

struct root_callback {
    struct root_callback *next; /* owned */
    gc_root_fn *fn;
    void *arg; /* the host's */
};

/* The scopes of one stack.  Zeroed is valid and empty. */
struct scopes {
    struct local_chunk *chunk; /* owner: newest; owned */
    uint32_t used;             /* owner: cells in use of the newest */
    uint32_t depth;            /* owner: scopes entered */
};

/*
 * An argument of a call that allocates, which nothing else may hold.  Cells lie in the calls' own
 * frames; there are several if the host's oom function calls, too.
 */
struct own_held {
    const void *object;
    struct own_held *outer;
};

/* Zeroed is valid and empty. */
struct own {
    struct scopes scopes;      /* owner: of the current stack */
    struct local_chunk *spare; /* owner: an empty one, or NULL; owned */
    struct root_callback *callbacks; /* owner: newest first; owned */
    void *result;              /* owner: what a call is about to return, or NULL */
    struct own_held *held;     /* owner: newest first */
};

static inline void
own_hold(struct own *own, struct own_held *cell, const void *object)
{
    *cell = (struct own_held){ object, own->held };
    own->held = cell;
}

static inline void
own_release(struct own *own, const struct own_held *cell)
{
    own->held = cell->outer;
}

/* Does a word that a visit has told of lie in such a cell, or in the result? */
bool gcrt_own_is_of_call(const struct own *own, uintptr_t at);

/*
 * Calls fn for each word; at is where it lies, or the mutator for one that a callback
 * reports.  Those of the current stack, and of the thread.  The caller owns m.  Returns the number
 * of words.
 */
size_t gcrt_own_visit(struct gcrt_mutator *m,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at), void *arg);

/* Of these, only the items of a pool that the thread keeps itself. */
size_t gcrt_own_visit_hot(struct gcrt_mutator *m,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at), void *arg);

/* The same for the frames and scopes of one stack. */
size_t gcrt_own_visit_stack(const struct gc_impl_frame *frames, const struct scopes *scopes,
        void (*fn)(void *arg, uintptr_t word, uintptr_t at), void *arg);

/*
 * The mutator ends: its chunks, those of its own stack too, and its callbacks.  They are freed when
 * it is not critical any more: a thread that is held may have malloc's lock.
 */
struct own_memory {
    struct scopes current, native;
    struct local_chunk *spare;
    struct root_callback *callbacks;
};

struct own_memory gcrt_own_take(struct gcrt_mutator *m);
void gcrt_own_free(struct own_memory *memory);
/* Frees the chunks. */
void gcrt_own_drop_scopes(struct scopes *scopes);

#endif
