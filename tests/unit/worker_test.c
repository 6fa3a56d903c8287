/* SPDX-License-Identifier: MIT */
/*
 * A worker's session, its share, its manners in idle time, and the look for termination,
 * without the worker's thread: the file is part of this program, what it does to `activity` is
 * watched on the way, and its clocks and the kernel's answer to a yield are scripted.
 */
#include "byhand.h"

#include "gc/worker.h"

static uint64_t watched_add(aword *w, uint64_t x);

static uint64_t fake_now = 1000000000, fake_cpu, yield_takes;
static unsigned yields;

static uint64_t
fake_now_ns(void)
{
    return fake_now;
}

static uint64_t
fake_cpu_ns(void)
{
    return fake_cpu;
}

static void
fake_yield(void)
{
    yields++;
    fake_now += yield_takes;
}

#define aword_add_full        watched_add
#define gcrt_os_now_ns        fake_now_ns
#define gcrt_os_thread_cpu_ns fake_cpu_ns
#define gcrt_os_yield         fake_yield
#include "gc/worker.c"
#undef aword_add_full
#undef gcrt_os_now_ns
#undef gcrt_os_thread_cpu_ns
#undef gcrt_os_yield

static struct worker *worker; /* the one whose session is watched */
static unsigned ended;

/* When a worker counts itself out it holds nothing. */
static uint64_t
watched_add(aword *w, uint64_t x)
{
    if (worker != NULL && x == (uint64_t)0 - 1) {
        ended++;
        cr_expect_null(worker->marker.queue.cur);
        cr_expect_null(worker->marker.queue.spare);
        cr_expect_eq(worker->marker.nbatch, 0);
        cr_expect_eq(worker->marker.marked, 0);
        cr_expect_eq(worker->marker.scanned, 0);
    }
    return aword_add_full(w, x);
}

static void
run_session(void)
{
    struct session session;

    worker = &the_heap->marking.workers[0];
    aword_store_relaxed(&worker->share, MILLION);
    session_begin(&session);
    (void)mark_session(worker, &session);
    worker = NULL;
}

static struct raw_words raw;

Test(worker, a_session_ends_with_empty_hands)
{
    void **array;

    begin_by_hand();
    array = gc_alloc_array(&gc_pointer_type, 60000);
    for (int i = 0; i < 60000; i++)
        array[i] = gc_alloc_array(&gc_pointer_type, 1);
    to_marking();
    take_raw(&raw);
    push_raw_word(array);
    run_session();
    cr_expect_eq(ended, 1);
    cr_expect_eq((uint32_t)aword_load_relaxed(&the_heap->marking.activity), 0);
    cr_expect_gt(aword_load_relaxed(&the_heap->marking.heap_work), 1000);
    end_by_hand();
}

Test(worker, who_wakes_after_marking_has_closed_marks_nothing)
{
    void *object;

    begin_by_hand();
    object = gc_alloc_bytes(100);
    push_raw_word(object);
    run_session();
    cr_expect_not(is_marked(object));
    cr_expect_eq((uint32_t)aword_load_relaxed(&the_heap->marking.activity), 0);
    take_raw(&raw);
    cr_expect_eq(raw.n, 1);
    end_by_hand();
}

Test(worker, marking_is_quiet_when_nobody_marks_and_no_work_is_visible)
{
    begin_by_hand();
    cr_expect(gcrt_marking_is_quiet(the_heap));
    gcrt_marking_begin(the_heap);
    cr_expect_not(gcrt_marking_is_quiet(the_heap));
    gcrt_marking_begin(the_heap);
    gcrt_marking_end(the_heap);
    cr_expect_not(gcrt_marking_is_quiet(the_heap));
    gcrt_marking_end(the_heap);
    cr_expect(gcrt_marking_is_quiet(the_heap));
    push_raw_word(the_heap);
    cr_expect_not(gcrt_marking_is_quiet(the_heap));
    take_raw(&raw);
    end_by_hand();
}

Test(worker, shares_add_up_to_what_the_pacer_gave)
{
    cr_expect_eq(share_of(2500000, 0), MILLION, "a thread is one CPU at most");
    cr_expect_eq(share_of(2500000, 1), MILLION);
    cr_expect_eq(share_of(2500000, 2), MILLION / 2);
    cr_expect_eq(share_of(2500000, 3), 0);
}

