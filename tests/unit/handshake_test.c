/* SPDX-License-Identifier: MIT */
/*
 * Handshakes, watched by a stepper: a thread that stays critical and answers each one by
 * hand, so that the collector must wait for it and every step of a cycle can be looked at.
 * The steps in order are those of tests/model/steps.txt.  Others: who is outside is answered
 * for; who is critical, or on a foreign stack, is not interrupted; newcomers are born with
 * the answer; who is held stays.
 */
#define _GNU_SOURCE /* sigaltstack */

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "gc/actions.h"
#include "gc/barrier.h"
#include "gc/handshake.h"

#include <gcrt/gcrt.h>

#define STEPS_MAX 200

static struct gc_heap *heap;

static void
create_heap(uint32_t grace_us)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF; /* only the cycles that the test asks for */
    opt.periodic_ms = 0;
    opt.release_ms = 0;
    opt.threads = 1;
    opt.grace_us = grace_us;
    opt.debug_clobberfree = 1;
    cr_assert_eq(gc_heap_create(&opt, &heap), GC_OK, "%s", gc_last_error());
}

static void
destroy_heap(void)
{
    cr_assert_eq(gc_heap_destroy(heap), GC_OK, "%s", gc_last_error());
}

static void
sleep_ms(unsigned ms)
{
    gcrt_os_sleep_ns((uint64_t)ms * 1000000);
}

static void
await(const ahalf *word, unsigned value)
{
    while (ahalf_load_acquire(word) != value)
        sleep_ms(1);
}

/* Asserts in threads other than Criterion's. */
static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

/* ---- a cycle on a thread that is not attached ---- */

static ahalf collected; /* cycles complete */

static void *
collect_main(void *arg)
{
    for (uintptr_t i = 0; i < (uintptr_t)arg; i++) {
        gc_collect(heap);
        ahalf_add_full(&collected, 1);
    }
    return NULL;
}

static pthread_t
start_collecting(uintptr_t cycles)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, collect_main, (void *)cycles), 0);
    return thread;
}

/* ---- the stepper ---- */

struct step {
    enum action action;
    bool open;              /* marking was open when the action was seen */
    unsigned sweepgen;      /* the heap's, then */
    uint64_t swept;         /* spans swept so far, then */
    uint32_t born_barrier;  /* what newcomers get, then */
    bool born_black;
    uint32_t barrier;       /* its own, after the answer */
    bool black;
};

static struct step step[STEPS_MAX];
static ahalf seen;    /* steps seen */
static ahalf done;    /* steps answered */
static ahalf allowed; /* steps that it may answer */
static ahalf stop;
static struct gcrt_mutator *stepper;

struct link {
    struct link *next;
    uint64_t value[7];
};

GC_TYPE(link_type, struct link, next);

static struct link *
build_list(size_t n)
{
    struct link *list = NULL;

    for (size_t i = 0; i < n; i++) {
        struct link *link = gc_alloc(&link_type);

        link->value[6] = i;
        link->next = list;
        list = link;
    }
    return list;
}

static void
check_list(const struct link *list, size_t n)
{
    for (; n > 0; n--, list = list->next)
        must(list != NULL && list->value[6] == n - 1, "a list is what it was");
    must(list == NULL, "a list ends where it ended");
}

static void
see(struct step *s)
{
    s->action = heap->handshake.action;
    s->open = ahalf_load_acquire(&heap->marking.open) != 0;
    s->sweepgen = ahalf_load_acquire(&heap->mheap.sweepgen);
    s->swept = aword_load_relaxed(&heap->mheap.swept_spans);
    s->born_barrier = heap->registry.barrier;
    s->born_black = heap->registry.black;
}

/* Critical all the time, so no signal answers; the collector has to wait for us. */
static void
answer_by_hand(struct gcrt_mutator *m)
{
    unsigned n = ahalf_load_relaxed(&seen);

    must(n < STEPS_MAX, "there are fewer steps");
    see(&step[n]);
    ahalf_store_release(&seen, n + 1);
    while (ahalf_load_acquire(&allowed) <= n)
        gcrt_os_yield();
    gcrt_handshake_answer(m);
    step[n].barrier = gc_impl_self.barrier;
    step[n].black = m->p->cache.black;
    ahalf_store_release(&done, n + 1);
}

