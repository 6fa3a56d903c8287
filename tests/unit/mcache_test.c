/* SPDX-License-Identifier: MIT */
/*
 * The P's cache without a collector: runs against a loop over a span's free slots, the key
 * table against an array, what a flush gives back, and what is marked when.
 * The seed is printed; GCRT_SEED repeats a run.
 */
#include "bare.h"

static struct bare b;
static struct mcache mc;

#define RUN_BYTES ((size_t)16 << 10) /* what mcache.c promises as the longest run */
#define OLD_BYTES 0xa5

static void
init_all(void)
{
    bare_init(&b, (size_t)1 << 30);
    cr_assert(gcrt_mcache_init(&mc, &b.heap));
}

static int
add_entry(struct mcentral *c)
{
    int i = gcrt_mcache_add(&mc, ((uintptr_t)c->index + 1) << 6, c);

    cr_assert_geq(i, 0);
    return i;
}

static struct gc_impl_run *
run_of(int i)
{
    return &mc.table->runs[i];
}

static struct mspan *
cached(int i)
{
    return mc.table->cold[i].span;
}

static size_t
slot_of(struct mspan *s, const char *p)
{
    return ((uintptr_t)p - span_start(&b.heap, s)) / span_elem_bytes(s);
}

/* ---- the key table ---- */

#define KEYS 3000

/* Types' addresses, and the same with a size class in the top byte. */
static uintptr_t
random_key(uint64_t *seed)
{
    uintptr_t type = (1 + rand_below(seed, 1 << 20)) << 6;

    return rand_below(seed, 2) ? type : type | (1 + rand_below(seed, 200)) << 56;
}

static int
naive_find(const uintptr_t *keys, size_t n, uintptr_t key)
{
    for (size_t i = 0; i < n; i++)
        if (keys[i] == key)
            return (int)i;
    return -1;
}

static void
expect_keys(const uintptr_t *keys, size_t n)
{
    cr_assert_eq(mc.table->used, n);
    cr_assert_leq(n, (mc.table->mask + 1) / 2 + 1, "about half of the table stays empty");
    for (size_t k = 0; k < n; k++) {
        int i = gcrt_mcache_find(&mc, keys[k]);

        cr_assert_geq(i, 0, "key %#lx is lost", (unsigned long)keys[k]);
        cr_assert_eq(run_of(i)->key, keys[k]);
        cr_assert_eq(mc.table->cold[i].central, &b.scan[1 + k % (NUM_CLASSES - 1)]);
        cr_assert_eq(run_of(i)->size, gcrt_class_bytes[1 + k % (NUM_CLASSES - 1)]);
    }
}

Test(mcache, keys_are_found_as_in_an_array)
{
    static uintptr_t keys[KEYS];
    uint64_t seed = seed_of("keys_are_found_as_in_an_array");
    size_t n = 0;

    init_all();
    while (n < KEYS) {
        uintptr_t key = random_key(&seed);
        bool known = naive_find(keys, n, key) >= 0;

        cr_assert_eq(gcrt_mcache_find(&mc, key) >= 0, known);
        if (known)
            continue;
        keys[n] = key;
        cr_assert_geq(gcrt_mcache_add(&mc, key, &b.scan[1 + n % (NUM_CLASSES - 1)]), 0);
        n++;
        if (n % 97 == 0 || n < 70)
            expect_keys(keys, n);
    }
    expect_keys(keys, n);
    bare_finish(&b);
}

/* What the inline allocator reads for a single object: type >> 6, masked. */
Test(mcache, the_home_of_a_type_is_where_the_inline_allocator_looks)
{
    uint64_t seed = seed_of("the_home_of_a_type");

    for (int i = 0; i < 10000; i++) {
        uintptr_t type = rand_next(&seed) >> 8 & ~(uintptr_t)63;
        uint32_t mask = (64u << rand_below(&seed, 6)) - 1;

        cr_assert_eq(mcache_home(type, mask), (type >> 6) & mask);
    }
}

