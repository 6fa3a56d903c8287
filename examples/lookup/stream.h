/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_STREAM_H
#define LOOKUP_STREAM_H

#include "text.h"

/* All metrics of the heap, once and again, as server-sent events. */
struct stream;

/* malloc'ed; NULL without memory.  Any thread, attached or not. */
struct stream *stream_create(void);
void stream_destroy(struct stream *s);

/*
 * Adds the first event, `hello`: names, kinds and sentences of all metrics, the bounds of the
 * histograms' buckets, the process and the interval in milliseconds.
 */
void stream_hello(const struct stream *s, unsigned interval_ms, struct text *t);

/* Reads all metrics and adds an event with their values.  1, or 0 if there is no heap. */
int stream_sample(struct stream *s, struct text *t);

#endif
