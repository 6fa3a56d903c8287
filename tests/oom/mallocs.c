/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see mallocs.h.
 *
 * Place: linked into a test program, its malloc and relatives take the place of the C
 * library's, also for what the C library and liburcu ask for; they pass everything on.
 *
 * Concurrency: relaxed counters; faults are set while no other thread allocates, or may
 * strike any of them.
 */

#include "mallocs.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
# define SANITIZED 1
#elif defined(__has_feature)
# if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#  define SANITIZED 1
# endif
#endif

#if defined(SANITIZED)

int mallocs_counted(void) { return 0; }
int64_t mallocs_live(void) { return 0; }
uint64_t mallocs_calls(void) { return 0; }

void
mallocs_fail(uint64_t n, int on)
{
    (void)n;
    (void)on;
}

#else

# include <errno.h>
# include <stdlib.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void __libc_free(void *p);
void *memalign(size_t align, size_t bytes);

static int64_t live;      /* atomic */
static uint64_t calls;    /* atomic */
static uint64_t fail_at;  /* number of a call; 0: none */
static int fail_on;       /* and all later ones */

int mallocs_counted(void) { return 1; }
int64_t mallocs_live(void) { return __atomic_load_n(&live, __ATOMIC_RELAXED); }
uint64_t mallocs_calls(void) { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }

void
mallocs_fail(uint64_t n, int on)
{
    __atomic_store_n(&fail_on, on, __ATOMIC_RELAXED);
    __atomic_store_n(&fail_at, n == 0 ? 0 : mallocs_calls() + n, __ATOMIC_RELAXED);
}

static int
fault_here(void)
{
    uint64_t n = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    uint64_t at = __atomic_load_n(&fail_at, __ATOMIC_RELAXED);

    if (at == 0 || n < at || (n > at && !__atomic_load_n(&fail_on, __ATOMIC_RELAXED)))
        return 0;
    errno = ENOMEM;
    return 1;
}

static void *
count(void *p)
{
    if (p != NULL)
        __atomic_add_fetch(&live, 1, __ATOMIC_RELAXED);
    return p;
}

void *
malloc(size_t bytes)
{
    return fault_here() ? NULL : count(__libc_malloc(bytes));
}

void *
calloc(size_t n, size_t bytes)
{
    return fault_here() ? NULL : count(__libc_calloc(n, bytes));
}

void *
memalign(size_t align, size_t bytes)
{
    return fault_here() ? NULL : count(__libc_memalign(align, bytes));
}

void *
aligned_alloc(size_t align, size_t bytes)
{
    return memalign(align, bytes);
}

int
posix_memalign(void **ret, size_t align, size_t bytes)
{
    void *p = memalign(align, bytes);

    if (p == NULL)
        return ENOMEM;
    *ret = p;
    return 0;
}

void *
realloc(void *p, size_t bytes)
{
    void *q;

    if (p == NULL)
        return malloc(bytes);
    if (fault_here())
        return NULL;
    q = __libc_realloc(p, bytes);
    if (q == NULL && bytes == 0)
        __atomic_sub_fetch(&live, 1, __ATOMIC_RELAXED);
    return q;
}

void
free(void *p)
{
    if (p != NULL)
        __atomic_sub_fetch(&live, 1, __ATOMIC_RELAXED);
    __libc_free(p);
}

#endif
