/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_PERSIST_H
#define GCRT_ALLOC_PERSIST_H

/*
 * Metadata memory that lives as long as its heap: bumped out of mapped chunks, zeroed,
 * never freed one by one, so readers may follow stale pointers into it.
 */

#include "alloc/base/lock.h"
#include "alloc/os/os.h"

struct persist_chunk;

struct persist {
    struct os *os;               /* const: borrowed */
    struct lock lock;
    struct persist_chunk *chunk; /* lock: newest first; owned */
    size_t used;                 /* lock: bytes of the newest chunk */
    aword total;                 /* atomic: bytes handed out */
    aword mapped;                /* atomic: bytes of all chunks */
};

void gcrt_persist_init(struct persist *p, struct os *os);
/* Returns every chunk to the OS. */
void gcrt_persist_finish(struct persist *p);
/* Zeroed memory aligned to a cache line pair, or NULL.  Any thread; not a signal handler. */
void *gcrt_persist_alloc(struct persist *p, size_t bytes);

#endif
