/* SPDX-License-Identifier: MIT */
/*
 * Weak references as a host sees them: precise heaps, where what dies is known to the object,
 * then heaps that scan stacks, that hold their threads, several threads, fork, and misuse.
 */
#define _GNU_SOURCE

#include "fatal.h"
#include "kit.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct node {
    struct node *next;
    gc_weak *weak;
    uint64_t number;
};

GC_TYPE(node_type, struct node, next, weak);

static void
begin(void (*adjust)(gc_options *opt))
{
    gc_options opt;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    opt.debug_clobberfree = 1;
    opt.debug_verify = 1;
    if (adjust != NULL)
        adjust(&opt);
    T_OK(gc_init(&opt));
}

static void
hold_threads(gc_options *opt)
{
    opt->mode = GC_MODE_STW;
}

static void
collect_often(gc_options *opt)
{
    opt->debug_stress = 1;
}

static void
run_by_hand(gc_options *opt)
{
    opt->cleanup_threads = 0;
}

static struct node *
node_new(uint64_t number)
{
    struct node *node = gc_alloc(&node_type);

    node->number = number;
    return node;
}

/* ---- one object ---- */

static void
live_and_die(void)
{
    struct node *node = NULL;
    gc_weak *weak = NULL;
    GC_FRAME(node, weak);

    node = node_new(7);
    weak = gc_weak_new(node);
    for (int i = 0; i < 3; i++) {
        gc_collect(NULL);
        cr_assert_eq(gc_weak_get(weak), node);
        cr_assert_eq(gc_weak_new(node), weak);
    }
    cr_assert_eq(node->number, 7);
    node = NULL;
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_null(gc_weak_get(weak));
    node = node_new(8);
    cr_assert_neq(gc_weak_new(node), weak, "an empty one is nobody's any more");
    gc_collect(NULL);
    cr_assert_null(gc_weak_get(weak), "once NULL, always NULL");
}

Test(weak, lives_and_dies_with_its_object)
{
    begin(NULL);
    live_and_die();
    stop();
}

Test(weak, in_a_heap_that_holds_its_threads)
{
    begin(hold_threads);
    live_and_die();
    stop();
}

Test(weak, with_a_collection_at_every_slow_path)
{
    begin(collect_often);
    live_and_die();
    stop();
}

/* An argument needs no other holder: the object is there until the call returns. */
Test(weak, of_an_object_that_nobody_else_holds)
{
    begin(collect_often);
    for (uint64_t i = 0; i < 300; i++) {
        gc_weak *weak = gc_weak_new(node_new(i));
        struct node *node = gc_weak_get(weak);

        cr_assert(node == NULL || node->number == i);
    }
    stop();
}

/* What is reached through the last strong reference counts, too. */
Test(weak, follows_what_keeps_its_object)
{
    struct node *list = NULL, *node = NULL;
    gc_weak *weak = NULL;
    GC_FRAME(list, node, weak);

    begin(NULL);
    for (uint64_t i = 0; i < 100; i++) {
        node = node_new(i);
        gc_write(&node->next, list);
        list = node;
        if (i == 0)
            weak = gc_weak_new(node);
    }
    node = NULL;
    gc_collect(NULL);
    cr_assert_not_null(gc_weak_get(weak));
    cr_assert_eq(((struct node *)gc_weak_get(weak))->number, 0);
    gc_write(&list->next, NULL);
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_null(gc_weak_get(weak));
    stop();
}

Test(weak, a_handle_and_a_root_keep_it_as_well)
{
    static struct node *root;
    gc_handle *handle;
    gc_weak *weak = NULL;
    GC_FRAME(weak);

    begin(NULL);
    T_OK(gc_root_add(&root, sizeof(root)));
    handle = gc_handle_new(node_new(1));
    weak = gc_weak_new(gc_handle_get(handle));
    gc_collect(NULL);
    gc_write(&root, gc_weak_get(weak));
    gc_handle_free(handle);
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_eq(gc_weak_get(weak), root);
    gc_write(&root, NULL);
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_null(gc_weak_get(weak));
    gc_root_remove(&root);
    stop();
}

/* ---- many ---- */

