/* SPDX-License-Identifier: MIT */
/*
 * Objects that die young.
 *
 * Each thread allocates objects of one size and writes their first words (two pointers and,
 * from 24 bytes on, a number).  The last `ring` objects are alive; a malloc peer frees the
 * object that leaves the ring.  So one operation is one allocation and one death, for all
 * peers.  The pointers point to the object itself: a collector sees real pointers, but no
 * object keeps another one alive.
 *
 * The size is a constant at the call, as in a host's code.  The ring lies on the thread's
 * stack, where stores need no barrier.  The loop first runs a tenth of the count untimed.
 */
#include PEER_HEADER

#define RING_MAX 1024

/* Macros that make types and functions are laid out like those. */
/* clang-format off */

/* X(bytes, words behind the two pointers) */
#define SIZES(X)                                                          \
    X(16, 0) X(24, 1) X(32, 2) X(48, 4) X(64, 6) X(96, 10) X(128, 14)     \
    X(192, 22) X(256, 30) X(384, 46) X(512, 62)

#define DECLARE(bytes, words)                                             \
    struct object##bytes {                                                \
        void *left, *right;                                               \
        long rest[words];                                                 \
    };                                                                    \
    PEER_TYPE(type##bytes, struct object##bytes, 3, left, right);

#define CHURN(bytes, words)                                               \
    static BENCH_NOINLINE uint64_t                                        \
    churn##bytes(uint64_t count, uint64_t ring_size)                      \
    {                                                                     \
        return churn(bytes, &type##bytes, count, ring_size);              \
    }

#define CASE(bytes, words)                                                \
    case bytes:                                                           \
        return churn##bytes(count, job->ring);

#define INIT(bytes, words) peer_type_init(type##bytes);

/* clang-format on */

SIZES(DECLARE)

struct job {
    uint64_t count, size, ring;
    uint64_t ns, sum;
    pthread_barrier_t *start;
};

/* Inlined once per size, so that size and type are constants. */
BENCH_INLINE uint64_t
churn(size_t size, const peer_type *type, uint64_t count, uint64_t ring_size)
{
    void **ring[RING_MAX] = {0};
    uint64_t mask = ring_size - 1, sum = 0;

    BENCH_ESCAPE(ring);
    for (uint64_t i = 0; i < count; i++) {
        void **object = peer_alloc(size, type);

        object[0] = object;
        object[1] = object;
        if (size > 16)
            object[2] = (void *)(uintptr_t)i;
        peer_free(ring[i & mask]);
        ring[i & mask] = object;
    }
    BENCH_ESCAPE(ring);
    for (uint64_t i = 0; i < ring_size; i++) {
        if (ring[i] != NULL)
            sum += ring[i][0] == ring[i] && ring[i][1] == ring[i];
        peer_free(ring[i]);
    }
    return sum;
}

SIZES(CHURN)

static uint64_t
run(const struct job *job, uint64_t count)
{
    switch (job->size) {
        SIZES(CASE)
    default:
        bench_die("no such size");
    }
}

static void *
thread_main(void *arg)
{
    struct job *job = arg;
    uint64_t start;

    run(job, job->count / 10);
    pthread_barrier_wait(job->start);
    start = bench_now_ns();
    job->sum = run(job, job->count);
    job->ns = bench_now_ns() - start;
    return NULL;
}

static void
run_threads(struct job *jobs, uint64_t nthreads)
{
    pthread_t threads[BENCH_THREADS_MAX];

    for (uint64_t i = 1; i < nthreads; i++)
        peer_thread_create(&threads[i], thread_main, &jobs[i]);
    thread_main(&jobs[0]);
    for (uint64_t i = 1; i < nthreads; i++)
        peer_thread_join(threads[i]);
}

static void
report(const struct job *jobs, uint64_t nthreads, uint64_t cpu_ns)
{
    struct bench_heap_stats heap;
    uint64_t worst = 0, objects = 0;

    for (uint64_t i = 0; i < nthreads; i++) {
        bench_check(jobs[i].sum == jobs[i].ring, "what the ring's objects hold");
        worst = jobs[i].ns > worst ? jobs[i].ns : worst;
        objects += jobs[i].count;
    }
    bench_json_begin("alloc", PEER_NAME, peer_version());
    bench_json_u64("size", jobs[0].size);
    bench_json_u64("threads", nthreads);
    bench_json_u64("objects", objects);
    bench_json_f64("ns_per_object", (double)worst / (double)jobs[0].count);
    bench_json_f64("cpu_ns_per_object", (double)cpu_ns / (double)(objects + objects / 10));
    peer_heap_stats(&heap);
    bench_json_heap(&heap);
    bench_json_end();
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"size", 24, "bytes of an object"},
            {"threads", 1, "threads"},
            {"count", 100000000, "objects per thread"},
            {"ring", 64, "live objects per thread, a power of two"},
    };
    struct job jobs[BENCH_THREADS_MAX];
    pthread_barrier_t start;
    uint64_t nthreads, ring, cpu_ns;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    nthreads = args[1].value;
    ring = args[3].value;
    if (nthreads < 1 || nthreads > BENCH_THREADS_MAX || args[2].value < 10 * RING_MAX)
        bench_die("too few or too many threads or objects");
    if (ring < 1 || ring > RING_MAX || (ring & (ring - 1)) != 0)
        bench_die("ring must be a power of two");
    peer_init();
    SIZES(INIT)
    pthread_barrier_init(&start, NULL, (unsigned)nthreads);
    for (uint64_t i = 0; i < nthreads; i++)
        jobs[i] = (struct job){args[2].value, args[0].value, ring, 0, 0, &start};
    cpu_ns = bench_cpu_ns();
    run_threads(jobs, nthreads);
    report(jobs, nthreads, bench_cpu_ns() - cpu_ns);
    peer_finish();
    return 0;
}
