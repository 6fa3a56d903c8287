/* SPDX-License-Identifier: MIT */
/*
 * Work buffers and their stacks: whatever four threads put, publish, share, steal and take,
 * in the end every item has come out exactly once.  First with one thread against a
 * multiset, in normal and in tiny mode.  The seed is printed; GCRT_SEED repeats a run.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "seed.h"

#include "alloc/base/rand.h"
#include "gc/work.h"

#define ITEMS   60000
#define THREADS 4

static struct os os;
static struct work work;
static unsigned char state[ITEMS + 1]; /* atomic: 0 not put, 1 in the queues, 2 taken */

enum { ABSENT, QUEUED, TAKEN };

static void
init(uint32_t nworkers, bool tiny)
{
    cr_assert(gcrt_work_init(&work, &os, nworkers, tiny));
    cr_assert(gcrt_work_is_empty(&work));
}

static void
finish(void)
{
    cr_assert(gcrt_work_is_empty(&work));
    gcrt_work_finish(&work, &os);
    cr_assert_eq(aword_load_relaxed(&os.reserved), 0);
    cr_assert_eq(aword_load_relaxed(&os.committed), 0);
}

static void
change(uintptr_t item, unsigned char from, unsigned char to)
{
    if (item == 0 || item > ITEMS
            || __atomic_exchange_n(&state[item], to, __ATOMIC_RELAXED) != from) {
        fprintf(stderr, "item %zu is not in state %d\n", (size_t)item, from);
        abort(); /* Criterion's own asserts jump, which only its thread may */
    }
}

static void
put(struct workqueue *q, uintptr_t item)
{
    change(item, ABSENT, QUEUED);
    workqueue_put(&work, q, item);
}

static bool
take(struct workqueue *q)
{
    if ((q->cur == NULL || q->cur->n == 0) && !gcrt_workqueue_refill(&work, q))
        return false;
    if (q->cur->n == 0)
        change(0, QUEUED, TAKEN); /* refill found a buffer without work */
    change(q->cur->slot[--q->cur->n], QUEUED, TAKEN);
    return true;
}

static size_t
count_private(const struct workqueue *q)
{
    return (q->cur == NULL ? 0 : q->cur->n) + (q->spare == NULL ? 0 : q->spare->n);
}

static size_t
count_state(unsigned char which)
{
    size_t n = 0;

    for (size_t i = 1; i <= ITEMS; i++)
        n += state[i] == which;
    return n;
}

/* Buffers that were ever taken from the pool are all on the free stack now. */
static void
expect_all_buffers_free(void)
{
    uint64_t used = aword_load_relaxed(&work.used);

    for (uint64_t i = 1; i < used; i++) {
        struct workbuf *buf = gcrt_work_take_empty(&work);

        cr_assert_eq(buf->n, 0);
        cr_assert_lt((size_t)(buf - work.pool), used, "a buffer is lost");
    }
    cr_assert_eq(aword_load_relaxed(&work.used), used);
    (void)gcrt_work_take_empty(&work);
    cr_assert_eq(aword_load_relaxed(&work.used), used + 1, "there is one too many");
}

/* ---- one thread ---- */

Test(work, an_empty_queue_has_nothing)
{
    struct workqueue q = { .stack = 0 };

    init(3, false);
    cr_assert_not(gcrt_workqueue_refill(&work, &q));
    cr_assert_not(gcrt_workqueue_publish(&work, &q));
    gcrt_workqueue_share(&work, &q);
    cr_assert_null(gcrt_work_pop_raw(&work));
    cr_assert_eq(aword_load_relaxed(&work.used), 1, "no buffer was taken");
    finish();
}

Test(work, publish_says_whether_there_was_work_and_gives_empty_buffers_back)
{
    struct workqueue q = { .stack = 2 };

    init(3, false);
    put(&q, 1);
    cr_assert(gcrt_work_is_empty(&work), "it is private");
    cr_assert(gcrt_workqueue_publish(&work, &q));
    cr_assert_null(q.cur);
    cr_assert_null(q.spare);
    cr_assert_not(gcrt_work_is_empty(&work));
    cr_assert(take(&q));
    cr_assert(gcrt_work_is_empty(&work));
    cr_assert_not(gcrt_workqueue_publish(&work, &q), "one empty buffer");
    cr_assert(gcrt_work_is_empty(&work), "which nobody can mistake for work");
    expect_all_buffers_free();
    finish();
}

