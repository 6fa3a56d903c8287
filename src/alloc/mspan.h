/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ALLOC_MSPAN_H
#define GCRT_ALLOC_MSPAN_H

/*
 * The span: a run of pages with objects of one kind.
 *
 * Every page of the reservation has a descriptor in one flat array; a span is described by
 * its first page's.  Descriptors are type-stable for the heap's life, and `sweepgen` is
 * never reset, so a racing reader sees a coherent value.
 *
 * Line one, the mark line, is all that marking touches.  Line two, the alloc line, is for
 * allocation and sweep.  Classes 8 and 16 have more objects than a line has bits; their
 * bitmaps lie in a side block which, once made, stays with the descriptor.
 *
 * head, low two bits:
 *     SPAN_FREE      no span, but see below; everything else is stale
 *     SPAN_INTERIOR  a later page of a span; bits 2.. are the pages back to its first
 *     SPAN_SMALL     first page of a span of small objects
 *     SPAN_LARGE     first page of a one-object span
 * Of a large span only the pages before its first group boundary, and the first page of each
 * group, are INTERIOR; the group's first page answers for the others, which stay FREE.  So a
 * span of gigabytes is made and ended in microseconds.
 * Written last when a span is made (pairs: span.publish) and first when it ends, so a
 * reader that acquires SMALL or LARGE may read the other fields.  During marking head may
 * go from FREE to another state but never back.
 *
 * An object i of a span is allocated if i < freeindex or its alloc bit is set.  Slots
 * below freeindex that were never handed out belong to a taken run (mcache.h).
 */

#include "alloc/base/atomic.h"
#include "alloc/base/bits.h"
#include "alloc/base/check.h"
#include "alloc/sizeclass.h"

enum { SPAN_FREE = 0, SPAN_INTERIOR = 1, SPAN_SMALL = 2, SPAN_LARGE = 3, SPAN_STATE = 3 };

/* What may be done with the one object of a large span: its `ready`. */
enum {
    SPAN_RAW = 0,  /* not zeroed yet */
    SPAN_READY,    /* scanned, walked */
    SPAN_DROPPED,  /* freed while pointers into it may be left: empty, until it is swept */
    SPAN_RELEASED, /* the same, and its memory is the system's; counted in mheap.dropped */
    SPAN_GUARDED   /* the same, and who touches it gets a signal */
};

#define SPAN_GROUP      512 /* pages: 4 MiB */
#define SPAN_LINE_WORDS 6
#define SPAN_SIDE_WORDS (1024 / 64) /* of class 1, 8 bytes; class 2 has half as many objects */

struct mspan {
    /* mark line */
    ahalf head;        /* atomic: span.publish */
    uint32_t divmagic; /* const while in use */
    uint16_t nelems;
    uint16_t kind;     /* index of the mcentral that it belongs to */
    uint8_t sizeclass;
    uint8_t noscan;
    uint8_t needzero;  /* owner (P or sweeper): slots may hold old bytes */
    bool checked : 1;  /* only allocated slots may be marked, whoever points to them */
    bool open_end : 1; /* a pointer one past an object's end may mean the object */
    union {
        aword bits[SPAN_LINE_WORDS]; /* atomic: markers set, the sweeper clears */
        aword *side;                 /* span_side_words mark words, then as many alloc words */
    } mark;

    /* alloc line */
    ahalf sweepgen;  /* atomic: see mcentral.h */
    ahalf next;      /* atomic: link of a span set */
    ahalf freeindex; /* atomic: owner writes; pairs: run.publish */
    ahalf ready;     /* atomic: large: SPAN_RAW and so on; pairs: large.ready */
    union {
        aword bits[SPAN_LINE_WORDS]; /* owner P or sweeper writes; relaxed readers */
        struct {
            uint64_t bit0; /* the alloc bit of the only object */
            size_t npages;
            size_t bytes;  /* as asked for, rounded to words */
            uint64_t owner; /* of a chunk: its arena's number ... */
            const char *owner_name; /* ... and name; borrowed; may be NULL */
        } large;
    } alloc;
} __attribute__((aligned(CACHE_PAIR)));

