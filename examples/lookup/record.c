/* SPDX-License-Identifier: MIT */
/*
 * Records on the gc heap.
 *
 * Picture of one record:
 *
 *     index slot --> struct record --+--> name     (bytes, no pointers)
 *                                    +--> city     (bytes, no pointers)
 *                                    +--> payload  (bytes, no pointers)
 *
 * Place.  Called by the loader, by the replacer and by the lookup route; calls gc_alloc and
 * gc_alloc_bytes_uninit.
 *
 * Concurrency.  A record is filled before anybody else can see its address, so its own
 * pointer fields are stored plainly, without gc_write: these are first stores into an
 * object whose address has never been stored anywhere.  Publishing it is index_put's
 * work.
 *
 * Liveness.  Until it is published, the record and its three parts are held only by this
 * function's locals; the collector finds them on the stack.
 */
#include "record.h"

#include <gcrt/gcrt.h>

#include <string.h>

GC_TYPE(record_type, struct record, name, city, payload);

static char *
text_copy(const char *s, uint32_t len)
{
    char *copy = gc_alloc_bytes_uninit((size_t)len + 1);

    memcpy(copy, s, (size_t)len + 1);
    return copy;
}

struct record *
record_make(uint64_t seed, uint64_t key, uint64_t version, uint32_t payload_len)
{
    char *payload = gc_alloc_bytes_uninit(payload_len);
    struct gen_text text;
    struct record *r;
    struct view v;

    gen_view(&v, &text, payload, seed, key, version, payload_len);
    r = gc_alloc(&record_type);
    r->key = v.key;
    r->version = v.version;
    r->owner = v.owner;
    r->created_us = v.created_us;
    r->updated_us = v.updated_us;
    r->score = v.score;
    r->quantity = v.quantity;
    r->payload_len = v.payload_len;
    r->name = text_copy(v.name, v.name_len);
    r->city = text_copy(v.city, v.city_len);
    r->payload = payload;
    r->sum = v.sum;
    return r;
}

void
record_view(const struct record *r, struct view *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->key = r->key;
    ret->version = r->version;
    ret->owner = r->owner;
    ret->created_us = r->created_us;
    ret->updated_us = r->updated_us;
    ret->score = r->score;
    ret->quantity = r->quantity;
    ret->payload_len = r->payload_len;
    ret->name = r->name;
    ret->city = r->city;
    ret->payload = r->payload;
    /* Bounded, so that a damaged string is reported and not run past. */
    ret->name_len = (uint32_t)strnlen(r->name, GEN_NAME_MAX);
    ret->city_len = (uint32_t)strnlen(r->city, GEN_CITY_MAX);
    ret->sum = r->sum;
}

int
record_intact(const struct record *r)
{
    struct view v;

    /* A NULL part or an absurd length would make the checksum itself crash. */
    if (r->name == NULL || r->city == NULL || r->payload == NULL)
        return 0;
    if (r->payload_len > gc_usable_size(r->payload))
        return 0;
    record_view(r, &v);
    return view_sum(&v) == r->sum;
}

size_t
record_bytes_min(uint32_t payload_len)
{
    /* Shortest name and city with their NULs, and one index slot. */
    return sizeof(struct record) + payload_len + 12 + 5 + sizeof(void *);
}
