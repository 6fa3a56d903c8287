/* SPDX-License-Identifier: MIT */
/*
 * Conservative scanning of stacks.
 *
 * Purpose: find every word of a stack and of saved registers that may be a pointer.
 * Place: actions calls it in H3, fiber for parked stacks; it fills raw work buffers.
 * Invariants: nothing is marked here, so the pause is one pass over the words; raw buffers
 * are resolved when every mutator has scanned its stack and allocates black.  Until then a
 * slot of somebody's run may be free although its free index says otherwise, and marking it
 * would make it black too early (I-own-snapshot).
 * Concurrency: the caller owns the stack.
 * Cost: about a nanosecond per two words, plus a buffer per 255 candidates.
 */
#include "gc/stack.h"

#include "alloc/base/tools.h"

#include <string.h>

#define WIPE_BYTES 4096 /* deeper than marking but for trace functions */

struct collector {
    struct gc_heap *heap;
    struct workbuf *buffer;
};

static void
collect_word(struct collector *c, uintptr_t word)
{
    struct work *w = &c->heap->work;

    if (c->buffer == NULL)
        c->buffer = gcrt_work_take_empty(w);
    c->buffer->slot[c->buffer->n++] = word;
    if (c->buffer->n == w->slots) {
        gcrt_work_push_raw(w, c->buffer);
        c->buffer = NULL;
    }
}

RACY_READER static void
collect_range(struct collector *c, uintptr_t from, uintptr_t to)
{
    const struct mheap *h = &c->heap->mheap;
    uintptr_t base = h->base - 1; /* one past the end of the last object counts too */
    uintptr_t limit = aword_load_acquire(&h->limit) + 1; /* pairs: heap.grow */

    for (; from < to; from += WORD) {
        uintptr_t word = STACK_READ(from);

        if (word - base <= limit)
            collect_word(c, as_initialised(word));
    }
}

/* What the host says itself is meant as it is. */
static void
collect_own(void *arg, uintptr_t word, uintptr_t at)
{
    struct collector *c = arg;

    (void)at;
    if (mheap_contains(&c->heap->mheap, word))
        collect_word(c, word | RAW_EXACT);
}

/* What the switch away from s has saved. */
static void
collect_saved(struct collector *c, const struct gc_stack *s)
{
    collect_range(c, (uintptr_t)s->regs, (uintptr_t)(s->regs + CALLEE_SAVED));
    collect_range(c, (uintptr_t)s->window, (uintptr_t)(s->window + s->nwindow));
}

static size_t
collect_parked(struct collector *c, const struct gc_stack *s)
{
    size_t words = gcrt_own_visit_stack(stack_frames(s), &s->scopes, collect_own, c);

    if (s->manners == STACK_PRECISE)
        return words * WORD;
    collect_saved(c, s);
    collect_range(c, s->sp, s->extent.hi);
    return words * WORD + (s->extent.hi - s->sp);
}

static size_t
collect_stack(struct collector *c, const struct gcrt_mutator *m, uintptr_t from)
{
    if (ahalf_load_relaxed(&m->state) != MUTATOR_INSIDE) {
        collect_range(c, (uintptr_t)m->regs, (uintptr_t)(m->regs + SAVED_REGISTERS));
        collect_range(c, (uintptr_t)m->window, (uintptr_t)(m->window + m->nwindow));
    }
    if (m->landing)
        collect_saved(c, m->current); /* the machine may not have them yet */
    collect_range(c, from, m->stack_hi);
    return m->stack_hi - from;
}

static size_t
finish(struct collector *c, size_t bytes)
{
    if (c->buffer != NULL)
        gcrt_work_push_raw(&c->heap->work, c->buffer);
    return bytes;
}

size_t
gcrt_stack_collect(struct gcrt_mutator *m, uintptr_t sp)
{
    struct collector c = { .heap = m->heap };
    const struct gc_stack *native = gcrt_fiber_native(m);
    size_t bytes = gcrt_own_visit(m, collect_own, &c) * WORD;

    if (!m->precise)
        bytes += collect_stack(&c, m, stack_lowest(m, sp));
    if (native != NULL)
        bytes += collect_parked(&c, native);
    return finish(&c, bytes);
}

size_t
gcrt_stack_collect_parked(struct gc_heap *heap, const struct gc_stack *s)
{
    struct collector c = { .heap = heap };

    return finish(&c, collect_parked(&c, s));
}

NOINLINE void
gcrt_with_registers(void (*fn)(void *arg, uintptr_t sp), void *arg)
{
    /* Makes the prologue save every callee-saved register in this frame. */
    __builtin_unwind_init();
    fn(arg, (uintptr_t)__builtin_frame_address(0) - STACK_SLACK);
    __asm__ volatile("" ::: "memory"); /* no tail call: the frame must live */
}

/*
 * They are objects of anybody's.  Later frames do not write each of their words, so the thread's
 * next scan would find some, and they would live on: a large table for many cycles, where threads
 * assist in each.
 */
NOINLINE void
gcrt_stack_wipe(void)
{
    char dead[WIPE_BYTES];

    memset(dead, 0, sizeof(dead));
    __asm__ volatile("" : : "r"(dead) : "memory");
}
