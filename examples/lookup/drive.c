/* SPDX-License-Identifier: MIT */
/*
 * The open-loop engine: one thread, one epoll, many keep-alive connections.
 *
 * Open loop.  The schedule decides when each request is due, whatever the server does.  A
 * due request takes an idle connection; if there is none it waits in a first-in first-out
 * backlog of due times.  None is ever skipped, and its latency counts from the time when it
 * was due, so a server that stalls for a second shows a second's worth of slow requests and
 * not one ("coordinated omission").
 *
 *     schedule --due--> backlog --idle connection--> sent --response--> histogram
 *                       (FIFO)                        |
 *                                                     +--broken, late--> error, reconnect
 *
 * Keys follow a Zipf law over a scrambled key space.  A share of the requests asks for keys
 * that do not exist and expects 404.  Every verify-th response is compared with the record
 * that the data set's generator predicts for its key and version.
 *
 * Place.  loadgen.c makes the plan and prints the result.
 *
 * Invariants.  When drive_run returns, each request that was due is answered or counted in
 * one of the errors.  The run ends at most `timeout` after the last due time.
 */
#include "drive.h"

#include "gen.h"
#include "http.h"
#include "render.h"
#include "zipf.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS  256
#define SCAN_NS 100000000u /* between two looks for late and broken connections */

enum link_state {
    LINK_DOWN,
    LINK_CONNECTING,
    LINK_IDLE,
    LINK_BUSY
};

struct drive;

struct link {
    struct drive *drive;
    int fd;
    enum link_state state;
    struct http_reader *reader; /* owned; NULL while down */
    struct link *next_idle;
    uint64_t due_ns;  /* busy: when the request should have been sent */
    uint64_t sent_ns; /* busy: when it was */
    uint64_t key;
    enum format format;
    int dying;        /* the server ends the connection after this response */
    int awaits_write; /* EPOLLOUT is asked for */
    size_t out_len, out_at;
    char out[160];
};

struct drive {
    const struct drive_plan *plan;
    struct drive_result *res;
    int epoll;
    struct link *links;
    struct link *idle;
    uint64_t nbusy;
    uint64_t start_ns, measure_ns, end_ns; /* due times lie in [start, end) */
    uint64_t next_due_ns;
    double schedule_ns; /* exact next due time, relative to the start */
    uint64_t *backlog;  /* ring of due times */
    uint64_t backlog_cap, backlog_head, backlog_len;
    uint64_t rng_time, rng_key;
    struct zipf zipf;
    struct scramble scramble;
    char *payload; /* room for one expected payload */
    char *expect;  /* room for one expected body */
    int no_memory;
    char input[65536];
};

static uint64_t
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t
drive_errors(const struct drive_result *r)
{
    return r->err_connect + r->err_io + r->err_timeout + r->err_status + r->err_content
            + r->err_unsent;
}

/* ---- schedule and backlog ---- */

static void
schedule_step(struct drive *d)
{
    double gap = 1e9 / d->plan->rate;

    if (d->plan->poisson)
        gap *= -log(1 - rng_unit(&d->rng_time));
    d->schedule_ns += gap;
    d->next_due_ns = d->start_ns + (uint64_t)d->schedule_ns;
}

static int
backlog_grow(struct drive *d)
{
    uint64_t cap = d->backlog_cap ? d->backlog_cap * 2 : 1024;
    uint64_t *ring = malloc(cap * sizeof(*ring));
    uint64_t i;

    if (ring == NULL)
        return 0;
    for (i = 0; i < d->backlog_len; i++)
        ring[i] = d->backlog[(d->backlog_head + i) % d->backlog_cap];
    free(d->backlog);
    d->backlog = ring;
    d->backlog_cap = cap;
    d->backlog_head = 0;
    return 1;
}

/* Moves all that is due by now into the backlog. */
static void
schedule_run(struct drive *d, uint64_t now)
{
    while (d->next_due_ns <= now && d->next_due_ns < d->end_ns) {
        if (d->backlog_len == d->backlog_cap && !backlog_grow(d)) {
            d->no_memory = 1;
            return;
        }
        d->backlog[(d->backlog_head + d->backlog_len) % d->backlog_cap] = d->next_due_ns;
        d->backlog_len++;
        d->res->due++;
        schedule_step(d);
    }
}

