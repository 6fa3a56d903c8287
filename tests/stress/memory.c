/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the books of memory, while many threads allocate: in every read the classes add up
 * to the total to the byte, and the total never falls; at rest they agree with what the os
 * layer has made ready, and the process has no more than they say.  And what the pacer believes
 * to be taken is not far above what is allocated, however many threads hold runs.
 *
 * Place: looks into struct gc_heap for the os layer's own counts.
 *
 * Concurrency: `threads` threads with `kinds` kinds of objects each; this one reads.
 *
 * Arguments: threads=N kinds=N reads=N.
 */

#define _GNU_SOURCE

#include "gc/heap.h"
#include "heapkit.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define MIB         ((size_t)1 << 20)
#define THREADS_MAX 64
#define CLASS_COUNT 32
#define METRICS_MAX 200

static int over; /* atomic */
static pthread_barrier_t gate;
static unsigned kinds;

/* ---- metrics ---- */

static gc_metric_sample samples[METRICS_MAX];
static size_t nsamples, total_at, released_at;

static void
find_classes(void)
{
    size_t n;
    const gc_metric_desc *all = gc_metrics_all(&n);

    for (size_t i = 0; i < n; i++)
        if (strncmp(all[i].name, "/memory/classes/", 16) == 0) {
            T_CHECK(nsamples < METRICS_MAX, "too many classes");
            if (strcmp(all[i].name, "/memory/classes/total:bytes") == 0)
                total_at = nsamples;
            if (strcmp(all[i].name, "/memory/classes/heap/released:bytes") == 0)
                released_at = nsamples;
            samples[nsamples++].name = all[i].name;
        }
    T_CHECK(nsamples > 9, "%zu classes only", nsamples);
}

/* Reads all classes of the heap and adds them up; returns the total. */
static uint64_t
read_total(gc_heap *heap)
{
    uint64_t sum = 0;

    T_OK(gc_metrics_read(heap, samples, nsamples));
    for (size_t i = 0; i < nsamples; i++)
        if (i != total_at)
            sum += samples[i].value.u64;
    T_CHECK(sum == samples[total_at].value.u64, "the classes are %llu bytes, the total is %llu",
            (unsigned long long)sum, (unsigned long long)samples[total_at].value.u64);
    return sum;
}

static uint64_t
metric(gc_heap *heap, const char *name)
{
    gc_metric_sample m = { .name = name };

    T_OK(gc_metrics_read(heap, &m, 1));
    return m.value.u64;
}

/* What the os layer has made ready, but for what was never touched of two mappings. */
static void
compare_with_os(gc_heap *heap)
{
    uint64_t untouched = heap->mheap.pagealloc_bytes + heap->work.pool_bytes, pages, bufs;

    pages = metric(heap, "/memory/classes/metadata/pages:bytes");
    bufs = metric(heap, "/memory/classes/metadata/workbufs:bytes");
    untouched -= pages + bufs;
    T_CHECK(read_total(heap) + untouched == aword_load_relaxed(&heap->os.committed),
            "the total is %llu, %llu are untouched, %llu were made ready",
            (unsigned long long)read_total(heap), (unsigned long long)untouched,
            (unsigned long long)aword_load_relaxed(&heap->os.committed));
}

/* ---- threads ---- */

static void
drop(const void *p)
{
    (void)p;
}

/* One object of each of the first kinds, so that a run of each is held. */
static void
touch_kinds(uint64_t *seed, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        drop(gc_alloc_bytes(16 + 48 * ((i + t_below(seed, 2)) % CLASS_COUNT)));
}

static void *
churn(void *arg)
{
    uint64_t seed = t_seed() + (uintptr_t)arg;

    T_OK(gc_thread_attach(NULL));
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        touch_kinds(&seed, kinds);
        drop(gc_alloc_bytes(32768 + t_below(&seed, 200000)));
    }
    gc_thread_detach();
    return NULL;
}

