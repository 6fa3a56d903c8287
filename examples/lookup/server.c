/* SPDX-License-Identifier: MIT */
/*
 * Event loops: one libuv loop per thread, one SO_REUSEPORT listener per loop.
 *
 * The kernel spreads new connections over the listeners, so loops share nothing but the
 * index.  A loop thread is attached to the heap for its whole life.
 *
 * Blocking.  A loop sleeps in its poll.  The prepare hook runs directly before it and calls
 * gc_block_enter, so a sleeping loop costs a collection nothing.  The check hook runs after
 * it - but only after poll has itself called the callbacks of all ready sockets.  So each
 * such callback calls loop_inside first, which leaves the blocking region if that has not
 * happened since the last poll; the check hook does it when there was no callback at all:
 *
 *     timers  prepare              poll                        check    closing
 *             gc_block_enter       (sleep) cb: loop_inside...  loop_inside
 *     inside |<----- outside ----------->|<--------- inside ---------------------
 *
 * Place.  main.c starts and stops it; connections are conn.c's.
 *
 * Concurrency.  Everything of a loop belongs to its thread, except `stop`, which any thread
 * may send, and the counters, which any thread may read.
 */
#define _DEFAULT_SOURCE /* SO_REUSEPORT is Linux's and not POSIX's */
#include "server.h"

#include "conn.h"
#include "debug.h"

#include <gcrt/gcrt.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG   512
#define EXPIRE_MS 500

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t expire;
    uv_async_t stop; /* any thread */
    uv_tcp_t listener;
    int outside; /* 1 between gc_block_enter and gc_block_leave */
    int stopping;
    pthread_t thread;
    struct counters count; /* written by this thread, read by any */
    struct conn_set conns;
};

struct server {
    unsigned nloops;  /* loops whose uv_loop_t is initialised */
    unsigned running; /* loops whose thread is started */
    unsigned port;
    struct loop **loops; /* owned */
    const struct debug *debug; /* borrowed */
};

static void
loop_inside(void *arg)
{
    struct loop *l = arg;

    if (!l->outside)
        return;
    l->outside = 0;
    gc_block_leave();
}

static void
on_prepare(uv_prepare_t *h)
{
    struct loop *l = h->data;

    l->outside = 1;
    gc_block_enter();
}

static void
on_check(uv_check_t *h)
{
    loop_inside(h->data);
}

static void
on_expire(uv_timer_t *h)
{
    struct loop *l = h->data;

    conn_expire(&l->conns);
}

static void
on_connection(uv_stream_t *listener, int status)
{
    struct loop *l = listener->data;

    loop_inside(l);
    if (status == 0 && !l->stopping)
        conn_accept(&l->conns, listener);
}

