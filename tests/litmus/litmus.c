/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the machine that litmus tests run on, see litmus.h.
 *
 * Place: linked into each program of this folder; it knows nothing of what they access.
 *
 * Concurrency: threads meet at a counting barrier twice per batch.  Thread 0 alone resets
 * and judges, between two batches.  Each thread idles a random while before each batch, so
 * that they pass each other at different cells.
 *
 * Cost: a batch takes some 20 us if the threads have a CPU each.
 */
#define _GNU_SOURCE /* pthread_barrier would sleep; we spin */

#include "litmus.h"

#include <pthread.h>
#include <sched.h>

#include "support.h"

struct runner {
    const struct litmus *test;
    uint64_t batches, until_ns; /* the budget */
    ahalf arrived, phase;       /* the barrier */
    ahalf stop;
    uint64_t done, hits;        /* thread 0's */
};

struct member {
    struct runner *runner;
    unsigned index;
};

static void
meet(struct runner *r)
{
    unsigned phase = ahalf_load_acquire(&r->phase);

    if (ahalf_add_full(&r->arrived, 1) + 1 == r->test->nthreads) {
        ahalf_store_relaxed(&r->arrived, 0);
        ahalf_store_release(&r->phase, phase + 1);
        return;
    }
    for (unsigned spins = 0; ahalf_load_acquire(&r->phase) == phase; spins++)
        if (spins < 2000)
            cpu_relax();
        else
            (void)sched_yield();
}

static void
judge(struct runner *r)
{
    for (size_t cell = 0; cell < LITMUS_CELLS; cell++)
        r->hits += r->test->forbidden(cell);
    r->done++;
    if (r->done >= r->batches || t_now_ns() >= r->until_ns || (r->test->control && r->hits != 0))
        ahalf_store_release(&r->stop, 1);
}

static void *
member_main(void *arg)
{
    struct member *m = arg;
    struct runner *r = m->runner;
    uint64_t rng = t_mix(t_seed() + m->index);

    for (;;) {
        if (m->index == 0)
            for (size_t cell = 0; cell < LITMUS_CELLS; cell++)
                r->test->reset(cell);
        meet(r);
        for (uint64_t i = t_below(&rng, 64); i > 0; i--)
            cpu_relax();
        for (size_t cell = 0; cell < LITMUS_CELLS; cell++)
            r->test->run[m->index](cell);
        meet(r);
        if (m->index == 0)
            judge(r);
        meet(r);
        if (ahalf_load_acquire(&r->stop))
            return NULL;
    }
}

static void
run_one(const struct litmus *test)
{
    struct runner r = { .test = test, .batches = (uint64_t)t_arg("batches", 4000),
        .until_ns = t_now_ns() + (uint64_t)t_arg("ms", 500) * 1000000 };
    struct member members[LITMUS_THREADS];
    pthread_t threads[LITMUS_THREADS];

    if (test->control)
        r.batches = UINT64_MAX;
    for (unsigned i = 0; i < test->nthreads; i++) {
        members[i] = (struct member){ &r, i };
        T_CHECK(pthread_create(&threads[i], NULL, member_main, &members[i]) == 0, "no thread");
    }
    for (unsigned i = 0; i < test->nthreads; i++)
        T_CHECK(pthread_join(threads[i], NULL) == 0, "lost thread");
    t_note("%s: %llu times, %s outcome %llu times", test->name,
            (unsigned long long)(r.done * LITMUS_CELLS),
            test->control ? "weakened, so allowed" : "forbidden", (unsigned long long)r.hits);
    if (test->control)
        T_CHECK(r.hits != 0, "%s: the outcome of the weakened order was not seen", test->name);
    else
        T_CHECK(r.hits == 0, "%s: a forbidden outcome", test->name);
}

int
litmus_main(const char *name, int argc, char **argv, const struct litmus *tests, size_t n)
{
    bool controls;
    int64_t only;
    size_t ran = 0;

    t_start(name, argc, argv);
    controls = t_arg("control", 0) != 0;
    only = t_arg("only", -1);
    for (size_t i = 0; i < n; i++)
        if (tests[i].control == controls && (only < 0 || (size_t)only == i)) {
            run_one(&tests[i]);
            ran++;
        }
    T_CHECK(ran != 0, "no such test");
    return 0;
}
