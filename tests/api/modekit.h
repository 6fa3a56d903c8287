/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_API_MODEKIT_H
#define GCRT_TESTS_API_MODEKIT_H

/*
 * Tests that run in both modes, in a precise heap, so that what is dropped is dead, with the
 * verifier on.  MODEKIT_ROOTS is the number of registered roots, defined before; `prepare`
 * is called when the heap is there.
 */

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

#include "heapkit.h"

#include <gcrt/gcrt.h>

struct node {
    struct node *next;
    uint64_t number;
};

GC_TYPE(node_type, struct node, next);

static void *roots[MODEKIT_ROOTS];

static inline void
begin_in_mode(gc_mode mode, void (*prepare)(void))
{
    gc_options opt;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    opt.debug_clobberfree = 1;
    opt.debug_verify = 2;
    opt.mode = mode;
    T_OK(gc_init(&opt));
    memset(roots, 0, sizeof(roots));
    T_OK(gc_root_add(roots, sizeof(roots)));
    if (prepare != NULL)
        prepare();
}

static inline void
end_of_mode(void)
{
    gc_root_remove(roots);
    t_verify(NULL);
    gc_shutdown();
}

#define IN_BOTH_MODES(suite, name, prepare)                 \
    static void name(void);                                 \
    Test(suite, name##_concurrent)                          \
    {                                                       \
        begin_in_mode(GC_MODE_CONCURRENT, prepare);         \
        name();                                             \
        end_of_mode();                                      \
    }                                                       \
    Test(suite, name##_stopped)                             \
    {                                                       \
        begin_in_mode(GC_MODE_STW, prepare);                \
        name();                                             \
        end_of_mode();                                      \
    }                                                       \
    static void name(void)

/* Into a root, at once: nothing else holds it. */
static inline struct node *
make(size_t root, uint64_t number)
{
    struct node *n = gc_alloc(&node_type);

    n->number = number;
    gc_write(&roots[root], n);
    return n;
}

#endif
