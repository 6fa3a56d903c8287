/* SPDX-License-Identifier: MIT */
/*
 * Purpose: inline stores that the signal handler leaves (src/alloc/os/window.c).  A handshake
 * that turns the barrier on is answered after each instruction of each store, compiled in
 * several ways, and what was not stored by then must be shaded.  The answer comes in a handler
 * that has interrupted the store itself, in one that has interrupted another handler, and in
 * the middle of a fork.  A thread is moved where it is in a window, twice for a store, and
 * nowhere else.
 *
 * Place: internals of gcrt; x86-64 only, elsewhere it is skipped.
 *
 * Concurrency: one thread, and a collector that sleeps.  Between two instructions the thread is
 * in a SIGTRAP handler, so the store is always what a handler of the host's has interrupted.
 *
 * Arguments: none.
 */

#define _GNU_SOURCE

#include "asked.h"
#include "stores.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gc/barrier.h"

#if defined(__x86_64__)

struct node {
    void *field[2];
    uint64_t plain;
};

GC_TYPE(node_type, struct node, field);

static const gc_decode all_words = { 0, 0, ~UINT64_C(0) };

/* ---- the stores ---- */

static const struct stores *store; /* the form */
static struct node *volatile object;
static void *old_value, *new_value; /* new_value: what the store shall leave */
static void *value;

static void
run_pointer(void)
{
    store->pointer(&object->field[0], new_value = value);
}

static void
run_element(void)
{
    store->element(object->field, 0, new_value = value);
}

static void
run_null(void)
{
    store->null(&object->field[0]);
    new_value = NULL;
}

static void
run_word(void)
{
    store->word(&all_words, (uint64_t *)(void *)&object->field[0], (uintptr_t)(new_value = value));
}

/* ---- ways in which a handshake comes ---- */

static enum action asked;
static unsigned epoch_asked;
static int stored_here, answered_here;
static unsigned long answers, refusals;

static void
send(int signal)
{
    T_CHECK(pthread_kill(pthread_self(), signal) == 0, "pthread_kill");
}

static void
pass_on(int signal)
{
    (void)signal;
    send(the_heap->handshake.signal);
}

/* In the handler that has interrupted the store. */
static void
come_directly(void)
{
    gcrt_handshake_signal(the_heap->handshake.signal);
}

/* On top of it. */
static void
come_on_top(void)
{
    send(the_heap->handshake.signal);
}

/* On top of a handler that has interrupted it. */
static void
come_on_two(void)
{
    send(SIGUSR1);
}

/* On top of one that runs on a stack of its own. */
static void
come_elsewhere(void)
{
    send(SIGUSR2);
}

static void
event(void)
{
    stored_here = object->field[0] != old_value;
    epoch_asked = ask(asked);
}

static void
note_answer(void)
{
    answered_here = ahalf_load_relaxed(&self()->answered) == epoch_asked;
    answers += (unsigned long)answered_here;
    refusals += (unsigned long)!answered_here;
}

static void (*come)(void);

static void
handshake_here(void)
{
    event();
    come();
    note_answer();
}

/* The thread goes outside for the time of the fork, where the collector may act for it. */
static void
fork_here(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(7);
    T_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid, "fork");
    T_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the child ends as it should");
}

/* ---- looking ---- */

static const char *what;

static void
prepare(void)
{
    if (gc_impl_self.barrier != BARRIER_OFF)
        ask_and_answer(ACTION_BARRIER_OFF);
    object->field[0] = old_value;
    asked = ACTION_BARRIER_ON;
}

static void
prepare_marking(void)
{
    prepare();
    ask_and_answer(ACTION_BARRIER_ON);
    asked = ACTION_SETTLE;
}

static size_t
count_buffered(const void *p)
{
    size_t n = 0;

    for (uint32_t i = 0; i < self()->nbarrier; i++)
        n += self()->barrier[i] == (uintptr_t)p;
    return n;
}

static void
check_stored(void)
{
    T_CHECK(gc_impl_self.critical == 0, "%s, %s: the section has ended", store->form, what);
    T_CHECK(object->field[0] == new_value, "%s, %s, step %lu: nothing is stored", store->form,
            what, t_event_step);
}

