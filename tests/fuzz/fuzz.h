/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_FUZZ_H
#define GCRT_TESTS_FUZZ_H

/*
 * What every fuzz target needs: a reader of the input that never runs out, and a check
 * whose message explains itself.
 *
 * A target is one file with one LLVMFuzzerTestOneInput.  It turns any bytes into a legal use
 * of the library and compares what comes out with a reference of its own; that nothing
 * crashes is not enough.  It keeps no state from one input to the next, so that an input
 * alone shows a bug.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond, ...)                                                 \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: wrong: %s: ", __FILE__, __LINE__, #cond); \
            fprintf(stderr, __VA_ARGS__);                                     \
            fputc('\n', stderr);                                              \
            abort();                                                          \
        }                                                                     \
    } while (0)

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* The unread rest of the input; when it is used up, all that is read is 0. */
struct input {
    const uint8_t *at, *end;
};

static inline bool
more(const struct input *in)
{
    return in->at < in->end;
}

static inline uint8_t
take8(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static inline uint16_t
take16(struct input *in)
{
    unsigned low = take8(in);

    return (uint16_t)(low | (unsigned)take8(in) << 8);
}

static inline uint32_t
take32(struct input *in)
{
    uint32_t low = take16(in);

    return low | (uint32_t)take16(in) << 16;
}

static inline uint64_t
take64(struct input *in)
{
    uint64_t low = take32(in);

    return low | (uint64_t)take32(in) << 32;
}

/* In [0, n), n > 0, of as few bytes as n needs. */
static inline size_t
take_below(struct input *in, size_t n)
{
    return (n <= 256 ? take8(in) : n <= 65536 ? take16(in) : take32(in)) % n;
}

/*
 * A number of any magnitude in few bytes: 0 to 127 stand for themselves; else a power of
 * two, a little more or less, or any 64 bits.
 */
static inline uint64_t
take_number(struct input *in)
{
    unsigned first = take8(in);

    if (first < 128)
        return first;
    if (first < 192)
        return ((uint64_t)1 << (first - 128)) + (uint64_t)(int64_t)(int8_t)take8(in);
    return first < 224 ? take16(in) : first < 240 ? take32(in) : take64(in);
}

#endif
