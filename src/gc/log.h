/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_LOG_H
#define GCRT_GC_LOG_H

/*
 * Lines for whoever watches the program: to options.log, or to standard error without one.  Both
 * functions call the host, so no lock may be held and no thread be kept waiting.
 */

#include "alloc/base/check.h"

#include <stddef.h>

struct gc_heap;

/* len bytes of text with a NUL behind them. */
void gcrt_log_line(struct gc_heap *heap, const char *line, size_t len);

/* "gcrt: " and the text; what is longer than some hundred bytes is cut. */
void gcrt_log(struct gc_heap *heap, const char *format, ...) PRINTF(2, 3);

#endif
