/* SPDX-License-Identifier: MIT */
/*
 * Precise threads: what they say they hold lives, and nothing else does, whatever lies on
 * their stacks.
 */
#include <criterion/criterion.h>
#include <gcrt/gcrt.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

struct node {
    struct node *next;
    uint64_t number;
};

GC_TYPE(node_type, struct node, next);

/* Fixnums end in 0, pointers in 1. */
static const gc_decode low_tag = { .mask = 1, .value = 1, .keep = ~(uint64_t)1 };
/* Doubles, or pointers below the bits 0xfffc. */
static const gc_decode nan_box = { .mask = 0xffffull << 48, .value = 0xfffcull << 48,
    .keep = (1ull << 48) - 1 };

struct value {
    uint64_t bits;
};

GC_TYPE_TAGGED(value_type, struct value, low_tag, bits);
GC_TYPE_TAGGED(boxed_type, struct value, nan_box, bits);

struct long_record {
    double numbers[40];
    uint64_t values[80];
    double more[3];
};

GC_TYPE_TAGGED(long_type, struct long_record, low_tag, values);

struct vector {
    uint64_t n;
    struct value items[];
};

GC_TYPE_FLEX_PLAIN(vector_type, struct vector, items, value_type);

static void
must(gc_status status)
{
    cr_assert_eq(status, GC_OK, "%s", gc_last_error());
}

static void
begin(void)
{
    gc_options opt;

    must(gc_options_from_env(&opt));
    opt.precise_stacks = 1;
    opt.debug_clobberfree = 1;
    opt.debug_verify = 1;
    must(gc_init(&opt));
}

static uint64_t
objects(void)
{
    gc_stats stats;

    gc_collect(NULL);
    gc_stats_read(NULL, &stats);
    return stats.heap_objects;
}

/* Addresses of nodes that live and of dead ones; every word of it looks like a pointer. */
static void *volatile stale[1000];

static struct node *
node_new(uint64_t number)
{
    static unsigned i;
    struct node *node = gc_alloc(&node_type);

    node->number = number;
    stale[i++ % 1000] = node;
    return node;
}

static struct node *
list_new(uint64_t n)
{
    struct node *list = NULL, *node = NULL;
    GC_FRAME(list, node);

    for (uint64_t i = 0; i < n; i++) {
        node = node_new(i);
        gc_write(&node->next, list);
        list = node;
    }
    return list;
}

static uint64_t
list_length(const struct node *list)
{
    uint64_t n = 0;

    for (; list != NULL; list = list->next)
        n++;
    return n;
}

/* ---- frames ---- */

Test(precise, a_stack_full_of_stale_pointers_keeps_nothing_alive, .timeout = 60)
{
    void *volatile here[2000];

    begin();
    for (int i = 0; i < 2000; i++)
        here[i] = node_new(1);
    cr_expect_eq(objects(), 0);
    for (int i = 0; i < 2000; i++)
        cr_assert_neq(here[i], NULL);
    gc_shutdown();
}

Test(precise, what_a_frame_holds_lives_until_the_block_ends, .timeout = 60)
{
    begin();
    {
        struct node *list = list_new(100);
        struct node *pair[2] = { NULL, NULL };
        GC_FRAME(list, pair);

        pair[1] = node_new(7);
        cr_expect_eq(objects(), 101);
        cr_expect_eq(list_length(list), 100);
        cr_expect_eq(pair[1]->number, 7);
        list = list->next;
        cr_expect_eq(objects(), 100, "the first node is nobody's any more");
    }
    cr_expect_eq(objects(), 0);
    gc_shutdown();
}

Test(precise, a_frame_can_end_earlier, .timeout = 60)
{
    struct node *node = NULL;

    begin();
    node = node_new(1);
    GC_FRAME(node);
    cr_expect_eq(objects(), 1);
    GC_FRAME_END;
    cr_expect_eq(objects(), 0);
    gc_shutdown();
}

static jmp_buf jump;

static void
leave_by_longjmp(void)
{
    struct node *node = node_new(1);
    GC_FRAME(node);

    cr_expect_eq(objects(), 2);
    longjmp(jump, 1);
}

Test(precise, frames_that_longjmp_skipped_are_put_right, .timeout = 60)
{
    struct gc_impl_frame *saved;
    struct node *kept = NULL;

    begin();
    kept = node_new(2);
    GC_FRAME(kept);
    saved = gc_frames_save();
    if (setjmp(jump) == 0)
        leave_by_longjmp();
    gc_frames_restore(saved);
    cr_expect_eq(objects(), 1);
    gc_shutdown();
}

static struct node *
recurse(int depth)
{
    struct node *node = node_new((uint64_t)depth), *rest = NULL;
    GC_FRAME(node, rest);

    if (depth > 0) {
        rest = recurse(depth - 1);
        gc_write(&node->next, rest);
    }
    return node;
}

