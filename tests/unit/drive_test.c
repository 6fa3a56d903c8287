/* SPDX-License-Identifier: MIT */
/*
 * Cycles that a thread runs itself: when, when not, what it leaves to the coordinator, and the
 * coordinator's seat.
 */
#include "byhand.h"

#include "gc/cycle.h"
#include "gc/drive.h"
#include "gc/own.h"
#include "gc/seat.h"

#include <pthread.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

struct link {
    struct link *next;
    uintptr_t number;
};
GC_TYPE(link_type, struct link, next);

static struct link *chain; /* a root */

/* The coordinator may sit there a little longer than its cycle lasts. */
static void
take_seat(void)
{
    while (!gcrt_seat_take(the_heap))
        gcrt_os_sleep_ns(100000);
}

/* What a cycle is like is known, and its coordinator is asleep again. */
static void
learn(void)
{
    gc_collect(the_heap);
    take_seat();
    (void)gcrt_seat_leave(the_heap);
}

static void
begin_with(gc_options *opt)
{
    opt->gogc = 100;
    opt->heap_min = 1 << 20;
    cr_assert_eq(gc_heap_create(opt, &the_heap), GC_OK, "%s", gc_last_error());
    the_heap->cycles.drive_ns = UINT64_MAX; /* however slow the build is */
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    cr_assert_eq(gc_root_add(&chain, sizeof(chain)), GC_OK);
    learn();
}

static void
begin(void)
{
    gc_options opt;

    options_by_hand(&opt);
    begin_with(&opt);
}

static void
end(void)
{
    chain = NULL;
    gc_root_remove(&chain);
    end_by_hand();
}

static uint64_t
driven(void)
{
    return aword_load_relaxed(&the_heap->counters.cycles_driven);
}

static uint64_t
complete(void)
{
    return aword_load_relaxed(&the_heap->counters.cycles_auto);
}

/* Allocates garbage until so many more cycles have begun by themselves. */
static void
churn(uint64_t cycles)
{
    uint64_t until = aword_load_relaxed(&the_heap->cycles.started) + cycles;

    while (aword_load_relaxed(&the_heap->cycles.started) < until)
        use(gc_alloc(&link_type));
}

static void
grow_chain(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct link *l = gc_alloc(&link_type);

        l->number = chain == NULL ? 0 : chain->number + 1;
        gc_write(&l->next, chain);
        gc_write(&chain, l);
    }
}

static void
expect_chain(size_t n)
{
    for (const struct link *l = chain; l != NULL; l = l->next)
        cr_assert_eq(l->number, --n);
    cr_assert_eq(n, 0);
}

static bool
any_driven(uint64_t cycles)
{
    uint64_t before = driven();

    churn(cycles);
    return driven() != before;
}

/* ---- when ---- */

Test(drive, a_thread_alone_runs_the_cycles_of_a_small_heap)
{
    unsigned bell;
    uint64_t waits;

    begin();
    grow_chain(1000);
    bell = ahalf_load_relaxed(&the_heap->cycles.bell);
    waits = self()->account.waits;
    churn(20);
    cr_expect_geq(driven(), 20);
    cr_expect_eq(complete(), driven());
    cr_expect_eq(ahalf_load_relaxed(&the_heap->cycles.bell), bell, "the coordinator sleeps on");
    cr_expect_eq(self()->account.waits, waits, "nor has it been waited for");
    cr_expect_geq(self()->account.assists, 20);
    cr_expect_gt(self()->account.assist_ns, 0);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->cycles.seat), 0);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->cycles.at_rest), 1);
    cr_expect_not(the_heap->cycles.driven);
    cr_expect_not(self()->driving);
    expect_chain(1000);
    end();
}

Test(drive, a_precise_thread_does_too)
{
    gc_options opt;
    struct link *held = NULL;

    options_by_hand(&opt);
    opt.gogc = 100;
    opt.heap_min = 1 << 20;
    cr_assert_eq(gc_heap_create(&opt, &the_heap), GC_OK);
    the_heap->cycles.drive_ns = UINT64_MAX;
    cr_assert_eq(gc_thread_attach_precise(the_heap), GC_OK);
    learn();
    {
        GC_FRAME(held);
        held = gc_alloc(&link_type);
        held->number = 12345;
        churn(5);
    }
    cr_expect_geq(driven(), 5);
    cr_expect_eq(held->number, 12345);
    end_by_hand();
}

