/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_CORO_H
#define GCRT_TESTS_CORO_H

/*
 * Coroutines as a host would write them: with ucontext, or with a switch in assembly that saves
 * callee-saved registers on the stack.  Stacks come from the caller and are registered with the
 * heap.  The sanitizers are told of every switch.
 */

#include <gcrt/gcrt.h>

#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

enum coro_how { CORO_UCONTEXT, CORO_ASSEMBLY, CORO_HOWS };

struct coro {
    gc_stack *stack;
    char *lo;
    size_t bytes;
    enum coro_how how;
    void (*run)(void *arg);
    void *arg;        /* no heap pointer: nobody scans it */
    struct coro *end; /* where it goes when run returns */
    bool over;
    ucontext_t *context; /* outside of the stack, where nobody scans it */
    void *sp;
    void *tsan;  /* its fiber, for ThreadSanitizer */
    void *asan;  /* its fake stack */
};

/* A coroutine whose stack is [lo, lo + bytes); its stack is registered. */
void coro_make(struct coro *c, enum coro_how how, void *lo, size_t bytes, void (*run)(void *),
        void *arg);
/* One that is over, or has not begun, begins anew; its stack stays registered. */
void coro_again(struct coro *c, void (*run)(void *), void *arg);
/* The stack is unregistered; the memory is the caller's again. */
void coro_drop(struct coro *c);
/* The thread's own stack as a coroutine; dropped with coro_forget. */
void coro_adopt(struct coro *c, enum coro_how how);
void coro_forget(struct coro *c);

/* gc_stack_switch, then the machine's.  Both coroutines are of one kind. */
void coro_transfer(struct coro *from, struct coro *to);
/* The machine's switch alone. */
void coro_jump(struct coro *from, struct coro *to);

/* Memory for n stacks of so many bytes, without guards; NULL if there is none. */
char *coro_map(size_t n, size_t bytes);
void coro_unmap(char *stacks, size_t n, size_t bytes);

#endif
