/* SPDX-License-Identifier: MIT */
#ifndef GCRT_API_H
#define GCRT_API_H

/*
 * What public functions that allocate ask for: the host's arguments become a request.  A type
 * that cannot be meant is fatal.  False: the size overflows, and that has been said; a request
 * that may not fail has been fatal then.
 */

#include "gc/malloc.h"

void gcrt_api_single(const char *caller, const gc_type *type, struct request *req);
bool gcrt_api_array(const char *caller, const gc_type *elem, size_t n, struct request *req);
bool gcrt_api_flex(const char *caller, const gc_type *type, size_t n, struct request *req);
bool gcrt_api_bytes(const char *caller, size_t n, struct request *req);
/* Bytes of the string, its end included; NULL is fatal. */
size_t gcrt_api_string(const char *caller, const char *s);

/* The fatal line of a request that may not fail. */
_Noreturn void gcrt_api_no_memory(
        const char *caller, const struct gc_heap *heap, size_t bytes) COLD;

#endif
