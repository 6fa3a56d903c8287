/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the gcrt half of the test support, see heapkit.h.
 *
 * Place: stress, race, oom and api programs call it; it uses the public headers only.
 *
 * Invariants: t_collect_twice wipes the dead stack and the scratch registers first and
 * calls the collector through a pointer that the compiler cannot see through, so that the
 * frames that built a test's objects are not what keeps them alive.
 */

#include "heapkit.h"

#include <string.h>

void
t_options(gc_options *opt)
{
    gc_options_default(opt);
    opt->gogc = t_arg("gogc", opt->gogc);
    opt->heap_min = (size_t)t_arg("heap_min", 1 << 20);
    opt->threads = (uint32_t)t_arg("threads", opt->threads);
    opt->grace_us = (uint32_t)t_arg("grace", opt->grace_us);
    opt->cleanup_threads = (uint32_t)t_arg("cleanup_threads", opt->cleanup_threads);
    opt->release_ms = (uint32_t)t_arg("release_ms", opt->release_ms);
    opt->hugepages = t_arg("huge", 0) ? GC_HUGEPAGES_ALWAYS : GC_HUGEPAGES_AUTO;
    opt->debug_gctrace = (int)t_arg("gctrace", 0);
    opt->debug_verify = (int)t_arg("verify", 0);
    opt->debug_checkmark = (int)t_arg("checkmark", 0);
    opt->debug_clobberfree = (int)t_arg("clobber", 1);
    opt->debug_stress = (uint32_t)t_arg("stress", 0);
    opt->debug_chaos = (uint64_t)t_arg("chaos", 0);
    opt->debug_tiny = (int)t_arg("tiny", 0);
    opt->debug_wbcheck = (int)t_arg("wbcheck", 0);
    opt->precise_stacks = (int)t_arg("precise", 0);
    if (t_arg("stw", 0))
        opt->mode = GC_MODE_STW;
}

/* ---- stores ---- */

static int
is_plain(void)
{
    static int plain = -1; /* atomic */
    int p = __atomic_load_n(&plain, __ATOMIC_RELAXED);

    if (p < 0) {
        p = t_arg("stw", 0) != 0;
        __atomic_store_n(&plain, p, __ATOMIC_RELAXED);
    }
    return p;
}

void
t_store(void **slot, void *value)
{
    if (is_plain())
        __atomic_store_n(slot, value, __ATOMIC_RELAXED);
    else
        gc_write(slot, value);
}

void
t_copy(const gc_type *type, void *dst, const void *src, size_t n)
{
    if (is_plain())
        memmove(dst, src, n * type->size);
    else if ((uintptr_t)dst - (uintptr_t)src < n * type->size
            || (uintptr_t)src - (uintptr_t)dst < n * type->size)
        gc_move(type, dst, src, n);
    else
        gc_copy(type, dst, src, n);
}

void
t_clear(const gc_type *type, void *dst, size_t n)
{
    if (is_plain())
        memset(dst, 0, n * type->size);
    else
        gc_clear(type, dst, n);
}

void
t_ok(const char *file, int line, const char *call, gc_status status)
{
    if (status != GC_OK)
        t_fail(file, line, call, "%s; %s", gc_status_string(status), gc_last_error());
}

void
t_collect_twice(gc_heap *heap)
{
    void (*volatile collect)(gc_heap *) = gc_collect;

    for (int i = 0; i < 2; i++) {
        t_wipe_stack();
        t_wipe_registers();
        collect(heap);
    }
}

void
t_verify(gc_heap *heap)
{
    T_OK(gc_verify(heap));
}

uint64_t
t_heap_objects(gc_heap *heap)
{
    gc_stats stats;

    gc_stats_read(heap, &stats);
    return stats.heap_objects;
}

uint64_t
t_cycles(gc_heap *heap)
{
    gc_stats stats;

    gc_stats_read(heap, &stats);
    return stats.num_gc;
}

/* ---- threads ---- */

void *
t_thread_seed(size_t i)
{
    return (void *)(uintptr_t)((t_seed() + i) | UINT64_C(1) << 63);
}

void
t_collect_until_over(int *stopping)
{
    uint64_t until = t_now_ms() + (uint64_t)t_arg("seconds", 3) * 1000;

    while (t_now_ms() < until)
        gc_collect(NULL);
    __atomic_store_n(stopping, 1, __ATOMIC_RELAXED);
}

void
t_join(const pthread_t *threads, size_t n)
{
    GC_BLOCKING {
        for (size_t i = 0; i < n; i++)
            (void)pthread_join(threads[i], NULL);
    }
}
