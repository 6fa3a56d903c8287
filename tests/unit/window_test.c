/* SPDX-License-Identifier: MIT */
/*
 * Windows known by their bytes, at the edges of pages too; frames on stacks, and what only looks
 * like one; memory that cannot be read.
 */
#define _GNU_SOURCE
#include "alloc/os/window.h"

#include "alloc/os/os.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__x86_64__)

# define CONSTANT 0x4b1d5ec7
# define OS_PAGE  ((size_t)4096)

/* ---- code ---- */

/* Three pages, of which the middle one can be read. */
static uint8_t *
readable_page(void)
{
    uint8_t *p = mmap(NULL, 3 * OS_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert_neq(p, MAP_FAILED);
    cr_assert_eq(mprotect(p + OS_PAGE, OS_PAGE, PROT_READ | PROT_WRITE), 0);
    memset(p + OS_PAGE, 0x90, OS_PAGE); /* nop */
    return p + OS_PAGE;
}

/* cmpl $CONSTANT, (%rax); jne out; movq %rsi, (%rdi) */
static const uint8_t long_form[] = { 0x81, 0x38, 0xc7, 0x5e, 0x1d, 0x4b, 0x0f, 0x85, 0x44, 0x33,
    0x22, 0x11, 0x48, 0x89, 0x37 };
static const uint8_t short_form[] = { 0x81, 0x38, 0xc7, 0x5e, 0x1d, 0x4b, 0x75, 0xf0, 0x48, 0x89,
    0x37 };

enum { JUMP = 6, LONG_MOVE = 12, SHORT_MOVE = 8 };

static uintptr_t
exit_at(const uint8_t *pc)
{
    return gcrt_window_exit((uintptr_t)pc, CONSTANT);
}

/* out of the window that begins at p, for every pc around it. */
static void
expect_window(const uint8_t *p, size_t move, size_t end, uintptr_t out)
{
    for (size_t at = 0; at <= end; at++)
        cr_expect_eq(exit_at(p + at), at == JUMP || at == move ? out : 0, "pc +%zu", at);
}

/* What an earlier window has left before p. */
static void
cover(uint8_t *p)
{
    size_t n = min_size((uintptr_t)p % OS_PAGE, 32);

    memset(p - n, 0x90, n);
}

static void
expect_long(uint8_t *p)
{
    cover(p);
    memcpy(p, long_form, sizeof(long_form));
    expect_window(p, LONG_MOVE, sizeof(long_form), (uintptr_t)p + LONG_MOVE + 0x11223344);
}

static void
expect_short(uint8_t *p)
{
    cover(p);
    memcpy(p, short_form, sizeof(short_form));
    expect_window(p, SHORT_MOVE, sizeof(short_form), (uintptr_t)p + SHORT_MOVE - 0x10);
}

Test(window, both_jumps_are_known_and_lead_where_they_say)
{
    uint8_t *p = readable_page();

    expect_long(p + 100);
    expect_short(p + 200);
    p[200 + SHORT_MOVE - 1] = 0x12; /* forwards */
    cr_expect_eq(exit_at(p + 200 + JUMP), (uintptr_t)p + 200 + SHORT_MOVE + 0x12);
    memset(p + 100 + 8, 0xff, 4); /* far back: -1 */
    cr_expect_eq(exit_at(p + 100 + JUMP), (uintptr_t)p + 100 + LONG_MOVE - 1);
    cr_expect_eq(exit_at(p + 100 + LONG_MOVE), (uintptr_t)p + 100 + LONG_MOVE - 1);
}

Test(window, nothing_else_is_one)
{
    uint8_t *p = readable_page() + 100;

    memcpy(p, long_form, sizeof(long_form));
    cr_expect_eq(gcrt_window_exit((uintptr_t)p + JUMP, CONSTANT + 1), 0, "another's constant");
    p[2]++;
    cr_expect_eq(exit_at(p + JUMP), 0);
    cr_expect_eq(exit_at(p + LONG_MOVE), 0);
    p[2]--;
    p[JUMP + 1] = 0x84; /* je */
    cr_expect_eq(exit_at(p + JUMP), 0);
    cr_expect_eq(exit_at(p + LONG_MOVE), 0);
    p[JUMP] = 0x74;
    cr_expect_eq(exit_at(p + JUMP), 0);
    cr_expect_eq(exit_at(p + SHORT_MOVE), 0);
}

/* A long jump after the constant, then something that ends as a short one's window would. */
Test(window, the_way_back_is_as_long_as_the_jump)
{
    uint8_t *p = readable_page() + 100;

    memcpy(p, long_form, sizeof(long_form));
    cr_expect_eq(exit_at(p + JUMP + 2), 0, "in the middle of the jump");
    memcpy(p, short_form, sizeof(short_form));
    cr_expect_eq(exit_at(p + JUMP + 6), 0, "behind the store");
}

Test(window, at_the_end_of_what_can_be_read)
{
    uint8_t *end = readable_page() + OS_PAGE;

    expect_long(end - sizeof(long_form) - 1);
    expect_short(end - sizeof(short_form) - 1);
    memcpy(end - SHORT_MOVE, short_form, SHORT_MOVE); /* the store is on the next page */
    cr_expect_eq(exit_at(end - 2), (uintptr_t)end - 0x10);
}

Test(window, at_the_start_of_what_can_be_read)
{
    uint8_t *start = readable_page();

    expect_long(start);
    expect_short(start);
}

/* Each byte of a window on the first of two pages, or on the second. */
Test(window, across_two_pages)
{
    uint8_t *edge = readable_page();

    cr_assert_eq(mprotect(edge - OS_PAGE, OS_PAGE, PROT_READ | PROT_WRITE), 0);
    for (size_t before = 1; before < sizeof(long_form); before++)
        expect_long(edge - before);
    for (size_t before = 1; before < sizeof(short_form); before++)
        expect_short(edge - before);
}

/* The page before is gone: the bytes that are left of a window are none. */
Test(window, half_of_one_is_none)
{
    uint8_t *start = readable_page();

    cr_assert_eq(mprotect(start - OS_PAGE, OS_PAGE, PROT_READ | PROT_WRITE), 0);
    for (size_t before = 3; before < LONG_MOVE; before++) {
        memcpy(start - before, long_form, sizeof(long_form));
        cr_assert_eq(mprotect(start - OS_PAGE, OS_PAGE, PROT_NONE), 0);
        cr_expect_eq(exit_at(start - before + LONG_MOVE), 0);
        cr_assert_eq(mprotect(start - OS_PAGE, OS_PAGE, PROT_READ | PROT_WRITE), 0);
    }
}

Test(window, a_pc_may_be_any_number)
{
    const uint8_t *page = readable_page();

    cr_expect_eq(gcrt_window_exit(0, CONSTANT), 0);
    cr_expect_eq(gcrt_window_exit(4, CONSTANT), 0);
    cr_expect_eq(gcrt_window_exit(UINTPTR_MAX, CONSTANT), 0);
    cr_expect_eq(gcrt_window_exit((uintptr_t)1 << 63, CONSTANT), 0);
    cr_expect_eq(gcrt_window_exit((uintptr_t)page - 1, CONSTANT), 0);
    cr_expect_eq(gcrt_window_exit((uintptr_t)page + OS_PAGE, CONSTANT), 0);
}

/* ---- frames ---- */

# define STACK_WORDS 400

static _Alignas(64) uintptr_t stack[STACK_WORDS];
static uint8_t *code;

enum { RETURN, FLAGS, LINK, RSP = 21, RIP = 22, VECTORS = 29, AT = 101 }; /* words */

static uintptr_t *
make_frame(size_t at)
{
    uintptr_t *f = &stack[at];

    f[RETURN] = 0x1234;
    f[FLAGS] = 7;
    f[LINK] = 0;
    f[RSP] = (uintptr_t)&stack[at + 200];
    f[VECTORS] = (uintptr_t)&stack[at + 60];
    f[RIP] = (uintptr_t)code + LONG_MOVE;
    return f;
}

static void
leave_from(size_t from)
{
    gcrt_window_leave((uintptr_t)&stack[from], (uintptr_t)&stack[STACK_WORDS], CONSTANT);
}

static bool
is_left(const uintptr_t *f)
{
    uintptr_t out = (uintptr_t)code + LONG_MOVE + 0x11223344;

    cr_assert(f[RIP] == out || f[RIP] == (uintptr_t)code + LONG_MOVE, "the pc is %#lx",
            (unsigned long)f[RIP]);
    return f[RIP] == out;
}

static void
make_code(void)
{
    static uint8_t loaded[64]; /* of the program */

    code = loaded + 20;
    memcpy(code, long_form, sizeof(long_form));
}

/* It may be unmapped while it is looked at. */
Test(window, a_frame_with_a_pc_in_no_loaded_object_stays)
{
    uintptr_t *f;

    code = readable_page() + 100;
    memcpy(code, long_form, sizeof(long_form));
    cr_expect_neq(gcrt_window_exit((uintptr_t)code + LONG_MOVE, CONSTANT), 0, "the bytes are one");
    f = make_frame(AT);
    leave_from(0);
    cr_expect_not(is_left(f));
}

Test(window, all_frames_of_a_stack_are_left, .init = make_code)
{
    uintptr_t *one = make_frame(AT), *two = make_frame(AT + 80), was[STACK_WORDS];

    memcpy(was, stack, sizeof(was));
    leave_from(AT);
    cr_expect(is_left(one));
    cr_expect(is_left(two));
    one[RIP] = two[RIP] = (uintptr_t)code + LONG_MOVE;
    cr_expect_arr_eq(stack, was, sizeof(was), "and nothing else is changed");
}

Test(window, frames_below_the_stack_pointer_are_no_more, .init = make_code)
{
    uintptr_t *f = make_frame(AT);

    leave_from(AT + 1);
    cr_expect_not(is_left(f));
    leave_from(AT - 1);
    cr_expect(is_left(f));
}

Test(window, a_frame_ends_within_the_stack, .init = make_code)
{
    uintptr_t *f = make_frame(AT), hi = (uintptr_t)&f[VECTORS + 1];

    f[RSP] = hi + 1;
    gcrt_window_leave((uintptr_t)stack, hi, CONSTANT);
    cr_expect_not(is_left(f), "it was interrupted elsewhere");
    f[RSP] = (uintptr_t)&stack[AT + 200];
    gcrt_window_leave((uintptr_t)stack, hi, CONSTANT);
    cr_expect_not(is_left(f));
    gcrt_window_leave((uintptr_t)stack, (uintptr_t)&stack[AT + 200], CONSTANT);
    cr_expect(is_left(f));
}

/* One word is not as the kernel has it. */
static void
expect_no_frame(size_t word, uintptr_t value)
{
    uintptr_t *f = make_frame(AT);

    f[word] = value;
    leave_from(AT);
    cr_expect_not(is_left(f), "word %zu is %#lx", word, (unsigned long)value);
}

Test(window, what_only_looks_like_a_frame_is_let_be, .init = make_code)
{
    expect_no_frame(LINK, 1);
    expect_no_frame(RSP, 0);
    expect_no_frame(RSP, (uintptr_t)&stack[AT]);
    expect_no_frame(RSP, (uintptr_t)&stack[STACK_WORDS] + 1);
    expect_no_frame(VECTORS, 0);
    expect_no_frame(VECTORS, (uintptr_t)&stack[AT]);
    expect_no_frame(VECTORS, (uintptr_t)&stack[AT + 200]);
}

Test(window, frames_lie_where_the_kernel_aligns_them, .init = make_code)
{
    uintptr_t *f = make_frame(AT + 1);

    leave_from(AT);
    cr_expect_not(is_left(f));
}

Test(window, a_frame_of_other_code_stays, .init = make_code)
{
    uintptr_t *f = make_frame(AT);

    f[RIP] = (uintptr_t)code + LONG_MOVE + 3;
    leave_from(AT);
    cr_expect_eq(f[RIP], (uintptr_t)code + LONG_MOVE + 3);
    f[RIP] = 16; /* nothing is there */
    leave_from(AT);
    cr_expect_eq(f[RIP], 16);
}

/* The kernel's own. */
static volatile uintptr_t pc_seen, stack_base;

static void
look_at_frame(int signal, siginfo_t *info, void *context)
{
    volatile greg_t *pc = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), was = (uintptr_t)*pc;

    (void)signal;
    (void)info;
    *pc = (greg_t)((uintptr_t)code + LONG_MOVE);
    gcrt_window_leave(here, stack_base, CONSTANT);
    pc_seen = (uintptr_t)*pc;
    *pc = (greg_t)was;
}

