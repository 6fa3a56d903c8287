/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_LIFE_H
#define GCRT_TESTS_LIFE_H

#include <stdint.h>

/*
 * A cleanup and a weak reference of a heap object of the shadow.  The cleanup must not run while
 * the test knows that the object is reachable, must run once, and must have run in the end; the
 * weak reference gives the object until then, and NULL when the cleanup runs.
 */
struct life;

/* The object gets both; the caller holds it.  Attached, inside. */
struct life *life_begin(void *obj);
/* The object is reachable; life may be NULL.  Attached, inside. */
void life_check(const struct life *life);

/* Waits until all cleanups that are due have run.  Attached, inside. */
void lives_settle(void);
/* How many there were, and how many of their cleanups have not run: each of these is an object,
 * a gc_weak, more. */
uint64_t lives_begun(void);
uint64_t lives_left(void);

#endif
