/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_RESPONSE_H
#define LOOKUP_RESPONSE_H

#include <stddef.h>

/*
 * A response on the gc heap.  While it is built and sent at once, the stack keeps it alive;
 * one that has to wait for the socket hangs from its connection's gc_handle.
 */
struct response {
    struct response *next; /* the next one of the same connection that waits */
    char *bytes;           /* gc bytes: room for the head, then the body */
    size_t start;          /* the head begins here */
    size_t end;            /* the body ends here */
};

/* A response whose body may grow to body_max bytes.  Attached threads, inside. */
struct response *response_begin(size_t body_max);

/* Where the body goes. */
char *response_body(struct response *r);

/* What stands in the head besides status, type and length. */
enum {
    RESPONSE_CLOSE = 1,     /* Connection: close */
    RESPONSE_KEEP = 2,      /* Connection: keep-alive, which HTTP/1.0 needs to be told */
    RESPONSE_ALLOW_GET = 4, /* Allow: GET */
    RESPONSE_NO_BODY = 8    /* the answer to HEAD: announce the body and leave it out */
};

/* Writes the head before the body of body_len bytes.  The response is complete then. */
void response_finish(
        struct response *r, int status, const char *type, size_t body_len, unsigned flags);

/* A complete response with {"error": text, "status": n}.  text needs no JSON escapes. */
struct response *response_error(int status, const char *text, unsigned flags);

#endif