Test(window, a_frame_of_the_kernels_is_one, .init = make_code)
{
    struct sigaction act;

    stack_base = (uintptr_t)__builtin_frame_address(0);
    memset(&act, 0, sizeof(act));
    act.sa_sigaction = look_at_frame;
    act.sa_flags = SA_SIGINFO;
    cr_assert_eq(sigaction(SIGUSR1, &act, NULL), 0);
    cr_assert_eq(raise(SIGUSR1), 0);
    cr_expect_eq(pc_seen, (uintptr_t)code + LONG_MOVE + 0x11223344);
}

#endif

/* ---- peeking ---- */

Test(window, what_can_be_read_is_copied_and_no_more)
{
    size_t page = gcrt_os_page_size();
    uint8_t *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *end = p + page, to[17];

    cr_assert_neq(p, MAP_FAILED);
    cr_assert_eq(munmap(end, page), 0);
    memset(p, 7, page);
    for (size_t n = 1; n <= 16; n++) {
        memset(to, 0, sizeof(to));
        cr_expect(gcrt_os_peek(to, (uintptr_t)end - n, n));
        for (size_t i = 0; i < sizeof(to); i++)
            cr_expect_eq(to[i], i < n ? 7 : 0);
        cr_expect_not(gcrt_os_peek(to, (uintptr_t)end - n + 1, n));
    }
    cr_expect_not(gcrt_os_peek(to, 0, 8));
}
