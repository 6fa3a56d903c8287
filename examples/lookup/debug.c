/* SPDX-License-Identifier: MIT */
/*
 * The debug endpoints.
 *
 *     GET /debug/gc/?interval=MS        the live page (debug.html, built into the program)
 *     GET /debug/gc/stream?interval=MS  its data: all metrics, again and again (stream.c)
 *     GET /debug/pprof/heap             gc_profile_write_heap
 *     GET /debug/pprof/allocs?seconds=N gc_profile_write_allocs: since the start, or of N s
 *     GET /debug/trace?seconds=N        the flight recorder's events of the next N s, or of 1
 *
 * Place.  routes.c asks debug_admit about each GET.  When all earlier answers of the
 * connection have left, conn.c hands its socket over with debug_run; the connection ends with
 * our answer.  One more endpoint is one more row in `routes`, and the function it names.
 *
 *     loop:   debug_admit ---- earlier answers are sent ---- debug_run(job, dup of socket)
 *     thread:                                                serve ... linger, close
 *
 * Invariants.  A request that is admitted is answered once, or its client is gone.  At most
 * JOBS_MAX are admitted at a time.  A client that takes nothing for the patience is dropped;
 * until then its stream leaves out events instead of piling them up.
 *
 * Concurrency.  One detached thread per admitted request.  It is not attached to the heap,
 * so the collector knows nothing of it, and looking does not change what is seen.
 * `lock` guards `jobs` and `recording`; nothing that waits is called with it held.
 * Every wait of a thread also watches `stop`, a pipe whose writing end is closed by
 * debug_stop, which then waits until no job is left.
 *
 * Cost.  Nothing for other requests but a comparison of the path's beginning.
 */
#define _GNU_SOURCE /* pipe2 */
#include "debug.h"

#include "stream.h"
#include "text.h"

#include <gcrt/gcrt.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX    16
#define SEND_BUFFER 65536 /* of a socket: what a viewer who does not read costs */
#define LINGER_MS   2000

static const char *const page[] = {
#include "debug.inc"
};

struct debug {
    pthread_mutex_t lock;
    pthread_cond_t none; /* jobs became 0 */
    unsigned jobs;       /* admitted and not yet over */
    unsigned recording;  /* of them, those that want the flight recorder on */
    int stop[2];         /* a pipe; [1] is closed at the end */
    uint64_t patience_ms;
    struct counters count; /* atomic: many writers */
};

struct route;

struct debug_job {
    struct debug *debug;
    const struct route *route;
    unsigned number; /* the parameter's */
    int fd;
};

/* The number that a query may set: "name=number", within bounds. */
struct param {
    const char *name; /* NULL: no query is allowed */
    unsigned min, max, otherwise;
    const char *usage;
};

struct route {
    const char *path;
    void (*serve)(struct debug_job *job);
    const struct param *param;
};

static const struct param no_param = {NULL, 0, 0, 0, "this path takes no parameter"};
static const struct param interval = {"interval=", 100, 10000, 500,
        "the only parameter is interval=MS, from 100 to 10000 milliseconds"};
static const struct param window = {
        "seconds=", 1, 600, 0, "the only parameter is seconds=N, from 1 to 600"};

static const struct param seconds = {
        "seconds=", 1, 600, 1, "the only parameter is seconds=N, from 1 to 600"};

static void serve_page(struct debug_job *job);
static void serve_stream(struct debug_job *job);
static void serve_heap(struct debug_job *job);
static void serve_allocs(struct debug_job *job);
static void serve_trace(struct debug_job *job);

static const struct route routes[] = {
        {"/debug/gc/", serve_page, &interval}, /* the page hands it on to its stream */
        {"/debug/gc", serve_page, &interval},
        {"/debug/gc/stream", serve_stream, &interval},
        {"/debug/pprof/heap", serve_heap, &no_param},
        {"/debug/pprof/allocs", serve_allocs, &window},
        {"/debug/trace", serve_trace, &seconds},
};

/* ---- admission ---- */