static uint64_t
backlog_pop(struct drive *d)
{
    uint64_t due = d->backlog[d->backlog_head];

    d->backlog_head = (d->backlog_head + 1) % d->backlog_cap;
    d->backlog_len--;
    return due;
}

/* ---- connections ---- */

static void link_down(struct link *l);

static void
link_idle(struct link *l)
{
    l->state = LINK_IDLE;
    l->next_idle = l->drive->idle;
    l->drive->idle = l;
}

static void
link_watch(struct link *l, int op, int want_write)
{
    struct epoll_event ev;

    memset(&ev, 0, sizeof(ev));
    ev.events = EPOLLIN | (want_write ? (uint32_t)EPOLLOUT : 0u);
    ev.data.ptr = l;
    l->awaits_write = want_write;
    epoll_ctl(l->drive->epoll, op, l->fd, &ev);
}

static int on_reply(void *arg, const struct http_reply *reply);

/* Starts to connect; a failure counts and leaves the link down until the next scan. */
static void
link_up(struct link *l)
{
    struct sockaddr_in addr;
    int one = 1;

    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    l->reader = http_reply_reader(on_reply, l);
    if (l->fd < 0 || l->reader == NULL) {
        l->drive->res->err_connect++;
        link_down(l);
        return;
    }
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t)l->drive->plan->port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(l->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
        link_watch(l, EPOLL_CTL_ADD, 0);
        link_idle(l);
    } else if (errno == EINPROGRESS) {
        l->state = LINK_CONNECTING;
        link_watch(l, EPOLL_CTL_ADD, 1);
    } else {
        l->drive->res->err_connect++;
        link_down(l);
    }
}

/* Takes an idle link out of the list.  Rare: when the server closes it. */
static void
link_unidle(struct link *l)
{
    struct link **at = &l->drive->idle;

    while (*at != l)
        at = &(*at)->next_idle;
    *at = l->next_idle;
}

static void
link_down(struct link *l)
{
    if (l->state == LINK_IDLE)
        link_unidle(l);
    if (l->state == LINK_BUSY)
        l->drive->nbusy--;
    if (l->fd >= 0)
        close(l->fd); /* epoll forgets it with that */
    http_reader_destroy(l->reader);
    l->reader = NULL;
    l->fd = -1;
    l->state = LINK_DOWN;
    l->dying = 0;
}

/* The connection is lost with what was on it. */
static void
link_broken(struct link *l, uint64_t *error)
{
    if (l->state == LINK_BUSY)
        ++*error;
    else if (l->state == LINK_CONNECTING)
        l->drive->res->err_connect++;
    link_down(l);
}

/* ---- requests ---- */

