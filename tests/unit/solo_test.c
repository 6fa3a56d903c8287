/* SPDX-License-Identifier: MIT */
/*
 * Marking by the coordinator itself: when, how much, how it ends, and whose time it is.  The
 * file is part of this program with a clock of its own; whole cycles have the library's.
 */
#include "byhand.h"

#include "gc/solo.h"

static uint64_t fake_cpu;

static uint64_t
fake_cpu_ns(void)
{
    return fake_cpu += 1000;
}

#define gcrt_os_thread_cpu_ns fake_cpu_ns
#define gcrt_solo_begin       our_begin
#define gcrt_solo_mark        our_mark
#define gcrt_solo_suffices    our_suffices
bool our_suffices(const struct gc_heap *heap);
void our_begin(struct gc_heap *heap);
void our_mark(struct gc_heap *heap);
#include "gc/solo.c"
#undef gcrt_os_thread_cpu_ns
#undef gcrt_solo_begin
#undef gcrt_solo_mark
#undef gcrt_solo_suffices

struct link {
    struct link *next;
    uintptr_t number;
};
GC_TYPE(link_type, struct link, next);

static struct link *chain; /* a root */

static void
make_chain(size_t n)
{
    chain = NULL;
    for (size_t i = 0; i < n; i++) {
        struct link *l = gc_alloc(&link_type);

        l->number = i;
        gc_write(&l->next, chain);
        gc_write(&chain, l);
    }
}

static size_t
chain_length(void)
{
    size_t n = 0;

    for (const struct link *l = chain; l != NULL; l = l->next)
        n++;
    return n;
}

static void
begin_with_root(void)
{
    begin_by_hand();
    cr_assert_eq(gc_root_add(&chain, sizeof(chain)), GC_OK);
}

static void
end_with_root(void)
{
    chain = NULL;
    gc_root_remove(&chain);
    end_by_hand();
}

/* How often the workers' bell was rung in one cycle. */
static unsigned
rings(void)
{
    unsigned before = ahalf_load_acquire(&the_heap->marking.bell);

    gc_collect(the_heap);
    return ahalf_load_acquire(&the_heap->marking.bell) - before;
}

/* ---- whole cycles ---- */

Test(solo, a_small_heap_is_marked_without_any_worker)
{
    begin_with_root();
    make_chain(100);
    gc_collect(the_heap);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(rings(), 0);
    cr_expect_eq(chain_length(), 100);
    cr_expect_geq(aword_load_relaxed(&the_heap->counters.heap_work_last),
            100 * sizeof(struct link));
    end_with_root();
}

Test(solo, a_large_heap_is_the_workers)
{
    begin_with_root();
    make_chain(2 * SOLO_BYTES / sizeof(struct link));
    gc_collect(the_heap);
    cr_expect_gt(rings(), 0, "known from the last cycle");
    cr_expect_eq(the_heap->marking.solo, 0);
    cr_expect_eq(chain_length(), 2 * SOLO_BYTES / sizeof(struct link));
    end_with_root();
}

Test(solo, what_has_grown_since_the_last_cycle_is_left_to_the_workers_after_a_while)
{
    begin_with_root();
    gc_collect(the_heap);
    cr_expect_eq(rings(), 0);
    make_chain(4 * SOLO_BYTES / sizeof(struct link));
    gc_collect(the_heap); /* that a worker is woken nobody can tell: it may not have slept yet */
    cr_expect_eq(the_heap->marking.solo, 0);
    cr_expect_eq(chain_length(), 4 * SOLO_BYTES / sizeof(struct link));
    chain = NULL;
    gc_collect(the_heap);
    gc_collect(the_heap);
    cr_expect_eq(rings(), 0, "it is small again");
    end_with_root();
}

/* ---- step by step ---- */

static struct raw_words raw;

static void
expect_empty_hands(void)
{
    const struct marker *mk = &the_heap->marking.workers[the_heap->marking.nworkers].marker;

    cr_expect_eq((uint32_t)aword_load_relaxed(&the_heap->marking.activity), 0);
    cr_expect_null(mk->queue.cur);
    cr_expect_null(mk->queue.spare);
    cr_expect_eq(mk->nbatch, 0);
    cr_expect_eq(mk->marked, 0);
    cr_expect_eq(mk->scanned, 0);
}

