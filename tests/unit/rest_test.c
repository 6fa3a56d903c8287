/* SPDX-License-Identifier: MIT */
/*
 * Where the coordinator rests another thread may fork, and what only the coordinator holds then is
 * lost for the child.  runner.c is part of this program, so that one can look at its rests.
 */
#include "byhand.h"

#include "gc/fork.h"

static void watched_rest(struct gc_heap *heap);

#define gcrt_fork_rest watched_rest
#include "gc/runner.c"
#undef gcrt_fork_rest

#define JOBS (2 * STEP_JOBS)

static struct runner_job jobs[JOBS];
static struct raw_words raw;
static size_t rests, seen;

static void
watched_rest(struct gc_heap *heap)
{
    cr_assert_eq(heap, the_heap);
    take_raw(&raw);
    rests++;
    seen += raw.n;
    cr_expect_eq(seen, rests < 2 ? STEP_JOBS : JOBS, "rest %zu: %zu words", rests, seen);
}

static void
do_nothing(struct gc_heap *heap, struct runner_job *job)
{
    (void)heap;
    (void)job;
}

Test(rest, words_of_waiting_jobs_are_handed_over_before_each_rest)
{
    begin_by_hand();
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i].fn = do_nothing;
        jobs[i].words[0] = gc_alloc_bytes(64);
        gcrt_runner_post(the_heap, &jobs[i]);
    }
    cr_expect_gt(gcrt_runner_collect(the_heap), 0);
    cr_expect_geq(rests, 2);
    cr_expect_eq(seen, JOBS);
    cr_expect_eq(gcrt_runner_run(the_heap, JOBS), JOBS);
    end_by_hand();
}
