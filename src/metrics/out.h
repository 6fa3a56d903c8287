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

/* Bytes of the UTF-8 sequence at text; 0 if it is malformed, or cut short. */
static inline size_t
utf8_bytes(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    size_t n = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3
        : c[0] < 0xf5 ? 4 : 0;

    for (size_t i = 1; i < n; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f)
            || (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
        return 0; /* overlong, a surrogate, or beyond Unicode */
    return n;
}

/* As JSON wants it; the kernel cuts names of threads anywhere. */
static inline void
out_string(struct out *o, const char *text)
{
    out_char(o, '"');
    while (*text != '\0') {
        unsigned char c = (unsigned char)*text;
        size_t n = utf8_bytes(text);

        if (c == '"' || c == '\\')
            out_char(o, '\\');
        if (n == 0)
            out_text(o, "\357\277\275"); /* U+FFFD */
        else if (n == 1)
            out_char(o, c < 0x20 ? ' ' : (char)c);
        for (size_t i = 0; n > 1 && i < n; i++)
            out_char(o, text[i]);
        text += n != 0 ? n : 1;
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
