/* SPDX-License-Identifier: MIT */
/*
 * What do write barriers cost programs that store a lot?
 *
 *     swap    two random slots of an array of pointers are swapped: two stores, two random
 *             numbers and nothing else
 *     sort    quicksort of an array of pointers to records, by the records' keys
 *     list    merge sort of a linked list by key: about one store to a link for each step
 *     front   a random node of a doubly linked list is moved to its front, as by an LRU
 *             cache: six stores
 *
 * Each is compiled twice, with gc_write and with plain stores (raw), and runs
 *
 *     raw     plain stores, no cycle
 *     off     gc_write, no cycle
 *     before  gc_write while a cycle is held before the scan of this thread's stack, so that
 *             the old and the new value are queued
 *     after   the same after the scan: the old value is
 *     cycling gc_write while a second thread asks for one collection after the other
 *
 * Nanoseconds of this thread's CPU time for a swap, an element, a move: the best of `reps`
 * runs, where raw and off take turns; percentages are those over raw.  In the held states
 * nearly all objects are marked after the first run, as late in a cycle.  Stores of other
 * kinds, one by one: stores.c.
 */
#include "peers/gcrt.h"

#include "../support/hold.h"

#include <time.h>

#define HELD_REPS 10 /* what is queued in a held cycle takes memory */

enum {
    CASE_SWAP,
    CASE_SORT,
    CASE_LIST,
    CASE_FRONT,
    NCASES
};

struct node {
    struct node *next, *prev;
    uint64_t key;
};

GC_TYPE(node_type, struct node, next, prev);

static struct node **table; /* a registered root: an array of all nodes */
static struct node *ends;   /* another one: stands before and behind the list */
static uint64_t count, seed = 1;

#define PUT(barrier, slot, value) \
    ((barrier) ? gc_write(slot, value) : (void)(*(slot) = (value)))

BENCH_INLINE void
swap(int barrier, uint64_t i, uint64_t k)
{
    struct node *node = table[i];

    PUT(barrier, &table[i], table[k]);
    PUT(barrier, &table[k], node);
}

BENCH_INLINE void
do_swap(int barrier)
{
    for (uint64_t i = 0; i < count; i++)
        swap(barrier, bench_random_below(&seed, count), bench_random_below(&seed, count));
}

/* Hoare's partition; the longer part is left for the loop. */
BENCH_INLINE void
do_sort(int barrier)
{
    struct {
        uint64_t from, to;
    } todo[64] = {{0, count}};
    int n = 1;

    while (n > 0) {
        uint64_t from = todo[--n].from, to = todo[n].to;
        uint64_t pivot, i = from, k = to - 1;

        if (to - from < 2)
            continue;
        pivot = table[from + (to - from) / 2]->key;
        for (;; i++, k--) {
            while (table[i]->key < pivot)
                i++;
            while (table[k]->key > pivot)
                k--;
            if (i >= k)
                break;
            swap(barrier, i, k);
        }
        if (k + 1 == from || k + 1 == to)
            k--;
        todo[n].from = k + 1 - from < to - k - 1 ? k + 1 : from;
        todo[n++].to = k + 1 - from < to - k - 1 ? to : k + 1;
        todo[n].from = k + 1 - from < to - k - 1 ? from : k + 1;
        todo[n++].to = k + 1 - from < to - k - 1 ? k + 1 : to;
    }
}

/* Both lists end with NULL; so does the merged one, which begins at first->next. */
BENCH_INLINE void
merge(int barrier, struct node *first, struct node *a, struct node *b)
{
    struct node *last = first;

    while (a != NULL && b != NULL) {
        struct node **less = a->key <= b->key ? &a : &b;

        PUT(barrier, &last->next, *less);
        last = *less;
        *less = last->next;
    }
    PUT(barrier, &last->next, a != NULL ? a : b);
}

/* runs[i] is a sorted list of 2^i nodes, or empty. */
BENCH_INLINE void
do_list(int barrier)
{
    struct node *runs[64] = {NULL}, *node, *next;
    struct node head = {NULL, NULL, 0};
    int i;

    for (node = ends->next; node != NULL; node = next) {
        next = node->next;
        PUT(barrier, &node->next, NULL);
        for (i = 0; runs[i] != NULL; i++) {
            merge(barrier, &head, runs[i], node);
            node = head.next;
            runs[i] = NULL;
        }
        runs[i] = node;
    }
    head.next = NULL;
    for (i = 0; i < 64; i++)
        if (runs[i] != NULL)
            merge(barrier, &head, runs[i], head.next);
    PUT(barrier, &ends->next, head.next);
}

BENCH_INLINE void
do_front(int barrier)
{
    for (uint64_t i = 0; i < count; i++) {
        struct node *node = table[bench_random_below(&seed, count)];

        PUT(barrier, &node->prev->next, node->next);
        PUT(barrier, &node->next->prev, node->prev);
        PUT(barrier, &node->next, ends->next);
        PUT(barrier, &node->prev, ends);
        PUT(barrier, &ends->next->prev, node);
        PUT(barrier, &ends->next, node);
    }
}

