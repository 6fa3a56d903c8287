/* SPDX-License-Identifier: MIT */
#ifndef MEMLIMIT_SERVICE_H
#define MEMLIMIT_SERVICE_H

#include <stdint.h>

struct service_options {
    uint64_t live_bytes; /* of the map */
    unsigned threads;
    unsigned reads;      /* entries that an operation looks at, beside the one it replaces */
    double seconds;
    int cap;             /* limiter_percent */
    int percent;         /* the limit, of what the full map needs; 0: only say what that is */
};

/*
 * Fills the map, sets the limit, and writes a line per sample to standard output: first
 * "limit BYTES", then the fields of struct sample.  Returns an exit status.
 */
int service_run(const struct service_options *opt);

#endif