Test(work, share_gives_about_half_away_but_never_the_last_few)
{
    init(1, false);
    for (uint32_t n = 0; n <= WORKBUF_SLOTS; n++) {
        struct workqueue q = { .stack = 1 }, other = { .stack = 0 };

        for (uint32_t i = 1; i <= n; i++)
            workqueue_put(&work, &q, i);
        gcrt_workqueue_share(&work, &q);
        cr_assert_eq(!gcrt_work_is_empty(&work), n > 4, "%u items", n);
        if (n > 4) {
            cr_assert_eq(q.cur->n, n - n / 2);
            cr_assert(gcrt_workqueue_refill(&work, &other));
            cr_assert_eq(other.cur->n, n / 2);
            for (uint32_t i = 0; i < n / 2; i++)
                cr_assert_eq(other.cur->slot[i], i + 1, "the older half");
            for (uint32_t i = 0; i < n - n / 2; i++)
                cr_assert_eq(q.cur->slot[i], n / 2 + i + 1);
            other.cur->n = 0;
        }
        if (q.cur != NULL)
            q.cur->n = 0;
        (void)gcrt_workqueue_publish(&work, &q);
        (void)gcrt_workqueue_publish(&work, &other);
    }
    expect_all_buffers_free();
    finish();
}

Test(work, share_gives_the_spare_buffer_away_as_a_whole)
{
    struct workqueue q = { .stack = 0 };

    init(0, false);
    for (uintptr_t i = 1; i <= WORKBUF_SLOTS + 1; i++)
        put(&q, i);
    cr_assert_eq(count_private(&q), WORKBUF_SLOTS + 1);
    gcrt_workqueue_share(&work, &q);
    cr_assert_eq(count_private(&q), 1);
    cr_assert_not(gcrt_work_is_empty(&work));
    while (take(&q))
        continue;
    cr_assert_eq(count_state(TAKEN), WORKBUF_SLOTS + 1);
    (void)gcrt_workqueue_publish(&work, &q);
    finish();
}

Test(work, a_border_between_two_buffers_is_not_hit_twice)
{
    struct workqueue q = { .stack = 0 };

    init(0, false);
    for (uintptr_t i = 1; i <= WORKBUF_SLOTS; i++)
        workqueue_put(&work, &q, i);
    for (int i = 0; i < 1000; i++) { /* up and down across the border */
        workqueue_put(&work, &q, 300);
        workqueue_put(&work, &q, 301);
        for (int k = 0; k < 3; k++) {
            if (q.cur->n == 0)
                cr_assert(gcrt_workqueue_refill(&work, &q));
            q.cur->n--;
        }
        workqueue_put(&work, &q, 302);
    }
    cr_assert_leq(aword_load_relaxed(&work.used), 3, "two buffers are enough");
    cr_assert(gcrt_work_is_empty(&work), "and none of them became public");
    q.cur->n = 0;
    if (q.spare != NULL)
        q.spare->n = 0;
    (void)gcrt_workqueue_publish(&work, &q);
    finish();
}

Test(work, stealing_begins_at_home_and_reaches_every_stack)
{
    init(7, false);
    for (uint32_t from = 0; from < 8; from++)
        for (uint32_t to = 0; to < 8; to++) {
            struct workqueue q = { .stack = from }, mine = { .stack = to };
            struct workqueue thief = { .stack = to };

            workqueue_put(&work, &q, 1);
            (void)gcrt_workqueue_publish(&work, &q);
            workqueue_put(&work, &mine, 2);
            (void)gcrt_workqueue_publish(&work, &mine);
            cr_assert(gcrt_workqueue_refill(&work, &thief));
            cr_assert(from == to || thief.cur->slot[0] == 2, "the own stack first");
            thief.cur->n = 0;
            cr_assert(gcrt_workqueue_refill(&work, &thief), "stack %u from %u", from, to);
            thief.cur->n = 0;
            (void)gcrt_workqueue_publish(&work, &thief);
        }
    expect_all_buffers_free();
    finish();
}

