/* SPDX-License-Identifier: MIT */
/*
 * The quick way up a stack.
 *
 * Purpose: a heap profile's stacks, at the price of two table words and two stack words a frame.
 * Place: unwind.c tries it first; cfi.c reads the unwind tables for it.
 * Invariants: no word is read outside of the stack, whatever a rule says.  Where a frame is
 * unusual there is no answer, and the whole unwinder gives it.
 *
 * What an unwind table says of one return address is 17 bits (cfi.h), and an address of code
 * has 47: both are one word, in a table that all threads share.  A word says itself what it
 * is about, so it is written and read without order, and who overwrites one loses nothing
 * but time.  A line of the table has the addresses of 64 bytes of code, as a stack has several of
 * one function's, and an address that finds its place taken goes to one of WAYS: a stack of
 * 60 frames, each address at a random place, has more than that for one place in one of 10^6 runs.
 *
 * An object that is unloaded leaves words behind, and another may come to lie there.  A frame
 * left by a wrong rule leads to a word that is no return address, hence to one that is not in
 * the table, but for bad luck; and who has to ask the unwind tables learns whether objects came or
 * went, forgets everything, and gives no answer this time.
 *
 * Concurrency: any thread.  Who must not wait for the linker's lock asks nobody, and has no answer
 * where a frame was not seen before.
 * Cost: 12 instructions a frame; about 1 us for an address that was not seen before.
 */
#include "alloc/os/frames.h"

#include "alloc/base/atomic.h"
#include "alloc/os/cfi.h"

#if defined(__x86_64__)

# define RULES       8192u /* two power; 64 KiB, of which pages in use take memory */
# define CODE_BITS   (64 - CFI_RULE_BITS)
# define CODE_STEP   8u /* bytes of code that share a word, and WAYS - 1 neighbours */
# define WAYS        4u
/* Before return address 0: where a host's stack begins that was made by hand. */
# define NOBODY      UINTPTR_MAX

/* Words of code address << CFI_RULE_BITS | rule; 0: free.  Relaxed, see above. */
static struct {
    aword rules[RULES] CACHE_ALIGNED;
    aword loads; /* as of the rules: gcrt_cfi_find */
} frame_rules;

static inline unsigned
index_of(uintptr_t at)
{
    return (unsigned)(at / CODE_STEP) % RULES;
}

static void
forget_all(void)
{
    for (unsigned i = 0; i < RULES; i++)
        aword_store_relaxed(&frame_rules.rules[i], 0);
}

/* Have objects come or gone, so that the rules that led here may be another object's? */
static bool
is_outdated(uint64_t loads)
{
    uint64_t before = aword_load_relaxed(&frame_rules.loads);

    if (loads == before)
        return false;
    forget_all();
    aword_store_relaxed(&frame_rules.loads, loads);
    return before != 0;
}

/* It goes to a free place, or to its own, from which an older one then moves on. */
static void
enter(unsigned i, uint64_t word)
{
    unsigned k;

    for (k = 0; k < WAYS; k++) {
        uint64_t there = aword_load_relaxed(&frame_rules.rules[i ^ k]);

        if (there == 0 || there == word)
            break;
    }
    if (k == WAYS) {
        aword_store_relaxed(&frame_rules.rules[i ^ 1], aword_load_relaxed(&frame_rules.rules[i]));
        k = 0;
    }
    aword_store_relaxed(&frame_rules.rules[i ^ k], word);
}

/* Asks the unwind tables. */
static COLD unsigned
learn(uintptr_t at)
{
    unsigned rule;
    bool outdated;
    uint64_t loads;

    rule = gcrt_cfi_find(at, &loads);
    outdated = is_outdated(loads);
    if (at == NOBODY)
        return outdated ? CFI_ODD : CFI_END;
    if (at >> CODE_BITS != 0)
        return CFI_ODD;
    enter(index_of(at), (uint64_t)at << CFI_RULE_BITS | rule);
    return outdated ? CFI_ODD : rule;
}

void
gcrt_frames_learn(uintptr_t at)
{
    (void)learn(at);
}

static inline unsigned
rule_at(uintptr_t at, uintptr_t *unknown)
{
    unsigned i = index_of(at);
    uint64_t word = aword_load_relaxed(&frame_rules.rules[i]);

    for (unsigned k = 1; UNLIKELY(word >> CFI_RULE_BITS != at) && k < WAYS; k++)
        word = aword_load_relaxed(&frame_rules.rules[i ^ k]);
    if (UNLIKELY(word >> CFI_RULE_BITS != at))
        return unknown == NULL ? learn(at) : (*unknown = at, CFI_ODD);
    return (unsigned)word & ((1u << CFI_RULE_BITS) - 1);
}

/* Where rbp was not what its rule says, a frame's end may lie anywhere on the stack. */
typedef uintptr_t __attribute__((aligned(1), may_alias)) stack_word;

NOINLINE RACY_READER unsigned
gcrt_frames_walk(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi, uintptr_t *unknown)
{
    uintptr_t at, sp, bp;
    unsigned i;

    /* Registers as of one place, so that its row of the tables holds for them; rbp may be sp's. */
    __asm__ volatile("movq %%rbp, %2\n\tleaq 0(%%rip), %0\n\tmovq %%rsp, %1"
                     : "=&r"(at), "=&r"(sp), "=&r"(bp));
    if (unknown != NULL)
        *unknown = 0;
    if (sp < lo)
        return 0;
    for (i = 0; i < n; i++) {
        unsigned rule = rule_at(at, unknown);
        uintptr_t base = rule & CFI_FROM_BP ? bp : sp, end = base + (rule & CFI_BYTES);
        const stack_word *below = (const stack_word *)end - 1;

        if (UNLIKELY((rule & CFI_BYTES) == 0))
            return rule == CFI_END ? i - (at == NOBODY) : 0;
        if (UNLIKELY(end <= sp || end > hi))
            return 0;
        sp = end;
        at = *below - 1;
        if (rule & CFI_SAVED)
            bp = *(below - (rule & CFI_SAVED));
        pcs[i] = at + 1;
    }
    return i - (at == NOBODY);
}

#else

unsigned
gcrt_frames_walk(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi, uintptr_t *unknown)
{
    (void)pcs;
    (void)n;
    (void)lo;
    (void)hi;
    if (unknown != NULL)
        *unknown = 0;
    return 0;
}

void
gcrt_frames_learn(uintptr_t at)
{
    (void)at;
}

#endif
