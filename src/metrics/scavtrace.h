/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_SCAVTRACE_H
#define GCRT_METRICS_SCAVTRACE_H

#include "gc/report.h"

/* Enough for any report's line with its terminating zero. */
#define SCAVTRACE_LINE_MAX 160

/*
 * The line that scavtrace=1 prints for a report, without a newline, as snprintf would: at most
 * n - 1 bytes and a zero into buf; returns the length of the whole line.
 */
size_t gcrt_scavtrace_format(char *buf, size_t n, const struct scavenge_report *r);

#endif
