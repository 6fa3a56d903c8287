/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_TOOLS_H
#define GCRT_BASE_TOOLS_H

/*
 * What checking tools are told.  In ordinary builds these functions are nothing.
 *
 * AddressSanitizer, with -Dasan_poison=true: memory of the heap that is in no object and in
 * no run is poisoned, so the host's use of a swept object is reported.
 *
 * Ranges start and end at multiples of 8, as slots do, so neighbours share no shadow byte
 * and whoever owns a slot may change its state.  What the collector reads racily is not
 * instrumented (RACY_READER) and may be poisoned.
 *
 * Valgrind, with -Dvalgrind=true: a word of a stack that has passed for a pointer counts as
 * initialised from there on; else memcheck follows it through marks, sizes and the pacer.
 * Between hush and unhush a thread looks at what need not be initialised, nor be the stack's
 * any more, and nothing of it is reported.
 */

#include "alloc/base/base.h"

#ifndef GCRT_POISON
# define GCRT_POISON 0
#endif

#if GCRT_POISON
# include <sanitizer/asan_interface.h>

static inline void
poison(uintptr_t start, size_t bytes)
{
    __asan_poison_memory_region((const void *)start, bytes);
}

static inline void
unpoison(uintptr_t start, size_t bytes)
{
    __asan_unpoison_memory_region((const void *)start, bytes);
}
#else
static inline void
poison(uintptr_t start, size_t bytes)
{
    (void)start;
    (void)bytes;
}

static inline void
unpoison(uintptr_t start, size_t bytes)
{
    (void)start;
    (void)bytes;
}
#endif

#if defined(GCRT_VALGRIND)
# include <valgrind/memcheck.h>

static inline uintptr_t
as_initialised(uintptr_t word)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(&word, sizeof(word));
    return word;
}

static inline void
hush(void)
{
    VALGRIND_DISABLE_ERROR_REPORTING;
}

static inline void
unhush(void)
{
    VALGRIND_ENABLE_ERROR_REPORTING;
}
#else
static inline uintptr_t
as_initialised(uintptr_t word)
{
    return word;
}

static inline void
hush(void)
{
}

static inline void
unhush(void)
{
}
#endif

#endif
