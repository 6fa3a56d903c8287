/* SPDX-License-Identifier: MIT */
#ifndef LISP_SYMBOL_H
#define LISP_SYMBOL_H

#include "value.h"

#include <stddef.h>

/* False without memory.  Once, by the first thread. */
bool symbol_init(void);
/*
 * The symbol of that name, which is shorter than STRING_SMALL: the same one for every
 * thread, for as long as anybody holds it.
 */
value symbol_intern(const char *name, size_t size);
value symbol(const char *name);
/* It lives for ever. */
void symbol_keep(value symbol);
/* Sets its global variable, and keeps it. */
void symbol_define(value symbol, value v);
/* How many live. */
size_t symbol_count(void);

#endif
