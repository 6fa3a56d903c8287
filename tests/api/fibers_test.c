/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what lies on a parked stack lives, however the host switches and whichever
 * thread resumes it; what lies on one that is gone does not; misuse is named.
 * Place: public interface only; support/coro.c is the host.
 */
#define _GNU_SOURCE

#include "fatal.h"
#include "kit.h"

#include "coro.h"

#include <setjmp.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK ((size_t)64 << 10)

static char *memory;
static struct coro home, fiber[4];

static void
begin_with(enum coro_how how, const gc_options *opt)
{
    gc_options plain;

    gc_options_default(&plain);
    plain.debug_clobberfree = 1;
    T_OK(gc_init(opt != NULL ? opt : &plain));
    memory = coro_map(4, STACK);
    cr_assert_not_null(memory);
    coro_adopt(&home, how);
}

static void
begin(enum coro_how how)
{
    begin_with(how, NULL);
}

static void
end(void)
{
    coro_forget(&home);
    stop();
    coro_unmap(memory, 4, STACK);
}

static void
spawn(int i, void (*run)(void *), void *arg)
{
    coro_make(&fiber[i], home.how, memory + (size_t)i * STACK, STACK, run, arg);
    fiber[i].end = &home;
}

static __attribute__((noinline)) void
yield(int i)
{
    coro_transfer(&fiber[i], &home);
}

static __attribute__((noinline)) void
resume(int i)
{
    coro_transfer(&home, &fiber[i]);
}

static void
churn(void)
{
    t_wipe_stack();
    t_wipe_registers();
    gc_collect(NULL);
    t_wipe_stack();
    gc_collect(NULL);
}

/* ---- one fiber ---- */

/* Holds object i in a local across a yield. */
static void
hold(void *arg)
{
    size_t i = (size_t)arg;
    void *p = make(i, BYTES);

    yield(0);
    cr_assert(alive(i, BYTES), "object %zu is gone", i);
    GC_KEEP_ALIVE(p);
    yield(0);
}

static void
check_hold(enum coro_how how)
{
    begin(how);
    spawn(0, hold, (void *)3);
    resume(0);
    churn();
    cr_assert(alive(3, BYTES), "what a parked fiber holds is gone");
    resume(0);
    resume(0);
    cr_assert(fiber[0].over);
    coro_drop(&fiber[0]);
    churn();
    cr_assert(!alive(3, BYTES), "what an unregistered stack held is there");
    end();
}