Test(mcache, runs_survive_the_tables_growth)
{
    struct mcache_table *first;
    struct gc_impl_run run;
    int i;

    init_all();
    first = mc.table;
    i = add_entry(&b.scan[5]);
    cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0);
    run = *run_of(i);
    for (uintptr_t k = 0; mc.table == first; k++)
        cr_assert_geq(gcrt_mcache_add(&mc, (5000 + k) << 6, &b.scan[7]), 0);
    i = gcrt_mcache_find(&mc, run.key);
    cr_assert_geq(i, 0);
    cr_assert_eq(memcmp(run_of(i), &run, sizeof(run)), 0);
    cr_assert_eq(cached(i)->sizeclass, 5);
    cr_assert_eq(first->mask, 63, "the old table stays readable");
    bare_finish(&b);
}

/* Two keys with one home: the second one is missed by the inline path until the table grows. */
Test(mcache, an_entry_that_is_missed_gets_a_home)
{
    uintptr_t key = (uintptr_t)(1 + 64) << 6;
    int i, n = 0;

    init_all();
    (void)gcrt_mcache_add(&mc, (uintptr_t)1 << 6, &b.scan[5]);
    i = gcrt_mcache_add(&mc, key, &b.scan[6]);
    cr_assert_neq((uint32_t)i, mcache_home(key, mc.table->mask));
    cr_assert(gcrt_mcache_missed(&mc, gcrt_mcache_find(&mc, (uintptr_t)1 << 6)), "it is at home");
    while (gcrt_mcache_missed(&mc, i))
        cr_assert_lt(++n, 100000, "it is never given one");
    cr_assert_gt(n, 100, "the table grows for a few misses");
    cr_assert_eq((uint32_t)gcrt_mcache_find(&mc, key), mcache_home(key, mc.table->mask));
    bare_finish(&b);
}

Test(mcache, a_table_is_not_grown_for_ever)
{
    uintptr_t key = ((uintptr_t)1 << 30 | 1) << 6;
    int i;

    init_all();
    (void)gcrt_mcache_add(&mc, (uintptr_t)1 << 6, &b.scan[5]);
    (void)gcrt_mcache_add(&mc, key, &b.scan[6]);
    for (int n = 0; n < 100000; n++) {
        i = gcrt_mcache_find(&mc, key);
        (void)gcrt_mcache_missed(&mc, i);
    }
    cr_assert_leq(mc.table->mask, 1023, "two keys, and %u slots", mc.table->mask + 1);
    bare_finish(&b);
}

Test(mcache, a_table_that_cannot_grow_refuses_and_stays_as_it_was)
{
    uintptr_t keys = 0;

    init_all();
    for (;;) {
        int i;

        b.os.fail_at = aword_load_relaxed(&b.os.calls) + 1;
        i = gcrt_mcache_add(&mc, (keys + 1) << 6, &b.scan[3]);
        if (i < 0)
            break;
        keys++;
    }
    cr_assert_eq(mc.table->used, keys);
    for (uintptr_t k = 0; k < keys; k++)
        cr_assert_geq(gcrt_mcache_find(&mc, (k + 1) << 6), 0);
    b.os.fail_at = 0;
    cr_assert_geq(gcrt_mcache_add(&mc, (keys + 1) << 6, &b.scan[3]), 0);
    bare_finish(&b);
}

/* ---- runs ---- */

/* A swept span with random slots allocated, old bytes in the others, filed in its set. */
static struct mspan *
punched_span(struct mcentral *c, uint64_t *seed)
{
    struct mspan *s = bare_small(&b, c);
    uint64_t density = 5 + rand_below(seed, 91);

    memset((void *)span_start(&b.heap, s), OLD_BYTES, span_npages(s) << PAGE_SHIFT);
    s->needzero = 1;
    for (size_t i = 0; i < s->nelems; i++)
        set_bit(span_allocs(s), i, rand_below(seed, 100) < density);
    set_bit(span_allocs(s), rand_below(seed, s->nelems), false); /* one at least is free */
    gcrt_mcentral_put_swept(&b.heap, c, s, bare_sweepgen(&b));
    return s;
}

static bool
all_bytes_are(const char *p, size_t n, unsigned char value)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] != value)
            return false;
    return true;
}

