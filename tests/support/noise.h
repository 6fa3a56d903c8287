/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_NOISE_H
#define GCRT_TESTS_NOISE_H

#include "node.h"

/* Before any other call: reads the program's arguments. */
void noise_start(void);
/* arg: a struct player, the calling thread's. */
void noise(void *arg);
/* Only garbage. */
void noise_garbage(struct player *player);

#endif
