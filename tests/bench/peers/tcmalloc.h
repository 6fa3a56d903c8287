/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_PEERS_TCMALLOC_H
#define GCRT_TESTS_BENCH_PEERS_TCMALLOC_H

/* The tcmalloc of gperftools, without its heap profiler. */

#include <gperftools/tcmalloc.h>

#define PEER_NAME            "tcmalloc"
#define PEER_MALLOC(size)    tc_malloc(size)
#define PEER_CALLOC(n, size) tc_calloc(n, size)
#define PEER_FREE(p)         tc_free(p)

#include "peers/malloc.h"

static inline const char *
peer_version(void)
{
    return tc_version(NULL, NULL, NULL);
}

#endif