static void
close_if_open(uv_handle_t *h)
{
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

/* Closes everything; uv_run returns when the closing callbacks have run. */
static void
loop_close_handles(struct loop *l)
{
    l->stopping = 1;
    conn_close_all(&l->conns);
    close_if_open((uv_handle_t *)&l->prepare);
    close_if_open((uv_handle_t *)&l->check);
    close_if_open((uv_handle_t *)&l->expire);
    close_if_open((uv_handle_t *)&l->listener);
    close_if_open((uv_handle_t *)&l->stop);
}

static void
on_stop(uv_async_t *h)
{
    struct loop *l = h->data;

    loop_inside(l);
    loop_close_handles(l);
}

static void *
loop_main(void *arg)
{
    struct loop *l = arg;

    uv_run(&l->uv, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- sockets ---- */

static int
socket_bind(unsigned port, int reuse_port)
{
    struct sockaddr_in addr;
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int error;

    if (fd < 0)
        return -1;
    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t)port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0
            && (!reuse_port
                    || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0)
            && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

/*
 * With SO_REUSEPORT a second server of the same user would silently share the port and get
 * half of the connections.  A bind without it fails then, so try that first.
 */
static int
port_is_free(unsigned port)
{
    int fd = port == 0 ? -1 : socket_bind(port, 0);

    if (fd >= 0)
        close(fd);
    return port == 0 || fd >= 0;
}

static unsigned
socket_port(int fd)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return 0;
    return ntohs(addr.sin_port);
}

/* ---- life ---- */

static int
complain(const char *what, const char *why)
{
    fprintf(stderr, "lookup: %s: %s\n", what, why);
    return -1;
}

static int
loop_listen(struct loop *l, struct server *s)
{
    int fd = socket_bind(s->port, 1);
    int rc;

    if (fd < 0)
        return complain("--port: cannot bind to 127.0.0.1", strerror(errno));
    rc = uv_tcp_open(&l->listener, fd);
    if (rc != 0) {
        close(fd);
        return complain("cannot use the socket", uv_strerror(rc));
    }
    if (s->port == 0)
        s->port = socket_port(fd);
    rc = uv_listen((uv_stream_t *)&l->listener, BACKLOG, on_connection);
    return rc == 0 ? 0 : complain("cannot listen", uv_strerror(rc));
}

static void
loop_init_handles(struct loop *l)
{
    uv_prepare_init(&l->uv, &l->prepare);
    uv_check_init(&l->uv, &l->check);
    uv_timer_init(&l->uv, &l->expire);
    uv_tcp_init(&l->uv, &l->listener);
    l->prepare.data = l->check.data = l->expire.data = l->listener.data = l->stop.data = l;
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_start(&l->check, on_check);
    uv_timer_start(&l->expire, on_expire, EXPIRE_MS, EXPIRE_MS);
}

static struct loop *
loop_create(const struct service *svc, const struct server_config *config)
{
    struct loop *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return NULL;
    if (uv_loop_init(&l->uv) != 0) {
        free(l);
        return NULL;
    }
    /* The only other handle whose making can fail. */
    if (uv_async_init(&l->uv, &l->stop, on_stop) != 0) {
        uv_loop_close(&l->uv);
        free(l);
        return NULL;
    }
    loop_init_handles(l);
    l->conns.uv = &l->uv;
    l->conns.svc = svc;
    l->conns.count = &l->count;
    l->conns.inside = loop_inside;
    l->conns.inside_arg = l;
    l->conns.max = config->conns_max / config->nloops + 1;
    l->conns.patience_ms = config->patience_ms;
    return l;
}

/* A loop that never got a thread runs its closing callbacks here. */
static void
loop_destroy(struct loop *l, int ran)
{
    if (!ran) {
        loop_close_handles(l);
        uv_run(&l->uv, UV_RUN_DEFAULT);
    }
    uv_loop_close(&l->uv);
    free(l);
}

static int
server_add_loop(
        struct server *s, const struct service *svc, const struct server_config *config)
{
    struct loop *l = loop_create(svc, config);

    if (l == NULL)
        return complain("cannot make an event loop", "out of memory or descriptors");
    s->loops[s->nloops++] = l;
    return loop_listen(l, s);
}

static int
server_run(struct server *s)
{
    for (; s->running < s->nloops; s->running++) {
        struct loop *l = s->loops[s->running];

        if (gc_pthread_create(&l->thread, NULL, loop_main, l) != GC_OK)
            return complain("cannot start a loop's thread", gc_last_error());
    }
    return 0;
}

static void
sum_for_routes(void *arg, struct counters *ret)
{
    server_sum(arg, ret);
}

struct server *
server_start(struct service *svc, const struct server_config *config)
{
    struct server *s;
    unsigned i;
    int rc = 0;

    if (!port_is_free(config->port)) {
        complain("--port: cannot bind to 127.0.0.1", strerror(errno));
        return NULL;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL || (s->loops = calloc(config->nloops, sizeof(struct loop *))) == NULL) {
        free(s);
        complain("cannot start", "out of memory");
        return NULL;
    }
    s->port = config->port;
    s->debug = svc->debug;
    svc->sum = sum_for_routes;
    svc->sum_arg = s;
    for (i = 0; i < config->nloops && rc == 0; i++)
        rc = server_add_loop(s, svc, config);
    if (rc == 0)
        rc = server_run(s);
    if (rc == 0)
        return s;
    server_stop(s);
    return NULL;
}

unsigned
server_port(const struct server *s)
{
    return s->port;
}

static uint64_t
load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void
server_sum(const struct server *s, struct counters *ret)
{
    unsigned i;

    memset(ret, 0, sizeof(*ret));
    debug_sum(s->debug, ret);
    for (i = 0; i < s->nloops; i++) {
        const struct counters *c = &s->loops[i]->count;

        ret->requests += load(&c->requests);
        ret->status_2xx += load(&c->status_2xx);
        ret->status_4xx += load(&c->status_4xx);
        ret->status_5xx += load(&c->status_5xx);
        ret->damaged += load(&c->damaged);
        ret->accepted += load(&c->accepted);
        ret->refused += load(&c->refused);
        ret->timed_out += load(&c->timed_out);
    }
}

void
server_stop(struct server *s)
{
    unsigned i;

    for (i = 0; i < s->running; i++)
        uv_async_send(&s->loops[i]->stop);
    for (i = 0; i < s->running; i++) {
        GC_BLOCKING {
            pthread_join(s->loops[i]->thread, NULL);
        }
    }
    for (i = 0; i < s->nloops; i++)
        loop_destroy(s->loops[i], i < s->running);
    free(s->loops);
    free(s);
}
