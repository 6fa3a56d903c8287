/* SPDX-License-Identifier: MIT */
/*
 * The heap profile.
 *
 * Purpose: for sampled objects, remember the stack that allocated them until they die.
 * Place: the P's sampler (alloc/sample.c) says which objects; malloc brings them here; the end
 * of marking says which of them died; metrics/pprof.c writes it all down.
 *
 * Records and sites.  A record is one sampled object that is not known to be dead.  A site is a
 * stack and a size; it has sums and is never forgotten.  Sums are of weights (sample.c), so they
 * are estimates of all objects and not of the samples, and a change of rate does no harm.
 *
 * What is in use means: after the last complete marking.  An object that was allocated after the
 * cycle began had no chance to be found dead, and if it were counted, a program that
 * allocates much and keeps nothing would seem to keep it.  So an allocation is first
 * pending, and becomes visible together with the first cycle that began after it; the
 * death of an object never becomes visible before its allocation.  (Go's two-cycle rule, with one
 * cycle less to wait: here deaths are known when marking ends, not when spans are swept.)
 *
 * Invariants: a record's object is allocated: records of white objects go before any span is
 * swept.  I-no-late-mark: the coordinator looks after the last H4, when nobody can mark what is
 * not marked; newborns are black then.
 * Concurrency: RANK_PROFILE for everything.  It is held for a copy of a stack, or while the
 * coordinator looks at all records; samples that come meanwhile wait for it in a critical
 * section.  One comes every 512 KiB.
 *
 * A stack with code that was not met before is another matter: whoever takes it may wait for the
 * dynamic linker's lock, or the unwinder's own, and some thread may have that while it is held, or
 * for as long as the host likes.  So nobody waits for a thread that takes such a stack, but a
 * fork, since its child needs those locks: unwind_freely.
 * Cost: a sample is a stack walk (frames.c) and 400 instructions, a cycle 10 ns a record.  What
 * counts is lines: a program that allocates 512 KiB between two samples has swept the first
 * cache, and half of the second.  So a sample of a known stack touches one line of its site and
 * one of its record, computes no weight and compares no addresses.
 *
 * Source: Go's runtime/mprof.go for what is counted when.
 */
#include "gc/profile.h"

#include "alloc/os/unwind.h"
#include "gc/mutator.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS       4096u
#define CHUNK_RECORDS 1023

struct site {
    /* One cache line, all that a sample of a known stack needs. */
    uint64_t hash;
    struct site *next;               /* lock: same bucket */
    uint64_t rate;                   /* lock: of the last sample */
    double weight;                   /* lock: of a sample at that rate */
    /* Pending, by the parity of the cycle that had begun last. */
    double allocs[2];                /* lock; not 0: it is in that list */
    struct site *next_pending[2];    /* lock */

    struct profile_site seen;        /* sums: visible; pcs: behind this struct */
    double frees[2];                 /* lock: pending as the allocs are, of which they are some */
    struct site *older;              /* lock: list of all */
};

_Static_assert(offsetof(struct site, seen) == CACHE_LINE, "one line, persist.c aligns it");

struct record {
    uintptr_t object;
    struct site *site;
    double weight;
    uint64_t born; /* cycles that had begun */
};

struct record_chunk {
    struct record records[CHUNK_RECORDS]; /* first: two to a line */
    struct record_chunk *prev;
};

bool
gcrt_profile_init(struct gc_heap *heap)
{
    struct profile *pr = &heap->profile;

    gcrt_lock_init(&pr->lock, RANK_PROFILE);
    pr->buckets = gcrt_persist_alloc(&heap->persist, BUCKETS * sizeof(struct site *));
    aword_store_relaxed(&pr->bytes, BUCKETS * sizeof(struct site *));
    (void)gcrt_profile_set_rate(heap, heap->options.profile_rate);
    return pr->buckets != NULL;
}

void
gcrt_profile_finish(struct gc_heap *heap)
{
    gcrt_lock_finish(&heap->profile.lock);
}

uint64_t
gcrt_profile_set_rate(struct gc_heap *heap, uint64_t rate)
{
    uint64_t old = aword_load_relaxed(&heap->mheap.sample_rate);

    if (rate != 0)
        gcrt_os_backtrace_warm_up();
    while (!aword_cas_full(&heap->mheap.sample_rate, old, rate))
        old = aword_load_relaxed(&heap->mheap.sample_rate);
    return old;
}

