/* SPDX-License-Identifier: MIT */
/*
 * Purpose: coroutines for tests, see coro.h.
 * Place: public interface only.
 * Invariants: between gc_stack_switch and the machine's switch only the sanitizers are called.
 */
#define _GNU_SOURCE

#include "coro.h"
#include "support.h"

#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
# if __has_feature(thread_sanitizer)
#  define CORO_TSAN 1
# endif
# if __has_feature(address_sanitizer)
#  define CORO_ASAN 1
# endif
#endif
#if defined(__SANITIZE_THREAD__)
# define CORO_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
# define CORO_ASAN 1
#endif
#if defined(CORO_TSAN)
# include <sanitizer/tsan_interface.h>
#endif
#if defined(CORO_ASAN)
# include <sanitizer/common_interface_defs.h>
#endif

/* ---- the switch in assembly ---- */

void coro_swap(void **save, void *load);
void coro_entry(void);

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl coro_swap\n"
        ".type coro_swap, @function\n"
        "coro_swap:\n"
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
        "    ret\n"
        ".size coro_swap, .-coro_swap\n"
        ".globl coro_entry\n"
        ".type coro_entry, @function\n"
        "coro_entry:\n" /* the first return address; rbx is the coroutine */
        "    movq %rbx, %rdi\n"
        "    call coro_main\n"
        "    ud2\n"
        ".size coro_entry, .-coro_entry\n");
# define FIRST_WORDS 9 /* r15 r14 r13 r12 rbx rbp, return address, and two to align */
# define FIRST_SELF  4
# define FIRST_ENTRY 6
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl coro_swap\n"
        ".type coro_swap, %function\n"
        "coro_swap:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size coro_swap, .-coro_swap\n"
        ".globl coro_entry\n"
        ".type coro_entry, %function\n"
        "coro_entry:\n" /* the first return address; x19 is the coroutine */
        "    mov x0, x19\n"
        "    bl coro_main\n"
        "    brk #1\n"
        ".size coro_entry, .-coro_entry\n");
# define FIRST_WORDS 20
# define FIRST_SELF  0
# define FIRST_ENTRY 11 /* x30 */
#else
# error "no switch for this processor"
#endif

/* ---- telling the sanitizers ---- */

static void
tell_before(struct coro *from, struct coro *to)
{
    (void)from, (void)to;
#if defined(CORO_TSAN)
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
#if defined(CORO_ASAN)
    __sanitizer_start_switch_fiber(from->over ? NULL : &from->asan, to->lo, to->bytes);
#endif
}

static void
tell_after(struct coro *self)
{
    (void)self;
#if defined(CORO_ASAN)
    __sanitizer_finish_switch_fiber(self->asan, NULL, NULL);
#endif
}

/* ---- coroutines ---- */

void coro_main(struct coro *c) __attribute__((used, noreturn));

void
coro_main(struct coro *c)
{
    tell_after(c);
    c->run(c->arg);
    c->over = true;
    coro_transfer(c, c->end);
    abort();
}

static void
context_main(unsigned lo, unsigned hi)
{
    coro_main((struct coro *)((uintptr_t)hi << 32 | lo));
}

static void
prepare_context(struct coro *c)
{
    uintptr_t self = (uintptr_t)c;

    T_CHECK(getcontext(c->context) == 0, "getcontext");
    c->context->uc_stack.ss_sp = c->lo;
    c->context->uc_stack.ss_size = c->bytes;
    c->context->uc_link = NULL;
    makecontext(c->context, (void (*)(void))(uintptr_t)context_main, 2, (unsigned)self,
            (unsigned)(self >> 32));
}

static void
prepare_stack(struct coro *c)
{
    void **top = (void **)(void *)(c->lo + c->bytes - FIRST_WORDS * sizeof(void *));

    memset(top, 0, FIRST_WORDS * sizeof(void *));
    top[FIRST_SELF] = c;
    top[FIRST_ENTRY] = (void *)(uintptr_t)coro_entry;
    c->sp = top;
}

static void
begin(struct coro *c, void (*run)(void *), void *arg)
{
    c->run = run;
    c->arg = arg;
    c->over = false;
    c->asan = NULL;
    if (c->how == CORO_UCONTEXT)
        prepare_context(c);
    else
        prepare_stack(c);
}

static void
acquire(struct coro *c, enum coro_how how)
{
    *c = (struct coro){ .how = how, .context = malloc(sizeof(ucontext_t)) };
    T_CHECK(c->context != NULL, "no memory for a context");
}

void
coro_make(struct coro *c, enum coro_how how, void *lo, size_t bytes, void (*run)(void *),
        void *arg)
{
    acquire(c, how);
    c->lo = lo;
    c->bytes = bytes;
    T_CHECK(gc_stack_register(lo, bytes, &c->stack) == GC_OK, "%s", gc_last_error());
#if defined(CORO_TSAN)
    c->tsan = __tsan_create_fiber(0);
#endif
    begin(c, run, arg);
}

void
coro_again(struct coro *c, void (*run)(void *), void *arg)
{
    gc_stack_reset(c->stack);
    begin(c, run, arg);
}

void
coro_drop(struct coro *c)
{
    gc_stack_unregister(c->stack);
#if defined(CORO_TSAN)
    __tsan_destroy_fiber(c->tsan);
#endif
    free(c->context);
}

void
coro_adopt(struct coro *c, enum coro_how how)
{
    pthread_attr_t attr;
    void *lo;

    acquire(c, how);
    c->stack = gc_stack_current();
    T_CHECK(pthread_getattr_np(pthread_self(), &attr) == 0, "pthread_getattr_np");
    T_CHECK(pthread_attr_getstack(&attr, &lo, &c->bytes) == 0, "pthread_attr_getstack");
    T_CHECK(pthread_attr_destroy(&attr) == 0, "pthread_attr_destroy");
    c->lo = lo;
#if defined(CORO_TSAN)
    c->tsan = __tsan_get_current_fiber();
#endif
}

void
coro_forget(struct coro *c)
{
    free(c->context);
}

void
coro_transfer(struct coro *from, struct coro *to)
{
    gc_stack_switch(to->stack);
    coro_jump(from, to);
}

void
coro_jump(struct coro *from, struct coro *to)
{
    tell_before(from, to);
    if (from->how == CORO_UCONTEXT)
        T_CHECK(swapcontext(from->context, to->context) == 0, "swapcontext");
    else
        coro_swap(&from->sp, to->sp);
    tell_after(from);
}

char *
coro_map(size_t n, size_t bytes)
{
    void *p = mmap(NULL, n * bytes, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

void
coro_unmap(char *stacks, size_t n, size_t bytes)
{
    T_CHECK(munmap(stacks, n * bytes) == 0, "munmap");
}