static void *
stepper_main(void *arg)
{
    struct link *list;

    (void)arg;
    must(gc_thread_attach(heap) == GC_OK, "attach");
    list = build_list(20000);
    stepper = gc_impl_self.mutator;
    critical_enter();
    ahalf_store_release(&seen, 0);
    ahalf_store_release(&done, 0);
    ahalf_store_release(&stop, 1);
    while (ahalf_load_acquire(&stop) != 2)
        if (ahalf_load_acquire(&stepper->request) != ahalf_load_relaxed(&stepper->answered))
            answer_by_hand(stepper);
        else
            gcrt_os_yield();
    critical_leave();
    check_list(list, 20000);
    gc_thread_detach();
    return NULL;
}

static pthread_t
start_stepper(unsigned may_answer)
{
    pthread_t thread;

    ahalf_store_release(&allowed, may_answer);
    cr_assert_eq(pthread_create(&thread, NULL, stepper_main, NULL), 0);
    await(&stop, 1);
    return thread;
}

static void
stop_stepper(pthread_t thread)
{
    ahalf_store_release(&stop, 2);
    pthread_join(thread, NULL);
}

/* ---- the order of steps ---- */

static FILE *
open_steps(void)
{
    const char *up = strstr(__FILE__, "tests/unit/");
    char path[1024];
    FILE *f;

    snprintf(path, sizeof(path), "%.*stests/model/steps.txt", (int)(up - __FILE__), __FILE__);
    f = fopen(path, "r");
    if (f == NULL)
        f = fopen("tests/model/steps.txt", "r");
    cr_assert_not_null(f, "no %s", path);
    return f;
}

/* The next line without its end; false after the last. */
static bool
read_step(FILE *f, char *line, size_t n)
{
    if (fgets(line, (int)n, f) == NULL)
        return false;
    line[strcspn(line, "\n")] = '\0';
    return true;
}

Test(handshake, actions_have_the_models_names_in_the_models_order)
{
    FILE *f = open_steps();
    char line[128], want[128];
    unsigned n = 0;

    while (read_step(f, line, sizeof(line)))
        if (line[0] == 'H') {
            n++;
            snprintf(want, sizeof(want), "H%u %s", n, gcrt_action_name((enum action)n));
            cr_expect_str_eq(line, want);
        }
    cr_expect_eq(n, ACTION_FLUSH_CACHE, "each handshake of a cycle is in the model");
    fclose(f);
}

static void
append(char *text, size_t n, const char *line)
{
    size_t used = strlen(text);

    snprintf(text + used, n - used, "%s\n", line);
}

/* What happened between two steps, and the second; H4 as often as it comes. */
static void
append_step(char *text, size_t n, const struct step *before, const struct step *s)
{
    char line[64];

    if (s->open && (before == NULL || !before->open))
        append(text, n, "mark");
    if (before != NULL && s->sweepgen != before->sweepgen)
        append(text, n, "advance_sweepgen");
    if (before != NULL && before->action == ACTION_FLUSH && s->action == ACTION_FLUSH)
        return;
    snprintf(line, sizeof(line), "H%d %s", (int)s->action, gcrt_action_name(s->action));
    append(text, n, line);
}

Test(handshake, a_cycle_takes_the_models_steps, .timeout = 30)
{
    pthread_t thread, collector;
    FILE *f = open_steps();
    char want[1024] = "", have[1024], line[128];
    unsigned from = 0;

    while (read_step(f, line, sizeof(line)))
        append(want, sizeof(want), line);
    fclose(f);
    create_heap(100);
    thread = start_stepper(UINT32_MAX);
    for (uintptr_t cycle = 0; cycle < 5; cycle++) {
        struct step *last;

        collector = start_collecting(1);
        pthread_join(collector, NULL);
        await(&done, ahalf_load_acquire(&seen)); /* it may not have come to its notes yet */
        have[0] = '\0';
        for (unsigned i = from; i < ahalf_load_acquire(&done); i++)
            append_step(have, sizeof(have), i == from ? NULL : &step[i - 1], &step[i]);
        from = ahalf_load_acquire(&done);
        last = &step[from - 1];
        if (aword_load_relaxed(&heap->mheap.swept_spans) >= last->swept + 100)
            append(have, sizeof(have), "sweep"); /* not before H6 was answered */
        cr_expect_str_eq(have, want, "cycle %zu has steps:\n%s", (size_t)cycle, have);
    }
    stop_stepper(thread);
    destroy_heap();
}

