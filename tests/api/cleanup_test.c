/* SPDX-License-Identifier: MIT */
/*
 * Cleanups and finalizers, as docs/cleanups.md promises them.
 *
 * How: threads' stacks are not scanned here, so an object is unreachable as soon as its
 * handle is free; callbacks run in gc_run_cleanups unless a test says otherwise.
 */
#include "kit.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned ran;      /* atomic: callbacks that have run */
static uintptr_t log_[4096]; /* what they were given, in their order */

static void
note(void *arg)
{
    unsigned i = __atomic_fetch_add(&ran, 1, __ATOMIC_ACQ_REL);

    if (i < 4096)
        log_[i] = (uintptr_t)arg;
}

static void
note_object(void *obj, void *arg)
{
    (void)obj;
    note(arg);
}

static gc_options
options(uint32_t threads)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    opt.debug_clobberfree = 1;
    opt.cleanup_threads = threads;
    return opt;
}

static void
begin(uint32_t threads)
{
    gc_options opt = options(threads);

    T_OK(gc_init(&opt));
}

static gc_handle *
make_pair(void *left, void *right)
{
    gc_handle *handle = gc_handle_new(gc_alloc(&pair_type));
    struct pair *p = gc_handle_get(handle);

    gc_write(&p->left, left);
    gc_write(&p->right, right);
    return handle;
}

static void
collect_and_run(size_t want)
{
    size_t have;

    gc_collect(NULL);
    have = gc_run_cleanups(NULL, SIZE_MAX);
    cr_assert_eq(have, want, "%zu callbacks and not %zu", have, want);
}

/* A precise thread must poll, or be outside. */
static void
wait_for(unsigned n)
{
    gc_block_enter();
    while (__atomic_load_n(&ran, __ATOMIC_ACQUIRE) < n)
        t_sleep_us(100);
    gc_block_leave();
}

/* ---- cleanups ---- */

Test(cleanup, runs_once_when_its_object_is_gone, .timeout = 60)
{
    gc_handle *h;

    begin(0);
    h = make_pair(NULL, NULL);
    T_OK(gc_cleanup_add(gc_handle_get(h), note, (void *)7, NULL));
    collect_and_run(0);
    gc_handle_free(h);
    cr_expect_eq(gc_run_cleanups(NULL, 1), 0); /* nobody knows yet */
    collect_and_run(1);
    cr_expect_eq(log_[0], 7);
    collect_and_run(0);
    cr_expect_eq(ran, 1);
    stop();
}

Test(cleanup, of_one_object_the_newest_is_first, .timeout = 60)
{
    gc_handle *h, *other;

    begin(0);
    h = make_pair(NULL, NULL);
    other = make_pair(NULL, NULL);
    for (uintptr_t i = 0; i < 1000; i++) { /* the table grows in between */
        T_OK(gc_cleanup_add(gc_handle_get(h), note, (void *)i, NULL));
        T_OK(gc_cleanup_add(gc_handle_get(other), note, (void *)i, NULL));
    }
    gc_handle_free(h);
    collect_and_run(1000);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(log_[i], 999 - i);
    stop();
}

Test(cleanup, cycles_are_in_order, .timeout = 60)
{
    begin(0);
    for (uintptr_t i = 0; i < 10; i++) {
        gc_handle *h = make_pair(NULL, NULL);

        T_OK(gc_cleanup_add(gc_handle_get(h), note, (void *)i, NULL));
        gc_handle_free(h);
        gc_collect(NULL);
    }
    cr_expect_eq(gc_run_cleanups(NULL, 4), 4);
    cr_expect_eq(gc_run_cleanups(NULL, 100), 6);
    for (unsigned i = 0; i < 10; i++)
        cr_expect_eq(log_[i], i);
    stop();
}

Test(cleanup, an_interior_pointer_will_do, .timeout = 60)
{
    gc_handle *h;

    begin(0);
    h = gc_handle_new(gc_alloc_bytes(1000));
    T_OK(gc_cleanup_add((char *)gc_handle_get(h) + 999, note, NULL, NULL));
    collect_and_run(0);
    gc_handle_free(h);
    collect_and_run(1);
    h = gc_handle_new(gc_alloc_bytes(100000));
    T_OK(gc_cleanup_add((char *)gc_handle_get(h) + 99999, note, NULL, NULL));
    collect_and_run(0);
    gc_handle_free(h);
    collect_and_run(1);
    stop();
}

