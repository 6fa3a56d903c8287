/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_ROUTES_H
#define LOOKUP_ROUTES_H

#include "http.h"
#include "index.h"
#include "response.h"

struct debug;
struct debug_job;

/* What one loop has answered.  Written by its thread, read by any, relaxed. */
struct counters {
    uint64_t requests;
    uint64_t status_2xx;
    uint64_t status_4xx;
    uint64_t status_5xx;
    uint64_t damaged;   /* records whose checksum was wrong */
    uint64_t accepted;  /* connections */
    uint64_t refused;   /* connections beyond the limit */
    uint64_t timed_out; /* connections closed for being slow */
};

/* The data set and how it was made; constant once the service runs. */
struct service {
    struct index *index;
    uint64_t seed;
    uint64_t records;
    uint32_t payload_len;
    void (*sum)(void *arg, struct counters *ret); /* adds up all loops' counters */
    void *sum_arg;
    struct debug *debug; /* borrowed */
};

/*
 * The complete answer to a request.  NULL: it takes long, and *job is for debug_run once the
 * answers before it are sent (or for debug_cancel); the connection ends with it.  Attached
 * threads, inside.
 */
struct response *routes_answer(const struct service *svc, struct counters *count,
        const struct http_request *req, struct debug_job **job);

/* The complete answer to bytes that are no request; the connection ends with it. */
struct response *routes_refuse(struct counters *count, enum http_verdict verdict);

#endif
