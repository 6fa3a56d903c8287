/* SPDX-License-Identifier: MIT */
/*
 * Arenas: what lies in one keeps alive what it points to, whatever its type; what is freed is
 * gone at once, and its addresses are nobody's until nothing points to them.  Threads are
 * precise, so what is not in `roots` is not held.
 */
#include "fatal.h"

#include <gcrt/gcrt.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

struct node {
    struct node *next;
    uint64_t number;
};

struct wide { /* pointers beyond the 64 words of a mask */
    uint64_t head[100];
    struct node *a;
    uint64_t gap;
    struct node *b;
};

struct bag {
    struct node *first;
    uint64_t n;
    struct node items[];
};

struct hidden {
    uint64_t word; /* ~address */
    uint64_t gap[2];
};

struct value {
    uint64_t tagged; /* address + 1 */
    uint64_t number;
};

struct blob {
    char bytes[40];
};

static const gc_decode plus_one = { .mask = 7, .value = 1, .keep = ~(uint64_t)7 };

static void
trace_hidden(const void *obj, size_t bytes, gc_tracer *tracer)
{
    uint64_t word = __atomic_load_n(&((const struct hidden *)obj)->word, __ATOMIC_RELAXED);

    (void)bytes;
    if (word != 0)
        gc_trace(tracer, (const void *)~word);
}

GC_TYPE(node_type, struct node, next);
GC_TYPE(wide_type, struct wide, a, b);
GC_TYPE_FLEX(bag_type, struct bag, items, node_type, first);
GC_TYPE_TRACED(hidden_type, struct hidden, trace_hidden);
GC_TYPE_TAGGED(value_type, struct value, plus_one, tagged);
GC_TYPE_CONSERVATIVE(loose_type, struct blob);
GC_TYPE_NOSCAN(blob_type, struct blob);

#define ROOTS 64
#define MANY  4000

static void *roots[ROOTS];
#define ARENA ((gc_arena *)roots[0])
#define TEMP  1

static void
begin_with(gc_options *opt, bool stw)
{
    opt->precise_stacks = 1;
    opt->debug_clobberfree = 1;
    opt->mode = stw ? GC_MODE_STW : GC_MODE_CONCURRENT;
    T_OK(gc_init(opt));
    memset(roots, 0, sizeof(roots));
    T_OK(gc_root_add(roots, sizeof(roots)));
    gc_write(&roots[0], gc_arena_new("request"));
}

static void
begin(bool stw)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.debug_verify = 2;
    opt.debug_checkmark = 1;
    begin_with(&opt, stw);
}

static void
end(void)
{
    gc_root_remove(roots);
    t_verify(NULL);
    gc_shutdown();
}

