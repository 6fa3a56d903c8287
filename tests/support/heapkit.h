/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_HEAPKIT_H
#define GCRT_TESTS_HEAPKIT_H

#include <gcrt/gcrt.h>

#include <pthread.h>

#include "support.h"

/*
 * The gcrt half of the test support: options from the program's arguments, statuses that
 * must be GC_OK, collections from a wiped stack.
 */

/*
 * Defaults, then clobberfree=1 and a heap_min of 1 MiB so that quick runs see many cycles,
 * then arguments: gogc= heap_min= threads= cleanup_threads= grace= release_ms= verify= stress=
 * chaos= tiny= clobber= gctrace= wbcheck= stw= precise=.  A NULL setting keeps the default.
 */
void t_options(gc_options *opt);

/* Fails with the status's text and gc_last_error() unless status is GC_OK. */
#define T_OK(call) t_ok(__FILE__, __LINE__, #call, (call))
void t_ok(const char *file, int line, const char *call, gc_status status);

/*
 * gc_write, gc_copy or gc_move, and gc_clear; with stw=1 plain stores, memmove and memset,
 * which GC_MODE_STW allows.  n elements of the type.
 */
void t_store(void **slot, void *value);
void t_copy(const gc_type *type, void *dst, const void *src, size_t n);
void t_clear(const gc_type *type, void *dst, size_t n);

/* Two collections from a wiped stack: afterwards nothing unreachable is left. */
void t_collect_twice(gc_heap *heap);
/* gc_verify must be content. */
void t_verify(gc_heap *heap);
uint64_t t_heap_objects(gc_heap *heap);
uint64_t t_cycles(gc_heap *heap);

/* Thread number i's seed, as its argument; not a word of it can be taken for a pointer. */
void *t_thread_seed(size_t i);
/* Cycle after cycle for seconds= (else 3), then *stopping is 1. */
void t_collect_until_over(int *stopping);
/* Outside, because a precise thread that waits must say so. */
void t_join(const pthread_t *threads, size_t n);

#endif
