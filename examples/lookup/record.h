/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_RECORD_H
#define LOOKUP_RECORD_H

#include "gen.h"

/*
 * A record on the gc heap: one object, and one each for the name, the city and the
 * payload.  Nothing in it changes once it is published; a new version is a new record.
 */
struct record {
    uint64_t key;
    uint64_t version;
    uint64_t owner;
    int64_t created_us;
    int64_t updated_us;
    double score;
    uint32_t quantity;
    uint32_t payload_len;
    char *name;    /* gc bytes, ends in a NUL */
    char *city;    /* gc bytes, ends in a NUL */
    char *payload; /* gc bytes, payload_len of them, no NUL */
    uint64_t sum;
};

/* A new record; see gen_view.  Attached threads, inside. */
struct record *record_make(
        uint64_t seed, uint64_t key, uint64_t version, uint32_t payload_len);

/* The record's values; the pointers live as long as the record does. */
void record_view(const struct record *r, struct view *ret);

/* 1 if the record's checksum is right, 0 if its memory was damaged. */
int record_intact(const struct record *r);

/* A lower bound of the heap bytes that one record and its index slot keep live. */
size_t record_bytes_min(uint32_t payload_len);

#endif
