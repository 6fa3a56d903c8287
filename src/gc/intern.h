/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_INTERN_H
#define GCRT_GC_INTERN_H

/* The table of canonical copies. */

#include "gc/heap.h"

#define INTERN_HEAD 16

/* From malloc; a weak place in the table until its copy is decided dead. */
struct intern_entry {
    struct cds_lfht_node node; /* has the hash */
    size_t n;                  /* const */
    uintptr_t copy; /* atomic: weak; 0 once it is dead; pairs: weak.emptied */
    struct intern_entry *next; /* coordinator: of those that are gone */
    char head[INTERN_HEAD];    /* const: the first bytes, so that short ones cost no miss more */
};

void gcrt_intern_init(struct gc_heap *heap);
void gcrt_intern_finish(struct gc_heap *heap);

/* ---- the coordinator ---- */

/* Between DECIDED and H5, before any object is revived: takes out the entries of dead copies. */
void gcrt_intern_drop(struct gc_heap *heap);
/* Frees them.  H5 is complete, or there is no thread that could look at them. */
void gcrt_intern_free_gone(struct gc_heap *heap);
/* More buckets, if there are many entries.  Not in a cycle. */
void gcrt_intern_grow(struct gc_heap *heap);

/* Calls fn for each entry; its result is the number of them.  Nobody adds one meanwhile. */
size_t gcrt_intern_visit(
        struct gc_heap *heap, void (*fn)(void *arg, const struct intern_entry *e), void *arg);

#endif
