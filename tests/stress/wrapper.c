/* SPDX-License-Identifier: MIT */
/*
 * Purpose: blocking regions that are entered and left in functions of their own, and left by
 * a tail call.  What the region's caller holds in callee-saved registers lies only in the
 * wrapper's frame when the region begins, and in no frame while it lasts; it must live.
 *
 * Place: public interface only; a plain main(): 0 is a pass.
 *
 * Concurrency: one mutator in and out of regions, one thread that collects without pause,
 * so that most regions are scanned on the mutator's behalf.
 *
 * Arguments: seconds=2 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>

struct cell {
    struct cell *next;
    uint64_t key;
};

GC_TYPE(cell_type, struct cell, next);

static int stopping;

/* Overwrites the callee-saved registers, so that whoever does it has saved its callers'. */
#if defined(__x86_64__)
# define OVERWRITE_REGISTERS()                                                    \
    __asm__ volatile("xorl %%ebx, %%ebx\n\txorl %%r12d, %%r12d\n\txorl %%r13d, %%r13d\n\t" \
                     "xorl %%r14d, %%r14d\n\txorl %%r15d, %%r15d" : : :            \
            "rbx", "r12", "r13", "r14", "r15", "cc", "memory")
#else
# define OVERWRITE_REGISTERS() __asm__ volatile("" : : : "memory")
#endif

__attribute__((noinline)) static void
wrapped_enter(void)
{
    OVERWRITE_REGISTERS();
    gc_block_enter();
    OVERWRITE_REGISTERS();
}

__attribute__((noinline)) static void
overwrite_stack(void)
{
    volatile uint64_t junk[96];

    for (size_t i = 0; i < sizeof junk / sizeof junk[0]; i++)
        junk[i] = UINT64_C(0x5a5a5a5a5a5a5a5a);
}

/* Ends in a tail call where the compiler can make one. */
__attribute__((noinline)) static void
wrapped_leave(void)
{
    overwrite_stack();
    t_sleep_us(20);
    OVERWRITE_REGISTERS();
    gc_block_leave();
}

/* The cells are held in registers across the region, as far as there are registers. */
__attribute__((noinline)) static void
hold_across(uint64_t key)
{
    struct cell *a = gc_alloc(&cell_type), *b = gc_alloc(&cell_type);
    struct cell *c = gc_alloc(&cell_type), *d = gc_alloc(&cell_type);

    a->key = key;
    b->key = key + 1;
    c->key = key + 2;
    d->key = key + 3;
    wrapped_enter();
    wrapped_leave();
    T_CHECK(a->key == key && b->key == key + 1 && c->key == key + 2 && d->key == key + 3,
            "a cell held across a region is 0x%llx, 0x%llx, 0x%llx, 0x%llx; expected 0x%llx..",
            (unsigned long long)a->key, (unsigned long long)b->key, (unsigned long long)c->key,
            (unsigned long long)d->key, (unsigned long long)key);
}

static void *
collector_main(void *arg)
{
    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED))
        gc_collect(arg);
    return NULL;
}

int
main(int argc, char **argv)
{
    uint64_t until, rounds = 0;
    pthread_t collector;
    gc_options opt;

    t_start("wrapper", argc, argv);
    t_hang_after(200);
    t_options(&opt);
    opt.debug_clobberfree = 1;
    T_OK(gc_init(&opt));
    T_CHECK(pthread_create(&collector, NULL, collector_main, gc_thread_heap()) == 0,
            "pthread_create");
    until = t_now_ms() + (uint64_t)t_arg("seconds", 2) * 1000;
    while (t_now_ms() < until)
        hold_across(++rounds << 8);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    gc_block_enter();
    (void)pthread_join(collector, NULL);
    gc_block_leave();
    t_verify(NULL);
    printf("wrapper: rounds=%llu\n", (unsigned long long)rounds);
    gc_shutdown();
    return 0;
}
