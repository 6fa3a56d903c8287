/* SPDX-License-Identifier: MIT */
/*
 * memlimit: a service at its memory limit, with and without the CPU limiter.
 *
 *     memlimit [-l MiB] [-t threads] [-r reads] [-s seconds] [-p percent,...] [-o file.svg]
 *     memlimit -q        the quick form: shorter runs, and checks what they show
 *
 * For each percentage P of what the live set needs, and for the limiter on (50 %) and off, a
 * child process runs the service (service.c) with its memory limit there.  Prints a table, and
 * draws the runs over time (plot.c).  docs/memory-limit.md has both, and explains them.
 *
 * Exit status 0, or 1 if a run failed or the quick form's checks did not hold.
 */
#define _GNU_SOURCE
#include "plot.h"
#include "sample.h"
#include "service.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNS_MAX 16
#define CAP      50
#define MIB      1048576.0

struct settings {
    struct service_options service;
    int percents[RUNS_MAX / 2], npercents;
    const char *picture;
    int quick;
};

/* ---- samples ---- */

double
sample_rate(const struct sample *from, const struct sample *to)
{
    double seconds = to->seconds - from->seconds;

    return seconds > 0 ? (double)(to->operations - from->operations) / seconds : 0;
}

double
sample_share(const struct sample *from, const struct sample *to)
{
    double gc = to->gc_seconds - from->gc_seconds;
    double busy = to->busy_seconds - from->busy_seconds;

    return busy <= 0 ? 0 : gc <= 0 ? 0 : gc > busy ? 1 : gc / busy;
}

/* ---- one run, in a process of its own ---- */

static int
run_child(const struct settings *s, int percent, int cap, int out)
{
    struct service_options opt = s->service;

    opt.percent = percent;
    opt.cap = cap;
    if (dup2(out, STDOUT_FILENO) < 0)
        return 1;
    close(out);
    return service_run(&opt) | fflush(stdout);
}

static void
read_samples(struct run *run, FILE *in)
{
    char line[256];

    while (fgets(line, sizeof(line), in) != NULL) {
        struct sample *x = &run->samples[run->n];

        if (sscanf(line, "limit %" SCNu64, &run->limit) == 1)
            continue;
        if (run->n < SAMPLES_MAX
                && sscanf(line, "%lf %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                                " %lf %lf",
                           &x->seconds, &x->rss, &x->mapped, &x->goal, &x->operations,
                           &x->cycles, &x->gc_seconds, &x->busy_seconds)
                           == 8)
            run->n++;
    }
}

/* 0, or 1 after a message. */
static int
run_one(const struct settings *s, struct run *run)
{
    int ends[2], status = 1;
    FILE *in;
    pid_t pid;

    if (pipe(ends) != 0)
        return 1;
    fflush(stdout);
    pid = fork(); /* before anything of gcrt has begun */
    if (pid == 0) {
        close(ends[0]);
        _exit(run_child(s, run->percent, run->cap, ends[1]));
    }
    close(ends[1]);
    in = fdopen(ends[0], "r");
    if (in != NULL) {
        read_samples(run, in);
        fclose(in);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 || run->n < 3) {
        fprintf(stderr, "memlimit: the run at %d %% has failed\n", run->percent);
        return 1;
    }
    return 0;
}

/* ---- what came out ---- */

/* The first half second is the way there. */
static const struct sample *
settled(const struct run *run)
{
    return &run->samples[run->n > 20 ? 5 : 1];
}

static const struct sample *
last(const struct run *run)
{
    return &run->samples[run->n - 1];
}

static uint64_t
most(const struct run *run, size_t field)
{
    uint64_t max = 0;

    for (const struct sample *x = settled(run); x <= last(run); x++) {
        uint64_t value = *(const uint64_t *)(const void *)((const char *)x + field);

        max = value > max ? value : max;
    }
    return max;
}

