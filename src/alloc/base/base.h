/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_BASE_H
#define GCRT_BASE_BASE_H

/* The small words that every layer uses. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NOINLINE    __attribute__((noinline))
#define COLD        __attribute__((cold, noinline))
#define UNUSED      __attribute__((unused))
#define PRINTF(a, b) __attribute__((format(printf, a, b)))

/* Two lines: x86 prefetches lines in pairs, so neighbours in a pair share false sharing. */
#define CACHE_LINE       64
#define CACHE_PAIR       128
#define CACHE_ALIGNED    __attribute__((aligned(CACHE_PAIR)))

/* A place where the simulation (sim.h) may run another thread; elsewhere nothing. */
#if !defined(GCRT_SIM)
# define sim_point() ((void)0)
#endif

/*
 * Loops that read memory which other threads write, on purpose and word by word: objects,
 * stacks, roots.  The host may have written it with plain stores, so the reads are plain
 * too as far as ThreadSanitizer is told, and volatile so that the compiler keeps them whole.
 */
#if defined(__has_feature)
# if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#  define SANITIZED 1
# endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
# define SANITIZED 1
#endif
#if defined(SANITIZED) /* elsewhere the attribute would only keep functions from inlining */
# define RACY_READER __attribute__((no_sanitize("thread"), no_sanitize("address")))
#else
# define RACY_READER
#endif
/* For the few kernels that are one function per shape of object. */
#if defined(SANITIZED) /* there functions are instrumented or not one by one */
# define ALWAYS_INLINE inline
#else
# define ALWAYS_INLINE inline __attribute__((always_inline))
#endif
#define RACY_READ(p) (sim_point(), *(const volatile uintptr_t *)(p))
/* The same for a stack that nobody writes meanwhile: no place for others to run. */
#define STACK_READ(p) (*(const volatile uintptr_t *)(p))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of_(ptr, type, member) \
    ((type *)((uintptr_t)(ptr) - offsetof(type, member)))

#define PAGE_SHIFT 13
#define PAGE_SIZE  ((size_t)1 << PAGE_SHIFT) /* a gcrt page, whatever the OS page is */
#define WORD       sizeof(void *)

static inline size_t
align_up(size_t n, size_t align)
{
    return (n + align - 1) & ~(align - 1);
}

static inline size_t
align_down(size_t n, size_t align)
{
    return n & ~(align - 1);
}

/* The product, or the largest number there is. */
static inline uint64_t
mul_capped(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static inline size_t
min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t
max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
