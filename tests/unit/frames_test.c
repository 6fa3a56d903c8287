/* SPDX-License-Identifier: MIT */
/*
 * The quick walk says what glibc's backtrace() says, or nothing.
 *
 * Place: tests alloc/os/frames.c and alloc/os/cfi.c.
 */
#define _GNU_SOURCE

#include "alloc/os/frames.h"

#include "alloc/os/cfi.h"

#include <alloca.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define MOST 256

#if defined(__x86_64__)

struct stacks {
    uintptr_t lo, hi;
    uintptr_t ours[MOST], theirs[MOST];
    unsigned nours, ntheirs;
    unsigned most; /* 0: MOST */
};

static void
find_bounds(struct stacks *s)
{
    pthread_attr_t attr;
    void *lo;
    size_t bytes;

    (void)backtrace(&lo, 1); /* the first call loads a library */
    cr_assert_eq(pthread_getattr_np(pthread_self(), &attr), 0);
    cr_assert_eq(pthread_attr_getstack(&attr, &lo, &bytes), 0);
    (void)pthread_attr_destroy(&attr);
    s->lo = (uintptr_t)lo;
    s->hi = s->lo + bytes;
}

/* Both are taken by one function, so the stacks differ in their first word or two alone. */
static NOINLINE void
look(struct stacks *s)
{
    s->nours = gcrt_frames_walk(s->ours, s->most != 0 ? s->most : MOST, s->lo, s->hi, NULL);
    s->ntheirs = (unsigned)backtrace((void **)s->theirs, MOST);
}

/* Counted from the outermost frame, the stacks are equal up to the function that took them. */
static void
expect_equal(const struct stacks *s, const char *what)
{
    unsigned n = s->nours < s->ntheirs ? s->nours : s->ntheirs;

    cr_assert_gt(n, 3, "%s: %u frames, not %u", what, s->nours, s->ntheirs);
    cr_assert_leq(s->ntheirs - n, 1, "%s: %u frames, not %u", what, s->nours, s->ntheirs);
    cr_assert_leq(s->nours - n, 1, "%s: %u frames, not %u", what, s->nours, s->ntheirs);
    for (unsigned i = 1; i + 2 <= n; i++)
        cr_assert_eq(s->ours[s->nours - i], s->theirs[s->ntheirs - i], "%s: frame %u of %u",
                what, i, n);
}

/* ---- frames of many shapes; each calls look and does something afterwards ---- */

static volatile unsigned sink;

static NOINLINE void
plain(struct stacks *s)
{
    look(s);
    sink++;
}

static NOINLINE void
large(struct stacks *s)
{
    volatile char bytes[9000];

    bytes[sink % sizeof bytes] = 1;
    look(s);
    sink += (unsigned)bytes[sink % sizeof bytes];
}

static NOINLINE void
of_any_size(struct stacks *s)
{
    volatile char *bytes = alloca(100 + sink % 1000);

    bytes[0] = 1;
    look(s);
    sink += (unsigned)bytes[0];
}

/* Needs all callee-saved registers, rbp among them, for values. */
static NOINLINE void
many_registers(struct stacks *s)
{
    unsigned a = sink, b = a * 3, c = b ^ 5, d = c + a, e = d * b, f = e ^ c, g = f + 1;

    look(s);
    sink = a + b + c + d + e + f + g;
    look(s);
    sink ^= a * b * c * d * e * f * g;
}

static NOINLINE void
recursive(struct stacks *s, unsigned depth)
{
    if (depth == 0)
        many_registers(s);
    else
        recursive(s, depth - 1);
    sink++;
}

static _Thread_local struct stacks *to_compare; /* qsort hands nothing on */

static int
compare(const void *a, const void *b)
{
    look(to_compare);
    return *(const char *)a - *(const char *)b;
}

/* Through the C library's own frames. */
static NOINLINE void
in_qsort(struct stacks *s)
{
    char letters[] = "ba";

    to_compare = s;
    qsort(letters, 2, 1, compare);
}

