/* SPDX-License-Identifier: MIT */
/* fibers: a generator keeps a growing list in a local of its own stack, parked or not. */
#define _GNU_SOURCE
#include <gcrt/gcrt.h>

#include <stdio.h>
#include <ucontext.h>

struct cell {
    struct cell *next;
    long value;
};
GC_TYPE(cell_type, struct cell, next);

static struct cell *yielded; /* registered: a place that both stacks may use */
static ucontext_t main_context, squares_context;
static gc_stack *main_stack, *squares_stack;
static long sum;
static char memory[64 << 10] __attribute__((aligned(16)));

static void
squares(void)
{
    struct cell *list = NULL; /* found on the parked stack */

    for (long i = 1;; i++) {
        struct cell *c = gc_alloc(&cell_type);
        c->next = list;
        c->value = i * i;
        gc_write(&yielded, list = c);
        gc_stack_switch(main_stack); /* first gcrt, ... */
        swapcontext(&squares_context, &main_context); /* ... then the machine, at once */
    }
}

int
main(void)
{
    if (gc_init(NULL) != GC_OK || gc_root_add(&yielded, sizeof(yielded)) != GC_OK
            || gc_stack_register(memory, sizeof(memory), &squares_stack) != GC_OK)
        return 1;
    main_stack = gc_stack_current();
    getcontext(&squares_context);
    squares_context.uc_stack = (stack_t){ .ss_sp = memory, .ss_size = sizeof(memory) };
    makecontext(&squares_context, squares, 0);
    for (long i = 1; i <= 1000; i++) {
        gc_stack_switch(squares_stack);
        swapcontext(&main_context, &squares_context);
        gc_write(&yielded, i < 1000 ? NULL : yielded);
        if (i % 100 == 0)
            gc_collect(NULL); /* the list hangs on the parked stack alone */
    }
    for (const struct cell *c = yielded; c != NULL; c = c->next)
        sum += c->value;
    gc_stack_unregister(squares_stack);
    printf("sum of the first thousand squares: %ld\n", sum);
    gc_shutdown();
    return sum == 333833500 ? 0 : 1;
}