Test(work, raw_buffers_stay_apart)
{
    struct workqueue q = { .stack = 0 };
    struct workbuf *buf;

    init(2, false);
    for (uintptr_t i = 1; i <= 10; i++) {
        buf = gcrt_work_take_empty(&work);
        buf->slot[0] = i;
        buf->n = 1;
        gcrt_work_push_raw(&work, buf);
    }
    cr_assert_not(gcrt_work_is_empty(&work));
    cr_assert_not(gcrt_workqueue_refill(&work, &q), "nobody scans words as objects");
    for (uintptr_t i = 10; i >= 1; i--) {
        buf = gcrt_work_pop_raw(&work);
        cr_assert_not_null(buf);
        cr_assert_eq(buf->slot[0], i);
        gcrt_work_put_empty(&work, buf);
    }
    cr_assert_null(gcrt_work_pop_raw(&work));
    expect_all_buffers_free();
    finish();
}

/* One step of a thread with its own queue; items come from `next`. */
static void
random_step(struct workqueue *q, uint64_t *seed, aword *next)
{
    uint64_t dice = rand_below(seed, 1000);

    if (dice < 480) {
        uint64_t item = aword_add_relaxed(next, 1);

        if (item <= ITEMS)
            put(q, item);
    } else if (dice < 940) {
        (void)take(q);
    } else if (dice < 970) {
        gcrt_workqueue_share(&work, q);
    } else {
        (void)gcrt_workqueue_publish(&work, q);
    }
}

static void
one_thread(bool tiny)
{
    struct workqueue q[3] = { { .stack = 0 }, { .stack = 1 }, { .stack = 2 } };
    uint64_t seed = seed_of(tiny ? "one_thread (tiny)" : "one_thread");
    aword next = AWORD_INIT(1);

    init(2, tiny);
    cr_assert_eq(work.slots, tiny ? 4 : WORKBUF_SLOTS);
    while (aword_load_relaxed(&next) <= ITEMS) {
        struct workqueue *mine = &q[rand_below(&seed, 3)];

        random_step(mine, &seed, &next);
        cr_assert(mine->cur == NULL || mine->cur->n <= work.slots);
        cr_assert(mine->spare == NULL || mine->cur != NULL);
    }
    for (int i = 0; i < 3; i++)
        (void)gcrt_workqueue_publish(&work, &q[i]);
    while (take(&q[1]))
        continue;
    (void)gcrt_workqueue_publish(&work, &q[1]);
    cr_assert_eq(count_state(TAKEN), ITEMS);
    expect_all_buffers_free();
    finish();
}

Test(work, no_item_is_lost_and_none_comes_twice)
{
    one_thread(false);
}

Test(work, no_item_is_lost_in_tiny_mode)
{
    one_thread(true);
}

/* ---- four threads ---- */

static aword next_item = AWORD_INIT(1);
static uint64_t threads_seed;

static void *
put_and_take(void *arg)
{
    struct workqueue q = { .stack = (uint32_t)(uintptr_t)arg };
    uint64_t seed = threads_seed + q.stack;

    while (aword_load_relaxed(&next_item) <= ITEMS)
        random_step(&q, &seed, &next_item);
    (void)gcrt_workqueue_publish(&work, &q);
    while (take(&q)) /* what is left, all together */
        if (rand_below(&seed, 50) == 0)
            gcrt_workqueue_share(&work, &q);
    (void)gcrt_workqueue_publish(&work, &q);
    return NULL;
}

static void
four_threads(bool tiny)
{
    pthread_t threads[THREADS];
    struct workqueue q = { .stack = 0 };

    threads_seed = seed_of(tiny ? "four_threads (tiny)" : "four_threads");
    init(THREADS - 1, tiny);
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, put_and_take, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    while (take(&q)) /* what one published after another had looked */
        continue;
    (void)gcrt_workqueue_publish(&work, &q);
    cr_assert_eq(count_state(TAKEN), ITEMS);
    expect_all_buffers_free();
    finish();
}

Test(work, no_item_is_lost_between_four_threads)
{
    four_threads(false);
}

Test(work, no_item_is_lost_between_four_threads_in_tiny_mode)
{
    four_threads(true);
}

