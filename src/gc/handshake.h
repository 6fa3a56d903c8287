/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_HANDSHAKE_H
#define GCRT_GC_HANDSHAKE_H

/*
 * Soft handshakes: every mutator carries out one action, each on its own time.
 */

#include "gc/mutator.h"

/*
 * Publishes the action and returns when every mutator has carried it out.  Coordinator only.
 * barrier, black, marking are what threads that attach from now on inherit.
 */
void gcrt_handshake_run(struct gc_heap *heap, enum action action);

/* Answers m's pending handshake, if any.  m is inside and this is its thread, critical. */
void gcrt_handshake_answer(struct gcrt_mutator *m);

/* A pause: for so long the mutator did not get on.  Its own thread. */
void gcrt_handshake_count_pause(struct gcrt_mutator *m, enum action action, uint64_t ns);

/* The signal that reaches silent threads. */
void gcrt_handshake_signal(int signal);

/*
 * Holds every mutator at a safepoint until gcrt_release_all: for the verifier, which must
 * see a heap at rest.  The caller must not be an inside mutator of the heap, and holds the
 * registry meanwhile.
 */
void gcrt_hold_all(struct gc_heap *heap);
void gcrt_release_all(struct gc_heap *heap);

/*
 * GC_MODE_STW: every mutator carries ACTION_SCAN out and stays there until gcrt_resume_all.
 * No handshake can be run in between, and no fork comes; gcrt_hold_all is then only the lock.
 */
void gcrt_stop_all(struct gc_heap *heap);
void gcrt_resume_all(struct gc_heap *heap);

#endif