static void
ignore_event(gc_heap *heap, const gc_event *event, void *arg)
{
    (void)heap;
    (void)event;
    (void)arg;
}

static void
ignore_line(const char *line, size_t len, void *arg)
{
    (void)line;
    (void)len;
    (void)arg;
}

static void
ignore_limit(gc_heap *heap, const gc_limit_report *report, void *arg)
{
    (void)heap;
    (void)report;
    (void)arg;
}

Test(drive, not_where_the_host_listens)
{
    gc_options opt;

    options_by_hand(&opt);
    opt.log = ignore_line;
    begin_with(&opt);
    cr_expect_not(any_driven(5));
    end();
    options_by_hand(&opt);
    opt.on_limit = ignore_limit;
    begin_with(&opt);
    cr_expect_not(any_driven(5));
    end();
    options_by_hand(&opt);
    opt.memory_limit = 1 << 30;
    begin_with(&opt);
    cr_expect_not(any_driven(5));
    end();
    options_by_hand(&opt);
    opt.debug_scavtrace = 1;
    begin_with(&opt);
    cr_expect_not(any_driven(5));
    end();
    begin();
    cr_assert_eq(gc_listen(the_heap, ignore_event, NULL), GC_OK);
    cr_expect_not(any_driven(5));
    gc_unlisten(the_heap, ignore_event, NULL);
    cr_expect(any_driven(5));
    end();
}

Test(drive, not_where_the_world_is_stopped_or_stores_are_watched)
{
    gc_options opt;

    options_by_hand(&opt);
    opt.mode = GC_MODE_STW;
    begin_with(&opt);
    cr_expect_not(any_driven(5));
    end();
    options_by_hand(&opt);
    opt.debug_wbcheck = 1;
    begin_with(&opt);
    cr_expect_not(any_driven(5));
    end();
}

Test(drive, not_by_a_thread_that_never_assists)
{
    begin();
    gc_thread_set_assist(false);
    cr_expect_not(any_driven(5));
    gc_thread_set_assist(true);
    cr_expect(any_driven(5));
    end();
}

static int leave;

static void *
sit_outside(void *arg)
{
    ahalf *there = arg;

    gc_block_enter();
    ahalf_store_full(there, 1);
    while (!__atomic_load_n(&leave, __ATOMIC_ACQUIRE))
        gcrt_os_sleep_ns(100000);
    gc_block_leave();
    return NULL;
}

Test(drive, not_beside_another_thread)
{
    pthread_t other;
    ahalf there = { 0 };

    begin();
    cr_expect(any_driven(3));
    cr_assert_eq(gc_pthread_create(&other, NULL, sit_outside, &there), 0);
    gc_block_enter();
    while (!ahalf_load_acquire(&there))
        gcrt_os_sleep_ns(100000);
    gc_block_leave();
    churn(1);
    cr_expect_not(any_driven(5), "whose answers it might have to wait for");
    __atomic_store_n(&leave, 1, __ATOMIC_RELEASE);
    gc_block_enter();
    cr_assert_eq(pthread_join(other, NULL), 0);
    gc_block_leave();
    cr_expect(any_driven(3));
    end();
}

static struct {
    int driven, in, was_in; /* atomic; was_in: the newcomer, at the end of a driven cycle's scan */
} door;

