/* SPDX-License-Identifier: MIT */
/*
 * The whole interface: any sequence of calls on two heaps.
 *
 * Oracle: the shadow (shadow.h) knows what every object holds and which are reachable.
 * Whatever the collector does meanwhile, on its own, under stress or because another thread
 * asks for it, the reachable ones must stay as they are; after a collection that this thread
 * asked for, the others must be gone, each of them.  Calls that must be refused are made too
 * and must say the documented status.  What is documented as fatal is left out.
 */
#include "calls.h"

#include <pthread.h>

#define STEPS_MAX 300

static pthread_t collector;
static bool collecting;

/* ---- numbers and settings ---- */

static gc_heap *
heap_here(void)
{
    return take8(in) % 2 == 0 ? NULL : shadow.heap[shadow.at];
}

static void
read_stats(void)
{
    int h = shadow.at != NOBODY ? shadow.at : (int)take_below(in, HEAPS);
    uint64_t live = 0;
    gc_stats s;

    gc_stats_read(shadow.heap[h], &s);
    for (size_t i = 0; i < OBJECTS; i++)
        live += shadow.object[i].used && shadow.object[i].heap == h
                && !is_tiny(&shadow.object[i]);
    FUZZ_CHECK(s.heap_objects >= live, "%llu objects of %llu",
            (unsigned long long)s.heap_objects, (unsigned long long)live);
    FUZZ_CHECK(s.num_gc >= shadow.cycles[h] && s.num_gc >= s.num_forced_gc,
            "cycles went back");
    FUZZ_CHECK(
            s.mallocs >= s.frees && s.total_alloc >= s.alloc, "freed more than there was");
    shadow.cycles[h] = s.num_gc;
}

static void
set_gogc(void)
{
    static const int64_t values[] = {-1, 0, 1, 10, 100, 1000, INT64_MIN, INT64_MAX};
    int64_t percent = values[take_below(in, COUNT_OF(values))], old;

    old = gc_set_gogc(heap_here(), percent);
    FUZZ_CHECK(old == shadow.gogc[shadow.at], "%lld", (long long)old);
    shadow.gogc[shadow.at] = percent < 0 ? GC_GOGC_OFF
            : percent > INT32_MAX        ? INT32_MAX
                                         : percent;
}

/* ---- threads and collections ---- */

static void *
collect_beside(void *heap)
{
    gc_collect(heap);
    return NULL;
}

static void
wait_for_collector(void)
{
    if (!collecting)
        return;
    pthread_join(collector, NULL);
    collecting = false;
}

/* Another thread, which is not attached, collects while this one goes on. */
static void
collect_meanwhile(void)
{
    wait_for_collector();
    if (take8(in) % 4 == 0)
        return;
    FUZZ_CHECK(pthread_create(
                       &collector, NULL, collect_beside, shadow.heap[take_below(in, HEAPS)])
                    == 0,
            "no thread");
    collecting = true;
}

/* Brackets nest; collections and looks at the heap are allowed in them. */
static void
block(void)
{
    unsigned depth = 1 + take8(in) % 3, what = take8(in);

    for (unsigned i = 0; i < depth; i++)
        gc_block_enter();
    if (what % 4 == 1)
        gc_collect(shadow.heap[shadow.at]);
    if (what % 8 == 2)
        FUZZ_CHECK(gc_verify(NULL) == GC_OK, "%s", gc_last_error());
    if (what % 8 == 3)
        wait_for_collector();
    for (unsigned i = 0; i < depth; i++)
        gc_block_leave();
    gc_safepoint();
}

static void *
look_at(void *object)
{
    FUZZ_CHECK(gc_thread_heap() == shadow.heap[shadow.at], "the child's heap");
    FUZZ_CHECK(gc_thread_attach(NULL) == GC_ERR_ATTACHED, "attached twice");
    if (take8(in) % 2 == 0)
        gc_collect(NULL);
    FUZZ_CHECK(object == NULL || gc_base(object) != NULL, "the argument was lost");
    if (take8(in) % 2 == 0)
        gc_thread_detach();
    return NULL;
}

/* A child that looks at one object and ends; it alone reads the input meanwhile. */
static void
have_a_child(void)
{
    const struct object *o = pick();
    pthread_t child;

    FUZZ_CHECK(
            gc_pthread_create(&child, NULL, NULL, NULL) == GC_ERR_INVAL, "without start");
    FUZZ_CHECK(gc_pthread_create(&child, NULL, look_at, o == NULL ? NULL : address_of(o))
                    == GC_OK,
            "%s", gc_last_error());
    GC_BLOCKING {
        pthread_join(child, NULL);
    }
}

