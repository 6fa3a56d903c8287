/* SPDX-License-Identifier: MIT */
/*
 * What does marking on idle CPUs cost a host that wants them?
 *
 * A heap of `live` bytes is marked again and again.  Its only attached thread waits for that,
 * so that to the collector every CPU looks idle.  The host's own threads are not attached:
 *
 *     busy     count, without a break: how much do they get done?
 *     wakers   sleep a millisecond and look how late they are
 *
 * With collect=0 nobody collects: what the kernel alone does.  What idle marking costs beyond
 * the workers' share is in idle_cpu, in CPUs.
 */
#include "peers/gcrt.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <time.h>

struct link {
    struct link *next;
    uint64_t stamp, spare[2];
};

GC_TYPE(link_type, struct link, next);

struct job {
    atomic_int *stop;
    bool waker;
    uint64_t rounds;
    struct bench_hist late;
};

/* Lateness includes the timer's slack, which is set to the least there is. */
static void
wake_once(struct job *job)
{
    struct timespec nap = { 0, 1000000 };
    uint64_t start = bench_now_ns(), now;

    nanosleep(&nap, NULL);
    now = bench_now_ns();
    bench_hist_add(&job->late, now - start > 1000000 ? now - start - 1000000 : 0);
}

static void *
host_main(void *arg)
{
    struct job *job = arg;
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    while (!atomic_load_explicit(job->stop, memory_order_relaxed)) {
        if (job->waker)
            wake_once(job);
        else
            for (int i = 0; i < 1000; i++)
                BENCH_ESCAPE(&i);
        job->rounds++;
    }
    return NULL;
}

static void
make_live(struct link **lists, uint64_t bytes)
{
    uint64_t n = bytes / sizeof(struct link);

    for (uint64_t i = 0; i < n; i++) {
        struct link *l = gc_alloc(&link_type);

        l->next = lists[i % 64];
        gc_write(&lists[i % 64], l);
    }
}

static double
cpu_of(const char *name)
{
    gc_metric_sample s = { .name = name };

    bench_check(gc_metrics_read(NULL, &s, 1) == GC_OK, name);
    return s.kind == GC_METRIC_F64 ? s.value.f64 : 0;
}

/* Collects, or sleeps, until it is time; the number of collections. */
static uint64_t
keep_collecting(uint64_t end_ns, bool collect)
{
    struct timespec nap = { 0, 10000000 };
    uint64_t n = 0;

    for (; bench_now_ns() < end_ns; n += collect) {
        if (collect) {
            gc_collect(NULL);
        } else {
            GC_BLOCKING {
                nanosleep(&nap, NULL);
            }
        }
    }
    return n;
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
        { "live", 256 << 20, "bytes of live heap" },
        { "busy", 2, "counting threads" },
        { "wakers", 1, "sleeping threads" },
        { "collect", 1, "0: no collection" },
        { "threads", 0, "most marking threads; 0: one per CPU" },
        { "seconds", 5, "duration" },
    };
    static struct job jobs[BENCH_THREADS_MAX];
    static struct bench_hist late;
    pthread_t threads[BENCH_THREADS_MAX];
    atomic_int stop = 0;
    gc_options opt;
    uint64_t nbusy, n, start, end, rounds = 0, cycles;
    double idle, dedicated, seconds;
    struct link **lists;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    nbusy = args[1].value;
    n = nbusy + args[2].value;
    if (n > BENCH_THREADS_MAX || gc_options_from_env(&opt) != GC_OK)
        bench_die("too many threads, or a malformed environment");
    opt.threads = (uint32_t)args[4].value;
    if (gc_init(&opt) != GC_OK)
        bench_die(gc_last_error());
    lists = gc_alloc_array(&gc_pointer_type, 64);
    make_live(lists, args[0].value);
    gc_collect(NULL);
    idle = cpu_of("/cpu/classes/gc/mark/idle:cpu-seconds");
    dedicated = cpu_of("/cpu/classes/gc/mark/dedicated:cpu-seconds");
    start = bench_now_ns();
    end = start + args[5].value * 1000000000u;
    for (uint64_t i = 0; i < n; i++) {
        jobs[i] = (struct job){ .stop = &stop, .waker = i >= nbusy };
        if (pthread_create(&threads[i], NULL, host_main, &jobs[i]) != 0)
            bench_die("pthread_create failed");
    }
    cycles = keep_collecting(end, args[3].value != 0);
    atomic_store(&stop, 1);
    for (uint64_t i = 0; i < n; i++) {
        GC_BLOCKING {
            pthread_join(threads[i], NULL);
        }
        if (jobs[i].waker)
            bench_hist_merge(&late, &jobs[i].late);
        else
            rounds += jobs[i].rounds;
    }
    seconds = (double)(bench_now_ns() - start) / 1e9;
    bench_json_begin("manners", PEER_NAME, peer_version());
    bench_json_f64("rounds_per_s", (double)rounds / seconds);
    bench_json_hist("late", &late);
    bench_json_u64("cycles", cycles);
    bench_json_f64("idle_cpu", (cpu_of("/cpu/classes/gc/mark/idle:cpu-seconds") - idle) / seconds);
    bench_json_f64("dedicated_cpu",
            (cpu_of("/cpu/classes/gc/mark/dedicated:cpu-seconds") - dedicated) / seconds);
    bench_json_end();
    GC_KEEP_ALIVE(lists);
    peer_finish();
    return 0;
}
