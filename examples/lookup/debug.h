/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_DEBUG_H
#define LOOKUP_DEBUG_H

#include "routes.h"

/*
 * The debug endpoints: the live page, its stream, profiles.  What they answer takes seconds
 * or never ends, so each request gets a thread of its own, which is not attached to the heap.
 */
struct debug;
struct debug_job; /* a request that is admitted and waits for its socket */

/* patience_ms is for clients that take nothing.  NULL with a line on standard error. */
struct debug *debug_start(uint64_t patience_ms);

/*
 * Whether a GET is one of ours: 0 if not; 200 and *job, which goes to debug_run or
 * debug_cancel; or the status to refuse it with, and *why, which needs no JSON escapes.
 */
int debug_admit(struct debug *d, const struct http_request *req, struct debug_job **job,
        const char **why);

/* NULL is allowed. */
void debug_cancel(struct debug_job *job);

/*
 * Answers on the connected socket fd, and closes it.  Takes both, whatever happens; fd does
 * not block, and all that was sent before has left.
 */
void debug_run(struct debug_job *job, int fd);

/* Adds what was answered so far.  Any thread. */
void debug_sum(const struct debug *d, struct counters *ret);

/* Ends all streams, waits for their threads and frees.  Attached threads, inside. */
void debug_stop(struct debug *d);

#endif