static NOINLINE void
deep(struct stacks *s)
{
    recursive(s, 40);
}

/*
 * Three functions whose calls lie 64 KiB apart, so that their return addresses share one place in
 * the table, and whose frames are of different sizes.  Each calls fn(arg).
 */
# define CALLER(name, bytes)                                                               \
     ".type " name ", @function\n" name ":\n.cfi_startproc\n"                              \
     "subq $" bytes ", %rsp\n.cfi_adjust_cfa_offset " bytes "\n"                           \
     "movq %rdi, %rax\nmovq %rsi, %rdi\ncall *%rax\n"                                      \
     "addq $" bytes ", %rsp\n.cfi_adjust_cfa_offset -" bytes "\nret\n.cfi_endproc\n"      \
     ".size " name ", .-" name "\n"
__asm__(".text\n" CALLER("frames_test_near", "1000")
        ".skip 65536 - (. - frames_test_near)\n" CALLER("frames_test_far", "2008")
        ".skip 131072 - (. - frames_test_near)\n" CALLER("frames_test_farther", "3000"));
typedef void calling_fn(void (*fn)(struct stacks *s), struct stacks *s);
calling_fn frames_test_near, frames_test_far, frames_test_farther;

static NOINLINE void
from_farther(struct stacks *s)
{
    frames_test_farther(plain, s);
    sink++;
}

static NOINLINE void
from_far(struct stacks *s)
{
    frames_test_far(from_farther, s);
    sink++;
}

static NOINLINE void
in_one_place(struct stacks *s)
{
    frames_test_near(from_far, s);
    sink++;
}

static void
expect_all_shapes(void)
{
    static const struct {
        const char *what;
        void (*fn)(struct stacks *s);
    } shapes[] = { { "plain", plain }, { "large", large }, { "any size", of_any_size },
        { "registers", many_registers }, { "qsort", in_qsort }, { "deep", deep },
        { "one place", in_one_place } };
    struct stacks s = { .most = 0 };

    find_bounds(&s);
    for (int again = 0; again < 3; again++) /* what was learned does not change the answer */
        for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
            s.nours = 0;
            shapes[i].fn(&s);
            expect_equal(&s, shapes[i].what);
        }
}

static void *
on_a_thread(void *arg)
{
    (void)arg;
    expect_all_shapes();
    return NULL;
}

Test(frames, the_stack_is_the_one_of_glibc)
{
    pthread_t threads[4];

    expect_all_shapes();
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, on_a_thread, NULL), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
}

Test(frames, a_deep_stack_is_cut)
{
    struct stacks s = { .most = 16 };

    find_bounds(&s);
    s.ours[16] = 1;
    deep(&s);
    cr_expect_eq(s.nours, 16);
    cr_expect_eq(s.ours[16], 1, "nothing is written behind the end");
}

Test(frames, another_stack_than_said_gives_nothing)
{
    struct stacks s = { .most = 0 };

    look(&s); /* [0, 0) */
    cr_expect_eq(s.nours, 0);
    find_bounds(&s);
    s.lo = s.hi;
    look(&s);
    cr_expect_eq(s.nours, 0);
    find_bounds(&s);
    s.hi = (uintptr_t)__builtin_frame_address(0); /* it ends before the outermost frame does */
    plain(&s);
    cr_expect_eq(s.nours, 0);
}

/* ---- what is unusual gives nothing ---- */

static NOINLINE void
huge(struct stacks *s)
{
    volatile char bytes[100000];

    bytes[sink % sizeof bytes] = 1;
    look(s);
    sink += (unsigned)bytes[sink % sizeof bytes];
}

static struct stacks *to_signal;

static void
on_signal(int sig)
{
    (void)sig;
    plain(to_signal);
}