/* ---- the share over time ---- */

#define US ((uint64_t)1000)
#define MS ((uint64_t)1000 * 1000)

static void
ran(uint64_t wall_ns, uint64_t cpu_ns)
{
    fake_now += wall_ns;
    fake_cpu += cpu_ns;
}

static void
set_share(struct worker *w, uint64_t share, uint64_t base)
{
    aword_store_relaxed(&w->share, share);
    aword_store_relaxed(&w->base, base);
}

/* A heap whose goal is far, with one worker on one CPU, which a mutator uses. */
static struct worker *
begin_worker(struct session *s)
{
    begin_by_hand();
    the_heap->cpus = 1;
    aword_store_relaxed(&the_heap->cycles.goal, UINT64_MAX / 2);
    session_begin(s);
    return &the_heap->marking.workers[0];
}

Test(worker, a_share_is_earned_by_the_time_that_passes)
{
    struct session s;
    struct worker *w = begin_worker(&s);

    set_share(w, MILLION / 4, MILLION / 4);
    s.in_share = true;
    ran(MS, MS);
    cr_expect_eq(after_quantum(w, &s), 3 * MS + 1, "750 us too much, at a quarter of a CPU");
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.worker_ns), MS);
    ran(3 * MS, 0);
    (void)book_time(w, &s);
    cr_expect(may_run(w, &s), "paid back");
    ran(100 * MS, 0);
    set_share(w, MILLION, MILLION / 4);
    (void)book_time(w, &s);
    ran(MS, 2 * MS);
    (void)book_time(w, &s);
    cr_expect_eq(s.spare_ns, (int64_t)(99 * MS), "by the share of now, up to now");
    end_by_hand();
}

Test(worker, what_is_done_above_the_pacers_share_is_booked)
{
    struct session s;
    struct worker *w = begin_worker(&s);

    set_share(w, MILLION, MILLION / 4);
    s.in_share = true;
    ran(MS, MS);
    cr_expect_eq(after_quantum(w, &s), 0);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.worker_ns), MS);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.extra_ns), 3 * MS / 4);
    end_by_hand();
}

/* ---- manners ---- */

/* A quantum of idle time, of which the thread had so much; the pause that follows. */
static uint64_t
idle_quantum(struct worker *w, struct session *s, uint64_t wall_ns, uint64_t cpu_ns)
{
    s->in_share = false;
    ran(wall_ns, cpu_ns);
    return after_quantum(w, s);
}

Test(worker, idle_time_ends_when_somebody_takes_the_cpu)
{
    struct session s;
    struct worker *w = begin_worker(&s);
    uint64_t away = BACKOFF_MIN;

    set_share(w, 0, 0);
    ahalf_store_relaxed(&the_heap->marking.inside, 0);
    cr_expect(may_run(w, &s));
    cr_expect_eq(idle_quantum(w, &s, 40 * US, 40 * US), 0);
    cr_expect_eq(yields, 1, "the CPU is offered after each quantum");
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.idle_ns), 40 * US);
    for (int i = 0; i < 8; i++) {
        yield_takes = 3 * MS;
        cr_expect_neq(idle_quantum(w, &s, 40 * US, 40 * US), 0, "somebody was there");
        cr_expect_not(may_run(w, &s));
        ran(away - 1, 0);
        (void)book_time(w, &s);
        cr_expect_not(may_run(w, &s), "%d: not yet", i);
        ran(1, 0);
        (void)book_time(w, &s);
        cr_expect(may_run(w, &s), "%d: now", i);
        away = min_size(2 * away, BACKOFF_MAX);
    }
    cr_expect_eq(yields, 9);
    ahalf_store_relaxed(&the_heap->marking.inside, 1);
    cr_expect_not(may_run(w, &s), "a mutator uses the CPU");
    cr_expect_neq(idle_quantum(w, &s, 40 * US, 40 * US), 0);
    ahalf_store_relaxed(&the_heap->marking.inside, 1);
    end_by_hand();
}

