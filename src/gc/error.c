/* SPDX-License-Identifier: MIT */
/*
 * Statuses and the last error's text.
 *
 * Purpose: say in words what a failed call did not like.
 * Place: every function that returns a status uses it; it calls nothing.
 * Concurrency: the text is thread-local.
 * Cost: cold.
 */
#include "gc/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static __thread char gcrt_last_error[384];

gc_status
gcrt_error(gc_status code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(gcrt_last_error, sizeof(gcrt_last_error), format, args);
    va_end(args);
    return code;
}

void
gcrt_error_append(const char *format, ...)
{
    size_t len = strlen(gcrt_last_error);
    va_list args;

    va_start(args, format);
    vsnprintf(gcrt_last_error + len, sizeof(gcrt_last_error) - len, format, args);
    va_end(args);
}

const char *
gc_last_error(void)
{
    return gcrt_last_error;
}

const char *
gc_status_string(gc_status status)
{
    static const char *const text[GC_STATUS_COUNT] = {
        [GC_OK] = "GC_OK: success",
        [GC_ERR_INVAL] = "GC_ERR_INVAL: invalid argument",
        [GC_ERR_NOMEM] = "GC_ERR_NOMEM: out of memory",
        [GC_ERR_THREAD] = "GC_ERR_THREAD: the system refused a thread or signal handler",
        [GC_ERR_ATTACHED] = "GC_ERR_ATTACHED: thread is attached already",
        [GC_ERR_DETACHED] = "GC_ERR_DETACHED: thread is not attached",
        [GC_ERR_BUSY] = "GC_ERR_BUSY: in use",
        [GC_ERR_NOTFOUND] = "GC_ERR_NOTFOUND: no such thing",
        [GC_ERR_LIMIT] = "GC_ERR_LIMIT: a fixed limit is reached",
        [GC_ERR_ENV] = "GC_ERR_ENV: malformed environment variable",
        [GC_ERR_CORRUPT] = "GC_ERR_CORRUPT: heap invariant broken",
        [GC_ERR_SINK] = "GC_ERR_SINK: the sink refused bytes",
    };

    if ((unsigned)status >= GC_STATUS_COUNT)
        return "unknown gc_status";
    return text[status];
}