/* A reference that is thrown away leaves nothing; the object does not mind. */
Test(weak, references_are_garbage_like_any_other)
{
    struct node *node = NULL;
    uint64_t before;
    GC_FRAME(node);

    begin(NULL);
    node = node_new(1);
    gc_collect(NULL);
    before = t_heap_objects(NULL);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20000; i++)
            cr_assert_not_null(gc_weak_new(node_new(2)));
        cr_assert_not_null(gc_weak_new(node));
        gc_collect(NULL);
        gc_collect(NULL);
        cr_assert_eq(t_heap_objects(NULL), before);
    }
    cr_assert_eq(node->number, 1);
    stop();
}

#define MANY 30000

/* Two of three are kept; the array of references is an object with pointers to all of them. */
Test(weak, exactly_those_that_nobody_holds_are_null)
{
    gc_weak **weak = NULL;
    struct node **kept = NULL;
    size_t i;
    GC_FRAME(weak, kept);

    begin(NULL);
    weak = gc_alloc_array(&gc_pointer_type, MANY);
    kept = gc_alloc_array(&gc_pointer_type, MANY);
    for (i = 0; i < MANY; i++) {
        gc_write(&kept[i], node_new(i));
        gc_write(&weak[i], gc_weak_new(kept[i]));
    }
    for (i = 0; i < MANY; i += 3)
        gc_write(&kept[i], NULL);
    gc_collect(NULL);
    gc_collect(NULL);
    for (i = 0; i < MANY; i++)
        cr_assert_eq(gc_weak_get(weak[i]), kept[i], "reference %zu", i);
    for (i = 0; i < MANY; i++)
        cr_assert(kept[i] == NULL || kept[i]->number == i);
    stop();
}

static uint64_t
metric(const char *name)
{
    gc_metric_sample sample = { .name = name };

    T_OK(gc_metrics_read(NULL, &sample, 1));
    return sample.value.u64;
}

Test(weak, metrics_count_them)
{
    struct node *node = NULL;
    gc_weak *weak = NULL, *other = NULL;
    GC_FRAME(node, weak, other);

    begin(NULL);
    node = node_new(1);
    weak = gc_weak_new(node);
    other = gc_weak_new(node_new(2));
    cr_assert_eq(metric("/gc/weak/live:references"), 2);
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_null(gc_weak_get(other));
    cr_assert_eq(metric("/gc/weak/live:references"), 1);
    cr_assert_eq(metric("/gc/weak/emptied:references"), 1);
    weak = NULL;
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_eq(metric("/gc/weak/live:references"), 0);
    cr_assert_eq(metric("/gc/weak/emptied:references"), 1, "nobody was told");
    cr_assert_eq(metric("/gc/special/cleanups:records"), 0);
    cr_assert_eq(metric("/gc/special/finalizers:records"), 0);
    stop();
}

Test(weak, a_reference_to_a_reference)
{
    struct node *node = NULL;
    gc_weak *weak = NULL, *outer = NULL;
    GC_FRAME(node, weak, outer);

    begin(NULL);
    node = node_new(1);
    weak = gc_weak_new(node);
    outer = gc_weak_new(weak);
    cr_assert_neq(outer, weak);
    gc_collect(NULL);
    cr_assert_eq(gc_weak_get(outer), weak);
    weak = NULL;
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_null(gc_weak_get(outer));
    cr_assert_neq(gc_weak_new(node), NULL);
    stop();
}

/* The only strong reference to the weak one lies in its own object: both go. */
Test(weak, an_object_that_holds_its_own_reference)
{
    struct node *node = NULL;
    uint64_t before;
    GC_FRAME(node);

    begin(NULL);
    before = t_heap_objects(NULL);
    node = node_new(1);
    gc_write(&node->weak, gc_weak_new(node));
    gc_collect(NULL);
    cr_assert_eq(gc_weak_get(node->weak), node);
    node = NULL;
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_eq(t_heap_objects(NULL), before);
    stop();
}

static struct {
    gc_weak *weak;
} revived; /* a registered root */

static void
revive(void *weak, void *arg)
{
    (void)arg;
    gc_write(&revived.weak, weak);
}

