/* SPDX-License-Identifier: MIT */
/*
 * Size classes, address arithmetic, bit ranges and histograms.
 *
 * Oracle: the same by the plainest means there are: linear search, division, one bit at a
 * time, a sorted array of samples.
 */
#include "fuzz.h"

#include <math.h>

#include <gcrt/gcrt.h>

#include "alloc/base/bits.h"
#include "alloc/base/timehist.h"
#include "alloc/sizeclass.h"
#include "metrics/histogram.h"

#define SAMPLES_MAX 64

static void
size_class(struct input *in)
{
    size_t bytes = take16(in) % SMALL_MAX + 1;
    unsigned class = 1, got = class_of(bytes);
    size_t span, offset;

    while (gcrt_class_bytes[class] < bytes)
        class ++;
    FUZZ_CHECK(got == class, "class of %zu is %u, not %u", bytes, got, class);
    span = gcrt_class_pages[class] * PAGE_SIZE;
    FUZZ_CHECK(
            gcrt_class_nelems[class] == span / gcrt_class_bytes[class], "class %u", class);
    offset = take32(in) % span;
    FUZZ_CHECK(((uint64_t)offset * gcrt_class_magic[class]) >> 32
                    == offset / gcrt_class_bytes[class],
            "offset %zu in class %u", offset, class);
}

/* ---- bits ---- */

static void
bit_range(struct input *in)
{
    uint64_t words[4], set[4], clear[4];
    size_t lo, hi, ones = 0, first[2];
    uint64_t x;
    unsigned n;

    for (size_t i = 0; i < COUNT_OF(words); i++)
        words[i] = take8(in) % 4 == 0 ? ~(uint64_t)0 : take64(in);
    lo = take8(in);
    hi = lo + take8(in) % (257 - lo);
    memcpy(set, words, sizeof(set));
    memcpy(clear, words, sizeof(clear));
    bits_set_range(set, lo, hi);
    bits_clear_range(clear, lo, hi);
    first[0] = first[1] = hi;
    for (size_t i = 256; i-- > 0;) {
        bool was = words[i / 64] >> (i % 64) & 1, inside = i >= lo && i < hi;

        FUZZ_CHECK(bits_test(words, i) == was, "bit %zu", i);
        FUZZ_CHECK(bits_test(set, i) == (was || inside), "set %zu to %zu: %zu", lo, hi, i);
        FUZZ_CHECK(bits_test(clear, i) == (was && !inside), "clear %zu to %zu: %zu", lo, hi,
                i);
        ones += was && inside;
        if (inside)
            first[was] = i;
    }
    FUZZ_CHECK(bits_count_range(words, lo, hi) == ones, "count from %zu to %zu", lo, hi);
    FUZZ_CHECK(bits_find(words, lo, hi, false) == first[0], "zero from %zu to %zu", lo, hi);
    FUZZ_CHECK(bits_find(words, lo, hi, true) == first[1], "one from %zu to %zu", lo, hi);
    x = take_number(in);
    n = 0;
    while (n < 64 && (uint64_t)1 << n < x)
        n++;
    if (x <= (uint64_t)1 << 63)
        FUZZ_CHECK(round_up_pow2(x) == (uint64_t)1 << n, "%llu", (unsigned long long)x);
}

/* ---- histograms ---- */

static int
by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The bucket of a time: the last one whose bound is at most ns. */
static size_t
bucket_of(uint64_t ns)
{
    size_t i = 1;

    while (i + 1 < TIMEHIST_BUCKETS && timehist_lower_ns((unsigned)(i + 1)) <= ns)
        i++;
    return i;
}

/* What the bucket shows of a value: its upper bound, or the lower one if it is the last. */
static uint64_t
shown(uint64_t ns)
{
    size_t i = bucket_of(ns);

    return timehist_lower_ns((unsigned)(i + 1 < TIMEHIST_BUCKETS ? i + 1 : i));
}

static void
check_public(const struct timehist *h, const uint64_t *sorted, size_t n, struct input *in)
{
    gc_histogram *hist = gc_histogram_create("/gc/handshake/pause:seconds");
    uint64_t bits = take64(in);
    double q, got, want = 0;

    FUZZ_CHECK(hist != NULL && hist->nbuckets == TIMEHIST_BUCKETS, "no histogram");
    memcpy(&q, &bits, sizeof(q));
    for (size_t i = 0; i < TIMEHIST_BUCKETS; i++)
        hist->counts[i] = aword_load_relaxed(&h->counts[i]);
    got = gc_histogram_quantile(hist, q);
    if (n > 0) {
        double rank = ceil(q * (double)n);

        want = (double)shown(sorted[!(rank > 1)    ? 0
                               : rank >= (double)n ? n - 1
                                                   : (size_t)rank - 1])
                / 1e9;
    }
    FUZZ_CHECK(got == want, "quantile %g of %zu: %g, not %g", q, n, got, want);
    gc_histogram_free(hist);
}

static void
times(struct input *in)
{
    static struct timehist h;
    uint64_t sorted[SAMPLES_MAX], counts[TIMEHIST_BUCKETS], total = 0;
    size_t n = take_below(in, SAMPLES_MAX + 1);

    memset(&h, 0, sizeof(h));
    for (size_t i = 0; i < n; i++) {
        sorted[i] = take_number(in);
        if (sorted[i] >> 56 != 0) /* the last bounds lie below */
            sorted[i] >>= sorted[i] % 16;
        total += sorted[i];
        timehist_add(&h, sorted[i]);
        FUZZ_CHECK(timehist_bucket(sorted[i]) == bucket_of(sorted[i]), "bucket of %llu",
                (unsigned long long)sorted[i]);
    }
    qsort(sorted, n, sizeof(sorted[0]), by_value);
    FUZZ_CHECK(aword_load_relaxed(&h.total_ns) == total, "sum");
    FUZZ_CHECK(aword_load_relaxed(&h.max_ns) == (n > 0 ? sorted[n - 1] : 0), "maximum");
    for (size_t i = 0; i < TIMEHIST_BUCKETS; i++)
        counts[i] = aword_load_relaxed(&h.counts[i]);
    for (unsigned permille = 0; permille <= 1000; permille += 20 + take8(in)) {
        size_t rank = (permille * n + 999) / 1000;
        uint64_t want = n == 0 ? 0 : shown(sorted[rank > 0 ? rank - 1 : 0]);
        uint64_t got = gcrt_histogram_quantile(SOURCE_TIMES, counts, permille);

        FUZZ_CHECK(got == want, "%u permille of %zu: %llu, not %llu", permille, n,
                (unsigned long long)got, (unsigned long long)want);
    }
    check_public(&h, sorted, n, in);
}

/* Objects by size: bucket i of the shown histogram holds the sizes below bound i + 1. */
static void
sizes(struct input *in)
{
    size_t bytes = take16(in) % SMALL_MAX + 1, bucket = class_of(bytes) - 1u;

    FUZZ_CHECK(gcrt_histogram_bound(SOURCE_SIZES, bucket) <= bytes, "%zu", bytes);
    FUZZ_CHECK(bytes < gcrt_histogram_bound(SOURCE_SIZES, bucket + 1), "%zu", bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const parts[])(struct input *) = {size_class, bit_range, times, sizes};
    struct input in = {data, data + size};

    while (more(&in))
        parts[take_below(&in, COUNT_OF(parts))](&in);
    return 0;
}
