/* SPDX-License-Identifier: MIT */
/*
 * Reading HTTP/1.x: the only file that knows http_parser.
 *
 * Place.  conn.c feeds it what clients send, client.c and drive.c what the server answers.
 * http_parser is a byte-at-a-time state machine without memory of its own; this file adds
 * the memory (URL, body), the limits, and whole messages instead of fragments.
 *
 * Invariants.  A reader never holds more than HTTP_URL_MAX + HTTP_REPLY_MAX bytes, whatever
 * the peer sends.  After a bad verdict every later feed returns a bad verdict too.  A
 * message is reported once, when it is complete, and bytes after it are not looked at
 * before the callback has returned; so pipelined messages come out one by one.
 *
 * Concurrency.  A reader belongs to one thread.  It holds no gc pointer, so it may live in
 * malloc memory.
 */
#include "http.h"

#include <http_parser.h>

#include <stdlib.h>
#include <string.h>

struct http_reader {
    http_parser parser;
    http_request_fn *on_request; /* exactly one of the two is set */
    http_reply_fn *on_reply;
    void *arg;
    enum http_verdict bad; /* HTTP_FED, or why the message is refused */
    int in_message;
    int stop;        /* the callback wants to stop here */
    int no_body;     /* client: the next response has no body */
    size_t head_len; /* bytes of URL and header names and values so far */
    size_t body_len;
    size_t body_cap;
    char *body; /* client only; malloc'ed */
    size_t url_len;
    char url[HTTP_URL_MAX + 1];
};

/* Refuses the message; http_parser stops at the non-zero return. */
static int
refuse(struct http_reader *r, enum http_verdict why)
{
    r->bad = why;
    return 1;
}

static int
on_begin(http_parser *p)
{
    struct http_reader *r = p->data;

    r->in_message = 1;
    r->head_len = 0;
    r->body_len = 0;
    r->url_len = 0;
    return 0;
}

static int
on_url(http_parser *p, const char *at, size_t n)
{
    struct http_reader *r = p->data;

    if (n > HTTP_URL_MAX - r->url_len)
        return refuse(r, HTTP_BAD_URL);
    memcpy(r->url + r->url_len, at, n);
    r->url_len += n;
    r->head_len += n;
    return 0;
}

static int
on_header(http_parser *p, const char *at, size_t n)
{
    struct http_reader *r = p->data;

    (void)at;
    r->head_len += n + 2;
    return r->head_len > HTTP_HEADER_MAX ? refuse(r, HTTP_BAD_HEADERS) : 0;
}

/* 1 tells http_parser that no body follows. */
static int
on_headers_complete(http_parser *p)
{
    struct http_reader *r = p->data;

    return r->on_reply != NULL && r->no_body;
}

static int
body_reserve(struct http_reader *r, size_t need)
{
    size_t cap = r->body_cap ? r->body_cap : 4096;
    char *grown;

    while (cap < need)
        cap *= 2;
    if (cap == r->body_cap)
        return 1;
    grown = realloc(r->body, cap);
    if (grown == NULL)
        return 0;
    r->body = grown;
    r->body_cap = cap;
    return 1;
}

static int
on_body(http_parser *p, const char *at, size_t n)
{
    struct http_reader *r = p->data;
    size_t max = r->on_reply ? HTTP_REPLY_MAX : HTTP_BODY_MAX;

    if (n > max - r->body_len)
        return refuse(r, HTTP_BAD_BODY);
    if (r->on_reply != NULL) {
        if (!body_reserve(r, r->body_len + n))
            return refuse(r, HTTP_BAD_BODY);
        memcpy(r->body + r->body_len, at, n);
    }
    r->body_len += n;
    return 0;
}

