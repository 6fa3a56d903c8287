/* SPDX-License-Identifier: MIT */
/*
 * Last words.
 *
 * Purpose: turn a broken invariant or a host's misuse into one line and an abort.
 * Place: everything calls it; it calls write(2) and vsnprintf into a local buffer, so it
 * works with any lock held, out of memory, and in a signal handler.
 * Cost: cold.
 */
#include "alloc/base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void
say(const char *prefix, const char *format, va_list args)
{
    char line[512];
    int n = snprintf(line, sizeof(line), "gcrt: %s", prefix);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
    size_t len = min_size((size_t)n + (size_t)(m < 0 ? 0 : m), sizeof(line) - 2);

    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nobody left to tell */
}

void
gcrt_fatal(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("fatal: ", format, args);
    va_end(args);
    abort();
}

void
gcrt_warn(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("", format, args);
    va_end(args);
}

void
gcrt_say(const char *line)
{
    char copy[768];
    int n = snprintf(copy, sizeof(copy), "%s\n", line);

    if (write(STDERR_FILENO, copy, min_size((size_t)n, sizeof(copy) - 1)) < 0)
        return;
}

void
gcrt_check_failed(const char *file, int line, const char *what)
{
    gcrt_fatal("%s:%d: broken: %s", file, line, what);
}
