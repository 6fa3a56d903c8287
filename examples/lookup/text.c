/* SPDX-License-Identifier: MIT */
/*
 * Text that grows, in malloc memory: where metrics and profiles are written before they are
 * sent, because a sink should not allocate from the heap that it is told about.
 *
 * Place.  routes.c, debug.c and stream.c fill it.
 *
 * Invariants.  After a failed growth the text says so until it is freed, and takes no more:
 * so a caller looks once, at the end.
 *
 * Concurrency.  A text belongs to one thread.
 *
 * Cost.  Doubles, so that n bytes are copied at most once more on their way.
 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
text_write(void *text, const char *bytes, size_t n)
{
    struct text *t = text;

    if (t->failed)
        return 1;
    if (t->cap - t->len < n) {
        size_t cap = (t->cap + n) * 2;
        char *grown = realloc(t->bytes, cap);

        if (grown == NULL) {
            t->failed = 1;
            return 1;
        }
        t->bytes = grown;
        t->cap = cap;
    }
    memcpy(t->bytes + t->len, bytes, n);
    t->len += n;
    return 0;
}

void
text_printf(struct text *t, const char *format, ...)
{
    char line[512];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n > 0)
        text_write(t, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

void
text_free(struct text *t)
{
    free(t->bytes);
    memset(t, 0, sizeof(*t));
}
