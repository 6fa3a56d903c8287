/* SPDX-License-Identifier: MIT */
/*
 * A small blocking HTTP client: the probe's hands, and the load generator's first question.
 *
 * It sends any bytes, well-formed or not, and receives one response at a time.  Every wait
 * ends after WAIT_S seconds.  Bytes beyond the received response are kept for the next one,
 * so pipelined answers can be counted one by one.
 */
#include "client.h"

#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define WAIT_S 5

struct client {
    int fd;
    struct http_reader *reader; /* owned */
    struct client_reply reply;
    char *body;      /* owned: copy of the last response's body */
    size_t at, have; /* received bytes that no response has used */
    char input[65536];
};

static int
on_reply(void *arg, const struct http_reply *reply)
{
    struct client *c = arg;

    free(c->body);
    c->body = malloc(reply->len + 1);
    if (c->body == NULL)
        return 1;
    memcpy(c->body, reply->body, reply->len);
    c->body[reply->len] = '\0';
    c->reply.status = reply->status;
    c->reply.len = reply->len;
    c->reply.body = c->body;
    c->reply.keep_alive = reply->keep_alive;
    return 1;
}

static int
connect_to(unsigned port)
{
    struct timeval wait = {WAIT_S, 0};
    struct sockaddr_in addr;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t)port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    close(fd);
    return -1;
}

struct client *
client_open(unsigned port)
{
    struct client *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->reader = http_reply_reader(on_reply, c);
    c->fd = c->reader == NULL ? -1 : connect_to(port);
    if (c->fd >= 0)
        return c;
    http_reader_destroy(c->reader);
    free(c);
    return NULL;
}

void
client_close(struct client *c)
{
    if (c == NULL)
        return;
    close(c->fd);
    http_reader_destroy(c->reader);
    free(c->body);
    free(c);
}

void
client_abort(struct client *c)
{
    struct linger reset = {1, 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    client_close(c);
}

void
client_half_close(struct client *c)
{
    shutdown(c->fd, SHUT_WR);
}

int
client_send(struct client *c, const void *bytes, size_t n)
{
    const char *at = bytes;

    while (n > 0) {
        ssize_t sent = send(c->fd, at, n, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return 0;
        at += sent;
        n -= (size_t)sent;
    }
    return 1;
}

/* More input; 1, 0 at the end, -1 on an error or when it takes too long. */
static int
client_fill(struct client *c)
{
    ssize_t n;

    do {
        n = recv(c->fd, c->input, sizeof(c->input), 0);
    } while (n < 0 && errno == EINTR);
    c->at = 0;
    c->have = n > 0 ? (size_t)n : 0;
    return n > 0 ? 1 : (int)n;
}

int
client_receive(struct client *c, struct client_reply *ret)
{
    c->reply.status = 0;
    while (c->reply.status == 0) {
        enum http_verdict verdict;
        size_t used;

        if (c->at == c->have && client_fill(c) <= 0)
            return 0;
        verdict = http_feed(c->reader, c->input + c->at, c->have - c->at, &used);
        c->at += used;
        if (verdict != HTTP_FED && verdict != HTTP_STOPPED)
            return 0;
    }
    *ret = c->reply;
    return 1;
}

void
client_expect_no_body(struct client *c)
{
    http_expect_no_body(c->reader);
}

int
client_at_end(struct client *c)
{
    return c->at == c->have && client_fill(c) == 0;
}

struct client *
client_get(unsigned port, const char *path, struct client_reply *ret)
{
    struct client *c = client_open(port);
    char request[HTTP_URL_MAX + 64];
    int n = snprintf(
            request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);

    if (c == NULL)
        return NULL;
    if (n < (int)sizeof(request) && client_send(c, request, (size_t)n)
            && client_receive(c, ret))
        return c;
    client_close(c);
    return NULL;
}

int
client_json_u64(const char *json, const char *name, uint64_t *ret)
{
    char pattern[64];
    const char *at;

    snprintf(pattern, sizeof(pattern), "\"%s\":", name);
    at = strstr(json, pattern);
    if (at == NULL)
        return 0;
    return sscanf(at + strlen(pattern), "%" SCNu64, ret) == 1;
}
