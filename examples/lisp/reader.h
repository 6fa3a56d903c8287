/* SPDX-License-Identifier: MIT */
#ifndef LISP_READER_H
#define LISP_READER_H

#include "vm.h"

struct reader {
    struct vm *vm;
    const char *at, *end; /* the text stays where it is, and is held by the caller */
    const char *name;     /* for messages: "file" or NULL */
    uint32_t line;        /* of at, from 1 */
    uint32_t depth;
};

/*
 * The next datum, or END_OF_FILE.  Fails for what is no datum; the message of one that only
 * lacks its end is READER_MORE.
 */
value reader_next(struct reader *r);
#define READER_MORE "unexpected end of the text"

/* The number that the text is, or UNBOUND.  size is not 0. */
value reader_number(const char *text, size_t size);

/*
 * The character at *at, which moves behind it; never beyond end.  Bytes that are no UTF-8
 * give some character.  encode: the other way, 1 to 4 bytes.
 */
uint32_t utf8_decode(const char **at, const char *end);
size_t utf8_encode(char *to, uint32_t code);

/* print.c: the text of a value, malloc'ed; NULL without memory.  write: "a" and #\a. */
char *print_text(value v, bool write, size_t *size);

#endif
