/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_UNIT_VERIFYKIT_H
#define GCRT_TESTS_UNIT_VERIFYKIT_H

/*
 * A heap of one attached thread, and its cycle, taken step by step by that thread: what
 * src/gc/cycle.c does, with time in between to break something.  No cycle runs by itself, so
 * the coordinator sleeps and the thread may play its part, outside, as gc_verify does.
 */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "gc/barrier.h"
#include "gc/checkmark.h"
#include "gc/handshake.h"
#include "gc/roots.h"
#include "gc/verify.h"
#include "gc/worker.h"

#include "alloc/sweep.h"
#include "support.h"

#include <gcrt/gcrt.h>

static struct gc_heap *heap;

static inline void
byhand_start(int checkmark)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF;
    opt.periodic_ms = 0;
    opt.release_ms = 0;
    opt.threads = 1;
    opt.debug_checkmark = checkmark;
    cr_assert_eq(gc_heap_create(&opt, &heap), GC_OK, "%s", gc_last_error());
    cr_assert_eq(gc_thread_attach(heap), GC_OK);
}

static inline void
byhand_stop(void)
{
    gc_thread_detach();
    cr_assert_eq(gc_heap_destroy(heap), GC_OK);
}

static inline struct gcrt_mutator *
byhand_self(void)
{
    return gc_impl_self.mutator;
}

static inline void
byhand_handshake(enum action action)
{
    gc_block_enter();
    gcrt_handshake_run(heap, action);
    gc_block_leave();
}

/* A worker of an earlier, real cycle would take part in one that is stepped by hand. */
static inline void
byhand_dismiss_workers(void)
{
    gcrt_workers_finish(heap);
    ahalf_store_relaxed(&heap->marking.stop, 0);
}

/* H1 to H3. */
static inline void
byhand_scan(void)
{
    byhand_dismiss_workers();
    gcrt_checkmark_begin(heap);
    byhand_handshake(ACTION_BARRIER_ON);
    byhand_handshake(ACTION_SETTLE);
    byhand_handshake(ACTION_SCAN);
}

static inline void
byhand_collect_roots(void)
{
    gc_block_enter();
    (void)gcrt_roots_collect(heap);
    gc_block_leave();
}

static inline void
byhand_open(void)
{
    gc_block_enter();
    gcrt_checkmark_open(heap);
    gc_block_leave();
    ahalf_store_full(&heap->marking.open, 1); /* pairs: mark.open */
}

static inline void
byhand_mark(void)
{
    struct marker *mk = &heap->marking.workers[0].marker;

    for (int round = 0; round < 2; round++) { /* before and after H4 */
        gc_block_enter();
        gcrt_marking_begin(heap);
        while (gcrt_mark_drain(mk, 1 << 20) != 0)
            continue;
        (void)gcrt_marker_flush(mk);
        gcrt_marking_end(heap);
        gc_block_leave();
        byhand_handshake(ACTION_FLUSH);
    }
    cr_assert(gcrt_marking_is_quiet(heap));
}

/* H5. */
static inline void
byhand_close(void)
{
    ahalf_store_full(&heap->marking.open, 0);
    byhand_handshake(ACTION_BARRIER_OFF);
}

/* H6. */
static inline void
byhand_advance(void)
{
    ahalf_store_full(&heap->mheap.sweepgen, ahalf_load_relaxed(&heap->mheap.sweepgen) + 2);
    byhand_handshake(ACTION_FLUSH_CACHE);
}

static inline void
byhand_sweep(void)
{
    while (gcrt_sweep_some(&heap->mheap, 1))
        continue;
}

static inline gc_status
byhand_verify(enum verify_edge edge, char text[VERIFY_TEXT], char path[VERIFY_PATH])
{
    gc_status status;

    gc_block_enter();
    status = gcrt_verify_now(heap, edge, text, path);
    gc_block_leave();
    return status;
}

/* The edge's verifier complains with this tag. */
#define EXPECT_TAG(edge, tag)                                                              \
    do {                                                                                   \
        char text_[VERIFY_TEXT];                                                           \
        gc_status status_ = byhand_verify((edge), text_, NULL);                            \
                                                                                           \
        cr_expect(status_ == GC_ERR_CORRUPT && strncmp(text_, "[" tag "]",                 \
                sizeof(tag) + 1) == 0, "expected [" tag "], have: %s", text_);             \
    } while (0)

#define EXPECT_CLEAN(edge)                                                                 \
    do {                                                                                   \
        char text_[VERIFY_TEXT];                                                           \
                                                                                           \
        cr_expect_eq(byhand_verify((edge), text_, NULL), GC_OK, "%s", text_);              \
    } while (0)

/* Span and slot of an object. */
static inline struct mspan *
byhand_span(const void *p, size_t *index)
{
    struct mspan *s = mheap_span_of(&heap->mheap, (uintptr_t)p);

    cr_assert_not_null(s);
    *index = span_object_index(&heap->mheap, s, (uintptr_t)p);
    return s;
}

static inline bool
byhand_is_marked(const void *p)
{
    size_t i;
    struct mspan *s = byhand_span(p, &i);

    return span_test(span_marks(s), i);
}

static inline void
byhand_set_mark(const void *p, bool marked)
{
    size_t i;
    struct mspan *s = byhand_span(p, &i);
    aword *word = &span_marks(s)[i / 64];
    uint64_t bit = (uint64_t)1 << (i % 64), was = aword_load_relaxed(word);

    aword_store_relaxed(word, marked ? was | bit : was & ~bit);
}

#endif
