/* SPDX-License-Identifier: MIT */
/*
 * What does allocation pay for marking?
 *
 * Some threads allocate short-lived nodes at full speed beside a live heap of one shape, so
 * that every cycle is short of time:
 *
 *     shape=0 records   objects of 64 bytes with two pointers each, behind one table
 *     shape=1 array     one array of pointers
 *     shape=2 list      one list of 32-byte nodes
 *     shape=3 traced    one object with a trace function, which reports each of its words
 *     shape=4 arrays    arrays of 32 KiB
 *
 * Reported are operations, gaps between them (bench_gaps: "own" is without waiting for a CPU),
 * single assists by wall and by CPU time, waits above the goal, and how far the heap was
 * above its goal when a sampler looked, each millisecond.  The first `exempt` threads never
 * assist; their operations and gaps are reported apart.
 */
#include "peers/gcrt.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

struct node {
    struct node *a, *b;
    uint64_t stamp, spare[5];
};

struct link {
    struct link *next;
    uint64_t stamp, spare[2];
};

static void trace_words(const void *obj, size_t bytes, gc_tracer *tracer);

GC_TYPE(node_type, struct node, a, b);
GC_TYPE(link_type, struct link, next);

static void
trace_words(const void *obj, size_t bytes, gc_tracer *tracer)
{
    gc_trace_words(tracer, obj, bytes / sizeof(void *));
}

#define RING   64
#define LEAVES 1024

struct job {
    uint64_t seed;
    bool exempt;
    struct bench_gaps gaps;
    atomic_int *stop;
};

struct sampler {
    atomic_int *stop;
    uint64_t end_ns, samples, above;
    double most, sum;
};

static struct node *
new_node(struct node *a, struct node *b)
{
    struct node *n = gc_alloc(&node_type);

    n->a = a;
    n->b = b;
    return n;
}

static void *
mutator_main(void *arg)
{
    struct job *job = arg;
    struct node *ring[RING] = { NULL };

#if !defined(ASSIST_BASELINE)
    if (job->exempt)
        gc_thread_set_assist(0);
#endif
    bench_gaps_start(&job->gaps);
    while (!atomic_load_explicit(job->stop, memory_order_relaxed)) {
        uint64_t i = bench_random(&job->seed);

        ring[i % RING] = new_node(NULL, NULL);
        ring[i / RING % RING] = new_node(NULL, NULL);
        BENCH_ESCAPE(ring);
        bench_gaps_tick(&job->gaps);
    }
    return NULL;
}

/* ---- the live heap ---- */

static void **
new_array(size_t words, uint64_t *seed, void **leaves)
{
    void **array = gc_alloc_array(&gc_pointer_type, words);

    for (size_t i = 0; i < words; i++)
        gc_write(&array[i], leaves[bench_random_below(seed, LEAVES)]);
    return array;
}

static void *
make_records(uint64_t bytes)
{
    uint64_t n = bytes / (sizeof(struct node) + sizeof(void *));
    void **table = gc_alloc_array(&gc_pointer_type, n);

    for (uint64_t i = 0; i < n; i++)
        gc_write(&table[i], (void *)new_node(i > 0 ? table[i - 1] : NULL, table[i / 2]));
    return table;
}

static void *
make_list(uint64_t bytes)
{
    struct link *first = NULL;

    for (uint64_t i = 0; i < bytes / sizeof(struct link); i++) {
        struct link *l = gc_alloc(&link_type);

        l->next = first;
        first = l;
    }
    return first;
}

static void *
make_arrays(uint64_t bytes, uint64_t *seed, void **leaves)
{
    size_t n = bytes >> 15;
    void **table = gc_alloc_array(&gc_pointer_type, n);

    for (size_t i = 0; i < n; i++)
        gc_write(&table[i], (void *)new_array(4096, seed, leaves));
    return table;
}

static void *
make_traced(uint64_t bytes, uint64_t *seed, void **leaves)
{
    gc_type_spec spec = { .name = "traced", .size = bytes, .form = GC_FORM_TRACED,
        .trace = trace_words };
    const gc_type *type;
    void **p;

    bench_check(gc_type_create(NULL, &spec, &type) == GC_OK, "a traced type");
    p = gc_alloc(type);
    for (size_t i = 0; i < bytes / sizeof(void *); i++)
        gc_write(&p[i], leaves[bench_random_below(seed, LEAVES)]);
    return p;
}

static void *
make_live(uint64_t shape, uint64_t bytes, uint64_t *seed)
{
    void **leaves = gc_alloc_array(&gc_pointer_type, LEAVES);

    for (size_t i = 0; i < LEAVES; i++)
        gc_write(&leaves[i], gc_alloc_bytes(32));
    switch (shape) {
    case 0:
        return make_records(bytes);
    case 1:
        return new_array(bytes / sizeof(void *), seed, leaves);
    case 2:
        return make_list(bytes);
    case 3:
        return make_traced(bytes, seed, leaves);
    default:
        return make_arrays(bytes, seed, leaves);
    }
}

/* ---- what the heap says ---- */

static double
metric(const char *name)
{
    gc_metric_sample s = { .name = name };

    bench_check(gc_metrics_read(NULL, &s, 1) == GC_OK, name);
    return s.kind == GC_METRIC_U64 ? (double)s.value.u64
        : s.kind == GC_METRIC_F64  ? s.value.f64
                                   : 0;
}

static void
sample(struct sampler *s)
{
    double part = metric("/gc/heap/pacing:bytes") / metric("/gc/heap/goal:bytes");

    s->samples++;
    s->above += part > 1;
    s->sum += part > 1 ? part - 1 : 0;
    s->most = part > s->most ? part : s->most;
}

