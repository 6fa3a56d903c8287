/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_MALLOCS_H
#define GCRT_TESTS_MALLOCS_H

#include <stddef.h>
#include <stdint.h>

/*
 * The C library's allocator with a counter in front of it: live blocks, and faults.  Under
 * a sanitizer, which has an allocator of its own, it counts nothing and fails nothing.
 */

/* 0 if this build leaves the allocator alone. */
int mallocs_counted(void);
int64_t mallocs_live(void);
/* Calls that asked for memory so far. */
uint64_t mallocs_calls(void);
/* The n-th call from now on fails, and if `on` is set all later ones too.  n 0: none. */
void mallocs_fail(uint64_t n, int on);

#endif
