/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_ERROR_H
#define GCRT_GC_ERROR_H

#include "alloc/base/check.h"

#include <gcrt/status.h>

/*
 * Records the sentence that gc_last_error() returns on this thread, and returns code.
 */
gc_status gcrt_error(gc_status code, const char *format, ...) PRINTF(2, 3);
/* Adds to the text of the last error. */
void gcrt_error_append(const char *format, ...) PRINTF(1, 2);

#endif
