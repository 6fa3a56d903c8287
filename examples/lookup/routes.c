/* SPDX-License-Identifier: MIT */
/*
 * What the service answers.
 *
 *     GET /lookup?key=N&fmt=json|bin   the record, or 404
 *     GET /debug/allocs                gc_metrics_write_json
 *     GET /metrics                     gc_metrics_write_prometheus, and our own counters
 *     GET /healthz                     the data set's parameters, for load generators
 *     GET /debug/...                   what takes long: debug.c
 *     POST /debug/pprof/symbol         that no names of functions are known here
 *
 * Place.  conn.c calls routes_answer once per complete request, on a loop thread that is
 * inside; the result is a response on the gc heap.
 *
 * Concurrency.  Any number of loops at once.  A lookup holds the record's pointer on its
 * stack: the replacer may replace it meanwhile, and the record stays whole until the last
 * reader lets go.  Metrics are written into a malloc'ed text first, because a sink should
 * not allocate from the heap that it is told about.
 *
 * Invariants.  Every request has exactly one response and is counted in exactly one class.
 * A record is answered only if its checksum is right.
 */
#include "routes.h"

#include "debug.h"
#include "render.h"
#include "text.h"

#include <gcrt/gcrt.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_TYPE  "application/json"
#define BIN_TYPE   "application/octet-stream"
#define PLAIN_TYPE "text/plain; version=0.0.4"

static void
bump(uint64_t *counter)
{
    /* One writer: a relaxed load and store are enough, and cheaper than an atomic add. */
    __atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static void
count_status(struct counters *count, int status)
{
    bump(&count->requests);
    if (status < 300)
        bump(&count->status_2xx);
    else if (status < 500)
        bump(&count->status_4xx);
    else
        bump(&count->status_5xx);
}

static unsigned
flags_of(const struct http_request *req)
{
    unsigned flags = req->is_head ? RESPONSE_NO_BODY : 0;

    if (!req->keep_alive)
        return flags | RESPONSE_CLOSE;
    return req->is_http10 ? flags | RESPONSE_KEEP : flags;
}

static struct response *
fail(struct counters *count, const struct http_request *req, int status, const char *text)
{
    unsigned allow = status == 405 ? RESPONSE_ALLOW_GET : 0;

    count_status(count, status);
    return response_error(status, text, flags_of(req) | allow);
}

/* ---- the query ---- */

struct query {
    uint64_t key;
    enum format format;
};

/* The parameters, each at most once: pointers into the query and lengths; NULL: absent. */
struct params {
    const char *key, *fmt;
    size_t key_len, fmt_len;
};

static const char *
params_split(const char *query, struct params *ret)
{
    memset(ret, 0, sizeof(*ret));
    while (*query != '\0') {
        size_t n = strcspn(query, "&");

        if (n >= 4 && memcmp(query, "key=", 4) == 0) {
            if (ret->key != NULL)
                return "parameter key is given twice";
            ret->key = query + 4;
            ret->key_len = n - 4;
        } else if (n >= 4 && memcmp(query, "fmt=", 4) == 0) {
            if (ret->fmt != NULL)
                return "parameter fmt is given twice";
            ret->fmt = query + 4;
            ret->fmt_len = n - 4;
        } else if (n > 0) {
            return "unknown parameter: use key=N and fmt=json or fmt=bin";
        }
        query += n + (query[n] == '&');
    }
    return NULL;
}

static int
parse_key(const char *s, size_t n, uint64_t *ret)
{
    uint64_t x = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        uint64_t digit = (uint64_t)(s[i] - '0');

        if (s[i] < '0' || s[i] > '9' || x > (UINT64_MAX - digit) / 10)
            return 0;
        x = x * 10 + digit;
    }
    *ret = x;
    return n > 0;
}

/* NULL and a filled *ret, or what is wrong with the query. */
static const char *
query_parse(const char *query, struct query *ret)
{
    struct params p;
    const char *wrong = params_split(query, &p);

    if (wrong != NULL)
        return wrong;
    if (p.key == NULL)
        return "parameter key is missing: use /lookup?key=N";
    if (!parse_key(p.key, p.key_len, &ret->key))
        return "parameter key must be a whole number from 0 to 18446744073709551615";
    ret->format = FORMAT_JSON;
    if (p.fmt == NULL || (p.fmt_len == 4 && memcmp(p.fmt, "json", 4) == 0))
        return NULL;
    ret->format = FORMAT_BIN;
    if (p.fmt_len == 3 && memcmp(p.fmt, "bin", 3) == 0)
        return NULL;
    return "parameter fmt must be json or bin";
}

/* ---- the routes ---- */

static struct response *
damaged(struct counters *count, const struct http_request *req, uint64_t key)
{
    bump(&count->damaged);
    fprintf(stderr, "lookup: record %" PRIu64 " has a wrong checksum\n", key);
    return fail(count, req, 500, "the record is damaged");
}

static struct response *
route_lookup(
        const struct service *svc, struct counters *count, const struct http_request *req)
{
    struct query query;
    const char *wrong = query_parse(req->query, &query);
    struct response *resp;
    struct record *r;
    struct view v;
    size_t n;

    if (wrong != NULL)
        return fail(count, req, 400, wrong);
    r = index_get(svc->index, query.key);
    if (r == NULL)
        return fail(count, req, 404, "no record has this key");
    if (!record_intact(r))
        return damaged(count, req, query.key);
    record_view(r, &v);
    resp = response_begin(render_bound(query.format, &v));
    n = render_body(query.format, &v, response_body(resp));
    GC_KEEP_ALIVE(r); /* v points into it */
    response_finish(resp, 200, query.format == FORMAT_JSON ? JSON_TYPE : BIN_TYPE, n,
            flags_of(req));
    count_status(count, 200);
    return resp;
}

