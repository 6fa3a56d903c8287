/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_LITMUS_H
#define GCRT_TESTS_LITMUS_H

#include "alloc/base/atomic.h"

/*
 * A litmus test: two or three threads, each with a few accesses, and an outcome that the
 * memory model must forbid.  It is run over and over: threads meet, go through LITMUS_CELLS
 * independent copies in the same order, meet again, and the outcomes are counted.
 */

#define LITMUS_THREADS 3
#define LITMUS_CELLS   256

struct litmus {
    const char *name;
    unsigned nthreads;
    /* A control has an order weakened on purpose: its outcome is allowed, and wanted. */
    bool control;
    void (*reset)(size_t cell); /* one thread, nobody else runs */
    void (*run[LITMUS_THREADS])(size_t cell);
    bool (*forbidden)(size_t cell); /* one thread, after all have run */
};

/*
 * Runs the tests; the exit status.  Arguments: batches=, ms= (per test, whichever is over
 * first), seed=, only=N (one test by its number).  control=1 runs the controls instead, each
 * until its outcome has been seen; it fails if it has not after ms.
 */
int litmus_main(const char *name, int argc, char **argv, const struct litmus *tests, size_t n);

#endif
