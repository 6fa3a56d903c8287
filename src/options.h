/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OPTIONS_INTERNAL_H
#define GCRT_OPTIONS_INTERNAL_H

#include <gcrt/options.h>

#define GCRT_THREADS_MAX 64
#define GCRT_LIMIT_MIN ((int64_t)1 << 20) /* an empty heap takes more */

/* GC_OK, or GC_ERR_INVAL with the culprit named. */
gc_status gcrt_options_check(const gc_options *opt);

#endif
