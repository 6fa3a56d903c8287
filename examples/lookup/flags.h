/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_FLAGS_H
#define LOOKUP_FLAGS_H

#include <stdint.h>

/*
 * Reads the text of the flag --name as a whole number, or as a decimal number, within
 * bounds.  Returns 1; or 0 after one line on standard error that names the flag, the text
 * and the bounds.
 */
int flag_u64(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret);
int flag_double(const char *name, const char *text, double min, double max, double *ret);

#endif