Test(solo, it_stops_with_empty_hands_when_it_has_done_its_part)
{
    uint64_t left = SOLO_BYTES;
    unsigned turns = 0;

    begin_with_root();
    make_chain(2 * SOLO_BYTES / sizeof(struct link));
    to_marking();
    take_raw(&raw);
    push_raw_word(chain);
    the_heap->marking.solo = SOLO_BYTES;
    while (the_heap->marking.solo != 0 && turns++ < 1000) {
        our_mark(the_heap);
        cr_expect_lt(the_heap->marking.solo, left);
        left = the_heap->marking.solo;
        expect_empty_hands();
    }
    cr_expect_eq(left, 0);
    cr_expect(is_public_work(), "the rest is there for all");
    cr_expect_geq(aword_load_relaxed(&the_heap->marking.heap_work), SOLO_BYTES / 4);
    cr_expect_lt(aword_load_relaxed(&the_heap->marking.heap_work), 2 * SOLO_BYTES);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->marking.idle_bell), 0, "nobody waits for it");
    our_mark(the_heap);
    cr_expect(is_public_work());
    end_with_root();
}

Test(solo, turns_without_work_come_to_an_end)
{
    begin_by_hand();
    to_marking();
    take_raw(&raw);
    the_heap->marking.solo = SOLO_BYTES;
    for (size_t i = 0; i < SOLO_BYTES / SOLO_LEAST - 1; i++)
        our_mark(the_heap);
    cr_expect_eq(the_heap->marking.solo, SOLO_LEAST);
    our_mark(the_heap);
    cr_expect_eq(the_heap->marking.solo, 0);
    end_by_hand();
}

Test(solo, its_time_is_a_workers)
{
    uint64_t base;

    begin_by_hand();
    base = the_heap->cycles.cpu_base;
    the_heap->marking.solo = SOLO_BYTES;
    our_mark(the_heap);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.worker_ns), 1000);
    cr_expect_eq(base - the_heap->cycles.cpu_base, 1000, "and not the coordinator's");
    the_heap->marking.solo = 0;
    our_mark(the_heap);
    cr_expect_eq(aword_load_relaxed(&the_heap->marking.worker_ns), 1000);
    end_by_hand();
}

Test(solo, what_it_does_is_credit_for_assists)
{
    begin_with_root();
    make_chain(100);
    to_marking();
    take_raw(&raw);
    push_raw_word(chain);
    the_heap->marking.solo = SOLO_BYTES;
    our_mark(the_heap);
    cr_expect_geq(aword_load_relaxed(&the_heap->marking.credit), 100 * sizeof(struct link));
    end_with_root();
}

static uint64_t
part_after(uint64_t heap_work, uint64_t stacks, uint64_t globals)
{
    struct counters *n = &the_heap->counters;

    aword_store_relaxed(&n->heap_work_last, heap_work);
    aword_store_relaxed(&n->stack_work_last, stacks);
    aword_store_relaxed(&n->globals_last, globals);
    our_begin(the_heap);
    return the_heap->marking.solo;
}

Test(solo, its_part_depends_on_all_that_the_last_cycle_scanned)
{
    begin_by_hand();
    the_heap->marking.nstarted = 1;
    cr_expect_eq(part_after(0, 0, 0), SOLO_BYTES);
    cr_expect_eq(part_after(SOLO_LAST, 0, 0), SOLO_BYTES);
    cr_expect_eq(part_after(SOLO_LAST + 1, 0, 0), 0);
    cr_expect_eq(part_after(SOLO_LAST, 1, 0), 0);
    cr_expect_eq(part_after(1, 0, SOLO_LAST), 0);
    the_heap->marking.nstarted = 0;
    cr_expect_eq(part_after(SOLO_LAST + 1, 0, 0), UINT64_MAX, "nobody else is there");
    our_mark(the_heap);
    cr_expect_eq(the_heap->marking.solo, UINT64_MAX);
    end_by_hand();
}
