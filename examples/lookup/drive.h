/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_DRIVE_H
#define LOOKUP_DRIVE_H

#include "histogram.h"

/* What to send. */
struct drive_plan {
    unsigned port;
    double rate;     /* requests a second */
    double duration; /* seconds of intended send times, warm-up included */
    double warmup;   /* seconds at the start that are not measured */
    double timeout;  /* seconds for one response, and for the drain at the end */
    uint64_t conns;
    uint64_t seed;     /* of arrival times, keys and formats */
    double zipf;       /* exponent */
    int poisson;       /* 1: exponential gaps; 0: equal ones */
    uint64_t bin_pct;  /* requests for the binary form, percent */
    uint64_t miss_pct; /* requests for keys that do not exist, percent */
    uint64_t verify;   /* every n-th response is compared byte by byte; 0: none */
    uint64_t records;  /* the server's data set */
    uint64_t data_seed;
    uint64_t payload;
};

/* What happened. */
struct drive_result {
    uint64_t due;      /* requests that the schedule asked for */
    uint64_t answered; /* with the expected status */
    uint64_t hits;
    uint64_t misses;      /* 404 for a key that does not exist: as expected */
    uint64_t verified;    /* compared byte by byte, and equal */
    uint64_t err_connect; /* a connection could not be made */
    uint64_t err_io;      /* the connection broke with a request on it */
    uint64_t err_timeout;
    uint64_t err_status;      /* an unexpected status */
    uint64_t err_content;     /* the record is not what the data set says */
    uint64_t err_unsent;      /* still waiting for a connection at the end of the drain */
    uint64_t backlog_max;     /* most requests that were due and not sent */
    double window_s;          /* measured time */
    uint64_t window_done;     /* responses that came in it */
    struct histogram latency; /* ns from the intended time; due in the measured time */
};

/* Errors of all kinds. */
uint64_t drive_errors(const struct drive_result *r);

/* Runs the plan; *ret must be zeroed.  1, or 0 after a message: no memory, no epoll. */
int drive_run(const struct drive_plan *plan, struct drive_result *ret);

#endif
