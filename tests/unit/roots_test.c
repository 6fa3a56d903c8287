/* SPDX-License-Identifier: MIT */
/*
 * Registered ranges that come and go in steps, while a cycle begins, reads them, or ends.
 */
#include "byhand.h"

#include "gc/roots.h"

#include <gcrt/gcrt.h>
#include <time.h>

struct node {
    struct node *next;
    long number;
};

GC_TYPE(node_type, struct node, next);

/* 64 KiB: 16 steps of the shading. */
#define WORDS 8192

static struct node *global[WORDS];
static struct raw_words raw;

static uint64_t
shaded(void)
{
    return self()->nbarrier + aword_load_relaxed(&the_heap->counters.barrier_words);
}

/* What is done at the first handshake that a thread answers, and how much it had shaded. */
static struct {
    void (*fn)(void);
    uint64_t shaded;
    int calls;
} meanwhile;

static void
call_meanwhile(gc_tracer *tracer, void *arg)
{
    (void)tracer;
    (void)arg;
    meanwhile.calls++;
    meanwhile.shaded = shaded();
    if (meanwhile.fn != NULL)
        meanwhile.fn();
}

static void
add(void)
{
    cr_assert_eq(gc_root_add(global, sizeof(global)), GC_OK);
}

/* A range full of pointers to objects, and a thread in a cycle that is to be scanned. */
static void
begin(void (*fn)(void), bool registered)
{
    begin_by_hand();
    meanwhile.fn = fn;
    meanwhile.calls = 0;
    for (int i = 0; i < WORDS; i++)
        global[i] = gc_alloc(&node_type);
    if (registered)
        add();
    cr_assert_eq(gc_root_callback(call_meanwhile, NULL), GC_OK);
    self()->precise = true;
    aword_add_relaxed(&the_heap->cycles.started, 1);
    handshake(ACTION_BARRIER_ON);
    ask(ACTION_SCAN);
}

static void
end(void)
{
    cr_expect_eq(meanwhile.calls, 1);
    gc_root_callback_remove(call_meanwhile, NULL);
    self()->precise = false;
    take_raw(&raw);
    end_by_hand();
}

/* How often p is in all that has been handed over, which is more than raw has room for. */
static size_t
times_shaded(const void *p)
{
    struct workbuf *b;
    size_t n = 0;

    handshake(ACTION_FLUSH);
    while ((b = gcrt_work_pop_raw(&the_heap->work)) != NULL) {
        for (uint32_t i = 0; i < b->n; i++)
            n += (b->slot[i] & ~RAW_EXACT) == (uintptr_t)p;
        gcrt_work_put_empty(&the_heap->work, b);
    }
    return n;
}

Test(roots, a_range_that_leaves_is_shaded_in_steps)
{
    begin(NULL, true);
    gc_root_remove(global);
    cr_expect_gt(meanwhile.shaded, 0);
    cr_expect_lt(meanwhile.shaded, WORDS / 4, "and the thread answers in between");
    cr_expect_geq(shaded(), WORDS);
    cr_expect_eq(aword_load_relaxed(&the_heap->roots.bytes), 0);
    end();
}

Test(roots, a_range_that_comes_is_shaded_in_steps)
{
    begin(NULL, false);
    add();
    cr_expect_lt(meanwhile.shaded, WORDS / 4);
    cr_expect_geq(shaded(), WORDS);
    gc_root_remove(global);
    end();
}

static void
collect(void)
{
    (void)gcrt_roots_collect(the_heap);
}

/* What is not shaded yet a cycle finds in the range. */
Test(roots, a_range_that_leaves_is_read_to_the_end)
{
    begin(collect, true);
    gc_root_remove(global);
    cr_expect_eq(times_shaded(global[WORDS - 1]), 2, "read, and shaded");
    end();
}

static void
next_cycle(void)
{
    aword_add_relaxed(&the_heap->cycles.started, 1);
}

Test(roots, what_was_shaded_in_one_cycle_is_shaded_again_in_the_next)
{
    begin(next_cycle, true);
    gc_root_remove(global);
    cr_expect_eq(times_shaded(global[0]), 2);
    end();
}

/* ---- while it is read ---- */

static ahalf removed;

static void *
remove_global(void *arg)
{
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    gc_root_remove(global);
    ahalf_store_release(&removed, 1);
    gc_thread_detach();
    return arg;
}

static void
nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000 * 1000 }, NULL);
}

/* As the coordinator does, who holds the lock when it begins. */
static void
read_it(void)
{
    aword_store_release(&the_heap->roots.reading, (uintptr_t)the_heap->roots.ranges);
}

Test(roots, a_range_that_is_read_stays_until_the_reader_has_left_it)
{
    pthread_t thread;

    begin_by_hand();
    add();
    read_it();
    GC_BLOCKING {
        cr_assert_eq(pthread_create(&thread, NULL, remove_global, NULL), 0);
        nap();
        cr_expect_eq(ahalf_load_acquire(&removed), 0);
        cr_expect_neq(the_heap->roots.ranges, NULL);
        aword_store_release(&the_heap->roots.reading, 0);
        pthread_join(thread, NULL);
    }
    cr_expect_eq(ahalf_load_acquire(&removed), 1);
    cr_expect_null(the_heap->roots.ranges);
    end_by_hand();
}

/* ---- and when it begins to be read as the range is about to go ---- */

static pthread_t coordinator;
static ahalf has_lock;
static bool was_there;

static void *
begin_to_read(void *arg)
{
    struct roots *roots = &the_heap->roots;

    gcrt_lock_acquire(&roots->lock);
    ahalf_store_release(&has_lock, 1);
    nap();
    read_it(); /* who removes it has waited for the lock since */
    gcrt_lock_release(&roots->lock);
    nap();
    gcrt_lock_acquire(&roots->lock);
    was_there = roots->ranges != NULL;
    aword_store_release(&roots->reading, 0);
    gcrt_lock_release(&roots->lock);
    return arg;
}

static void
start_coordinator(void)
{
    cr_assert_eq(pthread_create(&coordinator, NULL, begin_to_read, NULL), 0);
    while (!ahalf_load_acquire(&has_lock))
        nap();
}

Test(roots, a_range_that_begins_to_be_read_stays_until_the_reader_has_left_it)
{
    begin(start_coordinator, true);
    gc_root_remove(global);
    pthread_join(coordinator, NULL);
    cr_expect(was_there);
    cr_expect_null(the_heap->roots.ranges);
    end();
}
