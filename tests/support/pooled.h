/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_POOLED_H
#define GCRT_TESTS_POOLED_H

#include "family.h"

/*
 * One pool of the default heap, which holds families by their root, and the shadows of what
 * is in it.  The pool may let go of a family, so shadows are kept for the newest only.
 */
void pooled_start(void);
void pooled_end(void);

/* The family, malloc'ed, is the pool's, and so is its root, which has a block of its own. */
void pooled_put(struct family *family, void *root);
/* A family that was put, now the caller's, and its root; NULL if there is none. */
struct family *pooled_get(void **root);

#endif
