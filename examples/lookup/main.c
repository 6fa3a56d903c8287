/* SPDX-License-Identifier: MIT */
/*
 * lookup-server: an HTTP lookup service whose data lives on a gcrt heap.
 *
 * Order of life: knobs, heap, index, data, mark, loops, replacer, wait, and back.  The main
 * thread loads the data and then waits for a signal in a blocking region, so that it costs
 * the collector nothing.
 *
 * Exit status: 0 all was well, 1 it could not start, 2 a wrong command line, 3 a record's
 * checksum was wrong, which only a bug of the heap can cause.
 */
#include "debug.h"
#include "index.h"
#include "options.h"
#include "replacer.h"
#include "server.h"
#include "stats.h"

#include <gcrt/gcrt.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The signals that end the service: blocked everywhere, awaited by the main thread. */
static void
signals_setup(sigset_t *ending)
{
    sigemptyset(ending);
    sigaddset(ending, SIGTERM);
    sigaddset(ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, ending, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static double
now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Waits for an ending signal, at most so many seconds (0: for ever). */
static void
wait_for_end(const sigset_t *ending, double duration)
{
    double end = now_s() + duration;
    int got = 0;

    while (got == 0) {
        double left = duration > 0 ? end - now_s() : 3600;
        struct timespec ts;

        if (left <= 0)
            return;
        ts.tv_sec = (time_t)left;
        ts.tv_nsec = (long)((left - (double)ts.tv_sec) * 1e9);
        GC_BLOCKING {
            got = sigtimedwait(ending, NULL, &ts) > 0;
        }
    }
}

static int
heap_start(const struct options *o)
{
    gc_options opt;

    if (gc_options_from_env(&opt) != GC_OK) {
        fprintf(stderr, "lookup: environment: %s\n", gc_last_error());
        return 0;
    }
    if (o->has_gogc)
        opt.gogc = o->gogc;
    if (gc_init(&opt) != GC_OK) {
        fprintf(stderr, "lookup: cannot make the heap: %s\n", gc_last_error());
        return 0;
    }
    return 1;
}

/* Loads version 0 of all records. */
static void
load(const struct service *svc)
{
    double start = now_s();
    uint64_t sum = 0;
    uint64_t key;
    gc_stats st;

    for (key = 0; key < svc->records; key++) {
        struct record *r = record_make(svc->seed, key, 0, svc->payload_len);

        sum += mix64(r->sum);
        index_put(svc->index, r);
    }
    gc_stats_read(NULL, &st);
    printf("loaded %" PRIu64 " records of %" PRIu32
           " payload bytes in %.2f s: seed %" PRIu64 ", checksum %016" PRIx64
           ", heap %.1f MiB\n",
            svc->records, svc->payload_len, now_s() - start, svc->seed, sum,
            (double)st.heap_alloc / 1048576.0);
    fflush(stdout);
}

/* The file appears complete or not at all: a script may wait for it. */
static int
port_file_write(const char *path, unsigned port)
{
    char temporary[4096];
    FILE *f;

    if (path == NULL)
        return 1;
    if (snprintf(temporary, sizeof(temporary), "%s.new", path) < (int)sizeof(temporary)
            && (f = fopen(temporary, "w")) != NULL) {
        fprintf(f, "%u\n", port);
        if (fclose(f) == 0 && rename(temporary, path) == 0)
            return 1;
    }
    fprintf(stderr, "--port-file: cannot write '%s': %s\n", path, strerror(errno));
    return 0;
}

static int
account_write(const char *path, const struct stats_mark *mark, const struct counters *count,
        uint64_t replaced)
{
    FILE *f = path == NULL ? stdout : fopen(path, "w");

    if (f == NULL) {
        fprintf(stderr, "--stats: cannot write '%s': %s\n", path, strerror(errno));
        return 0;
    }
    stats_write(f, mark, count, replaced);
    return path == NULL ? fflush(f) == 0 : fclose(f) == 0;
}

/* Serves until the end; returns the exit status. */
static int
serve(const struct options *o, struct service *svc, const sigset_t *ending)
{
    struct server_config config = {(unsigned)o->loops, (unsigned)o->port, o->conns,
            (uint64_t)(o->patience * 1000)};
    struct replacer *replacer;
    struct stats_mark mark;
    struct counters count;
    struct server *server;
    int ok;

    stats_mark(&mark);
    server = server_start(svc, &config);
    if (server == NULL)
        return 1;
    replacer = replacer_start(svc, o->replace_rate);
    ok = replacer != NULL || o->replace_rate == 0;
    if (ok) {
        printf("listening on http://127.0.0.1:%u with %" PRIu64 " loops\n",
                server_port(server), o->loops);
        fflush(stdout);
        ok = port_file_write(o->port_file, server_port(server));
    }
    if (ok)
        wait_for_end(ending, o->duration);
    server_sum(server, &count);
    ok = ok && account_write(o->stats_file, &mark, &count, replacer_count(replacer));
    replacer_stop(replacer);
    server_stop(server);
    return !ok ? 1 : count.damaged > 0 ? 3 : 0;
}

int
main(int argc, char **argv)
{
    struct options o;
    struct service svc;
    sigset_t ending;
    int rc = options_parse(&o, argc, argv);

    if (rc <= 0)
        return rc < 0 ? 0 : 2;
    signals_setup(&ending);
    if (!heap_start(&o))
        return 1;
    memset(&svc, 0, sizeof(svc));
    svc.seed = o.seed;
    svc.records = o.records;
    svc.payload_len = (uint32_t)o.payload;
    svc.index = index_create(o.records);
    if (svc.index == NULL)
        return 1;
    svc.debug = debug_start((uint64_t)(o.patience * 1000));
    if (svc.debug == NULL)
        return 1;
    load(&svc);
    rc = serve(&o, &svc, &ending);
    debug_stop(svc.debug);
    index_destroy(svc.index);
    gc_shutdown();
    return rc;
}
