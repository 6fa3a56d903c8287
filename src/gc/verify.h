/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_VERIFY_H
#define GCRT_GC_VERIFY_H

/* The heap verifier.  Coordinator only: it holds every mutator meanwhile. */

#include "gc/heap.h"

/* Between cycles, the sweep complete.  GC_ERR_CORRUPT: the first complaint is in text. */
gc_status gcrt_verify_now(struct gc_heap *heap, char *text, size_t n);

/* verify=1: gcrt_verify_now at the cycle's idle edges; a complaint is fatal. */
void gcrt_verify_idle(struct gc_heap *heap);

/* verify=1 or 2, marking complete, before H5: no marked object points to an unmarked one. */
void gcrt_verify_marked(struct gc_heap *heap);

#endif
