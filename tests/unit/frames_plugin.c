/* SPDX-License-Identifier: MIT */
/*
 * Two libraries are made of this, which differ in one frame's size and in nothing else, so that one
 * may lie where the other was.
 */
#include <stdint.h>

#if defined(__x86_64__)

# define TEXT_(x) #x
# define TEXT(x)  TEXT_(x)

/* Calls fn(arg) from a frame whose words are all `fill`. */
void frames_plugin(void (*fn)(void *arg), void *arg, uintptr_t fill);

__asm__(".text\n"
        ".globl frames_plugin\n"
        ".type frames_plugin, @function\n"
        "frames_plugin:\n"
        ".cfi_startproc\n"
        "subq $" TEXT(FRAME_BYTES) ", %rsp\n"
        ".cfi_adjust_cfa_offset " TEXT(FRAME_BYTES) "\n"
        "movq %rdi, %r8\n"
        "movq %rsi, %r9\n"
        "movq %rdx, %rax\n"
        "movq %rsp, %rdi\n"
        "movl $" TEXT(FRAME_BYTES) " / 8, %ecx\n"
        "rep stosq\n"
        "movq %r9, %rdi\n"
        "call *%r8\n"
        "addq $" TEXT(FRAME_BYTES) ", %rsp\n"
        ".cfi_adjust_cfa_offset -" TEXT(FRAME_BYTES) "\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size frames_plugin, .-frames_plugin\n");

#endif
