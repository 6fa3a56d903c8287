/* SPDX-License-Identifier: MIT */
/*
 * Responses in gc memory: two objects per request, dead as soon as they are sent.
 *
 *     struct response --bytes--> [ unused | head | body ............ | unused ]
 *                                         ^start ^HEAD_MAX           ^end
 *
 * The head states the body's length, which is known only after the body is written.  So the
 * body is written first, behind room for the head, and the head is then put directly before
 * it: nothing is copied and nothing measured twice.
 *
 * Place.  routes.c builds them, conn.c sends them.
 *
 * Concurrency.  A response belongs to one loop thread.  `bytes` is stored plainly: it is
 * the first store into a new object.  conn.c stores `next` later, with gc_write.
 *
 * Cost.  Two allocations; the bytes are not zeroed.
 */
#include "response.h"

#include "http.h"

#include <gcrt/gcrt.h>

#include <stdio.h>
#include <string.h>

/* Room for the head: its fixed text, reason, type and numbers stay below 200 bytes. */
#define HEAD_MAX 256

GC_TYPE(response_type, struct response, next, bytes);

struct response *
response_begin(size_t body_max)
{
    char *bytes = gc_alloc_bytes_uninit(HEAD_MAX + body_max);
    struct response *r = gc_alloc(&response_type);

    r->bytes = bytes;
    return r;
}

char *
response_body(struct response *r)
{
    return r->bytes + HEAD_MAX;
}

struct head {
    char text[HEAD_MAX];
    size_t len;
};

static void
head_put(struct head *h, const char *s)
{
    size_t n = strlen(s);

    memcpy(h->text + h->len, s, n);
    h->len += n;
}

static void
head_put_number(struct head *h, size_t x)
{
    char digits[24];
    size_t i = sizeof(digits);

    digits[--i] = '\0';
    do {
        digits[--i] = (char)('0' + x % 10);
        x /= 10;
    } while (x != 0);
    head_put(h, digits + i);
}

void
response_finish(
        struct response *r, int status, const char *type, size_t body_len, unsigned flags)
{
    struct head h;

    h.len = 0;
    head_put(&h, "HTTP/1.1 ");
    head_put_number(&h, (size_t)status);
    head_put(&h, " ");
    head_put(&h, http_reason(status));
    head_put(&h, "\r\nContent-Type: ");
    head_put(&h, type);
    head_put(&h, "\r\nContent-Length: ");
    head_put_number(&h, body_len);
    if (flags & RESPONSE_ALLOW_GET)
        head_put(&h, "\r\nAllow: GET");
    if (flags & RESPONSE_CLOSE)
        head_put(&h, "\r\nConnection: close");
    else if (flags & RESPONSE_KEEP)
        head_put(&h, "\r\nConnection: keep-alive");
    head_put(&h, "\r\n\r\n");
    r->start = HEAD_MAX - h.len;
    r->end = HEAD_MAX + (flags & RESPONSE_NO_BODY ? 0 : body_len);
    memcpy(r->bytes + r->start, h.text, h.len);
}

struct response *
response_error(int status, const char *text, unsigned flags)
{
    size_t max = strlen(text) + 40;
    struct response *r = response_begin(max);
    int n = snprintf(
            response_body(r), max, "{\"error\":\"%s\",\"status\":%d}\n", text, status);

    response_finish(r, status, "application/json", (size_t)n, flags);
    return r;
}
