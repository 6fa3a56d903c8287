/* SPDX-License-Identifier: MIT */
/*
 * loadgen: drives the lookup service at a fixed rate and reports what clients saw.
 *
 * It asks the server for its data set (/healthz), so that only a port and a rate are needed
 * to start it by hand; then drive.c does the work.
 *
 * Exit status: 0 every request was answered as expected, 1 some was not or the server could
 * not be reached, 2 a wrong command line.
 */
#include "client.h"
#include "drive.h"
#include "flags.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static const char help[] =
        "usage: loadgen --port=N [flags]\n"
        "  --rate=R          requests a second                        (8000)\n"
        "  --duration=S      seconds of load, warm-up included          (10)\n"
        "  --warmup=S        seconds at the start that do not count      (1)\n"
        "  --connections=N   keep-alive connections                     (64)\n"
        "  --schedule=NAME   poisson or fixed gaps                 (poisson)\n"
        "  --zipf=S          exponent of the key distribution          (1.1)\n"
        "  --bin=PCT         requests for the binary form, percent      (50)\n"
        "  --miss=PCT        requests for missing keys, percent          (1)\n"
        "  --verify=N        compare every N-th record fully; 0: none   (16)\n"
        "  --timeout=S       patience for one response                  (10)\n"
        "  --seed=N          of times and keys                           (1)\n"
        "  --stats=PATH      write `name value` lines there as well\n";