static void *
sampler_main(void *arg)
{
    struct sampler *s = arg;
    struct timespec nap = { 0, 1000000 };

    while (bench_now_ns() < s->end_ns) {
        nanosleep(&nap, NULL);
        sample(s);
    }
    atomic_store_explicit(s->stop, 1, memory_order_relaxed);
    return NULL;
}

static void
report_hist(const char *prefix, const char *name)
{
    gc_metric_sample s = { .name = name, .value.hist = gc_histogram_create(name) };
    static const struct { const char *name; double q; } at[] = {
        { "p50_us", .5 }, { "p99_us", .99 }, { "p999_us", .999 }, { "max_us", 1 } };
    uint64_t n = 0;
    char key[64];

    if (s.value.hist == NULL)
        return;
    bench_check(gc_metrics_read(NULL, &s, 1) == GC_OK, name);
    for (size_t i = 0; i < s.value.hist->nbuckets; i++)
        n += s.value.hist->counts[i];
    (void)snprintf(key, sizeof(key), "%s_n", prefix);
    bench_json_u64(key, n);
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(key, sizeof(key), "%s_%s", prefix, at[i].name);
        bench_json_f64(key, gc_histogram_quantile(s.value.hist, at[i].q) * 1e6);
    }
    gc_histogram_free(s.value.hist);
}

static void
report_threads(const char *prefix, const struct job *jobs, uint64_t n, bool exempt,
        double seconds)
{
    static struct bench_gaps sum;
    uint64_t threads = 0;
    char key[64];

    memset(&sum, 0, sizeof(sum));
    for (uint64_t i = 0; i < n; i++)
        if (jobs[i].exempt == exempt) {
            bench_gaps_merge(&sum, &jobs[i].gaps);
            threads++;
        }
    if (threads == 0)
        return;
    (void)snprintf(key, sizeof(key), "%s_per_s", prefix);
    bench_json_f64(key, (double)sum.all.total / seconds);
    bench_json_gaps(prefix, &sum);
}

static void
report(const struct job *jobs, uint64_t n, const struct sampler *s, double seconds)
{
    report_threads("op", jobs, n, false, seconds);
    report_threads("exempt", jobs, n, true, seconds);
    report_hist("assist", "/gc/assist:seconds");
    report_hist("assist_cpu", "/gc/assist/cpu:seconds");
    report_hist("assist_thread", "/gc/assist/threads:seconds");
    report_hist("wait", "/gc/assist/waits:seconds");
    bench_json_f64("assist_cpu_s", metric("/cpu/classes/gc/mark/assist:cpu-seconds"));
    bench_json_f64("dedicated_cpu_s", metric("/cpu/classes/gc/mark/dedicated:cpu-seconds"));
    bench_json_f64("idle_cpu_s", metric("/cpu/classes/gc/mark/idle:cpu-seconds"));
    bench_json_f64("cycles", metric("/gc/cycles/total:gc-cycles"));
    bench_json_f64("heap_most_of_goal", s->most);
    bench_json_f64("heap_above_share", (double)s->above / (double)s->samples);
    bench_json_f64("heap_above_mean", s->sum / (double)s->samples);
}

static void
start_heap(uint32_t worker_percent_max)
{
    gc_options opt;

    if (gc_options_from_env(&opt) != GC_OK)
        bench_die(gc_last_error());
#if !defined(ASSIST_BASELINE)
    opt.worker_percent_max = worker_percent_max;
#endif
    if (gc_init(&opt) != GC_OK)
        bench_die(gc_last_error());
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
        { "shape", 0, "of the live heap, 0 to 4" },
        { "live", 64 << 20, "bytes of live heap" },
        { "mutators", 2, "allocating threads" },
        { "exempt", 0, "of these, threads that never assist" },
        { "seconds", 5, "duration" },
        { "most", 50, "worker_percent_max" },
        { "seed", 1, "random seed, not 0" },
    };
    static struct job jobs[BENCH_THREADS_MAX];
    pthread_t threads[BENCH_THREADS_MAX], ticker;
    atomic_int stop = 0;
    struct sampler sampler = { .stop = &stop };
    uint64_t n, seed, start;
    void *live;
    double seconds;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    n = args[2].value;
    seed = args[6].value;
    if (n < 1 || n > BENCH_THREADS_MAX)
        bench_die("too few or too many threads");
    start_heap((uint32_t)args[5].value);
    live = make_live(args[0].value, args[1].value, &seed);
    gc_collect(NULL);
    gc_collect(NULL);
    start = bench_now_ns();
    sampler.end_ns = start + args[4].value * 1000000000u;
    for (uint64_t i = 0; i < n; i++) {
        jobs[i] = (struct job){ .seed = seed + i + 1, .exempt = i < args[3].value, .stop = &stop };
        peer_thread_create(&threads[i], mutator_main, &jobs[i]);
    }
    if (pthread_create(&ticker, NULL, sampler_main, &sampler) != 0)
        bench_die("pthread_create failed");
    for (uint64_t i = 0; i < n; i++)
        peer_thread_join(threads[i]);
    GC_BLOCKING {
        pthread_join(ticker, NULL);
    }
    seconds = (double)(bench_now_ns() - start) / 1e9;
    bench_json_begin("assist", PEER_NAME, peer_version());
    report(jobs, n, &sampler, seconds);
    bench_json_end();
    GC_KEEP_ALIVE(live);
    peer_finish();
    return 0;
}
