/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_WORDS_H
#define GCRT_TESTS_WORDS_H

/*
 * Interned words in the oracle: each thread holds some of a common vocabulary; whoever interns a
 * word that anybody holds gets the same pointer, and what nobody holds is gone after two cycles.
 */

#include <stddef.h>
#include <stdint.h>

#define WORDS 24

/* One thread's. */
struct words {
    void *held[WORDS]; /* registered */
    uint64_t *rng;
};

void words_begin(struct words *w, uint64_t *rng);
void words_end(struct words *w);

/* Interns a word, and holds it or not. */
void words_step(struct words *w);

/*
 * While nobody changes his: all who hold a word hold one copy of it, with its bytes.  Returns the
 * number of words held.
 */
size_t words_check(const struct words *const *all, size_t n);

#endif
