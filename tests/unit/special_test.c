/* SPDX-License-Identifier: MIT */
/*
 * The table of specials: finding, growing, memory that is used again, roots, and the order
 * of the decision.
 */
#include "byhand.h"

#include "gc/roots.h"
#include "gc/special.h"
#include "gc/verify.h"
#include "gc/weak.h"

#include <pthread.h>

struct node {
    struct node *next, *other;
};

GC_TYPE(node_type, struct node, next, other);

#define MANY  5000
#define STEPS 60000 /* several times what the decision does under one lock */

static struct node *nodes[MANY]; /* a registered root */
static struct raw_words raw;

static void
begin(void)
{
    begin_by_hand();
    cr_assert_eq(gc_root_add(nodes, sizeof(nodes)), GC_OK);
    for (size_t i = 0; i < MANY; i++)
        gc_write(&nodes[i], gc_alloc(&node_type));
}

static struct special *
add(enum special_kind kind, void *object, void *arg)
{
    struct special *record;

    critical_enter();
    record = gcrt_special_add(self(), kind, (uintptr_t)object, arg);
    critical_leave();
    cr_assert_not_null(record);
    return record;
}

static size_t
count_of(enum special_kind kind, const void *object)
{
    struct special_shard *shard = gcrt_special_lock(the_heap, (uintptr_t)object);
    struct special *r = gcrt_special_find_locked(shard, kind, (uintptr_t)object);
    size_t n = 0;

    for (; r != NULL; r = gcrt_special_next_locked(r))
        n++;
    gcrt_special_unlock(shard);
    return n;
}

static uint64_t
total(enum special_kind kind)
{
    return aword_load_relaxed(&the_heap->specials.count[kind]);
}

/* ---- the table ---- */

Test(special, each_object_finds_its_own_records)
{
    begin();
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < MANY; i += 1 + round)
            add(SPECIAL_CLEANUP, nodes[i], nodes[(i + round) % MANY]);
    add(SPECIAL_FINALIZER, nodes[7], NULL);
    for (size_t i = 0; i < MANY; i++)
        cr_assert_eq(count_of(SPECIAL_CLEANUP, nodes[i]), i % 2 == 0 ? 2 : 1, "object %zu", i);
    cr_expect_eq(count_of(SPECIAL_FINALIZER, nodes[7]), 1);
    cr_expect_eq(count_of(SPECIAL_FINALIZER, nodes[8]), 0);
    cr_expect_eq(count_of(SPECIAL_WEAK, nodes[7]), 0);
    cr_expect_eq(total(SPECIAL_CLEANUP), MANY + MANY / 2);
    end_by_hand();
}

Test(special, removed_records_are_used_again)
{
    static struct special *records[MANY];
    uint64_t before;

    begin();
    for (size_t i = 0; i < MANY; i++)
        records[i] = add(SPECIAL_CLEANUP, nodes[i], nodes[i]);
    before = aword_load_relaxed(&the_heap->persist.total);
    for (size_t round = 0; round < 20; round++) {
        critical_enter();
        for (size_t i = 0; i < MANY; i++)
            gcrt_special_remove(self(), SPECIAL_CLEANUP, records[i]);
        critical_leave();
        cr_assert_eq(total(SPECIAL_CLEANUP), 0);
        cr_assert_eq(count_of(SPECIAL_CLEANUP, nodes[round]), 0);
        for (size_t i = 0; i < MANY; i++)
            records[i] = add(SPECIAL_CLEANUP, nodes[i], nodes[i]);
    }
    cr_expect_eq(aword_load_relaxed(&the_heap->persist.total), before);
    end_by_hand();
}

static void
count_records(void *arg, const struct special *record)
{
    size_t *n = arg;

    cr_assert_not_null(record->arg);
    ++*n;
}

Test(special, a_visit_sees_each_record_once)
{
    size_t n = 0;

    begin();
    for (size_t i = 0; i < MANY; i++)
        add(SPECIAL_CLEANUP, nodes[i], nodes[i]);
    gcrt_special_visit(the_heap, SPECIAL_CLEANUP, count_records, &n);
    cr_expect_eq(n, MANY);
    end_by_hand();
}

