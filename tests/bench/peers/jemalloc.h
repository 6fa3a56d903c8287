/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_PEERS_JEMALLOC_H
#define GCRT_TESTS_BENCH_PEERS_JEMALLOC_H

/* Debian's jemalloc takes the place of malloc itself; mallctl says that it is really there. */

#include <jemalloc/jemalloc.h>

#define PEER_NAME            "jemalloc"
#define PEER_MALLOC(size)    malloc(size)
#define PEER_CALLOC(n, size) calloc(n, size)
#define PEER_FREE(p)         free(p)

#include "peers/malloc.h"

static inline const char *
peer_version(void)
{
    const char *text = NULL;
    size_t size = sizeof(text);

    if (mallctl("version", &text, &size, NULL, 0) != 0)
        bench_die("jemalloc does not know its version");
    return text;
}

#endif
