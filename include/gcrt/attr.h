/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ATTR_H
#define GCRT_ATTR_H

/*
 * Compiler marks used by the public headers.  Nothing here is for hosts: names
 * that start with GC_IMPL_ or gc_impl_ are public only because inlining needs
 * them, and may change in any release.
 */

#if !defined(__GNUC__)
# error "gcrt needs gcc or clang (GNU C attributes and __thread)"
#endif
#if __SIZEOF_POINTER__ != 8
# error "gcrt supports 64-bit targets only"
#endif

#if defined(__cplusplus)
# define GC_IMPL_BEGIN extern "C" {
# define GC_IMPL_END }
# define GC_IMPL_ASSERT(cond, text) static_assert(cond, text)
#else
# define GC_IMPL_BEGIN
# define GC_IMPL_END
# define GC_IMPL_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/*
 * May inline stores be windows that the signal handler leaves (barrier.h)?  Not where a
 * sanitizer wants to see them, and not if the host says no: -DGC_NO_STORE_WINDOW, for code
 * whose instructions are rearranged after the assembler, or interrupted by a call that the
 * interrupting code has made up.  Files with and without may be mixed.
 */
#if defined(__has_feature)
# if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) \
        || __has_feature(memory_sanitizer) || __has_feature(hwaddress_sanitizer)
#  define GC_IMPL_SANITIZED 1
# endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) \
        || defined(__SANITIZE_HWADDRESS__)
# define GC_IMPL_SANITIZED 1
#endif
#if defined(__clang__) && __clang_major__ < 9 /* it has no asm goto */
# define GC_IMPL_HAS_WINDOW 0
#elif defined(__x86_64__) && !defined(GC_IMPL_SANITIZED) && !defined(GC_NO_STORE_WINDOW)
# define GC_IMPL_HAS_WINDOW 1
#else
# define GC_IMPL_HAS_WINDOW 0
#endif

#define GC_API            __attribute__((visibility("default")))
#define GC_INLINE         static inline __attribute__((always_inline, unused))
#define GC_LIKELY(x)      __builtin_expect(!!(x), 1)
#define GC_UNLIKELY(x)    __builtin_expect(!!(x), 0)
#define GC_RETURNS_OBJECT __attribute__((malloc, returns_nonnull, warn_unused_result))
#define GC_MUST_CHECK     __attribute__((warn_unused_result))

#endif
