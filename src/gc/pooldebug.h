/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_POOLDEBUG_H
#define GCRT_GC_POOLDEBUG_H

/* pool=1: every item that is in a pool is known, with a sum of its bytes. */

#include "gc/pool.h"

/* item is about to enter the pool; false without memory.  Inside, not critical. */
bool gcrt_pooldebug_put(struct gcrt_mutator *m, struct pool *pool, void *item);
/* item has left the pool, for the caller.  Inside, not critical. */
void gcrt_pooldebug_got(struct gcrt_mutator *m, struct pool *pool, const void *item);
/* item has left the pool, for nobody.  pools.lock is held. */
void gcrt_pooldebug_gone_locked(struct pool *pool, const void *item);

#endif
