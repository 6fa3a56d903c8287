/* SPDX-License-Identifier: MIT */
/*
 * Purpose: after a peak the heap's memory goes back to the system while the program works on,
 * down to what its live data needs, and further when it rests.  What the heap says it has given
 * back, the process does not have any more; what is live stays as it was.
 *
 * Place: public interface only, and /proc.
 *
 * Concurrency: `threads` threads, each with its part of the live data, replace its blocks at
 * random; this one watches.
 *
 * Arguments: spike=MiB live=MiB threads=N release_ms=MS, 0 for none; scavtrace=1; warm=MS of
 * steady work before the peak.  trace=MS prints the memory and the work done so often, and then
 * for=MS says for how long; without them the program ends when the memory is
 * back, in a forked child, too.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB         ((size_t)1 << 20)
#define BLOCK_WORDS 32
#define BLOCK_BYTES (BLOCK_WORDS * sizeof(uint64_t))

struct worker {
    pthread_t thread;
    size_t nblocks;
    uint64_t seed;
    uint64_t blocks; /* atomic: replaced so far */
};

static int over, ready; /* atomic; ready: threads that have their live data */

static size_t
rss_bytes(void)
{
    unsigned long size, rss;
    FILE *f = fopen("/proc/self/statm", "r");

    T_CHECK(f != NULL && fscanf(f, "%lu %lu", &size, &rss) == 2, "statm");
    (void)fclose(f);
    return rss * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- the program ---- */

static uint64_t *
new_block(uint64_t value)
{
    uint64_t *block = gc_alloc_bytes(BLOCK_BYTES);

    for (size_t i = 0; i < BLOCK_WORDS; i++) {
        T_CHECK(block[i] == 0, "a new block is not zero");
        block[i] = value + i;
    }
    return block;
}

static void
check_block(const uint64_t *block)
{
    for (size_t i = 1; i < BLOCK_WORDS; i++)
        T_CHECK(block[i] == block[0] + i, "a live block was overwritten");
}

static void
steady(struct worker *w)
{
    uint64_t **table = gc_alloc_array(&gc_pointer_type, w->nblocks);

    for (size_t i = 0; i < w->nblocks; i++)
        gc_write(&table[i], new_block(i));
    __atomic_fetch_add(&ready, 1, __ATOMIC_RELAXED);
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        for (int i = 0; i < 100; i++) {
            size_t at = t_below(&w->seed, w->nblocks);

            check_block(table[at]);
            gc_write(&table[at], new_block(t_rand(&w->seed)));
        }
        __atomic_fetch_add(&w->blocks, 100, __ATOMIC_RELAXED);
    }
    for (size_t i = 0; i < w->nblocks; i++)
        check_block(table[i]);
    GC_KEEP_ALIVE(table);
}

static void *
worker_main(void *arg)
{
    T_OK(gc_thread_attach(NULL));
    steady(arg);
    gc_thread_detach();
    return NULL;
}

static void *
spike_main(void *arg)
{
    size_t n = *(const size_t *)arg / BLOCK_BYTES;
    uint64_t **table;

    T_OK(gc_thread_attach(NULL));
    table = gc_alloc_array(&gc_pointer_type, n);
    for (size_t i = 0; i < n; i++)
        gc_write(&table[i], new_block(i));
    GC_KEEP_ALIVE(table);
    gc_thread_detach();
    return NULL;
}

/* By a thread that ends: no stale word of its stack can keep the peak. */
static void
spike(size_t bytes)
{
    pthread_t thread;

    GC_BLOCKING
    {
        T_CHECK(pthread_create(&thread, NULL, spike_main, &bytes) == 0, "a thread");
        T_CHECK(pthread_join(thread, NULL) == 0, "pthread_join");
    }
}

/* ---- what is seen ---- */

struct memory {
    size_t rss, backed, free, goal, background;
};

static struct memory
look_once(void)
{
    gc_metric_sample all[] = { { .name = "/memory/classes/heap/released:bytes" },
        { .name = "/memory/classes/heap/free:bytes" },
        { .name = "/memory/classes/total:bytes" }, { .name = "/gc/heap/goal:bytes" },
        { .name = "/gc/scavenge/background:bytes" } };
    struct memory m = { .rss = rss_bytes() };

    T_OK(gc_metrics_read(NULL, all, sizeof all / sizeof all[0]));
    m.free = all[1].value.u64;
    m.backed = all[2].value.u64 - all[0].value.u64;
    m.goal = all[3].value.u64;
    m.background = all[4].value.u64;
    return m;
}

/* Threads allocate while this one waits for a CPU: what is not of one moment is looked at again. */
static struct memory
look(void)
{
    struct memory m;
    size_t now;

    do {
        m = look_once();
        now = rss_bytes();
    } while ((now > m.rss ? now - m.rss : m.rss - now) > MIB / 2);
    return m;
}

static uint64_t
work_done(const struct worker *w, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += __atomic_load_n(&w[i].blocks, __ATOMIC_RELAXED);
    return sum;
}

