/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_HTTP_H
#define LOOKUP_HTTP_H

#include <stddef.h>

/* Limits on what a peer may send. */
#define HTTP_URL_MAX    1024      /* longer: 414 */
#define HTTP_HEADER_MAX 8192      /* request line and headers together; longer: 431 */
#define HTTP_BODY_MAX   65536     /* a request's body, which is ignored; longer: 413 */
#define HTTP_REPLY_MAX  (4 << 20) /* a response's body, client side */

/* One complete request.  The strings end in a NUL and live until the callback returns. */
struct http_request {
    const char *method;
    const char *path;
    const char *query; /* what follows '?', or "" */
    int is_get;
    int is_head;
    int keep_alive; /* 0: this is the connection's last request */
    int is_http10;
};

/* One complete response; the body lives until the callback returns. */
struct http_reply {
    int status;
    const char *body;
    size_t len;
    int keep_alive;
};

/* Called per message.  Return 0 to go on, 1 to make http_feed return after this message. */
typedef int http_request_fn(void *arg, const struct http_request *req);
typedef int http_reply_fn(void *arg, const struct http_reply *reply);

enum http_verdict {
    HTTP_FED,         /* all bytes are taken */
    HTTP_STOPPED,     /* the callback returned 1; the rest of the bytes is untouched */
    HTTP_BAD,         /* malformed; nothing more can be read from this peer */
    HTTP_BAD_URL,     /* request: the URL is longer than HTTP_URL_MAX */
    HTTP_BAD_HEADERS, /* request line and headers are longer than HTTP_HEADER_MAX */
    HTTP_BAD_BODY     /* body longer than HTTP_BODY_MAX or HTTP_REPLY_MAX */
};

/* The status to answer a bad verdict with: 400, 414, 431 or 413. */
int http_verdict_status(enum http_verdict verdict);

/* The reason phrase of a status, never NULL. */
const char *http_reason(int status);

/* Reads a stream of requests, or of responses.  malloc'ed; NULL without memory. */
struct http_reader;
struct http_reader *http_request_reader(http_request_fn *fn, void *arg);
struct http_reader *http_reply_reader(http_reply_fn *fn, void *arg);
void http_reader_destroy(struct http_reader *r);

/* Takes bytes, calls back per complete message, and sets *used to the bytes taken. */
enum http_verdict http_feed(
        struct http_reader *r, const char *bytes, size_t n, size_t *used);

/* 1 while a message has begun and is not complete. */
int http_reader_in_message(const struct http_reader *r);

/* Reply reader: the next response answers a HEAD request and has no body. */
void http_expect_no_body(struct http_reader *r);

#endif
