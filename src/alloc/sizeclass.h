/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_SIZECLASS_H
#define GCRT_ALLOC_SIZECLASS_H

/*
 * Go's 68 size classes.  Class 0 is the large objects; classes 1 to 67 go from 8 bytes to
 * 32 KiB in steps of about 12.5 %.
 */

#include "alloc/base/base.h"

#include <gcrt/alloc.h> /* gc_impl_class_of_8 */

#define NUM_CLASSES     68
#define SMALL_MAX       32768u
#define CLASS_LARGE     0u
#define CLASS_TINY      2u /* 16-byte blocks that hold several tiny objects */
#define TINY_BYTES      16u
#define TINY_MAX        7u  /* bytes of the largest tiny object */
#define CLASS_SIDE_MAX  2u /* classes up to here have too many objects for a span line */

/* slot bytes; 0 for CLASS_LARGE */
extern const uint16_t gcrt_class_bytes[NUM_CLASSES];
extern const uint8_t gcrt_class_pages[NUM_CLASSES];
extern const uint16_t gcrt_class_nelems[NUM_CLASSES];
/* object index = (byte offset * magic) >> 32, exact below the span's length */
extern const uint32_t gcrt_class_magic[NUM_CLASSES];
extern const uint8_t gcrt_class_of_128[(SMALL_MAX - 1024) / 128 + 1];

/* Smallest class whose slots hold `bytes`; 1 <= bytes <= SMALL_MAX. */
static inline unsigned
class_of(size_t bytes)
{
    if (bytes <= GC_IMPL_INLINE_MAX)
        return gc_impl_class_of_8[(bytes + 7) / 8];
    return gcrt_class_of_128[(bytes - 1024 + 127) / 128];
}

#endif