Test(worker, idle_time_ends_when_the_kernel_took_the_cpu_itself)
{
    struct session s;
    struct worker *w = begin_worker(&s);

    set_share(w, 0, 0);
    ahalf_store_relaxed(&the_heap->marking.inside, 0);
    cr_expect_neq(idle_quantum(w, &s, 100 * US, 40 * US), 0);
    cr_expect_eq(yields, 0, "that is known");
    cr_expect_not(may_run(w, &s));
    ahalf_store_relaxed(&the_heap->marking.inside, 1);
    end_by_hand();
}

Test(worker, above_the_goal_idle_cpus_are_taken_without_asking)
{
    struct session s;
    struct worker *w = begin_worker(&s);

    set_share(w, 0, 0);
    ahalf_store_relaxed(&the_heap->marking.inside, 0);
    cr_expect_neq(idle_quantum(w, &s, 100 * US, 40 * US), 0);
    cr_expect_not(may_run(w, &s));
    use(gc_alloc_bytes(100000));
    aword_store_relaxed(&the_heap->cycles.goal, 1);
    cr_expect(may_run(w, &s));
    cr_expect_eq(idle_quantum(w, &s, 100 * US, 40 * US), 0);
    cr_expect_eq(yields, 0);
    ahalf_store_relaxed(&the_heap->marking.inside, 1);
    end_by_hand();
}

/* ---- workers before mutators ---- */

static uint64_t
extra(void)
{
    return the_heap->marking.share.extra;
}

static void
a_millisecond(uint64_t taken, uint64_t charged)
{
    aword_store_relaxed(&the_heap->marking.taken, taken);
    aword_store_relaxed(&the_heap->marking.charged, charged);
    ran(SHARE_NS, 0);
    gcrt_workers_revise(the_heap);
}

static void
begin_shares(uint32_t percent_max)
{
    const struct pacer_workers shares = { .fractional = 0.25 };
    struct session s;

    (void)begin_worker(&s);
    the_heap->cpus = 2;
    the_heap->options.worker_percent_max = percent_max;
    set_base(the_heap, &shares);
    gcrt_workers_revise(the_heap);
}

static uint64_t
percent(void)
{
    return aword_load_relaxed(&the_heap->marking.share.percent);
}

Test(worker, the_share_rises_while_mutators_pay_and_falls_after)
{
    begin_shares(50);
    cr_expect_eq(percent(), 25);
    a_millisecond(3000, 999);
    cr_expect_eq(extra(), 0, "less than a quarter");
    gcrt_workers_revise(the_heap);
    for (int i = 1; i <= 4; i++) {
        a_millisecond(3000, 1001);
        cr_expect_eq(extra(), min_size((uint64_t)i * 125001, 500000));
    }
    cr_expect_eq(percent(), 50);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.workers[0].share), MILLION);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.workers[0].base), MILLION / 2);
    a_millisecond(0, 1);
    cr_expect_eq(percent(), 50, "no more than that");
    aword_store_relaxed(&the_heap->marking.charged, 1000);
    gcrt_workers_revise(the_heap);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.charged), 1000, "once in a while");
    for (int i = 0; i < 16; i++)
        a_millisecond(1000, 0);
    cr_expect_eq(percent(), 25);
    cr_expect_eq(extra(), 0);
    end_by_hand();
}

Test(worker, the_share_has_its_bounds)
{
    begin_shares(20);
    a_millisecond(0, 1000);
    cr_expect_eq(percent(), 25, "the pacer's share is the least");
    end_by_hand();
}

Test(worker, one_thread_has_one_cpu)
{
    begin_shares(100);
    for (int i = 0; i < 8; i++)
        a_millisecond(0, 1000);
    cr_expect_eq(percent(), 50);
    end_by_hand();
}

Test(worker, above_the_goal_the_share_is_all_it_can_be)
{
    begin_shares(50);
    use(gc_alloc_bytes(100000));
    aword_store_relaxed(&the_heap->cycles.goal, 1);
    a_millisecond(0, 0);
    cr_expect_eq(percent(), 50);
    end_by_hand();
}

