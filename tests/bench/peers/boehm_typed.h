/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_BENCH_PEERS_BOEHM_TYPED_H
#define GCRT_TESTS_BENCH_PEERS_BOEHM_TYPED_H

/* Boehm with exact object layouts: only the words that the type names are pointers. */

#define PEER_NAME                    "boehm-typed"
#define PEER_BOEHM_ALLOC(size, type) GC_malloc_explicitly_typed(size, (type)->descr)

#include "peers/boehm.h"

#endif
