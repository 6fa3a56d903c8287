/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_UNIT_BYHAND_H
#define GCRT_TESTS_UNIT_BYHAND_H

/*
 * A whole heap whose collector does nothing by itself: the test's own thread is the only
 * mutator, and it takes the collector's steps one by one.  A handshake is run while the
 * thread is outside, so it is answered for by the same thread, as by a real collector.
 */

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "gc/actions.h"
#include "gc/barrier.h"
#include "gc/handshake.h"
#include "gc/kind.h"

#include <gcrt/gcrt.h>

static struct gc_heap *the_heap;

static inline void
use(void *p)
{
    GC_KEEP_ALIVE(p);
}

static inline struct gcrt_mutator *
self(void)
{
    return gc_impl_self.mutator;
}

static inline void
options_by_hand(gc_options *opt)
{
    gc_options_default(opt);
    opt->gogc = GC_GOGC_OFF;
    opt->periodic_ms = 0;
    opt->release_ms = 0;
    opt->threads = 1;
}

static inline struct gc_heap *
heap_by_hand(void)
{
    gc_options opt;
    struct gc_heap *h;

    options_by_hand(&opt);
    cr_assert_eq(gc_heap_create(&opt, &h), GC_OK, "%s", gc_last_error());
    return h;
}

static inline void
begin_by_hand(void)
{
    the_heap = heap_by_hand();
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK, "%s", gc_last_error());
}

/* The next object's span may hold marks that no cycle will sweep: no more real cycles. */
static inline void
end_by_hand(void)
{
    if (self() != NULL)
        gc_thread_detach();
    cr_assert_eq(gc_heap_destroy(the_heap), GC_OK, "%s", gc_last_error());
}

/* The calling thread must be attached to the heap and inside, or detached. */
static inline void
handshake(enum action action)
{
    bool inside = self() != NULL;

    if (inside)
        gc_block_enter();
    gcrt_handshake_run(the_heap, action);
    if (inside)
        gc_block_leave();
}

/* Asks the calling thread for an action, as the coordinator would, and goes on. */
static inline void
ask(enum action action)
{
    struct handshake *hs = &the_heap->handshake;
    unsigned epoch = ahalf_load_relaxed(&hs->epoch) + 1;

    hs->action = action;
    ahalf_store_relaxed(&hs->epoch, epoch);
    ahalf_store_relaxed(&hs->pending, 1);
    ahalf_store_release(&self()->request, epoch);
    __atomic_store_n(&gc_impl_self.poll, 1, __ATOMIC_RELAXED);
}

static inline bool
has_answered(void)
{
    return ahalf_load_acquire(&self()->answered) == ahalf_load_acquire(&self()->request);
}

/* How often the thread's barrier buffer has p. */
static inline size_t
count_buffered(const void *p)
{
    size_t n = 0;

    for (uint32_t i = 0; i < self()->nbarrier; i++)
        n += self()->barrier[i] == (uintptr_t)p;
    return n;
}

static inline void
open_by_hand(void)
{
    ahalf_store_full(&the_heap->marking.open, 1);
}

static inline void
to_marking(void)
{
    handshake(ACTION_BARRIER_ON);
    handshake(ACTION_SETTLE);
    handshake(ACTION_SCAN);
    open_by_hand();
}

/* ---- raw words ---- */

#define RAW_MAX 4096

struct raw_words {
    size_t n, nexact; /* of them, how many mean their object alone */
    uintptr_t word[RAW_MAX];
};

/* Takes all raw buffers. */
static inline void
take_raw(struct raw_words *raw)
{
    struct workbuf *b;

    raw->n = raw->nexact = 0;
    while ((b = gcrt_work_pop_raw(&the_heap->work)) != NULL) {
        for (uint32_t i = 0; i < b->n && raw->n < RAW_MAX; i++) {
            raw->nexact += (b->slot[i] & RAW_EXACT) != 0;
            raw->word[raw->n++] = b->slot[i] & ~RAW_EXACT;
        }
        gcrt_work_put_empty(&the_heap->work, b);
    }
}

/* Makes one. */
static inline void
push_raw_word(const void *p)
{
    struct workbuf *b = gcrt_work_take_empty(&the_heap->work);

    b->slot[0] = (uintptr_t)p;
    b->n = 1;
    gcrt_work_push_raw(&the_heap->work, b);
}

static inline size_t
count_raw(const struct raw_words *raw, const void *p)
{
    size_t n = 0;

    for (size_t i = 0; i < raw->n; i++)
        n += raw->word[i] == (uintptr_t)p;
    return n;
}

/* ---- marks ---- */

static inline bool
is_marked(const void *p)
{
    struct mspan *s = mheap_span_of(&the_heap->mheap, (uintptr_t)p);

    cr_assert_not_null(s);
    return span_test(span_marks(s), span_object_index(&the_heap->mheap, s, (uintptr_t)p));
}

static inline void
set_marked(const void *p, bool value)
{
    struct mspan *s = mheap_span_of(&the_heap->mheap, (uintptr_t)p);
    size_t i = span_object_index(&the_heap->mheap, s, (uintptr_t)p);
    aword *word = &span_marks(s)[i / 64];
    uint64_t bit = (uint64_t)1 << (i % 64), old = aword_load_relaxed(word);

    aword_store_relaxed(word, value ? old | bit : old & ~bit);
}

/* A grey object that nobody holds privately. */
static inline bool
is_public_work(void)
{
    return !gcrt_work_is_empty(&the_heap->work);
}

#endif
