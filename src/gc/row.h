/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_ROW_H
#define GCRT_GC_ROW_H

/* Marking words of a batch that lead to one page, by one atomic operation for many. */

#include "gc/heap.h"
#include "gc/mark.h"

/* Do the batch's word i and the next one lead to one page? */
static inline bool
is_row(const struct marker *mk, uint32_t i)
{
    return i + 1 < mk->nbatch && (mk->batch[i] ^ mk->batch[i + 1]) < PAGE_SIZE;
}

/*
 * Marks the row of words that begins at word i of the batch, and queues what is to be scanned.
 * Returns how many words these are; 0: they do not lead to a span of small objects whose
 * slots need no look, and nothing was done.
 */
uint32_t gcrt_mark_row(struct marker *mk, struct spanmap map, uint32_t i);

#endif