/* Its record has gone with it, so nobody could tell it of its object's death. */
Test(weak, a_reference_that_a_finalizer_brings_back_is_empty)
{
    struct node *node = NULL;
    GC_FRAME(node);

    begin(run_by_hand);
    T_OK(gc_root_add(&revived, sizeof(revived)));
    node = node_new(1);
    T_OK(gc_finalizer_set(gc_weak_new(node), revive, NULL));
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_eq(gc_run_cleanups(NULL, 2), 1);
    cr_assert_not_null(revived.weak);
    cr_expect_null(gc_weak_get(revived.weak));
    node = NULL;
    gc_collect(NULL);
    gc_collect(NULL);
    cr_expect_null(gc_weak_get(revived.weak));
    gc_root_remove(&revived);
    stop();
}

/* ---- which object ---- */

Test(weak, a_pointer_into_an_object_means_the_object)
{
    struct node *node = NULL;
    char *large = NULL, *tiny = NULL;
    gc_weak *weak = NULL;
    GC_FRAME(node, large, tiny, weak);

    begin(NULL);
    node = node_new(1);
    weak = gc_weak_new(&node->number);
    cr_assert_eq(gc_weak_get(weak), node);
    cr_assert_eq(gc_weak_new(node), weak);
    large = gc_alloc_bytes(200000);
    weak = gc_weak_new(large + 150000);
    cr_assert_eq(gc_weak_get(weak), large);
    large = NULL;
    gc_collect(NULL);
    gc_collect(NULL);
    cr_assert_null(gc_weak_get(weak));
    tiny = gc_alloc_bytes(3);
    weak = gc_weak_new(tiny);
    gc_collect(NULL);
    cr_assert_eq(gc_weak_get(weak), tiny);
    stop();
}

/* ---- heaps that scan stacks ---- */

static __attribute__((noinline)) void
fill(gc_weak **weak, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gc_write(&weak[i], gc_weak_new(node_new(i)));
}

Test(weak, with_scanned_stacks_nearly_all_die)
{
    gc_weak **weak;
    size_t left = 0;

    start();
    weak = gc_alloc_array(&gc_pointer_type, 1000);
    fill(weak, 1000);
    t_collect_twice(NULL);
    for (size_t i = 0; i < 1000; i++) {
        struct node *node = gc_weak_get(weak[i]);

        left += node != NULL;
        cr_assert(node == NULL || node->number == i);
    }
    cr_assert_leq(left, 10, "%zu are left", left);
    stop();
}

/* wbcheck=1 has every call take the slow half. */
Test(weak, under_wbcheck)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.debug_wbcheck = 1;
    opt.precise_stacks = 1;
    T_OK(gc_init(&opt));
    live_and_die();
    stop();
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS  300

static struct {
    pthread_barrier_t gate;
    struct node *node;          /* a registered root: written by one thread only */
    gc_weak *seen[THREADS];     /* registered roots */
} shared;

static void *
meet(void *arg)
{
    size_t me = (size_t)(uintptr_t)arg;

    for (int round = 0; round < ROUNDS; round++) {
        GC_BLOCKING { pthread_barrier_wait(&shared.gate); }
        if (me == 0)
            gc_write(&shared.node, node_new((uint64_t)round));
        GC_BLOCKING { pthread_barrier_wait(&shared.gate); }
        gc_write(&shared.seen[me], gc_weak_new(shared.node));
        if (me == 1 && round % 8 == 0)
            gc_collect(NULL);
        GC_BLOCKING { pthread_barrier_wait(&shared.gate); }
        cr_assert_eq(shared.seen[me], shared.seen[0], "all threads get the same one");
        cr_assert_eq(gc_weak_get(shared.seen[me]), shared.node);
    }
    return NULL;
}

Test(weak, all_threads_get_the_same_reference)
{
    pthread_t thread[THREADS];

    begin(NULL);
    pthread_barrier_init(&shared.gate, NULL, THREADS);
    T_OK(gc_root_add(&shared.node, sizeof(shared.node)));
    T_OK(gc_root_add(shared.seen, sizeof(shared.seen)));
    for (uintptr_t i = 0; i < THREADS; i++)
        T_OK(gc_pthread_create(&thread[i], NULL, meet, (void *)i));
    for (size_t i = 0; i < THREADS; i++)
        GC_BLOCKING { pthread_join(thread[i], NULL); }
    gc_root_remove(&shared.node);
    gc_root_remove(shared.seen);
    stop();
}