static int
jobs_take(struct debug *d)
{
    int ok;

    pthread_mutex_lock(&d->lock);
    ok = d->jobs < JOBS_MAX;
    d->jobs += (unsigned)ok;
    pthread_mutex_unlock(&d->lock);
    return ok;
}

/* The last access to d, which debug_stop may free from then on. */
static void
jobs_give(struct debug *d)
{
    pthread_mutex_lock(&d->lock);
    if (--d->jobs == 0)
        pthread_cond_broadcast(&d->none);
    pthread_mutex_unlock(&d->lock);
}

/* Reads the whole query, "" or "name=number"; 0 if it is anything else. */
static int
query_parse(const struct param *p, const char *query, unsigned *ret)
{
    size_t n = p->name == NULL ? 0 : strlen(p->name);
    unsigned x = 0;

    *ret = p->otherwise;
    if (*query == '\0')
        return 1;
    if (n == 0 || strncmp(query, p->name, n) != 0 || query[n] == '\0')
        return 0;
    for (query += n; *query != '\0'; query++) {
        if (*query < '0' || *query > '9' || x > p->max)
            return 0;
        x = x * 10 + (unsigned)(*query - '0');
    }
    *ret = x;
    return x >= p->min && x <= p->max;
}

static const struct route *
route_find(const char *path)
{
    size_t i;

    if (strncmp(path, "/debug/", 7) != 0)
        return NULL;
    for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strcmp(path, routes[i].path) == 0)
            return &routes[i];
    return NULL;
}

int
debug_admit(struct debug *d, const struct http_request *req, struct debug_job **job,
        const char **why)
{
    const struct route *r = route_find(req->path);
    unsigned number;

    if (r == NULL)
        return 0;
    *why = r->param->usage;
    if (!query_parse(r->param, req->query, &number))
        return 400;
    *why = "too many debug requests at a time; end a stream or try later";
    if (!jobs_take(d))
        return 503;
    *why = "no memory for the request";
    *job = malloc(sizeof(**job));
    if (*job == NULL) {
        jobs_give(d);
        return 503;
    }
    **job = (struct debug_job){d, r, number, -1};
    return 200;
}

void
debug_cancel(struct debug_job *job)
{
    if (job == NULL)
        return;
    jobs_give(job->debug);
    free(job);
}

/* ---- waiting and sending ---- */

static uint64_t
clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

enum wake {
    WAKE_TIME,
    WAKE_READY, /* what was asked for can be done */
    WAKE_GONE,  /* the client has left, or the service ends */
};

/*
 * Waits for events on the socket, until a time.  With events 0 only for its end: a client
 * that has ended its sending half still gets its answer.
 */
static enum wake
job_wait(const struct debug_job *job, short events, uint64_t until)
{
    struct pollfd fds[2] = {{job->fd, events, 0}, {job->debug->stop[0], 0, 0}};

    for (;;) {
        uint64_t now = clock_ms();
        int n = poll(fds, 2, now < until ? (int)(until - now) : 0);

        if (n < 0 && errno != EINTR)
            return WAKE_GONE;
        if (n > 0 && fds[1].revents != 0)
            return WAKE_GONE;
        if (n > 0 && events == 0)
            return WAKE_GONE;
        if (n > 0)
            return WAKE_READY;
        if (n == 0 && clock_ms() >= until)
            return WAKE_TIME;
    }
}

/* 1, or 0 if the client is gone, or took nothing for too long. */
static int
job_send(const struct debug_job *job, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(job->fd, bytes, n, MSG_NOSIGNAL);

        if (sent > 0) {
            bytes += sent;
            n -= (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (job_wait(job, POLLOUT, clock_ms() + job->debug->patience_ms) != WAKE_READY)
                return 0;
        } else if (errno != EINTR) {
            return 0;
        }
    }
    return 1;
}

