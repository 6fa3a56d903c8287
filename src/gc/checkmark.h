/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_CHECKMARK_H
#define GCRT_GC_CHECKMARK_H

/*
 * checkmark=1: every cycle is marked a second time, simply and with all mutators held, and
 * the two must agree.  Coordinator only, but for gcrt_checkmark_note_*.
 */

#include "gc/mutator.h"
#include "gc/search.h"

#define CHECKMARK_TEXT 512

struct checkmark {
    struct gc_heap *heap;
    struct os os;             /* its memory: not in the heap's books, no faults injected */
    struct stack_word *words; /* what the mutators' scans saw; atomic: slots are handed out */
    ahalf nwords;             /* atomic: next slot; beyond CHECKMARK_WORDS: dropped */
    struct search search;     /* from when marking opens: what was reachable then */
    bool is_open;             /* search and born are of the running cycle */
    uint32_t *born;           /* per page, then: free index of the span that begins, + 1; or 0 */
    size_t born_bytes;
    /* of the last cycle */
    uint64_t reachable;       /* objects reachable when marking opened */
    uint64_t reachable_end;   /* from ranges and handles when it was complete */
    uint64_t born_since;      /* slots taken in between */
    uint64_t ambiguous;       /* unmarked objects that a stack word led to */
    uint64_t cycles;          /* checked so far */
};

/* heap->checkmark, if the heap wants one.  False without memory. */
bool gcrt_checkmark_init(struct gc_heap *heap);
void gcrt_checkmark_finish(struct gc_heap *heap);

/* Before H1. */
void gcrt_checkmark_begin(struct gc_heap *heap);
/* In H3, when m's stack has been collected.  The caller owns m; sp as the action got it. */
void gcrt_checkmark_note_stack(struct gcrt_mutator *m, uintptr_t sp);
/* The same for a parked stack that is scanned before marking opens, by whoever resumes it. */
void gcrt_checkmark_note_parked(struct gc_heap *heap, const struct gc_stack *s);
/* After H3, before marking opens: what is reachable now must be marked in the end. */
void gcrt_checkmark_open(struct gc_heap *heap);
/* Marking complete, before H5.  A difference is fatal. */
void gcrt_checkmark_close(struct gc_heap *heap);

/* The same without the end: GC_ERR_CORRUPT, a sentence, and the path's lines. */
gc_status gcrt_checkmark_compare(struct gc_heap *heap, char text[CHECKMARK_TEXT],
        char path[PATH_TEXT]);

#endif