Test(special, without_memory_nothing_is_added)
{
    struct special *record = NULL;
    size_t n = 0;

    begin();
    the_heap->os.fail_at = the_heap->os.fail_from = 1;
    critical_enter();
    record = gcrt_special_add(self(), SPECIAL_CLEANUP, (uintptr_t)nodes[0], NULL);
    critical_leave();
    the_heap->os.fail_at = the_heap->os.fail_from = 0;
    cr_expect_null(record);
    cr_expect_eq(total(SPECIAL_CLEANUP), 0);
    gcrt_special_visit(the_heap, SPECIAL_CLEANUP, count_records, &n);
    cr_expect_eq(n, 0);
    add(SPECIAL_CLEANUP, nodes[0], NULL);
    cr_expect_eq(count_of(SPECIAL_CLEANUP, nodes[0]), 1);
    end_by_hand();
}

/* ---- whose object ---- */

Test(special, objects_are_known_by_their_base)
{
    int outside;
    char *tiny;

    begin();
    tiny = gc_alloc_bytes(5);
    cr_expect_eq(gcrt_special_object(the_heap, &nodes[3]->other), (uintptr_t)nodes[3]);
    cr_expect_eq(gcrt_special_object(the_heap, tiny + 1), (uintptr_t)tiny + 1);
    cr_expect_eq(gcrt_special_object(the_heap, &outside), 0);
    cr_expect_eq(gcrt_special_object(the_heap, NULL), 0);
    end_by_hand();
}

/* ---- roots ---- */

Test(special, roots_are_args_and_what_finalizable_objects_point_to)
{
    struct node *n, *child, *arg;

    begin();
    n = gc_alloc(&node_type);
    child = gc_alloc(&node_type);
    arg = gc_alloc(&node_type);
    n->next = child;
    add(SPECIAL_CLEANUP, nodes[0], arg);
    add(SPECIAL_FINALIZER, n, NULL);
    handshake(ACTION_BARRIER_ON);
    handshake(ACTION_SETTLE);
    handshake(ACTION_SCAN);
    take_raw(&raw); /* the stack has all of them */
    cr_expect_eq(gcrt_special_collect(the_heap), 2 * WORD);
    take_raw(&raw);
    cr_expect_eq(count_raw(&raw, arg), 1);
    cr_expect_eq(raw.n, 1);
    open_by_hand();
    gcrt_mark_drain(&self()->marker, SIZE_MAX);
    cr_expect(is_marked(child));
    cr_expect_not(is_marked(n), "it is to be found dead");
    end_by_hand();
}

Test(special, records_that_come_and_go_while_marking_are_shaded)
{
    struct special *record;

    begin();
    add(SPECIAL_CLEANUP, nodes[0], nodes[1]);
    cr_expect_eq(self()->nbarrier, 0);
    to_marking();
    self()->nbarrier = 0;
    record = add(SPECIAL_CLEANUP, nodes[2], nodes[3]);
    cr_expect_eq(count_buffered(nodes[3]), 1);
    cr_expect_eq(count_buffered(nodes[2]), 0, "a cleanup does not keep its object");
    critical_enter();
    gcrt_special_remove(self(), SPECIAL_CLEANUP, record);
    critical_leave();
    cr_expect_eq(count_buffered(nodes[3]), 2);
    add(SPECIAL_FINALIZER, nodes[4], nodes[5]);
    cr_expect_eq(count_buffered(nodes[4]), 1);
    cr_expect_eq(count_buffered(nodes[5]), 1);
    end_by_hand();
}

/* ---- the decision ---- */

static struct {
    size_t n;
    enum special_kind kind[8];
    uintptr_t object[8];
    gc_weak *weak; /* of the object, or NULL */
} handed;

static void
take_ready(struct gc_heap *heap, enum special_kind kind, struct special *record)
{
    cr_assert_eq(heap, the_heap);
    cr_assert_lt(handed.n, 8);
    handed.kind[handed.n] = kind;
    handed.object[handed.n++] = record->object;
    if (handed.weak != NULL)
        cr_expect_null(handed.weak->impl_target, "weak references are emptied first");
}

static void
decide(void)
{
    the_heap->specials.ready = take_ready;
    gcrt_weak_begin(the_heap);
    to_marking();
    gcrt_weak_close(the_heap);
    cr_assert(gcrt_weak_decide(the_heap));
}

