/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_WBREPORT_H
#define GCRT_GC_WBREPORT_H

/* What wbcheck found, and how it says so. */

#include "gc/heap.h"

#define WBFINDINGS_MAX 8

struct wbfinding {
    const gc_type *type;  /* NULL: a registered root */
    uintptr_t object;     /* its first byte, or the range's */
    size_t bytes;         /* of it */
    uintptr_t at;         /* the word */
    uintptr_t was, is;    /* the last value known to be right, and what is there now */
    const char *was_type, *is_type; /* of the objects they point into, or NULL */
    bool published;       /* else the second plain store into a fresh object's field */
    uintptr_t site;       /* return address of the allocation, or 0 */
};

struct wbfindings {
    size_t n; /* found; the first WBFINDINGS_MAX are kept */
    struct wbfinding kept[WBFINDINGS_MAX];
};

/* One line for each that is kept, the first one last and fatal.  Nothing if there is none. */
void gcrt_wbreport(const struct wbfindings *found);

#endif
