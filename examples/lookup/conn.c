/* SPDX-License-Identifier: MIT */
/*
 * One client connection: read, answer, write, and give up on those who are slow.
 *
 *     READING --(socket full)--> WRITING --(written)--> READING
 *        |                          |
 *        +--(last answer sent)--> LINGER --(peer closes, or time)--> closed
 *        +--(request that takes long)--> the socket goes to debug_run; closed here
 *
 * Memory.  `struct conn` is malloc'ed, because libuv keeps its address where the collector
 * does not look.  So it holds no gc pointer.  Answers are gc objects:
 *
 *     while they are built and sent     struct batch, on this thread's stack
 *     while they wait for the socket    conn->unsent (gc_handle) --> response --> next ...
 *
 * libuv's write request holds their addresses too, in its own memory; it is the handle that
 * keeps them alive, and gcrt never moves an object.
 *
 * Fairness.  At most BATCH answers are built before they are written, and while some wait
 * no more is read: a client that pipelines without reading costs its socket buffers, one
 * batch and one input buffer, not more.  Deadlines bound every state, so a client that
 * stops in mid-request, reads nothing or vanishes is closed after a while.
 *
 * Concurrency.  All of it runs on the loop's thread.  Each callback that libuv makes from
 * its poll phase calls set->inside first (see server.c).
 */
#include "conn.h"

#include "debug.h"

#include <gcrt/gcrt.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 32

/* Deadlines in milliseconds; patience_ms holds from a request's first byte to its last,
 * and from a full socket to a written batch. */
#define IDLE_MS   60000 /* between requests */
#define LINGER_MS 2000  /* from our last answer to the peer's end */

enum conn_state {
    CONN_READING,
    CONN_WRITING,
    CONN_LINGER,
    CONN_CLOSING
};

/* Answers that are built and not yet sent. */
struct batch {
    size_t n;
    struct response *resp[BATCH];
};

struct conn {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct conn_set *set; /* borrowed */
    struct conn *prev, *next;
    struct http_reader *reader; /* owned */
    gc_handle *unsent;          /* owned: list of responses that libuv is writing */
    struct debug_job *job;      /* owned, or NULL: the last request, which takes long */
    struct batch *batch;        /* borrowed: the caller's, while bytes are fed */
    char *held;                 /* owned: input that came while the socket was full */
    size_t held_len;
    uint64_t deadline; /* uv_now of the end of our patience */
    enum conn_state state;
    int in_request; /* the deadline is that of a begun request */
    int last;       /* the answer being sent is the last */
};

static void conn_input(struct conn *c, const char *bytes, size_t n);

static void
set_add(struct conn_set *set, struct conn *c)
{
    c->next = set->first;
    if (set->first != NULL)
        set->first->prev = c;
    set->first = c;
    set->n++;
}

static void
set_remove(struct conn_set *set, struct conn *c)
{
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        set->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    set->n--;
}

static void
conn_free(struct conn *c)
{
    gc_handle_free(c->unsent);
    debug_cancel(c->job);
    http_reader_destroy(c->reader);
    free(c->held);
    free(c);
}

/* Runs in libuv's closing phase, after poll: the thread is inside. */
static void
on_closed(uv_handle_t *h)
{
    struct conn *c = h->data;

    set_remove(c->set, c);
    conn_free(c);
}

static void
conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void
conn_patience(struct conn *c, uint64_t ms)
{
    c->deadline = uv_now(c->set->uv) + ms;
}

/* After reading: an idle connection may wait long, a begun request may not. */
static void
conn_await_input(struct conn *c)
{
    int begun = http_reader_in_message(c->reader);

    if (!begun)
        conn_patience(c, IDLE_MS);
    else if (!c->in_request)
        conn_patience(c, c->set->patience_ms);
    c->in_request = begun;
}

/* ---- output ---- */

