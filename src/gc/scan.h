/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_SCAN_H
#define GCRT_GC_SCAN_H

/* Scanning one object, whatever its layout. */

#include "gc/mark.h"

struct kind;

/*
 * The pointers in [from, to) of an object of the kind that lies in [object, end) go into the
 * batch, which is marked when it is full; its bytes count as scanned.
 */
void gcrt_scan_part(struct marker *mk, const struct kind *kind, uintptr_t object, uintptr_t end,
        uintptr_t from, uintptr_t to);

/*
 * For a trace function of the library's whose object has objects in it: scans one of them.  It
 * is of that kind but for its place, and is counted as part of the whole.
 */
void gcrt_scan_contents(
        gc_tracer *tracer, const struct kind *kind, uintptr_t object, uintptr_t end);

#endif
