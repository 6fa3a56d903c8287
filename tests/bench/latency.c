/* SPDX-License-Identifier: MIT */
/*
 * How late is the answer to a request, while the heap is collected?
 *
 * A thread gets requests at a fixed rate, whether or not it is ready for them (an open
 * loop): the latency of a request counts from the time at which it should have begun, so one
 * stall makes all requests late that fall into it.  A request makes 40 objects: a record of
 * 48 bytes with two leaves of 24 bytes, which replaces a random one of the live heap's table,
 * and a list of 37 cells of 32 bytes that is read and dropped.
 *
 * every=MS: another thread asks for one collection after the other, with so many
 * milliseconds between them; 0: the peer collects when it thinks it should.
 *
 * "all" is the whole latency.  "own" is without the time for which the thread was ready to
 * run but the kernel gave the CPU to others, counted from when it was last on time (schedstat,
 * see support/bench.h): what is left is the peer's doing, and page faults.  The thread sleeps
 * until shortly before a request and then waits busily, since timers are not exact.
 */
#include PEER_HEADER

#include <stdatomic.h>
#include <time.h>

#define CELLS     37
#define MARGIN_NS 100000 /* a sleep ends so long before the request */
#define STEP_NS   5000   /* a busy loop does not take so long */

struct leaf {
    uint64_t stamp, spare[2];
};

struct record {
    struct leaf *leaf[2];
    uint64_t key, spare[3];
};

struct cell {
    struct cell *next;
    uint64_t value[3];
};

PEER_TYPE(record_type, struct record, 3, leaf);
PEER_TYPE(cell_type, struct cell, 1, next);
PEER_TYPE_NOSCAN(leaf_type, struct leaf);

#define ENTRY_BYTES (sizeof(void *) + sizeof(struct record) + 2 * sizeof(struct leaf))

struct service {
    struct record **table; /* an object */
    uint64_t entries, seed, sum;
    uint64_t delay_ns; /* waited for a CPU, when last on time */
    int late;          /* not on time for the present request */
    struct bench_gaps meter;
    struct bench_hist all, own;
};

