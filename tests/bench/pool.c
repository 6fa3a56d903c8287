/* SPDX-License-Identifier: MIT */
/*
 * What does a pool cost beside a thread's own free list?
 *
 * Each of `threads` threads takes `batch` items, touches them and gives them back, `count`
 * pairs of get and put in all, and times itself; four ways by turns, `rounds` times:
 *     list     a free list in a thread-local variable, inlined: the least that reuse can cost
 *     pool     gc_pool_get, gc_pool_put
 *     malloc   malloc, free (with the C library's own cache of free blocks)
 *     alloc    gc_alloc and no put: the collector's way of giving back
 * Reported are medians over the rounds, in ns per pair, slowest thread each, and the median of
 * the ratio of pool to list within one round.  The Go twin does pool with sync.Pool.
 */
#include PEER_HEADER

#include <time.h>

struct item {
    struct item *next;
    uint64_t value[3];
};

GC_TYPE(item_type, struct item, next);

#define ROUNDS_MAX 101
#define BATCH_MAX  256

enum way { LIST, POOL, MALLOC, ALLOC, WAYS };

static __thread struct item *free_items __attribute__((tls_model("initial-exec")));
static gc_pool *pool;
static pthread_barrier_t gate;
static uint64_t batch, count, rounds, threads;
static double taken[BENCH_THREADS_MAX][WAYS][ROUNDS_MAX];

static BENCH_NOINLINE struct item *
list_slow(void)
{
    struct item *item = malloc(sizeof(*item));

    bench_check(item != NULL, "malloc");
    return item;
}

BENCH_INLINE void *
list_get(void)
{
    struct item *item = free_items;

    if (__builtin_expect(item == NULL, 0))
        return list_slow();
    free_items = item->next;
    return item;
}

BENCH_INLINE void
list_put(void *p)
{
    struct item *item = p;

    item->next = free_items;
    free_items = item;
}

BENCH_INLINE void *
pool_get(void)
{
    return gc_pool_get(pool);
}

BENCH_INLINE void
pool_put(void *p)
{
    gc_pool_put(pool, p);
}

BENCH_INLINE void *
heap_get(void)
{
    return gc_alloc(&item_type);
}

BENCH_INLINE void
heap_put(void *p)
{
    BENCH_ESCAPE(p);
}

BENCH_INLINE void *
malloc_get(void)
{
    return malloc(sizeof(struct item));
}

/* CPU time of the thread: others on the machine do not count. */
static uint64_t
thread_ns(void)
{
    struct timespec t;

    bench_check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0, "clock_gettime");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

BENCH_INLINE double
pairs(void *(*get)(void), void (*put)(void *))
{
    void *held[BATCH_MAX];
    uint64_t start = thread_ns(), n = count / batch;

    for (uint64_t i = 0; i < n; i++) {
        for (uint64_t k = 0; k < batch; k++) {
            struct item *item = get();

            item->value[0] = i;
            BENCH_ESCAPE(item);
            held[k] = item;
        }
        for (uint64_t k = 0; k < batch; k++)
            put(held[k]);
    }
    return (double)(thread_ns() - start) / (double)(n * batch);
}

static double
run_way(enum way way)
{
    switch (way) {
    case LIST:
        return pairs(list_get, list_put);
    case POOL:
        return pairs(pool_get, pool_put);
    case MALLOC:
        return pairs(malloc_get, free);
    default:
        return pairs(heap_get, heap_put);
    }
}

static void *
thread_main(void *arg)
{
    size_t self = (size_t)(uintptr_t)arg;

    for (uint64_t round = 0; round < rounds; round++)
        for (int way = 0; way < WAYS; way++) {
            gc_block_enter();
            (void)pthread_barrier_wait(&gate);
            gc_block_leave();
            taken[self][way][round] = run_way((enum way)way);
        }
    return NULL;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double
median(double *values)
{
    qsort(values, rounds, sizeof(*values), by_size);
    return values[rounds / 2];
}

static double
slowest(int way, uint64_t round)
{
    double most = 0;

    for (uint64_t i = 0; i < threads; i++)
        if (taken[i][way][round] > most)
            most = taken[i][way][round];
    return most;
}

static void
report(void)
{
    static const char *const keys[WAYS] = {"list_ns", "pool_ns", "malloc_ns", "alloc_ns"};
    double values[ROUNDS_MAX];
    gc_pool_stats s;

    bench_json_begin("pool", PEER_NAME, peer_version());
    bench_json_u64("threads", threads);
    bench_json_u64("batch", batch);
    for (int way = 0; way < WAYS; way++) {
        for (uint64_t i = 0; i < rounds; i++)
            values[i] = slowest(way, i);
        bench_json_f64(keys[way], median(values));
    }
    for (uint64_t i = 0; i < rounds; i++)
        values[i] = slowest(POOL, i) / slowest(LIST, i);
    bench_json_f64("ratio", median(values));
    bench_json_f64("ratio_min", values[0]);
    bench_json_f64("ratio_max", values[rounds - 1]);
    gc_pool_get_stats(pool, &s);
    bench_json_u64("misses", s.misses);
    bench_json_u64("hits", s.hits);
    bench_json_end();
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
        {"threads", 1, "threads at once"},
        {"batch", 1, "items held at a time, up to 256"},
        {"count", 20000000, "pairs of get and put per thread, way and round"},
        {"rounds", 11, "rounds, up to 101"},
    };
    pthread_t ids[BENCH_THREADS_MAX];

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    threads = args[0].value;
    batch = args[1].value;
    count = args[2].value;
    rounds = args[3].value;
    bench_check(threads >= 1 && threads <= BENCH_THREADS_MAX && batch >= 1
                    && batch <= BATCH_MAX && rounds >= 1 && rounds <= ROUNDS_MAX,
            "arguments out of range");
    peer_init();
    pool = gc_pool_create(NULL, &(gc_pool_options){ .type = &item_type });
    bench_check(pool != NULL, "gc_pool_create");
    bench_check(pthread_barrier_init(&gate, NULL, (unsigned)threads) == 0, "barrier");
    for (uint64_t i = 0; i < threads; i++)
        bench_check(gc_pthread_create(&ids[i], NULL, thread_main, (void *)(uintptr_t)i) == GC_OK,
                "gc_pthread_create");
    gc_block_enter();
    for (uint64_t i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    gc_block_leave();
    report();
    gc_pool_destroy(pool);
    peer_finish();
    return 0;
}
