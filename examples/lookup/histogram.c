/* SPDX-License-Identifier: MIT */
/*
 * A log-linear histogram: constant size, constant time, constant relative error.
 *
 * Values below 2^8 have a slot each.  Above, each octave [2^k, 2^(k+1)) has 128 slots of
 * equal width, so the width is at most 1/128 of the value.  The slot's number is the value
 * shifted to 8 bits, plus 128 for each bit shifted out:
 *
 *     value  0..255   256..511   512..1023   ...
 *     width  1        2          4
 *     slot   0..255   256..383   384..511
 *
 * A quantile is the upper end of the slot in which it falls, so it never looks better than
 * it was.
 */
#include "histogram.h"

#define STEPS (1u << HISTOGRAM_BITS)

static unsigned
slot_of(uint64_t value)
{
    unsigned shift;

    if (value < 2 * STEPS)
        return (unsigned)value;
    shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    return shift * STEPS + (unsigned)(value >> shift);
}

/* The largest value of a slot. */
static uint64_t
slot_top(unsigned slot)
{
    unsigned shift;

    if (slot < 2 * STEPS)
        return slot;
    shift = slot / STEPS - 1;
    return (((uint64_t)(slot - shift * STEPS) + 1) << shift) - 1;
}

void
histogram_add(struct histogram *h, uint64_t value)
{
    h->counts[slot_of(value)]++;
    h->total++;
    if (value > h->max)
        h->max = value;
}

uint64_t
histogram_quantile(const struct histogram *h, double q)
{
    uint64_t want = (uint64_t)(q * (double)h->total + 0.5);
    uint64_t seen = 0;
    unsigned slot;

    if (want == 0)
        want = 1;
    for (slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
        seen += h->counts[slot];
        if (seen >= want)
            return slot_top(slot) < h->max ? slot_top(slot) : h->max;
    }
    return h->max;
}