Test(handshake, each_step_leaves_the_mutator_as_the_design_says, .timeout = 30)
{
    static const struct {
        uint32_t barrier;
        bool black;
    } want[] = { [ACTION_BARRIER_ON] = { BARRIER_HYBRID, false },
        [ACTION_SETTLE] = { BARRIER_HYBRID, false }, [ACTION_SCAN] = { BARRIER_DELETION, true },
        [ACTION_FLUSH] = { BARRIER_DELETION, true }, [ACTION_BARRIER_OFF] = { BARRIER_OFF, true },
        [ACTION_FLUSH_CACHE] = { BARRIER_OFF, false } };
    pthread_t thread, collector;

    create_heap(100);
    thread = start_stepper(UINT32_MAX);
    collector = start_collecting(3);
    pthread_join(collector, NULL);
    stop_stepper(thread);
    cr_assert_geq(ahalf_load_relaxed(&done), 18);
    for (unsigned i = 0; i < ahalf_load_relaxed(&done); i++) {
        enum action action = step[i].action;

        cr_assert_leq(action, ACTION_FLUSH_CACHE);
        cr_expect_eq(step[i].barrier, want[action].barrier, "H%d", (int)action);
        cr_expect_eq(step[i].black, want[action].black, "H%d", (int)action);
        cr_expect_eq(step[i].born_barrier, want[action].barrier, "newborn in H%d", (int)action);
        cr_expect_eq(step[i].born_black, want[action].black, "newborn in H%d", (int)action);
    }
    destroy_heap();
}

/* ---- newcomers ---- */

struct newborn {
    uint32_t barrier;
    bool black, asked;
};

static void *
be_born(void *arg)
{
    struct newborn *n = arg;
    struct gcrt_mutator *m;

    must(gc_thread_attach(heap) == GC_OK, "attach");
    m = gc_impl_self.mutator;
    critical_enter();
    n->barrier = gc_impl_self.barrier;
    n->black = m->p->cache.black;
    n->asked = ahalf_load_acquire(&m->request) != ahalf_load_relaxed(&m->answered);
    critical_leave();
    check_list(build_list(100), 100);
    gc_thread_detach();
    return NULL;
}

Test(handshake, who_attaches_is_born_with_the_answer, .timeout = 30)
{
    pthread_t thread, collector, child;
    struct newborn newborn = { 0, false, false };
    unsigned n = 0;

    create_heap(100);
    thread = start_stepper(0);
    collector = start_collecting(2);
    while (ahalf_load_acquire(&collected) < 2) {
        if (ahalf_load_acquire(&seen) == n) {
            gcrt_os_yield();
            continue;
        }
        /* The action is published and cannot complete: the stepper has not answered. */
        cr_assert_eq(pthread_create(&child, NULL, be_born, &newborn), 0);
        pthread_join(child, NULL);
        cr_expect_eq(newborn.barrier, step[n].born_barrier, "H%d", (int)step[n].action);
        cr_expect_eq(newborn.black, step[n].born_black, "H%d", (int)step[n].action);
        cr_expect_not(newborn.asked, "H%d asks it again", (int)step[n].action);
        ahalf_store_release(&allowed, ++n);
    }
    pthread_join(collector, NULL);
    cr_expect_geq(n, 12);
    ahalf_store_release(&allowed, UINT32_MAX);
    stop_stepper(thread);
    destroy_heap();
}

/* ---- outside ---- */

static ahalf place;  /* where the other thread is: 1 outside, 2 inside again, 3 goes on */
static ahalf leave;  /* set: it may leave its blocking region */
static struct gcrt_mutator *other;

static void *
outside_main(void *arg)
{
    struct link *list;

    (void)arg;
    must(gc_thread_attach(heap) == GC_OK, "attach");
    list = build_list(1000);
    other = gc_impl_self.mutator;
    GC_BLOCKING {
        ahalf_store_release(&place, 1);
        await(&leave, 1);
    }
    ahalf_store_release(&place, 2);
    must(gc_impl_self.barrier == BARRIER_OFF, "the cycle is over for it too");
    must(!other->p->cache.black, "it allocates white");
    check_list(list, 1000);
    check_list(build_list(1000), 1000);
    gc_thread_detach();
    return NULL;
}