static void
read_pair(void *arg)
{
    const struct pair *p = arg;
    const uint64_t *word;

    gc_collect(NULL); /* arg is a root until we return */
    word = (const uint64_t *)(const void *)p->left;
    cr_assert_eq(*word, 0x5a5a5a5a);
    note(NULL);
}

Test(cleanup, its_argument_lives_until_it_has_run, .timeout = 60)
{
    gc_handle *h, *arg;
    uintptr_t hide;
    uint64_t *word;

    begin(0);
    h = make_pair(NULL, NULL);
    arg = make_pair(NULL, NULL);
    word = gc_alloc_bytes(64);
    *word = 0x5a5a5a5a;
    gc_write(&((struct pair *)gc_handle_get(arg))->left, (struct pair *)(void *)word);
    hide = t_hide(gc_handle_get(arg));
    T_OK(gc_cleanup_add(gc_handle_get(h), read_pair, gc_handle_get(arg), NULL));
    gc_handle_free(arg);
    t_collect_twice(NULL); /* by the table */
    cr_expect_eq(gc_base(t_reveal(hide)), t_reveal(hide));
    gc_handle_free(h);
    t_collect_twice(NULL); /* by the queue */
    cr_expect_eq(gc_base(t_reveal(hide)), t_reveal(hide));
    collect_and_run(1);
    t_collect_twice(NULL);
    cr_expect_null(gc_base(t_reveal(hide)));
    stop();
}

static void
expect_refused(gc_status status, const char *words)
{
    cr_expect_eq(status, GC_ERR_INVAL);
    cr_expect_not_null(strstr(gc_last_error(), words), "%s", gc_last_error());
}

Test(cleanup, what_makes_no_sense_is_refused_by_name, .timeout = 60)
{
    static int static_object;
    gc_handle *h, *tiny;
    char *p, *t;

    begin(0);
    h = gc_handle_new(gc_alloc_bytes(64));
    tiny = gc_handle_new(gc_alloc_bytes(4));
    p = gc_handle_get(h);
    t = gc_handle_get(tiny);
    expect_refused(gc_cleanup_add(NULL, note, NULL, NULL), "gc_cleanup_add: obj is NULL");
    expect_refused(gc_cleanup_add(&static_object, note, NULL, NULL), "no object of the heap");
    expect_refused(gc_cleanup_add(p, NULL, NULL, NULL), "fn is NULL");
    expect_refused(gc_cleanup_add(p, note, p, NULL), "arg points into obj");
    expect_refused(gc_cleanup_add(p, note, p + 63, NULL), "arg points into obj");
    expect_refused(gc_cleanup_add(t, note, (char *)((uintptr_t)t & ~(uintptr_t)15), NULL),
            "arg points into obj");
    expect_refused(gc_finalizer_set(NULL, note_object, NULL), "gc_finalizer_set: obj is NULL");
    expect_refused(gc_finalizer_set(&static_object, note_object, NULL), "no object");
    expect_refused(gc_finalizer_set(p + 8, note_object, NULL), "not the start");
    expect_refused(gc_finalizer_set(p, note_object, p + 8), "arg points into obj");
    T_OK(gc_finalizer_set(p, NULL, p));
    gc_handle_free(h);
    gc_handle_free(tiny);
    gc_thread_detach();
    cr_expect_eq(gc_cleanup_add(p, note, NULL, NULL), GC_ERR_DETACHED);
    cr_expect_eq(gc_finalizer_set(p, note_object, NULL), GC_ERR_DETACHED);
    T_OK(gc_thread_attach(NULL));
    collect_and_run(0);
    stop();
}

/* ---- taking back ---- */

static gc_cleanup own_name;
static int own_cancel = -1;

static void
cancel_itself(void *arg)
{
    (void)arg;
    own_cancel = gc_cleanup_cancel(own_name);
    note(NULL);
}