static void
text_metric(struct text *t, const char *name, const char *help, uint64_t value)
{
    text_printf(t, "# HELP %s %s\n# TYPE %s counter\n%s %" PRIu64 "\n", name, help, name,
            name, value);
}

static void
text_counters(struct text *t, const struct service *svc)
{
    struct counters c;

    svc->sum(svc->sum_arg, &c);
    text_metric(t, "lookup_requests_total", "Requests answered.", c.requests);
    text_metric(t, "lookup_responses_2xx_total", "Successful answers.", c.status_2xx);
    text_metric(t, "lookup_responses_4xx_total", "Refused requests.", c.status_4xx);
    text_metric(t, "lookup_responses_5xx_total", "Failures of the service.", c.status_5xx);
    text_metric(t, "lookup_records_damaged_total", "Wrong record checksums.", c.damaged);
    text_metric(t, "lookup_connections_total", "Accepted connections.", c.accepted);
    text_metric(t, "lookup_connections_refused_total", "Over the limit.", c.refused);
    text_metric(
            t, "lookup_connections_timed_out_total", "Closed as too slow.", c.timed_out);
}

static struct response *
text_response(struct text *t, struct counters *count, const struct http_request *req,
        const char *type)
{
    struct response *resp;

    if (t->failed) {
        text_free(t);
        return fail(count, req, 503, "no memory for the answer");
    }
    resp = response_begin(t->len);
    memcpy(response_body(resp), t->bytes, t->len);
    response_finish(resp, 200, type, t->len, flags_of(req));
    count_status(count, 200);
    text_free(t);
    return resp;
}

static struct response *
route_metrics(const struct service *svc, struct counters *count,
        const struct http_request *req, int json)
{
    struct text t = {NULL, 0, 0, 0};
    gc_sink sink = {text_write, &t};
    gc_status rc;

    rc = json ? gc_metrics_write_json(NULL, &sink)
              : gc_metrics_write_prometheus(NULL, &sink);
    if (rc != GC_OK && !t.failed) {
        text_free(&t);
        return fail(count, req, 500, gc_status_string(rc));
    }
    if (!json)
        text_counters(&t, svc);
    return text_response(&t, count, req, json ? JSON_TYPE : PLAIN_TYPE);
}

static struct response *
route_health(
        const struct service *svc, struct counters *count, const struct http_request *req)
{
    struct text t = {NULL, 0, 0, 0};

    text_printf(&t,
            "{\"status\":\"ok\",\"records\":%" PRIu64 ",\"seed\":%" PRIu64
            ",\"payload\":%" PRIu32 ",\"keys\":%" PRIu64 "}\n",
            svc->records, svc->seed, svc->payload_len, index_count(svc->index));
    return text_response(&t, count, req, JSON_TYPE);
}

/*
 * pprof posts the addresses that the program on its side does not explain (those of other
 * libraries), and would give up without an answer.
 */
static struct response *
route_symbol(struct counters *count, const struct http_request *req)
{
    struct text t = {NULL, 0, 0, 0};

    text_printf(&t, "num_symbols: 0\n");
    return text_response(&t, count, req, "text/plain");
}

/* NULL: admitted, and *job is the caller's. */
static struct response *
route_debug(const struct service *svc, struct counters *count,
        const struct http_request *req, struct debug_job **job)
{
    const char *why = NULL;
    int status = debug_admit(svc->debug, req, job, &why);

    if (status == 0)
        return fail(count, req, 404,
                "no such path: there are /lookup, /debug/gc/, /debug/pprof/heap, "
                "/debug/pprof/allocs, /debug/trace, /debug/allocs, /metrics and /healthz");
    return status == 200 ? NULL : fail(count, req, status, why);
}

struct response *
routes_answer(const struct service *svc, struct counters *count,
        const struct http_request *req, struct debug_job **job)
{
    if (strcmp(req->path, "/debug/pprof/symbol") == 0
            && (req->is_get || strcmp(req->method, "POST") == 0))
        return route_symbol(count, req);
    if (!req->is_get)
        return fail(count, req, 405, "only GET is answered here");
    if (strcmp(req->path, "/lookup") == 0)
        return route_lookup(svc, count, req);
    if (strcmp(req->path, "/debug/allocs") == 0)
        return route_metrics(svc, count, req, 1);
    if (strcmp(req->path, "/metrics") == 0)
        return route_metrics(svc, count, req, 0);
    if (strcmp(req->path, "/healthz") == 0)
        return route_health(svc, count, req);
    return route_debug(svc, count, req, job);
}

struct response *
routes_refuse(struct counters *count, enum http_verdict verdict)
{
    int status = http_verdict_status(verdict);

    count_status(count, status);
    switch (status) {
    case 413:
        return response_error(status, "the request's body is too long", RESPONSE_CLOSE);
    case 414:
        return response_error(status, "the request's URL is too long", RESPONSE_CLOSE);
    case 431:
        return response_error(status, "the request's headers are too long", RESPONSE_CLOSE);
    default:
        return response_error(status, "this is no HTTP/1.x request", RESPONSE_CLOSE);
    }
}