/* What each entry's next run may have. */
static size_t reach_of[4096];

static void
flush(bool keep_runs)
{
    gcrt_mcache_flush(&mc, keep_runs ? RUNS_KEPT : RUNS_FREE);
    memset(reach_of, 0, sizeof reach_of);
}

/* Each run may be twice as long as the one before it, the first one RUN_BYTES_FIRST. */
static size_t
next_reach(int i)
{
    size_t reach = min_size(max_size(reach_of[i], RUN_BYTES_FIRST), RUN_BYTES);

    reach_of[i] = 2 * reach;
    return reach;
}

/* The entry's run is the first free slots at or after `from`; returns the slot behind it. */
static size_t
expect_run(int i, struct mspan *s, size_t from, size_t bytes)
{
    struct gc_impl_run *run = run_of(i);
    size_t most = max_size(next_reach(i) / run->size, 1), lo = from, hi;

    while (lo < s->nelems && bit_of(span_allocs(s), lo))
        lo++;
    for (hi = lo; hi < s->nelems && hi - lo < most && !bit_of(span_allocs(s), hi); hi++)
        continue;
    cr_assert_eq(slot_of(s, run->next), lo, "class %u: run at %zu, not %zu", s->sizeclass,
            slot_of(s, run->next), lo);
    cr_assert_eq(slot_of(s, run->end), hi, "class %u", s->sizeclass);
    cr_assert_eq(bytes, (hi - lo) * run->size);
    cr_assert_eq((size_t)(run->end - run->next), bytes);
    cr_assert(bytes <= RUN_BYTES || hi - lo == 1);
    cr_assert_eq(ahalf_load_relaxed(&s->freeindex), hi);
    cr_assert(!s->needzero || all_bytes_are(run->next, bytes, 0), "the run is not zero");
    for (size_t k = lo; k < hi; k++)
        cr_assert(span_is_allocated(s, k));
    return hi;
}

/* Slots that are neither allocated nor in a run keep what they hold. */
static void
expect_rest_untouched(struct mspan *s, size_t from)
{
    for (size_t k = 0; k < s->nelems; k++)
        if (k >= from || bit_of(span_allocs(s), k))
            cr_assert(all_bytes_are((const char *)span_object(&b.heap, s, k),
                              span_elem_bytes(s), OLD_BYTES),
                    "class %u slot %zu was touched", s->sizeclass, k);
}

/* Uninitialised bytes: runs of the same spans, which hold whatever was there. */
Test(mcache, a_raw_run_is_not_touched)
{
    struct mcentral *c = &b.noscan[30];
    uintptr_t address = ((uintptr_t)c->index + 1) << 6;
    uintptr_t raw = address | (uintptr_t)(30 + GC_IMPL_RAW) << 56;
    uintptr_t zeroed = address | (uintptr_t)30 << 56;
    uint64_t seed = seed_of("a_raw_run");
    int i, k;

    init_all();
    (void)punched_span(c, &seed);
    (void)punched_span(c, &seed);
    i = gcrt_mcache_add(&mc, raw, c);
    cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0);
    cr_assert(all_bytes_are(
            run_of(i)->next, (size_t)(run_of(i)->end - run_of(i)->next), OLD_BYTES));
    k = gcrt_mcache_add(&mc, zeroed, c);
    cr_assert_gt(gcrt_mcache_take_run(&mc, k), 0);
    cr_assert(all_bytes_are(run_of(k)->next, (size_t)(run_of(k)->end - run_of(k)->next), 0));
    cr_assert_neq(cached(i), cached(k));
    bare_finish(&b);
}

static size_t
free_after(struct mspan *s, size_t from)
{
    size_t n = 0;

    for (size_t k = from; k < s->nelems; k++)
        n += !bit_of(span_allocs(s), k);
    return n;
}

