/* SPDX-License-Identifier: MIT */
#ifndef LOOKUP_OPTIONS_H
#define LOOKUP_OPTIONS_H

#include <stdint.h>

/* The server's knobs. */
struct options {
    uint64_t records;      /* keys 0 .. records - 1 */
    uint64_t live_mb;      /* MiB of live data; decides records when that is not given */
    uint64_t payload;      /* bytes of payload in a record */
    uint64_t seed;         /* of the data set */
    uint64_t port;         /* 0: any free one */
    uint64_t loops;        /* 0: one per CPU */
    uint64_t replace_rate; /* records replaced a second */
    uint64_t conns;        /* most connections at a time */
    double duration;       /* seconds; 0: until a signal */
    double patience;       /* seconds for a slow client */
    int has_gogc;
    int64_t gogc;           /* percent or GC_GOGC_OFF, if has_gogc */
    const char *port_file;  /* borrowed; NULL: none */
    const char *stats_file; /* borrowed; NULL: none */
};

/*
 * Reads the command line.  Returns 1; 0 after a message about a wrong one; -1 after
 * printing the help that was asked for.
 */
int options_parse(struct options *ret, int argc, char **argv);

#endif
