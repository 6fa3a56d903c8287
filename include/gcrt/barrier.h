/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BARRIER_H
#define GCRT_BARRIER_H

#include <gcrt/thread.h>
#include <gcrt/type.h>

GC_IMPL_BEGIN

/*
 * Every store of a heap pointer into a heap object, a registered global or any other root
 * that this thread does not own goes through one of these.  Not needed for locals, and not
 * for the first store into each (still zero) field of an object whose address has never been
 * stored anywhere: initialise first, publish after.
 * A missed barrier loses objects.  All are for attached threads that are inside; others get a
 * fatal line.
 *
 * The barrier is Go's hybrid one (Yuasa's deletion half, Dijkstra's insertion half), see
 * docs/architecture.md.
 */

/* gc_write(&obj->field, value): type-checked; value may be NULL.  Not an ordering store. */
#define gc_write(slot, value)                                          \
    ((void)sizeof(*(slot) = (value)),                                  \
            gc_impl_write((void *)(slot), (const void *)(value)))

/* The same, as a release store: what was written before is seen by who loads the pointer. */
#define gc_write_release(slot, value)                                  \
    ((void)sizeof(*(slot) = (value)),                                  \
            gc_impl_write_release((void *)(slot), (const void *)(value)))

/* Sequentially consistent exchange; returns the old pointer, of the slot's type. */
#define gc_exchange(slot, value)                                       \
    ((void)sizeof(*(slot) = (value)),                                  \
            (__typeof__(*(slot)))gc_impl_exchange(                     \
                    (void *)(slot), (const void *)(value)))

/* Sequentially consistent compare-and-swap; returns 1 if it stored value, else 0. */
#define gc_cas(slot, expected, value)                                  \
    ((void)sizeof(*(slot) = (value)), (void)sizeof(*(slot) = (expected)), \
            gc_impl_cas((void *)(slot), (const void *)(expected),      \
                    (const void *)(value)))

/* The other side of a release store: an acquire load.  No barrier; any thread that may read. */
#define gc_read_acquire(slot) __atomic_load_n((slot), __ATOMIC_ACQUIRE)

/*
 * gc_write_word(&decode, &obj->field, word): a store into a field of a tagged type, whose
 * decode is given.  field is of 8 bytes, a uint64_t say.  Not an ordering store.
 */
#define gc_write_word(decode, slot, word)                              \
    ((void)sizeof(char[sizeof(*(slot)) == 8 ? 1 : -1]),                \
            gc_impl_write_word((decode), (void *)(slot), (word)))

/*
 * Bulk forms over n elements of the type: copy (ranges must not overlap), move (they may),
 * clear (to zero).  Whole words are copied, never pieces, so that the collector and other
 * threads never see half a pointer.  dst must be inside one heap object or a registered
 * root, src may be anywhere; NULL: zeros.  n * size must not overflow.  For a flexible type, n
 * is 1 and its header is meant; the tail is stored as elements of its own type.
 */
GC_API void gc_copy(const gc_type *type, void *dst, const void *src, size_t n);
GC_API void gc_move(const gc_type *type, void *dst, const void *src, size_t n);
GC_API void gc_clear(const gc_type *type, void *dst, size_t n);

GC_API void gc_impl_write_slow(void *slot, const void *value);
GC_API void gc_impl_write_word_slow(const gc_decode *decode, void *slot, uint64_t word);
GC_API void gc_impl_write_release(void *slot, const void *value);
GC_API void *gc_impl_exchange(void *slot, const void *value);
GC_API int gc_impl_cas(void *slot, const void *expected, const void *value);

#if GC_IMPL_HAS_WINDOW

/*
 * Between the test of the thread's store word and the store no handshake may be answered
 * (I-critical).  Here nothing says so: the three instructions are a window that the signal
 * handler knows by its bytes and leaves for `slow` before it answers, as if the test had
 * failed.  The slow half is right whatever the barrier is.
 *
 * The handler looks for the constant of the comparison and the jump right behind it, so the
 * jump is written in bytes: no assembler puts padding in between.
 */
# if defined(__clang__) /* how -masm=intel wants an operand's size; gcc writes it by itself */
#  define GC_IMPL_DWORD "dword ptr "
#  define GC_IMPL_QWORD "qword ptr "
# else
#  define GC_IMPL_DWORD
#  define GC_IMPL_QWORD
# endif
# define GC_IMPL_STORE(to, bits, slow)                                                      \
    __asm__ goto("cmp{l}\t{%[open], %[word]|" GC_IMPL_DWORD "%[word], %[open]}\n\t"          \
                 ".byte\t0x0f, 0x85\n\t" /* jne slow */                                     \
                 ".long\t%l[" #slow "] - . - 4\n\t"                                         \
                 "mov{q}\t{%[value], %[place]|" GC_IMPL_QWORD "%[place], %[value]}"          \
                 : : [open] "i"(GC_IMPL_STORE_OPEN), [word] "m"(gc_impl_self.store),        \
                 [value] "re"(bits), [place] "m"(*(void **)(to)) : "memory", "cc" : slow)

GC_INLINE void
gc_impl_write(void *slot, const void *value)
{
    GC_IMPL_STORE(slot, (uint64_t)(uintptr_t)value, slow);
    return;
slow:
    gc_impl_write_slow(slot, value);
}

GC_INLINE void
gc_impl_write_word(const gc_decode *decode, void *slot, uint64_t word)
{
    GC_IMPL_STORE(slot, word, slow);
    return;
slow:
    gc_impl_write_word_slow(decode, slot, word);
}

#else

/* The same elsewhere: `critical` tells the signal handler. */
GC_INLINE void
gc_impl_write(void *slot, const void *value)
{
    gc_impl_self.critical = 1;
    __asm__ volatile("" ::: "memory");
    if (GC_LIKELY(gc_impl_self.store == GC_IMPL_STORE_OPEN)) {
        __atomic_store_n((void **)slot, (void *)(uintptr_t)value, __ATOMIC_RELAXED);
        __asm__ volatile("" ::: "memory");
        gc_impl_self.critical = 0;
        return;
    }
    gc_impl_self.critical = 0;
    gc_impl_write_slow(slot, value);
}

GC_INLINE void
gc_impl_write_word(const gc_decode *decode, void *slot, uint64_t word)
{
    gc_impl_self.critical = 1;
    __asm__ volatile("" ::: "memory");
    if (GC_LIKELY(gc_impl_self.store == GC_IMPL_STORE_OPEN)) {
        __atomic_store_n((uint64_t *)slot, word, __ATOMIC_RELAXED);
        __asm__ volatile("" ::: "memory");
        gc_impl_self.critical = 0;
        return;
    }
    gc_impl_self.critical = 0;
    gc_impl_write_word_slow(decode, slot, word);
}

#endif

GC_IMPL_END

#endif