Test(handshake, who_is_outside_is_answered_for, .timeout = 30)
{
    pthread_t thread;
    struct counters *n;

    create_heap(100);
    n = &heap->counters;
    cr_assert_eq(pthread_create(&thread, NULL, outside_main, NULL), 0);
    await(&place, 1);
    for (unsigned cycle = 1; cycle <= 5; cycle++) {
        gc_collect(heap);
        cr_expect_eq(ahalf_load_relaxed(&other->answered),
                ahalf_load_relaxed(&heap->handshake.epoch));
        cr_expect_geq(aword_load_relaxed(&n->proxy_answers), 6 * cycle);
    }
    cr_expect_eq(aword_load_relaxed(&n->signals), 0, "nobody is disturbed");
    cr_expect_eq(aword_load_relaxed(&n->pause_ns), 0, "that is nobody's pause");
    cr_expect_eq(ahalf_load_relaxed(&other->state), MUTATOR_OUTSIDE);
    ahalf_store_release(&leave, 1);
    pthread_join(thread, NULL);
    destroy_heap();
}

/* ---- inside: polling, silent, critical, elsewhere ---- */

static ahalf behave; /* what the other thread shall do next */

static void *
poll_main(void *arg)
{
    (void)arg;
    must(gc_thread_attach(heap) == GC_OK, "attach");
    ahalf_store_release(&place, 1);
    while (!ahalf_load_acquire(&leave)) {
        gc_safepoint();
        gcrt_os_yield();
    }
    gc_thread_detach();
    return NULL;
}

Test(handshake, who_polls_is_not_signalled_within_the_grace_time, .timeout = 30)
{
    pthread_t thread;

    create_heap(10 * 1000 * 1000);
    cr_assert_eq(pthread_create(&thread, NULL, poll_main, NULL), 0);
    await(&place, 1);
    for (int i = 0; i < 5; i++)
        gc_collect(heap);
    cr_expect_eq(aword_load_relaxed(&heap->counters.signals), 0);
    cr_expect_eq(aword_load_relaxed(&heap->counters.signal_answers), 0);
    cr_expect_gt(aword_load_relaxed(&heap->counters.pause_ns), 0, "these are pauses");
    ahalf_store_release(&leave, 1);
    pthread_join(thread, NULL);
    destroy_heap();
}

static void *
silent_main(void *arg)
{
    bool critical = arg != NULL;
    struct link *list;

    must(gc_thread_attach(heap) == GC_OK, "attach");
    list = build_list(1000);
    other = gc_impl_self.mutator;
    if (critical)
        critical_enter();
    ahalf_store_release(&place, 1);
    while (critical && !ahalf_load_acquire(&behave))
        continue;
    gc_impl_self.critical = 0; /* without a look at the poll word: signals must do */
    while (!ahalf_load_acquire(&leave))
        continue;
    check_list(list, 1000);
    gc_thread_detach();
    return NULL;
}

Test(handshake, who_is_silent_answers_in_the_signal_handler, .timeout = 30)
{
    pthread_t thread;

    create_heap(100);
    cr_assert_eq(pthread_create(&thread, NULL, silent_main, NULL), 0);
    await(&place, 1);
    gc_collect(heap);
    cr_expect_geq(aword_load_relaxed(&heap->counters.signal_answers), 6);
    cr_expect_geq(aword_load_relaxed(&heap->counters.signals), 6);
    ahalf_store_release(&leave, 1);
    pthread_join(thread, NULL);
    destroy_heap();
}

/* The collector has been at it for some time. */
static void
await_signals(void)
{
    while (aword_load_relaxed(&heap->counters.signals) <= 3)
        sleep_ms(10);
    sleep_ms(20);
}

/* Nothing has been done to the other thread since it stood at `epoch`. */
static void
expect_left_alone(unsigned epoch)
{
    cr_expect_eq(ahalf_load_acquire(&other->answered), epoch);
    cr_expect_eq(ahalf_load_acquire(&other->request), epoch + 1, "it is asked");
    cr_expect_eq(heap->handshake.action, ACTION_BARRIER_ON, "H1 waits for it");
    cr_expect_eq(other->self->barrier, BARRIER_OFF);
    cr_expect_eq(ahalf_load_relaxed(&heap->marking.open), 0);
    cr_expect_eq(ahalf_load_relaxed(&collected), 0);
    cr_expect_eq(aword_load_relaxed(&heap->counters.signal_answers), 0);
}