static uint64_t
cpu_us(void)
{
    struct rusage r;

    T_CHECK(getrusage(RUSAGE_SELF, &r) == 0, "getrusage");
    return (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000
        + (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static void
show(const struct worker *w, size_t n, uint64_t start, uint64_t every, uint64_t until)
{
    uint64_t before = work_done(w, n), first = before, cpu = cpu_us(), now = 0;

    for (uint64_t at = every; at <= until; at += every) {
        struct memory m;

        while (t_now_ms() < start + at)
            t_sleep_us(1000);
        m = look();
        now = work_done(w, n);
        (void)printf("%6.2f s: RSS %6.1f MiB, backed %6.1f, free %6.1f, goal %6.1f, "
                     "%.2f M blocks/s\n",
                (double)at / 1000, (double)m.rss / MIB, (double)m.backed / MIB,
                (double)m.free / MIB, (double)m.goal / MIB,
                (double)(now - before) / (double)every / 1000);
        before = now;
    }
    (void)printf("%.0f ns of CPU time a block\n", (double)(cpu_us() - cpu) * 1000
            / (double)(now - first));
}

/* Where memory is on its way to: the goal and 15 % more, for heap, metadata and all. */
static size_t
enough(const struct memory *m)
{
    return m->goal + m->goal / 100 * 15;
}

/*
 * Collects until the collector knows that the peak is over.  While a cycle waits for a CPU
 * threads may allocate up to its goal, all of it marked: then it is the peak's goal that remains.
 */
static void
end_peak(const struct memory *peak)
{
    struct memory m;

    do {
        t_collect_twice(NULL);
        m = look();
    } while (enough(&m) >= peak->backed);
}

static void
wait_for_goal(void)
{
    struct memory m;

    do {
        t_sleep_us(10000);
        m = look();
    } while (m.backed > enough(&m));
}

/* ---- all of it ---- */

static void
join_all(struct worker *w, size_t n)
{
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < n; i++)
        T_CHECK(pthread_join(w[i].thread, NULL) == 0, "pthread_join");
}

/* Nobody allocates: what is free goes, and no cycle is needed for it. */
static void
rest(void)
{
    uint64_t cycles = t_cycles(NULL);

    if (t_arg("release_ms", 0) > 10000)
        return; /* only the goal counts in a time like that of this program */
    while (look().free > 2 * MIB)
        t_sleep_us(10000);
    T_CHECK(t_cycles(NULL) - cycles <= 1, "memory went back by cycles, not by time");
}

static void
compare(const struct memory *peak)
{
    struct memory m = look();
    size_t given = peak->backed - m.backed, gone = peak->rss - m.rss;

    T_CHECK(peak->backed > m.backed, "backed %zu, then %zu", peak->backed, m.backed);
    T_CHECK(peak->rss > m.rss, "RSS %zu, then %zu", peak->rss, m.rss);
    T_CHECK(T_RSS_HAS_SHADOW || gone + 2 * MIB >= given / 100 * 95,
            "%zu bytes were given back, RSS fell by %zu", given, gone);
    t_note("RSS %.1f -> %.1f MiB, %.1f MiB given back", (double)peak->rss / MIB,
            (double)m.rss / MIB, (double)given / MIB);
}

/* A child has no scavenger, whatever its parent's was doing, until it needs one. */
static void
fork_in_the_middle(void)
{
    size_t before = look().background;
    int status;
    pid_t pid;

    spike(32 * MIB);
    t_collect_twice(NULL);
    while (look().background == before)
        t_sleep_us(100); /* it is at work */
    pid = fork();
    T_CHECK(pid >= 0, "fork");
    if (pid == 0) {
        t_hang_after(120);
        spike(32 * MIB);
        before = look().background;
        t_collect_twice(NULL);
        while (look().background == before)
            t_sleep_us(100);
        t_verify(NULL);
        gc_shutdown();
        _exit(0);
    }
    T_CHECK(waitpid(pid, &status, 0) == pid && status == 0, "wait status 0x%x",
            (unsigned)status);
}

static void
start_all(struct worker *w, size_t n, size_t live)
{
    for (size_t i = 0; i < n; i++) {
        w[i].nblocks = live / BLOCK_BYTES / n;
        w[i].seed = t_seed() + i;
        T_CHECK(pthread_create(&w[i].thread, NULL, worker_main, &w[i]) == 0, "a thread");
    }
    gc_block_enter();
    while (__atomic_load_n(&ready, __ATOMIC_RELAXED) < (int)n)
        t_sleep_us(1000);
    t_sleep_us((unsigned)t_arg("warm", 0) * 1000);
    gc_block_leave();
}

static void
run(struct worker *w, size_t n)
{
    uint64_t every = (uint64_t)t_arg("trace", 0), start;
    struct memory peak;

    spike((size_t)t_arg("spike", 96) * MIB);
    peak = look();
    end_peak(&peak);
    start = t_now_ms();
    gc_block_enter();
    if (every != 0) {
        show(w, n, start, every, (uint64_t)t_arg("for", 5000));
        join_all(w, n);
        gc_block_leave();
        return;
    }
    wait_for_goal();
    compare(&peak);
    join_all(w, n);
    rest();
    compare(&peak);
    gc_block_leave();
    t_verify(NULL);
    T_CHECK(look().background != 0, "who has done it?");
    gc_free_os_memory(NULL);
    T_CHECK(look().free <= MIB, "%zu bytes are free and backed", look().free);
    fork_in_the_middle();
}

int
main(int argc, char **argv)
{
    struct worker workers[16];
    gc_options opt;
    size_t n;

    t_start("release", argc, argv);
    t_hang_after(300);
    t_options(&opt);
    opt.heap_min = 4 * MIB;
    opt.release_ms = (uint32_t)t_arg("release_ms", 200);
    opt.debug_scavtrace = (int)t_arg("scavtrace", 0);
    T_OK(gc_init(&opt));
    memset(workers, 0, sizeof workers);
    n = (size_t)t_arg("threads", 2);
    start_all(workers, n, (size_t)t_arg("live", 12) * MIB);
    run(workers, n);
    gc_shutdown();
    return 0;
}
