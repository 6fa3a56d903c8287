/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_RENDER_H
#define LOOKUP_RENDER_H

#include "gen.h"

enum format {
    FORMAT_JSON,
    FORMAT_BIN
};

/* An upper bound of render_body's result. */
size_t render_bound(enum format format, const struct view *v);

/* Writes the record as a response body; returns its bytes.  No NUL at the end. */
size_t render_body(enum format format, const struct view *v, char *out);

/* Reads the version out of a body; 1 if there is one, else 0 and *ret untouched. */
int render_version(enum format format, const char *body, size_t len, uint64_t *ret);

#endif