static const struct option longopts[] = {
        {"port", required_argument, NULL, 'P'},
        {"rate", required_argument, NULL, 'r'},
        {"duration", required_argument, NULL, 'd'},
        {"warmup", required_argument, NULL, 'u'},
        {"connections", required_argument, NULL, 'c'},
        {"schedule", required_argument, NULL, 'k'},
        {"zipf", required_argument, NULL, 'z'},
        {"bin", required_argument, NULL, 'b'},
        {"miss", required_argument, NULL, 'm'},
        {"verify", required_argument, NULL, 'v'},
        {"timeout", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'},
        {"stats", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
};

struct knobs {
    struct drive_plan plan;
    const char *stats_file;
};

static int
apply_schedule(struct knobs *k, const char *text)
{
    k->plan.poisson = strcmp(text, "poisson") == 0;
    if (k->plan.poisson || strcmp(text, "fixed") == 0)
        return 1;
    fprintf(stderr, "--schedule: '%s' is neither poisson nor fixed\n", text);
    return 0;
}

static int
apply(struct knobs *k, int flag, const char *text)
{
    struct drive_plan *p = &k->plan;
    uint64_t port = 0;

    switch (flag) {
    case 'P':
        if (!flag_u64("port", text, 1, 65535, &port))
            return 0;
        p->port = (unsigned)port;
        return 1;
    case 'r':
        return flag_double("rate", text, 0.1, 1e6, &p->rate);
    case 'd':
        return flag_double("duration", text, 0.1, 86400, &p->duration);
    case 'u':
        return flag_double("warmup", text, 0, 86400, &p->warmup);
    case 'c':
        return flag_u64("connections", text, 1, 10000, &p->conns);
    case 'k':
        return apply_schedule(k, text);
    case 'z':
        return flag_double("zipf", text, 1.001, 10, &p->zipf);
    case 'b':
        return flag_u64("bin", text, 0, 100, &p->bin_pct);
    case 'm':
        return flag_u64("miss", text, 0, 100, &p->miss_pct);
    case 'v':
        return flag_u64("verify", text, 0, UINT64_MAX, &p->verify);
    case 't':
        return flag_double("timeout", text, 0.1, 3600, &p->timeout);
    case 's':
        return flag_u64("seed", text, 0, UINT64_MAX, &p->seed);
    case 'S':
        k->stats_file = text;
        return 1;
    default:
        return 0; /* getopt_long has named the flag */
    }
}

static void
knobs_default(struct knobs *k)
{
    memset(k, 0, sizeof(*k));
    k->plan.rate = 8000;
    k->plan.duration = 10;
    k->plan.warmup = 1;
    k->plan.timeout = 10;
    k->plan.conns = 64;
    k->plan.seed = 1;
    k->plan.zipf = 1.1;
    k->plan.poisson = 1;
    k->plan.bin_pct = 50;
    k->plan.miss_pct = 1;
    k->plan.verify = 16;
}

/* 1, 0 after a message, -1 after the help. */
static int
knobs_parse(struct knobs *k, int argc, char **argv)
{
    int flag;

    knobs_default(k);
    while ((flag = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        if (flag == 'h') {
            fputs(help, stdout);
            return -1;
        }
        if (!apply(k, flag, optarg))
            return 0;
    }
    if (optind < argc)
        fprintf(stderr, "%s: '%s' is no flag; see --help\n", argv[0], argv[optind]);
    else if (k->plan.port == 0)
        fprintf(stderr, "--port: it is needed; see --help\n");
    else if (k->plan.warmup >= k->plan.duration)
        fprintf(stderr, "--warmup: %g s leave nothing of --duration=%g to measure\n",
                k->plan.warmup, k->plan.duration);
    else
        return 1;
    return 0;
}

/* Learns the server's data set. */
static int
ask_server(struct drive_plan *p)
{
    struct client_reply reply;
    struct client *c = client_get(p->port, "/healthz", &reply);
    int ok;

    if (c == NULL) {
        fprintf(stderr, "loadgen: nothing answers /healthz on port %u\n", p->port);
        return 0;
    }
    ok = reply.status == 200 && client_json_u64(reply.body, "records", &p->records)
            && client_json_u64(reply.body, "seed", &p->data_seed)
            && client_json_u64(reply.body, "payload", &p->payload) && p->records > 0
            && p->payload <= 1u << 20;
    client_close(c);
    if (!ok)
        fprintf(stderr, "loadgen: port %u is no lookup service\n", p->port);
    return ok;
}

static void
loadavg(char *ret, size_t n)
{
    FILE *f = fopen("/proc/loadavg", "r");

    ret[0] = '\0';
    if (f == NULL)
        return;
    if (fgets(ret, (int)n, f) == NULL)
        ret[0] = '\0';
    fclose(f);
    ret[strcspn(ret, " \n")] = '\0';
}

static double
micros(const struct histogram *h, double q)
{
    return (double)histogram_quantile(h, q) / 1000.0;
}

static void
print_people(const struct drive_plan *p, const struct drive_result *r)
{
    const struct histogram *h = &r->latency;
    char load[64];

    loadavg(load, sizeof(load));
    printf("rate        %.0f/s of %.0f/s wanted, %s gaps, %" PRIu64
           " connections, load average %s\n",
            (double)r->window_done / r->window_s, p->rate, p->poisson ? "Poisson" : "equal",
            p->conns, load);
    printf("answered    %" PRIu64 " of %" PRIu64 " due: %" PRIu64 " records, %" PRIu64
           " missing keys; %" PRIu64 " compared byte by byte\n",
            r->answered, r->due, r->hits, r->misses, r->verified);
    printf("latency     p50 %.0f us, p99 %.0f us, p99.9 %.0f us, max %.0f us (%" PRIu64
           " requests)\n",
            micros(h, 0.5), micros(h, 0.99), micros(h, 0.999), (double)h->max / 1000.0,
            h->total);
    printf("backlog     %" PRIu64 " at most\n", r->backlog_max);
    printf("errors      %" PRIu64 ": connect %" PRIu64 ", broken %" PRIu64
           ", timeout %" PRIu64 ", status %" PRIu64 ", content %" PRIu64 ", unsent %" PRIu64
           "\n",
            drive_errors(r), r->err_connect, r->err_io, r->err_timeout, r->err_status,
            r->err_content, r->err_unsent);
}

static void
put(FILE *out, const char *name, uint64_t value)
{
    fprintf(out, "%s %" PRIu64 "\n", name, value);
}

static int
write_stats(const char *path, const struct drive_plan *p, const struct drive_result *r)
{
    FILE *out = fopen(path, "w");
    char load[64];

    if (out == NULL) {
        fprintf(stderr, "--stats: cannot write '%s'\n", path);
        return 0;
    }
    loadavg(load, sizeof(load));
    fprintf(out, "load_average %s\n", load[0] != '\0' ? load : "0");
    fprintf(out, "rate_wanted %.3f\n", p->rate);
    fprintf(out, "rate_achieved %.3f\n", (double)r->window_done / r->window_s);
    put(out, "connections", p->conns);
    put(out, "due", r->due);
    put(out, "answered", r->answered);
    put(out, "verified", r->verified);
    put(out, "errors", drive_errors(r));
    put(out, "backlog_max", r->backlog_max);
    put(out, "latency_p50_ns", histogram_quantile(&r->latency, 0.5));
    put(out, "latency_p99_ns", histogram_quantile(&r->latency, 0.99));
    put(out, "latency_p999_ns", histogram_quantile(&r->latency, 0.999));
    put(out, "latency_max_ns", r->latency.max);
    return fclose(out) == 0;
}

int
main(int argc, char **argv)
{
    struct drive_result *r = calloc(1, sizeof(*r));
    struct knobs k;
    int rc = knobs_parse(&k, argc, argv);
    int ok;

    if (rc <= 0 || r == NULL) {
        free(r);
        return rc < 0 ? 0 : 2;
    }
    /* Wake at the due time, and not up to 50 us later. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    ok = ask_server(&k.plan) && drive_run(&k.plan, r);
    if (ok) {
        print_people(&k.plan, r);
        ok = drive_errors(r) == 0 && r->answered == r->due && r->latency.total > 0;
        if (k.stats_file != NULL)
            ok = write_stats(k.stats_file, &k.plan, r) && ok;
    }
    free(r);
    return ok ? 0 : 1;
}