/* ---- sites ---- */

#define MIX 0x9e3779b97f4a7c15u

/*
 * Each step is one to one, and a difference goes up: only all 64 bits say "the same".  Bytes are
 * mixed before they meet the first pc: 16 and 48 bytes at two calls 32 bytes apart are not one.
 */
static uint64_t
hash_stack(const struct profile_site *like)
{
    uint64_t h = like->bytes * MIX;

    for (unsigned i = 0; i < like->npcs; i++)
        h = (h ^ like->pcs[i]) * MIX;
    return h ^ (h >> 32);
}

static UNUSED bool
is_site_of(const struct site *at, const struct profile_site *like)
{
    return at->seen.bytes == like->bytes && at->seen.npcs == like->npcs
            && memcmp(at->seen.pcs, like->pcs, like->npcs * sizeof(*like->pcs)) == 0;
}

/*
 * The hash alone says which: to compare the stacks would take three lines more.  Of a million
 * different stacks two have the same hash once in 40 million processes, and are then shown as one.
 */
static struct site *
find_site_locked(struct profile *pr, uint64_t hash, const struct profile_site *like)
{
    struct site *at = pr->buckets[hash % BUCKETS];

    while (at != NULL && at->hash != hash)
        at = at->next;
    ASSERT(at == NULL || is_site_of(at, like));
    (void)like;
    return at;
}

static struct site *
site_of_locked(struct gc_heap *heap, const struct profile_site *like)
{
    struct profile *pr = &heap->profile;
    uint64_t hash = hash_stack(like);
    size_t stack_bytes = like->npcs * sizeof(*like->pcs);
    struct site *at = find_site_locked(pr, hash, like);

    if (at != NULL)
        return at;
    at = gcrt_persist_alloc(&heap->persist, sizeof(*at) + stack_bytes);
    if (at == NULL)
        return NULL;
    aword_add_relaxed(&pr->bytes, sizeof(*at) + stack_bytes);
    at->hash = hash;
    at->seen = *like;
    at->seen.pcs = memcpy(at + 1, like->pcs, stack_bytes);
    at->next = pr->buckets[hash % BUCKETS];
    pr->buckets[hash % BUCKETS] = at;
    at->older = pr->newest;
    pr->newest = at;
    pr->nsites++;
    return at;
}

/* ---- records ---- */

static struct record_chunk *
new_chunk_locked(struct gc_heap *heap)
{
    struct record_chunk *c = gcrt_persist_alloc(&heap->persist, sizeof(*c));

    if (c != NULL)
        aword_add_relaxed(&heap->profile.bytes, sizeof(*c));
    return c;
}

/* The record behind the last one, or NULL without memory. */
static struct record *
add_record_locked(struct gc_heap *heap)
{
    struct profile *pr = &heap->profile;
    struct record_chunk *c = pr->spare;

    if (pr->nrecords % CHUNK_RECORDS == 0) {
        if (c == NULL && (c = new_chunk_locked(heap)) == NULL)
            return NULL;
        pr->spare = pr->spare == c ? c->prev : pr->spare;
        c->prev = pr->chunk;
        pr->chunk = c;
    }
    return &pr->chunk->records[pr->nrecords++ % CHUNK_RECORDS];
}

/* The last record takes the place of this one. */
static void
drop_record_locked(struct profile *pr, struct record *r)
{
    struct record_chunk *c = pr->chunk;

    *r = c->records[--pr->nrecords % CHUNK_RECORDS];
    if (pr->nrecords % CHUNK_RECORDS == 0) {
        pr->chunk = c->prev;
        c->prev = pr->spare;
        pr->spare = c;
    }
}

/*
 * libm has it, but is 0.4 MiB resident for one function.  A series for x / 2^k, then
 * p(2x) = p(x) * (2 - p(x)), which loses no digits.
 */
double
gcrt_profile_chance(double x)
{
    double term, sum;
    unsigned doublings = 0;

    if (x >= 40)
        return 1;
    for (; x > 0.25; doublings++)
        x /= 2;
    sum = term = x;
    for (unsigned i = 2; i < 14; i++)
        sum += term *= -x / i;
    while (doublings-- > 0)
        sum *= 2 - sum;
    return sum;
}