Test(handshake, who_is_critical_is_not_interrupted, .timeout = 30)
{
    pthread_t thread, collector;
    unsigned epoch;

    create_heap(100);
    cr_assert_eq(pthread_create(&thread, NULL, silent_main, &behave), 0);
    await(&place, 1);
    epoch = ahalf_load_relaxed(&other->answered);
    collector = start_collecting(1);
    await_signals();
    expect_left_alone(epoch);
    ahalf_store_release(&behave, 1); /* critical no more */
    pthread_join(collector, NULL);
    cr_expect_eq(ahalf_load_relaxed(&collected), 1);
    cr_expect_geq(aword_load_relaxed(&heap->counters.signal_answers), 6);
    ahalf_store_release(&leave, 1);
    pthread_join(thread, NULL);
    destroy_heap();
}

static void
wait_in_handler(int signal)
{
    (void)signal;
    ahalf_store_release(&place, 1);
    while (!ahalf_load_acquire(&behave))
        continue;
}

static void *
foreign_stack_main(void *arg)
{
    static char stack[65536] __attribute__((aligned(64)));
    stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) }, old;
    struct sigaction act;
    struct link *list;

    (void)arg;
    memset(&act, 0, sizeof(act));
    act.sa_handler = wait_in_handler;
    act.sa_flags = SA_ONSTACK | SA_RESTART;
    must(sigaltstack(&alt, &old) == 0, "sigaltstack");
    must(sigaction(SIGUSR1, &act, NULL) == 0, "sigaction");
    must(gc_thread_attach(heap) == GC_OK, "attach");
    list = build_list(1000);
    other = gc_impl_self.mutator;
    must(pthread_kill(pthread_self(), SIGUSR1) == 0, "pthread_kill");
    while (!ahalf_load_acquire(&leave))
        continue;
    check_list(list, 1000);
    gc_thread_detach();
    must(sigaltstack(&old, NULL) == 0, "sigaltstack"); /* a sanitizer's, perhaps */
    return NULL;
}

Test(handshake, who_is_on_a_foreign_stack_is_not_scanned, .timeout = 30)
{
    pthread_t thread, collector;
    unsigned epoch;

    create_heap(100);
    cr_assert_eq(pthread_create(&thread, NULL, foreign_stack_main, NULL), 0);
    await(&place, 1);
    epoch = ahalf_load_relaxed(&other->answered);
    collector = start_collecting(1);
    await_signals();
    expect_left_alone(epoch);
    ahalf_store_release(&behave, 1); /* the handler returns */
    pthread_join(collector, NULL);
    cr_expect_geq(aword_load_relaxed(&heap->counters.signal_answers), 6);
    ahalf_store_release(&leave, 1);
    pthread_join(thread, NULL);
    destroy_heap();
}

/* ---- holding ---- */

Test(handshake, who_is_held_outside_cannot_come_back, .timeout = 30)
{
    pthread_t thread;

    create_heap(100);
    cr_assert_eq(pthread_create(&thread, NULL, outside_main, NULL), 0);
    await(&place, 1);
    gcrt_hold_all(heap);
    cr_expect_eq(ahalf_load_relaxed(&other->state), MUTATOR_HELD);
    ahalf_store_release(&leave, 1);
    sleep_ms(50);
    cr_expect_eq(ahalf_load_acquire(&place), 1, "it waits");
    gcrt_release_all(heap);
    pthread_join(thread, NULL);
    cr_expect_eq(ahalf_load_acquire(&place), 2);
    destroy_heap();
}

static aword rounds; /* of the thread that polls and counts */

static void *
count_main(void *arg)
{
    (void)arg;
    must(gc_thread_attach(heap) == GC_OK, "attach");
    while (!ahalf_load_acquire(&leave)) {
        aword_add_full(&rounds, 1);
        gc_safepoint();
    }
    gc_thread_detach();
    return NULL;
}

