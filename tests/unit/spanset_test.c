/* SPDX-License-Identifier: MIT */
/*
 * The lock-free set of spans against an array used as a stack, and then under four threads:
 * every pushed span is popped exactly once and none is lost, also when threads put back
 * what they have popped, and when the roles of two sets change under their hands.
 * The seed is printed; GCRT_SEED repeats the single-threaded runs.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "seed.h"

#include "alloc/base/rand.h"
#include "alloc/spanset.h"

#define SPANS   512
#define THREADS 4

static struct mspan spans[SPANS];

/* ---- one thread ---- */

Test(spanset, a_zeroed_set_is_empty)
{
    struct spanset set = { { 0 } };

    cr_assert(spanset_is_empty(&set));
    cr_assert_null(gcrt_spanset_pop(&set, spans));
}

Test(spanset, the_first_and_the_last_descriptor_come_back)
{
    struct spanset set = { { 0 } };

    gcrt_spanset_push(&set, spans, &spans[0]);
    cr_assert_not(spanset_is_empty(&set), "page 0 is not taken for `none`");
    gcrt_spanset_push(&set, spans, &spans[SPANS - 1]);
    cr_assert_eq(gcrt_spanset_pop(&set, spans), &spans[SPANS - 1]);
    cr_assert_eq(gcrt_spanset_pop(&set, spans), &spans[0]);
    cr_assert(spanset_is_empty(&set));
}

Test(spanset, every_change_advances_the_tag)
{
    struct spanset set = { { 0 } };
    uint64_t tag = aword_load_relaxed(&set.top) >> 32;

    for (int i = 0; i < 100; i++) {
        gcrt_spanset_push(&set, spans, &spans[3]);
        cr_assert_eq(aword_load_relaxed(&set.top) >> 32, ++tag);
        cr_assert_eq(gcrt_spanset_pop(&set, spans), &spans[3]);
        cr_assert_eq(aword_load_relaxed(&set.top) >> 32, ++tag);
    }
    cr_assert_null(gcrt_spanset_pop(&set, spans));
    cr_assert_eq(aword_load_relaxed(&set.top) >> 32, tag, "nothing changed");
}

Test(spanset, the_tag_wraps)
{
    struct spanset set = { { (uint64_t)UINT32_MAX << 32 } };

    gcrt_spanset_push(&set, spans, &spans[7]);
    cr_assert_eq(aword_load_relaxed(&set.top), 8, "tag 0, number 8");
    cr_assert_eq(gcrt_spanset_pop(&set, spans), &spans[7]);
}

/* Three sets and an array for each: the most recently pushed one comes first. */
struct model {
    struct spanset set[3];
    size_t pushed[3][SPANS];
    size_t n[3];
};

static void
model_push(struct model *m, unsigned which, size_t span)
{
    gcrt_spanset_push(&m->set[which], spans, &spans[span]);
    m->pushed[which][m->n[which]++] = span;
}

/* The span, or SPANS when the set is empty; both sides must agree. */
static size_t
model_pop(struct model *m, unsigned which)
{
    struct mspan *s = gcrt_spanset_pop(&m->set[which], spans);
    size_t want = m->n[which] == 0 ? SPANS : m->pushed[which][--m->n[which]];

    cr_assert_eq(s == NULL ? SPANS : (size_t)(s - spans), want);
    cr_assert_eq(spanset_is_empty(&m->set[which]), m->n[which] == 0);
    return want;
}

Test(spanset, random_steps_agree_with_a_stack)
{
    static struct model m;
    uint64_t seed = seed_of("random_steps_agree_with_a_stack");

    for (size_t i = 0; i < SPANS; i++)
        model_push(&m, (unsigned)rand_below(&seed, 3), i);
    for (int step = 0; step < 200000; step++) {
        size_t span = model_pop(&m, (unsigned)rand_below(&seed, 3));

        if (span != SPANS)
            model_push(&m, (unsigned)rand_below(&seed, 3), span);
    }
    cr_assert_eq(m.n[0] + m.n[1] + m.n[2], SPANS);
    for (unsigned i = 0; i < 3; i++)
        while (model_pop(&m, i) != SPANS)
            continue;
}

/* ---- four threads ---- */

static struct spanset shared[2];
static int owned[SPANS];     /* atomic: 1 while a thread holds the span */
static int plain[SPANS];     /* written by the holder without atomics: push to pop orders it */
static int popped[SPANS];    /* atomic: pops in all */
static int stop;             /* atomic */
static unsigned generation;  /* atomic: which of the two sets is the near one */