struct collector {
    uint64_t every_ms;
    atomic_int stop;
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

static struct cell *
new_cells(uint64_t key)
{
    struct cell *cells = NULL;

    for (uint64_t i = 0; i < CELLS; i++) {
        struct cell *cell = peer_alloc(sizeof(*cell), &cell_type);

        cell->next = cells;
        cell->value[0] = key + i;
        cells = cell;
    }
    return cells;
}

static uint64_t
use_up(struct cell *cells)
{
    uint64_t sum = 0;

    while (cells != NULL) {
        struct cell *next = cells->next;

        sum += cells->value[0];
        peer_free(cells);
        cells = next;
    }
    return sum;
}

static BENCH_NOINLINE void
serve(struct service *s)
{
    struct record **slot = &s->table[bench_random_below(&s->seed, s->entries)];
    struct record *old = *slot;

    s->sum += use_up(new_cells(old->key + old->leaf[0]->stamp));
    peer_write(slot, new_record(old->key));
    free_record(old);
}

static void
sleep_ns(uint64_t ns)
{
    struct timespec nap = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    nanosleep(&nap, NULL); /* a signal may end it early */
}

/*
 * Waits for the time of the next request; returns at once if it is late already.  A step of
 * the clock while waiting busily is a time in which others had the CPU.
 */
static void
wait_until(struct service *s, uint64_t intended)
{
    uint64_t now = bench_now_ns(), last = now;

    s->late = now >= intended;
    if (s->late)
        return;
    s->delay_ns = bench_gaps_delay_ns(&s->meter);
    while (now + 2 * MARGIN_NS < intended) {
        PEER_WAITS
        {
            sleep_ns(intended - MARGIN_NS - now);
        }
        last = now;
        now = bench_now_ns();
    }
    while (now < intended) {
        if (now - last > STEP_NS)
            s->delay_ns = bench_gaps_delay_ns(&s->meter);
        last = now;
        now = bench_now_ns();
    }
    s->late = now - last > STEP_NS;
}

BENCH_INLINE uint64_t
less(uint64_t ns, uint64_t waited)
{
    return ns > waited ? ns - waited : 0;
}

/* What was waited before the request is not taken off the time that serving it took. */
static void
timed(struct service *s, uint64_t intended)
{
    uint64_t begin_delay = s->late ? bench_gaps_delay_ns(&s->meter) : s->delay_ns;
    uint64_t begin = bench_now_ns(), end, delay, own, serving;

    serve(s);
    end = bench_now_ns();
    delay = bench_gaps_delay_ns(&s->meter);
    own = less(end - intended, delay - s->delay_ns);
    serving = less(end - begin, delay - begin_delay);
    bench_hist_add(&s->all, end - intended);
    bench_hist_add(&s->own, own > serving ? own : serving);
}

static void
run(struct service *s, uint64_t rate, uint64_t seconds)
{
    uint64_t step = 1000000000u / rate, intended;

    bench_gaps_start(&s->meter);
    s->delay_ns = bench_gaps_delay_ns(&s->meter);
    intended = bench_now_ns();
    for (uint64_t i = 0; i < rate * seconds; i++) {
        intended += step;
        wait_until(s, intended);
        timed(s, intended);
    }
}

static void *
collector_main(void *arg)
{
    struct collector *c = arg;

    while (!atomic_load(&c->stop)) {
        uint64_t until = bench_now_ns() + c->every_ms * 1000000u;

        peer_collect();
        PEER_WAITS
        {
            while (!atomic_load(&c->stop) && bench_now_ns() < until)
                sleep_ns(5000000);
        }
    }
    return NULL;
}

static void
run_collected(struct service *s, uint64_t rate, uint64_t seconds, uint64_t every_ms)
{
    struct collector c = {.every_ms = every_ms};
    pthread_t thread;

    if (every_ms > 0)
        peer_thread_create(&thread, collector_main, &c);
    run(s, rate, seconds);
    atomic_store(&c.stop, 1);
    if (every_ms > 0)
        peer_thread_join(thread);
}

static void
fill(struct service *s)
{
    s->table = peer_alloc_pointers(s->entries);
    for (uint64_t i = 0; i < s->entries; i++)
        peer_write(&s->table[i], new_record(i + 1));
}

static void
check(const struct service *s)
{
    uint64_t bad = 0;

    for (uint64_t i = 0; i < s->entries; i++) {
        const struct record *record = s->table[i];

        bad += record->key != i + 1 || record->leaf[0]->stamp != i + 1
                || record->leaf[1]->stamp != ~(i + 1);
    }
    bench_check(bad == 0, "records and leaves after the run");
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"live", 64 << 20, "bytes of live heap"},
            {"rate", 5000, "requests a second"},
            {"seconds", 10, "duration"},
            {"every", 500, "milliseconds between collections; 0: as the peer likes"},
    };
    struct service s = {.seed = 1}; /* on the stack, which is a root */
    struct bench_heap_stats before, heap;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    s.entries = args[0].value / ENTRY_BYTES;
    if (s.entries < 1 || args[1].value < 1 || args[1].value > 1000000)
        bench_die("live must be at least a record, rate 1 to 1000000");
    peer_init();
    peer_type_init(record_type);
    peer_type_init(cell_type);
    fill(&s);
    peer_heap_stats(&before);
    run_collected(&s, args[1].value, args[2].value, args[3].value);
    bench_json_begin("latency", PEER_NAME, peer_version());
    bench_json_u64("live_bytes", s.entries * ENTRY_BYTES);
    bench_json_u64("checksum", s.sum);
    bench_json_hist("all", &s.all);
    bench_json_hist("own", &s.own);
    peer_json_pauses();
    peer_heap_stats(&heap);
    heap.cycles -= before.cycles;
    bench_json_heap(&heap);
    bench_json_end();
    check(&s);
    peer_finish();
    return 0;
}
