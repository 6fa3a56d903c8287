/* SPDX-License-Identifier: MIT */
/*
 * How long is a thread kept from its work while others allocate?
 *
 * The live heap is a table of records; a record (48 bytes) owns two leaves (24 bytes
 * without pointers).  Each mutator thread owns a part of the table and repeats, at full
 * speed and without rest:
 *
 *     replace a random record of its part and its leaves by new ones
 *     swap a leaf of one random record with a leaf of another
 *
 * The swap moves pointers about behind a marker's back, which is what a barrier is for, and
 * leaves every object with one owner, so malloc peers can do the same work.  The live heap
 * stays as large as it was.  A spinner thread only reads the clock and the heap: it never
 * calls the peer, so it sees what a computing thread of a host sees.
 *
 * Gaps between a thread's iterations are measured from outside (see bench_gaps in
 * support/bench.h for what "own" means), on spinners ("spin") and on mutators ("op"; an
 * iteration with a long assist or a long wait for memory counts).  The peer's own account
 * of its pauses is printed beside them.  The malloc peers show what the kernel alone does.
 */
#include PEER_HEADER

#include <stdatomic.h>
#include <time.h>

struct leaf {
    uint64_t stamp, spare[2];
};

struct record {
    struct leaf *leaf[2];
    uint64_t key, spare[3];
};

PEER_TYPE(record_type, struct record, 3, leaf);
PEER_TYPE_NOSCAN(leaf_type, struct leaf);

#define ENTRY_BYTES (sizeof(void *) + sizeof(struct record) + 2 * sizeof(struct leaf))

#define STAMP_LIMIT ((uint64_t)1 << 40)

struct job {
    struct record **table;
    uint64_t first, count; /* the mutator's part of the table */
    uint64_t seed, sum;
    struct bench_gaps gaps;
    atomic_int *stop;
};

static struct leaf *
new_leaf(uint64_t stamp)
{
    struct leaf *leaf = peer_alloc_noscan(sizeof(*leaf), &leaf_type);

    leaf->stamp = stamp;
    return leaf;
}

static struct record *
new_record(uint64_t key)
{
    struct leaf *a = new_leaf(key);
    struct leaf *b = new_leaf(~key);
    struct record *record = peer_alloc(sizeof(*record), &record_type);

    record->leaf[0] = a;
    record->leaf[1] = b;
    record->key = key;
    return record;
}

static void
free_record(struct record *record)
{
    peer_free(record->leaf[0]);
    peer_free(record->leaf[1]);
    peer_free(record);
}

static void
replace(struct record **slot, uint64_t key)
{
    struct record *old = *slot;

    peer_write(slot, new_record(key));
    free_record(old);
}

static void
swap_leaves(struct record *a, struct record *b)
{
    struct leaf *leaf = a->leaf[0];

    peer_write(&a->leaf[0], b->leaf[1]);
    peer_write(&b->leaf[1], leaf);
}

static struct record **
pick(struct job *job)
{
    return &job->table[job->first + bench_random_below(&job->seed, job->count)];
}

static void *
mutator_main(void *arg)
{
    struct job *job = arg;

    bench_gaps_start(&job->gaps);
    while (!atomic_load_explicit(job->stop, memory_order_relaxed)) {
        replace(pick(job), job->gaps.all.total + 1);
        swap_leaves(*pick(job), *pick(job));
        bench_gaps_tick(&job->gaps);
    }
    return NULL;
}

/* Reads only the table: with malloc peers the records may be freed under its eyes. */
static void *
spinner_main(void *arg)
{
    struct job *job = arg;

    bench_gaps_start(&job->gaps);
    while (!atomic_load_explicit(job->stop, memory_order_relaxed)) {
        job->sum += (uintptr_t)*pick(job);
        bench_gaps_tick(&job->gaps);
    }
    return NULL;
}

/* The starter waits outside the peer's reach, so it is no third busy thread. */
static void *
clock_main(void *arg)
{
    struct job *job = arg;
    uint64_t end = bench_now_ns() + job->count;
    struct timespec nap = {0, 20000000};

    while (bench_now_ns() < end)
        nanosleep(&nap, NULL);
    atomic_store_explicit(job->stop, 1, memory_order_relaxed);
    return NULL;
}

static void
fill(struct record **table, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        peer_write(&table[i], new_record(i + 1));
}

