/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_GEN_H
#define LOOKUP_GEN_H

#include <stddef.h>
#include <stdint.h>

/* One record as plain values: what the server stores, a response carries and the load
 * generator expects.  The pointers are borrowed from whoever filled it. */
struct view {
    uint64_t key;
    uint64_t version;
    uint64_t owner;
    int64_t created_us;
    int64_t updated_us;
    double score; /* thousandths, 0.000 .. 999.999 */
    uint32_t quantity;
    uint32_t payload_len;
    uint32_t name_len;
    uint32_t city_len;
    const char *name;
    const char *city;
    const char *payload;
    uint64_t sum; /* view_sum of all the rest */
};

#define GEN_NAME_MAX 32
#define GEN_CITY_MAX 16

/* Room for the short strings of one generated record. */
struct gen_text {
    char name[GEN_NAME_MAX];
    char city[GEN_CITY_MAX];
};

/*
 * Fills *ret with version `version` of the record `key` in the data set `seed`.  The same
 * four numbers always give the same bytes.  payload needs payload_len bytes.
 */
void gen_view(struct view *ret, struct gen_text *text, char *payload, uint64_t seed,
        uint64_t key, uint64_t version, uint32_t payload_len);

/* The checksum over every value, string and payload byte of the view. */
uint64_t view_sum(const struct view *v);

/* A bijection of 64-bit words that spreads its input over all bits (SplitMix64's). */
static inline uint64_t
mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The next word of the generator whose whole state is *state. */
static inline uint64_t
rng_next(uint64_t *state)
{
    return mix64(*state += 0x9e3779b97f4a7c15u);
}

/* A number in [0, 1). */
static inline double
rng_unit(uint64_t *state)
{
    return (double)(rng_next(state) >> 11) * 0x1p-53;
}

/* A number in [0, n), n > 0; the bias is below n / 2^64. */
static inline uint64_t
rng_below(uint64_t *state, uint64_t n)
{
    return rng_next(state) % n;
}

#endif
