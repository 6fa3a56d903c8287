/* SPDX-License-Identifier: MIT */
/*
 * The simulation: the real collector under a scheduler that a seed drives.
 *
 * Purpose: find interleavings that break the collector, and replay them.
 * Place: main; host.c runs programs, fibers.c schedules, oracle.c judges.
 * Invariants: a run depends on its program and its schedule only, that is on two numbers; so
 * a failure is printed as these, replays, and can be shrunk to the few operations that
 * matter.
 * Cost: some tens of millions of points a second.
 *
 * Arguments (key=value): seed=N first seed; runs=N how many seeds; seconds=N or until this;
 * sched=N the schedule for the seed instead of its own; keep=0:3,5/1:2 only these operations;
 * shrink=1 finds a small failing program, schedules=N tries for each candidate; steps=N the
 * longest run; stw=1 cycles that hold everybody, and plain stores; precise=1 stacks that
 * are not scanned; again=1 runs each seed twice and compares; trace=N lines of a failure's trace.
 */
#define _GNU_SOURCE

#include "fibers.h"
#include "sim_os.h"
#include "support.h"
#include "world.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    uint64_t seed, schedule;
    bool quiet; /* a shrinking child: its failure is no news */
} now;

/* ---- failures ---- */

static void
on_death(int signal)
{
    (void)signal;
    if (!now.quiet) {
        sched_print_trace((uint64_t)t_arg("trace", 12));
        fprintf(stderr, "sim: FAILED; replay with seed=%llu sched=%llu runs=1%s%s, shrink with "
                "shrink=1 on top\n", (unsigned long long)now.seed,
                (unsigned long long)now.schedule, t_arg("stw", 0) ? " stw=1" : "",
                t_arg("precise", 0) ? " precise=1" : "");
    }
    _exit(1);
}

static void
catch_deaths(void)
{
    static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
    struct sigaction act = { .sa_handler = on_death };

    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        CHECK(sigaction(signals[i], &act, NULL) == 0);
}

static uint64_t
schedule_of(uint64_t seed)
{
    return t_mix(seed + 0x51ed2701);
}

static void
run_once(const struct program *p, uint64_t seed, uint64_t schedule)
{
    now.seed = seed;
    now.schedule = schedule;
    world_run(p, schedule, (uint64_t)t_arg("steps", 20000000));
}

/* ---- choosing operations by hand ---- */

/* keep=PLAYER:OP,OP/PLAYER:OP strikes every operation that is not named. */
static void
strike_but(struct program *p, const char *keep)
{
    bool kept[ACTORS_MAX][OPS_MAX] = { { false } };
    unsigned long player = 0;

    while (*keep != '\0') {
        char *end;
        unsigned long n = strtoul(keep, &end, 10);

        T_CHECK(end != keep, "keep= wants PLAYER:OP,OP/PLAYER:OP, not %s", keep);
        if (*end == ':')
            player = n;
        T_CHECK(player < ACTORS_MAX && n < OPS_MAX, "keep= names what is not there");
        if (*end != ':')
            kept[player][n] = true;
        keep = end + strspn(end, ":/,"); /* of a player without operations nothing is named */
    }
    for (unsigned i = 0; i < p->nplayers + p->ncoros; i++)
        for (unsigned k = 0; k < p->nops[i]; k++)
            if (!kept[i][k])
                p->ops[i][k].code = OP_NONE;
}

static const char *
argument(int argc, char **argv, const char *key)
{
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], key, strlen(key)) == 0)
            return argv[i] + strlen(key);
    return NULL;
}

/* ---- shrinking ---- */

/* Does the program fail under the schedule?  In a child, for it may die of anything. */
static bool
fails(const struct program *p, uint64_t schedule)
{
    pid_t child = fork();
    int status = 0;

    T_CHECK(child >= 0, "fork");
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);

        now.quiet = true;
        if (null >= 0)
            (void)dup2(null, STDERR_FILENO);
        (void)alarm(20);
        run_once(p, now.seed, schedule);
        _exit(0);
    }
    T_CHECK(waitpid(child, &status, 0) == child, "waitpid");
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static bool
fails_somehow(const struct program *p, uint64_t *schedule)
{
    uint64_t tries = (uint64_t)t_arg("schedules", 100), seed = *schedule;

    for (uint64_t i = 0; i < tries; i++) {
        uint64_t candidate = i == 0 ? *schedule : t_mix(seed + i);

        if (fails(p, candidate)) {
            *schedule = candidate;
            return true;
        }
    }
    return false;
}

/* Strikes `n` operations of a player from `first` on, if it still fails without them. */
static bool
strike(struct program *p, unsigned player, unsigned first, unsigned n, uint64_t *schedule)
{
    struct program *less = malloc(sizeof *less);
    unsigned struck = 0;
    bool ok;

    T_CHECK(less != NULL, "no memory");
    *less = *p;
    for (unsigned k = first; k < first + n && k < p->nops[player]; k++) {
        struck += less->ops[player][k].code != OP_NONE;
        less->ops[player][k].code = OP_NONE;
    }
    ok = struck > 0 && fails_somehow(less, schedule);
    if (ok)
        *p = *less;
    free(less);
    return ok;
}

