/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what a lock-free stack hands over, and that it hands it over once.
 *
 *   span     a span's fields travel with its push and pop (spanset.top)
 *   buffer   a work buffer's words travel with it (workstack.top)
 *   once     two threads pop, a third pops, pushes and pushes back: the tag keeps a pop that
 *            read an old link from succeeding, so no span is in two hands and none is lost
 *
 * Place: the real gcrt_spanset_* and gcrt_work_*.
 *
 * Concurrency: two threads; three in once.
 *
 * Controls: a field written after the push; a set without tags.
 */
#include "alloc/spanset.h"
#include "gc/work.h"
#include "litmus.h"

#include "support.h"

#define PER_CELL 3

static struct mspan spans[LITMUS_CELLS * PER_CELL];
static struct os os;
static struct work work; /* one for all: its buffers say which cell they are of */

static struct cell {
    struct spanset set CACHE_ALIGNED;
    unsigned got[LITMUS_THREADS]; /* descriptors, from 1 on; 0: none */
    uint64_t field;
    bool met;
} cells[LITMUS_CELLS];

static struct mspan *
span_of(size_t i, size_t k)
{
    return &spans[i * PER_CELL + k];
}

static void
span_reset(size_t i)
{
    cells[i] = (struct cell){ .met = false };
    aword_store_relaxed(&span_of(i, 0)->alloc.bits[0], 0);
}

/* ---- span ---- */

static void
span_push(size_t i)
{
    aword_store_relaxed(&span_of(i, 0)->alloc.bits[0], 7);
    gcrt_spanset_push(&cells[i].set, spans, span_of(i, 0));
}

static void
span_push_weak(size_t i)
{
    gcrt_spanset_push(&cells[i].set, spans, span_of(i, 0));
    publish_barrier();
    aword_store_relaxed(&span_of(i, 0)->alloc.bits[0], 7);
}

static void
span_pop(size_t i)
{
    struct mspan *s = gcrt_spanset_pop(&cells[i].set, spans);

    cells[i].met = s != NULL;
    cells[i].field = s == NULL ? 0 : aword_load_relaxed(&s->alloc.bits[0]);
}

static bool
field_old(size_t i)
{
    return cells[i].met && cells[i].field != 7;
}

/* ---- buffer ---- */

static void
buffer_reset(size_t i)
{
    struct workbuf *b;

    cells[i] = (struct cell){ .met = false };
    if (i == 0)
        while ((b = gcrt_work_pop_raw(&work)) != NULL)
            gcrt_work_put_empty(&work, b);
}

static void
buffer_push(size_t i)
{
    struct workbuf *b = gcrt_work_take_empty(&work);

    for (size_t k = 0; k < 8; k++)
        b->slot[k] = i;
    b->n = 8;
    gcrt_work_push_raw(&work, b);
}

static void
buffer_pop(size_t i)
{
    struct workbuf *b = gcrt_work_pop_raw(&work);

    if (b == NULL)
        return;
    cells[i].met = true;
    cells[i].field = b->n == 8 ? 7 : 0;
    for (size_t k = 1; k < b->n; k++)
        if (b->slot[k] != b->slot[0])
            cells[i].field = 0;
    for (size_t k = 0; k < b->n; k++)
        b->slot[k] = LITMUS_CELLS + k; /* so that what is old differs */
    gcrt_work_put_empty(&work, b);
}

/* ---- once ---- */

static void
once_reset(size_t i)
{
    cells[i] = (struct cell){ .met = false };
    for (size_t k = 0; k < PER_CELL; k++)
        gcrt_spanset_push(&cells[i].set, spans, span_of(i, k));
}

static unsigned
number(const struct mspan *s)
{
    return s == NULL ? 0 : (unsigned)(s - spans) + 1;
}

static void
once_pop(size_t i, unsigned who)
{
    cells[i].got[who] = number(gcrt_spanset_pop(&cells[i].set, spans));
}

/* Takes two, gives the first back: the top is what it was, its link is not. */
static void
once_shuffle(size_t i)
{
    struct mspan *a = gcrt_spanset_pop(&cells[i].set, spans);
    struct mspan *b = gcrt_spanset_pop(&cells[i].set, spans);

    cells[i].got[2] = number(b);
    if (a != NULL)
        gcrt_spanset_push(&cells[i].set, spans, a);
}

static void once_0(size_t i) { once_pop(i, 0); }
static void once_1(size_t i) { once_pop(i, 1); }

/* Every span is in one hand or in the set. */
static bool
not_once(size_t i)
{
    struct cell *c = &cells[i];
    unsigned count[PER_CELL] = { 0 }, steps = 0;
    struct mspan *s;

    for (size_t who = 0; who < LITMUS_THREADS; who++)
        if (c->got[who] != 0)
            count[(c->got[who] - 1) % PER_CELL]++;
    while (steps++ < 2 * PER_CELL && (s = gcrt_spanset_pop(&c->set, spans)) != NULL)
        count[(number(s) - 1) % PER_CELL]++;
    for (size_t k = 0; k < PER_CELL; k++)
        if (count[k] != 1)
            return true;
    return false;
}

/* The same without a tag. */
static struct mspan *
pop_untagged(struct spanset *set)
{
    for (;;) {
        uint64_t old = aword_load_acquire(&set->top);
        struct mspan *s;

        if (old == 0)
            return NULL;
        s = &spans[old - 1];
        if (aword_cas_acquire(&set->top, old, ahalf_load_relaxed(&s->next)))
            return s;
    }
}

static void
push_untagged(struct spanset *set, struct mspan *s)
{
    uint64_t old;

    do {
        old = aword_load_relaxed(&set->top);
        ahalf_store_relaxed(&s->next, (unsigned)old);
    } while (!aword_cas_release(&set->top, old, number(s)));
}

static void
untagged_reset(size_t i)
{
    cells[i] = (struct cell){ .met = false };
    for (size_t k = 0; k < PER_CELL; k++)
        push_untagged(&cells[i].set, span_of(i, k));
}

static void
untagged_pop(size_t i)
{
    cells[i].got[0] = number(pop_untagged(&cells[i].set));
}

static void
untagged_shuffle(size_t i)
{
    struct mspan *a = pop_untagged(&cells[i].set);
    struct mspan *b = pop_untagged(&cells[i].set);

    cells[i].got[2] = number(b);
    if (a != NULL)
        push_untagged(&cells[i].set, a);
}

static const struct litmus tests[] = {
    { "span", 2, false, span_reset, { span_push, span_pop }, field_old },
    { "buffer", 2, false, buffer_reset, { buffer_push, buffer_pop }, field_old },
    { "once", 3, false, once_reset, { once_0, once_1, once_shuffle }, not_once },
    { "span_weak", 2, true, span_reset, { span_push_weak, span_pop }, field_old },
    { "untagged", 2, true, untagged_reset, { untagged_pop, untagged_shuffle }, not_once },
};

int
main(int argc, char **argv)
{
    int status;

    T_CHECK(gcrt_work_init(&work, &os, 1, false), "no memory for work buffers");
    status = litmus_main("litmus_handoff", argc, argv, tests, sizeof tests / sizeof tests[0]);
    gcrt_work_finish(&work, &os);
    return status;
}
