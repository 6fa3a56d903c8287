/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_WHY_H
#define GCRT_GC_WHY_H

/* Why an object is alive: a path to it from a root. */

#include "gc/search.h"

/*
 * GC_OK and the path, in lines; GC_ERR_NOTFOUND, and text says why: p is in no object, or
 * nothing leads to the one it is in; GC_ERR_NOMEM; GC_ERR_THREAD without a coordinator.  The caller
 * is outside or not attached.
 */
gc_status gcrt_why_alive(struct gc_heap *heap, const void *p, char text[PATH_TEXT]);

#endif
