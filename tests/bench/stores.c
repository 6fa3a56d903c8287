/* SPDX-License-Identifier: MIT */
/*
 * What does each kind of store cost, with the barrier off, on before this thread's stack is
 * scanned (old and new value are queued), and on after it (the old one is)?
 *
 * A cycle is held in each state (tests/support/hold.h), so that nothing but the store itself
 * is measured: the best of `rounds` (15) runs of 20000 stores into `slots` (1024) slots of one
 * array.  Nanoseconds a store; of a bulk store, a word.  Marking of what the barrier queues is
 * the cycle's and not in it, but for the flushes of full buffers in the last state.
 */
#include "peers/gcrt.h"

#include "../support/hold.h"

#include <time.h>

#define STORES 20000
#define WORDS  64

GC_TYPE_NOSCAN(leaf_type, long);

static void **slots; /* a registered root */
static long **values;
static size_t nslots = 1024;

#define BODY(name, text)                          \
    static void run_##name(void)                  \
    {                                             \
        void **restrict from = (void **)values;   \
        for (size_t i = 0; i < STORES; i++) {     \
            void **slot = &slots[i & (nslots - 1)]; \
            void *value = from[i & (nslots - 1)]; \
            text;                                 \
        }                                         \
        (void)from;                               \
    }

BODY(plain, __atomic_store_n(slot, value, __ATOMIC_RELAXED))
BODY(write, gc_write(slot, value))
BODY(release, gc_write_release(slot, value))
BODY(exchange, (void)gc_exchange(slot, value))
BODY(cas, (void)gc_cas(slot, *slot, value))

static void
run_copy(void)
{
    for (size_t i = 0; i < STORES; i += WORDS)
        gc_copy(&gc_pointer_type, &slots[i & (nslots - 1)], &values[i & (nslots - 1)], WORDS);
}

static void
run_clear(void)
{
    for (size_t i = 0; i < STORES; i += WORDS)
        gc_clear(&gc_pointer_type, &slots[i & (nslots - 1)], WORDS);
}

static double
best_ns(void (*run)(void), int rounds)
{
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < rounds; i++) {
        uint64_t start = bench_now_ns(), spent;

        run();
        spent = bench_now_ns() - start;
        best = spent < best ? spent : best;
    }
    return (double)best / STORES;
}

int
main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } kinds[] = { { "plain store", run_plain }, { "gc_write", run_write },
        { "gc_write_release", run_release }, { "gc_exchange", run_exchange },
        { "gc_cas", run_cas }, { "gc_copy, a word", run_copy },
        { "gc_clear, a word", run_clear } };
    double ns[7][HOLD_STATES];

    if (gc_init(NULL) != GC_OK || gc_root_add(&slots, sizeof slots) != GC_OK
            || gc_root_add(&values, sizeof values) != GC_OK)
        return 1;
    gc_write(&slots, gc_alloc_array(&gc_pointer_type, nslots));
    gc_write(&values, gc_alloc_array(&gc_pointer_type, nslots));
    for (size_t i = 0; i < nslots; i++)
        gc_write(&values[i], gc_alloc(&leaf_type));
    for (enum hold_at at = HOLD_IDLE; at < HOLD_STATES; at++)
        for (size_t k = 0; k < 7; k++) {
            if (k == 0) { /* the buffers' memory is met for the first time */
                hold_begin(at);
                (void)best_ns(run_write, 15);
                hold_end();
            }
            hold_begin(at);
            ns[k][at] = best_ns(kinds[k].run, 15);
            hold_end();
        }
    for (size_t k = 0; k < 7; k++)
        printf("%-18s off %6.2f  before the scan %6.2f  after it %6.2f ns\n", kinds[k].name,
                ns[k][HOLD_IDLE], ns[k][HOLD_HYBRID], ns[k][HOLD_DELETION]);
    gc_shutdown();
    return 0;
}
