/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_PACERTRACE_H
#define GCRT_METRICS_PACERTRACE_H

#include "gc/report.h"

/* Enough for any cycle's line with its terminating zero. */
#define PACERTRACE_LINE_MAX 768

/*
 * The line that gcpacertrace=1 prints for a cycle, without a newline, as snprintf would: at
 * most n - 1 bytes and a zero into buf; returns the length of the whole line.
 */
size_t gcrt_pacertrace_format(char *buf, size_t n, const struct cycle_report *c);

#endif