/* The thread may hold a lock of the host's, and so waits for nobody in its cycle. */
static void
trace_door(const void *obj, size_t bytes, gc_tracer *tracer)
{
    (void)obj;
    (void)bytes;
    (void)tracer;
    if (gc_impl_self.mutator == NULL || __atomic_load_n(&door.driven, __ATOMIC_ACQUIRE) != 0)
        return;
    __atomic_store_n(&door.driven, 1, __ATOMIC_RELEASE);
    gcrt_os_sleep_ns(50000000);
    __atomic_store_n(&door.was_in, __atomic_load_n(&door.in, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
}
GC_TYPE_TRACED(door_type, struct link, trace_door);

static void *
newcomer_main(void *arg)
{
    while (__atomic_load_n(&door.driven, __ATOMIC_ACQUIRE) == 0)
        gcrt_os_sleep_ns(100000);
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    __atomic_store_n(&door.in, 1, __ATOMIC_RELEASE);
    gc_thread_detach();
    return arg;
}

Test(drive, who_would_attach_meanwhile_waits)
{
    pthread_t thread;

    begin();
    cr_assert_eq(pthread_create(&thread, NULL, newcomer_main, NULL), 0);
    gc_write(&chain, gc_alloc(&door_type));
    while (__atomic_load_n(&door.driven, __ATOMIC_ACQUIRE) == 0)
        churn(1);
    cr_expect_eq(door.was_in, 0);
    gc_block_enter();
    cr_assert_eq(pthread_join(thread, NULL), 0);
    gc_block_leave();
    cr_expect_eq(door.in, 1);
    end();
}

Test(drive, not_with_much_in_new_roots_or_within_a_new_limit)
{
    static void *words[20000];

    begin();
    cr_expect(any_driven(3));
    cr_assert_eq(gc_root_add(words, sizeof(words)), GC_OK);
    cr_expect_not(gcrt_drive_may(self()));
    gc_root_remove(words);
    cr_expect(gcrt_drive_may(self()));
    cr_assert_eq(gc_set_memory_limit(the_heap, 1 << 30), GC_MEMORY_LIMIT_OFF);
    cr_expect_not(gcrt_drive_may(self()));
    end();
}

/* The verifier takes some 20 KiB. */
Test(drive, not_on_little_stack_where_much_is_needed)
{
    gc_options opt;
    uintptr_t lo;

    options_by_hand(&opt);
    opt.debug_verify = 1;
    begin_with(&opt);
    cr_expect(any_driven(3));
    lo = self()->stack_lo;
    self()->stack_lo = (uintptr_t)__builtin_frame_address(0) - (24 << 10);
    cr_expect_not(any_driven(3));
    self()->stack_lo = lo;
    learn();
    cr_expect(any_driven(3));
    end();
}

Test(drive, not_if_the_last_cycle_took_long)
{
    begin();
    cr_expect(any_driven(3));
    the_heap->cycles.drive_ns = 0; /* weak references, interned words: whatever it was */
    churn(1);
    cr_expect_not(any_driven(3));
    the_heap->cycles.drive_ns = (uint64_t)1000 * 1000 * 1000;
    churn(1);
    cr_expect(any_driven(3));
    end();
}

Test(drive, not_if_much_is_alive)
{
    begin();
    grow_chain(20000);
    gc_collect(the_heap);
    cr_expect_not(any_driven(5), "320 KB are more than one thread is to scan");
    expect_chain(20000);
    chain = NULL;
    gc_collect(the_heap);
    cr_expect(any_driven(5));
    use(gc_alloc_bytes(64 << 20));
    cr_expect_not(any_driven(1), "with so much in spans a sweep is long");
    end();
}

/* ---- what is left to the coordinator ---- */

/* It was small, and has become large: the thread marks its part, and no more. */
Test(drive, the_coordinator_goes_on_where_there_is_more_to_mark)
{
    uint64_t before;

    begin();
    churn(2);
    before = driven();
    grow_chain(60000); /* 960 KB: a cycle or two begin meanwhile */
    churn(2);
    gc_collect(the_heap);
    cr_expect_gt(driven(), before);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->cycles.wanted), 0);
    cr_expect_eq((unsigned)aword_load_relaxed(&the_heap->cycles.started),
            ahalf_load_relaxed(&the_heap->cycles.swept));
    expect_chain(60000);
    end();
}

static struct {
    int calls, inside; /* atomic; inside: by a thread of the host's */
} traced;

static void
trace_big(const void *obj, size_t bytes, gc_tracer *tracer)
{
    gc_trace_words(tracer, obj, bytes);
    __atomic_fetch_add(&traced.calls, 1, __ATOMIC_RELAXED);
    if (gc_impl_self.mutator != NULL)
        __atomic_fetch_add(&traced.inside, 1, __ATOMIC_RELAXED);
}

struct big {
    struct link *links[1024];
};
GC_TYPE_TRACED(big_type, struct big, trace_big);

/* What the function does the host knows; a thread that holds its lock meets it not. */
Test(drive, the_coordinator_calls_trace_functions_of_big_objects)
{
    struct big *big;
    uint64_t before;

    begin();
    big = gc_alloc(&big_type);
    gc_write(&big->links[1023], gc_alloc(&link_type));
    big->links[1023]->number = 12345;
    gc_write((void **)&chain, big);
    before = driven();
    for (int i = 0; i < 10; i++) {
        churn(1);
        take_seat(); /* the coordinator goes on in it */
        (void)gcrt_seat_leave(the_heap);
    }
    cr_expect_geq(driven(), before + 3);
    cr_expect_geq(__atomic_load_n(&traced.calls, __ATOMIC_RELAXED), 9);
    cr_expect_eq(__atomic_load_n(&traced.inside, __ATOMIC_RELAXED), 0);
    cr_expect_eq(big->links[1023]->number, 12345);
    end();
}