/* What the stack held of a heap is lost with leaving it. */
static void
change_heap(void)
{
    if (shadow.at != NOBODY) {
        FUZZ_CHECK(gc_thread_attach(shadow.heap[take_below(in, HEAPS)]) == GC_ERR_ATTACHED,
                "2");
        FUZZ_CHECK(gc_heap_destroy(shadow.heap[shadow.at]) == GC_ERR_BUSY, "destroyed");
        for (size_t i = 0; i < LOCALS; i++)
            set_local(i, nothing());
        shadow_trace();
        gc_thread_detach();
        FUZZ_CHECK(gc_thread_heap() == NULL, "still attached");
        FUZZ_CHECK(gc_root_add(range_words, 8) == GC_ERR_DETACHED, "a range of no heap");
        shadow.at = NOBODY;
    }
    if (take8(in) % 8 == 0)
        return;
    shadow.at = (int)take_below(in, HEAPS);
    FUZZ_CHECK(gc_thread_attach(shadow.heap[shadow.at]) == GC_OK, "%s", gc_last_error());
}

/* ---- one step ---- */

static void (*const steps_attached[])(void) = {allocate, allocate, allocate, allocate,
        allocate, store, store, store, store, change_local, change_local, change_range,
        store_in_range, change_handle, move_words, move_nodes, ask, read_stats, set_gogc,
        collect_meanwhile, block, allocate_too_much, duplicate, have_a_child, change_heap};
static void (*const steps_detached[])(void) = {
        change_handle, read_stats, collect_meanwhile, change_heap};

static void
step(void *unused)
{
    (void)unused;
    if (shadow.at != NOBODY)
        steps_attached[take_below(in, COUNT_OF(steps_attached))]();
    else
        steps_detached[take_below(in, COUNT_OF(steps_detached))]();
    shadow_trace();
}

/* From the shallow stack: afterwards all that is dead must be gone. */
static void
collect(void)
{
    wait_for_collector();
    if (shadow.at == NOBODY) {
        gc_collect(shadow.heap[take_below(in, HEAPS)]);
        return;
    }
    gc_collect(heap_here());
    deep(shadow_check, NULL);
    deep(shadow_check_dead, NULL);
}

static void
verify(void)
{
    int h = shadow.at != NOBODY ? shadow.at : (int)take_below(in, HEAPS);

    FUZZ_CHECK(gc_verify(shadow.heap[h]) == GC_OK, "%s", gc_last_error());
}

/* ---- one input ---- */

static void
start(void)
{
    static const uint32_t stress[] = {0, 0, 1, 7};
    static const size_t heap_min[] = {(size_t)4 << 20, 0, (size_t)64 << 10, 1};
    gc_options opt;
    unsigned bits;

    small_heap(&opt);
    for (int i = 0; i < HEAPS; i++) {
        bits = take16(in);
        opt.debug_stress = stress[bits % 4];
        opt.heap_min = heap_min[bits / 4 % 4];
        opt.debug_tiny = bits / 16 % 2;
        opt.debug_verify = bits / 32 % 4 == 3 ? 2 : bits / 32 % 2;
        opt.debug_chaos = bits / 128 % 8 == 7 ? bits : 0;
        opt.debug_clobberfree = bits / 1024 % 4 != 3;
        opt.gogc = shadow.gogc[i] =
                bits / 4096 == 15 ? GC_GOGC_OFF : (int64_t)(bits / 4096) * 10;
        opt.oom = on_oom;
        opt.oom_arg = &oom_calls;
        FUZZ_CHECK(gc_heap_create(&opt, &shadow.heap[i]) == GC_OK, "%s", gc_last_error());
    }
    shadow.at = 0;
    FUZZ_CHECK(gc_thread_attach(shadow.heap[0]) == GC_OK, "%s", gc_last_error());
}

/* With every heap's roots gone nothing may be left in it. */
static void
finish(void)
{
    wait_for_collector();
    if (shadow.at != NOBODY)
        gc_thread_detach();
    for (size_t i = 0; i < HANDLES; i++)
        gc_handle_free(shadow.cell[i].handle);
    for (size_t i = 0; i < HANDLES; i++)
        shadow.cell[i].handle = NULL;
    for (size_t i = 0; i < LOCALS; i++)
        set_local(i, nothing());
    for (int i = 0; i < HEAPS; i++) {
        FUZZ_CHECK(gc_thread_attach(shadow.heap[i]) == GC_OK, "%s", gc_last_error());
        shadow.at = i;
        for (size_t j = 0; j < RANGES; j++)
            if (shadow.range[j].heap == i) {
                gc_root_remove(&range_words[j][shadow.range[j].first]);
                shadow.range[j].n = 0;
            }
        shadow_trace();
        gc_collect(NULL);
        deep(shadow_check_dead, NULL);
        verify();
        gc_thread_detach();
        FUZZ_CHECK(gc_heap_destroy(shadow.heap[i]) == GC_OK, "%s", gc_last_error());
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    void *volatile locals[LOCALS] = {NULL};

    in = &input;
    shadow_clear();
    shadow.locals = locals;
    start();
    for (int i = 0; i < STEPS_MAX && more(in); i++) {
        switch (take8(in) % 32) {
        case 0:
            collect();
            break;
        case 1:
            if (take8(in) % 4 == 0)
                verify();
            break;
        case 2:
            deep(shadow_check, NULL);
            break;
        default:
            deep(step, NULL);
            break;
        }
    }
    deep(shadow_check, NULL);
    finish();
    return 0;
}