Test(worker, others_are_not_charged_for_what_workers_owe_until_they_have_no_room)
{
    begin_shares(50);
    aword_store_relaxed(&the_heap->marking.owed, 1000);
    cr_expect_eq(gcrt_workers_owe(the_heap), 1000);
    for (int i = 0; i < 3; i++)
        a_millisecond(1000, 0);
    cr_expect_eq(extra(), 3 * 125001, "it rises for them");
    cr_expect_eq(gcrt_workers_owe(the_heap), 1000);
    a_millisecond(1000, 0);
    cr_expect_eq(gcrt_workers_owe(the_heap), 0, "the workers do all they can");
    aword_store_relaxed(&the_heap->marking.owed, 0);
    a_millisecond(1000, 0);
    aword_store_relaxed(&the_heap->marking.owed, 10);
    cr_expect_eq(gcrt_workers_owe(the_heap), 10, "they have caught up");
    end_by_hand();
}

static void
expect_paid(uint64_t n, uint64_t of_it_extra, uint64_t owed, uint64_t credit)
{
    gcrt_workers_pay(the_heap, n, of_it_extra);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.owed), owed);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.credit), credit);
}

Test(worker, no_more_is_owed_than_is_left)
{
    begin_by_hand();
    aword_store_relaxed(&the_heap->marking.owed, 1000);
    gcrt_workers_forgive(the_heap, 1001);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.owed), 1000);
    gcrt_workers_forgive(the_heap, 10);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.owed), 10);
    end_by_hand();
}

Test(worker, a_quantum_of_idle_time_is_some_tens_of_microseconds)
{
    struct session s;
    struct worker *w = begin_worker(&s);

    set_share(w, 0, 0);
    ahalf_store_relaxed(&the_heap->marking.inside, 0);
    cr_expect_eq(s.idle_bytes, IDLE_MIN);
    for (int i = 0; i < 10; i++)
        (void)idle_quantum(w, &s, 10 * US, 10 * US);
    cr_expect_eq(s.idle_bytes, IDLE_MAX);
    (void)idle_quantum(w, &s, 200 * US, 200 * US);
    cr_expect_eq(s.idle_bytes, IDLE_MAX / 2);
    (void)idle_quantum(w, &s, 60 * US, 60 * US);
    cr_expect_eq(s.idle_bytes, IDLE_MAX / 2);
    for (int i = 0; i < 10; i++)
        (void)idle_quantum(w, &s, 200 * US, 200 * US);
    cr_expect_eq(s.idle_bytes, IDLE_MIN);
    ahalf_store_relaxed(&the_heap->marking.inside, 1);
    end_by_hand();
}

Test(worker, extra_work_pays_what_is_owed_first)
{
    begin_by_hand();
    aword_store_relaxed(&the_heap->marking.owed, 1000);
    expect_paid(500, 0, 1000, 500);
    expect_paid(500, 200, 800, 800);
    expect_paid(500, 500, 300, 800);
    expect_paid(500, 500, 0, 1000);
    expect_paid(500, 500, 0, 1500);
    cr_expect_eq(above(900, 3 * MILLION, MILLION), 600);
    cr_expect_eq(above(900, MILLION, MILLION), 0);
    end_by_hand();
}

/* ---- the last marker ---- */

Test(worker, the_last_marker_tells_the_coordinator_when_no_work_is_left)
{
    struct workbuf *b;
    unsigned seen;

    begin_by_hand();
    seen = ahalf_load_relaxed(&the_heap->marking.idle_bell);
    gcrt_marking_begin(the_heap);
    gcrt_marking_begin(the_heap);
    gcrt_marking_end(the_heap);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->marking.idle_bell), seen, "one still marks");
    gcrt_marking_end(the_heap);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->marking.idle_bell), seen + 1);
    b = gcrt_work_take_empty(&the_heap->work);
    b->slot[b->n++] = 0;
    gcrt_work_push_raw(&the_heap->work, b);
    gcrt_marking_begin(the_heap);
    gcrt_marking_end(the_heap);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->marking.idle_bell), seen + 1, "work is left");
    gcrt_work_put_empty(&the_heap->work, gcrt_work_pop_raw(&the_heap->work));
    end_by_hand();
}