static BENCH_NOINLINE void
work_raw(int which)
{
    switch (which) {
    case CASE_SWAP:
        do_swap(0);
        break;
    case CASE_SORT:
        do_sort(0);
        break;
    case CASE_LIST:
        do_list(0);
        break;
    default:
        do_front(0);
    }
}

static BENCH_NOINLINE void
work(int which)
{
    switch (which) {
    case CASE_SWAP:
        do_swap(1);
        break;
    case CASE_SORT:
        do_sort(1);
        break;
    case CASE_LIST:
        do_list(1);
        break;
    default:
        do_front(1);
    }
}

/* The nodes in random order, in the table and in the list; in a ring for `front`. */
static void
prepare(int which)
{
    struct node *last = ends;

    for (uint64_t i = count - 1; i > 0; i--)
        swap(1, i, bench_random_below(&seed, i + 1));
    for (uint64_t i = 0; i < count; i++) {
        gc_write(&last->next, table[i]);
        gc_write(&table[i]->prev, last);
        last = table[i];
    }
    gc_write(&last->next, which == CASE_FRONT ? ends : NULL);
    gc_write(&ends->prev, last);
}

static void
check(int which)
{
    uint64_t n = 0, ordered = 1;

    for (struct node *node = ends->next; node != NULL && node != ends; node = node->next)
        n++;
    bench_check(n == count, "the length of the list");
    if (which == CASE_LIST)
        for (struct node *node = ends->next; node->next != NULL; node = node->next)
            ordered += node->key <= node->next->key;
    if (which == CASE_SORT)
        for (uint64_t i = 1; i < count; i++)
            ordered += table[i - 1]->key <= table[i]->key;
    bench_check(ordered == 1 || ordered == count, "the order");
}

static uint64_t
thread_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Runs once and keeps the best time. */
static void
once(void (*run)(int), int which, double *best)
{
    double spent;
    uint64_t start;

    prepare(which);
    start = thread_cpu_ns();
    run(which);
    spent = (double)(thread_cpu_ns() - start) / (double)count;
    if (*best == 0 || spent < *best)
        *best = spent;
    check(which);
}

static double
held(enum hold_at at, int which, uint64_t reps)
{
    double best;
    int held;

    do { /* what is waited for after the scan may be the end of marking already */
        best = 0;
        hold_begin(at);
        for (uint64_t i = 0; i < reps && i < HELD_REPS; i++)
            once(work, which, &best);
        held = hold_state(&gc_impl_self) != 0;
        hold_end();
    } while (!held);
    return best;
}

static double
cycling(int which, uint64_t reps)
{
    pthread_t collector;
    double best = 0;

    hold.caught = 0;
    hold_thread(&collector, hold_collect);
    for (uint64_t i = 0; i < reps; i++)
        once(work, which, &best);
    __atomic_store_n(&hold.caught, 1, __ATOMIC_RELEASE);
    peer_thread_join(collector);
    return best;
}

static void
report(int which, uint64_t reps)
{
    static const char *const names[] = {"swap", "sort", "list", "front"};
    double raw = 0, off = 0, before, after, cycle;

    for (uint64_t i = 0; i < reps; i++) {
        once(work_raw, which, &raw);
        once(work, which, &off);
    }
    before = held(HOLD_HYBRID, which, reps);
    after = held(HOLD_DELETION, which, reps);
    cycle = cycling(which, reps);
    bench_json_begin("barrier", PEER_NAME, peer_version());
    bench_json_text("case", names[which]);
    bench_json_f64("raw_ns", raw);
    bench_json_f64("off_ns", off);
    bench_json_f64("before_ns", before);
    bench_json_f64("after_ns", after);
    bench_json_f64("cycling_ns", cycle);
    bench_json_f64("off_percent", 100 * (off / raw - 1));
    bench_json_f64("before_percent", 100 * (before / raw - 1));
    bench_json_f64("after_percent", 100 * (after / raw - 1));
    bench_json_f64("cycling_percent", 100 * (cycle / raw - 1));
    bench_json_end();
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"case", 0, "0 swap, 1 sort, 2 list, 3 front"},
            {"count", 20000, "nodes"},
            {"reps", 30, "runs, of which the best one counts"},
    };
    gc_options opt;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    count = args[1].value;
    if (args[0].value >= NCASES || count < 2 || args[2].value < 1)
        bench_die("case must be 0 to 3, count at least 2, reps at least 1");
    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF; /* plain stores are right as long as nothing is collected */
    opt.periodic_ms = 0;
    if (gc_init(&opt) != GC_OK || gc_root_add(&table, sizeof(table)) != GC_OK
            || gc_root_add(&ends, sizeof(ends)) != GC_OK)
        bench_die(gc_last_error());
    gc_write(&table, gc_alloc_array(&gc_pointer_type, count));
    gc_write(&ends, gc_alloc(&node_type));
    for (uint64_t i = 0; i < count; i++) {
        gc_write(&table[i], gc_alloc(&node_type));
        table[i]->key = bench_random(&seed) >> 20;
    }
    report((int)args[0].value, args[2].value);
    gc_shutdown();
    return 0;
}