/* The weight of a sample: one over the chance that an object of its size had. */
static double
weight_of(uint64_t bytes, uint64_t rate)
{
    return rate <= 1 ? 1 : 1 / gcrt_profile_chance((double)bytes / (double)rate);
}

/* Of any sample at the site; the site keeps it for the next one. */
static double
weight_locked(struct site *site, uint64_t rate)
{
    if (UNLIKELY(site->rate != rate)) {
        site->rate = rate;
        site->weight = weight_of(site->seen.bytes, rate);
    }
    return site->weight;
}

static void
add_pending_locked(struct profile *pr, struct site *site, unsigned parity, double weight)
{
    if (site->allocs[parity] == 0) {
        site->next_pending[parity] = pr->pending[parity];
        pr->pending[parity] = site;
    }
    site->allocs[parity] += weight;
}

static bool
record_locked(struct gc_heap *heap, const void *p, const struct profile_site *like, uint64_t rate)
{
    struct site *site = site_of_locked(heap, like);
    struct record *r = site == NULL ? NULL : add_record_locked(heap);

    if (r == NULL)
        return false;
    *r = (struct record){ .object = (uintptr_t)p, .site = site,
        .weight = weight_locked(site, rate),
        .born = aword_load_relaxed(&heap->cycles.started) };
    add_pending_locked(&heap->profile, site, r->born & 1, r->weight);
    return true;
}

/* Without the library's own frames, which end where it returns to the host. */
static void
trim(struct profile_site *site, const void *from)
{
    for (unsigned i = 0; i < site->npcs; i++)
        if (site->pcs[i] == (uintptr_t)from) {
            site->pcs += i;
            site->npcs -= i;
            return;
        }
}

/*
 * A whole stack, by a thread that is critical, and is not while it takes it.  It answers handshakes
 * meanwhile: by its signal handler, or, if it is precise, by being outside.  The object is held
 * by m->own.result.  Frames that this walk does not meet, but the next one will, are learned: our
 * own on the way here.  A fork that has closed its gate finds us before or behind it, or unwinding.
 */
static COLD NOINLINE unsigned
unwind_freely(struct gcrt_mutator *m, uintptr_t *pcs, uintptr_t unknown)
{
    unsigned n;

    critical_clear();
    if (m->precise)
        gc_block_enter();
    critical_enter();
    ahalf_store_relaxed(&m->unwinding, 1);
    critical_clear();
    if (unknown != 0)
        gcrt_os_backtrace_learn(unknown);
    n = gcrt_os_backtrace(pcs, PROFILE_DEPTH, m->stack_lo, m->stack_hi);
    ahalf_store_release(&m->unwinding, 0); /* pairs: fork.gate */
    if (m->precise)
        gc_block_leave();
    critical_enter();
    return n;
}

void
gcrt_profile_sample(struct gcrt_mutator *m, const void *p, const gc_type *type, const void *from)
{
    struct gc_heap *heap = m->heap;
    struct profile *pr = &heap->profile;
    uint64_t rate = m->p->cache.sampler.due;
    uintptr_t pcs[PROFILE_DEPTH], unknown;
    struct profile_site like = { .type = type, .pcs = pcs,
        .bytes = span_elem_bytes(mheap_span_of(&heap->mheap, (uintptr_t)p)) };
    bool ok;

    m->p->cache.sampler.due = 0;
    critical_enter();
    __builtin_prefetch(&pr->lock); /* the walk's loads wait for each other, but not for these */
    __builtin_prefetch(&pr->nrecords);
    like.npcs = gcrt_os_backtrace_known(
            pcs, PROFILE_DEPTH, m->stack_lo, m->stack_hi, &unknown);
    if (UNLIKELY(like.npcs == 0))
        like.npcs = unwind_freely(m, pcs, unknown);
    trim(&like, from);
    gcrt_lock_acquire(&pr->lock);
    ok = record_locked(heap, p, &like, rate);
    aword_add_owner(ok ? &pr->samples : &pr->lost, 1);
    gcrt_lock_release(&pr->lock);
    critical_clear(); /* no poll: the caller returns the object */
}

