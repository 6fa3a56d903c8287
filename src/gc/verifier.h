/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_VERIFIER_H
#define GCRT_GC_VERIFIER_H

/*
 * What the parts of the verifier share: verify.c looks at spans and colours, verify_lists.c
 * at who holds each span and page, verify_sums.c at counters and at what is said twice.
 */

#include "gc/kind.h"
#include "gc/mutator.h"
#include "gc/verify.h"

/* Which slots may be marked at an edge. */
enum verify_marks {
    ALLOW_NONE,
    ALLOW_BORN,    /* only slots taken since the last sweep: no alloc bit yet */
    ALLOW_UNSWEPT, /* only in spans that are not swept yet */
    ALLOW_ANY
};

struct verify_rules {
    const char *when;
    enum verify_marks marks;
    bool unswept;     /* spans may need sweeping */
    uint32_t barrier; /* of every mutator */
    bool black;       /* every mutator allocates black */
    bool grey;        /* there may be grey objects and full work buffers */
    bool shaded;      /* barrier buffers may have words; if nothing is grey, marked ones */
};

/* What a page was found to be; a span's first page says who holds the span. */
enum place {
    PLACE_NONE,
    PLACE_SPAN,   /* a span's first page; its holder has not been found yet */
    PLACE_INSIDE, /* a later page */
    PLACE_FILED,  /* a span's first page; in a set */
    PLACE_CACHED, /* the same; in a P's cache */
    PLACE_WINDOW  /* in a P's window of pages */
};

struct verifier {
    struct gc_heap *heap;
    const struct verify_rules *rules;
    char *text;          /* first complaint */
    bool broken;
    uintptr_t blamed;    /* the object whose pointer is complained about, or 0 */
    struct os os;        /* for the map: not in the heap's books, no faults injected */
    uint8_t *place;      /* enum place of each page */
    size_t npages;       /* grown */
    /* counted */
    size_t pages;        /* in spans */
    uint64_t slots[NUM_CLASSES]; /* allocated */
    uint64_t spans[NUM_CLASSES]; /* of small objects */
    uint64_t larges, large_pages;
    uint64_t stacks;     /* parked */
};

/* Keeps the first complaint. */
void gcrt_verify_complain(struct verifier *v, const char *tag, const char *format, ...)
        PRINTF(3, 4);

/* verify_lists.c; the spans are known. */
void gcrt_verify_lists(struct verifier *v);
/* verify_sums.c; the lists are right. */
void gcrt_verify_sums(struct verifier *v);
/* verify_special.c; the spans are right. */
void gcrt_verify_specials(struct verifier *v, enum verify_edge edge);

/* verify_weak.c; marked: marking is complete. */
void gcrt_verify_weak(struct verifier *v, bool marked);

/* The span's first byte, for complaints. */
static inline unsigned long
verify_start(const struct verifier *v, const struct mspan *s)
{
    return (unsigned long)span_start(&v->heap->mheap, s);
}

#endif