/* One test with ucontext, and one with the switch in assembly. */
#define BOTH(name, check)                                              \
    Test(fibers, name##_ucontext) { check(CORO_UCONTEXT); }            \
    Test(fibers, name##_assembly) { check(CORO_ASSEMBLY); }

BOTH(a_parked_stack_holds, check_hold)

/* The thread's own stack is parked while it runs on a fiber. */
static void
collect_from_fiber(void *arg)
{
    (void)arg;
    churn();
}

Test(fibers, the_threads_own_stack_is_parked_too)
{
    void *p;

    begin(CORO_ASSEMBLY);
    p = make(1, BYTES);
    spawn(0, collect_from_fiber, NULL);
    resume(0);
    cr_assert(alive(1, BYTES));
    GC_KEEP_ALIVE(p);
    coro_drop(&fiber[0]);
    end();
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* Saves its caller's registers in a frame that it gives up before the machine switches. */
static __attribute__((noinline)) void
tell_in_a_wrapper(struct coro *to)
{
#if defined(__x86_64__)
    __asm__ volatile("xorl %%ebx, %%ebx; xorl %%r12d, %%r12d; xorl %%r13d, %%r13d;"
                     "xorl %%r14d, %%r14d; xorl %%r15d, %%r15d"
                     :
                     :
                     : "rbx", "r12", "r13", "r14", "r15");
#endif
    gc_stack_switch(to->stack);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

static __attribute__((noinline)) void
hold_in_registers(void *arg)
{
    void *a = opaque(make(1, BYTES)), *b = opaque(make(2, BYTES)), *c = opaque(make(3, BYTES));

    (void)arg;
    tell_in_a_wrapper(&home);
    t_wipe_stack(); /* the wrapper's frame with what it had saved for us */
    cr_assert_eq(swapcontext(fiber[0].context, home.context), 0);
    GC_KEEP_ALIVE(a);
    GC_KEEP_ALIVE(b);
    GC_KEEP_ALIVE(c);
}

Test(fibers, registers_count_when_the_call_is_wrapped)
{
    begin(CORO_UCONTEXT);
    spawn(0, hold_in_registers, NULL);
    resume(0);
    churn();
    cr_assert(alive(1, BYTES) && alive(2, BYTES) && alive(3, BYTES));
    coro_drop(&fiber[0]);
    end();
}
#endif

/* ---- a stack's life ---- */

Test(fibers, a_reset_stack_holds_nothing_and_runs_again)
{
    begin(CORO_UCONTEXT);
    spawn(0, hold, (void *)4);
    resume(0);
    coro_again(&fiber[0], hold, (void *)5);
    churn();
    cr_assert(!alive(4, BYTES));
    resume(0);
    churn();
    cr_assert(alive(5, BYTES));
    coro_drop(&fiber[0]);
    end();
}

Test(fibers, a_heap_ends_with_parked_stacks)
{
    begin(CORO_ASSEMBLY);
    spawn(0, hold, (void *)1);
    spawn(1, hold, (void *)2);
    resume(0);
    end();
}

/* A parked stack's scopes and frames are its own. */
static void
scoped(void *arg)
{
    size_t i = (size_t)arg;
    void *local = NULL;
    gc_scope scope;
    GC_FRAME(local);

    gc_scope_enter(&scope);
    for (size_t k = 0; k < 600; k++) { /* more than one chunk */
        void **cell = gc_local(k == 0 ? make(i, BYTES) : gc_alloc_bytes(16));

        cr_assert_not_null(cell);
    }
    local = make(i + 1, BYTES);
    coro_transfer(&fiber[i / 2], &home);
    gc_scope_leave(&scope);
}

static void
check_scopes(int precise)
{
    gc_options opt;
    gc_scope scope;
    void **cell;

    gc_options_default(&opt);
    opt.precise_stacks = precise;
    begin_with(CORO_ASSEMBLY, &opt);
    gc_scope_enter(&scope);
    cell = gc_local(make(9, BYTES));
    spawn(0, scoped, (void *)0);
    spawn(1, scoped, (void *)2);
    resume(0);
    resume(1);
    churn();
    for (size_t i = 0; i < 4; i++)
        cr_assert(alive(i, BYTES), "object %zu is gone", i);
    cr_assert(alive(9, BYTES));
    cr_assert_not_null(*cell);
    coro_drop(&fiber[1]); /* in the middle of what it did */
    churn();
    cr_assert(alive(0, BYTES) && alive(1, BYTES));
    cr_assert(!precise || (!alive(2, BYTES) && !alive(3, BYTES)));
    resume(0);
    cr_assert(fiber[0].over);
    coro_drop(&fiber[0]);
    cr_assert(alive(9, BYTES));
    gc_scope_leave(&scope);
    churn();
    for (size_t i = 0; i < 4; i++)
        cr_assert(!alive(i, BYTES) || !precise, "object %zu is there", i);
    end();
}

Test(fibers, scopes_and_frames_travel)
{
    check_scopes(0);
}

Test(fibers, precise_threads_have_fibers)
{
    check_scopes(1);
}

/* ---- looking ---- */

static char path[4096];

static int
keep_text(void *arg, const char *bytes, size_t n)
{
    size_t used = strlen(path);

    (void)arg;
    if (n >= sizeof path - used)
        return 1;
    memcpy(path + used, bytes, n);
    path[used + n] = '\0';
    return 0;
}

/* On a precise heap, where the asking thread's own words count for nothing. */
Test(fibers, a_path_names_the_parked_stack)
{
    const gc_sink sink = { keep_text, NULL };
    gc_options opt;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    begin_with(CORO_ASSEMBLY, &opt);
    spawn(0, scoped, (void *)0);
    resume(0);
    T_OK(gc_why_alive(NULL, t_reveal(hidden[1]), &sink));
    cr_assert(t_mentions(path, "parked stack"), "%s", path);
    resume(0);
    coro_drop(&fiber[0]);
    end();
}

/* ---- generators ---- */

struct walk {
    struct pair *tree;
    struct pair *at; /* stored while its stack is parked, so with gc_write */
};

static void
visit(struct walk *w, struct pair *p)
{
    if (p == NULL)
        return;
    visit(w, p->left);
    gc_write(&w->at, p);
    yield(0);
    visit(w, p->right);
}

static struct pair *
tree_of(int depth)
{
    struct pair *p = gc_alloc(&pair_type);

    if (depth > 1) {
        p->left = tree_of(depth - 1);
        p->right = tree_of(depth - 1);
    }
    return p;
}

static void
walk_main(void *arg)
{
    visit(arg, ((struct walk *)arg)->tree);
}

static void
check_generator(enum coro_how how)
{
    struct walk w = { NULL, NULL };
    int n = 0;

    begin(how);
    w.tree = tree_of(10);
    spawn(0, walk_main, &w);
    for (resume(0); !fiber[0].over; resume(0)) {
        cr_assert_eq(gc_base(w.at), w.at);
        n++;
        if (n % 100 == 0)
            gc_collect(NULL);
    }
    cr_assert_eq(n, 1023);
    coro_drop(&fiber[0]);
    end();
}

BOTH(a_generator_walks_a_tree, check_generator)

/* Every frame of a deep recursion holds an object. */
static __attribute__((noinline)) size_t
dive(size_t n)
{
    struct pair *p = gc_alloc(&pair_type);
    size_t below;

    if (n == 0)
        yield(0);
    below = n == 0 ? 0 : dive(n - 1);
    return below + (gc_base(p) == p);
}

static size_t dived;

static void
dive_main(void *arg)
{
    dived = dive((size_t)arg);
}

Test(fibers, a_deep_recursion_is_scanned_whole)
{
    begin(CORO_UCONTEXT);
    spawn(0, dive_main, (void *)200);
    resume(0);
    churn();
    resume(0);
    cr_assert_eq(dived, 201);
    coro_drop(&fiber[0]);
    end();
}

/* A fiber that is left by longjmp inside itself goes on with the frames it had. */
static void
jumper(void *arg)
{
    jmp_buf back;
    struct gc_impl_frame *frames;
    void *volatile kept = make(1, BYTES);

    (void)arg;
    frames = gc_frames_save();
    if (setjmp(back) == 0) {
        void *inner = make(2, BYTES);
        GC_FRAME(inner);

        yield(0);
        longjmp(back, 1);
    }
    gc_frames_restore(frames);
    yield(0);
    cr_assert(alive(1, BYTES));
    GC_KEEP_ALIVE(kept);
}

Test(fibers, longjmp_within_a_fiber)
{
    begin(CORO_ASSEMBLY);
    spawn(0, jumper, NULL);
    resume(0);
    churn();
    resume(0);
    churn();
    resume(0);
    cr_assert(fiber[0].over);
    coro_drop(&fiber[0]);
    end();
}

/* ---- threads ---- */

static void *
resume_elsewhere(void *arg)
{
    struct coro *c = arg, here;

    coro_adopt(&here, c->how);
    c->end = &here;
    coro_transfer(&here, c);
    coro_forget(&here);
    return NULL;
}

static void
hold_for_others(void *arg)
{
    void *p = make(1, BYTES);

    (void)arg;
    yield(0);
    cr_assert(alive(1, BYTES));
    churn();
    cr_assert(alive(1, BYTES));
    GC_KEEP_ALIVE(p);
}

static void
check_other_thread(enum coro_how how)
{
    pthread_t thread;

    begin(how);
    spawn(0, hold_for_others, NULL);
    resume(0);
    churn();
    T_OK(gc_pthread_create(&thread, NULL, resume_elsewhere, &fiber[0]));
    GC_BLOCKING { pthread_join(thread, NULL); }
    cr_assert(fiber[0].over);
    coro_drop(&fiber[0]);
    end();
}

BOTH(another_thread_resumes, check_other_thread)

/* A thread ends while it runs on a fiber: the stack is empty, and can be used again. */
static void
end_thread(void *arg)
{
    gc_scope scope;

    (void)arg;
    gc_scope_enter(&scope);
    cr_assert_not_null(gc_local(make(1, BYTES)));
    gc_thread_detach();
    coro_jump(&fiber[0], fiber[0].end);
}

Test(fibers, a_thread_detaches_on_a_fiber)
{
    pthread_t thread;

    begin(CORO_ASSEMBLY);
    spawn(0, end_thread, NULL);
    T_OK(gc_pthread_create(&thread, NULL, resume_elsewhere, &fiber[0]));
    GC_BLOCKING { pthread_join(thread, NULL); }
    churn();
    cr_assert(!alive(1, BYTES));
    coro_again(&fiber[0], hold, (void *)2);
    fiber[0].end = &home;
    resume(0);
    churn();
    cr_assert(alive(2, BYTES));
    coro_drop(&fiber[0]);
    end();
}

/* ---- fork ---- */

static __attribute__((noinline)) void
resume_in_child(void)
{
    coro_transfer(&fiber[0], &fiber[1]);
}

static void
fork_in_fiber(void *arg)
{
    void *p = make(1, BYTES);
    int status = 1;
    pid_t child;

    (void)arg;
    child = fork();
    churn();
    cr_assert(alive(1, BYTES) && alive(2, BYTES) && alive(3, BYTES));
    if (child == 0) {
        resume_in_child();
        _exit(0);
    }
    GC_BLOCKING { waitpid(child, &status, 0); }
    cr_assert_eq(status, 0);
    GC_KEEP_ALIVE(p);
}

static void
hold_for_fork(void *arg)
{
    void *p = make(2, BYTES);

    (void)arg;
    yield(1);
    cr_assert(alive(2, BYTES));
    GC_KEEP_ALIVE(p);
    coro_transfer(&fiber[1], &fiber[0]); /* in the child */
}

Test(fibers, a_child_has_parked_stacks)
{
    void *p;

    begin(CORO_ASSEMBLY);
    p = make(3, BYTES);
    spawn(0, fork_in_fiber, NULL);
    spawn(1, hold_for_fork, NULL);
    resume(1);
    resume(0);
    cr_assert(fiber[0].over);
    GC_KEEP_ALIVE(p);
    coro_drop(&fiber[0]);
    coro_drop(&fiber[1]);
    end();
}

/* ---- holding everybody ---- */

Test(fibers, hosts_without_barriers_have_fibers)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.mode = GC_MODE_STW;
    opt.debug_verify = 2;
    begin_with(CORO_UCONTEXT, &opt);
    spawn(0, hold, (void *)1);
    resume(0);
    churn();
    cr_assert(alive(1, BYTES));
    resume(0);
    coro_drop(&fiber[0]);
    end();
}

/* ---- misuse ---- */

static void
refuse_registration(void *lo, size_t bytes, const char *words)
{
    gc_stack *s = NULL;

    cr_assert_eq(gc_stack_register(lo, bytes, &s), GC_ERR_INVAL);
    cr_assert(t_mentions(gc_last_error(), words), "%s", gc_last_error());
    cr_assert_null(s);
}

Test(fibers, bad_bounds_are_refused)
{
    gc_stack *s, *t;

    begin(CORO_ASSEMBLY);
    refuse_registration(NULL, STACK, "NULL");
    refuse_registration(memory + 8, STACK, "16");
    refuse_registration(memory, GC_STACK_MIN - 16, "GC_STACK_MIN");
    refuse_registration((void *)((uintptr_t)gc_alloc_bytes(1 << 20) & ~(uintptr_t)15), STACK,
            "heap");
    cr_assert_eq(gc_stack_register(memory, STACK, NULL), GC_ERR_INVAL);
    T_OK(gc_stack_register(memory + STACK, STACK, &s));
    refuse_registration(memory + STACK, STACK, "overlaps");
    refuse_registration(memory, STACK + 16, "overlaps");
    refuse_registration(memory + 2 * STACK - 16, STACK, "overlaps");
    refuse_registration(memory, 4 * STACK, "overlaps");
    T_OK(gc_stack_register(memory, STACK, &t));
    gc_stack_unregister(s);
    T_OK(gc_stack_register(memory + STACK, STACK, &s));
    gc_stack_unregister(t);
    gc_stack_unregister(s);
    end();
}

static void *
register_detached(void *arg)
{
    gc_stack *s;

    cr_assert_eq(gc_stack_register(arg, STACK, &s), GC_ERR_DETACHED);
    return NULL;
}

Test(fibers, detached_threads_register_nothing)
{
    pthread_t thread;

    begin(CORO_ASSEMBLY);
    cr_assert_eq(pthread_create(&thread, NULL, register_detached, memory), 0);
    pthread_join(thread, NULL);
    end();
}

static void
switch_to_self(void *arg)
{
    (void)arg;
    gc_stack_switch(fiber[0].stack);
}

FATAL(switching_to_the_current_fiber, "current one")
{
    begin(CORO_ASSEMBLY);
    spawn(0, switch_to_self, NULL);
    resume(0);
}

static void *
switch_to_running(void *arg)
{
    gc_stack_switch(arg);
    return NULL;
}

static void
let_another_switch(void *to)
{
    pthread_t thread;

    T_OK(gc_pthread_create(&thread, NULL, switch_to_running, to));
    GC_BLOCKING { pthread_join(thread, NULL); }
}

static void
be_switched_to(void *arg)
{
    (void)arg;
    let_another_switch(fiber[0].stack);
}

FATAL(switching_to_a_running_stack, "thread running")
{
    begin(CORO_ASSEMBLY);
    spawn(0, be_switched_to, NULL);
    resume(0);
}

FATAL(switching_to_another_threads_own, "own")
{
    begin(CORO_ASSEMBLY);
    let_another_switch(home.stack);
}

FATAL(switching_to_an_unregistered_stack, "not registered")
{
    gc_stack *s;

    begin(CORO_ASSEMBLY);
    T_OK(gc_stack_register(memory, STACK, &s));
    gc_stack_unregister(s);
    gc_stack_switch(s);
}

static void
unregister_self(void *arg)
{
    (void)arg;
    gc_stack_unregister(fiber[0].stack);
}

FATAL(unregistering_the_running_stack, "current one")
{
    begin(CORO_ASSEMBLY);
    spawn(0, unregister_self, NULL);
    resume(0);
}

FATAL(resetting_ones_own_stack, "own")
{
    begin(CORO_ASSEMBLY);
    gc_stack_reset(home.stack);
}

FATAL(switching_without_a_stack, "NULL")
{
    begin(CORO_ASSEMBLY);
    gc_stack_switch(NULL);
}

FATAL(switching_in_a_blocking_region, "blocking")
{
    gc_stack *s;

    begin(CORO_ASSEMBLY);
    T_OK(gc_stack_register(memory, STACK, &s));
    gc_block_enter();
    gc_stack_switch(s);
}

static void
switch_unseen(void *arg)
{
    (void)arg;
    gc_stack_switch(fiber[1].stack);
}

FATAL(switching_from_a_stack_that_is_not_current, "not on its current stack")
{
    begin(CORO_ASSEMBLY);
    spawn(0, switch_unseen, NULL);
    spawn(1, hold, NULL);
    coro_jump(&home, &fiber[0]);
}

static void *
resume_precisely(void *arg)
{
    T_OK(gc_thread_attach_precise(NULL));
    gc_stack_switch(arg);
    return NULL;
}

FATAL(resuming_on_a_precise_thread, "precise|scanned")
{
    pthread_t thread;

    begin(CORO_ASSEMBLY);
    spawn(0, hold, NULL);
    resume(0);
    cr_assert_eq(pthread_create(&thread, NULL, resume_precisely, fiber[0].stack), 0);
    GC_BLOCKING { pthread_join(thread, NULL); }
}
