/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_SERVER_H
#define LOOKUP_SERVER_H

#include "routes.h"

struct server;

struct server_config {
    unsigned nloops;
    unsigned port;        /* on 127.0.0.1; 0: any free one, see server_port */
    size_t conns_max;     /* for all loops together */
    uint64_t patience_ms; /* with a client that stops in mid-request or reads nothing */
};

/*
 * Starts the event loops, each on its own thread that is attached to the caller's heap, all
 * listening on one port.  svc is borrowed until server_stop, and so is its debug; its sum
 * and sum_arg are set.  NULL with a line on standard error.  Attached threads, inside.
 */
struct server *server_start(struct service *svc, const struct server_config *config);

/* The port that the server listens on. */
unsigned server_port(const struct server *s);

/* Sums of all loops' counters, and of the debug endpoints', so far. */
void server_sum(const struct server *s, struct counters *ret);

/* Closes all connections, ends the loops and frees the server.  Attached, inside. */
void server_stop(struct server *s);

#endif
