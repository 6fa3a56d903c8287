/* SPDX-License-Identifier: MIT */
#ifndef GCRT_STATUS_H
#define GCRT_STATUS_H

#include <gcrt/attr.h>

GC_IMPL_BEGIN

/*
 * What a call that can fail returns.  0 is success.  A failed call has changed
 * nothing: out-parameters are untouched and nothing needs to be undone.
 *
 * Environment faults (no memory, no thread, a bad argument) are statuses.  A
 * host's misuse that would corrupt the heap is one line on standard error,
 * "gcrt: fatal: <what>", followed by abort().
 */
typedef enum gc_status {
    GC_OK = 0,
    GC_ERR_INVAL,    /* an argument is out of range, NULL, or malformed */
    GC_ERR_NOMEM,    /* the OS or the reservation has no more memory */
    GC_ERR_THREAD,   /* the OS refused a thread or a signal handler */
    GC_ERR_ATTACHED, /* the calling thread is attached already */
    GC_ERR_DETACHED, /* the calling thread is attached to no heap */
    GC_ERR_BUSY,     /* the heap still has attached threads, or the name is taken */
    GC_ERR_NOTFOUND, /* no such root, metric or heap */
    GC_ERR_LIMIT,    /* a fixed limit of the library is reached */
    GC_ERR_ENV,      /* an environment variable is malformed */
    GC_ERR_CORRUPT,  /* gc_verify found a broken invariant */
    GC_ERR_SINK,     /* the host's sink refused bytes */
    GC_STATUS_COUNT  /* number of codes; not a status */
} gc_status;

/*
 * The code's name and meaning in English, for example "GC_ERR_BUSY: heap still
 * has attached threads".  Never NULL, never freed; any thread, also detached.
 */
GC_API const char *gc_status_string(gc_status status);

/*
 * One sentence about the calling thread's last call that did not return GC_OK:
 * which argument, which variable, which value.  "" if there was none.  Valid until
 * the thread's next failing call.
 */
GC_API const char *gc_last_error(void);

GC_IMPL_END

#endif
