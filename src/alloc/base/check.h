/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_CHECK_H
#define GCRT_BASE_CHECK_H

#include "alloc/base/base.h"

/*
 * CHECK     always on: cheap, guards against corruption
 * ASSERT    debug builds (-Dverify=true)
 * All print one line with write(2) and abort; none allocates.
 */
#ifndef GCRT_DEBUG
# define GCRT_DEBUG 0
#endif

/* "gcrt: fatal: <message>\n" on standard error, then abort().  Any thread, any context. */
_Noreturn void gcrt_fatal(const char *format, ...) PRINTF(1, 2) COLD;
/* "gcrt: <message>\n" on standard error. */
void gcrt_warn(const char *format, ...) PRINTF(1, 2) COLD;
/* The line as it is, with a newline, on standard error. */
void gcrt_say(const char *line) COLD;
_Noreturn void gcrt_check_failed(const char *file, int line, const char *what) COLD;

#define CHECK(cond)                                        \
    do {                                                   \
        if (UNLIKELY(!(cond)))                             \
            gcrt_check_failed(__FILE__, __LINE__, #cond);  \
    } while (0)
#define ASSERT(cond)                                       \
    do {                                                   \
        if (GCRT_DEBUG)                                    \
            CHECK(cond);                                   \
    } while (0)
#define UNREACHABLE() gcrt_check_failed(__FILE__, __LINE__, "unreachable")

#endif
