/* SPDX-License-Identifier: MIT */
/*
 * What does a switch between stacks cost, with gcrt told of it and without?
 *
 * Two stacks that give way to each other `count` times, by the shortest switch there is on
 * x86-64: six registers and the stack pointer; then with ucontext.  And stacks registered and
 * unregistered in random order with `n` others there.
 */
#define _GNU_SOURCE
#include PEER_HEADER

#include <gcrt/stack.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#if defined(__x86_64__)
void bench_swap(void **save, void *load);
__asm__(".text\n"
        ".globl bench_swap\n"
        "bench_swap:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n");
#endif

#define STACK ((size_t)65536)

/* What this thread has used: others may run beside it. */
static uint64_t
cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void *main_sp, *other_sp;
static ucontext_t main_context, other_context;
static gc_stack *main_stack, *other_stack;
static int told;
static char memory[STACK] __attribute__((aligned(64)));

static void
other_main(void)
{
    for (;;) {
        if (told)
            gc_stack_switch(main_stack);
        swapcontext(&other_context, &main_context);
    }
}

#if defined(__x86_64__)
static void
other_entry(void)
{
    for (;;) {
        if (told)
            gc_stack_switch(main_stack);
        bench_swap(&other_sp, main_sp);
    }
}

static void
swaps(uint64_t count)
{
    void **top = (void **)(void *)(memory + STACK - 72);
    uint64_t start;

    gc_stack_reset(other_stack);
    top[6] = (void *)(uintptr_t)other_entry;
    top[7] = NULL;
    other_sp = top;
    start = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        if (told)
            gc_stack_switch(other_stack);
        bench_swap(&main_sp, other_sp);
    }
    printf("%s assembly: %.1f ns a switch\n", told ? "told" : "bare",
            (double)(cpu_ns() - start) / (double)count / 2);
}
#endif

static void
contexts(uint64_t count)
{
    uint64_t start;

    gc_stack_reset(other_stack);
    getcontext(&other_context);
    other_context.uc_stack.ss_sp = memory;
    other_context.uc_stack.ss_size = STACK;
    makecontext(&other_context, other_main, 0);
    start = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        if (told)
            gc_stack_switch(other_stack);
        swapcontext(&main_context, &other_context);
    }
    printf("%s ucontext: %.1f ns a switch\n", told ? "told" : "bare",
            (double)(cpu_ns() - start) / (double)count / 2);
}

static void
registrations(size_t n)
{
    char *lo = mmap(NULL, 2 * n * GC_STACK_MIN, PROT_NONE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    gc_stack **stacks = calloc(2 * n, sizeof(*stacks));
    uint64_t start = cpu_ns(), rng = 1;

    if (lo == MAP_FAILED || stacks == NULL)
        exit(1);
    for (size_t i = 0; i < n; i++)
        if (gc_stack_register(lo + 2 * i * GC_STACK_MIN, GC_STACK_MIN, &stacks[i]) != GC_OK)
            exit(1);
    printf("register, rising: %.0f ns\n", (double)(cpu_ns() - start) / (double)n);
    start = cpu_ns();
    for (size_t i = 0; i < n; i++) {
        size_t k;

        rng = rng * 6364136223846793005u + 1442695040888963407u;
        k = (size_t)(rng >> 33) % n;
        gc_stack_unregister(stacks[k]);
        if (gc_stack_register(lo + 2 * k * GC_STACK_MIN, GC_STACK_MIN, &stacks[k]) != GC_OK)
            exit(1);
    }
    printf("unregister and register, %zu there: %.0f ns\n", n,
            (double)(cpu_ns() - start) / (double)n);
}

int
main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000000;

    if (gc_init(NULL) != GC_OK || gc_stack_register(memory, STACK, &other_stack) != GC_OK)
        return 1;
    main_stack = gc_stack_current();
    for (told = 0; told < 2; told++) {
#if defined(__x86_64__)
        swaps(count);
#endif
        contexts(count / 10);
    }
    registrations(100000);
    return 0;
}
