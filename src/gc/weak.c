/* SPDX-License-Identifier: MIT */
/*
 * Weak places and the decision about what they hold.
 *
 * Purpose: let a thread turn a weak pointer into a strong one at any moment of a cycle, so that
 * all threads and all weak places agree on what is dead.
 * Place: weakref, interning and weak maps read places through it; the cycle moves the word.
 *
 * What a reader does depends on its own barrier, which cannot change in its critical section:
 *   off, before its H1   nothing can be decided before it has answered H1 to H5, and its stack
 *                        will be scanned in H3: what the place holds may be taken as it is
 *   off, after its H5    places of dead objects were emptied before H5 was published: the same.
 *                        Mark bits must not be looked at, the sweep may be clearing them
 *   hybrid, deletion     a marked object is alive.  An unmarked one is shaded, that is queued
 *                        in the barrier's buffer: nothing is marked here, so it does not matter
 *                        whether marking is open yet.  In H4 the buffer is flushed, and the
 *                        round counts as one that found work
 * A thread that has answered H4 already and shades makes grey from nothing, which I-ragged-done
 * does not expect.  So it takes the word from CLOSING back to MARKING, and the coordinator, who
 * wants to take it to DECIDED, finds it changed and goes on marking.  When DECIDED is there
 * first, the unmarked object is dead for everybody: since the reader answered H4 nobody has
 * marked anything, or the round would not have counted.  One word for the heap and not one for each
 * place: else a place could be declared empty although the same object, or one that points to
 * it, is taken from another place a moment later (the model: weak_word_per_cell).
 *
 * With GC_MODE_STW barriers are always off, and the word moves while everybody is held.
 *
 * A fork's child has no cycle, and its word is IDLE.  The coordinator does not rest between
 * DECIDED and the last place emptied, so a child sees all of that or nothing.
 *
 * Invariants: I-weak-agree: from DECIDED on an object is dead in all weak places or in none.
 * Concurrency: the word, pairs: weak.word.
 * Cost: with the barrier off nothing; else two loads and, for an unmarked object, an append to
 * the barrier's buffer.
 */
#include "gc/weak.h"

#include "gc/barrier.h"

/* ---- mutators ---- */

/* Is the object that holds this address marked? */
static bool
is_marked(struct gc_heap *heap, uintptr_t obj)
{
    const struct mheap *h = &heap->mheap;
    struct mspan *s = mheap_span_of(h, obj);
    size_t i = span_object_index(h, s, obj);

    /* pairs: weak.revived */
    return (aword_load_acquire(&span_marks(s)[i / 64]) >> (i % 64)) & 1;
}

/* obj is unmarked and the word was CLOSING; false if it is so no more. */
static bool
cancel_termination(struct gc_heap *heap)
{
    if (!ahalf_cas_full(&heap->weak.word, WEAK_CLOSING, WEAK_MARKING)) /* pairs: weak.word */
        return false;
    aword_add_relaxed(&heap->weak.cancelled, 1);
    return true;
}

bool
gcrt_weak_upgrade(struct gcrt_mutator *m, uintptr_t obj)
{
    struct gc_heap *heap = m->heap;
    unsigned word;

    if (barrier_state(m->self) == BARRIER_OFF || is_marked(heap, obj))
        return true;
    do {
        chaos_point(&heap->os, CHAOS_WEAK_UPGRADE);
        word = ahalf_load_acquire(&heap->weak.word); /* pairs: weak.word */
        if (word == WEAK_DECIDED)
            return false; /* nobody has marked since we answered H4: else it would have failed */
    } while (word == WEAK_CLOSING && !cancel_termination(heap));
    gcrt_barrier_shade_object(m, obj);
    return true;
}

uintptr_t
gcrt_weak_load(struct gcrt_mutator *m, const void *place)
{
    uintptr_t obj = slot_load_acquire(place); /* pairs: weak.emptied */

    if (obj == 0 || !gcrt_weak_upgrade(m, obj))
        return 0;
    chaos_point(&m->heap->os, CHAOS_WEAK_UPGRADE);
    return slot_load_acquire(place) == obj ? obj : 0;
}

/* ---- the coordinator ---- */

void
gcrt_weak_begin(struct gc_heap *heap)
{
    ahalf_store_full(&heap->weak.word, WEAK_MARKING); /* pairs: weak.word */
}

void
gcrt_weak_close(struct gc_heap *heap)
{
    ahalf_store_full(&heap->weak.word, WEAK_CLOSING); /* pairs: weak.word */
}

void
gcrt_weak_reopen(struct gc_heap *heap)
{
    ahalf_store_full(&heap->weak.word, WEAK_MARKING); /* pairs: weak.word */
}

bool
gcrt_weak_decide(struct gc_heap *heap)
{
    return ahalf_cas_full(&heap->weak.word, WEAK_CLOSING, WEAK_DECIDED); /* weak.word */
}

void
gcrt_weak_decide_stopped(struct gc_heap *heap)
{
    ahalf_store_full(&heap->weak.word, WEAK_DECIDED); /* pairs: weak.word */
}

void
gcrt_weak_end(struct gc_heap *heap)
{
    ahalf_store_full(&heap->weak.word, WEAK_IDLE); /* pairs: weak.word */
}

bool
gcrt_weak_is_dead(struct gc_heap *heap, uintptr_t obj)
{
    return !is_marked(heap, obj);
}

void
gcrt_weak_empty(void *place)
{
    slot_store_release(place, 0); /* pairs: weak.emptied */
}

/* Full: whoever sees the mark sees the places empty. */
void
gcrt_weak_revive(struct gc_heap *heap, uintptr_t obj)
{
    const struct mheap *h = &heap->mheap;
    struct mspan *s = mheap_span_of(h, obj);
    size_t i = span_object_index(h, s, obj);
    aword *word = &span_marks(s)[i / 64];
    uint64_t bit = (uint64_t)1 << (i % 64), old;

    do
        old = aword_load_relaxed(word);
    while (!aword_cas_full(word, old, old | bit)); /* pairs: weak.revived */
    if ((old & bit) == 0)
        aword_add_relaxed(&heap->marking.marked_bytes, span_elem_bytes(s));
}