Test(special, unmarked_objects_are_handed_over_once)
{
    begin();
    add(SPECIAL_CLEANUP, nodes[0], NULL);
    add(SPECIAL_CLEANUP, nodes[0], NULL);
    add(SPECIAL_CLEANUP, nodes[1], NULL);
    add(SPECIAL_FINALIZER, nodes[2], NULL);
    add(SPECIAL_FINALIZER, nodes[3], NULL);
    decide();
    set_marked(nodes[1], true);
    set_marked(nodes[3], true);
    gcrt_special_ready(the_heap);
    cr_expect_eq(handed.n, 3);
    cr_expect_eq(handed.kind[0], SPECIAL_CLEANUP);
    cr_expect_eq(handed.object[0], (uintptr_t)nodes[0]);
    cr_expect_eq(handed.object[1], (uintptr_t)nodes[0]);
    cr_expect_eq(handed.kind[2], SPECIAL_FINALIZER);
    cr_expect_eq(handed.object[2], (uintptr_t)nodes[2]);
    cr_expect(is_marked(nodes[2]), "it lives on");
    cr_expect_not(is_marked(nodes[0]));
    cr_expect_eq(total(SPECIAL_CLEANUP), 1);
    cr_expect_eq(total(SPECIAL_FINALIZER), 1);
    gcrt_special_ready(the_heap);
    cr_expect_eq(handed.n, 3);
    end_by_hand();
}

Test(special, a_finalizer_comes_before_cleanups_and_after_weak_references)
{
    begin();
    handed.weak = gc_weak_new(nodes[0]);
    add(SPECIAL_CLEANUP, nodes[0], NULL);
    add(SPECIAL_FINALIZER, nodes[0], NULL);
    decide();
    set_marked(handed.weak, true);
    gcrt_special_empty_weak(the_heap);
    gcrt_special_ready(the_heap);
    cr_expect_eq(handed.n, 1);
    cr_expect_eq(handed.kind[0], SPECIAL_FINALIZER);
    cr_expect_eq(total(SPECIAL_CLEANUP), 1, "it waits until the object dies again");
    set_marked(nodes[0], false);
    gcrt_special_ready(the_heap);
    cr_expect_eq(handed.n, 2);
    cr_expect_eq(handed.kind[1], SPECIAL_CLEANUP);
    end_by_hand();
}

/* Thousands of records take several steps; none is left out and none is met twice. */
Test(special, a_decision_in_many_steps_sees_every_record)
{
    static gc_weak *weaks[STEPS];
    size_t left = 0;

    begin_by_hand();
    for (size_t i = 0; i < STEPS; i++)
        weaks[i] = gc_weak_new(gc_alloc(&node_type));
    gcrt_weak_begin(the_heap);
    to_marking();
    gcrt_weak_close(the_heap);
    cr_assert(gcrt_weak_decide(the_heap));
    for (size_t i = 0; i < STEPS; i++) {
        set_marked(weaks[i], true);
        set_marked(weaks[i]->impl_target, i % 3 != 0);
    }
    gcrt_special_empty_weak(the_heap);
    for (size_t i = 0; i < STEPS; i++)
        cr_assert_eq(weaks[i]->impl_target != NULL, i % 3 != 0, "record %zu", i);
    gcrt_special_visit(the_heap, SPECIAL_WEAK, count_records, &left);
    cr_expect_eq(left, STEPS - (STEPS + 2) / 3);
    cr_expect_eq(total(SPECIAL_WEAK), left);
    end_by_hand();
}

/* ---- the verifier ---- */

static void
expect_complaint(enum verify_edge edge, const char *tag)
{
    char text[VERIFY_TEXT];
    gc_status status;

    gc_block_enter();
    status = gcrt_verify_now(the_heap, edge, text, NULL);
    gc_block_leave();
    if (tag == NULL)
        cr_expect_eq(status, GC_OK, "%s", text);
    else
        cr_expect(strstr(text, tag) != NULL, "%s is not found: %s", tag, text);
}

Test(special, the_verifier_is_content)
{
    begin();
    for (size_t i = 0; i < 100; i++) {
        add((enum special_kind)(SPECIAL_CLEANUP + i % 2), nodes[i], nodes[i + 1]);
        use(gc_weak_new(nodes[i]));
    }
    expect_complaint(VERIFY_IDLE, NULL);
    end_by_hand();
}

Test(special, the_verifier_counts)
{
    begin();
    add(SPECIAL_CLEANUP, nodes[0], NULL);
    aword_add_relaxed(&the_heap->specials.count[SPECIAL_CLEANUP], 1);
    expect_complaint(VERIFY_IDLE, "[special.table] 1 records");
    end_by_hand();
}

