/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_REPLACER_H
#define LOOKUP_REPLACER_H

#include "routes.h"

struct replacer;

/*
 * Starts a thread that replaces `rate` records a second by their next versions.  rate 0:
 * no thread, and NULL is no error then.  svc is borrowed.  Attached threads, inside.
 */
struct replacer *replacer_start(const struct service *svc, uint64_t rate);

/* Records replaced so far.  NULL: 0. */
uint64_t replacer_count(const struct replacer *r);

/* Ends the thread and frees the replacer.  NULL is ignored.  Attached, inside. */
void replacer_stop(struct replacer *r);

#endif
