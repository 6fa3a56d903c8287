/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_ATOMIC_H
#define GCRT_BASE_ATOMIC_H

/*
 * The one vocabulary for shared words.
 *
 * Words are wrapped in structs, so a plain read or write does not compile; the order is in
 * the name.  Everything goes through libatomic_ops' word operations (its GPL stack and
 * malloc stay out).  There are no stand-alone fences: order comes from an acquire or
 * release on a location, which is also what ThreadSanitizer understands.
 *
 * Three exceptions: setting a mark bit needs to know who was first, which AO_or does not tell,
 * so aword_fetch_or uses the compiler's builtin; so do loads that are ordered behind full
 * operations, because AO_load_full is made of a fence; and heap slots are the host's memory,
 * declared by it, so they are read and written with the compiler's atomics (slot_load and
 * friends).
 *
 * sim_point (base.h) is nothing but in the simulation, where each operation is a place at
 * which another thread may run.
 */

#include "alloc/base/base.h"

#include <atomic_ops.h>

typedef struct aword {
    volatile AO_t raw;
} aword; /* 64 bits */

typedef struct ahalf {
    volatile unsigned raw;
} ahalf; /* 32 bits */

#define AWORD_INIT(x) { (x) }

static inline uint64_t
aword_load_relaxed(const aword *w)
{
    sim_point();
    return AO_load(&w->raw);
}

static inline uint64_t
aword_load_acquire(const aword *w)
{
    sim_point();
    return AO_load_acquire(&w->raw);
}

static inline void
aword_store_relaxed(aword *w, uint64_t x)
{
    sim_point();
    AO_store(&w->raw, x);
}

static inline void
aword_store_release(aword *w, uint64_t x)
{
    sim_point();
    AO_store_release(&w->raw, x);
}

static inline uint64_t
aword_add_relaxed(aword *w, uint64_t x)
{
    sim_point();
    return AO_fetch_and_add(&w->raw, x);
}

static inline uint64_t
aword_add_full(aword *w, uint64_t x)
{
    sim_point();
    return AO_fetch_and_add_full(&w->raw, x);
}

static inline bool
aword_cas_full(aword *w, uint64_t old, uint64_t new_)
{
    sim_point();
    return AO_compare_and_swap_full(&w->raw, old, new_);
}

static inline bool
aword_cas_acquire(aword *w, uint64_t old, uint64_t new_)
{
    sim_point();
    return AO_compare_and_swap_acquire(&w->raw, old, new_);
}

static inline bool
aword_cas_release(aword *w, uint64_t old, uint64_t new_)
{
    sim_point();
    return AO_compare_and_swap_release(&w->raw, old, new_);
}

/* Returns the old word; atomic. */
static inline uint64_t
aword_fetch_or_full(aword *w, uint64_t bits)
{
    sim_point();
    return __atomic_fetch_or(&w->raw, bits, __ATOMIC_SEQ_CST);
}

/*
 * Loads that are not done before an earlier full operation on another word has been seen: for
 * two threads that each write one word and then read the other's.
 */
static inline uint64_t
aword_load_full(const aword *w)
{
    sim_point();
    return __atomic_load_n(&w->raw, __ATOMIC_SEQ_CST);
}

static inline unsigned
ahalf_load_full(const ahalf *w)
{
    sim_point();
    return __atomic_load_n(&w->raw, __ATOMIC_SEQ_CST);
}

static inline void
aword_or_relaxed(aword *w, uint64_t bits)
{
    sim_point();
    AO_or(&w->raw, bits);
}

/* For counters that one thread writes and others read: no locked instruction. */
static inline void
aword_add_owner(aword *w, uint64_t x)
{
    sim_point();
    AO_store(&w->raw, AO_load(&w->raw) + x);
}

static inline unsigned
ahalf_load_relaxed(const ahalf *w)
{
    sim_point();
    return AO_int_load(&w->raw);
}

static inline unsigned
ahalf_load_acquire(const ahalf *w)
{
    sim_point();
    return AO_int_load_acquire(&w->raw);
}

static inline void
ahalf_store_relaxed(ahalf *w, unsigned x)
{
    sim_point();
    AO_int_store(&w->raw, x);
}

static inline void
ahalf_store_release(ahalf *w, unsigned x)
{
    sim_point();
    AO_int_store_release(&w->raw, x);
}

/*
 * A full barrier around a store, for store-then-load handshakes.  Not AO_store_full, which
 * is made of stand-alone fences.  Cold.
 */
static inline void
ahalf_store_full(ahalf *w, unsigned x)
{
    sim_point();
    while (!AO_int_compare_and_swap_full(&w->raw, AO_int_load(&w->raw), x))
        continue;
}

/* Returns what was there before. */
static inline unsigned
ahalf_swap_full(ahalf *w, unsigned x)
{
    unsigned old;

    sim_point();
    do
        old = AO_int_load(&w->raw);
    while (!AO_int_compare_and_swap_full(&w->raw, old, x));
    return old;
}

static inline unsigned
ahalf_add_full(ahalf *w, unsigned x)
{
    sim_point();
    return AO_int_fetch_and_add_full(&w->raw, x);
}

static inline bool
ahalf_cas_full(ahalf *w, unsigned old, unsigned new_)
{
    sim_point();
    return AO_int_compare_and_swap_full(&w->raw, old, new_);
}

static inline bool
ahalf_cas_acquire(ahalf *w, unsigned old, unsigned new_)
{
    sim_point();
    return AO_int_compare_and_swap_acquire(&w->raw, old, new_);
}

/* ---- heap slots and other words of the host ---- */

static inline uintptr_t
slot_load(const void *slot)
{
    return __atomic_load_n((const uintptr_t *)slot, __ATOMIC_RELAXED);
}

static inline uintptr_t
slot_load_acquire(const void *slot)
{
    return __atomic_load_n((const uintptr_t *)slot, __ATOMIC_ACQUIRE);
}

static inline void
slot_store_relaxed(void *slot, uintptr_t value)
{
    __atomic_store_n((uintptr_t *)slot, value, __ATOMIC_RELAXED);
}

static inline void
slot_store_release(void *slot, uintptr_t value)
{
    __atomic_store_n((uintptr_t *)slot, value, __ATOMIC_RELEASE);
}

/*
 * Stores before it are visible before stores after it, for publication by somebody else's
 * plain store (I-publish).  x86 keeps stores in order; ThreadSanitizer is told by nothing,
 * because the host's own publication is what it looks at.
 */
static inline void
publish_barrier(void)
{
#if defined(__x86_64__)
    __asm__ volatile("" ::: "memory");
#else
    AO_nop_write();
#endif
}

static inline void
cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
