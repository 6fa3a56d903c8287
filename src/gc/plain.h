/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_PLAIN_H
#define GCRT_GC_PLAIN_H

/* Scanning the common case: small objects, each of which is one element with a mask. */

#include "gc/kind.h"
#include "gc/mark.h"

static inline bool
kind_is_plain(const struct kind *kind)
{
    return kind->layout.how == SCAN_ONE && kind->central.sizeclass != CLASS_LARGE;
}

/*
 * group[0 .. n - 1] are items, the first of a plain kind.  Scans those that the group begins
 * with, as long as they are of that kind and their words have room.  Returns how many, at
 * least one.
 */
uint32_t gcrt_scan_plain(struct marker *mk, const uintptr_t *group, uint32_t n);

#endif
