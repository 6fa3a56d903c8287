/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_SUPPORT_H
#define GCRT_TESTS_SUPPORT_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * What every test program with a plain main() needs: arguments and seeds, checks whose
 * message explains itself, a clock, /proc, a stack wiper, and a child whose standard
 * error is read.  Nothing here uses gcrt; heapkit.h does.
 */

#define T_SKIP 77

/*
 * AddressSanitizer's shadow is resident too, and is not given back with what it is of.  And gcc's
 * does not lock its malloc over a fork: a child must not call malloc if at the fork another
 * thread may have been inside.
 */
#if defined(__SANITIZE_ADDRESS__)
# define T_RSS_HAS_SHADOW 1
# define T_FORK_HAS_MALLOC 0
#else
# define T_RSS_HAS_SHADOW 0
# define T_FORK_HAS_MALLOC 1
#endif

/*
 * T_CHECK(cond, "format", ...): on failure prints the program, the seed, the place, the
 * condition and the message, then aborts, so that a core or a debugger sees the spot.
 */
#define T_CHECK(cond, ...)                                             \
    do {                                                               \
        if (__builtin_expect(!(cond), 0))                              \
            t_fail(__FILE__, __LINE__, #cond, __VA_ARGS__);            \
    } while (0)

_Noreturn void t_fail(const char *file, int line, const char *cond, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* Reads "key=value" arguments, fixes the seed (seed=, GCRT_SEED, else the clock), prints
 * it. */
void t_start(const char *name, int argc, char **argv);
/* The value of key= (also GCRT_SECONDS for "seconds"), "off" is -1, a bare key is 1. */
int64_t t_arg(const char *key, int64_t otherwise);
uint64_t t_seed(void);

/* One line that says what was done; the last thing a passing program prints. */
void t_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the program with a message when it has run for so long: a hang, not a slow run. */
void t_hang_after(unsigned seconds);

uint64_t t_now_ms(void);
uint64_t t_now_ns(void);
void t_sleep_us(unsigned us);

static inline uint64_t
t_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t
t_rand(uint64_t *state)
{
    return t_mix(*state += 0x9e3779b97f4a7c15u);
}

/* Uniform enough in [0, n); n > 0. */
static inline uint64_t
t_below(uint64_t *state, uint64_t n)
{
    return t_rand(state) % n;
}

/*
 * Heap pointers that a test wants to remember without keeping their object alive are kept
 * inverted: no stack scan takes such a word for a pointer.
 */
static inline uintptr_t
t_hide(const void *p)
{
    uintptr_t hidden = ~(uintptr_t)p;

    /* Opaque: or the compiler keeps only the hidden form of a pointer that is still used. */
    __asm__("" : "+r"(hidden));
    return hidden;
}

static inline void *
t_reveal(uintptr_t hidden)
{
    uintptr_t p = ~hidden;

    /* Opaque too: or a pointer held across a call is computed again from its hidden form. */
    __asm__ volatile("" : "+r"(p));
    return (void *)p;
}

/* Overwrites the dead stack below the caller, where old heap pointers may lie. */
void t_wipe_stack(void);
/* Sets the registers that calls do not keep, and vector registers, to zero. */
void t_wipe_registers(void);

size_t t_proc_maps_lines(void);
/* A thread that has been joined counts no more, though the kernel may show it yet. */
size_t t_proc_threads(void);
/* A field of /proc/self/status in KiB, for example "VmSize". */
size_t t_proc_status_kib(const char *field);

/*
 * Runs fn(arg) in a forked child; the first size - 1 bytes of what it writes to standard
 * error come back in text.  Returns the wait status.
 */
int t_child(void (*fn)(void *), void *arg, char *text, size_t size);
/* 1 if one of the words separated by '|' occurs in text, case ignored. */
int t_mentions(const char *text, const char *words);

#endif
