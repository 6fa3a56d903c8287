/* SPDX-License-Identifier: MIT */
/*
 * The log.
 *
 * Purpose: hand a line of text to the host.
 * Place: traces and warnings about a heap come here; what precedes an abort, or is said with
 * a lock held, goes to standard error directly (check.h).
 * Concurrency: the host's function is called by many threads.
 * Cost: cold.
 */
#include "gc/log.h"

#include "gc/heap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
gcrt_log_line(struct gc_heap *heap, const char *line, size_t len)
{
    if (heap->options.log != NULL)
        heap->options.log(line, len, heap->options.log_arg);
    else
        gcrt_say(line);
}

void
gcrt_log(struct gc_heap *heap, const char *format, ...)
{
    char line[512] = "gcrt: ";
    size_t head = strlen(line), len;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line + head, sizeof(line) - head, format, args);
    va_end(args);
    len = min_size(head + (size_t)(n < 0 ? 0 : n), sizeof(line) - 1);
    gcrt_log_line(heap, line, len);
}
