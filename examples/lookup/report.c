/* SPDX-License-Identifier: MIT */
/*
 * report: joins what the server and the load generator wrote into one page for people.
 *
 * Usage: lookup-report SERVER-STATS LOAD-STATS.  Both files hold `name value` lines.  Exit
 * status 0 if every request was answered well, 1 if not, 2 if a file lacks something.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 64
#define MIB       1048576.0
#define GOAL_OFF  1e18 /* with gogc off the goal is the largest number there is */

struct item {
    char name[48];
    double value;
};

static struct item items[NAMES_MAX];
static size_t nitems;
static int lacking;

static int
read_file(const char *path)
{
    FILE *f = fopen(path, "r");

    if (f == NULL) {
        fprintf(stderr, "lookup-report: cannot read '%s'\n", path);
        return 0;
    }
    while (nitems < NAMES_MAX
            && fscanf(f, "%47s %lf", items[nitems].name, &items[nitems].value) == 2)
        nitems++;
    fclose(f);
    return 1;
}

static double
get(const char *name)
{
    size_t i;

    for (i = 0; i < nitems; i++)
        if (strcmp(items[i].name, name) == 0)
            return items[i].value;
    fprintf(stderr, "lookup-report: '%s' is missing\n", name);
    lacking = 1;
    return 0;
}

static double
percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

static void
report_clients(void)
{
    printf("  requests/s       %.0f of %.0f wanted, %.0f connections\n",
            get("rate_achieved"), get("rate_wanted"), get("connections"));
    printf("  latency p50      %10.0f us   from the intended send time\n",
            get("latency_p50_ns") / 1e3);
    printf("          p99      %10.0f us\n", get("latency_p99_ns") / 1e3);
    printf("          p99.9    %10.0f us\n", get("latency_p999_ns") / 1e3);
    printf("          max      %10.0f us\n", get("latency_max_ns") / 1e3);
    printf("  answered         %.0f of %.0f due, %.0f compared byte by byte, %.0f errors\n",
            get("answered"), get("due"), get("verified"), get("errors"));
    printf("  largest backlog  %.0f requests, load average %.2f\n", get("backlog_max"),
            get("load_average"));
}

static void
report_heap(void)
{
    double serve = get("serve_s");

    printf("  GC cycles        %.0f while serving, %.0f while loading\n", get("gc_cycles"),
            get("gc_cycles_loading"));
    printf("  GC share of CPU  %.1f %% of the %.2f CPU seconds that the server used\n",
            percent(get("gc_cpu_s"), get("cpu_s")), get("cpu_s"));
    printf("  worst pause      %.0f us in any thread, since the start\n",
            get("pause_max_ns") / 1e3);
    printf("  allocated        %.1f MiB/s; %.0f records/s replaced\n",
            get("alloc_bytes") / MIB / serve, get("replaced") / serve);
    printf("  live heap        %.1f MiB at the last cycle's end, ",
            get("heap_live_bytes") / MIB);
    if (get("heap_goal_bytes") < GOAL_OFF)
        printf("goal %.1f MiB\n", get("heap_goal_bytes") / MIB);
    else
        printf("no goal\n");
    printf("  heap now         %.1f MiB in %.0f objects, %.1f MiB of metadata\n",
            get("heap_alloc_bytes") / MIB, get("heap_objects"),
            get("metadata_bytes") / MIB);
    printf("  RSS              %.1f MiB, %.1f MiB at most\n", get("rss_bytes") / MIB,
            get("rss_peak_bytes") / MIB);
}

int
main(int argc, char **argv)
{
    int well;

    if (argc != 3) {
        fprintf(stderr, "usage: lookup-report SERVER-STATS LOAD-STATS\n");
        return 2;
    }
    if (!read_file(argv[1]) || !read_file(argv[2]))
        return 2;
    printf("clients\n");
    report_clients();
    printf("heap\n");
    report_heap();
    if (lacking)
        return 2;
    well = get("errors") == 0 && get("responses_5xx") == 0 && get("damaged") == 0
            && get("answered") > 0;
    printf("%s\n",
            well ? "all requests were answered as expected" : "SOME REQUESTS FAILED");
    return well ? 0 : 1;
}