/* All runs of one span, in order, until the cache turns to another span. */
static void
take_all_runs(struct mcentral *c, struct mspan *s)
{
    int i = gcrt_mcache_find(&mc, ((uintptr_t)c->index + 1) << 6);
    size_t from = 0, slots = aword_load_relaxed(&mc.slots[c->sizeclass]);
    size_t free = free_after(s, 0);

    while (free_after(s, from) != 0) {
        size_t bytes = gcrt_mcache_take_run(&mc, i);

        cr_assert_eq(cached(i), s);
        cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b) + 3);
        from = expect_run(i, s, from, bytes);
        expect_rest_untouched(s, from);
        run_of(i)->next = run_of(i)->end; /* used up */
    }
    cr_assert_eq(aword_load_relaxed(&mc.slots[c->sizeclass]) - slots, free);
}

Test(mcache, runs_are_exactly_the_free_slots_of_every_class)
{
    uint64_t seed = seed_of("runs_are_exactly_the_free_slots_of_every_class");

    init_all();
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        int i = add_entry(&b.noscan[c]);

        for (int round = 0; round < 4; round++) {
            struct mspan *s = punched_span(&b.noscan[c], &seed);

            take_all_runs(&b.noscan[c], s);
            cr_assert_eq(cached(i), s);
            flush(false); /* s, used up, into the full set */
            cr_assert_eq(gcrt_spanset_pop(&b.noscan[c].full[bare_sweepgen(&b) / 2 % 2],
                                 b.heap.spans),
                    s);
        }
    }
    bare_finish(&b);
}

Test(mcache, a_fresh_span_is_one_run_after_the_other)
{
    init_all();
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        int i = add_entry(&b.scan[c]);
        size_t bytes = gcrt_mcache_take_run(&mc, i), from;
        struct mspan *s = cached(i);

        from = expect_run(i, s, 0, bytes);
        cr_assert(all_bytes_are(run_of(i)->next, bytes, 0));
        while (from < s->nelems)
            from = expect_run(i, s, from, gcrt_mcache_take_run(&mc, i));
        cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0);
        cr_assert_neq(cached(i), s, "a used-up span is changed for another");
        cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b));
    }
    bare_finish(&b);
}

Test(mcache, no_memory_is_no_run)
{
    int i;

    init_all();
    i = add_entry(&b.scan[20]);
    b.os.fail_at = aword_load_relaxed(&b.os.calls) + 1;
    cr_assert_eq(gcrt_mcache_take_run(&mc, i), 0);
    cr_assert_null(cached(i));
    cr_assert_geq(run_of(i)->next, run_of(i)->end);
    cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0, "the next try succeeds");
    bare_finish(&b);
}

/* ---- giving back ---- */

/* What the model expects of live bytes, of the statistics and of the span after a flush. */
static void
flush_in_the_middle(unsigned c, bool keep, uint64_t *seed)
{
    struct mcentral *central = &b.scan[c];
    uint64_t live = aword_load_relaxed(&b.heap.live);
    uint64_t slots = aword_load_relaxed(&mc.slots[c]);
    uint64_t scan = aword_load_relaxed(&mc.scan_bytes);
    struct mspan *s = punched_span(central, seed);
    int i = gcrt_mcache_find(&mc, ((uintptr_t)central->index + 1) << 6);
    size_t taken = 0, used, first;

    do {
        taken += gcrt_mcache_take_run(&mc, i) / span_elem_bytes(s);
    } while (rand_below(seed, 2) != 0 && free_after(s, ahalf_load_relaxed(&s->freeindex)) != 0);
    used = rand_below(seed, (size_t)(run_of(i)->end - run_of(i)->next) / run_of(i)->size + 1);
    run_of(i)->next += used * run_of(i)->size;
    first = slot_of(s, run_of(i)->next);
    if (!keep)
        taken -= (size_t)(run_of(i)->end - run_of(i)->next) / run_of(i)->size;
    else
        first = slot_of(s, run_of(i)->end);
    flush(keep);
    cr_assert_eq(ahalf_load_relaxed(&s->freeindex), first, "class %u keep %d", c, keep);
    cr_assert_null(cached(i));
    cr_assert_geq(run_of(i)->next, run_of(i)->end, "nothing can be allocated any more");
    cr_assert_eq(ahalf_load_relaxed(&s->sweepgen), bare_sweepgen(&b));
    cr_assert_eq(aword_load_relaxed(&mc.slots[c]) - slots, taken);
    cr_assert_eq(aword_load_relaxed(&mc.scan_bytes) - scan, taken * span_elem_bytes(s));
    cr_assert_eq(aword_load_relaxed(&b.heap.live) - live, taken * span_elem_bytes(s));
    cr_assert_eq(mc.debt, 0);
    /* Filed by its free slots, and what is left comes again. */
    cr_assert_eq(spanset_is_empty(&central->partial[bare_sweepgen(&b) / 2 % 2]),
            free_after(s, first) == 0);
    if (free_after(s, first) != 0) {
        size_t bytes = gcrt_mcache_take_run(&mc, i);

        cr_assert_eq(cached(i), s);
        (void)expect_run(i, s, first, bytes);
        flush(true);
    }
    drain_set(&b, &central->partial[bare_sweepgen(&b) / 2 % 2], NULL);
    drain_set(&b, &central->full[bare_sweepgen(&b) / 2 % 2], NULL);
}

