/* SPDX-License-Identifier: MIT */
/*
 * The data set as a function: (seed, key, version) -> one record.
 *
 * Place.  The server calls gen_view when it loads the index and when it replaces a record;
 * the load generator calls it to know what a response must hold.  It touches no heap of
 * any kind, so both agree without sharing memory.
 *
 * Invariants.  Pure: same arguments, same bytes.  All text is letters, digits, '-', '_',
 * '.' and spaces, so that JSON needs no escapes.  The checksum covers every byte of the
 * record, so that a record whose memory was reused too early is seen by the next lookup.
 *
 * Cost.  Ten payload characters per 64-bit step; the checksum is one multiplication per
 * eight bytes.
 */
#include "gen.h"

#include <string.h>

/* 2020-01-01 in microseconds since the epoch, and about four years. */
#define EPOCH_US 1577836800000000
#define SPAN_US  126230400000000u

static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const char *const syllables[] = {"ba", "den", "fi", "gor", "ha", "kel", "lo", "mar",
        "ni", "ost", "per", "qui", "ru", "sol", "ti", "ver"};

static const char *const cities[] = {"Aarhus", "Bergen", "Cadiz", "Dresden", "Evora",
        "Fukuoka", "Ghent", "Hobart", "Izmir", "Jaipur", "Krakow", "Lima", "Montevideo",
        "Nantes", "Oulu", "Porto"};

/* Appends a string that is known to fit; returns the new end. */
static char *
append(char *at, const char *s)
{
    size_t n = strlen(s);

    memcpy(at, s, n);
    return at + n;
}

/* "Balo Verquimar": 2 and 3 syllables of 2 or 3 letters, at most 16 characters. */
static uint32_t
gen_name(char *out, uint64_t bits)
{
    char *at = out;
    int i;

    for (i = 0; i < 5; i++, bits >>= 4) {
        char *word = at;

        if (i == 2) {
            *at++ = ' ';
            word = at;
        }
        at = append(at, syllables[bits & 15]);
        if (i == 0 || i == 2)
            *word = (char)(*word - 'a' + 'A');
    }
    *at = '\0';
    return (uint32_t)(at - out);
}

static uint32_t
gen_city(char *out, uint64_t bits)
{
    char *end = append(out, cities[bits & 15]);

    *end = '\0';
    return (uint32_t)(end - out);
}

static void
gen_payload(char *out, uint32_t len, uint64_t *state)
{
    uint32_t i = 0;

    while (i < len) {
        uint64_t bits = rng_next(state);
        uint32_t stop = len - i < 10 ? len : i + 10;

        for (; i < stop; i++, bits >>= 6)
            out[i] = alphabet[bits & 63];
    }
}

void
gen_view(struct view *ret, struct gen_text *text, char *payload, uint64_t seed,
        uint64_t key, uint64_t version, uint32_t payload_len)
{
    uint64_t fixed = mix64(seed ^ mix64(key + 1));      /* what all versions share */
    uint64_t state = mix64(fixed ^ mix64(version + 1)); /* what this version has alone */
    struct view v;

    memset(&v, 0, sizeof(v));
    v.key = key;
    v.version = version;
    v.owner = rng_next(&fixed);
    v.created_us = EPOCH_US + (int64_t)(rng_next(&fixed) % SPAN_US);
    v.updated_us = v.created_us + (int64_t)(version * 1000);
    v.score = (double)(rng_next(&state) % 1000000u) / 1000.0;
    v.quantity = (uint32_t)rng_next(&state);
    v.payload_len = payload_len;
    v.name_len = gen_name(text->name, rng_next(&fixed));
    v.city_len = gen_city(text->city, rng_next(&state));
    gen_payload(payload, payload_len, &state);
    v.name = text->name;
    v.city = text->city;
    v.payload = payload;
    v.sum = view_sum(&v);
    *ret = v;
}

static uint64_t
sum_word(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * 0x9fb21c651e98df25u;
    return sum ^ (sum >> 32);
}

static uint64_t
sum_bytes(uint64_t sum, const char *p, size_t n)
{
    uint64_t word;

    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        sum = sum_word(sum, word);
    }
    word = 0;
    memcpy(&word, p, n);
    return sum_word(sum, word ^ ((uint64_t)n << 56));
}

uint64_t
view_sum(const struct view *v)
{
    uint64_t score_bits;
    uint64_t sum;

    memcpy(&score_bits, &v->score, sizeof(score_bits));
    sum = sum_word(0x5bd1e9955bd1e995u, v->key);
    sum = sum_word(sum, v->version);
    sum = sum_word(sum, v->owner);
    sum = sum_word(sum, (uint64_t)v->created_us);
    sum = sum_word(sum, (uint64_t)v->updated_us);
    sum = sum_word(sum, score_bits);
    sum = sum_word(sum, ((uint64_t)v->quantity << 32) | v->payload_len);
    sum = sum_bytes(sum, v->name, v->name_len);
    sum = sum_bytes(sum, v->city, v->city_len);
    return sum_bytes(sum, v->payload, v->payload_len);
}
