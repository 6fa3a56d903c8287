/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_ACTIONS_H
#define GCRT_GC_ACTIONS_H

/* What a mutator does in each handshake. */

#include "gc/mutator.h"

/*
 * Carries out the action for m.  The caller owns m: its own thread, critical, with its
 * stack live from sp up; or the collector, holding it (sp is then m->sp).
 */
void gcrt_action_run(struct gcrt_mutator *m, enum action action, uintptr_t sp);

/* Name for traces and metrics: "barrier-on", ... */
const char *gcrt_action_name(enum action action);

#endif