Test(handshake, who_is_held_inside_stands_still, .timeout = 30)
{
    pthread_t thread, child;
    struct newborn newborn = { 9, false, false };
    uint64_t before;

    create_heap(100);
    cr_assert_eq(pthread_create(&thread, NULL, count_main, NULL), 0);
    while (aword_load_relaxed(&rounds) < 1000)
        sleep_ms(1);
    gcrt_hold_all(heap);
    before = aword_load_relaxed(&rounds);
    cr_assert_eq(pthread_create(&child, NULL, be_born, &newborn), 0);
    sleep_ms(50);
    cr_expect_eq(aword_load_relaxed(&rounds), before);
    cr_expect_eq(heap->registry.count, 1, "and nobody comes in");
    gcrt_release_all(heap);
    pthread_join(child, NULL);
    cr_expect_eq(newborn.barrier, BARRIER_OFF);
    while (aword_load_relaxed(&rounds) < before + 1000)
        sleep_ms(1);
    ahalf_store_release(&leave, 1);
    pthread_join(thread, NULL);
    gc_collect(heap);
    destroy_heap();
}

/* While a cycle holds everybody nobody has the registry's lock; who attaches then waits. */
Test(handshake, who_attaches_while_everybody_is_stopped_waits, .timeout = 30)
{
    struct newborn newborn = { 9, false, false };
    pthread_t child;

    create_heap(100);
    heap->options.mode = GC_MODE_STW;
    gcrt_stop_all(heap);
    cr_assert_eq(pthread_create(&child, NULL, be_born, &newborn), 0);
    sleep_ms(50);
    cr_expect_eq(heap->registry.count, 0, "nobody comes in");
    cr_expect_eq(newborn.barrier, 9);
    gcrt_resume_all(heap);
    pthread_join(child, NULL);
    cr_expect_eq(newborn.barrier, BARRIER_OFF);
    gcrt_handshake_run(heap, ACTION_FLUSH_CACHE);
    destroy_heap();
}

/* The verifier looks in the middle of a cycle that holds everybody. */
Test(handshake, a_look_at_those_who_are_stopped_does_not_let_them_go, .timeout = 30)
{
    pthread_t thread;
    uint64_t before;

    create_heap(100);
    heap->options.mode = GC_MODE_STW;
    cr_assert_eq(pthread_create(&thread, NULL, count_main, NULL), 0);
    while (aword_load_relaxed(&rounds) < 1000)
        sleep_ms(1);
    gcrt_stop_all(heap);
    before = aword_load_relaxed(&rounds);
    gcrt_hold_all(heap);
    gcrt_release_all(heap);
    sleep_ms(50);
    cr_expect_eq(aword_load_relaxed(&rounds), before);
    gcrt_resume_all(heap);
    while (aword_load_relaxed(&rounds) < before + 1000)
        sleep_ms(1);
    ahalf_store_release(&leave, 1);
    pthread_join(thread, NULL);
    gcrt_handshake_run(heap, ACTION_FLUSH_CACHE);
    destroy_heap();
}

/* ---- errno ---- */

static void *
errno_main(void *arg)
{
    (void)arg;
    must(gc_thread_attach(heap) == GC_OK, "attach");
    errno = 4711;
    ahalf_store_release(&place, 1);
    while (!ahalf_load_acquire(&leave))
        must(errno == 4711, "the handler has changed errno");
    gc_thread_detach();
    return NULL;
}

/*
 * A thread that is held in the handler sleeps on `released` until it is this epoch's.  Other
 * values that come while it is about to sleep make its system call fail, and set errno.
 */
Test(handshake, errno_survives_calls_that_fail_in_the_handler, .timeout = 30)
{
    pthread_t thread;
    unsigned epoch;

    create_heap(100);
    cr_assert_eq(pthread_create(&thread, NULL, errno_main, NULL), 0);
    await(&place, 1);
    for (int round = 0; round < 10; round++) {
        gcrt_hold_all(heap);
        epoch = ahalf_load_relaxed(&heap->handshake.epoch);
        for (unsigned i = 0; i < 20000; i++) {
            ahalf_store_full(&heap->handshake.released, epoch - 1 - i % 1000);
            if (i % 16 == 0)
                gcrt_os_wake(&heap->handshake.released, INT32_MAX);
        }
        gcrt_release_all(heap);
    }
    cr_expect_geq(aword_load_relaxed(&heap->counters.signal_answers), 10);
    ahalf_store_release(&leave, 1);
    pthread_join(thread, NULL);
    destroy_heap();
}
