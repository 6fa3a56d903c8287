/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_RESERVE_H
#define GCRT_ALLOC_RESERVE_H

/*
 * Where in the address space a heap lies.
 */

#include "alloc/os/os.h"

/*
 * Address space at a multiple of align (a power of two, at most 1 GiB), as gcrt_os_reserve gives
 * it.  No multiple of 4 GiB lies in its first 2 GiB, nor less than align before them, unless
 * the OS has no room to choose from.  NULL if it has not even the bytes.
 */
void *gcrt_reserve(struct os *os, size_t bytes, size_t align);

/* The place for it, from `from` on: less than 2 GiB + 2 * align above.  For tests. */
uintptr_t gcrt_reserve_place(uintptr_t from, size_t align);

#endif
