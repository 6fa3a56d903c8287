/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_INDEX_H
#define LOOKUP_INDEX_H

#include "record.h"

struct index;

/*
 * An empty index with room for about `expect` records before it grows.  NULL with a line on
 * standard error if memory or the root cannot be had.  Attached threads, inside.
 */
struct index *index_create(uint64_t expect);

/* Frees the index and drops its root.  Nobody may use it any more. */
void index_destroy(struct index *ix);

/*
 * The record with this key, or NULL.  Takes no lock and writes nothing, so any number of
 * threads may look up while others put.  The record stays alive while the caller holds the
 * pointer.  Attached threads, inside.
 */
struct record *index_get(const struct index *ix, uint64_t key);

/* Publishes r under r->key, instead of the record that was there.  Attached, inside. */
void index_put(struct index *ix, struct record *r);

/* Number of keys. */
uint64_t index_count(const struct index *ix);

#endif