static void
check_answered(void)
{
    check_stored();
    if (answered_here && !stored_here) {
        T_CHECK(count_buffered(old_value) != 0,
                "%s, %s, step %lu: the barrier was turned on before the store, but the old value "
                "is not shaded", store->form, what, t_event_step);
        T_CHECK(new_value == NULL || count_buffered(new_value) != 0,
                "%s, %s, step %lu: the new value is not shaded", store->form, what, t_event_step);
    }
    gc_safepoint();
    T_CHECK(ahalf_load_relaxed(&self()->answered) == epoch_asked, "it is answered in the end");
    T_CHECK(ahalf_load_relaxed(&the_heap->handshake.pending) == 0, "and once");
}

static void (*const run_store[])(void) = { run_pointer, run_element, run_null, run_word };
static const char *const store_names[] = { "gc_write", "gc_write of an element",
    "gc_write of NULL", "gc_write_word" };

/* Two places in a window, at which the thread is moved: before the jump and behind it. */
static void
expect_moves(unsigned long before, unsigned long n)
{
    T_CHECK(t_step_moved() - before == n, "%s, %s: the thread was moved %lu times, and not %lu",
            store->form, what, t_step_moved() - before, n);
}

static void
step_through_handshakes(void (*run)(void))
{
    static void (*const ways[])(void) = { come_directly, come_on_top, come_on_two };

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        unsigned long before = t_step_moved();

        come = ways[i];
        answers = refusals = 0;
        (void)t_event_everywhere(prepare, run, handshake_here, check_answered);
        expect_moves(before, store->windows ? 2 : 0);
        T_CHECK(answers != 0 && (refusals == 0) == store->windows,
                "%s, %s: %lu answers, %lu refusals", store->form, what, answers, refusals);
    }
}

/* Nobody answers there, so nobody is moved. */
static void
step_through_elsewhere(void (*run)(void))
{
    unsigned long before = t_step_moved();

    come = come_elsewhere;
    answers = refusals = 0;
    (void)t_event_everywhere(prepare, run, handshake_here, check_answered);
    expect_moves(before, 0);
    T_CHECK(answers == 0 && refusals != 0, "a handler answers on a foreign stack");
}

/* While marking the windows are shut. */
static void
step_through_marking(void (*run)(void))
{
    unsigned long before = t_step_moved();

    come = come_on_top;
    (void)t_event_everywhere(prepare_marking, run, handshake_here, check_answered);
    expect_moves(before, 0);
    prepare();
}

static void
step_through_forks(void (*run)(void))
{
    unsigned long before = t_step_moved();

    (void)t_event_everywhere(prepare, run, fork_here, check_stored);
    expect_moves(before, store->windows ? 2 : 0);
}

static void
install(int signal, int flags)
{
    struct sigaction act;

    memset(&act, 0, sizeof(act));
    act.sa_handler = pass_on;
    act.sa_flags = flags;
    T_CHECK(sigaction(signal, &act, NULL) == 0, "sigaction");
}

static void
prepare_signals(void)
{
    static char stack[65536] __attribute__((aligned(64)));
    stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };

    T_CHECK(sigaltstack(&alternate, NULL) == 0, "sigaltstack");
    install(SIGUSR1, 0);
    install(SIGUSR2, SA_ONSTACK);
}

static void
all_stores(void)
{
    static const struct stores *const forms[] = { &stores_plain, &stores_unoptimised,
        &stores_fast, &stores_intel, &stores_flagged, &stores_shared };

    for (size_t f = 0; f < ARRAY_LEN(forms); f++) {
        store = forms[f];
        T_CHECK(store->windows == (store != &stores_flagged), "%s: is it a window?", store->form);
        for (size_t i = 0; i < ARRAY_LEN(run_store); i++) {
            what = store_names[i];
            step_through_handshakes(run_store[i]);
            step_through_elsewhere(run_store[i]);
            step_through_forks(run_store[i]);
        }
        step_through_marking(run_pointer);
    }
}

int
main(int argc, char **argv)
{
    gc_options opt;

    asked_options("single_step_window", argc, argv, &opt);
    asked_begin(&opt);
    object = gc_alloc(&node_type);
    old_value = gc_alloc(&node_type);
    value = gc_alloc(&node_type);
    prepare_signals();
    all_stores();
    return asked_end();
}

#else

int
main(void)
{
    return T_SKIP;
}

#endif
