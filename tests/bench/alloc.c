/* SPDX-License-Identifier: MIT */
/*
 * Objects that die young, and some that do not.
 *
 * Each thread allocates objects and writes their first words (two words and, from 24 bytes
 * on, a number).  The last `ring` objects are alive; a malloc peer frees the object that
 * leaves the ring.  So one operation is one allocation and one death, for all peers.
 *
 *     scan=1   the two words are pointers to the object itself: a collector sees real
 *              pointers, but no object keeps another one alive; scan=0: the same words in
 *              objects without pointers
 *     size=N   a constant at the call, as in a host's code
 *     size=0   one of the sizes at random, so that size and type are variables; without
 *              pointers it is a call for so many bytes, any number from 16 to 512
 *     keep=N   one in N objects survives: it goes to a table of `kept` pointers, where it
 *              takes the place of the oldest one, which dies
 *
 * The ring lies on the thread's stack, where stores need no barrier; the table is an object.
 * The loop first runs a tenth of the count untimed.  alloc.go does the same.
 */
#include PEER_HEADER

#define RING_MAX 1024
#define NSIZES   11

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
    PEER_TYPE(type##bytes, struct object##bytes, 3, left, right);         \
    PEER_TYPE_NOSCAN(plain##bytes, struct object##bytes);

#define CHURN(bytes, words)                                               \
    static BENCH_NOINLINE uint64_t                                        \
    churn##bytes(const struct job *job, uint64_t count)                   \
    {                                                                     \
        struct kind kind = { bytes, &type##bytes, 1 };                    \
                                                                          \
        return churn(job, count, &kind);                                  \
    }                                                                     \
    static BENCH_NOINLINE uint64_t                                        \
    churn_plain##bytes(const struct job *job, uint64_t count)             \
    {                                                                     \
        struct kind kind = { bytes, &plain##bytes, 0 };                   \
                                                                          \
        return churn(job, count, &kind);                                  \
    }

#define CASE(bytes, words)                                                \
    case bytes:                                                           \
        return job->scan ? churn##bytes(job, count) : churn_plain##bytes(job, count);

#define INIT(bytes, words) peer_type_init(type##bytes);
#define ROW(bytes, words)  { bytes, &type##bytes, 1 },

/* clang-format on */

SIZES(DECLARE)

/* What is allocated: in the constant cases all of it is known when compiling. */
struct kind {
    size_t size;
    const peer_type *type;
    int scan;
};

struct job {
    uint64_t count, size, ring, scan, keep, kept;
    void **table; /* of survivors, an object; NULL without any */
    uint64_t ns, sum;
    pthread_barrier_t *start;
};

BENCH_INLINE void **
fill(void **object, size_t size, uint64_t i)
{
    object[0] = object;
    object[1] = object;
    if (size > 16)
        object[2] = (void *)(uintptr_t)i;
    return object;
}

/* The object that leaves the ring dies, or one in `keep` displaces an old survivor. */
BENCH_INLINE void
leave(const struct job *job, void **object, uint64_t i)
{
    if (job->keep != 0 && i % job->keep == 0 && object != NULL) {
        void **slot = &job->table[i / job->keep % job->kept];
        void *oldest = *slot;

        peer_write(slot, (void *)object);
        peer_free(oldest);
    } else {
        peer_free(object);
    }
}

BENCH_INLINE uint64_t
empty_ring(void ***ring, uint64_t n)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < n; i++) {
        if (ring[i] != NULL)
            sum += ring[i][0] == ring[i] && ring[i][1] == ring[i];
        peer_free(ring[i]);
    }
    return sum;
}

/* Inlined once per size and kind, so that all but count and ring are constants. */
BENCH_INLINE uint64_t
churn(const struct job *job, uint64_t count, const struct kind *kind)
{
    void **ring[RING_MAX] = {0};
    uint64_t mask = job->ring - 1;

    BENCH_ESCAPE(ring);
    for (uint64_t i = 0; i < count; i++) {
        void **object = kind->scan ? peer_alloc(kind->size, kind->type)
                                   : peer_alloc_noscan(kind->size, kind->type);

        fill(object, kind->size, i);
        leave(job, ring[i & mask], i);
        ring[i & mask] = object;
    }
    BENCH_ESCAPE(ring);
    return empty_ring(ring, job->ring);
}

SIZES(CHURN)

static BENCH_NOINLINE uint64_t
churn_any(const struct job *job, uint64_t count)
{
    const struct kind kinds[NSIZES] = {SIZES(ROW)};
    void **ring[RING_MAX] = {0};
    uint64_t mask = job->ring - 1, seed = 1;

    BENCH_ESCAPE(ring);
    for (uint64_t i = 0; i < count; i++) {
        const struct kind *kind = &kinds[bench_random_below(&seed, NSIZES)];
        void **object = peer_alloc(kind->size, kind->type);

        fill(object, kind->size, i);
        leave(job, ring[i & mask], i);
        ring[i & mask] = object;
    }
    BENCH_ESCAPE(ring);
    return empty_ring(ring, job->ring);
}

static BENCH_NOINLINE uint64_t
churn_any_plain(const struct job *job, uint64_t count)
{
    void **ring[RING_MAX] = {0};
    uint64_t mask = job->ring - 1, seed = 1;

    BENCH_ESCAPE(ring);
    for (uint64_t i = 0; i < count; i++) {
        size_t size = 16 + bench_random_below(&seed, 497);

        leave(job, ring[i & mask], i);
        ring[i & mask] = fill(peer_alloc_bytes(size), size < 24 ? 16 : size, i);
    }
    BENCH_ESCAPE(ring);
    return empty_ring(ring, job->ring);
}

static uint64_t
run(const struct job *job, uint64_t count)
{
    switch (job->size) {
        SIZES(CASE)
    case 0:
        return job->scan ? churn_any(job, count) : churn_any_plain(job, count);
    default:
        bench_die("no such size");
    }
}

static void *
thread_main(void *arg)
{
    struct job *job = arg;
    uint64_t start;

    job->table = job->keep != 0 ? peer_alloc_pointers(job->kept) : NULL;
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
            {"size", 24, "bytes of an object; 0: several sizes at random"},
            {"threads", 1, "threads"},
            {"count", 100000000, "objects per thread"},
            {"ring", 64, "live objects per thread, a power of two"},
            {"scan", 1, "1: objects with pointers, 0: without"},
            {"keep", 0, "one in so many objects survives; 0: none"},
            {"kept", 65536, "survivors per thread"},
    };
    struct job jobs[BENCH_THREADS_MAX];
    pthread_barrier_t start;
    uint64_t nthreads, ring, cpu_ns;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    nthreads = args[1].value;
    ring = args[3].value;
    if (nthreads < 1 || nthreads > BENCH_THREADS_MAX || args[2].value < 10 * RING_MAX)
        bench_die("too few or too many threads or objects");
    if (ring < 1 || ring > RING_MAX || (ring & (ring - 1)) != 0 || args[6].value < 1)
        bench_die("ring must be a power of two, kept at least 1");
    peer_init();
    SIZES(INIT)
    pthread_barrier_init(&start, NULL, (unsigned)nthreads);
    for (uint64_t i = 0; i < nthreads; i++)
        jobs[i] = (struct job){args[2].value, args[0].value, ring, args[4].value,
                args[5].value, args[6].value, NULL, 0, 0, &start};
    cpu_ns = bench_cpu_ns();
    run_threads(jobs, nthreads);
    report(jobs, nthreads, bench_cpu_ns() - cpu_ns);
    peer_finish();
    return 0;
}
