/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_CONN_H
#define LOOKUP_CONN_H

#include "routes.h"

#include <uv.h>

struct conn;

/* What the connections of one loop share.  Owned and used by the loop's thread alone. */
struct conn_set {
    uv_loop_t *uv;
    const struct service *svc;
    struct counters *count;
    void (*inside)(void *arg); /* called first in every callback that poll makes */
    void *inside_arg;
    struct conn *first;
    size_t n;
    size_t max;           /* more connections are closed at once */
    uint64_t patience_ms; /* for a begun request, and for an answer that waits */
    char input[65536];
};

/* Accepts one connection from the listener. */
void conn_accept(struct conn_set *set, uv_stream_t *listener);

/* Closes the connections whose time is up; call it once or twice a second. */
void conn_expire(struct conn_set *set);

/* Closes all of them; they are gone when the loop has run its closing callbacks. */
void conn_close_all(struct conn_set *set);

#endif
