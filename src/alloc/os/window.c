/* SPDX-License-Identifier: MIT */
/*
 * Windows, and how a thread is made to leave them.  Linux, x86-64.
 *
 * Purpose: an inline store that costs a comparison and a branch, and yet no handshake is
 * answered between its test and its store (I-critical).
 * Place: the handshake's signal handler and the first handler of fork call it; the windows are
 * in the host's code (gcrt/barrier.h).
 *
 * Recognising one.  Nothing is registered: a window is known by its bytes, wherever the code
 * was loaded.  The constant is the end of the comparison and stands right before the jump:
 *
 *     .. c0 c1 c2 c3 | 0f 85 d0 d1 d2 d3 | 48 89 ..        or 75 d0 for the jump, if somebody
 *          constant  ^       jne         ^    mov          has made it short afterwards
 *                    1                   2
 *
 * A thread at 1 has tested and not jumped, at 2 it has not stored.  Anywhere else it has not
 * tested yet, or has stored, or has jumped.  Where the jump leads its own bytes say, so leaving
 * is one change: of the pc.  Registers and memory are at 2 what they are at 1; the flags mean
 * nothing at `out`.  At 1 the jump is made whatever the flags are, and `out` is right
 * whatever the test would have said.
 * Code that is no window does not have the constant right before a jne: only who knows the
 * constant compares with it.
 *
 * Reading the bytes.  They may begin before the first page of a mapping, and the pc that is found
 * in what looks like a frame may be anything: memory that another thread is just unmapping, say.
 * So a pc counts only in what the dynamic linker has loaded, which stays (gcrt_os_is_loaded), and
 * the kernel is asked whether the bytes can be read (gcrt_os_peek).  Where not all can, bytes of
 * other pages than the pc's are no part of a window at the pc: all of that is code.  Code that can
 * be executed and not read is beyond us, and so is a window whose jump a debugger has replaced
 * by a breakpoint.
 *
 * Finding the frames.  A handler of the host's may have interrupted a window, and our signal
 * that handler: then the window's pc is in the handler's frame.  All frames between us and the
 * stack's base are looked at, our own first.  The kernel puts a frame where the stack pointer
 * is 8 below a multiple of 16:
 *
 *     +0    where the handler returns to           +168  rsp, of what was interrupted
 *     +8    ucontext: flags, link (0), ...         +176  rip
 *                                                  +232  the saved vector registers, above
 *
 * and these words say that one is there: the link is 0, rsp lies in the stack above the frame,
 * and the vector registers between the two.  Every frame passes, whoever has installed the
 * handler, and on a handler's last instructions too: the frame is at most 8 bytes below its
 * stack pointer, and so in the red zone, which nobody overwrites.
 *
 * What is no frame any more, or never was one, may pass as well.  Then one word is changed that
 * is an address inside of a window, 18 words above a 0 and next to a pointer up the stack, at a
 * place that is 0 modulo 16.  What is left of an old frame is like this, and nobody reads it.
 * No pointer to there is ever made by a program, but for samples of the pc: a profiler that
 * has taken one in our window may keep it in a buffer on its stack, and would then read
 * a place a few bytes off, if its buffer looked like a frame otherwise.
 *
 * Not found are frames on other stacks: a handler that runs on an alternate stack is on a stack
 * that is not the thread's, so nobody answers on top of it.  And a host that interrupts
 * a thread without a frame, by writing a call into its context, say, as some runtimes preempt
 * theirs: it must compile its stores with GC_NO_STORE_WINDOW.
 *
 * Who leaves the window itself, by siglongjmp out of a handler, has not stored, as if the
 * signal had come before.
 *
 * Concurrency: the calling thread's own stack.
 * Cost: some ten instructions for each 16 bytes of stack, two system calls for each frame.
 */
#define _GNU_SOURCE
#include "alloc/os/window.h"

#include "alloc/base/tools.h"
#include "alloc/os/os.h"

#include <string.h>
#include <ucontext.h>

#if defined(__x86_64__) && !defined(GCRT_SIM)

/* Bytes around a pc: the longest jump and the constant before it; the longest jump. */
#define CONSTANT  4
#define JUMP      6
#define BEFORE    (CONSTANT + JUMP)
#define CODE      (BEFORE + JUMP)
#define CODE_PAGE 4096

