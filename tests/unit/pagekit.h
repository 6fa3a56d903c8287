/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_UNIT_PAGEKIT_H
#define GCRT_TESTS_UNIT_PAGEKIT_H

/* A page allocator over calloc'ed memory. */

#include <criterion/criterion.h>
#include <stdlib.h>

#include "alloc/pagealloc.h"

static inline void
setup(struct pagealloc *pa, size_t npages_max)
{
    void *block = calloc(1, gcrt_pagealloc_bytes(npages_max));

    cr_assert_not_null(block);
    gcrt_pagealloc_init(pa, npages_max, block);
}

static inline void
teardown(struct pagealloc *pa)
{
    free(pa->chunk); /* the block begins with the chunks */
}

#endif
