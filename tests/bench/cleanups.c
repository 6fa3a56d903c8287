/* SPDX-License-Identifier: MIT */
/*
 * What do cleanups cost?
 *
 * `count` objects of 64 bytes, each held by a table, each with a cleanup (or with
 * finalizers=1 a finalizer) whose argument is another object when args=1.  Reported, in
 * nanoseconds of the process's CPU time an object: adding one; a forced cycle while all are
 * registered, less one of the same heap without any; and from the moment when all objects are
 * dropped, the cycle that makes them due, and the whole until the last has run.
 */
#include PEER_HEADER

#include <time.h>

struct record {
    struct record *other;
    uint64_t spare[7];
};

PEER_TYPE(record_type, struct record, 1, other);

static uint64_t ran; /* atomic */

static void
run(void *arg)
{
    (void)arg;
    __atomic_fetch_add(&ran, 1, __ATOMIC_RELAXED);
}

static void
run_finalizer(void *obj, void *arg)
{
    (void)obj;
    run(arg);
}

static uint64_t
best_cycle(unsigned n)
{
    uint64_t best = UINT64_MAX;

    while (n-- > 0) {
        uint64_t start = bench_cpu_ns(), ns;

        gc_collect(NULL);
        ns = bench_cpu_ns() - start;
        best = ns < best ? ns : best;
    }
    return best;
}

static void
fill(struct record **table, struct record **arg, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        gc_write(&table[i], gc_alloc(&record_type));
        gc_write(&arg[i], gc_alloc(&record_type));
    }
}

static uint64_t
add(struct record **table, struct record **arg, uint64_t n, int args, int finalizers)
{
    uint64_t start = bench_cpu_ns();

    for (uint64_t i = 0; i < n; i++) {
        void *a = args ? arg[i] : NULL;

        bench_check((finalizers ? gc_finalizer_set(table[i], run_finalizer, a)
                                : gc_cleanup_add(table[i], run, a, NULL)) == GC_OK, "add");
    }
    return bench_cpu_ns() - start;
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"count", 1000000, "objects with a cleanup"},
            {"args", 1, "1: the argument is an object"},
            {"finalizers", 0, "1: finalizers instead"},
    };
    const struct timespec nap = { .tv_nsec = 100000 };
    uint64_t n, bare, adding, with, start, due, all;
    struct record **table, **arg;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    n = args[0].value;
    peer_init();
    gc_set_gogc(NULL, GC_GOGC_OFF);
    table = peer_alloc_pointers(n + 1);
    arg = peer_alloc_pointers(n + 1);
    fill(table, arg, n);
    bare = best_cycle(5);
    adding = add(table, arg, n, args[1].value != 0, args[2].value != 0);
    with = best_cycle(5);
    gc_clear(&gc_pointer_type, table, n);
    start = bench_cpu_ns();
    gc_collect(NULL);
    due = bench_cpu_ns() - start;
    while (__atomic_load_n(&ran, __ATOMIC_RELAXED) < n)
        nanosleep(&nap, NULL);
    all = bench_cpu_ns() - start;
    bench_json_begin("cleanups", PEER_NAME, peer_version());
    bench_json_u64("count", n);
    bench_json_f64("add_ns", (double)adding / (double)n);
    bench_json_f64("cycle_bare_ms", (double)bare / 1e6);
    bench_json_f64("cycle_ns", ((double)with - (double)bare) / (double)n);
    bench_json_f64("due_cycle_ns", (double)due / (double)n);
    bench_json_f64("until_run_ns", (double)all / (double)n);
    bench_json_end();
    BENCH_ESCAPE(arg);
    peer_finish();
    return 0;
}