static void
print_program(const struct program *p, uint64_t seed, uint64_t schedule)
{
    printf("players=%u coros=%u cpus=%u threads=%u stress=%u gogc=%lld\n", p->nplayers, p->ncoros,
            p->cpus, p->threads, p->stress, (long long)p->gogc);
    for (unsigned i = 0; i < p->nplayers + p->ncoros; i++)
        for (unsigned k = 0; k < p->nops[i]; k++)
            if (p->ops[i][k].code != OP_NONE)
                printf("  player %u op %3u %-13s a=%u b=%u c=%u\n", i, k,
                        op_name((enum op_code)p->ops[i][k].code), p->ops[i][k].a,
                        p->ops[i][k].b, p->ops[i][k].c);
    printf("replay: seed=%llu sched=%llu runs=1%s keep=", (unsigned long long)seed,
            (unsigned long long)schedule, p->stw ? " stw=1" : "");
    for (unsigned i = 0; i < p->nplayers + p->ncoros; i++) {
        printf("%s%u:", i == 0 ? "" : "/", i);
        for (unsigned k = 0, first = 1; k < p->nops[i]; k++)
            if (p->ops[i][k].code != OP_NONE) {
                printf("%s%u", first ? "" : ",", k);
                first = 0;
            }
    }
    printf("\n");
}

static int
shrink(struct program *p, uint64_t seed, uint64_t schedule)
{
    now.seed = seed;
    if (!fails_somehow(p, &schedule)) {
        printf("sim: seed %llu does not fail\n", (unsigned long long)seed);
        return 1;
    }
    for (unsigned chunk = OPS_MAX; chunk > 0; chunk /= 2)
        for (unsigned i = 0; i < p->nplayers + p->ncoros; i++)
            for (unsigned k = 0; k < p->nops[i]; k += chunk)
                (void)strike(p, i, k, chunk, &schedule);
    print_program(p, seed, schedule);
    return 0;
}

/* ---- many runs ---- */

static void
report(uint64_t first, uint64_t runs)
{
    const struct sched_stats *s = sched_statistics();
    const struct world_stats *w = world_statistics();

    t_note("seeds=%llu..%llu steps=%llu switches=%llu ops=%llu objects=%llu cycles=%llu "
           "handshakes=%llu barrier_words=%llu assists=%llu driven=%llu "
           "left_to_workers=%llu given_back=%llu "
           "populated=%llu weak_gets=%llu weak_nulls=%llu cancelled=%llu "
           "pairs=%llu pair_gets=%llu pair_nulls=%llu filed=%llu fired=%llu "
           "cleanups=%llu finalizers=%llu taken_back=%llu revived=%llu "
           "pooled=%llu signals=%llu handled=%llu "
           "walks=%llu jumps=%llu stack_switches=%llu",
            (unsigned long long)first, (unsigned long long)(first + runs - 1),
            (unsigned long long)s->steps, (unsigned long long)s->switches,
            (unsigned long long)w->ops, (unsigned long long)w->objects,
            (unsigned long long)w->cycles, (unsigned long long)w->handshakes,
            (unsigned long long)w->barrier_words, (unsigned long long)w->assists,
            (unsigned long long)w->driven, (unsigned long long)w->left_to_workers,
            (unsigned long long)w->given_back, (unsigned long long)w->populated,
            (unsigned long long)w->weak_gets,
            (unsigned long long)w->weak_nulls, (unsigned long long)w->cancelled,
            (unsigned long long)w->pairs, (unsigned long long)w->pair_gets,
            (unsigned long long)w->pair_nulls, (unsigned long long)w->filed,
            (unsigned long long)w->fired,
            (unsigned long long)w->cleanups, (unsigned long long)w->finalizers,
            (unsigned long long)w->taken_back, (unsigned long long)w->revived,
            (unsigned long long)w->pooled,
            (unsigned long long)s->signals,
            (unsigned long long)s->handled, (unsigned long long)w->walks,
            (unsigned long long)s->jumps, (unsigned long long)coros_switches());
}

/* Each named place must have been passed, or the runs do not reach what they should. */
static void
report_places(void)
{
    for (unsigned i = 0; i < CHAOS_PLACE_COUNT; i++) {
        uint64_t hits = sim_os_chaos_hits((enum chaos_place)i);

        printf("  %-14s %llu\n", gcrt_os_chaos_name((enum chaos_place)i),
                (unsigned long long)hits);
        T_CHECK(hits != 0, "no run has passed %s", gcrt_os_chaos_name((enum chaos_place)i));
    }
}

static void
check_repeats(const struct program *p, uint64_t seed, uint64_t schedule)
{
    uint64_t before = sched_statistics()->steps, first, second;

    run_once(p, seed, schedule);
    first = sched_statistics()->steps - before;
    run_once(p, seed, schedule);
    second = sched_statistics()->steps - before - first;
    T_CHECK(first == second, "seed %llu takes %llu steps, then %llu",
            (unsigned long long)seed, (unsigned long long)first, (unsigned long long)second);
}

int
main(int argc, char **argv)
{
    static struct program p;
    uint64_t first, runs, until, n = 0;
    const char *keep = argument(argc, argv, "keep="), *sched = argument(argc, argv, "sched=");

    t_start("sim", argc, argv);
    catch_deaths();
    first = t_seed();
    runs = (uint64_t)t_arg("runs", argument(argc, argv, "seconds=") ? INT64_MAX : 1000);
    until = t_now_ms() + (uint64_t)t_arg("seconds", 1000000) * 1000;
    for (; n < runs && t_now_ms() < until; n++) {
        uint64_t schedule = sched != NULL ? strtoull(sched, NULL, 10) : schedule_of(first + n);

        program_draw(&p, first + n);
        p.stw = t_arg("stw", 0) != 0;
        p.precise = t_arg("precise", 0) != 0;
        if (keep != NULL)
            strike_but(&p, keep);
        if (t_arg("shrink", 0))
            return shrink(&p, first + n, schedule);
        if (t_arg("again", 0))
            check_repeats(&p, first + n, schedule);
        else
            run_once(&p, first + n, schedule);
    }
    report(first, n);
    if (n >= 1000 && !p.stw && !p.precise) /* else not every place is passed */
        report_places();
    return 0;
}