/* Splits the URL in place; an absolute form loses its scheme and host. */
static void
request_split(struct http_reader *r, struct http_request *req)
{
    struct http_parser_url u;
    char *query;

    r->url[r->url_len] = '\0';
    req->path = r->url;
    http_parser_url_init(&u);
    if (http_parser_parse_url(r->url, r->url_len, r->parser.method == HTTP_CONNECT, &u) == 0
            && (u.field_set & (1 << UF_PATH)) != 0) {
        req->path = r->url + u.field_data[UF_PATH].off;
        if ((u.field_set & (1 << UF_FRAGMENT)) != 0)
            r->url[u.field_data[UF_FRAGMENT].off - 1] = '\0';
    }
    query = strchr(req->path, '?');
    req->query = "";
    if (query != NULL) {
        *query = '\0';
        req->query = query + 1;
    }
}

static int
request_complete(struct http_reader *r)
{
    struct http_request req;

    memset(&req, 0, sizeof(req));
    request_split(r, &req);
    req.method = http_method_str((enum http_method)r->parser.method);
    req.is_get = r->parser.method == HTTP_GET;
    req.is_head = r->parser.method == HTTP_HEAD;
    /* Nobody here speaks what an Upgrade asks for: answer and close. */
    req.keep_alive = http_should_keep_alive(&r->parser) && !r->parser.upgrade;
    req.is_http10 = r->parser.http_major < 1
            || (r->parser.http_major == 1 && r->parser.http_minor == 0);
    return r->on_request(r->arg, &req);
}

static int
reply_complete(struct http_reader *r)
{
    struct http_reply reply = {(int)r->parser.status_code, r->body_len ? r->body : "",
            r->body_len, http_should_keep_alive(&r->parser)};

    r->no_body = 0;
    return r->on_reply(r->arg, &reply);
}

static int
on_complete(http_parser *p)
{
    struct http_reader *r = p->data;

    r->in_message = 0;
    r->stop = r->on_request != NULL ? request_complete(r) : reply_complete(r);
    if (r->stop)
        http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings settings = {
        .on_message_begin = on_begin,
        .on_url = on_url,
        .on_header_field = on_header,
        .on_header_value = on_header,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_complete,
};

static struct http_reader *
reader_create(enum http_parser_type type, void *arg)
{
    struct http_reader *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    http_parser_init(&r->parser, type);
    r->parser.data = r;
    r->arg = arg;
    return r;
}

struct http_reader *
http_request_reader(http_request_fn *fn, void *arg)
{
    struct http_reader *r = reader_create(HTTP_REQUEST, arg);

    if (r != NULL)
        r->on_request = fn;
    return r;
}

struct http_reader *
http_reply_reader(http_reply_fn *fn, void *arg)
{
    struct http_reader *r = reader_create(HTTP_RESPONSE, arg);

    if (r != NULL)
        r->on_reply = fn;
    return r;
}

void
http_reader_destroy(struct http_reader *r)
{
    if (r == NULL)
        return;
    free(r->body);
    free(r);
}

enum http_verdict
http_feed(struct http_reader *r, const char *bytes, size_t n, size_t *used)
{
    *used = 0;
    if (r->bad != HTTP_FED)
        return r->bad;
    r->stop = 0;
    *used = http_parser_execute(&r->parser, &settings, bytes, n);
    if (r->stop) {
        http_parser_pause(&r->parser, 0);
        return HTTP_STOPPED;
    }
    if (r->bad != HTTP_FED)
        return r->bad;
    if (HTTP_PARSER_ERRNO(&r->parser) == HPE_HEADER_OVERFLOW)
        return r->bad = HTTP_BAD_HEADERS;
    if (HTTP_PARSER_ERRNO(&r->parser) != HPE_OK || *used < n)
        return r->bad = HTTP_BAD;
    return HTTP_FED;
}

int
http_reader_in_message(const struct http_reader *r)
{
    return r->in_message;
}

void
http_expect_no_body(struct http_reader *r)
{
    r->no_body = 1;
}

int
http_verdict_status(enum http_verdict verdict)
{
    switch (verdict) {
    case HTTP_BAD_URL:
        return 414;
    case HTTP_BAD_HEADERS:
        return 431;
    case HTTP_BAD_BODY:
        return 413;
    default:
        return 400;
    }
}

const char *
http_reason(int status)
{
    return http_status_str((enum http_status)status);
}
