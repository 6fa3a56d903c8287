/* SPDX-License-Identifier: MIT */
/*
 * probe: asks a running lookup service everything a client may ask, well and badly.
 *
 * Each check is a function that returns 1 or 0 and has a sentence as its name; the program
 * prints them as TAP, so that a test runner shows which one failed.  The service must hold
 * version 0 or later of the data set that its /healthz states, and replace records.
 *
 * Usage: lookup-probe PORT.  Exit status 0 if all checks hold, 1 if not, 2 for bad usage.
 */
#include "client.h"
#include "flags.h"
#include "http.h"
#include "json.h"
#include "render.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned port;
static uint64_t records, seed, payload;

/* ---- helpers ---- */

/* The status of a GET on a fresh connection, 0 without a complete answer. */
static int
status_of(const char *path)
{
    struct client_reply reply;
    struct client *c = client_get(port, path, &reply);
    int status = c == NULL ? 0 : reply.status;

    /* Every refusal explains itself in JSON. */
    if (c != NULL && status >= 400 && !json_valid(reply.body, reply.len))
        status = 0;
    client_close(c);
    return status;
}

static int
send_text(struct client *c, const char *text)
{
    return c != NULL && client_send(c, text, strlen(text));
}

/* Sends text on the connection and expects this status for an answer. */
static int
answers(struct client *c, const char *text, int status)
{
    struct client_reply reply;

    return send_text(c, text) && client_receive(c, &reply) && reply.status == status;
}

/* On a fresh connection: this status, and then the server's end of the connection. */
static int
answers_and_closes(const char *text, size_t n, int status)
{
    struct client *c = client_open(port);
    struct client_reply reply;
    int ok = c != NULL && client_send(c, text, n) && client_receive(c, &reply)
            && reply.status == status && !reply.keep_alive && client_at_end(c);

    client_close(c);
    return ok;
}

/* 1 if the body is some version of the key's record, which *version receives. */
static int
record_right(enum format format, const struct client_reply *reply, uint64_t key,
        uint64_t *version)
{
    char *bytes = malloc(payload + 1);
    struct gen_text text;
    struct view v;
    char *expect;
    int ok = 0;

    if (bytes == NULL || !render_version(format, reply->body, reply->len, version)) {
        free(bytes);
        return 0;
    }
    gen_view(&v, &text, bytes, seed, key, *version, (uint32_t)payload);
    expect = malloc(render_bound(format, &v));
    if (expect != NULL)
        ok = render_body(format, &v, expect) == reply->len
                && memcmp(expect, reply->body, reply->len) == 0;
    free(expect);
    free(bytes);
    return ok;
}

static int
lookup_right(uint64_t key, const char *fmt, enum format format, uint64_t *version)
{
    struct client_reply reply;
    struct client *c;
    char path[96];
    int ok;

    snprintf(path, sizeof(path), "/lookup?key=%" PRIu64 "%s", key, fmt);
    c = client_get(port, path, &reply);
    ok = c != NULL && reply.status == 200 && record_right(format, &reply, key, version)
            && (format == FORMAT_BIN || json_valid(reply.body, reply.len));
    client_close(c);
    return ok;
}

