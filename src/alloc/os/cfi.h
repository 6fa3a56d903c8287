/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OS_CFI_H
#define GCRT_OS_CFI_H

/* What the unwind tables of the loaded objects say of one place in the code. */

#include "alloc/base/base.h"

/*
 * How to leave a frame, for the frames that compilers usually make.  The frame's end (the CFA)
 * is `bytes` above the stack pointer, or above rbp; the return address is the word below it,
 * and the caller's rbp is the word `saved` words below that, or 0: rbp as it is.
 *
 *     CFI_RULE_BITS   | from rbp: 1 | bytes: 13, and three zeros in whose place is saved: 3 |
 *
 * bytes = 0: CFI_END, nobody called this; CFI_ODD, something else: ask a whole unwinder.
 */
#define CFI_RULE_BITS 17
#define CFI_ODD       0u
#define CFI_END       1u
#define CFI_BYTES     0xfff8u
#define CFI_SAVED     7u
#define CFI_FROM_BP   0x10000u

/*
 * The rule at the instruction that the byte at pc belongs to; UINTPTR_MAX is nowhere, and quick.
 * Takes the linker's lock.  *ret_loads: counts up when an object is loaded or unloaded.
 */
unsigned gcrt_cfi_find(uintptr_t pc, uint64_t *ret_loads);

#endif
