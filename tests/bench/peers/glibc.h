/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_PEERS_GLIBC_H
#define GCRT_TESTS_BENCH_PEERS_GLIBC_H

#define PEER_NAME            "glibc"
#define PEER_MALLOC(size)    malloc(size)
#define PEER_CALLOC(n, size) calloc(n, size)
#define PEER_FREE(p)         free(p)

#include "peers/malloc.h"

#include <gnu/libc-version.h>

static inline const char *
peer_version(void)
{
    return gnu_get_libc_version();
}

#endif