Test(mcache, a_flush_gives_the_rest_of_a_run_back_unless_it_is_kept)
{
    uint64_t seed = seed_of("a_flush_gives_the_rest_of_a_run_back");

    init_all();
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        add_entry(&b.scan[c]);
        for (int round = 0; round < 10; round++)
            flush_in_the_middle(c, round % 2 != 0, &seed);
    }
    bare_finish(&b);
}

Test(mcache, a_flush_gives_pages_and_the_tiny_block_back)
{
    init_all();
    cr_assert_gt(gcrt_mcache_take_run(&mc, add_entry(&b.noscan[CLASS_TINY])), 0);
    cr_assert_neq(mc.pages.free, 0);
    mc.tiny = b.heap.base + 3;
    mc.tiny_end = b.heap.base + TINY_BYTES;
    flush(false);
    cr_assert_eq(mc.pages.free, 0);
    cr_assert_eq(mc.tiny, 0);
    cr_assert_eq(mc.tiny_end, 0);
    cr_assert_eq(b.heap.pages.grown_pages - b.heap.pages.free_pages, 1);
    bare_finish(&b);
}

Test(mcache, unused_slots_are_counted_by_class)
{
    uint64_t want[NUM_CLASSES] = { 0 }, have[NUM_CLASSES] = { 0 };
    uint64_t seed = seed_of("unused_slots_are_counted_by_class");

    init_all();
    for (unsigned k = 0; k < 2 * (NUM_CLASSES - 1); k++) {
        struct mcentral *c = k % 2 ? &b.scan[1 + k / 2] : &b.noscan[1 + k / 2];
        int i = add_entry(c);
        size_t slots, used;

        if (rand_below(&seed, 4) == 0)
            continue;
        slots = gcrt_mcache_take_run(&mc, i) / run_of(i)->size;
        used = rand_below(&seed, slots + 1);
        run_of(i)->next += used * run_of(i)->size;
        want[c->sizeclass] += slots - used;
    }
    gcrt_mcache_unused(&mc, have);
    cr_assert_arr_eq(have, want, sizeof(want));
    bare_finish(&b);
}

/* ---- colours ---- */

static size_t
count_marks(struct mspan *s, size_t lo, size_t hi)
{
    size_t n = 0;

    for (size_t k = lo; k < hi; k++)
        n += bit_of(span_marks(s), k);
    return n;
}

Test(mcache, blackening_marks_the_rest_of_each_run_and_no_more)
{
    uint64_t seed = seed_of("blackening_marks_the_rest_of_each_run");
    uint64_t black = 0;

    init_all();
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        int i = add_entry(&b.scan[c]);
        size_t bytes = gcrt_mcache_take_run(&mc, i);

        run_of(i)->next += rand_below(&seed, bytes / run_of(i)->size + 1) * run_of(i)->size;
        black += (uint64_t)(run_of(i)->end - run_of(i)->next);
    }
    gcrt_mcache_blacken(&mc, bare_sweepgen(&b));
    cr_assert_eq(aword_load_relaxed(&mc.black_bytes), black);
    for (unsigned c = 1; c < NUM_CLASSES; c++) {
        int i = gcrt_mcache_find(&mc, ((uintptr_t)b.scan[c].index + 1) << 6);
        struct mspan *s = cached(i);
        size_t lo = slot_of(s, run_of(i)->next), hi = slot_of(s, run_of(i)->end);

        cr_assert_eq(count_marks(s, lo, hi), hi - lo, "class %u", c);
        cr_assert_eq(count_marks(s, 0, s->nelems), hi - lo, "class %u", c);
    }
    bare_finish(&b);
}