/* A collection at every slow path of allocation. */
Test(precise, results_are_held_on_their_way_to_the_caller, .timeout = 60)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    opt.debug_clobberfree = 1;
    opt.debug_stress = 1;
    opt.debug_tiny = 1;
    must(gc_init(&opt));
    for (int i = 0; i < 20; i++) {
        struct node *list = recurse(500), *taken = NULL;
        GC_FRAME(list, taken);

        cr_assert_eq(list_length(list), 501);
        for (int k = 0; k < 100; k++) {
            taken = gc_exchange(&list->next, NULL);
            cr_assert_eq(taken->number, 499);
            gc_write(&list->next, taken);
        }
        taken = gc_alloc_array(&gc_pointer_type, 100000);
        cr_assert_eq(gc_usable_size(taken) >= 800000, 1);
    }
    gc_shutdown();
}

/* ---- scopes ---- */

Test(precise, locals_live_until_their_scope_ends, .timeout = 60)
{
    gc_scope outer, inner;
    void **cell;

    begin();
    cr_assert_null(gc_local(node_new(1)), "there is no scope");
    gc_scope_enter(&outer);
    for (uint64_t i = 0; i < 1500; i++)
        cr_assert_not_null(gc_local(node_new(i)));
    cr_expect_eq(objects(), 1500);
    gc_scope_enter(&inner);
    for (uint64_t i = 0; i < 1500; i++) {
        cell = gc_local(node_new(i));
        cr_assert_eq(((struct node *)*cell)->number, i);
    }
    cr_expect_eq(objects(), 3000);
    *cell = NULL;
    cr_expect_eq(objects(), 2999, "cells are written plainly");
    cell = gc_scope_escape(&inner, node_new(42));
    cr_expect_eq(objects(), 1501);
    cr_expect_eq(((struct node *)*cell)->number, 42);
    gc_scope_leave(&outer);
    cr_expect_eq(objects(), 0);
    gc_shutdown();
}

Test(precise, scopes_that_end_in_the_wrong_order_are_fatal, .signal = SIGABRT, .timeout = 60)
{
    gc_scope outer, inner;

    begin();
    gc_scope_enter(&outer);
    gc_scope_enter(&inner);
    gc_scope_leave(&outer);
}

/* ---- callbacks ---- */

struct machine {
    struct node *stack[100];
    size_t top;
    uint64_t tagged[2];
};

static void
report(gc_tracer *tracer, void *arg)
{
    struct machine *machine = arg;

    gc_trace_words(tracer, machine->stack, machine->top);
    gc_trace_tagged(tracer, &nan_box, machine->tagged, 2);
}

Test(precise, a_callback_reports_a_value_stack, .timeout = 60)
{
    static struct machine machine;
    double number = 0.1;

    begin();
    must(gc_root_callback(report, &machine));
    for (size_t i = 0; i < 100; i++) {
        machine.stack[machine.top] = node_new(i);
        machine.top++;
    }
    memcpy(&machine.tagged[0], &number, sizeof(number));
    machine.tagged[1] = 0xfffcull << 48 | (uintptr_t)node_new(5);
    cr_expect_eq(objects(), 101);
    machine.top = 50;
    cr_expect_eq(objects(), 51);
    GC_BLOCKING { gc_collect(gc_thread_heap()); }
    cr_expect_eq(objects(), 51, "also while the thread is outside");
    gc_root_callback_remove(report, &machine);
    cr_expect_eq(objects(), 0);
    cr_expect_eq(gc_root_callback(NULL, NULL), GC_ERR_INVAL);
    gc_shutdown();
}

Test(precise, a_callback_that_is_not_there_cannot_be_removed, .signal = SIGABRT, .timeout = 60)
{
    begin();
    gc_root_callback_remove(report, NULL);
}

Test(precise, frames_scopes_and_callbacks_serve_other_threads_too, .timeout = 60)
{
    static struct machine machine;
    gc_scope scope;

    must(gc_init(NULL));
    machine.top = 1;
    must(gc_root_callback(report, &machine));
    gc_scope_enter(&scope);
    cr_assert_not_null(gc_local(node_new(1)));
    machine.stack[0] = node_new(2);
    for (int i = 0; i < 3; i++)
        gc_collect(NULL);
    cr_expect_eq(machine.stack[0]->number, 2);
    gc_scope_leave(&scope);
    gc_shutdown();
}

/* ---- tagged words ---- */

static uint64_t
tag(const void *p)
{
    return (uintptr_t)p | 1;
}

