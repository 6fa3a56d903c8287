/* SPDX-License-Identifier: MIT */
/*
 * The metadata bump allocator.
 *
 * Purpose: memory for Ps, kinds, run tables and side bitmaps that is never freed while the
 * heap lives.
 * Place: alloc and gc call it on cold paths; it calls os.
 * Invariants: everything handed out is zero, is aligned to CACHE_PAIR, and stays valid
 * until gcrt_persist_finish.
 * Concurrency: one lock, RANK_PERSIST, the last but the log's.
 * Cost: a lock pair and a few adds; a mapping every CHUNK bytes.
 */
#include "alloc/persist.h"

#define CHUNK ((size_t)256 << 10)

struct persist_chunk {
    struct persist_chunk *next; /* owned */
    size_t bytes;
} CACHE_ALIGNED;

void
gcrt_persist_init(struct persist *p, struct os *os)
{
    *p = (struct persist){ .os = os };
    gcrt_lock_init(&p->lock, RANK_PERSIST);
}

void
gcrt_persist_finish(struct persist *p)
{
    struct persist_chunk *chunk = p->chunk;

    while (chunk != NULL) {
        struct persist_chunk *next = chunk->next;

        gcrt_os_unmap(p->os, chunk, chunk->bytes, chunk->bytes);
        chunk = next;
    }
    p->chunk = NULL;
    gcrt_lock_finish(&p->lock);
}

/* A new newest chunk with room for `bytes`. */
static bool
add_chunk_locked(struct persist *p, size_t bytes)
{
    size_t size = max_size(CHUNK, align_up(bytes + sizeof(struct persist_chunk), CHUNK));
    struct persist_chunk *chunk = gcrt_os_map(p->os, size);

    if (chunk == NULL)
        return false;
    chunk->next = p->chunk;
    chunk->bytes = size;
    p->chunk = chunk;
    p->used = sizeof(*chunk);
    aword_add_relaxed(&p->mapped, size);
    return true;
}

void *
gcrt_persist_alloc(struct persist *p, size_t bytes)
{
    void *result = NULL;

    bytes = align_up(max_size(bytes, 1), CACHE_PAIR);
    gcrt_lock_acquire(&p->lock);
    if ((p->chunk != NULL && p->chunk->bytes - p->used >= bytes) || add_chunk_locked(p, bytes)) {
        result = (char *)p->chunk + p->used;
        p->used += bytes;
        aword_add_relaxed(&p->total, bytes);
    }
    gcrt_lock_release(&p->lock);
    return result;
}
