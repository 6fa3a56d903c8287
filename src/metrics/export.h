/* SPDX-License-Identifier: MIT */
#ifndef GCRT_METRICS_EXPORT_H
#define GCRT_METRICS_EXPORT_H

/* A snapshot as text. */

#include "metrics/snapshot.h"

#include <gcrt/metrics.h>

/* GC_ERR_SINK as soon as the sink refuses; it is not called again then. */
gc_status gcrt_export_prometheus(const struct snapshot *s, const gc_sink *sink);
gc_status gcrt_export_openmetrics(const struct snapshot *s, const gc_sink *sink);
gc_status gcrt_export_json(const struct snapshot *s, const gc_sink *sink);

#endif