#define IN_BOTH_MODES(name)                     \
    static void name(void);                     \
    Test(arena, name##_concurrent)              \
    {                                           \
        begin(false);                           \
        name();                                 \
        end();                                  \
    }                                           \
    Test(arena, name##_stopped)                 \
    {                                           \
        begin(true);                            \
        name();                                 \
        end();                                  \
    }                                           \
    static void name(void)

static uint64_t
metric(const char *name)
{
    gc_metric_sample sample = { .name = name };

    T_OK(gc_metrics_read(NULL, &sample, 1));
    cr_assert_eq(sample.kind, GC_METRIC_U64, "%s", name);
    return sample.value.u64;
}

/* A fresh node of the heap, held by roots[TEMP]. */
static struct node *
node(uint64_t number)
{
    struct node *n = gc_alloc(&node_type);

    n->number = number;
    gc_write(&roots[TEMP], n);
    return n;
}

static void
forget_temp(void)
{
    gc_write(&roots[TEMP], NULL);
}

static void
expect_node(const struct node *n, uint64_t number)
{
    cr_assert(n != NULL);
    cr_assert_eq(n->number, number, "node %llu is %llx", (unsigned long long)number,
            (unsigned long long)n->number);
}

/* ---- what objects point to ---- */

IN_BOTH_MODES(fields_of_every_form_keep_their_targets)
{
    struct node *one = gc_arena_alloc(ARENA, &node_type);
    struct wide *wide;
    struct bag *bag;
    struct node *array;
    struct hidden *hidden;
    struct value *value;
    struct blob *loose;
    void *inner;

    one->next = node(1);
    wide = gc_arena_alloc(ARENA, &wide_type);
    wide->a = node(2);
    wide->b = node(3);
    bag = gc_arena_alloc_flex(ARENA, &bag_type, 10);
    bag->first = node(4);
    bag->items[9].next = node(5);
    array = gc_arena_alloc_array(ARENA, &node_type, 100);
    array[99].next = node(6);
    hidden = gc_arena_alloc(ARENA, &hidden_type);
    hidden->word = ~(uint64_t)(uintptr_t)node(7);
    value = gc_arena_alloc(ARENA, &value_type);
    value->tagged = (uint64_t)(uintptr_t)node(8) + 1;
    loose = gc_arena_alloc(ARENA, &loose_type);
    inner = &node(9)->number;
    memcpy(&loose->bytes[8], &inner, sizeof(inner));
    forget_temp();
    for (int i = 0; i < 2; i++)
        gc_collect(NULL);
    expect_node(one->next, 1);
    expect_node(wide->a, 2);
    expect_node(wide->b, 3);
    expect_node(bag->first, 4);
    expect_node(bag->items[9].next, 5);
    expect_node(array[99].next, 6);
    expect_node((struct node *)(uintptr_t)~hidden->word, 7);
    expect_node((struct node *)(uintptr_t)(value->tagged - 1), 8);
    cr_assert_eq(*(uint64_t *)inner, 9);
}

IN_BOTH_MODES(bytes_point_to_nothing)
{
    char *bytes = gc_arena_alloc_bytes(ARENA, 100), *text = gc_arena_strdup(ARENA, "text");
    struct blob *blob = gc_arena_alloc(ARENA, &blob_type);
    void *n = node(1);

    memcpy(bytes, &n, sizeof(n));
    memcpy(blob, &n, sizeof(n));
    gc_write(&roots[2], gc_weak_new(n));
    forget_temp();
    gc_collect(NULL);
    cr_expect_null(gc_weak_get(roots[2]));
    cr_expect_str_eq(text, "text");
}

IN_BOTH_MODES(what_an_arena_held_dies_when_it_is_freed)
{
    struct node *n = gc_arena_alloc(ARENA, &node_type);

    n->next = node(1);
    gc_write(&roots[2], gc_weak_new(n->next));
    forget_temp();
    gc_collect(NULL);
    expect_node(gc_weak_get(roots[2]), 1);
    gc_arena_free(ARENA);
    gc_collect(NULL);
    cr_expect_null(gc_weak_get(roots[2]));
}

/* A list from one end of the arena to the other, with a node of the heap between any two. */
IN_BOTH_MODES(many_objects_in_many_chunks)
{
    struct node *last = NULL;
    uint64_t n = 0;

    for (uint64_t i = 0; i < MANY; i++) {
        struct node *inner = node(i), *outer;

        inner->next = last;
        outer = gc_arena_alloc(ARENA, &node_type);
        outer->next = inner;
        outer->number = i;
        last = outer;
        gc_write(&roots[2], last);
        if (i % 1000 == 0)
            gc_collect(NULL);
        GC_KEEP_ALIVE(gc_arena_alloc_bytes(ARENA, 1 + i % 700));
    }
    forget_temp();
    cr_expect_gt(gc_arena_bytes(ARENA), (size_t)MANY * 350);
    gc_collect(NULL);
    for (const struct node *at = roots[2]; at != NULL; at = at->next->next, n++) {
        expect_node(at, MANY - 1 - n);
        expect_node(at->next, MANY - 1 - n);
    }
    cr_expect_eq(n, MANY);
}

IN_BOTH_MODES(objects_larger_than_a_chunk)
{
    size_t n = 300000;
    struct node *small = gc_arena_alloc(ARENA, &node_type);
    struct node *array = gc_arena_alloc_array(ARENA, &node_type, n);
    struct node *next = gc_arena_alloc(ARENA, &node_type);

    cr_expect_eq((uintptr_t)next - (uintptr_t)small, 32, "the small ones go on in their chunk");
    cr_expect_geq(gc_usable_size(array), n * sizeof(*array));
    cr_expect_eq(gc_base(&array[n - 1].number), array);
    array[n - 1].next = node(7);
    array[n / 2].next = node(8);
    forget_temp();
    gc_collect(NULL);
    expect_node(array[n - 1].next, 7);
    expect_node(array[n / 2].next, 8);
    gc_arena_free(ARENA);
}

IN_BOTH_MODES(a_large_object_may_come_first)
{
    struct node *array = gc_arena_alloc_array(ARENA, &node_type, 5000), *small;

    array[4999].next = node(1);
    small = gc_arena_alloc(ARENA, &node_type);
    small->next = node(2);
    forget_temp();
    gc_collect(NULL);
    expect_node(array[4999].next, 1);
    expect_node(small->next, 2);
}

/* ---- pointers into an arena ---- */

IN_BOTH_MODES(an_object_outlives_the_lost_arena)
{
    struct node *n = gc_arena_alloc(ARENA, &node_type);

    n->next = node(1);
    gc_write(&roots[2], n);
    gc_write(&roots[3], gc_weak_new(ARENA));
    gc_write(&roots[0], NULL);
    forget_temp();
    gc_collect(NULL);
    cr_expect_null(gc_weak_get(roots[3]), "nobody holds the arena");
    expect_node(((struct node *)roots[2])->next, 1);
}

IN_BOTH_MODES(an_arena_that_is_lost_ends_as_any_object)
{
    uint64_t before;

    for (int i = 0; i < 20; i++)
        GC_KEEP_ALIVE(gc_arena_alloc_bytes(ARENA, 10000));
    gc_write(&roots[0], NULL);
    before = metric("/memory/classes/heap/objects:bytes");
    gc_collect(NULL);
    cr_expect_leq(metric("/memory/classes/heap/objects:bytes") + 200000, before);
    cr_expect_eq(metric("/gc/arena/frees:arenas"), 0);
}

IN_BOTH_MODES(arenas_may_point_to_each_other)
{
    gc_arena *other = gc_arena_new(NULL);
    struct node *a, *b;

    gc_write(&roots[2], other);
    a = gc_arena_alloc(ARENA, &node_type);
    b = gc_arena_alloc(other, &node_type);
    a->next = b;
    b->next = a;
    a->number = 1;
    b->next->next->number = 2;
    gc_write(&roots[2], NULL); /* the other arena is lost, what it holds is not */
    gc_collect(NULL);
    expect_node(a->next, 2);
    expect_node(a->next->next, 1);
}

IN_BOTH_MODES(freed_addresses_wait_for_the_last_pointer)
{
    struct node *n = gc_arena_alloc(ARENA, &node_type);
    uint64_t bytes = gc_arena_bytes(ARENA);
    uintptr_t from = (uintptr_t)n & ~(uintptr_t)8191;
    struct node *heap_node;

    n->number = 77;
    heap_node = node(1);
    gc_write(&heap_node->next, n); /* a pointer that is forgotten */
    gc_arena_free(ARENA);
    cr_expect_eq(gc_arena_bytes(ARENA), 0);
    cr_expect_eq(metric("/gc/arena/waiting:bytes"), bytes);
    gc_collect(NULL);
    gc_collect(NULL);
    cr_expect_eq(metric("/gc/arena/waiting:bytes"), bytes, "a pointer is left");
    for (int i = 0; i < 2000; i++) {
        uintptr_t p = (uintptr_t)gc_alloc_bytes(5000);

        cr_assert(p < from || p >= from + bytes, "a freed address is somebody's");
        if (i % 100 == 0)
            gc_collect(NULL);
    }
    heap_node = roots[TEMP];
    cr_expect_eq(heap_node->next, n);
    cr_expect_eq(n->number, 0, "the contents are gone");
    n->number = 5; /* a mistake, and a harmless one */
    gc_write(&n->next, node(2));
    forget_temp();
    gc_collect(NULL);
    cr_expect_eq(metric("/gc/arena/waiting:bytes"), 0);
}

/* What was written into freed memory by mistake is in no object that gets the memory next. */
IN_BOTH_MODES(late_writes_do_not_reach_fresh_objects)
{
    char *bytes = gc_arena_alloc_bytes(ARENA, 60000), *again;
    bool met = false;

    gc_arena_free(ARENA);
    memset(bytes, 0x55, 60000);
    gc_write(&roots[2], bytes);
    gc_collect(NULL);
    gc_write(&roots[2], NULL);
    gc_collect(NULL);
    cr_expect_eq(metric("/gc/arena/waiting:bytes"), 0);
    for (int i = 0; i < 100; i++) {
        again = gc_alloc_bytes(50000);
        met = met || (again <= bytes + 59999 && bytes < again + 50000);
        for (int k = 0; k < 50000; k++)
            cr_assert_eq(again[k], 0);
    }
    cr_expect(met, "the memory has not come back");
}

IN_BOTH_MODES(memory_goes_back_at_once)
{
    uint64_t mapped, released = metric("/memory/classes/heap/released:bytes");

    for (int i = 0; i < 2000; i++)
        memset(gc_arena_alloc_bytes(ARENA, 5000), 1, 5000);
    gc_collect(NULL); /* now no cycle runs, and none is due */
    mapped = metric("/memory/mapped:bytes");
    gc_arena_free(ARENA);
    cr_expect_leq(metric("/memory/mapped:bytes") + 9000000, mapped);
    cr_expect_geq(metric("/memory/classes/heap/released:bytes"), released);
    cr_expect_eq(metric("/gc/arena/frees:arenas"), 1);
    cr_expect_eq(metric("/gc/arena/freed:bytes"), metric("/gc/arena/allocated:bytes"));
    cr_expect_eq(metric("/memory/classes/total:bytes"),
            metric("/memory/mapped:bytes") + metric("/memory/classes/heap/released:bytes"));
}

/* ---- while a cycle marks ---- */

struct gate {
    uint64_t word;
    struct node *node;
};

static int gate_closed, gate_reached;

/* Whoever marks stays here as long as the gate is closed. */
static void
trace_gate(const void *obj, size_t bytes, gc_tracer *tracer)
{
    (void)bytes;
    __atomic_store_n(&gate_reached, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&gate_closed, __ATOMIC_SEQ_CST))
        (void)sched_yield();
    gc_trace(tracer, __atomic_load_n(&((const struct gate *)obj)->node, __ATOMIC_RELAXED));
}

GC_TYPE_TRACED(gate_type, struct gate, trace_gate);

static void *
collect_once(void *arg)
{
    (void)arg;
    gc_collect(NULL);
    return NULL;
}

/* The node is loaded out of the arena when our stack has been seen, and the arena ends then. */
Test(arena, what_is_freed_while_a_cycle_marks_is_still_scanned)
{
    struct node *in, *out;
    uint64_t bytes;
    pthread_t thread;
    gc_options opt;

    gc_options_default(&opt);
    begin_with(&opt, false); /* no other reader of the graph, which would stay at the gate */
    gc_write(&roots[2], gc_alloc(&gate_type));
    in = gc_arena_alloc(ARENA, &node_type);
    in->next = node(1);
    forget_temp();
    bytes = gc_arena_bytes(ARENA);
    gate_closed = 1;
    T_OK(gc_pthread_create(&thread, NULL, collect_once, NULL));
    while (!__atomic_load_n(&gate_reached, __ATOMIC_SEQ_CST))
        gc_safepoint();
    out = in->next;
    gc_arena_free(ARENA);
    cr_expect_eq(metric("/gc/arena/deferred:chunks"), 1);
    cr_expect_eq(metric("/gc/arena/waiting:bytes"), 0);
    cr_expect_eq(metric("/gc/arena/freed:bytes"), bytes);
    __atomic_store_n(&gate_closed, 0, __ATOMIC_SEQ_CST);
    {
        GC_FRAME(out);

        GC_BLOCKING {
            (void)pthread_join(thread, NULL);
        }
        expect_node(out, 1);
    }
    gc_collect(NULL);
    cr_expect_eq(metric("/gc/arena/waiting:bytes"), 0);
    end();
}

/*
 * A child has the parent's arenas and may go on with them.  Not under AddressSanitizer: a thread of
 * the collector may hold a lock of its malloc, which gcc's does not take before a fork, and the
 * child waits for it for ever.
 */
#if !defined(__SANITIZE_ADDRESS__)
IN_BOTH_MODES(a_child_of_fork_has_the_arena)
{
    struct node *n = gc_arena_alloc(ARENA, &node_type);
    pid_t child;
    int status = -1;

    n->next = node(1);
    gc_write(&roots[2], n);
    forget_temp();
    child = fork();
    if (child == 0) {
        gc_collect(NULL);
        if (n->next->number != 1)
            _exit(2);
        for (int i = 0; i < 10000; i++)
            GC_KEEP_ALIVE(gc_arena_alloc(ARENA, &node_type));
        gc_arena_free(ARENA);
        gc_write(&roots[2], NULL);
        gc_collect(NULL);
        _exit(metric("/gc/arena/waiting:bytes") == 0 && gc_verify(NULL) == GC_OK ? 0 : 3);
    }
    GC_BLOCKING {
        (void)waitpid(child, &status, 0);
    }
    cr_expect_eq(status, 0, "status %#x", (unsigned)status);
    expect_node(n->next, 1);
}
#endif

/* ---- asking about objects ---- */

IN_BOTH_MODES(an_object_knows_its_start_and_size)
{
    struct node *n = gc_arena_alloc(ARENA, &node_type);
    char *tiny = gc_arena_alloc_bytes(ARENA, 1);
    struct wide *wide = gc_arena_alloc(ARENA, &wide_type);

    cr_expect_eq(gc_base(&n->number), n);
    cr_expect_eq(gc_usable_size(n), 24);
    cr_expect_eq(gc_base(tiny), tiny);
    cr_expect_eq(gc_base(&wide->b), wide);
    cr_expect_eq((uintptr_t)n % 16 + (uintptr_t)tiny % 16 + (uintptr_t)wide % 16, 0);
    cr_expect_geq(gc_usable_size(&wide->gap), sizeof(*wide));
    cr_expect_null(gc_base((char *)wide + gc_usable_size(wide)), "the next one's header");
    cr_expect_null(gc_base((char *)wide + gc_usable_size(wide) + 8), "nothing yet");
    gc_arena_free(ARENA);
    cr_expect_null(gc_base(n));
    cr_expect_eq(gc_usable_size(n), 0);
}

static void
never(void *arg)
{
    (void)arg;
}

IN_BOTH_MODES(no_weak_reference_and_no_cleanup_for_what_lies_in_one)
{
    struct node *n = gc_arena_alloc(ARENA, &node_type);

    cr_expect_null(gc_try_weak_new(n));
    cr_expect(t_mentions(gc_last_error(), "arena"), "%s", gc_last_error());
    cr_expect_eq(gc_cleanup_add(n, never, NULL, NULL), GC_ERR_INVAL);
    cr_expect(t_mentions(gc_last_error(), "arena"), "%s", gc_last_error());
}

/* A key in an arena: its entry is there as long as its chunk. */
IN_BOTH_MODES(an_object_may_be_a_weak_maps_key)
{
    struct node *n = gc_arena_alloc(ARENA, &node_type);

    gc_write(&roots[2], gc_weak_map_new(0));
    gc_weak_map_set(roots[2], n, node(1));
    forget_temp();
    gc_collect(NULL);
    expect_node(gc_weak_map_get(roots[2], n), 1);
    gc_arena_free(ARENA);
    gc_collect(NULL);
    gc_collect(NULL);
    cr_expect_null(gc_weak_map_get(roots[2], n));
}

static int
count_bytes(void *arg, const char *bytes, size_t n)
{
    (void)bytes;
    *(size_t *)arg += n;
    return 0;
}

IN_BOTH_MODES(a_path_and_a_snapshot_go_through_chunks)
{
    struct node *n = gc_arena_alloc(ARENA, &node_type);
    size_t bytes = 0;
    gc_sink sink = { .write = count_bytes, .arg = &bytes };

    n->next = node(1);
    forget_temp();
    T_OK(gc_why_alive(NULL, n->next, &sink));
    cr_expect_gt(bytes, 0);
    T_OK(gc_heap_snapshot_write(NULL, &sink));
    gc_write(&roots[2], n);
    gc_arena_free(ARENA);
    T_OK(gc_heap_snapshot_write(NULL, &sink));
}

/* ---- what is refused ---- */

IN_BOTH_MODES(sizes_that_overflow)
{
    cr_expect_null(gc_try_arena_alloc_array(ARENA, &node_type, SIZE_MAX / 8));
    cr_expect_null(gc_try_arena_alloc_flex(ARENA, &bag_type, SIZE_MAX / 16));
    cr_expect_null(gc_try_arena_alloc_bytes(ARENA, SIZE_MAX - 8));
    cr_expect_null(gc_try_arena_alloc_bytes(ARENA, (size_t)1 << 60));
    cr_expect_not_null(gc_try_arena_alloc_bytes(ARENA, 0));
    cr_expect_not_null(gc_try_arena_alloc(ARENA, &node_type));
}

/* The threads check nothing here, so that the misuse alone can end the process. */
static gc_arena *
plain_arena(int debug)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.debug_arena = debug;
    T_OK(gc_init(&opt));
    return gc_arena_new("request");
}

