/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_LOOK_H
#define GCRT_GC_LOOK_H

/* Looking at a whole heap that is between two cycles. */

#include "gc/heap.h"

/* First member of what a caller asks for; lies in the caller's frame. */
struct look {
    struct look *next; /* the queue's */
    /* Runs on the coordinator, which may hold the mutators (handshake.h) and calls no host. */
    void (*fn)(struct gc_heap *heap, struct look *look);
    ahalf done;        /* atomic: pairs: look.done */
};

/*
 * Has look->fn called between two cycles and waits for its end.  The caller is outside or not
 * attached.  False, and it has not been called, if the OS has no thread for the coordinator.
 */
bool gcrt_look(struct gc_heap *heap, struct look *look);

/* The coordinator: calls all that wait. */
void gcrt_look_serve(struct gc_heap *heap);

/* In a forked child: those who waited are not here. */
void gcrt_look_forget(struct gc_heap *heap);

#endif
