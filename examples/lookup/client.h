/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_CLIENT_H
#define LOOKUP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

/* A connection whose calls block, with a time limit; for probing, not for load. */
struct client;

/* What came back last. */
struct client_reply {
    int status;
    size_t len;
    const char *body; /* ends in a NUL; lives until the client's next call */
    int keep_alive;
};

/* Connects to 127.0.0.1:port.  NULL without a line on failure: errno says why. */
struct client *client_open(unsigned port);
void client_close(struct client *c);

/* Sends all bytes; 1, or 0 on an error. */
int client_send(struct client *c, const void *bytes, size_t n);

/* Receives one response; 1, or 0 on an error, a malformed one, or after 5 seconds. */
int client_receive(struct client *c, struct client_reply *ret);

/* The next response answers HEAD. */
void client_expect_no_body(struct client *c);

/* 1 if the server closes the connection within 5 seconds without sending more. */
int client_at_end(struct client *c);

/* Ends the sending half. */
void client_half_close(struct client *c);

/* Ends the connection with a reset and frees the client. */
void client_abort(struct client *c);

/* client_open, GET path, client_receive, in one; the caller closes.  NULL on failure. */
struct client *client_get(unsigned port, const char *path, struct client_reply *ret);

/* The number after "name": in a flat JSON object; 1 if it is there. */
int client_json_u64(const char *json, const char *name, uint64_t *ret);

#endif