Test(cleanup, cancel_says_whether_it_will_not_run, .timeout = 60)
{
    gc_handle *h;
    gc_cleanup name[4];

    begin(0);
    h = make_pair(NULL, NULL);
    for (uintptr_t i = 0; i < 4; i++)
        T_OK(gc_cleanup_add(gc_handle_get(h), note, (void *)i, &name[i]));
    T_OK(gc_cleanup_add(gc_handle_get(h), cancel_itself, NULL, &own_name));
    cr_expect_eq(gc_cleanup_cancel((gc_cleanup){ .impl_record = NULL }), 0);
    cr_expect_eq(gc_cleanup_cancel(name[1]), 1); /* while it is far from due */
    cr_expect_eq(gc_cleanup_cancel(name[1]), 0);
    gc_handle_free(h);
    gc_collect(NULL);
    cr_expect_eq(gc_cleanup_cancel(name[2]), 1); /* while it is due */
    cr_expect_eq(gc_cleanup_cancel(name[2]), 0);
    cr_expect_eq(gc_run_cleanups(NULL, 1), 1);
    cr_expect_eq(own_cancel, 0); /* while it runs */
    collect_and_run(2);
    for (unsigned i = 0; i < 4; i++) /* when it has run */
        cr_expect_eq(gc_cleanup_cancel(name[i]), 0);
    cr_expect_eq(log_[1], 3);
    cr_expect_eq(log_[2], 0);
    stop();
}

Test(cleanup, a_name_is_never_another_cleanups, .timeout = 60)
{
    gc_handle *h;
    gc_cleanup old[100];

    begin(0);
    h = make_pair(NULL, NULL);
    for (unsigned i = 0; i < 100; i++) {
        T_OK(gc_cleanup_add(gc_handle_get(h), note, NULL, &old[i]));
        cr_assert_eq(gc_cleanup_cancel(old[i]), 1);
    }
    for (unsigned i = 0; i < 100; i++) /* their records are used again */
        T_OK(gc_cleanup_add(gc_handle_get(h), note, NULL, NULL));
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(gc_cleanup_cancel(old[i]), 0);
    gc_handle_free(h);
    collect_and_run(100);
    stop();
}

Test(cleanup, what_is_taken_back_keeps_nothing_alive, .timeout = 60)
{
    gc_handle *h, *arg;
    gc_cleanup name;
    uintptr_t hide;

    begin(0);
    h = make_pair(NULL, NULL);
    arg = make_pair(NULL, NULL);
    hide = t_hide(gc_handle_get(arg));
    T_OK(gc_cleanup_add(gc_handle_get(h), note, gc_handle_get(arg), &name));
    gc_handle_free(arg);
    t_collect_twice(NULL);
    cr_expect_not_null(gc_base(t_reveal(hide)));
    cr_expect_eq(gc_cleanup_cancel(name), 1);
    t_collect_twice(NULL);
    cr_expect_null(gc_base(t_reveal(hide)));
    gc_handle_free(h);
    collect_and_run(0);
    stop();
}

/* ---- weak references come first ---- */

static gc_handle *weak_handle;

static void
look_at_weak(void *arg)
{
    const gc_weak *weak = arg != NULL ? arg : gc_handle_get(weak_handle);

    cr_assert_null(gc_weak_get(weak));
    note(NULL);
}

static void
look_at_weak_of_object(void *obj, void *arg)
{
    cr_assert_eq(gc_base(obj), obj);
    look_at_weak(arg);
}

Test(cleanup, weak_references_read_null_before_any_callback, .timeout = 60)
{
    gc_handle *h, *f;

    begin(0);
    h = make_pair(NULL, NULL);
    f = make_pair(NULL, NULL);
    weak_handle = gc_handle_new(gc_weak_new(gc_handle_get(f)));
    T_OK(gc_cleanup_add(gc_handle_get(h), look_at_weak, gc_weak_new(gc_handle_get(h)), NULL));
    T_OK(gc_finalizer_set(gc_handle_get(f), look_at_weak_of_object, NULL));
    gc_handle_free(h);
    gc_handle_free(f);
    collect_and_run(2);
    gc_handle_free(weak_handle);
    stop();
}

/* ---- finalizers ---- */

static gc_handle *kept;

static void
keep_object(void *obj, void *arg)
{
    const struct pair *p = obj;

    cr_assert_eq(gc_base(p->left), p->left); /* what it points to is there */
    cr_assert_eq(*(const uint64_t *)(const void *)p->left, 0x77);
    kept = gc_handle_new(obj);
    note(arg);
}