Test(mcache, runs_taken_while_black_are_marked_and_those_given_back_do_not_count)
{
    int i;

    init_all();
    i = add_entry(&b.scan[3]);
    gcrt_mcache_blacken(&mc, bare_sweepgen(&b));
    while (cached(i) == NULL || ahalf_load_relaxed(&cached(i)->freeindex) < cached(i)->nelems)
        cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0);
    cr_assert_eq(count_marks(cached(i), 0, cached(i)->nelems), cached(i)->nelems);
    cr_assert_eq(aword_load_relaxed(&mc.black_bytes), cached(i)->nelems * 24u);
    run_of(i)->next += 24;
    flush(false);
    cr_assert_eq(aword_load_relaxed(&mc.black_bytes) % 24, 0);
    cr_assert_eq(aword_load_relaxed(&mc.black_bytes), aword_load_relaxed(&mc.slots[3]) * 24);
    bare_finish(&b);
}

Test(mcache, after_sweepgen_has_advanced_no_run_is_black)
{
    struct mspan *before;
    int i;

    init_all();
    i = add_entry(&b.scan[10]);
    gcrt_mcache_blacken(&mc, bare_sweepgen(&b));
    cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0);
    before = cached(i);
    while (ahalf_load_relaxed(&before->freeindex) < before->nelems)
        cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0);
    bare_advance(&b);
    cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0); /* before the own H6: still black */
    cr_assert_eq(ahalf_load_relaxed(&cached(i)->sweepgen), bare_sweepgen(&b) + 3);
    cr_assert_eq(count_marks(cached(i), 0, cached(i)->nelems), 0, "I-no-late-mark");
    cr_assert_neq(cached(i), before, "all of its slots were marked");
    cr_assert_eq(ahalf_load_relaxed(&before->sweepgen), bare_sweepgen(&b), "it was swept");
    cr_assert_eq(count_marks(before, 0, before->nelems), 0);
    bare_finish(&b);
}

/* Slots that are left in the cached span belong to the sweep once sweepgen has advanced. */
Test(mcache, no_run_is_taken_from_a_span_that_waits_for_its_sweep)
{
    struct mspan *before;
    int i;

    init_all();
    i = add_entry(&b.scan[58]); /* four slots, and each is a run of its own */
    cr_assert_eq(gcrt_mcache_take_run(&mc, i), gcrt_class_bytes[58]);
    before = cached(i);
    set_bit(span_marks(before), 0, true);
    bare_advance(&b);
    cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0);
    cr_assert_eq(ahalf_load_relaxed(&cached(i)->sweepgen), bare_sweepgen(&b) + 3);
    cr_assert_eq(bit_of(span_marks(before), 0), false, "it was swept first");
    cr_assert(bit_of(span_allocs(before), 0), "and its first object lives");
    bare_finish(&b);
}

Test(mcache, the_tiny_block_is_marked_as_a_whole)
{
    struct mspan *s;
    size_t slot;
    int i;

    init_all();
    i = add_entry(&b.noscan[CLASS_TINY]);
    cr_assert_gt(gcrt_mcache_take_run(&mc, i), 0);
    s = cached(i);
    slot = slot_of(s, run_of(i)->next);
    mc.tiny = (uintptr_t)run_of(i)->next + 5;
    mc.tiny_end = (uintptr_t)run_of(i)->next + TINY_BYTES;
    run_of(i)->next = run_of(i)->end;
    gcrt_mcache_blacken(&mc, bare_sweepgen(&b));
    cr_assert(bit_of(span_marks(s), slot));
    cr_assert_eq(count_marks(s, 0, s->nelems), 1);
    bare_finish(&b);
}