static void
read_while_they_run(unsigned threads, int64_t reads)
{
    pthread_t thread[THREADS_MAX];
    uint64_t before = 0, total;

    for (unsigned i = 0; i < threads; i++)
        T_CHECK(pthread_create(&thread[i], NULL, churn, (void *)(uintptr_t)i) == 0, "thread");
    for (int64_t i = 0; i < reads; i++) {
        total = read_total(NULL);
        T_CHECK(total >= before, "the total fell from %llu to %llu",
                (unsigned long long)before, (unsigned long long)total);
        before = total;
        if (i % 16 == 0)
            t_sleep_us(100);
    }
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < threads; i++)
        T_CHECK(pthread_join(thread[i], NULL) == 0, "pthread_join");
}

/* ---- many Ps ---- */

static void *
hold_runs(void *arg)
{
    uint64_t seed = t_seed() + (uintptr_t)arg;

    T_OK(gc_thread_attach(NULL));
    touch_kinds(&seed, kinds);
    (void)pthread_barrier_wait(&gate); /* every thread holds its runs */
    (void)pthread_barrier_wait(&gate); /* and has been counted */
    gc_thread_detach();
    return NULL;
}

/*
 * While so many threads hold runs of so many kinds, the pacer sees at most a first run of each
 * too much, and too little at most what each P keeps to itself.
 */
static int64_t
overcount(unsigned threads)
{
    pthread_t thread[THREADS_MAX];
    int64_t over_by;

    (void)pthread_barrier_init(&gate, NULL, threads + 1);
    t_collect_twice(NULL);
    for (unsigned i = 0; i < threads; i++)
        T_CHECK(pthread_create(&thread[i], NULL, hold_runs, (void *)(uintptr_t)i) == 0, "thread");
    gc_block_enter();
    (void)pthread_barrier_wait(&gate);
    over_by = (int64_t)(metric(NULL, "/gc/heap/pacing:bytes")
            - metric(NULL, "/memory/classes/heap/objects:bytes"));
    (void)pthread_barrier_wait(&gate);
    gc_block_leave();
    for (unsigned i = 0; i < threads; i++)
        T_CHECK(pthread_join(thread[i], NULL) == 0, "pthread_join");
    (void)pthread_barrier_destroy(&gate);
    return over_by;
}

/* ---- all of it ---- */

static size_t
rss_bytes(void)
{
    return t_proc_status_kib("VmRSS") << 10;
}

int
main(int argc, char **argv)
{
    gc_options opt;
    unsigned threads;
    int64_t over_by;
    size_t before;

    t_start("memory", argc, argv);
    t_hang_after(300);
    find_classes();
    t_options(&opt);
    opt.release_ms = 50;
    threads = (unsigned)t_arg("threads", 16);
    kinds = (unsigned)t_arg("kinds", 20);
    T_CHECK(threads <= THREADS_MAX, "threads: at most %d", THREADS_MAX);
    before = rss_bytes();
    T_OK(gc_init(&opt));
    compare_with_os(gc_thread_heap());
    over_by = overcount(threads);
    t_note("%u threads, %u kinds: the pacer sees %lld bytes too many", threads, kinds,
            (long long)over_by);
    T_CHECK(over_by <= (int64_t)(threads * kinds * RUN_BYTES_FIRST)
                    && over_by >= -(int64_t)(threads * (32u << 10)),
            "the pacer sees %lld bytes too many", (long long)over_by);
    read_while_they_run(threads, t_arg("reads", 20000));
    compare_with_os(gc_thread_heap());
    t_verify(NULL);
    gc_free_os_memory(NULL);
    compare_with_os(gc_thread_heap());
    T_CHECK(T_RSS_HAS_SHADOW
                    || rss_bytes() <= before + read_total(NULL)
                            - samples[released_at].value.u64 + 8 * MIB,
            "%zu bytes are resident", rss_bytes());
    gc_shutdown();
    return 0;
}