static void
run_threads(void *(*run)(void *), unsigned ms)
{
    pthread_t threads[THREADS];
    struct timespec wait = { 0, (long)ms * 1000000 };

    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, run, (void *)(i + 1)), 0);
    while (ms != 0 && nanosleep(&wait, &wait) != 0)
        continue;
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static struct mspan *
pop_owned(struct spanset *set)
{
    struct mspan *s = gcrt_spanset_pop(set, spans);
    size_t i = (size_t)(s - spans);

    if (s == NULL)
        return NULL;
    if (__atomic_exchange_n(&owned[i], 1, __ATOMIC_RELAXED) != 0) {
        fprintf(stderr, "span %zu was popped twice\n", i);
        abort(); /* Criterion's own asserts jump, which only its thread may */
    }
    __atomic_fetch_add(&popped[i], 1, __ATOMIC_RELAXED);
    plain[i]++;
    return s;
}

static void
push_owned(struct spanset *set, struct mspan *s)
{
    __atomic_store_n(&owned[s - spans], 0, __ATOMIC_RELAXED);
    gcrt_spanset_push(set, spans, s);
}

/* Each span is in one set, once, and its plain counter has lost no increment. */
static size_t
count_all(void)
{
    size_t n = 0;
    struct mspan *s;

    for (int i = 0; i < 2; i++)
        while ((s = gcrt_spanset_pop(&shared[i], spans)) != NULL) {
            cr_assert_eq(__atomic_exchange_n(&owned[s - spans], 2, __ATOMIC_RELAXED), 0,
                    "span %zu is in two places", (size_t)(s - spans));
            cr_assert_eq(plain[s - spans], popped[s - spans]);
            n++;
        }
    return n;
}

static void
fill_shared(void)
{
    for (size_t i = 0; i < SPANS; i++)
        gcrt_spanset_push(&shared[i % 2], spans, &spans[i]);
}

static void *
push_own_share(void *arg)
{
    size_t self = (size_t)arg - 1;

    for (size_t i = self; i < SPANS; i += THREADS)
        gcrt_spanset_push(&shared[0], spans, &spans[i]);
    return NULL;
}

static void *
pop_all(void *arg)
{
    (void)arg;
    while (pop_owned(&shared[0]) != NULL)
        continue;
    return NULL;
}

Test(spanset, what_four_threads_push_four_threads_pop_once)
{
    for (int round = 1; round <= 500; round++) {
        run_threads(push_own_share, 0);
        run_threads(pop_all, 0);
        for (size_t i = 0; i < SPANS; i++) {
            cr_assert_eq(popped[i], round, "span %zu was popped %d times", i, popped[i]);
            owned[i] = 0;
        }
    }
}

/* Holds up to 8 spans and gives them back to a random set. */
static void *
move_spans(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    struct mspan *held[8];
    size_t n = 0;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t dice = rand_next(&seed);

        if (n < 8 && dice & 1) {
            held[n] = pop_owned(&shared[dice >> 1 & 1]);
            n += held[n] != NULL;
        } else if (n > 0) {
            push_owned(&shared[dice >> 1 & 1], held[--n]);
        }
    }
    while (n > 0)
        push_owned(&shared[0], held[--n]);
    return NULL;
}

Test(spanset, no_span_is_lost_between_two_sets)
{
    fill_shared();
    run_threads(move_spans, 400);
    cr_assert_eq(count_all(), SPANS);
}

/* A small set makes the same span come back while a popper still holds its old link. */
Test(spanset, a_span_that_comes_back_at_once_fools_no_popper)
{
    for (size_t i = 0; i < 5; i++)
        gcrt_spanset_push(&shared[0], spans, &spans[i]);
    run_threads(move_spans, 400);
    cr_assert_eq(count_all(), 5);
}

/*
 * The pattern of mcentral's claim: choose the far set by the generation, pop, look at the
 * generation again, and put the span back on the other side if it has advanced meanwhile.
 */
static void *
claim_and_put_back(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        unsigned before = __atomic_load_n(&generation, __ATOMIC_ACQUIRE), now;
        struct mspan *s = pop_owned(&shared[1 - before % 2]);

        now = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
        if (s != NULL)
            push_owned(&shared[(now == before ? 0 : 1) ^ (now % 2)], s);
        if (rand_below(&seed, 64) == 0)
            __atomic_fetch_add(&generation, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

Test(spanset, no_span_is_lost_when_sides_change)
{
    fill_shared();
    run_threads(claim_and_put_back, 400);
    cr_assert_eq(count_all(), SPANS);
    cr_assert_gt(generation, 1, "the sides did change");
}
