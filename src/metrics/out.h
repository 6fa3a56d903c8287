/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_OUT_H
#define GCRT_METRICS_OUT_H

/* Text for a sink, in pieces of some hundred bytes.  Numbers look the same in every locale. */

#include "alloc/base/base.h"

#include <gcrt/metrics.h>

struct out {
    const gc_sink *sink;
    bool failed; /* the sink has refused, and is not called again */
    size_t used;
    char bytes[512];
};

static inline void
out_flush(struct out *o)
{
    if (!o->failed && o->used > 0)
        o->failed = o->sink->write(o->sink->arg, o->bytes, o->used) != 0;
    o->used = 0;
}

static inline void
out_char(struct out *o, char c)
{
    if (o->used == sizeof(o->bytes))
        out_flush(o);
    o->bytes[o->used++] = c;
}

static inline void
out_text(struct out *o, const char *text)
{
    for (; *text != '\0'; text++)
        out_char(o, *text);
}

/* As JSON wants it. */
static inline void
out_string(struct out *o, const char *text)
{
    out_char(o, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            out_char(o, '\\');
        out_char(o, c < 0x20 ? ' ' : (char)c);
    }
    out_char(o, '"');
}

static inline void
out_number(struct out *o, uint64_t x)
{
    char digits[20];
    size_t n = sizeof(digits);

    do
        digits[--n] = (char)('0' + x % 10);
    while ((x /= 10) != 0);
    for (; n < sizeof(digits); n++)
        out_char(o, digits[n]);
}

#endif