static void
make_due(void)
{
    uint64_t before = driven();

    while (!self()->due)
        use(gc_alloc(&link_type));
    cr_assert_eq(driven(), before);
}

static void
expect_cycle(uint64_t started)
{
    for (int i = 0; i < 10000 && aword_load_relaxed(&the_heap->cycles.started) == started; i++)
        gcrt_os_sleep_ns(1000000);
    cr_expect_eq(aword_load_relaxed(&the_heap->cycles.started), started + 1);
}

Test(drive, a_cycle_that_is_due_where_a_thread_blocks_or_leaves)
{
    uint64_t started, before;

    begin();
    churn(2);
    make_due();
    before = driven();
    started = aword_load_relaxed(&the_heap->cycles.started);
    gc_block_enter();
    expect_cycle(started);
    gc_block_leave();
    learn();
    make_due();
    started = aword_load_relaxed(&the_heap->cycles.started);
    gc_thread_detach();
    expect_cycle(started);
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    cr_expect_eq(driven(), before);
    end();
}

Test(drive, a_thread_that_ends_in_its_cycle_is_fatal, .signal = SIGABRT)
{
    begin();
    self()->driving = true;
    pthread_exit(NULL);
}

static void
note_death(void *arg)
{
    ahalf_add_full(arg, 1);
}

#define DYING 32

static NOINLINE void
make_with_cleanups(ahalf *deaths)
{
    for (int i = 0; i < DYING; i++) {
        struct link *l = gc_alloc(&link_type);

        cr_assert_eq(gc_cleanup_add(l, note_death, deaths, NULL), GC_OK);
        GC_KEEP_ALIVE(l);
    }
}

Test(drive, cleanups_are_called_by_a_thread_that_the_coordinator_starts)
{
    ahalf deaths = { 0 };

    begin();
    churn(2);
    make_with_cleanups(&deaths);
    for (int i = 0; i < 1000 && ahalf_load_acquire(&deaths) < DYING / 2; i++) {
        churn(1);
        gc_block_enter();
        gcrt_os_sleep_ns(100000);
        gc_block_leave();
    }
    cr_expect_geq(ahalf_load_acquire(&deaths), DYING / 2, "the stack may have held some");
    end();
}

/* They wait for gc_run_cleanups. */
Test(drive, cleanups_that_no_thread_is_to_call_wake_nobody)
{
    ahalf deaths = { 0 };
    gc_options opt;
    unsigned bell;

    options_by_hand(&opt);
    opt.cleanup_threads = 0;
    begin_with(&opt);
    make_with_cleanups(&deaths);
    churn(2);
    gc_collect(the_heap);
    cr_assert_gt(aword_load_relaxed(&the_heap->runner.waiting), 0);
    learn();
    bell = ahalf_load_relaxed(&the_heap->cycles.bell);
    churn(10);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->cycles.bell), bell);
    cr_expect_gt(gc_run_cleanups_all(the_heap), 0);
    end();
}

Test(drive, so_is_the_scavengers_thread)
{
    begin();
    churn(2);
    the_heap->options.release_ms = 1000; /* there was nothing to be given back before */
    for (int i = 0; i < 1000 && ahalf_load_acquire(&the_heap->scavenger.running) == 0; i++)
        churn(1);
    cr_expect_eq(ahalf_load_acquire(&the_heap->scavenger.running), 1);
    end();
}

/* ---- the seat ---- */

static void *
collect(void *arg)
{
    (void)arg;
    gc_collect(the_heap);
    return NULL;
}

