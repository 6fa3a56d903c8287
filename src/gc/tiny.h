/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_TINY_H
#define GCRT_GC_TINY_H

/*
 * Tiny objects: without pointers and below 8 bytes.  They share blocks of 16 bytes, as in Go
 * (mallocgcTiny), which does so below 16.  But from 8 on a slot of their own is hardly longer, is
 * found inline, and the object lives as long as itself: a block lives as long as any object in
 * it; interior pointers find it.  Each is aligned to the greatest power of two that divides its
 * size.
 *
 * The rest of a P's current block is in its mcache; blocks come from a run like any slot's.
 * Critical, all of it: the handler that answers H3 makes the current block black as a whole,
 * because pieces of it are handed out by plain stores afterwards.
 */

#include "gc/kind.h"
#include "gc/mutator.h"

/* The next slot of a run, or NULL. */
static inline void *
bump_run(struct gc_impl_run *run)
{
    char *p = run->next;

    if (p >= run->end)
        return NULL;
    run_set(run, p + run->size, run->end);
    return p;
}

/* A piece of the current block, or NULL. */
static inline void *
bump_tiny(struct mcache *mc, size_t bytes)
{
    uintptr_t at = align_up(mc->tiny, bytes & -bytes);

    if (at + bytes > mc->tiny_end)
        return NULL;
    mc->tiny = at + bytes;
    aword_add_owner(&mc->tiny_allocs, 1);
    return (void *)at;
}

/* A fresh block has given its first piece; of the one before too little was left. */
static inline void
cut_tiny(struct mcache *mc, const void *block, size_t bytes)
{
    mc->tiny = (uintptr_t)block + bytes;
    mc->tiny_end = (uintptr_t)block + TINY_BYTES;
}

/*
 * The short way, as gc_impl_bump does it: whoever may not take it is shown no run of blocks.
 * NULL: take the long one, whatever the reason.
 */
static inline void *
try_tiny(size_t bytes)
{
    struct gc_impl_run *run;
    struct mcache *mc;
    void *p = NULL;

    if (bytes - 1 >= TINY_MAX)
        return NULL;
    critical_set();
    run = &gc_impl_self.runs[mcache_home(kind_key_tiny(), gc_impl_self.run_mask)];
    if (LIKELY(run->key == kind_key_tiny())) {
        mc = &gc_impl_self.mutator->p->cache;
        p = bump_tiny(mc, bytes);
        if (p == NULL && (p = bump_run(run)) != NULL)
            cut_tiny(mc, p, bytes);
    }
    critical_clear();
    return p;
}

#endif