Test(special, the_verifier_looks_for_each_record)
{
    struct special *record;

    begin();
    record = add(SPECIAL_CLEANUP, nodes[0], NULL);
    record->object = 8;
    expect_complaint(VERIFY_IDLE, "[special.table] a cleanup has 0x8");
    for (size_t i = 1; i < MANY; i++) { /* one of them hashes elsewhere */
        record->object = (uintptr_t)nodes[i];
        add(SPECIAL_CLEANUP, nodes[i], NULL);
    }
    expect_complaint(VERIFY_IDLE, "[special.table] the cleanup");
    end_by_hand();
}

Test(special, the_verifier_looks_at_weak_references)
{
    gc_weak *w;

    begin();
    w = gc_weak_new(nodes[0]);
    w->impl_target = nodes[1];
    expect_complaint(VERIFY_IDLE, "[special.weak] the gc_weak");
    end_by_hand();
}

static void
mark_everything(void)
{
    gcrt_weak_begin(the_heap);
    to_marking();
    gcrt_roots_collect(the_heap);
    (void)gcrt_mark_drain(&self()->marker, SIZE_MAX);
    (void)gcrt_marker_flush(&self()->marker);
    gcrt_weak_close(the_heap);
    cr_assert(gcrt_weak_decide(the_heap));
}

Test(special, the_verifier_finds_the_child_that_is_lost)
{
    begin();
    nodes[0]->next = nodes[1];
    add(SPECIAL_FINALIZER, nodes[0], NULL);
    mark_everything();
    expect_complaint(VERIFY_MARKED, NULL);
    set_marked(nodes[1], false);
    expect_complaint(VERIFY_MARKED, "special.roots");
    end_by_hand();
}

Test(special, the_verifier_finds_what_should_have_been_decided)
{
    gc_weak *w;

    begin();
    add(SPECIAL_CLEANUP, nodes[0], NULL);
    w = gc_weak_new(nodes[1]);
    mark_everything();
    set_marked(w, true);
    handshake(ACTION_BARRIER_OFF);
    expect_complaint(VERIFY_CLOSED, NULL);
    set_marked(nodes[0], false);
    expect_complaint(VERIFY_CLOSED, "special.alive");
    set_marked(nodes[0], true);
    set_marked(w, false);
    expect_complaint(VERIFY_CLOSED, "[special.weak] the gc_weak");
    end_by_hand();
}

Test(special, the_verifier_finds_who_is_marked_after_all)
{
    begin();
    the_heap->options.debug_verify = 1;
    the_heap->specials.ready = take_ready;
    use(gc_weak_new(nodes[0]));
    use(gc_weak_new(nodes[1]));
    add(SPECIAL_FINALIZER, nodes[1], NULL);
    mark_everything();
    set_marked(nodes[0], false);
    set_marked(nodes[1], false);
    gcrt_special_empty_weak(the_heap);
    gcrt_special_ready(the_heap);
    cr_expect_eq(handed.n, 1);
    handshake(ACTION_BARRIER_OFF);
    expect_complaint(VERIFY_CLOSED, NULL);
    set_marked(nodes[0], true);
    expect_complaint(VERIFY_CLOSED, "weak reference was emptied");
    gcrt_special_unwatch(the_heap);
    expect_complaint(VERIFY_CLOSED, NULL);
    end_by_hand();
}

/* ---- all at once ---- */

static unsigned finalized; /* atomic */

static void
count_finalized(void *obj, void *arg)
{
    cr_assert_not_null(obj);
    (void)arg;
    __atomic_add_fetch(&finalized, 1, __ATOMIC_RELEASE);
}

static void *
run_all_main(void *arg)
{
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    cr_expect_eq(gc_run_cleanups_all(the_heap), 1);
    gc_thread_detach();
    return arg;
}

/* With a barrier that is on its objects may be white, and a flush may have been the last. */
Test(special, all_become_due_only_while_the_barrier_is_off)
{
    pthread_t thread;

    begin_by_hand();
    cr_assert_eq(gc_finalizer_set(gc_alloc(&node_type), count_finalized, NULL), GC_OK);
    to_marking();
    cr_assert_eq(pthread_create(&thread, NULL, run_all_main, NULL), 0);
    gcrt_os_sleep_ns((uint64_t)20 * 1000 * 1000);
    cr_expect_eq(__atomic_load_n(&finalized, __ATOMIC_ACQUIRE), 0);
    ahalf_store_full(&the_heap->marking.open, 0);
    handshake(ACTION_BARRIER_OFF);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_eq(__atomic_load_n(&finalized, __ATOMIC_ACQUIRE), 1);
    end_by_hand();
}