/* ---- fork ---- */

Test(weak, a_child_has_the_same_references)
{
    struct node *node = NULL;
    gc_weak *weak = NULL;
    pid_t child;
    int status = -1;
    GC_FRAME(node, weak);

    begin(NULL);
    node = node_new(5);
    weak = gc_weak_new(node);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        int ok = gc_weak_get(weak) == node && gc_weak_new(node) == weak;

        gc_collect(NULL);
        ok = ok && gc_weak_get(weak) == node;
        node = NULL;
        gc_collect(NULL);
        gc_collect(NULL);
        ok = ok && gc_weak_get(weak) == NULL && gc_verify(NULL) == GC_OK;
        _exit(ok ? 0 : 1);
    }
    GC_BLOCKING { waitpid(child, &status, 0); }
    cr_assert_eq(status, 0);
    cr_assert_eq(gc_weak_get(weak), node);
    gc_collect(NULL);
    cr_assert_eq(gc_weak_get(weak), node);
    stop();
}

/* ---- what is refused ---- */

FATAL(new_of_a_local, "gc_weak_new: 0x")
{
    int local = 0;

    begin(NULL);
    GC_KEEP_ALIVE(gc_weak_new(opaque(&local)));
}

FATAL(new_of_malloced_memory, "points into no object")
{
    begin(NULL);
    GC_KEEP_ALIVE(gc_weak_new(malloc(10)));
}

static gc_heap *
other_heap(void)
{
    gc_options opt;
    gc_heap *heap;

    gc_options_default(&opt);
    opt.reserve = (size_t)1 << 30;
    T_OK(gc_heap_create(&opt, &heap));
    return heap;
}

FATAL(new_of_another_heaps_object, "in another heap")
{
    gc_handle *handle;

    begin(NULL);
    handle = gc_handle_new(node_new(1));
    gc_thread_detach();
    T_OK(gc_thread_attach(other_heap()));
    GC_KEEP_ALIVE(gc_weak_new(gc_handle_get(handle)));
}

FATAL(get_of_another_heaps_reference, "gc_weak_get: 0x|no weak reference")
{
    gc_handle *handle;

    begin(NULL);
    handle = gc_handle_new(gc_weak_new(node_new(1)));
    gc_thread_detach();
    T_OK(gc_thread_attach(other_heap()));
    GC_KEEP_ALIVE(gc_weak_get(gc_handle_get(handle)));
}

FATAL(get_of_something_else, "gc_weak_get: 0x|no weak reference")
{
    begin(NULL);
    GC_KEEP_ALIVE(gc_weak_get(gc_alloc_bytes(64)));
}

FATAL(new_on_a_detached_thread, "gc_weak_new|attach")
{
    void *node;

    begin(NULL);
    node = opaque(node_new(1));
    gc_thread_detach();
    GC_KEEP_ALIVE(gc_weak_new(node));
}

FATAL(get_on_a_detached_thread, "gc_weak_get|attach")
{
    gc_weak *weak;

    begin(NULL);
    weak = opaque(gc_weak_new(node_new(1)));
    gc_thread_detach();
    GC_KEEP_ALIVE(gc_weak_get(weak));
}

FATAL(get_in_a_blocking_region, "gc_weak_get|block")
{
    gc_weak *weak;

    begin(NULL);
    weak = opaque(gc_weak_new(node_new(1)));
    GC_BLOCKING { GC_KEEP_ALIVE(gc_weak_get(weak)); }
}

Test(weak_misuse, the_try_form_says_why)
{
    int local = 0;

    begin(NULL);
    cr_assert_null(gc_try_weak_new(opaque(&local)));
    cr_assert(t_mentions(gc_last_error(), "gc_try_weak_new: 0x"), "%s", gc_last_error());
    cr_assert_null(gc_try_weak_new(NULL));
    stop();
}
