/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_PROTO_H
#define GCRT_METRICS_PROTO_H

/*
 * Messages in Protocol Buffers' encoding, small ones, built in place: a field is its tag, then
 * a varint, or a length and so many bytes.  What does not fit is left out and makes the message
 * `full`; callers give room enough.
 */

#include "alloc/base/base.h"

#include <string.h>

#define PROTO_MAX 4096

struct proto {
    size_t n;
    bool full;
    uint8_t bytes[PROTO_MAX];
};

static inline void
proto_raw(struct proto *p, const void *bytes, size_t n)
{
    if (n > PROTO_MAX - p->n) {
        p->full = true;
        return;
    }
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
}

static inline void
proto_varint(struct proto *p, uint64_t x)
{
    uint8_t bytes[10];
    size_t n = 0;

    for (; x >= 0x80; x >>= 7)
        bytes[n++] = (uint8_t)(x | 0x80);
    bytes[n++] = (uint8_t)x;
    proto_raw(p, bytes, n);
}

/* Field: a number.  Negative ones are their two's complement, as int64 fields want. */
static inline void
proto_number(struct proto *p, unsigned field, uint64_t x)
{
    proto_varint(p, field << 3);
    proto_varint(p, x);
}

/* Field: bytes, a string or a message. */
static inline void
proto_bytes(struct proto *p, unsigned field, const void *bytes, size_t n)
{
    proto_varint(p, field << 3 | 2);
    proto_varint(p, n);
    proto_raw(p, bytes, n);
}

static inline void
proto_message(struct proto *p, unsigned field, const struct proto *message)
{
    proto_bytes(p, field, message->bytes, message->n);
}

#endif
