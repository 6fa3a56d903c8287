/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_JSON_H
#define LOOKUP_JSON_H

#include <stddef.h>

/* 1 if the n bytes are one JSON value and white space, else 0.  Nests at most 32 deep. */
int json_valid(const char *text, size_t n);

#endif