_Static_assert(sizeof(struct mspan) == CACHE_PAIR, "a descriptor is two lines");
_Static_assert(offsetof(struct mspan, sweepgen) == CACHE_LINE, "the alloc line is the second");

static inline bool
span_has_side(const struct mspan *s)
{
    return s->sizeclass - 1u < CLASS_SIDE_MAX; /* classes 1 and 2, not 0 */
}

/* Words of each bitmap in a side block. */
static inline size_t
span_side_words(unsigned sizeclass)
{
    return SPAN_SIDE_WORDS >> (sizeclass - 1);
}

static inline aword *
span_marks(struct mspan *s)
{
    return UNLIKELY(span_has_side(s)) ? s->mark.side : s->mark.bits;
}

static inline aword *
span_allocs(struct mspan *s)
{
    return UNLIKELY(span_has_side(s)) ? s->mark.side + span_side_words(s->sizeclass)
                                      : s->alloc.bits;
}

static inline unsigned
span_state(const struct mspan *s)
{
    return ahalf_load_acquire(&s->head) & SPAN_STATE; /* pairs: span.publish */
}

static inline size_t
span_npages(const struct mspan *s)
{
    return s->sizeclass == CLASS_LARGE ? s->alloc.large.npages : gcrt_class_pages[s->sizeclass];
}

/* Bytes of one slot; for a large span the bytes asked for. */
static inline size_t
span_elem_bytes(const struct mspan *s)
{
    return s->sizeclass == CLASS_LARGE ? s->alloc.large.bytes : gcrt_class_bytes[s->sizeclass];
}

/* May the object be read? */
static inline bool
span_is_ready(const struct mspan *s)
{
    /* pairs: large.ready */
    return s->sizeclass != CLASS_LARGE || ahalf_load_acquire(&s->ready) == SPAN_READY;
}

static inline bool
span_is_dropped(const struct mspan *s)
{
    return s->sizeclass == CLASS_LARGE && ahalf_load_relaxed(&s->ready) >= SPAN_DROPPED;
}

/* Words of the span's bitmaps. */
static inline size_t
span_words(const struct mspan *s)
{
    return (s->nelems + 63u) / 64;
}

static inline bool
span_test(const aword *bits, size_t i)
{
    return (aword_load_relaxed(&bits[i / 64]) >> (i % 64)) & 1;
}

/* I-conservative's last clause: slot i is allocated, or in a taken run. */
static inline bool
span_is_allocated(struct mspan *s, size_t i)
{
    /* pairs: run.publish; the slot below a free index that we see is zeroed */
    return i < ahalf_load_acquire(&s->freeindex) || span_test(span_allocs(s), i);
}

/* First slot at or after `from` whose alloc bit is not that of `flip`, or nelems. */
static inline size_t
span_next(struct mspan *s, size_t from, uint64_t flip)
{
    const aword *bits = span_allocs(s);
    size_t n = s->nelems, w = from / 64;
    uint64_t x;

    if (from >= n)
        return n;
    x = (aword_load_relaxed(&bits[w]) ^ flip) & ~(uint64_t)0 << from % 64;
    while (x == 0) {
        if (++w * 64 >= n)
            return n;
        x = aword_load_relaxed(&bits[w]) ^ flip;
    }
    return min_size(w * 64 + bit_lowest(x), n);
}

/* First free slot at or after `from`, or nelems.  Owner only. */
static inline size_t
span_next_free(struct mspan *s, size_t from)
{
    return span_next(s, from, ~(uint64_t)0);
}

/* First allocated slot at or after `from`, or nelems.  Owner only. */
static inline size_t
span_next_used(struct mspan *s, size_t from)
{
    return span_next(s, from, 0);
}

#endif