static gc_handle *
make_finalizable(gc_finalizer_fn *fn, void *arg)
{
    gc_handle *h = make_pair(NULL, NULL);
    uint64_t *word = gc_alloc_bytes(64);

    *word = 0x77;
    gc_write(&((struct pair *)gc_handle_get(h))->left, (struct pair *)(void *)word);
    T_OK(gc_finalizer_set(gc_handle_get(h), fn, arg));
    return h;
}

Test(finalizer, may_keep_its_object_and_runs_once, .timeout = 60)
{
    gc_handle *h;
    uintptr_t hide;

    begin(0);
    h = make_finalizable(keep_object, (void *)3);
    hide = t_hide(gc_handle_get(h));
    collect_and_run(0);
    gc_handle_free(h);
    collect_and_run(1);
    cr_expect_eq(log_[0], 3);
    t_collect_twice(NULL);
    cr_expect_eq(gc_handle_get(kept), t_reveal(hide));
    cr_expect_eq(*(uint64_t *)(void *)((struct pair *)gc_handle_get(kept))->left, 0x77);
    gc_handle_free(kept);
    collect_and_run(0);
    cr_expect_null(gc_base(t_reveal(hide)));
    stop();
}

static void
set_again(void *obj, void *arg)
{
    T_OK(gc_finalizer_set(obj, set_again, arg));
    note(arg);
}

Test(finalizer, may_be_set_again_for_ever, .timeout = 60)
{
    gc_handle *h;

    begin(0);
    h = make_finalizable(set_again, NULL);
    gc_handle_free(h);
    for (int i = 0; i < 50; i++)
        collect_and_run(1);
    stop();
}

Test(finalizer, of_a_chain_come_one_cycle_after_the_other, .timeout = 60)
{
    gc_handle *h = NULL;

    begin(0);
    for (uintptr_t i = 0; i < 5; i++) {
        gc_handle *next = make_pair(h == NULL ? NULL : gc_handle_get(h), NULL);

        T_OK(gc_finalizer_set(gc_handle_get(next), note_object, (void *)i));
        if (h != NULL)
            gc_handle_free(h);
        h = next;
    }
    gc_handle_free(h);
    for (uintptr_t i = 0; i < 5; i++) {
        collect_and_run(1);
        cr_expect_eq(log_[i], 4 - i);
    }
    collect_and_run(0);
    stop();
}

Test(finalizer, of_a_ring_never_runs, .timeout = 60)
{
    gc_handle *a, *b, *self;

    begin(0);
    a = make_pair(NULL, NULL);
    b = make_pair(gc_handle_get(a), NULL);
    self = make_pair(NULL, NULL);
    gc_write(&((struct pair *)gc_handle_get(a))->right, gc_handle_get(b));
    gc_write(&((struct pair *)gc_handle_get(self))->right, gc_handle_get(self));
    T_OK(gc_finalizer_set(gc_handle_get(a), note_object, NULL));
    T_OK(gc_finalizer_set(gc_handle_get(self), note_object, NULL));
    gc_handle_free(a);
    gc_handle_free(b);
    gc_handle_free(self);
    collect_and_run(0);
    collect_and_run(0);
    cr_expect_eq(gc_run_cleanups_all(NULL), 2); /* but at the end, if it is asked for */
    stop();
}

Test(finalizer, comes_before_the_cleanups_of_its_object, .timeout = 60)
{
    gc_handle *h;

    begin(0);
    h = make_finalizable(keep_object, (void *)1);
    T_OK(gc_cleanup_add(gc_handle_get(h), note, (void *)2, NULL));
    gc_handle_free(h);
    collect_and_run(1);
    collect_and_run(0);
    gc_handle_free(kept);
    collect_and_run(1);
    cr_expect_eq(log_[0], 1);
    cr_expect_eq(log_[1], 2);
    stop();
}

Test(finalizer, is_replaced_and_cleared, .timeout = 60)
{
    gc_handle *h, *g;

    begin(0);
    h = make_finalizable(note_object, (void *)1);
    g = make_finalizable(note_object, (void *)2);
    T_OK(gc_finalizer_set(gc_handle_get(h), note_object, (void *)3));
    T_OK(gc_finalizer_set(gc_handle_get(g), NULL, NULL));
    T_OK(gc_finalizer_set(gc_handle_get(g), NULL, NULL)); /* there is none: that is right */
    gc_handle_free(h);
    gc_handle_free(g);
    collect_and_run(1);
    cr_expect_eq(log_[0], 3);
    collect_and_run(0);
    stop();
}