Test(drive, what_is_wanted_meanwhile_is_done_when_the_seat_is_left)
{
    uint64_t forced;
    pthread_t other;

    begin();
    forced = aword_load_relaxed(&the_heap->counters.cycles_forced);
    gc_block_enter();
    take_seat();
    cr_expect_not(gcrt_seat_take(the_heap), "it is taken");
    cr_expect_eq(ahalf_load_relaxed(&the_heap->cycles.at_rest), 0);
    cr_assert_eq(pthread_create(&other, NULL, collect, NULL), 0);
    while ((ahalf_load_acquire(&the_heap->cycles.wanted) & CYCLE_FORCED) == 0)
        gcrt_os_sleep_ns(100000);
    gcrt_os_sleep_ns(20000000); /* the coordinator finds the seat taken, and sleeps again */
    cr_expect_eq(aword_load_relaxed(&the_heap->counters.cycles_forced), forced);
    (void)gcrt_seat_leave(the_heap);
    cr_assert_eq(pthread_join(other, NULL), 0);
    cr_expect_eq(aword_load_relaxed(&the_heap->counters.cycles_forced), forced + 1);
    gc_block_leave();
    end();
}

Test(drive, no_cycle_is_driven_that_is_not_due_or_that_the_coordinator_runs)
{
    uint64_t before;

    begin();
    before = driven();
    self()->due = true;
    gcrt_drive(self());
    cr_expect_not(self()->due);
    cr_expect_eq(driven(), before, "none is due");
    take_seat();
    gcrt_drive(self());
    cr_expect_eq(driven(), before);
    aword_store_relaxed(&the_heap->cycles.trigger, 0);
    ahalf_store_full(&the_heap->cycles.seat, 0);
    ahalf_store_full(&the_heap->cycles.wanted, CYCLE_LOOK); /* and the bell is not rung */
    gcrt_drive(self());
    cr_expect_eq(driven(), before);
    gc_collect(the_heap);
    end();
}

Test(drive, the_collectors_time_goes_on_from_one_to_the_other)
{
    struct counters *n;
    uint64_t last = 0, now;

    begin();
    n = &the_heap->counters;
    for (int i = 0; i < 20; i++) {
        if (i % 2 == 0)
            churn(3);
        else
            gc_collect(the_heap);
        now = aword_load_relaxed(&n->coordinator_ns) + aword_load_relaxed(&n->sweep_ns);
        cr_expect_geq(now, last);
        cr_expect_lt(now, gcrt_os_process_cpu_ns());
        last = now;
    }
    end();
}

/* ---- fork ---- */

static int stop;

static void *
drive_on(void *arg)
{
    (void)arg;
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    grow_chain(100);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        churn(1);
    gc_thread_detach();
    return NULL;
}

/* In the child the thread that drove is not there, and its seat is free. */
static int
child_of_driver(void)
{
    alarm(60);
    if (ahalf_load_relaxed(&the_heap->cycles.drivable))
        return 2; /* before its coordinator has put the memory in order */
    if (gc_thread_attach(the_heap) != GC_OK)
        return 1;
    gc_collect(the_heap);
    expect_chain(100);
    churn(3);
    expect_chain(100);
    gc_thread_detach();
    return 0;
}

Test(drive, another_thread_may_fork_meanwhile)
{
    pthread_t driver;
    int status;

    begin();
    gc_thread_detach();
    cr_assert_eq(pthread_create(&driver, NULL, drive_on, NULL), 0);
    while (driven() == 0)
        gcrt_os_sleep_ns(100000);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();

        cr_assert_geq(pid, 0);
        if (pid == 0)
            _exit(child_of_driver());
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert_eq(status, 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    cr_assert_eq(pthread_join(driver, NULL), 0);
    cr_expect_gt(driven(), 0);
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    end();
}

static volatile sig_atomic_t forks, failures;

/* Such a child may only end; its parent goes on. */
static void
fork_if_driving(int signal)
{
    int status;
    pid_t pid;

    (void)signal;
    if (self() == NULL || !self()->driving)
        return;
    pid = fork();
    if (pid == 0)
        _exit(7);
    failures += pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)
        || WEXITSTATUS(status) != 7;
    forks++;
}

Test(drive, a_handler_may_fork_where_it_has_interrupted_a_cycle)
{
    const struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
    struct sigaction action = { .sa_handler = fork_if_driving };

    begin();
    grow_chain(3000); /* so that marking takes a while */
    cr_assert_eq(sigaction(SIGPROF, &action, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_PROF, &often, NULL), 0);
    while (forks < 10)
        churn(1);
    cr_assert_eq(setitimer(ITIMER_PROF, &never, NULL), 0);
    cr_expect_eq(failures, 0);
    expect_chain(3000);
    end();
}