/* ---- the end of marking ---- */

/*
 * What was pending since before the cycle began becomes visible.  Only those sites are touched:
 * the lines of the others stay with the threads that take samples there.
 */
static void
publish_locked(struct profile *pr, uint64_t cycle)
{
    unsigned parity = (cycle - 1) & 1;

    for (struct site *at = pr->pending[parity]; at != NULL; at = at->next_pending[parity]) {
        at->seen.sums.allocs += at->allocs[parity];
        at->seen.sums.frees += at->frees[parity];
        at->allocs[parity] = at->frees[parity] = 0;
    }
    pr->pending[parity] = NULL;
}

static bool
is_marked(const struct mheap *h, uintptr_t object)
{
    struct mspan *s = mheap_span_of(h, object);

    return span_test(span_marks(s), span_object_index(h, s, object));
}

/* An object that was born in this very cycle died before its allocation is visible. */
static void
count_death(const struct record *r, uint64_t cycle)
{
    if (r->born == cycle)
        r->site->frees[cycle & 1] += r->weight;
    else
        r->site->seen.sums.frees += r->weight;
}

static void
look_at_records_locked(struct gc_heap *heap, uint64_t cycle)
{
    struct profile *pr = &heap->profile;
    struct record_chunk *c = pr->chunk;
    size_t i = pr->nrecords;

    while (i-- > 0) { /* from the last one, so that what takes a place has been looked at */
        struct record *r = &c->records[i % CHUNK_RECORDS];
        struct record_chunk *prev = c->prev;

        if (!is_marked(&heap->mheap, r->object)) {
            count_death(r, cycle);
            drop_record_locked(pr, r);
        }
        if (i % CHUNK_RECORDS == 0)
            c = prev;
    }
}

void
gcrt_profile_marked(struct gc_heap *heap)
{
    struct profile *pr = &heap->profile;
    uint64_t cycle = aword_load_relaxed(&heap->cycles.started);

    gcrt_lock_acquire(&pr->lock);
    look_at_records_locked(heap, cycle);
    publish_locked(pr, cycle);
    pr->looked = true;
    gcrt_lock_release(&pr->lock);
}

/*
 * The cycle that would have made older allocations visible ends in the parent.  The next one does
 * it here, as it will look at their deaths; what comes from now on is of its parity, too.
 */
void
gcrt_profile_abandoned_locked(struct gc_heap *heap)
{
    struct profile *pr = &heap->profile;
    unsigned next = aword_load_relaxed(&heap->cycles.started) & 1, old = !next;

    for (struct site *at = pr->pending[old]; at != NULL; at = at->next_pending[old]) {
        add_pending_locked(pr, at, next, at->allocs[old]);
        at->frees[next] += at->frees[old];
        at->allocs[old] = at->frees[old] = 0;
    }
    pr->pending[old] = NULL;
}

/* ---- for those who look ---- */

static void
copy_sites_locked(const struct profile *pr, struct profile_copy *copy, bool all)
{
    for (const struct site *at = pr->newest; at != NULL; at = at->older) {
        struct profile_site *to = &copy->sites[copy->n++];

        *to = at->seen;
        if (all) {
            to->sums.allocs += at->allocs[0] + at->allocs[1];
            to->sums.frees += at->frees[0] + at->frees[1];
        }
    }
}

struct profile_copy *
gcrt_profile_copy(struct gc_heap *heap, bool all)
{
    struct profile *pr = &heap->profile;
    struct profile_copy *copy = NULL;
    size_t room = 0, n;

    /* malloc, which is the host's own perhaps, is not called with the lock held. */
    for (;;) {
        critical_enter();
        gcrt_lock_acquire(&pr->lock);
        n = pr->nsites;
        if (copy != NULL && n <= room)
            copy_sites_locked(pr, copy, all || !pr->looked);
        gcrt_lock_release(&pr->lock);
        critical_leave();
        if (copy != NULL && n <= room)
            return copy;
        free(copy);
        room = n + n / 8 + 8;
        copy = gcrt_os_fault(&heap->os)
                ? NULL : calloc(1, sizeof(*copy) + room * sizeof(copy->sites[0]));
        if (copy == NULL)
            return NULL;
    }
}