/* ---- modes ---- */

static void
finalize_many(const gc_options *opt)
{
    T_OK(gc_init(opt));
    for (uintptr_t i = 0; i < 500; i++) {
        gc_handle *h = make_pair(NULL, NULL);

        T_OK(gc_cleanup_add(gc_handle_get(h), note, (void *)i, NULL));
        if (i % 2)
            T_OK(gc_finalizer_set(gc_handle_get(h), note_object, (void *)i));
        gc_handle_free(h);
    }
    gc_collect(NULL);
    wait_for(500); /* cleanups of half, finalizers of the others */
    gc_collect(NULL);
    wait_for(750);
    stop();
    cr_expect_eq(ran, 750);
}

Test(modes, on_threads, .timeout = 60)
{
    gc_options opt = options(1);

    finalize_many(&opt);
}

Test(modes, on_four_threads, .timeout = 60)
{
    gc_options opt = options(4);

    finalize_many(&opt);
}

Test(modes, while_cycles_hold_everybody, .timeout = 60)
{
    gc_options opt = options(1);

    opt.mode = GC_MODE_STW;
    finalize_many(&opt);
}

Test(modes, watched_stores, .timeout = 60)
{
    gc_options opt = options(1);

    opt.debug_wbcheck = 1;
    opt.debug_stress = 20;
    finalize_many(&opt);
}

Test(modes, verified, .timeout = 60)
{
    gc_options opt = options(1);

    opt.debug_verify = 2;
    opt.debug_checkmark = 1;
    opt.debug_stress = 20;
    opt.debug_tiny = 1;
    finalize_many(&opt);
}

static void
churn(void *arg)
{
    for (int i = 0; i < 1000; i++)
        GC_KEEP_ALIVE(gc_alloc(&pair_type));
    gc_collect(NULL);
    if (arg == NULL) {
        gc_handle *h = gc_handle_new(gc_alloc(&pair_type));

        T_OK(gc_cleanup_add(gc_handle_get(h), churn, (void *)1, NULL));
        gc_handle_free(h);
        gc_collect(NULL);
    }
    note(NULL);
}

Test(modes, callbacks_allocate_collect_and_add, .timeout = 60)
{
    gc_handle *h;

    begin(1);
    for (int i = 0; i < 3; i++) {
        h = make_pair(NULL, NULL);
        T_OK(gc_cleanup_add(gc_handle_get(h), churn, NULL, NULL));
        gc_handle_free(h);
    }
    gc_collect(NULL);
    wait_for(6);
    stop();
}

/* Conservative stacks: most go, and what goes goes once. */
static __attribute__((noinline)) void
drop_many(void)
{
    for (uintptr_t i = 0; i < 1000; i++)
        T_OK(gc_cleanup_add(gc_alloc(&pair_type), note, (void *)i, NULL));
}

Test(modes, with_scanned_stacks, .timeout = 60)
{
    gc_options opt = options(1);

    opt.precise_stacks = 0;
    T_OK(gc_init(&opt));
    drop_many();
    t_collect_twice(NULL);
    wait_for(998);
    stop();
    cr_expect_leq(ran, 1000);
}

/* ---- the end ---- */

Test(end, shutdown_runs_none, .timeout = 60)
{
    gc_handle *h;

    begin(0);
    for (int i = 0; i < 10; i++) {
        h = make_finalizable(note_object, NULL);
        T_OK(gc_cleanup_add(gc_handle_get(h), note, NULL, NULL));
        if (i % 2)
            gc_handle_free(h);
    }
    gc_collect(NULL);
    stop();
    cr_expect_eq(ran, 0);
}

Test(end, all_that_is_left_runs_on_request_finalizers_first, .timeout = 60)
{
    begin(0);
    for (uintptr_t i = 0; i < 100; i++) {
        gc_handle *h = make_finalizable(note_object, (void *)1);

        T_OK(gc_cleanup_add(gc_handle_get(h), note, (void *)2, NULL));
        T_OK(gc_cleanup_add(gc_handle_get(h), note, (void *)2, NULL));
        if (i % 2)
            gc_handle_free(h);
    }
    gc_collect(NULL); /* some are due already */
    cr_expect_eq(gc_run_cleanups_all(NULL), 300);
    for (unsigned i = 0; i < 300; i++)
        cr_assert_eq(log_[i], i < 100 ? 1 : 2);
    collect_and_run(0);
    stop();
}

