/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_COPIES_H
#define GCRT_GC_COPIES_H

/*
 * A marker's own copies of pages' mark bits, in which it marks without atomic operations.
 */

#include "gc/ephemeron.h"
#include "gc/heap.h"

#define MARK_COPIES 128
#define COPY_WORDS  8 /* enough for a page of 16-byte objects */
#define NO_PAGE     UINTPTR_MAX

/* A page has one place, by its number. */
struct mark_copies {
    uintptr_t page[MARK_COPIES]; /* number in the heap of whose bits are here, or NO_PAGE */
    uint64_t bits[MARK_COPIES][COPY_WORDS];
    bool any; /* is there a page? */
};

/* Is there room for the bits of a page of that class? */
static inline bool
copies_suit(unsigned sizeclass)
{
    return gcrt_class_nelems[sizeclass] <= COPY_WORDS * 64;
}

/* Has the marker a copy of the page's bits? */
static inline bool
copies_have(const struct mark_copies *copies, uintptr_t page)
{
    return copies->page[page % MARK_COPIES] == page;
}

/* Marks object `index` of that page, of which there is a copy; true if it was not. */
static inline bool
copies_mark(struct mark_copies *copies, uintptr_t page, size_t index)
{
    uint64_t bit = (uint64_t)1 << index % 64;
    uint64_t *word = &copies->bits[page % MARK_COPIES][index / 64], old = *word;

    *word = old | bit;
    return (old & bit) == 0;
}

/* Is object `index` of that page marked in the marker's copy, if it has one? */
static inline bool
copies_marked(const struct mark_copies *copies, uintptr_t page, size_t index)
{
    return copies != NULL && copies_have(copies, page)
        && (copies->bits[page % MARK_COPIES][index / 64] >> index % 64 & 1) != 0;
}

/* The page's place becomes the page's, with the bits of now; what was there is merged. */
void gcrt_copies_take(struct marker *mk, struct spanmap map, uintptr_t page);
/* Everything that is marked in copies is marked; the copies are empty.  Counts what is marked. */
void gcrt_copies_merge(struct marker *mk);
/* The marker's copies if it is to use them now, NULL if not; then they are empty. */
static inline struct mark_copies *
copies_at_hand(struct marker *mk)
{
    if (LIKELY(mk->copies == NULL || !ephemeron_may_be_filed(mk->heap)))
        return mk->copies;
    gcrt_copies_merge(mk);
    return NULL;
}

/* Memory for a marker's copies, all of them empty.  NULL without memory. */
struct mark_copies *gcrt_copies_make(struct persist *persist);

#endif
