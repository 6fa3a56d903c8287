/* SPDX-License-Identifier: MIT */
/*
 * The place of a heap.
 *
 * Purpose: choose addresses that few words on a stack have by chance.
 * Place: the mheap reserves its range here, once; it calls the OS.
 * Invariants: what was reserved beyond the range is given back, so that a heap takes no more
 * address space than it says.
 * Cost: three system calls for a heap.
 *
 * Half an address
 *
 * Frames leave holes, and compilers spill 32-bit numbers next to them.  So a stack is full of
 * words whose upper half is that of an address that was there before and whose lower half is a
 * small number: 0x7f62'00000000, 0x7f62'00000032.  In a heap of the usual size all addresses
 * have the same upper half, so what lies just above a multiple of 4 GiB is found alive for as
 * long as some frame stands, and with it all that it leads to.  A heap is filled from its low
 * end.  So its place is moved until such addresses come last.  How far is taken from where the
 * OS wanted it, so that the place stays as hard to guess as the OS made it, but for one bit.
 */
#include "alloc/reserve.h"

#define HALF_SPACE ((uintptr_t)1 << 32) /* addresses with the same upper half */

uintptr_t
gcrt_reserve_place(uintptr_t from, size_t align)
{
    uintptr_t base = align_up(from, align);

    if (base % HALF_SPACE >= HALF_SPACE / 2)
        base += HALF_SPACE / 2;
    if (base % HALF_SPACE < align)
        base += align;
    return base;
}

static void
trim(struct os *os, uintptr_t from, uintptr_t end)
{
    if (from < end)
        gcrt_os_unmap(os, (void *)from, end - from, 0);
}

void *
gcrt_reserve(struct os *os, size_t bytes, size_t align)
{
    size_t room = HALF_SPACE / 2 + 2 * align;
    uintptr_t start = (uintptr_t)gcrt_os_reserve(os, bytes + room), base;

    if (start != 0) {
        base = gcrt_reserve_place(start, align);
    } else {
        room = align;
        start = (uintptr_t)gcrt_os_reserve(os, bytes + room);
        base = align_up(start, align);
    }
    if (start == 0)
        return NULL;
    trim(os, start, base);
    trim(os, base + bytes, start + bytes + room);
    return (void *)base;
}