/* The shutdown is only courtesy; the deadline or the peer's end closes the connection. */
static void
on_shutdown(uv_shutdown_t *req, int status)
{
    struct conn *c = req->data;

    (void)status;
    c->set->inside(c->set->inside_arg);
}

/*
 * The last answer is sent.  Closing at once while the peer still sends would reset the
 * connection and could destroy the answer on its way; so end our half, and read to the end.
 */
static void
conn_linger(struct conn *c)
{
    c->state = CONN_LINGER;
    c->shutdown.data = c;
    conn_patience(c, LINGER_MS);
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0)
        conn_close(c);
}

/* A copy of the socket outlives ours, which libuv closes without ending the connection. */
static void
conn_hand_over(struct conn *c)
{
    uv_os_fd_t fd;
    int copy = -1;

    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy >= 0) {
        debug_run(c->job, copy);
        c->job = NULL;
    }
    conn_close(c);
}

/* What was to be sent on this thread is sent. */
static void
conn_end(struct conn *c)
{
    if (c->job != NULL)
        conn_hand_over(c);
    else
        conn_linger(c);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret);
static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

/* The socket has taken everything: go on with what the client sent meanwhile. */
static void
conn_resume(struct conn *c)
{
    char *held = c->held;
    size_t n = c->held_len;

    c->state = CONN_READING;
    c->held = NULL;
    c->held_len = 0;
    if (held != NULL) {
        conn_input(c, held, n);
        free(held);
    } else {
        conn_await_input(c);
    }
    if (c->state != CONN_READING && c->state != CONN_LINGER)
        return;
    if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        conn_close(c);
}

static void
on_written(uv_write_t *req, int status)
{
    struct conn *c = req->data;

    c->set->inside(c->set->inside_arg);
    gc_handle_set(c->unsent, NULL); /* libuv is done with them: they are garbage now */
    if (c->state == CONN_CLOSING)
        return;
    if (status != 0) {
        conn_close(c);
        return;
    }
    if (c->last)
        conn_end(c);
    if (c->state == CONN_CLOSING)
        return;
    if (c->state == CONN_LINGER)
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    else
        conn_resume(c);
}

/* Hands what is left of the batch to libuv, and to the handle that keeps it alive. */
static void
conn_write_rest(struct conn *c, struct batch *b, size_t sent)
{
    uv_buf_t bufs[BATCH];
    size_t first = 0;
    size_t i;

    while (sent >= b->resp[first]->end - b->resp[first]->start) {
        sent -= b->resp[first]->end - b->resp[first]->start;
        first++;
    }
    b->resp[first]->start += sent;
    for (i = first; i < b->n; i++) {
        struct response *r = b->resp[i];

        bufs[i - first] = uv_buf_init(r->bytes + r->start, (unsigned)(r->end - r->start));
        if (i + 1 < b->n)
            gc_write(&r->next, b->resp[i + 1]);
    }
    gc_handle_set(c->unsent, b->resp[first]);
    c->write.data = c;
    c->state = CONN_WRITING;
    c->in_request = 0;
    conn_patience(c, c->set->patience_ms);
    uv_read_stop((uv_stream_t *)&c->tcp);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, bufs, (unsigned)(b->n - first),
                on_written)
            != 0)
        conn_close(c);
}

/* Sends the batch, or as much as the socket takes. */
static void
conn_flush(struct conn *c, struct batch *b)
{
    uv_buf_t bufs[BATCH];
    size_t total = 0;
    size_t i;
    int sent;

    if (b->n == 0) {
        if (c->job != NULL)
            conn_end(c);
        return;
    }
    for (i = 0; i < b->n; i++) {
        struct response *r = b->resp[i];

        bufs[i] = uv_buf_init(r->bytes + r->start, (unsigned)(r->end - r->start));
        total += r->end - r->start;
    }
    sent = uv_try_write((uv_stream_t *)&c->tcp, bufs, (unsigned)b->n);
    if (sent < 0 && sent != UV_EAGAIN) {
        conn_close(c);
        return;
    }
    if (sent < 0)
        sent = 0;
    if ((size_t)sent < total)
        conn_write_rest(c, b, (size_t)sent);
    else if (c->last)
        conn_end(c);
}