/* ---- recognising ---- */

/* What cannot be read stays 0, which is in no jump. */
static void
read_code(uintptr_t pc, uint8_t code[CODE])
{
    uintptr_t start = pc - BEFORE, page = align_down(pc, CODE_PAGE);
    uintptr_t lo = max_size(start, page), hi = min_size(pc + JUMP, page + CODE_PAGE);

    memset(code, 0, CODE);
    if (pc < CODE_PAGE || pc > (uintptr_t)INTPTR_MAX)
        return;
    if (!gcrt_os_peek(code, start, CODE))
        (void)gcrt_os_peek(code + (lo - start), lo, hi - lo);
}

/* Where the jne at `at`, whose bytes are code, leads; 0: it is none. */
static uintptr_t
jump_target(uintptr_t at, const uint8_t *code)
{
    int32_t far;

    if (code[0] == 0x75)
        return at + 2 + (uintptr_t)(intptr_t)(int8_t)code[1];
    if (code[0] != 0x0f || code[1] != 0x85)
        return 0;
    memcpy(&far, code + 2, sizeof(far));
    return at + JUMP + (uintptr_t)(intptr_t)far;
}

static size_t
jump_bytes(const uint8_t *code)
{
    return code[0] == 0x75 ? 2 : JUMP;
}

uintptr_t
gcrt_window_exit(uintptr_t pc, uint32_t constant)
{
    static const size_t back[] = { 0, 2, JUMP }; /* from pc to the jump */
    uint8_t code[CODE];

    read_code(pc, code);
    for (size_t i = 0; i < ARRAY_LEN(back); i++) {
        const uint8_t *jump = code + BEFORE - back[i];

        if (memcmp(jump - CONSTANT, &constant, CONSTANT) != 0)
            continue;
        if (back[i] == 0 || back[i] == jump_bytes(jump))
            return jump_target(pc - back[i], jump);
    }
    return 0;
}

/* ---- frames ---- */

/* What the kernel leaves below a handler. */
struct frame {
    uintptr_t returns_to;
    ucontext_t context; /* the kernel's is shorter: nothing is read behind the registers */
};

#define FRAME_READ (offsetof(struct frame, context.uc_mcontext.fpregs) + sizeof(void *))

_Static_assert(offsetof(struct frame, context.uc_link) == 16
            && offsetof(struct frame, context.uc_mcontext.gregs[REG_RSP]) == 168
            && offsetof(struct frame, context.uc_mcontext.gregs[REG_RIP]) == 176
            && FRAME_READ == 240,
        "as the kernel lays it out");

RACY_READER static bool
is_frame(uintptr_t at, uintptr_t hi)
{
    const struct frame *f = (const struct frame *)at;
    uintptr_t sp = STACK_READ(&f->context.uc_mcontext.gregs[REG_RSP]);
    uintptr_t vectors = STACK_READ(&f->context.uc_mcontext.fpregs);

    return sp > at + FRAME_READ && sp <= hi && vectors > at && vectors < sp
        && STACK_READ(&f->context.uc_link) == 0;
}

RACY_READER static void
leave_at(uintptr_t at, uint32_t constant)
{
    volatile greg_t *pc = &((struct frame *)at)->context.uc_mcontext.gregs[REG_RIP];
    uintptr_t from = (uintptr_t)*pc, out = 0;

    if (gcrt_os_is_loaded(from))
        out = gcrt_window_exit(from, constant);
    if (out != 0)
        *pc = (greg_t)out;
}

RACY_READER void
gcrt_window_leave(uintptr_t sp, uintptr_t hi, uint32_t constant)
{
    hush();
    for (uintptr_t at = align_up(sp - 8, 16) + 8; at + FRAME_READ <= hi; at += 16)
        if (UNLIKELY(is_frame(at, hi)))
            leave_at(at, constant);
    unhush();
}

#else

uintptr_t
gcrt_window_exit(uintptr_t pc, uint32_t constant)
{
    (void)pc;
    (void)constant;
    return 0;
}

void
gcrt_window_leave(uintptr_t sp, uintptr_t hi, uint32_t constant)
{
    (void)sp;
    (void)hi;
    (void)constant;
}

#endif