Test(frames, an_unusual_frame_gives_nothing)
{
    struct stacks s = { .most = 0 };
    struct sigaction act = { .sa_handler = on_signal };

    find_bounds(&s);
    huge(&s);
    if (s.nours != 0) /* more than 64 KiB above rsp is unusual, but not above rbp */
        expect_equal(&s, "huge");
    plain(&s);
    expect_equal(&s, "plain");
    to_signal = &s;
    cr_assert_eq(sigaction(SIGUSR1, &act, NULL), 0);
    cr_assert_eq(raise(SIGUSR1), 0);
    cr_expect_eq(s.nours, 0, "a signal's frame");
    cr_expect_gt(s.ntheirs, 4);
}

/* A stack that was made by hand ends with return address 0. */
static struct stacks on_fiber;
static ucontext_t home, away;

/* Called like a function, with the return address that is found there. */
__asm__(".text\n"
        ".type frames_test_bottom, @function\n"
        "frames_test_bottom:\n"
        ".cfi_startproc\n"
        "subq $8, %rsp\n"
        ".cfi_adjust_cfa_offset 8\n"
        "call frames_test_on_fiber\n"
        "ud2\n"
        ".cfi_endproc\n"
        ".size frames_test_bottom, .-frames_test_bottom\n");
void frames_test_bottom(void);
void frames_test_on_fiber(void);

void
frames_test_on_fiber(void)
{
    plain(&on_fiber);
    cr_assert_eq(swapcontext(&away, &home), 0);
}

Test(frames, a_stack_may_end_with_no_return_address)
{
    static uintptr_t stack[8192] __attribute__((aligned(16)));
    uintptr_t *top = &stack[ARRAY_LEN(stack) - 1];

    cr_assert_eq(getcontext(&away), 0);
    *top = 0;
    away.uc_stack = (stack_t){ .ss_sp = stack, .ss_size = sizeof stack };
    makecontext(&away, frames_test_bottom, 0);
    away.uc_mcontext.gregs[REG_RSP] = (greg_t)top;
    on_fiber.lo = (uintptr_t)stack;
    on_fiber.hi = (uintptr_t)(top + 1);
    cr_assert_eq(swapcontext(&home, &away), 0);
    cr_expect_eq(on_fiber.nours, 4, "look, plain, on_fiber, bottom, not %u", on_fiber.nours);
    cr_expect_neq(on_fiber.ours[3], 0);
}

/* ---- unwind tables ---- */

static unsigned
rule_at(const void *fn, int offset)
{
    uint64_t loads;

    return gcrt_cfi_find((uintptr_t)fn + (uintptr_t)offset, &loads);
}