static void
pause_ms(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

/* ---- checks: the routes ---- */

static int
healthz_states_the_data_set(void)
{
    struct client_reply reply;
    struct client *c = client_get(port, "/healthz", &reply);
    int ok = c != NULL && reply.status == 200 && json_valid(reply.body, reply.len)
            && client_json_u64(reply.body, "records", &records)
            && client_json_u64(reply.body, "seed", &seed)
            && client_json_u64(reply.body, "payload", &payload);

    client_close(c);
    return ok && records > 0;
}

static int
json_is_the_default_and_right(void)
{
    uint64_t version, i;

    for (i = 0; i < 20; i++)
        if (!lookup_right(
                    i * 7919 % records, i % 2 ? "&fmt=json" : "", FORMAT_JSON, &version))
            return 0;
    return 1;
}

static int
binary_form_is_right(void)
{
    uint64_t version, i;

    for (i = 0; i < 20; i++)
        if (!lookup_right(i * 104729 % records, "&fmt=bin", FORMAT_BIN, &version))
            return 0;
    return 1;
}

static int
replaced_records_show_up(void)
{
    int tries;

    for (tries = 0; tries < 100; tries++) {
        uint64_t version = 0;
        uint64_t i, sum = 0;

        for (i = 0; i < 10; i++) {
            if (!lookup_right(i % records, "", FORMAT_JSON, &version))
                return 0;
            sum += version;
        }
        if (sum > 0)
            return 1;
        pause_ms(50);
    }
    return 0;
}

static int
unknown_keys_are_404(void)
{
    char path[64];

    snprintf(path, sizeof(path), "/lookup?key=%" PRIu64, records);
    return status_of(path) == 404 && status_of("/lookup?key=18446744073709551615") == 404;
}

static int
malformed_queries_are_400(void)
{
    static const char *const paths[] = {"/lookup", "/lookup?",
            "/lookup?key=", "/lookup?key=abc", "/lookup?key=-1", "/lookup?key=1x",
            "/lookup?key=%31", "/lookup?key=18446744073709551616",
            "/lookup?key=99999999999999999999999", "/lookup?key=1&key=2",
            "/lookup?key=1&fmt=xml", "/lookup?key=1&fmt=", "/lookup?key=1&fmt=json&fmt=bin",
            "/lookup?fmt=json", "/lookup?key=1&limit=3"};
    size_t i;

    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (status_of(paths[i]) != 400) {
            printf("# %s was not refused\n", paths[i]);
            return 0;
        }
    return 1;
}

static int
unknown_paths_are_404(void)
{
    return status_of("/") == 404 && status_of("/lookups?key=1") == 404
            && status_of("/metrics/") == 404 && status_of("//lookup") == 404;
}

static int
allocs_is_json(void)
{
    struct client_reply reply;
    struct client *c = client_get(port, "/debug/allocs", &reply);
    int ok = c != NULL && reply.status == 200 && reply.body[0] == '{'
            && json_valid(reply.body, reply.len) && strstr(reply.body, "heap") != NULL;

    client_close(c);
    return ok;
}

/* Comments, and lines of a name, perhaps labels, a space and a value. */
static int
prometheus_line(const char *line, size_t n)
{
    size_t name = strspn(
            line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:");
    const char *space = n == 0 ? NULL : memchr(line, ' ', n);

    if (n == 0 || line[0] == '#')
        return 1;
    return name > 0 && name < n && (line[name] == ' ' || line[name] == '{') && space != NULL
            && space < line + n - 1;
}

static int
metrics_is_prometheus_text(void)
{
    struct client_reply reply;
    struct client *c = client_get(port, "/metrics", &reply);
    int ok = c != NULL && reply.status == 200
            && strstr(reply.body, "\nlookup_requests_total ") != NULL
            && strstr(reply.body, "gc_heap") != NULL;
    const char *at = ok ? reply.body : "";

    for (; ok && *at != '\0'; at += strcspn(at, "\n") + 1)
        ok = strchr(at, '\n') != NULL && prometheus_line(at, strcspn(at, "\n"));
    client_close(c);
    return ok;
}

/* ---- checks: the protocol ---- */

static int
other_methods_are_405_and_keep_the_connection(void)
{
    struct client *c = client_open(port);
    int ok =
            answers(c, "POST /lookup?key=1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405)
            && answers(c, "DELETE /lookup?key=1 HTTP/1.1\r\n\r\n", 405)
            && answers(c, "OPTIONS * HTTP/1.1\r\n\r\n", 405)
            && answers(c,
                    "PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "3\r\nabc\r\n0\r\n\r\n",
                    405);

    if (ok)
        client_expect_no_body(c);
    ok = ok && answers(c, "HEAD /lookup?key=1 HTTP/1.1\r\n\r\n", 405)
            && answers(c, "GET /healthz HTTP/1.1\r\n\r\n", 200);
    client_close(c);
    return ok;
}

static int
too_long_requests_are_refused(void)
{
    size_t max = 2 * HTTP_BODY_MAX;
    char *big = malloc(max + 256);
    size_t n;
    int ok = big != NULL;

    if (!ok)
        return 0;
    n = (size_t)sprintf(big, "GET /lookup?key=");
    memset(big + n, '1', HTTP_URL_MAX);
    n += HTTP_URL_MAX;
    n += (size_t)sprintf(big + n, " HTTP/1.1\r\n\r\n");
    ok = ok && answers_and_closes(big, n, 414);
    n = (size_t)sprintf(big, "GET /healthz HTTP/1.1\r\nX-Long: ");
    memset(big + n, 'x', HTTP_HEADER_MAX);
    n += HTTP_HEADER_MAX;
    n += (size_t)sprintf(big + n, "\r\n\r\n");
    ok = ok && answers_and_closes(big, n, 431);
    n = (size_t)sprintf(big, "POST /lookup HTTP/1.1\r\nContent-Length: %zu\r\n\r\n", max);
    memset(big + n, 'x', max);
    ok = ok && answers_and_closes(big, n + max, 413);
    free(big);
    return ok;
}

static int
what_is_no_http_is_400(void)
{
    static const char zeros[64];
    static const char tls[] = "\x16\x03\x01\x02\x00\x01\x00\x01";
    static const char version[] = "GET / HTTP/9.9z\r\n\r\n";

    return answers_and_closes(zeros, sizeof(zeros), 400)
            && answers_and_closes(tls, sizeof(tls) - 1, 400)
            && answers_and_closes(version, sizeof(version) - 1, 400);
}

static int
old_and_closing_clients_are_closed(void)
{
    static const char old[] = "GET /healthz HTTP/1.0\r\n\r\n";
    static const char closing[] = "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n";
    static const char upgrade[] =
            "GET /healthz HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    struct client *c = client_open(port);
    int ok = answers(c, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200)
            && answers(c, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200);

    client_close(c);
    return ok && answers_and_closes(old, sizeof(old) - 1, 200)
            && answers_and_closes(closing, sizeof(closing) - 1, 200)
            && answers_and_closes(upgrade, sizeof(upgrade) - 1, 200);
}

static int
a_request_may_come_byte_by_byte(void)
{
    static const char request[] = "GET /lookup?key=0&fmt=bin HTTP/1.1\r\nHost: a\r\n\r\n";
    struct client *c = client_open(port);
    struct client_reply reply;
    uint64_t version;
    size_t i;
    int ok = c != NULL;

    for (i = 0; ok && i + 1 < sizeof(request); i++) {
        ok = client_send(c, request + i, 1);
        pause_ms(1);
    }
    ok = ok && client_receive(c, &reply) && reply.status == 200
            && record_right(FORMAT_BIN, &reply, 0, &version);
    client_close(c);
    return ok;
}

static int
a_half_closed_client_gets_its_answer(void)
{
    struct client *c = client_open(port);
    struct client_reply reply;
    int ok = send_text(c, "GET /healthz HTTP/1.1\r\n\r\n");

    if (ok)
        client_half_close(c);
    ok = ok && client_receive(c, &reply) && reply.status == 200;
    client_close(c);
    return ok;
}

/* n lookups in one piece, keys 0, 1, 2, ... */
static char *
pipeline_make(size_t n, size_t *len)
{
    char *text = malloc(n * 64);
    size_t i;

    *len = 0;
    for (i = 0; text != NULL && i < n; i++)
        *len += (size_t)sprintf(text + *len, "GET /lookup?key=%" PRIu64 " HTTP/1.1\r\n\r\n",
                (uint64_t)i % records);
    return text;
}

static int
pipeline_read(struct client *c, size_t n)
{
    struct client_reply reply;
    uint64_t version;
    size_t i;

    for (i = 0; i < n; i++)
        if (!client_receive(c, &reply) || reply.status != 200
                || !record_right(FORMAT_JSON, &reply, (uint64_t)i % records, &version))
            return 0;
    return 1;
}

static int
pipelined_answers_come_in_order(void)
{
    size_t len;
    char *text = pipeline_make(500, &len);
    struct client *c = client_open(port);
    int ok =
            text != NULL && c != NULL && client_send(c, text, len) && pipeline_read(c, 500);

    client_close(c);
    free(text);
    return ok;
}

/* More answers than the socket buffers hold, so that some wait in the server. */
static int
a_slow_reader_gets_all_and_harms_nobody(void)
{
    const size_t n = 8000;
    size_t len;
    char *text = pipeline_make(n, &len);
    struct client *slow = client_open(port);
    int ok = text != NULL && slow != NULL && client_send(slow, text, len);
    int i;

    for (i = 0; ok && i < 20; i++) {
        ok = status_of("/healthz") == 200;
        pause_ms(10);
    }
    ok = ok && pipeline_read(slow, n);
    client_close(slow);
    free(text);
    return ok;
}

static int
vanishing_clients_harm_nobody(void)
{
    size_t len;
    char *text = pipeline_make(8000, &len);
    int i;
    int ok = text != NULL;

    for (i = 0; ok && i < 20; i++) {
        struct client *half = client_open(port);
        struct client *deaf = client_open(port);

        ok = half != NULL && deaf != NULL && send_text(half, "GET /lookup?ke")
                && client_send(deaf, text, len);
        if (half != NULL)
            client_abort(half);
        if (deaf != NULL)
            client_abort(deaf);
        ok = ok && status_of("/lookup?key=0") == 200;
    }
    free(text);
    return ok;
}

/* The service has to run with --patience=4 or less. */
static int
a_client_that_stops_in_mid_request_is_closed(void)
{
    struct client *c = client_open(port);
    int ok = send_text(c, "GET /healthz HT") && client_at_end(c);

    client_close(c);
    return ok;
}

/* It never reads: when the server gives up, what it sent and what is left are cut off. */
static int
a_client_that_never_reads_is_closed(void)
{
    size_t len;
    char *text = pipeline_make(20000, &len);
    struct client *c = client_open(port);
    int ok = text != NULL && c != NULL && client_send(c, text, len);
    int tries;

    for (tries = 0; ok && tries < 60; tries++) {
        pause_ms(100);
        if (!client_send(c, "GET", 3))
            break;
    }
    client_close(c);
    free(text);
    return ok && tries < 60;
}

/* ---- the list ---- */

static const struct {
    const char *name;
    int (*run)(void);
} checks[] = {
        {"healthz_states_the_data_set", healthz_states_the_data_set},
        {"json_is_the_default_and_right", json_is_the_default_and_right},
        {"binary_form_is_right", binary_form_is_right},
        {"replaced_records_show_up", replaced_records_show_up},
        {"unknown_keys_are_404", unknown_keys_are_404},
        {"malformed_queries_are_400", malformed_queries_are_400},
        {"unknown_paths_are_404", unknown_paths_are_404},
        {"allocs_is_json", allocs_is_json},
        {"metrics_is_prometheus_text", metrics_is_prometheus_text},
        {"other_methods_are_405_and_keep_the_connection",
                other_methods_are_405_and_keep_the_connection},
        {"too_long_requests_are_refused", too_long_requests_are_refused},
        {"what_is_no_http_is_400", what_is_no_http_is_400},
        {"old_and_closing_clients_are_closed", old_and_closing_clients_are_closed},
        {"a_request_may_come_byte_by_byte", a_request_may_come_byte_by_byte},
        {"a_half_closed_client_gets_its_answer", a_half_closed_client_gets_its_answer},
        {"pipelined_answers_come_in_order", pipelined_answers_come_in_order},
        {"a_slow_reader_gets_all_and_harms_nobody",
                a_slow_reader_gets_all_and_harms_nobody},
        {"vanishing_clients_harm_nobody", vanishing_clients_harm_nobody},
        {"a_client_that_stops_in_mid_request_is_closed",
                a_client_that_stops_in_mid_request_is_closed},
        {"a_client_that_never_reads_is_closed", a_client_that_never_reads_is_closed},
};

int
main(int argc, char **argv)
{
    size_t n = sizeof(checks) / sizeof(checks[0]);
    uint64_t number = 0;
    size_t i;
    int failed = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: lookup-probe PORT\n");
        return 2;
    }
    if (!flag_u64("port", argv[1], 1, 65535, &number))
        return 2;
    port = (unsigned)number;
    printf("1..%zu\n", n);
    for (i = 0; i < n; i++) {
        int ok = checks[i].run();

        printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, checks[i].name);
        fflush(stdout);
        failed |= !ok;
        if (i == 0 && !ok)
            return 1; /* nothing else can be judged */
    }
    return failed;
}
