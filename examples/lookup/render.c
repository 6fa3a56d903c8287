/* SPDX-License-Identifier: MIT */
/*
 * A record as a response body: one JSON object, or a binary form for programs.
 *
 * Binary form, all numbers little-endian and without gaps:
 *
 *     0  "GCLOOK01"
 *     8  u64 key, version, owner; i64 created_us, updated_us; f64 score
 *    56  u32 quantity, name_len, city_len, payload_len
 *    72  name, city, payload
 *     +  u64 checksum
 *
 * Place.  Called by the lookup route for each request, and by the load generator for each
 * sampled response: it makes the body that the data set's generator predicts and compares.
 *
 * Invariants.  render_body writes at most render_bound bytes.  The strings need no JSON
 * escapes (gen.c), and a damaged record never gets here because its checksum is tested
 * first.  Numbers are written by hand: printf would be the largest cost of a lookup.
 */
#include "render.h"

#include <string.h>

#define BIN_MAGIC "GCLOOK01"

struct out {
    char *at;
};

static void
put_bytes(struct out *o, const char *p, size_t n)
{
    memcpy(o->at, p, n);
    o->at += n;
}

static void
put_text(struct out *o, const char *s)
{
    put_bytes(o, s, strlen(s));
}

static void
put_u64(struct out *o, uint64_t x)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + x % 10);
        x /= 10;
    } while (x != 0);
    put_bytes(o, digits + i, sizeof(digits) - i);
}

static void
put_i64(struct out *o, int64_t x)
{
    if (x < 0)
        put_text(o, "-");
    put_u64(o, x < 0 ? 0 - (uint64_t)x : (uint64_t)x);
}

/* A score has three decimals, always. */
static void
put_score(struct out *o, double score)
{
    uint64_t milli = (uint64_t)(score * 1000.0 + 0.5);
    char tail[4] = {'.', (char)('0' + milli / 100 % 10), (char)('0' + milli / 10 % 10),
            (char)('0' + milli % 10)};

    put_u64(o, milli / 1000);
    put_bytes(o, tail, sizeof(tail));
}

static void
put_hex(struct out *o, uint64_t x)
{
    int shift;

    for (shift = 60; shift >= 0; shift -= 4)
        *o->at++ = "0123456789abcdef"[(x >> shift) & 15];
}

static void
put_le(struct out *o, uint64_t x, int nbytes)
{
    for (; nbytes > 0; nbytes--, x >>= 8)
        *o->at++ = (char)(x & 255);
}

static size_t
render_json(const struct view *v, char *out)
{
    struct out o = {out};

    put_text(&o, "{\"key\":");
    put_u64(&o, v->key);
    put_text(&o, ",\"version\":");
    put_u64(&o, v->version);
    put_text(&o, ",\"owner\":");
    put_u64(&o, v->owner);
    put_text(&o, ",\"created_us\":");
    put_i64(&o, v->created_us);
    put_text(&o, ",\"updated_us\":");
    put_i64(&o, v->updated_us);
    put_text(&o, ",\"score\":");
    put_score(&o, v->score);
    put_text(&o, ",\"quantity\":");
    put_u64(&o, v->quantity);
    put_text(&o, ",\"name\":\"");
    put_bytes(&o, v->name, v->name_len);
    put_text(&o, "\",\"city\":\"");
    put_bytes(&o, v->city, v->city_len);
    put_text(&o, "\",\"payload\":\"");
    put_bytes(&o, v->payload, v->payload_len);
    put_text(&o, "\",\"checksum\":\"");
    put_hex(&o, v->sum);
    put_text(&o, "\"}\n");
    return (size_t)(o.at - out);
}

static size_t
render_bin(const struct view *v, char *out)
{
    struct out o = {out};
    uint64_t score_bits;

    memcpy(&score_bits, &v->score, sizeof(score_bits));
    put_text(&o, BIN_MAGIC);
    put_le(&o, v->key, 8);
    put_le(&o, v->version, 8);
    put_le(&o, v->owner, 8);
    put_le(&o, (uint64_t)v->created_us, 8);
    put_le(&o, (uint64_t)v->updated_us, 8);
    put_le(&o, score_bits, 8);
    put_le(&o, v->quantity, 4);
    put_le(&o, v->name_len, 4);
    put_le(&o, v->city_len, 4);
    put_le(&o, v->payload_len, 4);
    put_bytes(&o, v->name, v->name_len);
    put_bytes(&o, v->city, v->city_len);
    put_bytes(&o, v->payload, v->payload_len);
    put_le(&o, v->sum, 8);
    return (size_t)(o.at - out);
}

size_t
render_bound(enum format format, const struct view *v)
{
    size_t strings = (size_t)v->name_len + v->city_len + v->payload_len;

    /* JSON: 128 bytes of names and signs, seven numbers of at most 20, the checksum. */
    return strings + (format == FORMAT_JSON ? 128 + 7 * 20 + 16 : 80);
}

size_t
render_body(enum format format, const struct view *v, char *out)
{
    return format == FORMAT_JSON ? render_json(v, out) : render_bin(v, out);
}

/* The digits between the given offset and the next comma. */
static int
json_number_at(const char *body, size_t len, size_t at, uint64_t *ret)
{
    uint64_t x = 0;
    size_t start = at;

    for (; at < len && body[at] >= '0' && body[at] <= '9' && at - start < 19; at++)
        x = x * 10 + (uint64_t)(body[at] - '0');
    if (at == start || at == len || body[at] != ',')
        return 0;
    *ret = x;
    return 1;
}

int
render_version(enum format format, const char *body, size_t len, uint64_t *ret)
{
    static const char name[] = ",\"version\":";
    size_t at;

    if (format == FORMAT_BIN) {
        if (len < 24 || memcmp(body, BIN_MAGIC, 8) != 0)
            return 0;
        *ret = 0;
        for (at = 24; at > 16; at--)
            *ret = *ret << 8 | (unsigned char)body[at - 1];
        return 1;
    }
    /* The name starts after {"key": and at most 20 digits. */
    for (at = 0; at < 32 && at + sizeof(name) - 1 < len; at++)
        if (memcmp(body + at, name, sizeof(name) - 1) == 0)
            return json_number_at(body, len, at + sizeof(name) - 1, ret);
    return 0;
}