/* Rules that the assembler's directives say; nops are one byte each. */
__asm__(".text\n"
        ".type frames_test_rules, @function\n"
        "frames_test_rules:\n"
        ".cfi_startproc\n"
        "nop\n"
        ".cfi_adjust_cfa_offset 8\n" /* 1: 16 above rsp */
        ".cfi_rel_offset %rbp, 0\n"
        "nop\n"
        ".cfi_remember_state\n"
        ".cfi_def_cfa_register %rbp\n" /* 2: above rbp */
        "nop\n"
        ".cfi_def_cfa %r10, 8\n" /* 3: of another register */
        "nop\n"
        ".cfi_restore_state\n" /* 4: as 1 */
        "nop\n"
        ".cfi_restore %rbp\n" /* 5: rbp as it is */
        "nop\n"
        ".cfi_def_cfa_offset 65528\n" /* 6: the most */
        "nop\n"
        ".cfi_def_cfa_offset 65536\n" /* 7: too much */
        "nop\n"
        ".cfi_def_cfa_offset 20\n" /* 8: no word */
        "nop\n"
        ".cfi_def_cfa_offset 80\n"
        ".cfi_offset %rbp, -64\n" /* 9: the lowest place for rbp */
        "nop\n"
        ".cfi_offset %rbp, -72\n" /* 10: too low */
        "nop\n"
        ".cfi_same_value %rbp\n" /* 11 */
        "nop\n"
        ".cfi_register %rbp, %rax\n" /* 12 */
        "nop\n"
        ".cfi_same_value %rbp\n"
        ".cfi_offset %rip, -16\n" /* 13: not below the end */
        "nop\n"
        ".cfi_restore %rip\n" /* 14 */
        "nop\n"
        ".cfi_escape 0x0f, 2, 0x77, 8\n" /* 15: an expression, rsp + 8 */
        "nop\n"
        ".cfi_def_cfa %rsp, 8\n" /* 16 */
        "nop\n"
        ".cfi_escape 0x10, 6, 1, 0x9c\n" /* 17: an expression for rbp */
        "nop\n"
        ".cfi_same_value %rbp\n"
        ".cfi_undefined %rip\n" /* 18: nobody called */
        "nop\n"
        ".cfi_endproc\n"
        ".size frames_test_rules, .-frames_test_rules\n"
        "nop\n" /* 19: of no function */
        ".type frames_test_signal, @function\n"
        "frames_test_signal:\n"
        ".cfi_startproc\n"
        ".cfi_signal_frame\n"
        "nop\n"
        ".cfi_endproc\n"
        ".size frames_test_signal, .-frames_test_signal\n");
void frames_test_rules(void);
void frames_test_signal(void);

Test(frames, rules_are_read_from_unwind_tables)
{
    static const unsigned rules[] = { 8, 16 | 1, CFI_FROM_BP | 16 | 1, CFI_ODD, 16 | 1, 16, 65528,
        CFI_ODD, CFI_ODD, 80 | 7, CFI_ODD, 80, CFI_ODD, CFI_ODD, 80, CFI_ODD, 8, CFI_ODD, CFI_END };

    for (unsigned i = 0; i < ARRAY_LEN(rules); i++) {
        unsigned rule = rule_at((const void *)(uintptr_t)frames_test_rules, (int)i);

        cr_expect_eq(rule, rules[i], "%u: 0x%x, not 0x%x", i, rule, rules[i]);
    }
    cr_expect_eq(rule_at((const void *)(uintptr_t)frames_test_rules, ARRAY_LEN(rules)), CFI_ODD,
            "behind the function's end");
    cr_expect_eq(rule_at((const void *)(uintptr_t)frames_test_signal, 0), CFI_ODD, "a signal's");
}

Test(frames, code_that_nobody_described_is_unusual)
{
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert_neq(page, MAP_FAILED);
    cr_expect_eq(rule_at(page, 8), CFI_ODD);
    cr_expect_eq(rule_at(NULL, 8), CFI_ODD);
}