FATAL(arena_free_twice, "gc_arena_free|arena 1 (request)|freed")
{
    gc_arena *arena = plain_arena(0);

    gc_arena_free(arena);
    gc_arena_free(arena);
}

FATAL(arena_alloc_after_free, "gc_arena_alloc|(request)|freed")
{
    gc_arena *arena = plain_arena(0);

    GC_KEEP_ALIVE(gc_arena_alloc(arena, &node_type));
    gc_arena_free(arena);
    GC_KEEP_ALIVE(gc_arena_alloc(arena, &node_type));
}

FATAL(arena_that_is_none, "gc_arena_free|is no arena")
{
    (void)plain_arena(0);
    gc_arena_free(gc_alloc(&wide_type));
}

FATAL(arena_alloc_in_what_is_none, "gc_arena_alloc_bytes|is no arena")
{
    (void)plain_arena(0);
    GC_KEEP_ALIVE(gc_arena_alloc_bytes(NULL, 5));
}

FATAL(arena_alloc_without_a_type, "gc_arena_alloc|NULL")
{
    GC_KEEP_ALIVE(gc_arena_alloc(plain_arena(0), NULL));
}

FATAL(arena_new_detached, "gc_arena_new|attached")
{
    (void)plain_arena(0);
    gc_thread_detach();
    GC_KEEP_ALIVE(gc_arena_new(NULL));
}