static sem_t gate;

/* In a blocking region: a precise thread that neither polls nor is outside holds up cycles. */
static void
stay(void *arg)
{
    (void)arg;
    note(NULL);
    GC_BLOCKING
    {
        while (sem_wait(&gate) != 0)
            ;
    }
}

Test(end, shutdown_does_not_wait_for_ever, .timeout = 60)
{
    gc_options opt = options(1);
    gc_handle *h;

    opt.cleanup_slow_ms = 50;
    cr_assert_eq(sem_init(&gate, 0, 0), 0);
    T_OK(gc_init(&opt));
    h = make_pair(NULL, NULL);
    T_OK(gc_cleanup_add(gc_handle_get(h), stay, NULL, NULL));
    gc_handle_free(h);
    gc_collect(NULL);
    wait_for(1);
    gc_shutdown(); /* says so, and leaves the heap */
    cr_expect_eq(gc_init(&opt), GC_ERR_BUSY);
    cr_expect_eq(sem_post(&gate), 0);
    gc_shutdown();
    T_OK(gc_init(&opt)); /* there was none left */
    gc_shutdown();
}

/* ---- fork ---- */

Test(end, a_child_has_what_is_due_and_what_is_registered, .timeout = 60)
{
    gc_handle *due, *later;
    int status;
    pid_t pid;

    begin(0);
    due = make_pair(NULL, NULL);
    later = make_pair(NULL, NULL);
    T_OK(gc_cleanup_add(gc_handle_get(due), note, (void *)1, NULL));
    T_OK(gc_cleanup_add(gc_handle_get(later), note, (void *)2, NULL));
    gc_handle_free(due);
    gc_collect(NULL);
    pid = fork();
    if (pid == 0) {
        if (gc_run_cleanups(NULL, 9) != 1 || log_[0] != 1)
            _exit(1);
        gc_handle_free(later);
        gc_collect(NULL);
        if (gc_run_cleanups(NULL, 9) != 1 || log_[1] != 2)
            _exit(2);
        gc_shutdown();
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    gc_handle_free(later);
    collect_and_run(2); /* and so has the parent */
    stop();
}

/* ---- numbers ---- */

static uint64_t
metric(const char *name)
{
    gc_metric_sample sample = { .name = name };

    T_OK(gc_metrics_read(NULL, &sample, 1));
    cr_assert_eq(sample.kind, GC_METRIC_U64);
    return sample.value.u64;
}

Test(numbers, metrics_count_them, .timeout = 60)
{
    gc_cleanup name;
    gc_handle *h;

    begin(0);
    h = make_finalizable(note_object, NULL);
    T_OK(gc_cleanup_add(gc_handle_get(h), note, NULL, NULL));
    T_OK(gc_cleanup_add(gc_handle_get(h), note, NULL, &name));
    cr_expect_eq(metric("/gc/cleanups/registered:cleanups"), 2);
    cr_expect_eq(metric("/gc/finalizers/registered:finalizers"), 1);
    cr_expect_eq(gc_cleanup_cancel(name), 1);
    cr_expect_eq(metric("/gc/cleanups/cancelled:cleanups"), 1);
    gc_handle_free(h);
    gc_collect(NULL);
    cr_expect_eq(metric("/gc/finalizers/registered:finalizers"), 0);
    cr_expect_eq(metric("/gc/finalizers/queued:finalizers"), 1);
    cr_expect_eq(metric("/gc/finalizers/executed:finalizers"), 0);
    cr_expect_eq(gc_run_cleanups(NULL, 9), 1);
    cr_expect_eq(metric("/gc/finalizers/executed:finalizers"), 1);
    cr_expect_eq(metric("/gc/cleanups/queued:cleanups"), 0);
    collect_and_run(1);
    cr_expect_eq(metric("/gc/cleanups/queued:cleanups"), 1);
    cr_expect_eq(metric("/gc/cleanups/executed:cleanups"), 1);
    cr_expect_eq(metric("/gc/cleanups/registered:cleanups"), 0);
    cr_expect_eq(metric("/gc/cleanups/slow:callbacks"), 0);
    stop();
}