Test(frames, who_asks_learns_that_objects_came_and_went)
{
    uint64_t before, after, later;
    void *library;

    (void)gcrt_cfi_find((uintptr_t)look, &before);
    library = dlopen(PLUGIN_SMALL, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(library, "%s", dlerror());
    (void)gcrt_cfi_find((uintptr_t)look, &after);
    cr_expect_gt(after, before);
    cr_assert_eq(dlclose(library), 0);
    (void)gcrt_cfi_find(UINTPTR_MAX, &later);
    cr_expect_gt(later, after);
}

static NOINLINE void
look_again(struct stacks *s, uintptr_t *unknown)
{
    s->nours = gcrt_frames_walk(s->ours, MOST, s->lo, s->hi, unknown);
    sink++;
}

Test(frames, who_must_not_ask_has_what_was_met_before)
{
    struct stacks s = { .most = 0 };
    uintptr_t unknown = 1;
    unsigned seen[4];

    find_bounds(&s);
    for (volatile unsigned i = 0; i < 4; i++) { /* from one place */
        look_again(&s, i == 1 ? NULL : &unknown);
        seen[i] = s.nours;
        cr_expect(i == 0 ? unknown > 1 : i == 1 || unknown == 0);
    }
    cr_expect_eq(seen[0], 0);
    cr_expect_gt(seen[1], 3);
    cr_expect_eq(seen[2], seen[1]);
    cr_expect_eq(seen[3], seen[1]);
}

#if defined(__x86_64__)
/* Calls fn from two places, 4 bytes apart and on both sides of a multiple of 8. */
void call_nearby(void (*fn)(void));
__asm__("\t.text\n\t.p2align 4\n\t.globl call_nearby\n\t.type call_nearby, @function\n"
        "call_nearby:\n\t.cfi_startproc\n"
        "\tpushq %rbx\n\t.cfi_def_cfa_offset 16\n\t.cfi_offset %rbx, -16\n"
        "\tmovq %rdi, %rbx\n\tcall *%rbx\n\tnop\n\tnop\n\tcall *%rbx\n"
        "\tpopq %rbx\n\t.cfi_def_cfa_offset 8\n\tret\n\t.cfi_endproc\n"
        "\t.size call_nearby, .-call_nearby");

static struct stacks nearby;
static bool may_ask;

static void
look_nearby(void)
{
    uintptr_t unknown = 0;

    look_again(&nearby, may_ask ? NULL : &unknown);
    cr_expect_eq(unknown, 0);
    cr_expect_gt(nearby.nours, 3);
}

Test(frames, neighbours_do_not_take_each_other_s_place)
{
    find_bounds(&nearby);
    for (volatile int i = 0; i < 4; i++) {
        may_ask = i < 2;
        call_nearby(look_nearby);
    }
}
#endif

Test(frames, what_is_unknown_can_be_learned_one_by_one)
{
    struct stacks s = { .most = 0 };
    uintptr_t unknown;
    int asked = 0;

    find_bounds(&s);
    for (look_again(&s, &unknown); s.nours == 0 && unknown != 0; look_again(&s, &unknown)) {
        gcrt_frames_learn(unknown);
        cr_assert_lt(asked++, MOST);
    }
    cr_expect_gt(s.nours, 3);
    cr_expect_gt(asked, 3);
}

static void
look_from_plugin(void *s)
{
    look(s);
    sink++;
}

typedef void plugin_fn(void (*fn)(void *arg), void *arg, uintptr_t fill);

static plugin_fn *
open_plugin(const char *path, void **library)
{
    plugin_fn *fn;

    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(*library, "%s", dlerror());
    *(void **)&fn = dlsym(*library, "frames_plugin");
    cr_assert_not_null(fn);
    return fn;
}

/* The first library's rule leads into the second one's frame, where every word is `fill`. */
static void
replace_plugin(uintptr_t fill)
{
    struct stacks s = { .most = 0 };
    void *library;
    plugin_fn *small = open_plugin(PLUGIN_SMALL, &library), *other;

    find_bounds(&s);
    small(look_from_plugin, &s, fill);
    small(look_from_plugin, &s, fill);
    expect_equal(&s, "the first library");
    cr_assert_eq(dlclose(library), 0);
    other = open_plugin(PLUGIN_LARGE, &library);
    cr_assert_eq((void *)(uintptr_t)other, (void *)(uintptr_t)small, "it lies elsewhere");
    other(look_from_plugin, &s, fill);
    cr_expect_eq(s.nours, 0, "an old rule was believed");
    other(look_from_plugin, &s, fill);
    expect_equal(&s, "the second library");
}

Test(frames, a_library_in_the_place_of_another_is_noticed)
{
    replace_plugin(4);
}

Test(frames, it_is_noticed_where_the_stack_seems_to_end_too)
{
    replace_plugin(0);
}

#else

Test(frames, elsewhere_it_gives_nothing)
{
    uintptr_t pcs[MOST];

    cr_expect_eq(gcrt_frames_walk(pcs, MOST, 0, UINTPTR_MAX, NULL), 0);
}

#endif