static void
print_row(const struct run *run)
{
    const struct sample *from = settled(run), *to = last(run);

    printf("%5d %%  %-8s %9.1f %9.1f %9.1f %11.0f %9.0f %% %8.1f\n", run->percent,
            run->cap < 100 ? "on" : "off", (double)run->limit / MIB,
            (double)most(run, offsetof(struct sample, mapped)) / MIB,
            (double)most(run, offsetof(struct sample, rss)) / MIB, sample_rate(from, to),
            100 * sample_share(from, to),
            (double)(to->cycles - from->cycles) / (to->seconds - from->seconds));
}

/* ---- the quick form's checks ---- */

static int
expect(int ok, const char *what, double have)
{
    if (!ok)
        printf("FAIL: %s: %.3f\n", what, have);
    return ok ? 0 : 1;
}

/*
 * Where there is room the limit is kept.  The shares of CPU time are for who reads them: on a
 * machine with other work a second's share says little (unit/limiter checks the arithmetic).
 */
static int
check(const struct run *runs, int n)
{
    int failures = 0;

    for (int i = 0; i < n; i++) {
        const struct run *run = &runs[i];
        double over = (double)most(run, offsetof(struct sample, mapped)) / (double)run->limit;

        if (run->percent >= 150)
            failures += expect(over <= 1.1, "mapped, of a limit with room", over);
    }
    return failures;
}

/* ---- the command line ---- */

static int
parse_percents(struct settings *s, const char *text)
{
    char *end;

    for (s->npercents = 0; s->npercents < RUNS_MAX / 2;) {
        long n = strtol(text, &end, 10);

        if (end == text || n < 50 || n > 1000)
            return 0;
        s->percents[s->npercents++] = (int)n;
        if (*end == '\0')
            return 1;
        text = end + 1;
    }
    return 0;
}

static int
usage(void)
{
    fprintf(stderr, "usage: memlimit [-q] [-l MiB] [-t threads] [-r reads] [-s seconds]"
                    " [-p percent,...] [-o file.svg]\n");
    return 0;
}

static int
parse(struct settings *s, int argc, char **argv)
{
    int c;

    *s = (struct settings){.percents = {110, 105, 101}, .npercents = 3,
            .service = {.live_bytes = (uint64_t)64 << 20, .threads = 2, .reads = 400,
                    .seconds = 5}};
    while ((c = getopt(argc, argv, "ql:t:r:s:p:o:")) != -1) {
        switch (c) {
        case 'q':
            s->quick = 1;
            s->service.live_bytes = (uint64_t)16 << 20;
            s->service.seconds = 1.5;
            s->npercents = 2;
            s->percents[0] = 150;
            s->percents[1] = 101;
            break;
        case 'l': s->service.live_bytes = strtoull(optarg, NULL, 10) << 20; break;
        case 't': s->service.threads = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'r': s->service.reads = (unsigned)strtoul(optarg, NULL, 10); break;
        case 's': s->service.seconds = strtod(optarg, NULL); break;
        case 'o': s->picture = optarg; break;
        case 'p':
            if (!parse_percents(s, optarg))
                return usage();
            break;
        default: return usage();
        }
    }
    if (s->service.threads < 1 || s->service.threads > 64 || s->service.live_bytes == 0)
        return usage();
    return optind == argc ? 1 : usage();
}

int
main(int argc, char **argv)
{
    static struct run runs[RUNS_MAX];
    struct settings s;
    int n = 0;

    if (!parse(&s, argc, argv))
        return 2;
    printf("limit    limiter  limit MiB  most mapped  most RSS  operations/s  collector"
           "  cycles/s\n");
    for (int i = 0; i < s.npercents; i++) {
        for (int off = 0; off < 2; off++, n++) {
            runs[n].percent = s.percents[i];
            runs[n].cap = off ? 100 : CAP;
            if (run_one(&s, &runs[n]) != 0)
                return 1;
            print_row(&runs[n]);
        }
    }
    if (s.picture != NULL && plot_runs(s.picture, runs, n) != 0)
        return 1;
    return s.quick && check(runs, n) != 0 ? 1 : 0;
}
