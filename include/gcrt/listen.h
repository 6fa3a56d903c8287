/* SPDX-License-Identifier: MIT */
#ifndef GCRT_LISTEN_H
#define GCRT_LISTEN_H

#include <gcrt/thread.h>

GC_IMPL_BEGIN

/* Listeners: host functions that are told of cycles and of long pauses, when they happen. */

typedef enum gc_event_kind {
    GC_EVENT_CYCLE_BEGIN, /* nothing has been done yet */
    GC_EVENT_MARKED,      /* marking is complete, and what is dead is known */
    GC_EVENT_CYCLE_END,   /* all is swept */
    GC_EVENT_PAUSE        /* a thread was held up for gc_recorder_options.pause_ns or longer */
} gc_event_kind;

typedef struct gc_event {
    gc_event_kind kind;
    uint64_t cycle;       /* its number, from 1 */
    uint64_t time_ns;     /* CLOCK_MONOTONIC, when it was seen */
    uint64_t duration_ns; /* MARKED, CYCLE_END: since the cycle's begin; PAUSE: the pause */
    uint64_t heap_bytes;  /* as /gc/heap/pacing:bytes: what lived, came since, is external */
    uint64_t live_bytes;  /* found reachable by the last marking that is complete */
    int thread;           /* PAUSE: whose, by the kernel's number, as gdb has it */
} gc_event;

/*
 * Called on a thread of the collector's, which is not attached, between two steps of its work; the
 * cycle waits, no other thread does.  It may read metrics and write traces and profiles, but
 * not allocate, attach, collect or wait for a thread that does.  event is valid for the call.
 */
typedef void gc_listener_fn(gc_heap *heap, const gc_event *event, void *arg);

/*
 * fn is called for each event from now on; 8 listeners at most (GC_ERR_LIMIT).  Pauses are told at
 * the next step of the cycle, the longest one only.  GC_ERR_INVAL: fn is NULL; GC_ERR_NOTFOUND: no
 * heap.  Any thread.
 */
GC_API GC_MUST_CHECK gc_status gc_listen(gc_heap *heap, gc_listener_fn *fn, void *arg);
/* No call is under way any more, but one that this is called from.  Fatal if there is none such. */
GC_API void gc_unlisten(gc_heap *heap, gc_listener_fn *fn, void *arg);

GC_IMPL_END

#endif