Test(precise, tagged_words_are_followed_and_numbers_are_not, .timeout = 60)
{
    struct value *one = NULL, *many = NULL;
    struct long_record *record = NULL;
    struct vector *vector = NULL;
    GC_FRAME(one, many, record, vector);

    begin();
    one = gc_alloc(&value_type);
    many = gc_alloc_array(&value_type, 50000); /* large, in oblets */
    record = gc_alloc(&long_type);
    vector = gc_alloc_flex(&vector_type, 10);
    gc_write_word(&low_tag, &one->bits, tag(node_new(1)));
    for (int i = 0; i < 50000; i += 100)
        gc_write_word(&low_tag, &many[i].bits, tag(node_new(2)));
    for (int i = 0; i < 80; i++)
        gc_write_word(&low_tag, &record->values[i], tag(node_new(3)));
    for (int i = 0; i < 10; i++)
        gc_write_word(&low_tag, &vector->items[i].bits, tag(node_new(4)));
    cr_expect_eq(objects(), 4 + 1 + 500 + 80 + 10);
    gc_write_word(&low_tag, &one->bits, tag(node_new(1)) & ~(uint64_t)1);
    cr_expect_eq(objects(), 4 + 0 + 500 + 80 + 10, "a fixnum that looks like an address");
    gc_clear(&value_type, many, 50000);
    cr_expect_eq(objects(), 4 + 80 + 10);
    gc_copy(&value_type, many, vector->items, 10);
    gc_clear(&value_type, vector->items, 10);
    cr_expect_eq(objects(), 4 + 80 + 10);
    cr_expect_eq(((struct node *)(uintptr_t)(many[3].bits & ~(uint64_t)1))->number, 4);
    gc_shutdown();
}

Test(precise, types_made_at_run_time_can_be_tagged, .timeout = 60)
{
    static const gc_field fields[] = { { 8, 16 } };
    gc_decode decode = nan_box;
    gc_type_spec spec = { .name = "closure", .size = 32, .form = GC_FORM_FIELDS,
        .fields = fields, .nfields = 1, .decode = &decode };
    const gc_type *type;
    uint64_t *closure = NULL;
    GC_FRAME(closure);

    begin();
    must(gc_type_create(NULL, &spec, &type));
    memset(&decode, 0, sizeof(decode)); /* it has been copied */
    closure = gc_alloc(type);
    gc_write_word(&nan_box, &closure[1], 0xfffcull << 48 | (uintptr_t)node_new(1));
    gc_write_word(&nan_box, &closure[2], (uintptr_t)node_new(2)); /* a tiny double */
    cr_expect_eq(objects(), 2);
    spec.form = GC_FORM_CONSERVATIVE;
    spec.nfields = 0;
    cr_expect_eq(gc_type_create(NULL, &spec, &type), GC_ERR_INVAL);
    gc_shutdown();
}

/* ---- threads ---- */

static int stop, running;

/* Never polls but at the end of each round; no signal may come. */
static void *
precise_main(void *arg)
{
    struct node *list = NULL;
    GC_FRAME(list);

    must(gc_thread_attach_precise(arg));
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        list = list_new(200);
        cr_assert_eq(list_length(list), 200);
        gc_safepoint();
        __atomic_store_n(&running, 1, __ATOMIC_RELEASE);
    }
    gc_thread_detach();
    return NULL;
}

static uint64_t
metric(const char *name)
{
    gc_metric_sample sample = { .name = name };

    must(gc_metrics_read(NULL, &sample, 1));
    return sample.value.u64;
}

Test(precise, precise_threads_are_never_signalled, .timeout = 60)
{
    pthread_t thread[2];

    begin();
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, precise_main, gc_thread_heap()), 0);
    while (!__atomic_load_n(&running, __ATOMIC_ACQUIRE))
        gc_safepoint();
    for (int i = 0; i < 50; i++)
        gc_collect(NULL);
    cr_expect_eq(metric("/gc/handshake/signals:signals"), 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    GC_BLOCKING {
        for (int i = 0; i < 2; i++)
            pthread_join(thread[i], NULL);
    }
    gc_shutdown();
}

static ucontext_t main_context, fiber_context;
static char fiber_stack[256 << 10];
static uint64_t fiber_sum;

static void
fiber_main(void)
{
    struct node *list = list_new(1000);
    GC_FRAME(list);

    gc_collect(NULL);
    gc_block_enter();
    gc_block_leave();
    fiber_sum = list_length(list);
    GC_FRAME_END;
    swapcontext(&fiber_context, &main_context);
}

Test(precise, a_precise_thread_runs_on_any_stack, .timeout = 60)
{
    begin();
    getcontext(&fiber_context);
    fiber_context.uc_stack.ss_sp = fiber_stack;
    fiber_context.uc_stack.ss_size = sizeof(fiber_stack);
    makecontext(&fiber_context, fiber_main, 0);
    swapcontext(&main_context, &fiber_context);
    cr_expect_eq(fiber_sum, 1000);
    cr_expect_eq(objects(), 0);
    gc_shutdown();
}

/* Large strings, so that each copy may have to wait for a collection. */
Test(precise, what_is_copied_needs_no_holder)
{
    enum { BYTES = 1 << 20, ROUNDS = 60 };
    gc_options opt;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    opt.debug_clobberfree = 1;
    opt.gogc = GC_GOGC_OFF;
    opt.memory_limit_hard = (size_t)24 << 20;
    must(gc_init(&opt));
    for (int i = 0; i < ROUNDS; i++) {
        char *text = gc_alloc_bytes(BYTES), *copy;

        memset(text, 'a' + i % 26, BYTES - 1);
        copy = gc_strdup(text);
        cr_assert_eq(copy[0], 'a' + i % 26, "round %d: %#x", i, (unsigned char)copy[0]);
        cr_assert_eq(copy[BYTES - 2], 'a' + i % 26);
    }
    gc_shutdown();
}
