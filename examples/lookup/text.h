/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_TEXT_H
#define LOOKUP_TEXT_H

#include <stddef.h>

/* Bytes in malloc memory that grow at the end.  All zero is an empty one. */
struct text {
    char *bytes;
    size_t len, cap;
    int failed; /* memory was missing: what is there is not all */
};

/* Adds bytes.  0, or 1 without memory: a gc_sink's write with a struct text for arg. */
int text_write(void *text, const char *bytes, size_t n);

/* Adds formatted text of at most 500 bytes. */
void text_printf(struct text *t, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Frees the bytes; the text is empty then. */
void text_free(struct text *t);

#endif
