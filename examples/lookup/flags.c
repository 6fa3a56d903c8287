/* SPDX-License-Identifier: MIT */
/*
 * Numbers on the command line, read strictly: the whole text must be a number in its
 * bounds, else the program says which flag is wrong and why.  Shared by all programs here.
 */
#include "flags.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
flag_u64(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long long x;

    errno = 0;
    x = strtoull(text, NULL, 10);
    if (digits == 0 || text[digits] != '\0' || errno != 0 || x < min || x > max) {
        fprintf(stderr,
                "--%s: '%s' is not a whole number from %" PRIu64 " to %" PRIu64 "\n", name,
                text, min, max);
        return 0;
    }
    *ret = x;
    return 1;
}

int
flag_double(const char *name, const char *text, double min, double max, double *ret)
{
    char *end;
    double x;

    /* Digits and a point only: no hexadecimal, no infinities. */
    if (text[0] == '\0' || strspn(text, "0123456789.") != strlen(text)) {
        end = NULL;
        x = 0;
    } else {
        x = strtod(text, &end);
    }
    if (end == NULL || *end != '\0' || x < min || x > max) {
        fprintf(stderr, "--%s: '%s' is not a number from %g to %g\n", name, text, min, max);
        return 0;
    }
    *ret = x;
    return 1;
}