static void
request_make(struct drive *d, struct link *l)
{
    uint64_t bits = rng_next(&d->rng_key);
    int n;

    l->format = bits % 100 < d->plan->bin_pct ? FORMAT_BIN : FORMAT_JSON;
    if ((bits >> 32) % 100 < d->plan->miss_pct)
        l->key = d->plan->records + rng_below(&d->rng_key, 1000000);
    else
        l->key = scramble_key(&d->scramble, zipf_draw(&d->zipf, &d->rng_key) - 1);
    n = snprintf(l->out, sizeof(l->out),
            "GET /lookup?key=%" PRIu64 "&fmt=%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            l->key, l->format == FORMAT_BIN ? "bin" : "json");
    l->out_len = (size_t)n;
    l->out_at = 0;
}

static void
link_write(struct link *l)
{
    ssize_t n = send(l->fd, l->out + l->out_at, l->out_len - l->out_at, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        link_broken(l, &l->drive->res->err_io);
        return;
    }
    if (n > 0)
        l->out_at += (size_t)n;
    if ((l->out_at < l->out_len) != l->awaits_write)
        link_watch(l, EPOLL_CTL_MOD, l->out_at < l->out_len);
}

/* Sends what waits, as far as connections are idle. */
static void
backlog_run(struct drive *d, uint64_t now)
{
    while (d->backlog_len > 0 && d->idle != NULL) {
        struct link *l = d->idle;

        d->idle = l->next_idle;
        l->state = LINK_BUSY;
        l->due_ns = backlog_pop(d);
        l->sent_ns = now;
        d->nbusy++;
        request_make(d, l);
        link_write(l);
    }
    if (d->backlog_len > d->res->backlog_max)
        d->res->backlog_max = d->backlog_len;
}

/* 1 if the body is the record that the data set has for the key, in its version. */
static int
content_right(struct drive *d, const struct link *l, const struct http_reply *reply)
{
    struct gen_text text;
    uint64_t version;
    struct view v;

    if (!render_version(l->format, reply->body, reply->len, &version))
        return 0;
    gen_view(&v, &text, d->payload, d->plan->data_seed, l->key, version,
            (uint32_t)d->plan->payload);
    return render_body(l->format, &v, d->expect) == reply->len
            && memcmp(d->expect, reply->body, reply->len) == 0;
}

static void
reply_judge(struct drive *d, const struct link *l, const struct http_reply *reply)
{
    struct drive_result *res = d->res;
    int exists = l->key < d->plan->records;

    if (reply->status != (exists ? 200 : 404)) {
        res->err_status++;
        return;
    }
    if (exists && d->plan->verify > 0 && res->hits % d->plan->verify == 0) {
        if (!content_right(d, l, reply)) {
            res->err_content++;
            return;
        }
        res->verified++;
    }
    res->answered++;
    if (exists)
        res->hits++;
    else
        res->misses++;
}

static int
on_reply(void *arg, const struct http_reply *reply)
{
    struct link *l = arg;
    struct drive *d = l->drive;
    uint64_t now = now_ns();

    l->dying = !reply->keep_alive;
    if (l->state != LINK_BUSY) {
        d->res->err_content++; /* an answer to nothing */
        return 1;
    }
    reply_judge(d, l, reply);
    if (l->due_ns >= d->measure_ns)
        histogram_add(&d->res->latency, now - l->due_ns);
    if (now >= d->measure_ns && now < d->end_ns)
        d->res->window_done++;
    d->nbusy--;
    link_idle(l);
    return 1;
}

static void
link_read(struct link *l)
{
    ssize_t n = recv(l->fd, l->drive->input, sizeof(l->drive->input), 0);
    enum http_verdict verdict;
    size_t used;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        link_broken(l, &l->drive->res->err_io);
        return;
    }
    verdict = http_feed(l->reader, l->drive->input, (size_t)n, &used);
    /* One request at a time: bytes after its response answer nothing. */
    if (used < (size_t)n || (verdict != HTTP_FED && verdict != HTTP_STOPPED)) {
        if (l->state == LINK_IDLE)
            l->drive->res->err_content++;
        link_broken(l, &l->drive->res->err_content);
    } else if (l->dying) {
        link_down(l);
    }
}