/* Words go raw from some threads to others, as stack scans hand them to markers. */
static void *
push_and_pop_raw(void *arg)
{
    uint64_t seed = threads_seed + (uint64_t)(uintptr_t)arg, item;
    struct workbuf *buf;

    while ((item = aword_add_relaxed(&next_item, 3)) + 2 <= ITEMS) {
        buf = gcrt_work_take_empty(&work);
        for (uint64_t i = 0; i < 3; i++) {
            change(item + i, ABSENT, QUEUED);
            buf->slot[buf->n++] = item + i;
        }
        gcrt_work_push_raw(&work, buf);
        if (rand_below(&seed, 2) != 0 && (buf = gcrt_work_pop_raw(&work)) != NULL) {
            for (uint32_t i = 0; i < buf->n; i++)
                change(buf->slot[i], QUEUED, TAKEN);
            gcrt_work_put_empty(&work, buf);
        }
    }
    return NULL;
}

Test(work, raw_buffers_come_out_once)
{
    pthread_t threads[THREADS];
    struct workbuf *buf;

    threads_seed = seed_of("raw_buffers_come_out_once");
    init(0, false);
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, push_and_pop_raw, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    while ((buf = gcrt_work_pop_raw(&work)) != NULL) {
        for (uint32_t i = 0; i < buf->n; i++)
            change(buf->slot[i], QUEUED, TAKEN);
        gcrt_work_put_empty(&work, buf);
    }
    cr_assert_eq(count_state(TAKEN), ITEMS / 3 * 3);
    expect_all_buffers_free();
    finish();
}

Test(work, every_change_of_a_stack_advances_its_tag)
{
    struct workbuf *buf;
    uint64_t tag;

    init(0, false);
    buf = gcrt_work_take_empty(&work);
    tag = aword_load_relaxed(&work.raw.top) >> 32;
    for (int i = 0; i < 100; i++) {
        gcrt_work_push_raw(&work, buf);
        cr_assert_eq(aword_load_relaxed(&work.raw.top) >> 32, ++tag);
        cr_assert_eq(gcrt_work_pop_raw(&work), buf);
        cr_assert_eq(aword_load_relaxed(&work.raw.top) >> 32, ++tag);
    }
    gcrt_work_put_empty(&work, buf);
    finish();
}

static ahalf over;

/* Three buffers come back while poppers still hold their old links. */
static void *
swap_buffers(void *arg)
{
    struct workbuf *first, *second;

    (void)arg;
    while (!ahalf_load_acquire(&over)) {
        first = gcrt_work_pop_raw(&work);
        second = gcrt_work_pop_raw(&work);
        if (first != NULL)
            change(first->slot[0], QUEUED, ABSENT);
        if (second != NULL)
            change(second->slot[0], QUEUED, ABSENT);
        if (first != NULL) {
            change(first->slot[0], ABSENT, QUEUED);
            gcrt_work_push_raw(&work, first);
        }
        if (second != NULL) {
            change(second->slot[0], ABSENT, QUEUED);
            gcrt_work_push_raw(&work, second);
        }
    }
    return NULL;
}

Test(work, a_buffer_that_comes_back_at_once_fools_no_popper)
{
    pthread_t threads[THREADS];

    init(0, false);
    for (uintptr_t i = 1; i <= 3; i++) {
        struct workbuf *buf = gcrt_work_take_empty(&work);

        buf->slot[0] = i;
        buf->n = 1;
        change(i, ABSENT, QUEUED);
        gcrt_work_push_raw(&work, buf);
    }
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, swap_buffers, NULL), 0);
    gcrt_os_sleep_ns(400 * 1000000);
    ahalf_store_release(&over, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++)
        change(gcrt_work_pop_raw(&work)->slot[0], QUEUED, TAKEN);
    cr_assert_null(gcrt_work_pop_raw(&work));
    finish();
}

/* ---- the pool ---- */

Test(work, a_smaller_pool_is_tried_when_the_system_refuses)
{
    os.fail_at = 1;
    init(1, false);
    cr_assert_eq(work.pool_bytes, (size_t)1 << 32);
    finish();
}

Test(work, a_pool_that_is_used_up_is_fatal, .signal = SIGABRT)
{
    init(1, false);
    aword_store_relaxed(&work.used, work.pool_bytes / sizeof(struct workbuf));
    (void)gcrt_work_take_empty(&work);
}
