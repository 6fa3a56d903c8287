/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_MALLOC_H
#define GCRT_GC_MALLOC_H

/* Allocation of one object of any form.  The calling thread is inside. */

#include "gc/kind.h"
#include "gc/mutator.h"

struct request {
    const gc_type *type; /* element type; checked */
    size_t bytes;        /* of the whole object, >= 1 */
    bool single;         /* one element of a type that is not flexible */
    bool zero;           /* memory without pointers must be zeroed, too */
    bool may_fail;       /* the host asked with a gc_try_ form */
    bool region;         /* an arena's chunk (region.c): it is filled later, by whoever owns it */
    const void *site;    /* return address of the host's call, for wbcheck and profiles */
};

/* NULL without memory, after a collection and the host's oom handler did not help. */
void *gcrt_malloc(struct gcrt_mutator *m, const struct request *req);

#endif
