/* SPDX-License-Identifier: MIT */
/* precise: a thread whose stack is never read says itself what it holds. */
#include <gcrt/gcrt.h>

#include <stdio.h>

struct cell {
    struct cell *next;
    long value;
};
GC_TYPE(cell_type, struct cell, next);

static struct cell *vm_stack[64]; /* the interpreter's own: plain stores, no barrier */
static size_t vm_depth;

static void
trace_vm(gc_tracer *tracer, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < vm_depth; i++)
        gc_trace(tracer, vm_stack[i]);
}

static struct cell *
cons(long value, struct cell *next)
{
    struct cell *c;

    GC_FRAME(next); /* until the end of the block; c needs none: it is the call's result */
    c = gc_alloc(&cell_type);
    c->next = next;
    c->value = value;
    return c;
}

int
main(void)
{
    gc_options opt;
    long sum = 0;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    if (gc_init(&opt) != GC_OK || gc_root_callback(trace_vm, NULL) != GC_OK) {
        fprintf(stderr, "precise: %s\n", gc_last_error());
        return 1;
    }
    vm_stack[vm_depth++] = NULL;
    for (long i = 1; i <= 100000; i++) {
        vm_stack[0] = cons(i, i % 1000 == 1 ? NULL : vm_stack[0]);
        if (i % 25000 == 0)
            gc_collect(NULL);
    }
    for (const struct cell *c = vm_stack[0]; c != NULL; c = c->next)
        sum += c->value;
    printf("sum of the last thousand: %ld\n", sum);
    gc_shutdown();
    return sum == 99500500 ? 0 : 1;
}
