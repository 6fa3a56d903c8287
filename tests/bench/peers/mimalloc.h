/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_PEERS_MIMALLOC_H
#define GCRT_TESTS_BENCH_PEERS_MIMALLOC_H

#include <mimalloc.h>

#define PEER_NAME            "mimalloc"
#define PEER_MALLOC(size)    mi_malloc(size)
#define PEER_CALLOC(n, size) mi_calloc(n, size)
#define PEER_FREE(p)         mi_free(p)

#include "peers/malloc.h"

/* mi_version is 209 for 2.0.9 */
static inline const char *
peer_version(void)
{
    static char text[32];
    int version = mi_version();

    snprintf(
            text, sizeof(text), "%d.%d.%d", version / 100, version / 10 % 10, version % 10);
    return text;
}

#endif