/* ---- input ---- */

static int
on_request(void *arg, const struct http_request *req)
{
    struct conn *c = arg;
    struct batch *b = c->batch;

    b->resp[b->n] = routes_answer(c->set->svc, c->set->count, req, &c->job);
    if (b->resp[b->n] != NULL)
        b->n++;
    c->last = !req->keep_alive || c->job != NULL;
    return c->last || b->n == BATCH;
}

/* Keeps input for later; without memory the client is dropped. */
static void
conn_hold(struct conn *c, const char *bytes, size_t n)
{
    if (n == 0 || c->last)
        return;
    c->held = malloc(n);
    if (c->held == NULL) {
        conn_close(c);
        return;
    }
    memcpy(c->held, bytes, n);
    c->held_len = n;
}

/* Answers the complete requests among the bytes. */
static void
conn_input(struct conn *c, const char *bytes, size_t n)
{
    enum http_verdict verdict;
    struct batch batch;
    size_t used;

    do {
        batch.n = 0;
        c->batch = &batch;
        verdict = http_feed(c->reader, bytes, n, &used);
        c->batch = NULL;
        bytes += used;
        n -= used;
        if (verdict != HTTP_FED && verdict != HTTP_STOPPED) {
            /* on_request stops at a full batch, so there is room for one more. */
            batch.resp[batch.n++] = routes_refuse(c->set->count, verdict);
            c->last = 1;
        }
        conn_flush(c, &batch);
    } while (verdict == HTTP_STOPPED && n > 0 && c->state == CONN_READING);
    if (c->state == CONN_WRITING)
        conn_hold(c, bytes, n);
    if (c->state == CONN_READING)
        conn_await_input(c);
}

/* Input is taken at once or copied, so all connections of a loop share one buffer. */
static void
on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
    struct conn *c = h->data;

    (void)hint;
    *ret = uv_buf_init(c->set->input, sizeof(c->set->input));
}

static void
on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = s->data;

    c->set->inside(c->set->inside_arg);
    if (n < 0)
        conn_close(c);
    else if (n > 0 && c->state == CONN_READING)
        conn_input(c, buf->base, (size_t)n);
}

/* ---- life ---- */

static struct conn *
conn_create(struct conn_set *set)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->set = set;
    c->unsent = gc_handle_new(NULL);
    c->reader = http_request_reader(on_request, c);
    if (c->unsent == NULL || c->reader == NULL || uv_tcp_init(set->uv, &c->tcp) != 0) {
        conn_free(c);
        return NULL;
    }
    c->tcp.data = c;
    set_add(set, c);
    return c;
}

void
conn_accept(struct conn_set *set, uv_stream_t *listener)
{
    struct conn *c = conn_create(set);

    if (c == NULL)
        return;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0) {
        conn_close(c);
        return;
    }
    __atomic_store_n(&set->count->accepted, set->count->accepted + 1, __ATOMIC_RELAXED);
    if (set->n > set->max) {
        __atomic_store_n(&set->count->refused, set->count->refused + 1, __ATOMIC_RELAXED);
        conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    conn_await_input(c);
    if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        conn_close(c);
}

void
conn_expire(struct conn_set *set)
{
    uint64_t now = uv_now(set->uv);
    struct conn *c;

    for (c = set->first; c != NULL; c = c->next) {
        if (c->state == CONN_CLOSING || now < c->deadline)
            continue;
        if (c->state != CONN_LINGER && (c->state == CONN_WRITING || c->in_request))
            __atomic_store_n(
                    &set->count->timed_out, set->count->timed_out + 1, __ATOMIC_RELAXED);
        conn_close(c);
    }
}

void
conn_close_all(struct conn_set *set)
{
    struct conn *c;

    for (c = set->first; c != NULL; c = c->next)
        conn_close(c);
}