FATAL(weak_reference_to_what_lies_in_an_arena, "gc_weak_new|lies in an arena")
{
    GC_KEEP_ALIVE(gc_weak_new(gc_arena_alloc(plain_arena(0), &node_type)));
}

FATAL(read_after_free_with_arena_1, "access to|arena 1 (request)|freed")
{
    gc_arena *arena = plain_arena(1);
    volatile struct node *n = gc_arena_alloc(arena, &node_type);

    gc_arena_free(arena);
    (void)n->number;
}

FATAL(write_after_free_with_arena_1, "access to|arena 1 (request)|freed")
{
    gc_arena *arena = plain_arena(1);
    struct node *n = gc_arena_alloc_array(arena, &node_type, 100000);

    gc_arena_free(arena);
    gc_write(&n[70000].next, NULL);
}

FATAL(read_after_free_and_collections_with_arena_1, "access to|arena 1 (request)|freed")
{
    gc_arena *arena = plain_arena(1);
    struct node *n = gc_arena_alloc(arena, &node_type);

    GC_KEEP_ALIVE(gc_handle_new(n));
    gc_arena_free(arena);
    for (int i = 0; i < 3; i++)
        gc_collect(NULL);
    n->number++;
}

/* A fault of the host's own stays what it was. */
static void
crash(void *unused)
{
    uintptr_t address = 64;

    (void)unused;
    __asm__ volatile("" : "+r"(address));
    (void)plain_arena(1);
    *(volatile int *)address = 1;
}

Test(arena, other_faults_go_on)
{
    char text[4096];
    int status = t_child(crash, NULL, text, sizeof(text));

    cr_expect(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    cr_expect(!t_mentions(text, "which was freed"), "%s", text);
}

/* Guarded memory comes back. */
IN_BOTH_MODES(guards_are_taken_away)
{
    gc_options opt;

    end();
    gc_options_default(&opt);
    opt.debug_arena = 1;
    begin_with(&opt, false);
    for (int i = 0; i < 50; i++) {
        char *bytes = gc_arena_alloc_bytes(ARENA, 100000);

        memset(bytes, 1, 100000);
        gc_arena_free(ARENA);
        gc_write(&roots[0], gc_arena_new(NULL));
        if (i % 10 == 9)
            gc_collect(NULL);
    }
    gc_collect(NULL);
    cr_expect_eq(metric("/gc/arena/waiting:bytes"), 0);
    for (int i = 0; i < 50; i++)
        memset(gc_alloc_bytes(100000), 1, 100000);
}
