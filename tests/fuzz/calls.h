/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_FUZZ_CALLS_H
#define GCRT_TESTS_FUZZ_CALLS_H

/* The calls that the api target strings together.  Each takes what it needs from `in`. */

#include "shadow.h"

extern struct input *in;
extern unsigned oom_calls; /* and the argument that on_oom expects */

int on_oom(gc_heap *heap, size_t bytes, void *arg);

/* An object of the attached heap, or NULL. */
struct object *pick(void);
void set_local(size_t i, struct ref ref);

/* For a thread that is attached and inside. */
void allocate(void);
void allocate_too_much(void);
void duplicate(void);
void store(void);
void move_words(void);
void move_nodes(void);
void change_local(void);
void change_range(void);
void store_in_range(void);
void ask(void);

/* For any thread. */
void change_handle(void);

#endif
