/* SPDX-License-Identifier: MIT */
/*
 * What does it cost to serve a request out of an arena?
 *
 * A request makes `objects` linked objects of 24 bytes, walks the list, and lets go of all; three
 * ways by turns, `rounds` times, `requests` requests each:
 *     arena    gc_arena_new, gc_arena_alloc, gc_arena_free
 *     heap     gc_alloc and no free: the collector's way of giving back
 *     malloc   malloc, and free of each object
 * Beside the requests lie `live` MiB of objects that stay, so that the collector has something
 * to mark.  Reported are medians over the rounds, per object: wall time, CPU time of the whole
 * process, the collector's threads included; and the least that allocation alone took.
 */
#include PEER_HEADER

#include <time.h>

struct node {
    struct node *next;
    uint64_t value[2];
};

GC_TYPE(node_type, struct node, next);

#define ROUNDS_MAX 101

enum way { ARENA, HEAP, MALLOC, WAYS };

static uint64_t objects, requests, rounds;
static double wall[WAYS][ROUNDS_MAX], cpu[WAYS][ROUNDS_MAX];
static struct node *kept;

BENCH_INLINE struct node *
take(enum way way, gc_arena *arena)
{
    switch (way) {
    case ARENA:
        return gc_arena_alloc(arena, &node_type);
    case HEAP:
        return gc_alloc(&node_type);
    default:
        return malloc(sizeof(struct node));
    }
}

BENCH_INLINE uint64_t
request(enum way way)
{
    gc_arena *arena = way == ARENA ? gc_arena_new("request") : NULL;
    struct node *list = NULL, *next;
    uint64_t sum = 0;

    for (uint64_t i = 0; i < objects; i++) {
        struct node *node = take(way, arena);

        node->value[0] = i;
        node->next = list;
        list = node;
    }
    for (const struct node *n = list; n != NULL; n = n->next)
        sum += n->value[0];
    if (way == ARENA)
        gc_arena_free(arena);
    for (; way == MALLOC && list != NULL; list = next) {
        next = list->next;
        free(list);
    }
    return sum;
}

static BENCH_NOINLINE uint64_t
run_arena(void)
{
    return request(ARENA);
}

static BENCH_NOINLINE uint64_t
run_heap(void)
{
    return request(HEAP);
}

static BENCH_NOINLINE uint64_t
run_malloc(void)
{
    return request(MALLOC);
}

static void
run_way(enum way way, uint64_t round)
{
    static uint64_t (*const runs[WAYS])(void) = { run_arena, run_heap, run_malloc };
    double per = (double)(requests * objects);
    uint64_t start = bench_now_ns(), used = bench_cpu_ns(), sum = 0;

    for (uint64_t i = 0; i < requests; i++)
        sum += runs[way]();
    wall[way][round] = (double)(bench_now_ns() - start) / per;
    cpu[way][round] = (double)(bench_cpu_ns() - used) / per;
    bench_check(sum == requests * (objects * (objects - 1) / 2), "the sum");
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double
median(const double *values)
{
    double sorted[ROUNDS_MAX];

    memcpy(sorted, values, sizeof(sorted));
    qsort(sorted, rounds, sizeof(sorted[0]), by_value);
    return sorted[rounds / 2];
}

/* The inline halves alone, in a loop: ns per object. */
static double
allocation(enum way way)
{
    uint64_t n = 1000, start;
    double best = 1e9;

    for (int i = 0; i < 200; i++) {
        gc_arena *arena = gc_arena_new(NULL);
        double ns;

        BENCH_ESCAPE(take(way, arena)); /* the first one takes a chunk, or a run */
        start = bench_now_ns();
        for (uint64_t k = 0; k < n; k++)
            BENCH_ESCAPE(take(way, arena));
        ns = (double)(bench_now_ns() - start) / (double)n;
        best = ns < best ? ns : best;
        gc_arena_free(arena);
    }
    return best;
}

static void
keep(uint64_t mib)
{
    for (uint64_t i = 0; i < (mib << 20) / sizeof(struct node); i++) {
        struct node *node = gc_alloc(&node_type);

        node->next = kept;
        gc_write(&kept, node);
    }
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
        { "objects", 1000, "of each request" },
        { "requests", 2000, "in each round" },
        { "rounds", 11, "of all three ways" },
        { "live", 16, "MiB of objects that stay" },
    };
    static const char *const names[WAYS] = { "arena", "heap", "malloc" };

    bench_args(argc, argv, args, 4);
    objects = args[0].value;
    requests = args[1].value;
    rounds = args[2].value < ROUNDS_MAX ? args[2].value : ROUNDS_MAX;
    bench_check(gc_init(NULL) == GC_OK && gc_root_add(&kept, sizeof(kept)) == GC_OK, "gc_init");
    keep(args[3].value);
    bench_json_begin("arena", PEER_NAME, peer_version());
    for (uint64_t r = 0; r < rounds; r++)
        for (unsigned w = 0; w < WAYS; w++)
            run_way((enum way)w, r);
    for (unsigned w = 0; w < WAYS; w++) {
        char name[64];

        snprintf(name, sizeof(name), "%s_wall_ns", names[w]);
        bench_json_f64(name, median(wall[w]));
        snprintf(name, sizeof(name), "%s_cpu_ns", names[w]);
        bench_json_f64(name, median(cpu[w]));
        snprintf(name, sizeof(name), "%s_alloc_ns", names[w]);
        if (w != MALLOC)
            bench_json_f64(name, allocation((enum way)w));
    }
    bench_json_end();
    gc_root_remove(&kept);
    gc_shutdown();
    return 0;
}