static void
link_event(struct link *l, uint32_t events)
{
    if (l->state == LINK_CONNECTING && (events & (EPOLLERR | EPOLLHUP)) != 0) {
        link_broken(l, &l->drive->res->err_io);
        return;
    }
    if (l->state == LINK_CONNECTING && (events & EPOLLOUT) != 0) {
        link_watch(l, EPOLL_CTL_MOD, 0);
        link_idle(l);
        return;
    }
    if (l->state == LINK_BUSY && (events & EPOLLOUT) != 0 && l->awaits_write)
        link_write(l);
    if (l->state != LINK_DOWN && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        link_read(l);
}

/* Gives up on late requests, and brings up what is down. */
static void
scan(struct drive *d, uint64_t now)
{
    uint64_t limit = (uint64_t)(d->plan->timeout * 1e9);
    uint64_t i;

    for (i = 0; i < d->plan->conns; i++) {
        struct link *l = &d->links[i];

        if (l->state == LINK_BUSY && now - l->sent_ns > limit)
            link_broken(l, &d->res->err_timeout);
        if (l->state == LINK_DOWN)
            link_up(l);
    }
}

/* ---- the loop ---- */

/* When the loop has to look again, if no socket wakes it earlier. */
static uint64_t
next_wake(const struct drive *d, uint64_t now, uint64_t next_scan)
{
    uint64_t wake = next_scan;

    if (d->next_due_ns < d->end_ns && d->next_due_ns < wake)
        wake = d->next_due_ns;
    return wake > now ? wake - now : 0;
}

static void
wait_events(struct drive *d, uint64_t ns)
{
    struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    struct epoll_event events[EVENTS];
    int n = epoll_pwait2(d->epoll, events, EVENTS, &ts, NULL);
    int i;

    for (i = 0; i < n; i++) {
        struct link *l = events[i].data.ptr;

        if (l->state != LINK_DOWN)
            link_event(l, events[i].events);
    }
}

static int
finished(const struct drive *d, uint64_t now)
{
    if (d->no_memory || now > d->end_ns + (uint64_t)(d->plan->timeout * 1e9))
        return 1;
    return d->next_due_ns >= d->end_ns && d->backlog_len == 0 && d->nbusy == 0;
}

static void
drive_loop(struct drive *d)
{
    uint64_t now = now_ns();
    uint64_t next_scan = now + SCAN_NS;

    while (!finished(d, now)) {
        schedule_run(d, now);
        backlog_run(d, now);
        wait_events(d, next_wake(d, now, next_scan));
        now = now_ns();
        if (now >= next_scan) {
            scan(d, now);
            next_scan = now + SCAN_NS;
        }
    }
    d->res->err_unsent += d->backlog_len;
    d->res->err_timeout += d->nbusy;
}

static int
drive_init(struct drive *d, const struct drive_plan *plan, struct drive_result *res)
{
    struct view v;

    memset(d, 0, sizeof(*d));
    memset(&v, 0, sizeof(v));
    d->plan = plan;
    d->res = res;
    d->epoll = epoll_create1(EPOLL_CLOEXEC);
    d->links = calloc(plan->conns, sizeof(*d->links));
    v.payload_len = (uint32_t)plan->payload;
    v.name_len = GEN_NAME_MAX;
    v.city_len = GEN_CITY_MAX;
    d->payload = malloc(plan->payload + 1);
    d->expect = malloc(render_bound(FORMAT_JSON, &v));
    d->rng_time = mix64(plan->seed);
    d->rng_key = mix64(plan->seed + 1);
    zipf_init(&d->zipf, plan->zipf, plan->records);
    scramble_init(&d->scramble, plan->records, plan->data_seed);
    return d->epoll >= 0 && d->links != NULL && d->payload != NULL && d->expect != NULL;
}

static void
drive_start(struct drive *d)
{
    uint64_t i;

    for (i = 0; i < d->plan->conns; i++) {
        d->links[i].drive = d;
        d->links[i].fd = -1;
        link_up(&d->links[i]);
    }
    d->start_ns = now_ns();
    d->measure_ns = d->start_ns + (uint64_t)(d->plan->warmup * 1e9);
    d->end_ns = d->start_ns + (uint64_t)(d->plan->duration * 1e9);
    d->res->window_s = d->plan->duration - d->plan->warmup;
    schedule_step(d);
}

static void
drive_finish(struct drive *d)
{
    uint64_t i;

    for (i = 0; d->links != NULL && i < d->plan->conns; i++)
        if (d->links[i].drive != NULL)
            link_down(&d->links[i]);
    if (d->epoll >= 0)
        close(d->epoll);
    free(d->links);
    free(d->backlog);
    free(d->payload);
    free(d->expect);
}

int
drive_run(const struct drive_plan *plan, struct drive_result *ret)
{
    struct drive *d = malloc(sizeof(*d));
    int ok = d != NULL && drive_init(d, plan, ret);

    if (ok) {
        drive_start(d);
        drive_loop(d);
        ok = !d->no_memory;
    }
    if (!ok)
        fprintf(stderr, "loadgen: out of memory or descriptors\n");
    if (d != NULL)
        drive_finish(d);
    free(d);
    return ok;
}
