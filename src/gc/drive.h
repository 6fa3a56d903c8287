/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_DRIVE_H
#define GCRT_GC_DRIVE_H

/* Small cycles, run by the thread whose allocation makes them due. */

#include "gc/mutator.h"

void gcrt_drive_init(struct gc_heap *heap);
/* The caller's seat: a cycle is complete.  May a thread run the next one? */
void gcrt_drive_learn(struct gc_heap *heap);

/* A cycle is due: may the calling thread, m's, run it when it allocates next? */
bool gcrt_drive_may(const struct gcrt_mutator *m);
/* m's thread will not allocate for a while: what is m->due is the coordinator's. */
void gcrt_drive_not(struct gcrt_mutator *m);
/* It is m->due: the thread runs the cycle, or has the coordinator run it.  Inside, not critical. */
void gcrt_drive(struct gcrt_mutator *m);

#endif
