/* SPDX-License-Identifier: MIT */
/*
 * Why is this alive?
 *
 * Purpose: find what keeps an object that should be dead.
 * Place: the api asks; a look at the heap between two cycles holds the mutators and searches.
 * Invariants: globals and handles, and what they lead to, are looked at before stacks are, so an
 * object that is also on a stack, the caller's own perhaps, is explained by what lasts.
 * Concurrency: every mutator is held while the search runs.
 * Cost: a walk over all reachable objects, single-threaded, and twice the heap's address
 * space: for a debugger's question, not for production traffic.
 */
#include "gc/why.h"

#include "gc/handshake.h"
#include "gc/look.h"

#include <stdio.h>

struct why {
    struct look look; /* first */
    uintptr_t word;
    gc_status status;
    char *text;       /* PATH_TEXT */
};

static void
explain(struct why *why, struct search *s, uintptr_t object)
{
    gcrt_search_pairs(s);
    gcrt_search_roots(s);
    gcrt_search_drain(s);
    if (!gcrt_search_has(s, object)) {
        gcrt_search_stacks(s);
        gcrt_search_drain(s);
    }
    if (gcrt_search_has(s, object)) {
        gcrt_search_path(s, object, why->text, PATH_TEXT);
        why->status = GC_OK;
    } else {
        snprintf(why->text, PATH_TEXT, "no root leads to the object at %#lx",
                (unsigned long)object);
        why->status = GC_ERR_NOTFOUND;
    }
}

static void
find_and_explain(struct why *why, struct gc_heap *heap)
{
    size_t index;
    struct mspan *span = gcrt_walk_find(&heap->mheap, why->word, &index);
    struct search s;

    why->status = GC_ERR_NOMEM;
    if (span == NULL) {
        snprintf(why->text, PATH_TEXT, "%#lx lies in no object of the heap",
                (unsigned long)why->word);
        why->status = GC_ERR_NOTFOUND;
    } else if (gcrt_search_init(&s, heap)) {
        explain(why, &s, span_object(&heap->mheap, span, index));
        gcrt_search_finish(&s);
    }
}

static void
look(struct gc_heap *heap, struct look *l)
{
    gcrt_hold_all(heap);
    find_and_explain(container_of_(l, struct why, look), heap);
    gcrt_release_all(heap);
}

gc_status
gcrt_why_alive(struct gc_heap *heap, const void *p, char text[PATH_TEXT])
{
    struct why why = { .look.fn = look, .word = (uintptr_t)p, .text = text };

    text[0] = '\0';
    return gcrt_look(heap, &why.look) ? why.status : GC_ERR_THREAD;
}