/* A stamp is some record's key or its complement: never 0, never an address. */
static int
is_stamp(uint64_t n)
{
    return n - 1 < STAMP_LIMIT || ~n - 1 < STAMP_LIMIT;
}

static void
check_table(struct record **table, uint64_t n)
{
    uint64_t bad = 0;

    for (uint64_t i = 0; i < n; i++) {
        const struct record *record = table[i];

        bad += !is_stamp(record->key) || record->leaf[0] == record->leaf[1];
        bad += !is_stamp(record->leaf[0]->stamp) || !is_stamp(record->leaf[1]->stamp);
    }
    bench_check(bad == 0, "records and leaves after the run");
}

static void
run(struct job *jobs, uint64_t nmutators, uint64_t nspinners, struct job *clock)
{
    pthread_t threads[BENCH_THREADS_MAX], ticker;

    for (uint64_t i = 0; i < nmutators + nspinners; i++)
        peer_thread_create(
                &threads[i], i < nmutators ? mutator_main : spinner_main, &jobs[i]);
    if (pthread_create(&ticker, NULL, clock_main, clock) != 0)
        bench_die("pthread_create failed");
    for (uint64_t i = 0; i < nmutators + nspinners; i++)
        peer_thread_join(threads[i]);
    pthread_join(ticker, NULL);
}

static void
report(struct job *jobs, uint64_t nmutators, uint64_t nspinners, uint64_t entries,
        uint64_t wall_ns, uint64_t cpu_ns, uint64_t cycles_before)
{
    static struct bench_gaps op, spin;
    struct bench_heap_stats heap;

    for (uint64_t i = 0; i < nmutators + nspinners; i++)
        bench_gaps_merge(i < nmutators ? &op : &spin, &jobs[i].gaps);
    bench_json_begin("pause", PEER_NAME, peer_version());
    bench_json_u64("live_bytes", entries * ENTRY_BYTES);
    bench_json_u64("mutators", nmutators);
    bench_json_u64("spinners", nspinners);
    bench_json_f64("wall_s", (double)wall_ns / 1e9);
    bench_json_f64("cpu_s", (double)cpu_ns / 1e9);
    bench_json_f64("ops_per_s", (double)op.all.total * 1e9 / (double)wall_ns);
    bench_json_gaps("op", &op);
    bench_json_gaps("spin", &spin);
    peer_json_pauses();
    peer_heap_stats(&heap);
    heap.cycles -= cycles_before;
    bench_json_heap(&heap);
    bench_json_end();
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"live", 64 << 20, "bytes of live heap"},
            {"mutators", 1, "allocating threads"},
            {"spinners", 1, "computing threads"},
            {"seconds", 10, "duration"},
            {"seed", 1, "random seed, not 0"},
    };
    static struct job jobs[BENCH_THREADS_MAX];
    struct bench_heap_stats before;
    atomic_int stop = 0;
    struct job clock = {.stop = &stop};
    uint64_t nmutators, nthreads, entries, start, cpu;
    struct record **table;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    nmutators = args[1].value;
    nthreads = nmutators + args[2].value;
    entries = args[0].value / ENTRY_BYTES;
    if (nmutators < 1 || nthreads > BENCH_THREADS_MAX || entries < nmutators * 16)
        bench_die("too few or too many threads, or too small a heap");
    peer_init();
    peer_type_init(record_type);
    table = peer_alloc_pointers(entries);
    fill(table, entries);
    for (uint64_t i = 0; i < nthreads; i++) {
        uint64_t part = i < nmutators ? entries / nmutators : entries;

        jobs[i].table = table;
        jobs[i].first = i < nmutators ? i * part : 0;
        jobs[i].count = part;
        jobs[i].seed = args[4].value * 0x9e3779b97f4a7c15ull + i + 1;
        jobs[i].stop = &stop;
    }
    clock.count = args[3].value * 1000000000u;
    peer_heap_stats(&before);
    start = bench_now_ns();
    cpu = bench_cpu_ns();
    run(jobs, nmutators, nthreads - nmutators, &clock);
    report(jobs, nmutators, nthreads - nmutators, entries, bench_now_ns() - start,
            bench_cpu_ns() - cpu, before.cycles);
    check_table(table, entries);
    peer_finish();
    return 0;
}