static void
count_add(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* Starts the answer: its head, with more header lines, each with its line end. */
static int
send_head(const struct debug_job *job, int status, const char *type, const char *more)
{
    struct counters *count = &job->debug->count;
    char head[512];
    int n = snprintf(head, sizeof(head),
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%sCache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            status, http_reason(status), type, more);

    count_add(&count->requests);
    count_add(status < 300 ? &count->status_2xx : &count->status_5xx);
    return job_send(job, head, (size_t)n);
}

static void
send_text(const struct debug_job *job, int status, const char *type, const char *more,
        const struct text *t)
{
    char lines[300];

    snprintf(lines, sizeof(lines), "Content-Length: %zu\r\n%s", t->len, more);
    if (send_head(job, status, type, lines))
        job_send(job, t->bytes, t->len);
}

static void
send_error(const struct debug_job *job, int status, const char *why)
{
    char bytes[300];
    struct text t = {bytes, 0, sizeof(bytes), 0};
    int n = snprintf(
            bytes, sizeof(bytes), "{\"error\":\"%s\",\"status\":%d}\n", why, status);

    t.len = (size_t)n;
    send_text(job, status, "application/json", "", &t);
}

/* ---- what is served ---- */

#define POLICY                                                                            \
    "Content-Security-Policy: default-src 'self' 'unsafe-inline'; img-src 'self' data:; " \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"

static void
serve_page(struct debug_job *job)
{
    struct text t = {NULL, 0, 0, 0};
    size_t i;

    for (i = 0; i < sizeof(page) / sizeof(page[0]); i++)
        text_write(&t, page[i], strlen(page[i]));
    if (t.failed)
        send_error(job, 503, "no memory for the page");
    else
        send_text(job, 200, "text/html; charset=utf-8", POLICY, &t);
    text_free(&t);
}

/* Events at the interval, until the client leaves; 0 when it has, or is too slow. */
static int
stream_send(struct debug_job *job, struct stream *s, struct text *t)
{
    t->len = 0;
    return stream_sample(s, t) && !t->failed && job_send(job, t->bytes, t->len);
}

static void
stream_run(struct debug_job *job, struct stream *s, struct text *t)
{
    uint64_t next = clock_ms();

    stream_hello(s, job->number, t);
    if (t->failed || !send_head(job, 200, "text/event-stream", "X-Accel-Buffering: no\r\n")
            || !job_send(job, t->bytes, t->len))
        return;
    while (stream_send(job, s, t)) {
        uint64_t now = clock_ms();

        /* Times that a slow client has missed are left out. */
        next += job->number;
        if (next <= now)
            next = now + 1;
        if (job_wait(job, 0, next) != WAKE_TIME)
            return;
    }
}

static void
serve_stream(struct debug_job *job)
{
    struct stream *s = stream_create();
    struct text t = {NULL, 0, 0, 0};

    if (s == NULL)
        send_error(job, 503, "no memory for the stream");
    else
        stream_run(job, s, &t);
    stream_destroy(s);
    text_free(&t);
}

static void
send_file(struct debug_job *job, const struct text *t, gc_status status, const char *type,
        const char *attachment)
{
    if (t->failed)
        send_error(job, 503, "no memory for the file");
    else if (status != GC_OK)
        send_error(job, 503, gc_status_string(status));
    else
        send_text(job, 200, type, attachment, t);
}

static void
serve_heap(struct debug_job *job)
{
    struct text t = {NULL, 0, 0, 0};
    gc_sink sink = {text_write, &t};
    gc_status status = gc_profile_write_heap(NULL, &sink);

    send_file(job, &t, status, "application/octet-stream",
            "Content-Disposition: attachment; filename=\"heap.pb.gz\"\r\n");
    text_free(&t);
}

static void
serve_allocs(struct debug_job *job)
{
    struct text t = {NULL, 0, 0, 0};
    gc_sink sink = {text_write, &t};
    gc_profile *since = job->number == 0 ? NULL : gc_profile_take(NULL);
    gc_status status = GC_ERR_NOMEM;

    if (job->number != 0 && since != NULL
            && job_wait(job, 0, clock_ms() + job->number * 1000u) != WAKE_TIME) {
        gc_profile_free(since);
        return;
    }
    if (job->number == 0 || since != NULL)
        status = gc_profile_write_allocs(NULL, since, &sink);
    gc_profile_free(since);
    send_file(job, &t, status, "application/octet-stream",
            "Content-Disposition: attachment; filename=\"allocs.pb.gz\"\r\n");
    text_free(&t);
}

/* The first who wants it on switches it on, the last one off. */
static gc_status
record(struct debug *d, int on)
{
    gc_status status = GC_OK;

    pthread_mutex_lock(&d->lock);
    if (on && d->recording++ == 0)
        status = gc_recorder_start(NULL, NULL);
    else if (!on && --d->recording == 0)
        gc_recorder_stop(NULL);
    pthread_mutex_unlock(&d->lock);
    return status;
}

static void
serve_trace(struct debug_job *job)
{
    struct text t = {NULL, 0, 0, 0};
    gc_sink sink = {text_write, &t};
    gc_status status = record(job->debug, 1);
    int waited = status != GC_OK
        || job_wait(job, 0, clock_ms() + job->number * 1000u) == WAKE_TIME;

    if (status == GC_OK && waited)
        status = gc_recorder_write(NULL, job->number * (uint64_t)1000000000, &sink);
    record(job->debug, 0);
    if (waited)
        send_file(job, &t, status, "application/json",
                "Content-Disposition: attachment; filename=\"trace.json\"\r\n");
    text_free(&t);
}

/* ---- threads ---- */

/*
 * Ends our half and reads to the client's end: closing at once while it still sends would
 * reset the connection and could destroy the answer on its way.
 */
static void
job_linger(const struct debug_job *job)
{
    uint64_t until = clock_ms() + LINGER_MS;
    char rest[4096];

    shutdown(job->fd, SHUT_WR);
    while (job_wait(job, POLLIN, until) == WAKE_READY)
        if (recv(job->fd, rest, sizeof(rest), 0) <= 0)
            return;
}

static void *
job_main(void *arg)
{
    struct debug_job *job = arg;
    struct debug *d = job->debug;

    job->route->serve(job);
    job_linger(job);
    close(job->fd);
    free(job);
    jobs_give(d);
    return NULL;
}

void
debug_run(struct debug_job *job, int fd)
{
    int buffer = SEND_BUFFER;
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    job->fd = fd;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
    rc = pthread_attr_init(&attr);
    if (rc == 0) {
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        rc = pthread_create(&thread, &attr, job_main, job);
        pthread_attr_destroy(&attr);
    }
    if (rc == 0)
        return;
    /* The socket is idle, so it takes this without a wait. */
    send_error(job, 503, "no thread for the request");
    close(fd);
    debug_cancel(job);
}

/* ---- life ---- */

struct debug *
debug_start(uint64_t patience_ms)
{
    struct debug *d = calloc(1, sizeof(*d));

    if (d != NULL && pipe2(d->stop, O_CLOEXEC) == 0) {
        pthread_mutex_init(&d->lock, NULL);
        pthread_cond_init(&d->none, NULL);
        d->patience_ms = patience_ms;
        return d;
    }
    fprintf(stderr, "lookup: cannot serve /debug: out of memory or descriptors\n");
    free(d);
    return NULL;
}

void
debug_sum(const struct debug *d, struct counters *ret)
{
    ret->requests += __atomic_load_n(&d->count.requests, __ATOMIC_RELAXED);
    ret->status_2xx += __atomic_load_n(&d->count.status_2xx, __ATOMIC_RELAXED);
    ret->status_5xx += __atomic_load_n(&d->count.status_5xx, __ATOMIC_RELAXED);
}

void
debug_stop(struct debug *d)
{
    if (d == NULL)
        return;
    close(d->stop[1]);
    GC_BLOCKING {
        pthread_mutex_lock(&d->lock);
        while (d->jobs > 0)
            pthread_cond_wait(&d->none, &d->lock);
        pthread_mutex_unlock(&d->lock);
    }
    close(d->stop[0]);
    pthread_cond_destroy(&d->none);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
